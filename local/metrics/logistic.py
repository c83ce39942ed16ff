"""Logistic regression of targets on a model's logits, with variances by subject.

log odds of a positive = slope * logit + intercept, by maximum likelihood, unpenalised.
The covariance is the sandwich of statsmodels, clustered by subject (Liang and Zeger
1986, Biometrika 73:13-22), with its correction for few clusters. Intervals take
Student's t with as many degrees of freedom as those of AUROC: the subjects with a
positive or, if they are fewer, with a negative, less one.
"""

import dataclasses

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import t as student_t
from statsmodels.discrete.discrete_model import Logit

from local.data.labels import why_one_class
from local.metrics.estimate import measure, subjects_by_class, too_few_subjects
from local.metrics.linearised import LEVEL
from local.metrics.resampling import MIN_SUBJECTS

SEPARATED = "the logits of the two classes do not overlap: no finite slope is the best"
ALL_THE_SAME = "all logits are the same"
NOT_CONVERGED = "the regression on the logits does not converge"


@dataclasses.dataclass(frozen=True)
class Line:
    """A fitted line.

    covariance: [2, 2], of slope and intercept, by subject; None where that was not
        asked or the subjects are too few.
    quantile: Of Student's t, for a two-sided interval; None likewise.
    too_few: Why there are none.
    """

    slope: float
    intercept: float
    covariance: np.ndarray | None = None
    quantile: float | None = None
    too_few: str | None = None

    def log_odds(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The line at some logits, with its pointwise band.

        logits: [n]

        Returns value, low, high: [n] each.
        """
        value = self.slope * logits + self.intercept
        places = np.stack([logits, np.ones_like(logits)])
        variance = np.einsum("in,ij,jn->n", places, self.covariance, places)
        half_width = self.quantile * np.sqrt(variance)
        return value, value - half_width, value + half_width

    def slope_entry(self) -> dict:
        """The slope as an entry of metrics.json."""
        if self.covariance is None:
            return measure(self.slope, reason=self.too_few)
        return _entry(self.slope, self.covariance[0, 0], self.quantile)


def fit_line(
    targets: np.ndarray, logits: np.ndarray, subjects: np.ndarray
) -> tuple[Line | None, str | None]:
    """Fits slope and intercept.

    targets: [n], 0 or 1.
    logits: [n], Finite ones.
    subjects: [n]

    Returns line: None where there is none.
    Returns reason: Why there is none.
    """
    reason = why_no_line(targets, logits)
    if reason:
        return None, reason
    # Numbers near 1, so that Newton's method starts where it converges.
    scale = np.sqrt(np.mean(logits**2))
    columns = np.stack([logits / scale, np.ones_like(logits)], axis=1)
    clusters, quantile, too_few = _clusters(targets, subjects)
    fit = _fit(targets, columns, clusters)
    if not fit.mle_retvals["converged"]:
        return None, NOT_CONVERGED
    slope, intercept = fit.params / [scale, 1]
    covariance = fit.cov_params() / np.outer([scale, 1], [scale, 1])
    known = (covariance, quantile) if clusters else (None, None)
    return Line(float(slope), float(intercept), *known, too_few), None


def fit_slope(
    targets: np.ndarray, logits: np.ndarray, offset: float = 0.0
) -> tuple[float | None, str | None]:
    """Fits the slope of logits to which something is added.

    targets, logits: [n]
    offset: What is added to slope * logit.

    Returns slope, reason: One of them is None.
    """
    reason = why_no_line(targets, logits, through_0=True)
    if reason:
        return None, reason
    scale = np.sqrt(np.mean(logits**2))
    offsets = np.full_like(logits, offset)
    fit = _fit(targets, (logits / scale)[:, None], offset=offsets)
    if not fit.mle_retvals["converged"]:
        return None, NOT_CONVERGED
    return float(fit.params[0] / scale), None


def fit_shift(targets: np.ndarray, logits: np.ndarray, subjects: np.ndarray) -> dict:
    """What must be added to the logits, whose slope stays 1, as an entry.

    targets, logits, subjects: As for `fit_line`.
    """
    reason = why_one_class(targets)
    if reason:
        return measure(None, reason=reason)
    # The mean probability must be the prevalence; between these two it crosses it.
    prevalence = targets.mean()
    low, high = logit(prevalence) - logits.max(), logit(prevalence) - logits.min()
    # 1: rounding may leave the ends on the wrong side
    root = brentq(lambda a: expit(a + logits).mean() - prevalence, low - 1, high + 1)
    clusters, quantile, too_few = _clusters(targets, subjects)
    if too_few:
        return measure(root, reason=too_few)
    constant = np.ones((len(targets), 1))
    fit = _fit(targets, constant, clusters, offset=logits, start_params=[root])
    return _entry(root, fit.cov_params()[0, 0], quantile)


def _fit(targets, columns, clusters=None, offset=None, **options):
    with np.errstate(over="ignore"):  # of exp, far out, where the probability is 0
        return Logit(targets, columns, offset=offset).fit(
            disp=False,
            warn_convergence=False,
            maxiter=100,
            **(clusters or {}),
            **options,
        )


def _clusters(targets, subjects):
    """What statsmodels is asked of clusters, the quantile, or why both are None."""
    n_subjects = subjects_by_class(targets, subjects)
    too_few = too_few_subjects(*n_subjects, MIN_SUBJECTS)
    if too_few:
        return None, None, too_few
    groups = np.unique(subjects, return_inverse=True)[1]
    asked = {"cov_type": "cluster", "cov_kwds": {"groups": groups}}
    return asked, student_t.ppf((1 + LEVEL) / 2, min(n_subjects) - 1), None


def _entry(value, variance, quantile):
    half_width = quantile * np.sqrt(variance)
    return measure(value, (value - half_width, value + half_width))


def why_no_line(
    targets: np.ndarray, logits: np.ndarray, through_0: bool = False
) -> str | None:
    """Why no finite line is the best; None if one is.

    targets, logits: [n]
    through_0: Whether the intercept is not free: then only a cut at 0 separates.
    """
    reason = why_one_class(targets)
    if reason is None and np.ptp(logits) == 0:
        reason = ALL_THE_SAME
    if reason is None and _separated(targets, logits, through_0):
        reason = SEPARATED
    return reason


def _separated(targets, logits, through_0):
    """Whether a cut parts the classes, touching allowed."""
    positives, negatives = logits[targets == 1], logits[targets == 0]
    if through_0:
        right = np.concatenate([positives, -negatives])
        return bool((right >= 0).all() or (right <= 0).all())
    return bool(
        positives.min() >= negatives.max() or negatives.min() >= positives.max()
    )
