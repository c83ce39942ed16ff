"""Mending probabilities that do not mean what they say."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.model_selection import GroupKFold

from local.data.folds import MAX_FOLDS
from local.metrics.cases import finite_logits
from local.metrics.estimate import subjects_by_class, too_few_subjects
from local.metrics.intervals import MIN_SUBJECTS
from local.metrics.logistic import Line, fit_line, fit_shift, fit_slope
from local.metrics.measures import brier, log_loss
from local.metrics.thresholds import MIN_TO_CHOOSE

KINDS = ("temperature", "platt")

CROSS_FITTED = (
    "Intercept and slope are fitted to all recordings of this split. Brier score and "
    "log loss are of recordings that were left out of the fit, in folds of subjects."
)


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


def cross_fitted_recalibration(
    targets: np.ndarray, probabilities: np.ndarray, subjects: np.ndarray, seed: int
) -> dict:
    """What the probabilities would be worth after recalibration on these subjects.

    In the large: one number is added to all logits. Slope and intercept: they are also
    multiplied by one. Both are fitted to all recordings, but Brier score and log loss
    are those of recordings whose fold of subjects the fit left out: judged by those
    that it was fitted to, a fit always looks better. The folds are not balanced
    over targets, as balanced ones tell the fit the prevalence of those it leaves out.

    targets: [n], 0 or 1.
    probabilities, subjects: [n]
    seed: Of the folds.

    Returns: {"in_the_large": {"intercept", "brier", "log_loss"}, "slope_and_intercept":
        {"slope", "intercept", "brier", "log_loss"}, "text"}; all None, with a
        "reason", in one that can't be fitted.
    """
    logits, subjects = finite_logits(probabilities), np.asarray(subjects).astype(str)
    reason = too_few_subjects(*subjects_by_class(targets, subjects), MIN_SUBJECTS)
    ways = {
        "in_the_large": (_in_the_large, ("intercept",)),
        "slope_and_intercept": (fit_line, ("slope", "intercept")),
    }
    splitter = GroupKFold(MAX_FOLDS, shuffle=True, random_state=seed)
    splits = [] if reason else list(splitter.split(logits, groups=subjects))
    result = {"text": CROSS_FITTED}
    for name, (fit, parameters) in ways.items():
        names = *parameters, "brier", "log_loss"
        why = reason
        if not why:
            values, why = _cross_fitted(fit, (targets, logits, subjects), splits)
        if why:
            result[name] = dict.fromkeys(names) | {"reason": why}
        else:
            result[name] = {key: values[key] for key in names}
    return result


def _in_the_large(targets, logits, subjects):
    shift = fit_shift(targets, logits, subjects)
    if shift["value"] is None:
        return None, shift["reason"]
    return Line(1.0, shift["value"]), None


def _cross_fitted(fit, rows, splits):
    """The fit to all, and losses of recordings that it left out; or why not."""
    targets, logits, _ = rows
    whole, reason = fit(*rows)
    mended = np.empty(len(targets))
    for rest, left_out in splits:
        line, why = (None, reason) if reason else fit(*(each[rest] for each in rows))
        if why:
            return None, why
        mended[left_out] = expit(line.slope * logits[left_out] + line.intercept)
    weights = np.ones((1, len(targets)))
    return {
        "slope": whole.slope,
        "intercept": float(whole.intercept),
        "brier": float(brier(targets, mended, weights)[0]),
        "log_loss": float(log_loss(targets, mended, weights)[0]),
    }, None
