"""Every measure of one label, at once for any number of weightings of its recordings.

All functions have the same form,

    f(targets [n], scores [n], weights [d, n]) -> [d]

and each row of weights gives one value. Weights of 1 give the ordinary value, weights
of 1 / recordings of the subject (`subject_weights`) the value in which each subject
counts the same, and how often a recording was drawn, the value of a bootstrap draw. A
whole-number weight means the same as so many copies of the recording; 0 leaves it out.

    targets   0 or 1; of a score the ratings, any numbers
    scores    probabilities; of a score the predicted ratings
    weights   0 or more

There are no gaps in any of them. Where a row has no recording, one class only, or
nothing else that the measure could be computed from, its value is NaN;
`WHY_UNDEFINED` says of each measure what is then missing.

Memory: a few arrays of the size of `weights`. Pass many rows in blocks.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from local.utils.ranking import (
    auroc,
    ratio,
    sorted_weights,
    sums_up_to,
    weight_below,
)

#: A variance is taken for 0 below this share of what it is the small difference of.
ROUNDING = 1e-12


def subject_weights(subjects: ArrayLike) -> np.ndarray:
    """The weights of recordings with which each subject weighs 1.

    subjects: [n], The subject of each recording.

    Returns: [n]

    >>> subject_weights(["a", "a", "b"]).tolist()
    [0.5, 0.5, 1.0]
    """
    _, index, counts = np.unique(subjects, return_inverse=True, return_counts=True)
    return 1 / counts[index]


def _sums(weights, *columns):
    """The weighted sum of each column [n], as an array [columns, d]."""
    return (weights @ np.stack(columns, axis=1).astype(float)).T


# ---- probabilities of a label with two classes


def auprc(targets, scores, weights):
    """Average precision: the mean over the positives of the precision at their score.

    >>> auprc(np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7]), np.ones((1, 3))).round(4)
    array([0.8333])
    """
    places, of_positives = sorted_weights(-scores, weights, targets == 1)
    negatives, of_negatives = sorted_weights(-scores, weights, targets == 0)
    result, false = sums_up_to(of_positives), sums_up_to(of_negatives)
    # without negatives it is 1 whatever the scores
    total = np.where(false[:, -1] > 0, result[:, -1], 0)
    result = np.take(result, np.searchsorted(places, places, side="right"), axis=1)
    false = np.take(false, np.searchsorted(negatives, places, side="right"), axis=1)
    false += result
    # 0 / 0 above the first that weighs anything: what is put there is multiplied by 0
    result /= np.maximum(false, np.finfo(float).tiny, out=false)
    return ratio(np.einsum("dn,dn->d", of_positives, result), total)


def log_loss(targets, probabilities, weights):
    """Mean negative logarithm (nats) of the probability of what is the case.

    Probabilities are kept off 0 and 1 by the precision of the numbers.

    >>> log_loss(np.array([1, 0]), np.array([0.5, 0.5]), np.ones((1, 2))).round(4)
    array([0.6931])
    """
    return _mean(_log_losses(targets, probabilities), weights)


def log_loss_skill(targets, probabilities, weights):
    """1 - log loss / log loss of predicting the prevalence (of these weights).

    1 is perfect, 0 no better than the prevalence, less than 0 worse.
    """
    losses = _log_losses(targets, probabilities)
    negatives, positives, loss = _sums(weights, targets == 0, targets == 1, losses)
    total = negatives + positives
    entropy = entr(ratio(positives, total)) + entr(ratio(negatives, total))
    return 1 - ratio(loss, total * entropy)


def _log_losses(targets, probabilities):
    of_the_case = np.where(targets == 1, probabilities, 1 - probabilities)
    precision = np.finfo(float).eps
    return -np.log(np.clip(of_the_case, precision, 1 - precision))


def brier(targets, probabilities, weights):
    """Mean squared difference of probability and target.

    >>> brier(np.array([1, 0]), np.array([0.5, 0.0]), np.ones((1, 2))).tolist()
    [0.125]
    """
    return _mean((probabilities - targets) ** 2, weights)


def brier_skill(targets, probabilities, weights):
    """1 - Brier score / Brier score of predicting the prevalence (of these weights).

    1 is perfect, 0 no better than the prevalence, less than 0 worse.
    """
    losses = (probabilities - targets) ** 2
    negatives, positives, loss = _sums(weights, targets == 0, targets == 1, losses)
    # their mean p (1 - p) is the prevalence's own Brier score
    return 1 - ratio(loss * (negatives + positives), negatives * positives)


def _mean(numbers, weights):
    return ratio(weights @ numbers, weights.sum(axis=1))


# ---- decisions: predicted positive is whose probability is the threshold or more


def _share(some, among, weights):
    """The share of recordings with one property among those with another."""
    return ratio(*_sums(weights, some & among, among))


def sensitivity(targets, probabilities, weights, threshold):
    """Share of the positives that are predicted positive.

    >>> targets, probabilities = np.array([1, 1, 0]), np.array([0.7, 0.2, 0.7])
    >>> sensitivity(targets, probabilities, np.ones((1, 3)), threshold=0.7).tolist()
    [0.5]
    """
    return _share(probabilities >= threshold, targets == 1, weights)


def specificity(targets, probabilities, weights, threshold):
    """Share of the negatives that are predicted negative."""
    return _share(probabilities < threshold, targets == 0, weights)


def ppv(targets, probabilities, weights, threshold):
    """Positive predictive value: share of the predicted positives that are positive."""
    return _share(targets == 1, probabilities >= threshold, weights)


def npv(targets, probabilities, weights, threshold):
    """Negative predictive value: share of the predicted negatives that are negative."""
    return _share(targets == 0, probabilities < threshold, weights)


def balanced_accuracy(targets, probabilities, weights, threshold):
    """The mean of sensitivity and specificity."""
    given = targets, probabilities, weights, threshold
    return (sensitivity(*given) + specificity(*given)) / 2


def f1(targets, probabilities, weights, threshold):
    """The harmonic mean of sensitivity and positive predictive value."""
    positive, predicted = targets == 1, probabilities >= threshold
    both, either = _sums(weights, positive & predicted, positive * 1 + predicted)
    return ratio(2 * both, either)


def net_benefit(targets, probabilities, weights, threshold):
    """True positives less the false ones, these weighed by the threshold's odds.

    Per recording, so that the prevalence is the largest. The threshold says how many
    false alarms one finding is worth: at 0.2 four; at 1 there is no such number.
    Vickers and Elkin (2006), Medical Decision Making 26:565-574.

    >>> targets, probabilities = np.array([1, 0, 0, 0]), np.array([0.9, 0.3, 0.1, 0.1])
    >>> net_benefit(targets, probabilities, np.ones((1, 4)), threshold=0.2).tolist()
    [0.1875]
    """
    gains = np.where(targets == 1, 1, -_odds(threshold)) * (probabilities >= threshold)
    return _mean(gains, weights)


def net_benefit_over_all(targets, probabilities, weights, threshold):
    """The net benefit less that of calling every recording positive.

    What is saved on those who are left alone, less what is missed among them.
    """
    saved = np.where(targets == 1, -1, _odds(threshold)) * (probabilities < threshold)
    return _mean(saved, weights)


def net_benefit_treat_all(prevalence, threshold):
    """The net benefit of calling every recording positive; of calling none it is 0.

    A model that has less than either should not decide anything.

    >>> round(net_benefit_treat_all(prevalence=0.25, threshold=0.2), 6)
    0.0625
    """
    return prevalence - (1 - prevalence) * _odds(threshold)


def _odds(threshold):
    return threshold / (1 - threshold) if threshold < 1 else np.nan


# ---- scores: rated and predicted numbers


def mae(ratings, predictions, weights):
    """Mean absolute error, in the units of the ratings."""
    return _mean(np.abs(predictions - ratings), weights)


def pearson(ratings, predictions, weights):
    """Pearson's correlation."""
    _, _, of_ratings, of_predictions, of_both = _moments(ratings, predictions, weights)
    return ratio(of_both, np.sqrt(of_ratings * of_predictions))


