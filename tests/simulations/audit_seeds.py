"""Is a planted confound flagged, and is a clean corpus not? Over many seeds.

    OMP_NUM_THREADS=1 python tests/simulations/audit_seeds.py [--n_seeds=20]
        [--n_recordings=4] [--n_jobs=2]

Each seed makes two small demo corpora (recipes/demo), of 40 subjects with 4 recordings
each: one as it is, and its twin whose noise floor is tied to strained voice. Prints how
many had which label flagged, by which probe, as the tables of recipes/demo/README.md.
It takes about three quarters of an hour of one core.
"""

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.audio import inspection, loading  # noqa: E402
from local.evaluation.confound_audit import audit_labels, extract  # noqa: E402
from recipes.demo.cohort import LABELS  # noqa: E402

RATE = 16000
N_SUBJECTS = 40
CORPORA = {"as it is": (), "noise planted": ("--confound=noise:strained",)}
PROBES = ("capture", "silence", "behaviour")


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n_seeds", type=int, default=20)
    parser.add_argument("--n_recordings", type=int, default=4, help="per subject")
    parser.add_argument("--n_jobs", type=int, default=1)
    given = parser.parse_args()
    size = (f"--n_subjects={N_SUBJECTS}", f"--n_recordings={given.n_recordings}")
    for corpus, options in CORPORA.items():
        with ProcessPoolExecutor(given.n_jobs) as pool:
            study = partial(audit_corpus, options=(*size, *options))
            results = list(pool.map(study, range(given.n_seeds)))
        print_table(corpus, results)


def audit_corpus(seed: int, options: tuple[str, ...]) -> dict:
    """Make a small demo corpus and audit all of its recordings.

    seed: Of the corpus and of the audit.
    options: Of recipes/demo/prepare.py.

    Returns: As `local.evaluation.confound_audit.audit_labels` gives it.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, ROOT / "recipes" / "demo" / "prepare.py")
        given = (f"--corpus_folder={folder}", f"--seed={seed}", "--n_jobs=1")
        subprocess.run(
            [*command, *given, *options], check=True, stdout=subprocess.DEVNULL
        )
        manifest, features = measure_corpus(Path(folder))
    return audit_labels(manifest, features, LABELS, seed=seed)


def measure_corpus(folder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure all recordings of a corpus for the audit.

    Returns manifest, features: [n rows]
    """
    tables = [pd.read_csv(path) for path in sorted((folder / "splits").glob("*.csv"))]
    manifest = pd.concat(tables, ignore_index=True)
    rows = []
    for uid in manifest["uid"]:
        files = loading.recording_files(folder / "audio" / uid)
        audio = loading.AudioFormat()
        row = vars(inspection.inspect_recording(files, audio))
        waveform = loading.load_recording(files, loading.read_metadata(files), audio)
        rows.append(extract(waveform, RATE, row)[0])
    return manifest, pd.DataFrame(rows)


def print_table(corpus: str, results: list[dict]):
    """Print what the audits of the corpora of one kind found, a row per label.

    corpus: The kind.
    results: What `audit_corpus` gives, per seed.
    """
    n_any = sum(any(is_flagged(found[n]) for n in LABELS) for found in results)
    print(f"\n{corpus}: a label is flagged in {n_any} of {len(results)} corpora\n")
    titles = " | ".join(f"{probe} probe" for probe in PROBES)
    print(f"| {corpus} | flagged | {titles} |\n|---|---|---|---|---|")
    for name in LABELS:
        n_flagged = sum(is_flagged(found[name]) for found in results)
        cells = [
            describe([found[name][f"{probe}_probe_auroc"] for found in results])
            for probe in PROBES
        ]
        print(f"| {name} | {n_flagged} | {' | '.join(cells)} |", flush=True)


def is_flagged(measure):
    """Whether a label or one of its measures is flagged."""
    return measure["status"] == "flagged"


def describe(measures):
    """Mean and range of the AUROCs of one probe, and how many are flagged."""
    values = [measure["value"] for measure in measures if measure["value"] is not None]
    if not values:
        return "not computable"
    shown = f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
    if len(values) < len(measures):
        shown += f" in {len(values)}"
    return f"{shown}, {sum(map(is_flagged, measures))} flagged"


if __name__ == "__main__":
    main()
