"""Mending probabilities that do not mean what they say."""

import numpy as np
from numpy.typing import ArrayLike

from local.metrics.estimate import subjects_by_class, too_few_subjects
from local.metrics.logistic import fit_line, fit_slope
from local.metrics.thresholds import MIN_TO_CHOOSE

KINDS = ("temperature", "platt")


def fit_calibration(
    targets: ArrayLike,
    logits: ArrayLike,
    subjects: ArrayLike,
    kind: str,
    log_weight: float = 0.0,
) -> dict:
    """Fits what makes probabilities of further recordings mean what they say.

    On validation data, by maximum likelihood, unpenalised. "temperature" multiplies
    the logits by one number: Guo and others (2017), On Calibration of Modern Neural
    Networks, ICML. "platt" also adds one: Platt (1999), Probabilistic Outputs for
    Support Vector Machines, without his change of the targets.

    A class weight w adds log w to what a network learns to put out. What is too extreme
    is that output, so the temperature scales it before log w is taken off: slope *
    (logit + log w) - log w is slope * logit + intercept with an intercept of
    (slope - 1) * log w. An intercept that is fitted holds this already.

    targets: [n], 0, 1, or NaN for "not rated".
    logits: [n], Finite ones, without the class weight.
    subjects: [n] of str
    kind: "temperature" or "platt".
    log_weight: Natural logarithm of the class weight in the network's own logits.

    Returns: {"kind", "slope", "intercept"}; slope and intercept are None, with a
        "reason", where nothing can be fitted: fewer than 10 subjects with positives or
        with negatives, classes without overlap, or a slope that is not above 0, which
        would turn the model round.

    >>> fit_calibration([0, 1], [-1.0, 1.0], ["a", "b"], "platt")["reason"]
    'fewer than 10 subjects have positives: 1; fewer than 10 subjects have negatives: 1'
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, found {kind!r}")
    targets, logits = np.asarray(targets, dtype=float), np.asarray(logits, dtype=float)
    rated = ~np.isnan(targets)
    subjects = np.asarray(subjects, dtype=object)
    reason = too_few_subjects(*subjects_by_class(targets, subjects), MIN_TO_CHOOSE)
    slope = intercept = None
    rows = targets[rated], logits[rated]
    if reason is None and kind == "platt":
        line, reason = fit_line(*rows, subjects[rated])
        slope, intercept = (line.slope, line.intercept) if line else (None, None)
    elif reason is None:
        slope, reason = fit_slope(rows[0], rows[1] + log_weight, -log_weight)
        intercept = None if reason else (slope - 1) * log_weight + 0.0  # not -0
    if reason is None and slope <= 0:
        reason = "higher logits do not go with more positives"
        slope = intercept = None
    fitted = {"kind": kind, "slope": slope, "intercept": intercept}
    return fitted | ({"reason": reason} if reason else {})
