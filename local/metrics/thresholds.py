"""Thresholds on probabilities: chosen on some subjects to be used on others.

A recording is called positive where its probability is the threshold or above. The
subjects that a threshold is chosen on must not be among those that it is judged on.
"""

import numpy as np
from numpy.typing import ArrayLike

from local.metrics.estimate import subjects_by_class, too_few_subjects
from local.metrics.resampling import draw_subjects

#: With fewer subjects of a class, nothing is chosen, fitted or said of a subgroup.
MIN_TO_CHOOSE = 10

#: The same of predictions that stand in for validation: see docs/evaluation.md.
MIN_OUT_OF_FOLD = 5

#: Draws of the subjects that chose a threshold, and the level of its interval.
N_DRAWS = 300
LEVEL = 0.95

#: Whose predictions may choose a threshold.
VALIDATION = "validation"
OUT_OF_FOLD = "out-of-fold training"
CROSS_FITTED = "cross-fitted training"
OTHER_FOLDS = "other folds"

#: The rule of a threshold that is given, and its source.
FIXED, GIVEN = "fixed", "given"

NO_PREDICTIONS = {
    VALIDATION: "there are no such predictions",
    CROSS_FITTED: "there are no such predictions (cross_validate.py with the same "
    "options makes them; then train.py --cross_fitted_csv=<its predictions.csv>)",
}


def choose_threshold(
    targets: ArrayLike,
    probabilities: ArrayLike,
    subjects: ArrayLike,
    rule: str | dict = "youden",
    at_least: int = MIN_TO_CHOOSE,
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
    at_least: Subjects of each class.

    Returns: {"value", "rule", "n_positive_subjects"}. The value is None, with a
        "reason", where fewer subjects have positives or negatives, and where no
        threshold makes Youden's sum larger than 0.
    Raises UserError: if the rule is another one.

    >>> subjects = [f"s{i}" for i in range(20)]
    >>> choose_threshold([0, 1] * 10, [0.2, 0.6] * 10, subjects)
    {'value': 0.4, 'rule': 'youden', 'n_positive_subjects': 10}
    """
    targets, probabilities, subjects = _arrays(targets, probabilities, subjects)
    n_subjects = subjects_by_class(targets, subjects)
    value, reason = None, too_few_subjects(*n_subjects, at_least)
    if reason is None:
        value = best_threshold(targets, probabilities, rule)
        if value is None:
            reason = "no threshold is better than calling all recordings the same"
    chosen = {"value": value, "rule": rule, "n_positive_subjects": n_subjects[0]}
    return chosen | ({"reason": reason} if reason else {})


def best_threshold(
    targets: np.ndarray, probabilities: np.ndarray, rule: str | dict
) -> float | None:
    """The threshold that a rule takes, whoever the recordings are of.

    targets, probabilities: [n]

    Returns: None where no threshold is any good, or one of the classes is missing.
    """
    positives, negatives = (probabilities[targets == value] for value in (1, 0))
    if not (len(positives) and len(negatives)):
        return None
    sensitivity = None if rule == "youden" else rule["sensitivity"]
    return _best(*_gaps(positives, negatives), sensitivity)


def chosen_again(
    targets: ArrayLike,
    probabilities: ArrayLike,
    subjects: ArrayLike,
    rule: str | dict = "youden",
    seed: int = 0,
) -> dict:
    """How far a threshold depends on the subjects that happened to choose it.

    Subjects are drawn with replacement, with all their recordings, and choose again.

    targets, probabilities, subjects: As for `choose_threshold`.

    Returns: {"low", "high"}, between which 95 % of these thresholds lie; both None
        where most draws choose none.

    >>> subjects = [f"s{i}" for i in range(20)]
    >>> chosen_again([0, 1] * 10, [0.2, 0.6] * 10, subjects)
    {'low': 0.4, 'high': 0.4}
    """
    targets, probabilities, subjects = _arrays(targets, probabilities, subjects)
    names, index = np.unique(subjects.astype(str), return_inverse=True)
    values = []
    for counts in draw_subjects(len(names), N_DRAWS, seed):
        drawn = np.repeat(np.arange(len(targets)), counts[index])
        values.append(best_threshold(targets[drawn], probabilities[drawn], rule))
    values = [value for value in values if value is not None]
    if 2 * len(values) < N_DRAWS:
        return {"low": None, "high": None}
    bounds = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return dict(zip(("low", "high"), map(float, bounds), strict=True))


def _arrays(targets, probabilities, subjects):
    return (
        np.asarray(targets, dtype=float),
        np.asarray(probabilities, dtype=float),
        np.asarray(subjects, dtype=object),
    )


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
    sources: dict[str, tuple | None], rule: str | dict = "youden", seed: int = 0
) -> dict:
    """Chooses the threshold of one label on the first data that have enough subjects.

    A label that one source has enough subjects for is not chosen on the next one if no
    threshold is any good there. Of validation 10 subjects of each class are enough; the
    other sources stand in for it where there are fewer, and need 5.

    sources: By name, the best one first: (targets, probabilities, subjects), each [n],
        as for `choose_threshold`; None where there are none.
    seed: Of the draws of `chosen_again`.

    Returns: {"value", "low", "high", "rule", "source", "n_positive_subjects"}: "low"
        and "high" as `chosen_again` gives them, "source" None if no source has enough
        subjects. Without a value there is a "reason". "n_positive_subjects" are those
        of the source, without one of the first that has any.

    >>> too_small = ([0, 1], [0.2, 0.6], ["a", "b"])
    >>> threshold_with_fallback({"other folds": too_small})["reason"]
    'other folds: fewer than 5 subjects have positives: 1; fewer than 5 subjects have \
negatives: 1'
    """
    reasons, n_positive_subjects = [], None
    for source, rows in sources.items():
        if rows is None:
            reasons.append(f"{source}: {NO_PREDICTIONS[source]}")
            continue
        targets, _, subjects = _arrays(*rows)
        n_subjects = subjects_by_class(targets, subjects)
        at_least = MIN_TO_CHOOSE if source == VALIDATION else MIN_OUT_OF_FOLD
        too_few = too_few_subjects(*n_subjects, at_least)
        if too_few is None:
            chosen = choose_threshold(*rows, rule, at_least)
            again = {"low": None, "high": None}
            if chosen["value"] is not None:
                again = chosen_again(*rows, rule, seed)
            return {"value": None} | again | chosen | {"source": source}
        reasons.append(f"{source}: {too_few}")
        if n_positive_subjects is None:
            n_positive_subjects = n_subjects[0]
    return {
        **dict.fromkeys(("value", "low", "high")),
        "rule": rule,
        "n_positive_subjects": n_positive_subjects or 0,
        "source": None,
        "reason": "; ".join(reasons),
    }
