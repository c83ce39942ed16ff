"""What the audit could have found with so many subjects: the power of its tests.

A normal approximation, checked by tests/simulations/audit_power.py.
"""

import math

import numpy as np
from scipy.stats import norm

#: The AUROCs with which something tells a label, for which power is told.
AUROCS = (0.75, 0.85, 0.95)

#: Of the folds of a probe, the share of subjects that it is fitted to.
FITTED = 0.8

#: AUROC scatters so much more where it is of five probes than where it is of one score:
#: by chance alone, and where there is something to find.
SPREAD_BY_CHANCE, SPREAD = 1.3, 1.15


def largest_p(n_draws: int, n_tests: int, alpha: float) -> float:
    """The p-value of chance at which half of the permutation tests flag.

    A test flags where p = (n_extreme + 1) / (n_draws + 1), times the number of tests as
    in the first of Holm's steps, is below alpha. With few draws that is less than
    alpha / n_tests.

    >>> round(largest_p(9999, 10, 0.05), 4)
    0.0049
    >>> round(largest_p(399, 10, 0.05), 4)
    0.0017
    """
    allowed = math.ceil(alpha * (n_draws + 1) / n_tests) - 1  # n_extreme + 1
    return max(0.0, allowed - 0.3) / (n_draws + 1)


def power(
    auroc: float,
    n_positive: float,
    n_negative: float,
    p: float,
    least: float,
    n_features: float | None = None,
) -> float:
    """The share of studies of this size that find what tells a label.

    What tells it is the same in all recordings of a subject, as a microphone is, so
    that subjects count and not recordings; its distribution is normal in both classes.
    A probe that has to learn it among features of no meaning reaches a lower AUROC:
    that of the difference of two means, each with an error in every feature. The
    variance of AUROC by chance is that of Mann and Whitney, else that of Hanley and
    McNeil (1982), Radiology 143:29-36.

    auroc: How well it tells the label.
    n_positive, n_negative: Subjects.
    p: At which a test finds something, of the side above 0.5.
    least: Lower values are not looked at.
    n_features: Independent features of a probe; None: of a score there is nothing to
        learn.

    >>> round(power(0.85, 20, 20, 0.01, 0.65), 2), power(0.85, 200, 200, 0.01, 0.65)
    (0.98, 1.0)
    """
    fitted = n_features is not None
    distance = math.sqrt(2) * norm.ppf(auroc)
    noise = (n_features or 0) / FITTED * (1 / n_positive + 1 / n_negative)
    reached = norm.cdf(distance**2 / math.sqrt(distance**2 + noise) / math.sqrt(2))
    by_chance = math.sqrt(
        (n_positive + n_negative + 1) / (12 * n_positive * n_negative)
    ) * (SPREAD_BY_CHANCE if fitted else 1)
    needed = max(least, 0.5 - norm.ppf(p) * by_chance)
    error = _hanley_mcneil(reached, n_positive, n_negative) * (SPREAD if fitted else 1)
    return float(norm.cdf((reached - needed) / error))


def _hanley_mcneil(auroc, n_positive, n_negative):
    """The standard error of an AUROC of subjects."""
    square = auroc**2
    variance = (
        auroc * (1 - auroc)
        + max(n_positive - 1, 0) * (auroc / (2 - auroc) - square)
        + max(n_negative - 1, 0) * (2 * square / (1 + auroc) - square)
    )
    return math.sqrt(variance / (n_positive * n_negative))


def subjects_of_each(targets: np.ndarray, subjects: np.ndarray) -> tuple[float, float]:
    """How many subjects are positive and how many negative.

    targets, subjects: [n]. A subject whose recordings differ is partly in both.

    >>> subjects_of_each(np.array([1, 1, 0, 1]), np.array(list("aabb")))
    (1.5, 0.5)
    """
    names, index = np.unique(subjects, return_inverse=True)
    positive = float((np.bincount(index, targets) / np.bincount(index)).sum())
    return positive, len(names) - positive


def in_words(share: float) -> str:
    """A share of studies.

    >>> in_words(0.02), in_words(0.31), in_words(0.97)
    ('hardly any such study', 'about 3 of 10 such studies', 'nearly every such study')
    """
    tenths = max(1, round(10 * share))
    if share < 0.05:
        return "hardly any such study"
    if tenths == 10:
        return "nearly every such study"
    return f"about {tenths} of 10 such studies"
