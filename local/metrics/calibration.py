"""Whether probabilities mean what they say, and how to mend those that do not.

What is judged are probabilities, so the logits here are those of the probabilities:
without the class weight used in training (see `aggregation.finite_logits`).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, logit
from statsmodels.discrete.discrete_model import Logit
from statsmodels.nonparametric.smoothers_lowess import lowess

from local.data.labels import why_one_class
from local.metrics.cases import finite_logits
from local.metrics.estimate import (
    measure,
    subjects_by_class,
    too_few_subjects,
    wilson_interval,
)
from local.metrics.thresholds import MIN_TO_CHOOSE

KINDS = ("temperature", "platt")

#: Bins of the expected calibration error and of the curve, at most.
N_BINS = 10

#: Sets of targets that are drawn from the probabilities.
N_DRAWS = 1000

#: Van Calster and others (2016), Journal of Clinical Epidemiology 74:167-176.
MIN_FOR_CURVE = 200

#: The share of recordings that each point of the flexible curve is fitted to.
CURVE_SPAN = 0.75

NO_INTERVAL = "no interval is computed for calibration"
SEPARATED = "the logits of the two classes do not overlap: no finite slope is the best"


def calibration_metrics(
    targets: ArrayLike, probabilities: ArrayLike, seed: int
) -> dict:
    """Computes all numbers of one label's calibration over its rated recordings.

    targets: [n], 0, 1, or NaN for "not rated".
    probabilities: [n], 0 to 1.

    Returns: As metrics.json has it: "ece", "ece_if_calibrated", "calibration_intercept"
        and "calibration_slope", each a number, or None with a "…_reason" beside it.

    >>> metrics = calibration_metrics([0, 1], [0.2, 0.8], seed=1)
    >>> round(metrics["ece"], 6), metrics["calibration_slope"]
    (0.2, None)
    """
    targets = np.asarray(targets, dtype=float)
    rated = ~np.isnan(targets)
    targets = targets[rated]
    probabilities = np.asarray(probabilities, dtype=float)[rated]
    logits = finite_logits(probabilities)
    measures = {
        "ece": ece(targets, probabilities),
        "ece_if_calibrated": ece_if_calibrated(probabilities, seed),
        "calibration_intercept": calibration_intercept(targets, logits),
        "calibration_slope": calibration_slope(targets, logits),
    }
    numbers = {}
    for name, estimate in measures.items():
        numbers[name] = estimate["value"]
        if estimate["value"] is None:
            numbers[f"{name}_reason"] = estimate["reason"]
    return numbers


def _measure(value, reason=None):
    return measure(value, reason=reason or NO_INTERVAL)


def calibration_intercept(targets: ArrayLike, logits: ArrayLike) -> dict:
    """Calibration in the large: what must be added to the logits on average.

    The intercept of a logistic regression with the logits as offset, by maximum
    likelihood; 0 is perfect, below 0 the probabilities are too high. Cox (1958),
    Biometrika 45:562-565; Van Calster and others (2019), BMC Medicine 17:230.

    targets: [n], 0 or 1.
    logits: [n], Finite ones.

    Returns: {"value", "low", "high", "reason"}, without an interval.

    >>> round(calibration_intercept([0, 0, 0, 1], [0.0] * 4)["value"], 6)  # log(1 / 3)
    -1.098612
    """
    targets, logits = np.asarray(targets, dtype=float), np.asarray(logits, dtype=float)
    reason = why_one_class(targets)
    if reason:
        return _measure(None, reason)
    # The mean probability must be the prevalence; between these two it crosses it.
    prevalence = targets.mean()
    low, high = logit(prevalence) - logits.max(), logit(prevalence) - logits.min()
    # 1: rounding may leave the ends on the wrong side
    root = brentq(lambda a: expit(a + logits).mean() - prevalence, low - 1, high + 1)
    return _measure(root)


def calibration_slope(targets: ArrayLike, logits: ArrayLike) -> dict:
    """The slope of a logistic regression of the targets on the logits.

    By maximum likelihood, unpenalised; 1 is perfect, below 1 the probabilities are too
    extreme, as after overfitting. Sources as for `calibration_intercept`.

    targets: [n], 0 or 1.
    logits: [n], Finite ones.

    Returns: {"value", "low", "high", "reason"}, without an interval.

    >>> calibration_slope([0, 1], [0.0, 0.0])["reason"]
    'all logits are the same'
    """
    targets, logits = np.asarray(targets, dtype=float), np.asarray(logits, dtype=float)
    (slope, _), reason = _line(targets, logits)
    return _measure(slope, reason)


def _line(targets, logits, with_intercept=True):
    """The best (slope, intercept), or Nones and the reason why there are none."""
    reason = why_one_class(targets)
    if reason is None and np.ptp(logits) == 0:
        reason = "all logits are the same"
    if reason is None and _separated(targets, logits, with_intercept):
        reason = SEPARATED
    if reason:
        return (None, None), reason
    # Numbers near 1, so that Newton's method starts where it converges.
    scale = np.sqrt(np.mean(logits**2))
    columns = np.stack([logits / scale, np.ones_like(logits)], axis=1)
    columns = columns if with_intercept else columns[:, :1]
    model = Logit(targets, columns)
    with np.errstate(over="ignore"):  # of exp, far out, where the probability is 0
        fit = model.fit(disp=False, warn_convergence=False, maxiter=100)
    if not fit.mle_retvals["converged"]:
        return (None, None), "the regression on the logits does not converge"
    intercept = fit.params[1] if with_intercept else 0
    return (float(fit.params[0] / scale), float(intercept)), None


def _separated(targets, logits, with_intercept):
    """Whether a cut parts the classes, touching allowed; no intercept: the cut at 0."""
    positives, negatives = logits[targets == 1], logits[targets == 0]
    if not with_intercept:
        right = np.concatenate([positives, -negatives])
        return bool((right >= 0).all() or (right <= 0).all())
    return bool(
        positives.min() >= negatives.max() or negatives.min() >= positives.max()
    )


def _bins(probabilities):
    """The bin of each probability, [n], from 0 on without gaps.

    Bins hold equally many recordings, save that equal probabilities stay together.
    """
    inner = np.arange(1, N_BINS) / N_BINS
    places = np.searchsorted(np.quantile(probabilities, inner), probabilities)
    return np.unique(places, return_inverse=True)[1]


def ece(targets: ArrayLike, probabilities: ArrayLike) -> dict:
    """The expected calibration error.

    The mean over recordings of the distance between the mean probability and the share
    of positives in their bin. At most 10 bins, bounded by the deciles of the
    probabilities (equal mass): Roelofs and others (2022), Mitigating Bias in
    Calibration Error Estimation, AISTATS, who find them less biased than equally wide
    ones. It is above 0 for a perfect model, too: see `ece_if_calibrated`.

    targets: [n], 0 or 1.
    probabilities: [n], 0 to 1.

    Returns: {"value", "low", "high", "reason"}, without an interval.

    >>> round(ece([0, 0, 1, 1], [0.3, 0.3, 0.9, 0.9])["value"], 6)
    0.2
    """
    targets = np.asarray(targets, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    if not len(targets):
        return _measure(None, "no recording is rated")
    return _measure(_ece(targets - probabilities, _bins(probabilities)))


def _ece(errors, bins):
    """errors [n], targets less probabilities; bins [n]"""
    return np.abs(np.bincount(bins, weights=errors)).sum() / len(errors)


def ece_if_calibrated(
    probabilities: ArrayLike, seed: int, n_draws: int = N_DRAWS
) -> dict:
    """The mean expected calibration error of a model that is perfectly calibrated.

    By parametric bootstrap: targets are drawn from the probabilities themselves. An
    `ece` near it is no sign of bad calibration. Recordings are drawn one by one; those
    of one subject being alike would make it somewhat larger.

    probabilities: [n], 0 to 1, those that `ece` was computed of.

    Returns: {"value", "low", "high", "reason"}, without an interval.

    >>> ece_if_calibrated([0.5], seed=1)["value"]  # 0 or 1, both 0.5 away
    0.5
    """
    probabilities = np.asarray(probabilities, dtype=float)
    if not len(probabilities):
        return _measure(None, "no recording is rated")
    generator, bins = np.random.default_rng(seed), _bins(probabilities)
    draws = [
        _ece((generator.random(len(bins)) < probabilities) - probabilities, bins)
        for _ in range(n_draws)
    ]
    return _measure(np.mean(draws))


def fit_calibration(
    targets: ArrayLike, logits: ArrayLike, subjects: ArrayLike, kind: str
) -> dict:
    """Fits what makes probabilities of further recordings mean what they say.

    On validation data, by maximum likelihood, unpenalised. "temperature" multiplies
    the logits by one number: Guo and others (2017), On Calibration of Modern Neural
    Networks, ICML. "platt" also adds one: Platt (1999), Probabilistic Outputs for
    Support Vector Machines, without his change of the targets.

    targets: [n], 0, 1, or NaN for "not rated".
    logits: [n], Finite ones.
    subjects: [n] of str
    kind: "temperature" or "platt".

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
    if reason is None:
        (slope, intercept), reason = _line(
            targets[rated], logits[rated], with_intercept=kind == "platt"
        )
    if reason is None and slope <= 0:
        reason = "higher logits do not go with more positives"
        slope = intercept = None
    fitted = {"kind": kind, "slope": slope, "intercept": intercept}
    return fitted | ({"reason": reason} if reason else {})


