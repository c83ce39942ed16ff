"""How often the intervals of calibration hold the truth.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/simulations/calibration.py

Prints a table within five minutes on one core; docs/evaluation.md sums it up.
"""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from local.metrics.calibration import (
    calibration_curve,
    calibration_intercept,
    calibration_slope,
)

N_SUBJECTS = (20, 40, 100)
SLOPES = (1.0, 0.7)
MEANS = (0.0, -1.7)
N_RECORDINGS = 6
INTRACLASS_CORRELATION = 0.6
SPREAD = 1.5
REPETITIONS = 1000

#: Places of the logits' distribution at which the band of the line is looked at.
QUANTILES = (0.1, 0.5, 0.9)


def simulated(
    generator: np.random.Generator, n_subjects: int, slope: float, mean: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a study: normal logits, and targets that go with them in a known way.

    Both are correlated within the subject; the chance of a positive is
    expit(slope * logit) of each recording.

    slope: 1 for a perfect model.
    mean: Of the logits: 0 makes half of the recordings positive, -1.7 a quarter.

    Returns targets, logits, subjects: [n_subjects * N_RECORDINGS]
    """
    subjects = np.repeat(np.arange(n_subjects), N_RECORDINGS)

    def correlated():
        of_subject = generator.normal(size=n_subjects)[subjects]
        own = generator.normal(size=len(subjects))
        share = INTRACLASS_CORRELATION
        return np.sqrt(share) * of_subject + np.sqrt(1 - share) * own

    logits = mean + SPREAD * correlated()
    targets = norm.cdf(correlated()) < expit(slope * logits)
    return targets.astype(float), logits, subjects


def true_intercept(slope: float, mean: float) -> float:
    """Calibration in the large of infinitely many recordings."""
    places = np.linspace(-8, 8, 4001)
    weights, logits = norm.pdf(places), mean + SPREAD * places
    weights /= weights.sum()
    prevalence = weights @ expit(slope * logits)
    return brentq(lambda shift: weights @ expit(shift + logits) - prevalence, -5, 5)


def studies(n_subjects, slope, mean, repetitions, seed=1) -> Iterator[dict]:
    """Entries of simulated studies, each beside the truth.

    Returns: {"slope", "intercept", "band 0.1", …}, each (truth, low, high); of the
        studies that have intervals.
    """
    generator = np.random.default_rng(seed)
    intercept = true_intercept(slope, mean)
    for _ in range(repetitions):
        targets, logits, subjects = simulated(generator, n_subjects, slope, mean)
        entry = calibration_slope(targets, logits, subjects)
        if entry["low"] is None:
            continue
        shift = calibration_intercept(targets, logits, subjects)
        found = {
            "slope": (slope, entry["low"], entry["high"]),
            "intercept": (intercept, shift["low"], shift["high"]),
        }
        line = calibration_curve(targets, expit(logits), subjects)["line"]
        for quantile in QUANTILES:
            place = expit(np.quantile(logits, quantile))
            bounds = (
                np.interp(place, line["probability"], line[b]) for b in ("low", "high")
            )
            truth = expit(slope * np.quantile(logits, quantile))
            found[f"band {quantile}"] = truth, *bounds
        yield found


def coverage(n_subjects, slope, mean, repetitions, seed=1) -> dict[str, float]:
    """The share of intervals that hold the truth, and of studies that have them.

    Returns: {"computed", "slope", "intercept", "band 0.1", …}.
    """
    entries = list(studies(n_subjects, slope, mean, repetitions, seed))
    holds = {
        name: np.mean([low <= truth <= high for truth, low, high in column])
        for name in entries[0]
        for column in [[entry[name] for entry in entries]]
    }
    return {"computed": len(entries) / repetitions} | holds


def main():
    """Print the grid as a Markdown table."""
    names = ("computed", "slope", "intercept", *(f"band {q}" for q in QUANTILES))
    print(f"| subjects | true slope | positive | {' | '.join(names)} |")
    print(f"|{' -: |' * (len(names) + 3)}")
    for slope in SLOPES:
        for mean in MEANS:
            generator = np.random.default_rng(0)
            prevalence = simulated(generator, 5000, slope, mean)[0].mean()
            for n_subjects in N_SUBJECTS:
                found = coverage(n_subjects, slope, mean, REPETITIONS)
                shares = " | ".join(f"{found[name]:.1%}" for name in names)
                print(
                    f"| {n_subjects} | {slope:g} | {prevalence:.0%} | {shares} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
