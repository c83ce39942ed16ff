"""How often the 95 % interval of AUROC holds the truth.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/simulations/coverage.py

Prints the tables of docs/intervals.md within ten minutes on one core.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from local.metrics.intervals import auroc_interval

N_SUBJECTS = (20, 40, 100)
TRUTHS = (0.75, 0.90, 0.97)
N_RECORDINGS = 6
INTRACLASS_CORRELATION = 0.6
REPETITIONS = 4000


def simulated(
    generator: np.random.Generator,
    n_subjects: int,
    truth: float,
    varying: bool,
    share: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a study: normal scores, correlated within the subject.

    truth: AUROC of two recordings of different subjects.
    varying: Whether each recording has a label of its own, or each subject.
    share: Of positives: the chance of each recording, or that many of the subjects.

    Returns targets, scores, subjects: [n_subjects * N_RECORDINGS]
    """
    subjects = np.repeat(np.arange(n_subjects), N_RECORDINGS)
    if varying:
        targets = generator.random(len(subjects)) < share
    else:
        targets = subjects < round(share * n_subjects)
    of_subject = generator.normal(size=n_subjects)[subjects]
    scores = np.sqrt(INTRACLASS_CORRELATION) * of_subject
    scores += np.sqrt(1 - INTRACLASS_CORRELATION) * generator.normal(size=len(subjects))
    # two independent scores of variance 1 differ with variance 2
    return (
        targets.astype(int),
        scores + np.sqrt(2) * norm.ppf(truth) * targets,
        subjects,
    )


def coverage(
    interval_of: Callable,
    n_subjects,
    truth,
    varying,
    share,
    repetitions: int,
    seed: int = 1,
) -> dict:
    """Simulate studies and compare their intervals with the truth.

    interval_of: Of targets, scores and subjects.
    n_subjects, truth, varying, share: As of `simulated`.

    Returns: The shares of intervals that hold the truth ("holds"), are too low
        ("below") or too high ("above"), and their median width ("width").
    """
    generator = np.random.default_rng(seed)
    bounds = []
    for _ in range(repetitions):
        study = simulated(generator, n_subjects, truth, varying, share)
        interval = interval_of(*study)
        bounds.append((interval["low"], interval["high"]))
    low, high = np.array(bounds, dtype=float).T
    below, above = (high < truth).mean(), (low > truth).mean()
    width = np.median(high - low)
    return {"holds": 1 - below - above, "below": below, "above": above, "width": width}


def print_table(cells):
    """Print a Markdown table with a row per (n_subjects, varying, share, truth)."""
    print("| subjects | label | positive | AUROC | holds | below | above | width |")
    print("| -: | :- | -: | -: | -: | -: | -: | -: |")
    for n_subjects, varying, share, truth in cells:
        cell = n_subjects, truth, varying, share
        found = coverage(auroc_interval, *cell, REPETITIONS)
        kind = "varying" if varying else "constant"
        shares = " | ".join(f"{found[key]:.1%}" for key in ("holds", "below", "above"))
        print(
            f"| {n_subjects} | {kind} | {share:.1%} | {truth} | {shares} "
            f"| {found['width']:.2f} |",
            flush=True,
        )
    print()


def main():
    """Print the grid, and what happens with five positive subjects."""
    print_table(
        (n_subjects, varying, 0.5, truth)
        for varying in (False, True)
        for n_subjects in N_SUBJECTS
        for truth in TRUTHS
    )
    print_table(
        (n_subjects, False, 5 / n_subjects, truth)
        for n_subjects in N_SUBJECTS
        for truth in TRUTHS
    )


if __name__ == "__main__":
    main()
