"""Thresholds on probabilities: chosen on some subjects to be used on others.

A recording is called positive where its probability is the threshold or above. The
subjects that a threshold is chosen on must not be among those that it is judged on.
"""

import numpy as np
from numpy.typing import ArrayLike

from local.metrics.estimate import subjects_by_class, too_few_subjects

#: With fewer subjects of a class, nothing is chosen, fitted or said of a subgroup.
MIN_TO_CHOOSE = 10


def choose_threshold(
    targets: ArrayLike,
    probabilities: ArrayLike,
    subjects: ArrayLike,
    rule: str | dict = "youden",
) -> dict:
    """Chooses the threshold of one label.

    "youden" makes sensitivity + specificity - 1 as large as possible: Youden (1950),
    Cancer 3:32-35. {"sensitivity": 0.9} takes the highest threshold that calls at
    least that share of the positive recordings positive, which makes the specificity
    as large as possible. Recordings count, not subjects.

    Every threshold between two neighbouring probabilities does the same to these
    recordings, so the middle between the two is taken; below the lowest probability 0
    is its neighbour. Where several such gaps are equally good, the widest one is.
    Recordings with equal probabilities are never parted.

    targets: [n], 0, 1, or NaN for "not rated".
    probabilities: [n], 0 to 1.
    subjects: [n] of str
    rule: "youden" or {"sensitivity": share}, the share above 0 and at most 1.

    Returns: {"value", "rule", "n_positive_subjects"}. The value is None, with a
        "reason", where fewer than 10 subjects have positives or fewer than 10 have
        negatives, and where no threshold makes Youden's sum larger than 0.
    Raises UserError: if the rule is another one.

    >>> subjects = [f"s{i}" for i in range(20)]
    >>> choose_threshold([0, 1] * 10, [0.2, 0.6] * 10, subjects)
    {'value': 0.4, 'rule': 'youden', 'n_positive_subjects': 10}
    """
    sensitivity = None if rule == "youden" else rule["sensitivity"]
    targets = np.asarray(targets, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    subjects = np.asarray(subjects, dtype=object)
    n_subjects = subjects_by_class(targets, subjects)
    value, reason = None, too_few_subjects(*n_subjects, MIN_TO_CHOOSE)
    if reason is None:
        gaps = _gaps(probabilities[targets == 1], probabilities[targets == 0])
        value = _best(*gaps, sensitivity)
        if value is None:
            reason = "no threshold is better than calling all recordings the same"
    chosen = {"value": value, "rule": rule, "n_positive_subjects": n_subjects[0]}
    return chosen | ({"reason": reason} if reason else {})


def threshold_rule(sensitivity: float | None) -> str | dict:
    """The rule that the yaml's `threshold_sensitivity` asks for.

    Returns: As for `choose_threshold`.

    >>> threshold_rule(None), threshold_rule(0.9)
    ('youden', {'sensitivity': 0.9})
    """
    return "youden" if sensitivity is None else {"sensitivity": sensitivity}


def _gaps(positives, negatives):
    """Where a threshold may lie, from the lowest gap to the highest.

    positives, negatives: [n_positive], [n_negative], their probabilities

    Returns low, high: [n_gaps], probabilities; a threshold is above low and at most
        high
    Returns hits, alarms: [n_gaps], positives and negatives at high or above
    Returns n: (int, int), n_positive and n_negative
    """
    high = np.unique(np.concatenate([positives, negatives]))
    low = np.concatenate([[0.0], high[:-1]])
    hits, alarms = (
        len(own) - np.searchsorted(np.sort(own), high) for own in (positives, negatives)
    )
    return low, high, hits, alarms, (len(positives), len(negatives))


def _best(low, high, hits, alarms, n, sensitivity):
    """The threshold in the best gap; None if there is none."""
    if sensitivity is None:
        # Youden's sum times the number of pairs: whole numbers are exactly equal.
        gain = hits * n[1] - alarms * n[0]
        if gain.max() <= 0:
            return None
        best = np.flatnonzero(gain == gain.max())
        best = best[np.argmax((high - low)[best])]
    else:
        # 1e-9: 0.55 * 200 is more than 110
        best = np.flatnonzero(hits >= sensitivity * n[0] - 1e-9)[-1]
    middle = (low[best] + high[best]) / 2
    # Between two numbers that are next to each other there is no other.
    return float(middle if middle > low[best] else high[best])


def threshold_with_fallback(
    validation: tuple | None, cross_fitted: tuple | None, rule: str | dict = "youden"
) -> dict:
    """Chooses the threshold of one label on the best data that have enough subjects.

    That is validation, or else the training subjects, each predicted by a model that
    was trained without them. A label that validation has enough subjects for is not
    chosen elsewhere if no threshold is any good there.

    validation, cross_fitted: (targets, probabilities, subjects), each [n], as for
        `choose_threshold`; None where there are none.

    Returns: {"value", "rule", "source", "n_positive_subjects"}: "source" is
        "validation", "cross-fitted training" or None. Without a value there is a
        "reason". "n_positive_subjects" are those of the source, without one of
        validation.

    >>> too_small = ([0, 1], [0.2, 0.6], ["a", "b"])
    >>> threshold_with_fallback(too_small, None)["reason"].split("; ")[-1]
    'cross-fitted training: there are no such predictions (cross_validate.py)'
    """
    sources = {"validation": validation, "cross-fitted training": cross_fitted}
    reasons, n_positive_subjects = [], None
    for source, rows in sources.items():
        if rows is None:
            hint = "" if source == "validation" else " (cross_validate.py)"
            reasons.append(f"{source}: there are no such predictions{hint}")
            continue
        targets, _, subjects = rows
        n_subjects = subjects_by_class(
            np.asarray(targets, dtype=float), np.asarray(subjects, dtype=object)
        )
        too_few = too_few_subjects(*n_subjects, MIN_TO_CHOOSE)
        if too_few is None:
            return choose_threshold(*rows, rule) | {"source": source}
        reasons.append(f"{source}: {too_few}")
        if n_positive_subjects is None:
            n_positive_subjects = n_subjects[0]
    return {
        "value": None,
        "rule": rule,
        "n_positive_subjects": n_positive_subjects or 0,
        "source": None,
        "reason": "; ".join(reasons),
    }