def spearman(ratings, predictions, weights):
    """Spearman's correlation: Pearson's of the ranks, ties with their mean rank.

    >>> spearman(np.array([1, 2, 3]), np.array([1, 8, 9]), np.ones((1, 3))).round(6)
    array([1.])
    """
    total = weights.sum(axis=1)
    x, y = (_ranks(np.asarray(each), weights) for each in (ratings, predictions))
    xx, yy, xy = (
        np.einsum("dn,dn,dn->d", weights, a, b) for a, b in ((x, x), (y, y), (x, y))
    )
    constant = np.minimum(xx, yy) <= ROUNDING * total**3
    return ratio(xy, np.where(constant, 0, np.sqrt(xx * yy)))


def _ranks(values, weights):
    """Mean ranks less their mean, which is half of the weight: [d, n]."""
    ranks = weight_below(values, *sorted_weights(values, weights))
    ranks -= weights.sum(axis=1)[:, None] / 2
    return ranks


def icc(ratings, predictions, weights):
    """Intraclass correlation of rating and prediction (see `icc_agreement`).

    Of ratings that are all the same there is none.

    >>> icc(np.array([1, 2, 3]), np.array([1, 2, 3]), np.ones((1, 3))).round(6)
    array([1.])
    """
    of_ratings = _moments(ratings, predictions, weights)[2]
    agreement = icc_agreement(ratings, predictions, weights)
    return np.where(of_ratings > 0, agreement, np.nan)


