"""Entries of the result files: a value, its bounds, and why something is missing.

A number that can't be computed is None with a reason beside it, never a made-up value.
All numbers are plain Python ones, as JSON wants them.
"""

import numpy as np
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint


def measure(
    value: float | None,
    bounds: tuple[float | None, float | None] = (None, None),
    reason: str | None = None,
) -> dict:
    """A value with its 95 % interval.

    reason: Why one of these is None; left out where none is.

    Returns: {"value", "low", "high"}, and maybe "reason".

    >>> measure(0.5, (0.25, 0.75))
    {'value': 0.5, 'low': 0.25, 'high': 0.75}
    >>> measure(0.5, reason="too few subjects")
    {'value': 0.5, 'low': None, 'high': None, 'reason': 'too few subjects'}
    """
    numbers = [None if number is None else float(number) for number in (value, *bounds)]
    estimate = dict(zip(("value", "low", "high"), numbers, strict=True))
    return estimate | ({"reason": reason} if None in numbers else {})


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: it has a width where nothing varies.

    n: What it is a share of: here subjects, not recordings, since those of one subject
        may all be right or wrong together.

    Returns low, high.

    >>> [round(bound, 3) for bound in wilson_interval(1.0, 20)]
    [0.839, 1.0]
    """
    low, high = proportion_confint(share * n, n, method="wilson")
    # of all or none the bound is the share itself, but for rounding
    return min(float(low), share), max(float(high), share)


def exact_interval(share: float, n: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share: never too narrow.

    n: The subjects that it is a share of.

    Returns low, high.

    >>> [round(bound, 3) for bound in exact_interval(1.0, 20)]
    [0.832, 1.0]
    """
    low, high = proportion_confint(share * n, n, method="beta")
    return min(float(low), share), max(float(high), share)


def subjects_by_class(targets: np.ndarray, subjects: np.ndarray) -> tuple[int, int]:
    """How many subjects have a positive recording, and how many a negative one.

    targets: [n], 0, 1, or NaN for "not rated".
    subjects: [n] of str

    Returns n_positive, n_negative: Subjects who have both count in both.

    >>> from numpy import array
    >>> subjects_by_class(array([0, 1, 1]), array(["a", "a", "b"]))
    (2, 1)
    """
    return len(set(subjects[targets == 1])), len(set(subjects[targets == 0]))


def too_few_subjects(n_positive, n_negative, at_least):
    """Why so many subjects of each class are too few; None if they are enough.

    >>> too_few_subjects(12, 3, at_least=10)
    'fewer than 10 subjects have negatives: 3'
    """
    reasons = [
        f"fewer than {at_least} subjects have {name}: {n}"
        for n, name in ((n_positive, "positives"), (n_negative, "negatives"))
        if n < at_least
    ]
    return "; ".join(reasons) or None


def with_holm(tests: dict[str, dict]) -> dict[str, dict]:
    """Corrects the p-values of several tests by Holm's method.

    tests: Each has "p", None where nothing could be tested: these do not count.

    Returns: With "p_holm" added.

    >>> tests = with_holm({"x": {"p": 0.01}, "y": {"p": 0.04}, "z": {"p": None}})
    >>> [test["p_holm"] for test in tests.values()]
    [0.02, 0.04, None]
    """
    p_values = {
        name: test["p"] for name, test in tests.items() if test["p"] is not None
    }
    corrected = {}
    if p_values:  # statsmodels can't correct none
        holm = multipletests(list(p_values.values()), method="holm")[1]
        corrected = dict(zip(p_values, map(float, holm), strict=True))
    return {
        name: test | {"p_holm": corrected.get(name)} for name, test in tests.items()
    }


def nothing(names, reason):
    """Entries of measures that can't be computed, all for one reason."""
    return {name: measure(None, reason=reason) for name in names}
