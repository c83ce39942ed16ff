"""What each augmentation brings: train without, with each alone, and with all of them.

    python recipes/demo/ablation.py --corpus_folder=DIR --output_folder=DIR
        [--seeds=1,2,3] [--only="NAME;..."] [--n_jobs=2]

Every run is a train.py of its own with a small model, one thread each. Finished runs
are not run again; the table is printed at the end, from all that are there.
"""

import argparse
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

from local.errors import UserError  # noqa: E402

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

MASKS = ("--freqm=10", "--timem=20")

#: Half of the recordings of every epoch are changed, with the ranges of train.yaml.
ALONE = {
    "speed": ("--speed=0.5",),
    "stretch": ("--stretch=0.5",),
    "pshift": ("--pshift=0.5",),
    "tshift": ("--tshift=0.5",),
    "reverb": ("--reverb=0.5", "--reverb_folder={folder}/rooms"),
    "background": ("--background=0.5", "--background_folder={folder}/noises"),
    "gauss": ("--gauss=0.5",),
    "gain": ("--gain=0.5",),
    "codec": ("--codec=0.5",),
    "drop_freq": ("--drop_freq=0.5",),
    "drop_chunk": ("--drop_chunk=0.5",),
    "silence": ("--silence=0.5",),
    "mixup": ("--mixup=0.5",),
    "freqm, timem": MASKS,
    "noise": ("--noise=True",),
}

#: Those that leave a speaker's rate as it is.
KEEP_RATE = [name for name in ALONE if name not in ("speed", "stretch")]

RUNS = {
    "none": (),
    **ALONE,
    "all": tuple(option for options in ALONE.values() for option in options),
    "all but speed, stretch": tuple(
        option for name in KEEP_RATE for option in ALONE[name]
    ),
}

SAMPLE_RATE = 16000  # Hz, of rooms and noises


def main():
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus_folder", type=Path, required=True)
    parser.add_argument("--output_folder", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", help="names of runs, separated by semicolons")
    parser.add_argument("--n_jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    names = arguments.only.split(";") if arguments.only else list(RUNS)
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        parser.error(f"--only: {unknown} are none of {'; '.join(RUNS)}")
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    folder = arguments.output_folder.resolve()
    make_rooms(folder / "rooms")
    make_noises(folder / "noises")
    # seed by seed, so that a table of fewer seeds can be looked at early
    todo = [(name, seed) for seed in seeds for name in names]
    try:
        with ThreadPoolExecutor(arguments.n_jobs) as pool:
            list(pool.map(lambda run: train(*run, folder, arguments), todo))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(format_table({name: results(folder, name, seeds) for name in names}))
    return 0


def train(name, seed, folder, arguments):
    """One run of train.py, unless it is finished."""
    output_folder = run_folder(folder, name, seed)
    if (output_folder / "metrics.json").exists():
        return
    options = [option.format(folder=folder) for option in RUNS[name]]
    result = subprocess.run(
        [
            sys.executable,
            "train.py",
            "hparams/train.yaml",
            f"--corpus_folder={arguments.corpus_folder.resolve()}",
            f"--output_folder={output_folder}",
            f"--seed={seed}",
            *COMMON,
            *options,
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
    print(f"{name}, seed {seed}: {macro_auroc(output_folder):.3f}", flush=True)


def run_folder(folder, name, seed):
    """Where a run's experiment lies."""
    return folder / name.replace(", ", "_").replace(" ", "_") / str(seed)


def macro_auroc(output_folder):
    """Of the test split."""
    metrics = json.loads((output_folder / "metrics.json").read_text("utf-8"))
    return metrics["macro"]["auroc"]["value"]


def results(folder, name, seeds):
    """Macro AUROC and AUROC per label of the seeds that are there.

    Returns
    -------
    dict of str to np.ndarray
        "macro" or label → [seed]
    """
    found = {}
    for seed in seeds:
        path = run_folder(folder, name, seed) / "metrics.json"
        if not path.exists():
            continue
        metrics = json.loads(path.read_text("utf-8"))
        values = {k: v["auroc"]["value"] for k, v in metrics["labels"].items()}
        values["macro"] = metrics["macro"]["auroc"]["value"]
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    return {key: np.array(values) for key, values in found.items()}


def format_table(table):
    """A Markdown table: mean over seeds, standard deviation, difference from none."""
    table = {name: values for name, values in table.items() if values}
    labels = [key for key in next(iter(table.values())) if key != "macro"]
    lines = [
        f"| augmentation | macro AUROC | from none | {' | '.join(labels)} |",
        "|---|---|---|" + "---|" * len(labels),
    ]
    for name, values in table.items():
        macro = values["macro"]
        spread = f" ± {macro.std(ddof=1):.3f}" if len(macro) > 1 else ""
        cells = [f"{macro.mean():.3f}{spread}", _difference(macro, table.get("none"))]
        cells += [f"{values[label].mean():.3f}" for label in labels]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(macro, none):
    """From the runs without augmentation of the same seeds."""
    if none is None or len(none["macro"]) != len(macro) or none["macro"] is macro:
        return ""
    difference = macro - none["macro"]
    lowest, highest = difference.min(), difference.max()
    return f"{difference.mean():+.3f} ({lowest:+.3f} to {highest:+.3f})"


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
