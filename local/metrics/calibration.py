"""Whether probabilities mean what they say.

What is judged are probabilities, so the logits here are those of the probabilities:
without the class weight used in training (see `cases.finite_logits`).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from statsmodels.nonparametric.smoothers_lowess import lowess

from local.metrics.cases import finite_logits
from local.metrics.estimate import measure, wilson_interval
from local.metrics.logistic import fit_line, fit_shift

#: Bins of the expected calibration error and of the curve, at most.
N_BINS = 10

#: Van Calster and others (2016), Journal of Clinical Epidemiology 74:167-176.
MIN_FOR_CURVE = 200

#: The share of recordings that each point of the flexible curve is fitted to.
CURVE_SPAN = 0.75

#: Points at which lines and curves are drawn.
N_POINTS = 101


def calibration_metrics(
    targets: ArrayLike, probabilities: ArrayLike, subjects: ArrayLike
) -> dict:
    """Computes all numbers of one label's calibration over its rated recordings.

    targets: [n], 0, 1, or NaN for "not rated".
    probabilities: [n], 0 to 1.
    subjects: [n]

    Returns: As metrics.json has it: "ece", a number, or None with "ece_reason" beside
        it; "calibration_intercept" and "calibration_slope", each {"value", "low",
        "high"}, with a "reason" where one of these is None.

    >>> metrics = calibration_metrics([0, 1], [0.2, 0.8], ["a", "b"])
    >>> round(metrics["ece"], 6), metrics["calibration_slope"]["value"]
    (0.2, None)
    """
    targets, probabilities, subjects = _rated(targets, probabilities, subjects)
    logits = finite_logits(probabilities)
    error = ece(targets, probabilities)
    numbers = {"ece": error}
    if error is None:
        numbers["ece_reason"] = "no recording is rated"
    return numbers | {
        "calibration_intercept": calibration_intercept(targets, logits, subjects),
        "calibration_slope": calibration_slope(targets, logits, subjects),
    }


def _rated(targets, probabilities, subjects):
    """Those of the rated recordings, each [n]."""
    targets = np.asarray(targets, dtype=float)
    rated = ~np.isnan(targets)
    probabilities = np.asarray(probabilities, dtype=float)
    subjects = np.asarray(subjects).astype(str)
    return targets[rated], probabilities[rated], subjects[rated]


def calibration_intercept(
    targets: ArrayLike, logits: ArrayLike, subjects: ArrayLike
) -> dict:
    """Calibration in the large: what must be added to the logits on average.

    The intercept of a logistic regression with the logits as offset, so with a slope of
    1; 0 is perfect, below 0 the probabilities are too high. Cox (1958), Biometrika
    45:562-565; Van Calster and others (2019), BMC Medicine 17:230. The interval is by
    subject, see `local.metrics.logistic`.

    targets: [n], 0 or 1.
    logits: [n], Finite ones.
    subjects: [n]

    Returns: {"value", "low", "high"}, with a "reason" where one of these is None.

    >>> intercept = calibration_intercept([0, 0, 0, 1], [0.0] * 4, list("abcd"))
    >>> round(intercept["value"], 6)  # log(1 / 3)
    -1.098612
    """
    return fit_shift(*_arrays(targets, logits, subjects))


def calibration_slope(
    targets: ArrayLike, logits: ArrayLike, subjects: ArrayLike
) -> dict:
    """The slope of a logistic regression of the targets on the logits.

    1 is perfect, below 1 the probabilities are too extreme, as after overfitting.
    Sources, arguments and result as for `calibration_intercept`.

    >>> calibration_slope([0, 1], [0.0, 0.0], ["a", "b"])["reason"]
    'all logits are the same'
    """
    line, reason = fit_line(*_arrays(targets, logits, subjects))
    return measure(None, reason=reason) if line is None else line.slope_entry()


def _arrays(targets, logits, subjects):
    numbers = (np.asarray(column, dtype=float) for column in (targets, logits))
    return *numbers, np.asarray(subjects).astype(str)


def _bins(probabilities):
    """The bin of each probability, [n], from 0 on without gaps.

    Bins hold equally many recordings, save that equal probabilities stay together.
    """
    inner = np.arange(1, N_BINS) / N_BINS
    places = np.searchsorted(np.quantile(probabilities, inner), probabilities)
    return np.unique(places, return_inverse=True)[1]


def ece(targets: ArrayLike, probabilities: ArrayLike) -> float | None:
    """The expected calibration error; None of no recording.

    The mean over recordings of the distance between the mean probability and the share
    of positives in their bin. At most 10 bins, bounded by the deciles of the
    probabilities (equal mass): Roelofs and others (2022), Mitigating Bias in
    Calibration Error Estimation, AISTATS, who find them less biased than equally wide
    ones. It is above 0 for a perfect model, too, the more so the fewer subjects there
    are: intercept and slope, with their intervals, say more.

    targets: [n], 0 or 1.
    probabilities: [n], 0 to 1.

    >>> round(ece([0, 0, 1, 1], [0.3, 0.3, 0.9, 0.9]), 6)
    0.2
    """
    probabilities = np.asarray(probabilities, dtype=float)
    if not len(probabilities):
        return None
    errors = np.asarray(targets, dtype=float) - probabilities
    in_bins = np.bincount(_bins(probabilities), weights=errors)
    return float(np.abs(in_bins).sum() / len(errors))


def calibration_curve(
    targets: ArrayLike, probabilities: ArrayLike, subjects: ArrayLike
) -> dict:
    """What a figure of calibration shows.

    Bins are those of `ece`. Their intervals are Wilson's, 95 %, with the number of
    subjects in place of that of recordings, as recordings of one subject are alike.

    The line is the logistic regression of which `calibration_slope` tells the slope,
    with its pointwise 95 % band by subject. It can bend in one way only, which is what
    20 to 200 positives tell. From 200 positives and 200 negatives on there is also a
    flexible curve, lowess with a span of 0.75, which shows what the line can't: Austin
    and Steyerberg (2014), Statistics in Medicine 33:517-535; Van Calster and others
    (2016), Journal of Clinical Epidemiology 74:167-176, who advise both.

    targets: [n], 0, 1, or NaN for "not rated".
    probabilities: [n], 0 to 1.
    subjects: [n] of str

    Returns: {"bins": [{"n", "n_subjects", "probability" (the mean), "observed" (the
        share of positives), "low", "high"}, …], "line": {"probability", "observed",
        "low", "high"} of lists, "curve": {"probability", "observed"} of lists}. "line"
        and "curve" are None, with "line_reason" and "curve_reason", where there is
        none.

    >>> curve = calibration_curve([0, 1], [0.5, 0.5], ["a", "b"])
    >>> [(bin["observed"], round(bin["low"], 3)) for bin in curve["bins"]]
    [(0.5, 0.095)]
    >>> curve["line_reason"]
    'all logits are the same'
    """
    rated = _rated(targets, probabilities, subjects)
    line, line_reason = _line(*rated)
    curve, curve_reason = _flexible_curve(*rated[:2])
    reasons = {"line_reason": line_reason, "curve_reason": curve_reason}
    drawn = {"bins": _binned(*rated), "line": line, "curve": curve}
    return drawn | {name: reason for name, reason in reasons.items() if reason}


def _binned(targets, probabilities, subjects):
    """The bins with their intervals."""
    places = _bins(probabilities) if len(targets) else np.array([], dtype=int)
    bins = []
    for place in range(places.max(initial=-1) + 1):
        inside = places == place
        observed, n_subjects = targets[inside].mean(), len(set(subjects[inside]))
        low, high = wilson_interval(observed, n_subjects)
        numbers = {"probability": probabilities[inside].mean(), "observed": observed}
        numbers |= {"low": low, "high": high}
        counts = {"n": int(inside.sum()), "n_subjects": n_subjects}
        bins.append(counts | {name: float(x) for name, x in numbers.items()})
    return bins


def _line(targets, probabilities, subjects):
    """The line and its band, or the reason why there is none."""
    line, reason = fit_line(targets, finite_logits(probabilities), subjects)
    if line is None or line.covariance is None:
        return None, reason or line.too_few
    grid = np.linspace(probabilities.min(), probabilities.max(), N_POINTS)
    numbers = (expit(x) for x in line.log_odds(finite_logits(grid)))
    observed, low, high = numbers
    drawn = {"probability": grid, "observed": observed, "low": low, "high": high}
    return {name: column.tolist() for name, column in drawn.items()}, None


def _flexible_curve(targets, probabilities):
    """The flexible curve, or the reason why there is none."""
    fewer = min((targets == 1).sum(), (targets == 0).sum())
    if fewer < MIN_FOR_CURVE:
        return None, (
            f"a flexible curve needs {MIN_FOR_CURVE} positive and {MIN_FOR_CURVE} "
            f"negative recordings: the rarer class has {fewer}"
        )
    if np.ptp(probabilities) == 0:
        return None, "all probabilities are the same"
    grid = np.linspace(probabilities.min(), probabilities.max(), N_POINTS)
    # it=0: its robust steps would take the rarer class for outliers
    smooth = lowess(targets, probabilities, frac=CURVE_SPAN, it=0, xvals=grid)
    there = np.isfinite(smooth)
    curve = {"probability": grid[there], "observed": smooth[there].clip(0, 1)}
    return {name: numbers.tolist() for name, numbers in curve.items()}, None