def calibration_curve(
    targets: ArrayLike, probabilities: ArrayLike, subjects: ArrayLike
) -> dict:
    """What a figure of calibration shows.

    Bins are those of `ece`. Their intervals are Wilson's, 95 %, with the number of
    subjects in place of that of recordings, as recordings of one subject are alike.
    From 200 positives and 200 negatives on there is also a smooth curve, lowess with a
    span of 0.75; see Austin and Steyerberg (2014), Statistics in Medicine 33:517-535.

    targets: [n], 0, 1, or NaN for "not rated".
    probabilities: [n], 0 to 1.
    subjects: [n] of str

    Returns: {"bins": [{"n", "n_subjects", "probability" (the mean), "observed" (the
        share of positives), "low", "high"}, …], "curve": {"probability", "observed"} of
        lists}. "curve" is None, with a "reason", where the recordings are too few.

    >>> curve = calibration_curve([0, 1], [0.5, 0.5], ["a", "b"])
    >>> [(bin["observed"], round(bin["low"], 3)) for bin in curve["bins"]]
    [(0.5, 0.095)]
    """
    targets = np.asarray(targets, dtype=float)
    rated = ~np.isnan(targets)
    targets, subjects = targets[rated], np.asarray(subjects, dtype=object)[rated]
    probabilities = np.asarray(probabilities, dtype=float)[rated]
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
    return {"bins": bins} | _smooth_curve(targets, probabilities)


def _smooth_curve(targets, probabilities):
    """The flexible curve at 101 probabilities, or the reason why there is none."""
    fewer = min((targets == 1).sum(), (targets == 0).sum())
    reason = None
    if fewer < MIN_FOR_CURVE:
        reason = (
            f"a curve needs {MIN_FOR_CURVE} positive and {MIN_FOR_CURVE} negative "
            f"recordings: the rarer class has {fewer}"
        )
    elif np.ptp(probabilities) == 0:
        reason = "all probabilities are the same"
    if reason:
        return {"curve": None, "reason": reason}
    grid = np.linspace(probabilities.min(), probabilities.max(), 101)
    # it=0: its robust steps would take the rarer class for outliers
    smooth = lowess(targets, probabilities, frac=CURVE_SPAN, it=0, xvals=grid)
    there = np.isfinite(smooth)
    curve = {"probability": grid[there], "observed": smooth[there].clip(0, 1)}
    return {"curve": {name: numbers.tolist() for name, numbers in curve.items()}}
