"""How often the audit flags a label by chance, and how often a planted microphone.

    OMP_NUM_THREADS=1 python tests/simulations/audit_power.py [--n_studies=200]
        [--subjects=8,12,20,40,100] [--planted=0.75,0.85,0.95]

No audio: features as the audit has them of a corpus with five labels and four
recordings per subject (two to six with --unequal), and a model that knows nothing of
silence. A planted microphone sounds the same in all recordings of a subject, and is
heard in one feature of the capture probe only. Prints the tables of docs/evaluation.md;
hours of one core with the default numbers.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.evaluation.confound_audit import audit_labels, probes  # noqa: E402

LABELS = [f"label {i}" for i in range(1, 6)]

#: Of the variance of a feature, how much is between subjects.
BETWEEN = 0.8


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n_studies", type=int, default=200)
    parser.add_argument("--subjects", type=numbers, default=[8, 12, 20, 40, 100])
    parser.add_argument("--planted", type=numbers, default=[0.75, 0.85, 0.95])
    parser.add_argument("--unequal", action="store_true")
    given = parser.parse_args()
    # For one flag or none it is enough to see a few draws as extreme: with five labels
    # a p-value is small enough with three.
    probes.ENOUGH_EXTREME = 5
    probes.out_of_fold_scores = scores_by_normal_equations
    print("| subjects | microphone's AUROC | any label flagged | its label | told |")
    print("|---|---|---|---|---|")
    for n_subjects in map(int, given.subjects):
        for auroc in [0.5, *given.planted]:
            row = study_many(n_subjects, auroc, given.n_studies, given.unequal)
            print(f"| {n_subjects} | {auroc:g} | {' | '.join(row)} |", flush=True)


def numbers(text):
    """Numbers with commas between them."""
    return [float(number) for number in text.split(",") if number]


def study_many(n_subjects: int, auroc: float, n_studies: int, unequal: bool):
    """How many percent of studies had a flag, and what the audit told of its power.

    Returns: Any label flagged; the label with the microphone; the mean of the power
        that audit.json has for it. Text.
    """
    any_flag, own, told = [], [], []
    for seed in range(n_studies):
        labels = study(n_subjects, auroc, seed, unequal)
        flags = [labels[name]["status"] == "flagged" for name in LABELS]
        any_flag.append(any(flags))
        own.append(labels[LABELS[0]]["capture_probe_auroc"]["status"] == "flagged")
        told.append(labels[LABELS[0]]["capture_probe_auroc"]["power"])
    if auroc == 0.5:
        return [f"{np.mean(any_flag):.1%}", "", ""]
    told = [power.get(f"{auroc:g}", np.nan) for power in told]
    return ["", f"{np.mean(own):.0%}", f"{np.nanmean(told):.0%}"]


def study(n_subjects: int, auroc: float, seed: int, unequal: bool = False) -> dict:
    """Audits one corpus; the microphone, if any, tells the first label.

    auroc: Of the microphone; 0.5: there is none.

    Returns: As `audit_labels` gives it.
    """
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 7, n_subjects) if unequal else [4] * n_subjects
    index = np.repeat(np.arange(n_subjects), sizes)
    affected = draw_labels(n_subjects, generator)
    manifest = pd.DataFrame(affected[index], columns=LABELS)
    manifest["subject"] = [f"s{i:03d}" for i in index]

    def field(n, between=BETWEEN):
        own = generator.normal(size=(n_subjects, n))[index]
        return own * between**0.5 + generator.normal(size=(len(index), n)) * (
            (1 - between) ** 0.5
        )

    features = pd.DataFrame(field(2), columns=["capture_level", "capture_bandwidth"])
    distance = 2**0.5 * norm.ppf(auroc)
    features["capture_noise"] = field(1, 1.0)[:, 0] + distance * manifest[LABELS[0]]
    features["capture_format"] = generator.choice(["WAV", "MP3"], n_subjects)[index]
    bands = field(6) @ generator.normal(size=(6, 40)) + field(40) / 2
    silence = pd.DataFrame(bands, columns=[f"silence_{i:02d}" for i in range(40)])
    features = pd.concat([features, silence], axis=1)
    features["behaviour_duration"] = field(1)
    logits = field(len(LABELS))
    return audit_labels(manifest, features, LABELS, silence_logits=logits, seed=seed)


def scores_by_normal_equations(features, targets, folds):
    """What `probes.out_of_fold_scores` gives, without what scikit-learn checks."""
    scores = np.zeros(len(targets))
    for fold in np.unique(folds):
        inside = folds == fold
        others, centre = features[~inside], features[~inside].mean(axis=0)
        left = others - centre
        matrix = left.T @ left
        matrix[np.diag_indices_from(matrix)] += probes.PENALTY
        weights = np.linalg.solve(matrix, left.T @ targets[~inside])
        scores[inside] = targets[~inside].mean() + (features[inside] - centre) @ weights
    return scores


def draw_labels(n_subjects, generator):
    """[n_subjects, n_labels], 0 or 1: half have the first, half to a quarter others."""
    illness = generator.normal(size=(n_subjects, 1))
    scores = 0.6 * illness + 0.8 * generator.normal(size=(n_subjects, len(LABELS)))
    places = scores.argsort(axis=0).argsort(axis=0)
    shares = np.array([0.5, 0.5, 0.4, 0.3, 0.25])
    return (places >= np.round(n_subjects * (1 - shares))).astype(float)


if __name__ == "__main__":
    main()