def icc_agreement(first, second, weights):
    """The intraclass correlation ICC(A,1) of two raters: absolute agreement.

    Of a two-way model: a rater who is always two points above the other one agrees
    less with him. McGraw and Wong (1996), Psychological Methods 1:30-46, table 4; the
    same number as ICC(2,1) of Shrout and Fleiss (1979). Its mean squares are written
    with variances.

    >>> first, weights = np.array([1, 2, 3]), np.ones((1, 3))
    >>> icc_agreement(first, first + 1, weights).round(6)
    array([0.666667])
    """
    total, offset, of_first, of_second, of_both = _moments(first, second, weights)
    unbiased = ratio(total, total - 1)
    ms_rows = unbiased * (of_first + of_second + 2 * of_both) / 2
    ms_error = unbiased * (of_first + of_second - 2 * of_both) / 2
    ms_columns = total * offset**2 / 2
    everything = ms_rows + ms_error + 2 * ratio(ms_columns - ms_error, total)
    return ratio(ms_rows - ms_error, everything)


def quadratic_kappa(ratings, predictions, weights):
    """Cohen's kappa with quadratic weights; predictions become whole numbers first.

    Steps of a scale are taken to be whole numbers, equally far apart. Kappa is 1 -
    mean squared difference / that of independent ratings with the same frequencies.

    >>> ratings, predictions = np.array([0, 1, 2]), np.array([0.1, 0.9, 1.7])
    >>> quadratic_kappa(ratings, predictions, np.ones((1, 3))).round(6)
    array([1.])
    """
    _, offset, of_ratings, of_predictions, of_both = _moments(
        ratings, np.rint(predictions), weights
    )
    return ratio(2 * of_both, of_ratings + of_predictions + offset**2)


def _moments(x, y, weights):
    """Total weight, difference of means, variance of x, of y, and covariance.

    Each [d]. Variances are those of the weighted numbers themselves (no n - 1), and
    exactly 0 where all that weigh anything are the same.
    """
    # Near their middle the numbers lose the least when squares are subtracted.
    middle = np.mean(x) if len(x) else 0.0
    x, y = x - middle, y - middle
    total, *sums = _sums(weights, np.ones(len(x)), x, y, x * x, y * y, x * y)
    mean_x, mean_y, xx, yy, xy = (ratio(each, total) for each in sums)

    def variance(square, mean):
        value = square - mean**2
        return np.where(value <= ROUNDING * square, 0, value)

    return (
        total,
        mean_x - mean_y,
        variance(xx, mean_x),
        variance(yy, mean_y),
        xy - mean_x * mean_y,
    )


#: Of the probabilities of a label with two classes.
PROBABILITY_MEASURES = {
    "auroc": auroc,
    "auprc": auprc,
    "log_loss": log_loss,
    "log_loss_skill": log_loss_skill,
    "brier": brier,
    "brier_skill": brier_skill,
}

#: Of a label that is a score; an ordinal label has `ORDINAL_MEASURES`.
SCORE_MEASURES = {"mae": mae, "pearson": pearson, "spearman": spearman, "icc": icc}
ORDINAL_MEASURES = {**SCORE_MEASURES, "quadratic_kappa": quadratic_kappa}


def threshold_measures(threshold: float) -> dict[str, Callable]:
    """The measures of decisions at a threshold.

    threshold: On the probability.

    Returns: Of targets, probabilities and weights, as all measures.

    >>> list(threshold_measures(0.5))[:4]
    ['sensitivity', 'specificity', 'ppv', 'npv']
    """
    functions = (sensitivity, specificity, ppv, npv, balanced_accuracy, f1)
    return {each.__name__: partial(each, threshold=threshold) for each in functions}


_ONE_CLASS = "all rated recordings are of one class"
_NOTHING = "no recording is rated"
_ALL_THE_SAME = "all ratings or all predictions are the same"

#: Why a measure of some recordings is undefined; of none it is that nothing is rated.
WHY_UNDEFINED = {
    "auroc": _ONE_CLASS,
    "auprc": _ONE_CLASS,
    "log_loss": _NOTHING,
    "log_loss_skill": _ONE_CLASS,
    "brier": _NOTHING,
    "brier_skill": _ONE_CLASS,
    "sensitivity": "no recording is positive",
    "specificity": "no recording is negative",
    "ppv": "no recording is predicted positive",
    "npv": "no recording is predicted negative",
    "balanced_accuracy": _ONE_CLASS,
    "f1": "no recording is positive or predicted positive",
    "mae": _NOTHING,
    "pearson": _ALL_THE_SAME,
    "spearman": _ALL_THE_SAME,
    "icc": "all ratings are the same",
    "quadratic_kappa": "all ratings and predictions are the same",
}
