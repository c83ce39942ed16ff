"""What each augmentation brings: train without, with each alone, and with all of them.

    python recipes/demo/ablation.py --corpus_folder=DIR --output_folder=DIR
        [--seeds=1,2,3] [--only="NAME;..."] [--n_jobs=2]

Every run is a train.py of its own with a small model, one thread each. Finished runs
are not run again; the table is printed at the end, from all that are there.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from local.utils.files import write_json  # noqa: E402
from local.utils.usage import Parser  # noqa: E402

#: Small enough for many runs on a CPU.
COMMON = (
    "--channels=[64,64,64,64,192]",
    "--number_of_epochs=8",
    "--batch_size=16",
    "--clip_length=2",
    "--scheduler=onecycle",
    "--max_lr=0.002",
    "--device=cpu",
)

#: Half of the recordings of every epoch are changed, with the ranges of train.yaml.
ALONE = {
    "speed": {"speed": 0.5},
    "stretch": {"stretch": 0.5},
    "pshift": {"pshift": 0.5},
    "tshift": {"tshift": 0.5},
    "reverb": {"reverb": 0.5},
    "background": {"background": 0.5},
    "gauss": {"gauss": 0.5},
    "gain": {"gain": 0.5},
    "codec": {"codec": 0.5},
    "drop_freq": {"drop_freq": 0.5},
    "drop_chunk": {"drop_chunk": 0.5},
    "silence": {"silence": 0.5},
    "mixup": {"mixup": 0.5},
    "freqm, timem": {"freqm": 10, "timem": 20},
    "noise": {"noise": True},
}

ALL = {key: value for options in ALONE.values() for key, value in options.items()}

#: Whatever train.yaml switches on.
NONE = {key: False if value is True else 0 for key, value in ALL.items()}

RUNS = {
    "none": NONE,
    **{name: NONE | options for name, options in ALONE.items()},
    "all": ALL,
    # those that leave a speaker's rate as it is
    "all but speed, stretch": ALL | {"speed": 0, "stretch": 0},
}

SAMPLE_RATE = 16000  # Hz, of rooms and noises


def main(argv=None):
    """Run what is missing, print the table; returns the exit status."""
    try:
        names, seeds, arguments = parse_arguments(argv)
        folder = arguments.output_folder.resolve()
        claim(folder, arguments.corpus_folder.resolve())
        make_rooms(folder / "rooms")
        make_noises(folder / "noises")
        # seed by seed, so that a table of fewer seeds can be looked at early
        todo = [(name, seed) for seed in seeds for name in names]
        with ThreadPoolExecutor(arguments.n_jobs) as pool:
            list(pool.map(lambda run: train(*run, folder, arguments), todo))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(format_table({name: results(folder, name, seeds) for name in names}))
    return 0


def parse_arguments(argv):
    """Names of the runs, seeds, and the rest of the command line."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpus_folder", type=Path, required=True)
    parser.add_argument("--output_folder", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2,3", help="whole numbers")
    parser.add_argument("--only", help="names of runs, separated by semicolons")
    parser.add_argument("--n_jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args(argv)
    names = arguments.only.split(";") if arguments.only else list(RUNS)
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        raise UserError(f"--only: {unknown} are none of {'; '.join(RUNS)}")
    seeds = arguments.seeds.split(",")
    if not all(seed.isdecimal() for seed in seeds):
        raise UserError(f"--seeds must be whole numbers, found {arguments.seeds}")
    return names, [int(seed) for seed in seeds], arguments


def claim(folder, corpus_folder):
    """Refuse an output folder whose finished runs are of something else."""
    settings = {"corpus": str(corpus_folder), "common": list(COMMON), "runs": RUNS}
    path = folder / "ablation.json"
    if path.exists() and json.loads(path.read_text("utf-8")) != settings:
        raise UserError(
            f"{folder} holds runs of another corpus or with other settings (see "
            f"{path.name}): give another --output_folder."
        )
    write_json(path, settings)


def train(name, seed, folder, arguments):
    """One run of train.py, unless it is finished."""
    output_folder = run_folder(folder, name, seed)
    if (output_folder / "metrics.json").exists():
        return
    options = RUNS[name] | {
        "corpus_folder": arguments.corpus_folder.resolve(),
        "output_folder": output_folder,
        "seed": seed,
    }
    for key, place in (("reverb", "rooms"), ("background", "noises")):
        if RUNS[name].get(key):
            options[f"{key}_folder"] = folder / place
    result = subprocess.run(
        [
            *(sys.executable, "train.py", "hparams/train.yaml", *COMMON),
            *(f"--{key}={value}" for key, value in options.items()),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise UserError(f"{name}, seed {seed}: {result.stderr[-2000:]}")
    macro = results(folder, name, [seed])[seed]["macro"]
    print(f"{name}, seed {seed}: {macro:.3f}", flush=True)


def run_folder(folder, name, seed):
    """Where a run's experiment lies."""
    return folder / name.replace(", ", "_").replace(" ", "_") / str(seed)


def results(folder, name, seeds) -> dict[int, dict[str, float]]:
    """AUROC of the test split, of the seeds that are there.

    Returns: Seed → label, or "macro" → AUROC, NaN where there is none.
    """
    by_seed = {}
    for seed in seeds:
        path = run_folder(folder, name, seed) / "metrics.json"
        if not path.exists():
            continue
        metrics = json.loads(path.read_text("utf-8"))
        values = {**metrics["labels"], "macro": metrics["macro"]}
        aurocs = {key: entry["auroc"]["value"] for key, entry in values.items()}
        by_seed[seed] = {
            key: np.nan if auroc is None else float(auroc)
            for key, auroc in aurocs.items()
        }
    return by_seed


def format_table(table: dict[str, dict]) -> str:
    """A Markdown table: mean over seeds, standard deviation, difference from none.

    table: Name of the run → what `results` gives.
    """
    table = {name: by_seed for name, by_seed in table.items() if by_seed}
    if not table:
        return "No run is finished."
    first = next(iter(next(iter(table.values())).values()))
    labels = [key for key in first if key != "macro"]
    lines = [
        f"| augmentation | macro AUROC | from none | {' | '.join(labels)} |",
        "|---|---|---|" + "---|" * len(labels),
    ]
    for name, by_seed in table.items():
        macro = [values["macro"] for values in by_seed.values()]
        spread = f" ± {np.std(macro, ddof=1):.3f}" if len(macro) > 1 else ""
        cells = [f"{np.mean(macro):.3f}{spread}"]
        cells.append("" if name == "none" else _from(table.get("none", {}), by_seed))
        for label in labels:
            mean = np.mean([values[label] for values in by_seed.values()])
            cells.append(f"{mean:.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _from(none, by_seed):
    """Difference from the runs of the same seeds without augmentation."""
    differences = [
        values["macro"] - none[seed]["macro"]
        for seed, values in by_seed.items()
        if seed in none
    ]
    if not differences:
        return ""
    lowest, highest = min(differences), max(differences)
    return f"{np.mean(differences):+.3f} ({lowest:+.3f} to {highest:+.3f})"


def make_rooms(folder, n_rooms=20):
    """Impulse responses: white noise under exponential decay (Polack, 1988).

    Reverberation times of 0.2 to 0.8 s; the direct sound is 3 to 12 dB above the rest.
    """
    generator = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n_rooms):
        reverberation_s = generator.uniform(0.2, 0.8)
        time_s = np.arange(round(reverberation_s * SAMPLE_RATE)) / SAMPLE_RATE
        # 60 dB lower after the reverberation time
        tail = generator.standard_normal(len(time_s)) * 10 ** (
            -3 * time_s / reverberation_s
        )
        tail *= 10 ** (-generator.uniform(3, 12) / 20) / np.linalg.norm(tail)
        tail[0] = 1
        soundfile.write(folder / f"room{i:02d}.wav", tail / 2, SAMPLE_RATE)


def make_noises(folder, n_noises=10, duration_s=10):
    """Noises whose power falls by 3 to 9 dB per octave, with a hum in every second."""
    generator = np.random.default_rng(2)
    folder.mkdir(parents=True, exist_ok=True)
    n_samples = duration_s * SAMPLE_RATE
    frequency = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    frequency[0] = np.inf
    for i in range(n_noises):
        spectrum = np.fft.rfft(generator.standard_normal(n_samples))
        noise = np.fft.irfft(spectrum * frequency ** (-generator.uniform(0.5, 1.5)))
        noise /= np.abs(noise).max()
        if i % 2:
            time_s = np.arange(n_samples) / SAMPLE_RATE
            noise += sum(np.sin(2 * np.pi * 50 * k * time_s) / k for k in range(1, 6))
        soundfile.write(
            folder / f"noise{i:02d}.wav", noise / np.abs(noise).max() / 2, SAMPLE_RATE
        )


if __name__ == "__main__":
    sys.exit(main())
