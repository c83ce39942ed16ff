"""Is a planted confound flagged, and is a clean corpus not? Over many seeds.

    python tests/simulations/audit_seeds.py --corpus_folder=corpora/demo [--n_seeds=20]

From the demo corpus (`make demo` makes it; recipes/demo) each seed draws 40 subjects
and makes four corpora of half of their recordings:

    as it is        nothing is changed; few recordings have a second of silence
    noise planted   white noise, 10 to 20 dB below the speech, where a label is 1
    rooms           a second of room before and after the speech, quiet or noisy, drawn
                    for each session
    rooms planted   the same, but noisy where a label is 1

It prints how many of the seeds had the planted label flagged, by which probe, and how
many had any label flagged. It takes about ten minutes of one core.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local import audio, inspection  # noqa: E402
from local.audit import audit_labels, extract  # noqa: E402
from local.labels import flatten, read_label_groups  # noqa: E402

RATE = 16000
N_SUBJECTS = 40
PLANTED = "strained"

#: Seconds of room at either end, and its level below the recording's.
ROOM_S, QUIET_DB, NOISY_DB = 1.0, (38.0, 45.0), (10.0, 20.0)

#: Which versions of a recording each corpus has: for 0 and for 1.
CORPORA = {
    "as it is": ("plain", "plain", False),
    "noise planted": ("plain", "noise", True),
    "rooms": ("quiet room", "noisy room", False),
    "rooms planted": ("quiet room", "noisy room", True),
}


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus_folder", type=Path, required=True)
    parser.add_argument("--n_seeds", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = flatten(read_label_groups(given.corpus_folder / "labels.txt"))
    manifest, versions = measure_corpus(given.corpus_folder)
    for corpus, (zero, one, by_label) in CORPORA.items():
        results = [
            audit_draw(manifest, versions[zero], versions[one], by_label, names, seed)
            for seed in range(given.n_seeds)
        ]
        print_counts(corpus, results, names)


def measure_corpus(folder):
    """Extract the features of all versions of all recordings.

    Returns
    -------
    manifest : pandas.DataFrame
    versions : dict of str to pandas.DataFrame
        Features of each version, in the order of the manifest.
    """
    tables = [pd.read_csv(path) for path in sorted((folder / "splits").glob("*.csv"))]
    # every second one, for the time it takes: half of each subject's
    manifest = pd.concat(tables, ignore_index=True)[::2].reset_index(drop=True)
    rows = {}
    for number, uid in enumerate(manifest["uid"]):
        files = audio.recording_files(folder / "audio" / uid)
        report = inspection.inspect_recording(files)
        waveform = audio.load_recording(files, audio.read_metadata(files))
        generator = np.random.default_rng(number)
        for version, changed in make_versions(waveform.numpy(), generator).items():
            level_dbfs = 10 * np.log10(np.mean(changed.astype(float) ** 2))
            row = vars(report) | {"level_dbfs": level_dbfs}
            features, _ = extract(torch.from_numpy(changed), RATE, row)
            rows.setdefault(version, []).append(features)
    return manifest, {name: pd.DataFrame(found) for name, found in rows.items()}


def make_versions(samples, generator):
    """A recording [time] as it is, with noise, and in two rooms."""

    def add_noise(samples, below_db):
        level = np.sqrt(np.mean(samples**2)) * 10 ** (-below_db / 20)
        return samples + generator.normal(0, level, len(samples))

    in_room = np.pad(samples, round(ROOM_S * RATE))
    versions = {
        "plain": samples,
        "noise": add_noise(samples, generator.uniform(*NOISY_DB)),
        "quiet room": add_noise(in_room, generator.uniform(*QUIET_DB)),
        "noisy room": add_noise(in_room, generator.uniform(*NOISY_DB)),
    }
    return {name: changed.astype(np.float32) for name, changed in versions.items()}


def audit_draw(manifest, zero, one, by_label, names, seed):
    """Audit the recordings of some subjects, each in one of two versions."""
    generator = np.random.default_rng(seed)
    subjects = manifest["subject"].unique()
    drawn = generator.choice(subjects, min(N_SUBJECTS, len(subjects)), replace=False)
    rows = np.flatnonzero(manifest["subject"].isin(drawn))
    manifest = manifest.iloc[rows].reset_index(drop=True)
    if by_label:
        is_one = (manifest[PLANTED] == 1).to_numpy()
    else:
        sessions = manifest.groupby(["subject", "session"]).ngroup()
        is_one = (generator.random(sessions.max() + 1) < 0.5)[sessions]
    versions = pd.concat([zero.iloc[rows], one.iloc[rows]], ignore_index=True)
    features = versions.iloc[np.arange(len(rows)) + len(rows) * is_one]
    features = features.reset_index(drop=True)
    return audit_labels(manifest, features, names, seed=seed)


def print_counts(corpus, results, names):
    """Print what the audits of one corpus found, seed by seed added up."""
    n_any = sum(any(r[n]["status"] == "flagged" for n in names) for r in results)
    print(f"\n{corpus}: any label flagged in {n_any} of {len(results)} seeds")
    for name in names:
        statuses = pd.Series([r[name]["status"] for r in results]).value_counts()
        print(f"  {name:28}{statuses.to_dict()}")
        for measure in (
            "capture_probe_auroc",
            "silence_probe_auroc",
            "behaviour_probe_auroc",
        ):
            found = [r[name][measure] for r in results]
            values = [m["value"] for m in found if m["value"] is not None]
            n_flagged = sum(m["status"] == "flagged" for m in found)
            shown = "not computable"
            if values:
                low, high = min(values), max(values)
                shown = f"{np.mean(values):.3f} ({low:.3f} to {high:.3f})"
                shown += f" in {len(values)} seeds, flagged in {n_flagged}"
            print(f"    {measure:26}{shown}")


if __name__ == "__main__":
    main()
