"""The measures of scores, without intervals."""

import numpy as np
from numpy.typing import ArrayLike

from local.metrics.measures import SCORE_MEASURES, WHY_UNDEFINED

#: Of fewer recordings any correlation is 1 or -1.
MIN_FOR_CORRELATION = 3


def why_too_few(ratings, weights):
    """Why ratings [n] with weights [n] have no correlation with any others, or None."""
    n = len(ratings)
    if not n:
        return "no recording is rated"
    if n < MIN_FOR_CORRELATION:
        return f"fewer than {MIN_FOR_CORRELATION} recordings are rated: {n}"
    # each subject weighs 1, or no recording less than that
    return "all recordings are of one subject" if weights.sum() < 1.5 else None


def score_metrics(
    ratings: ArrayLike, predictions: ArrayLike, subjects: ArrayLike
) -> dict:
    """Computes the measures of one score over its rated recordings, no intervals.

    The mean absolute error is in the score's own units. The correlations of Pearson
    and Spearman and the intraclass correlation, ICC(A,1) between rating and prediction
    (see `measures.icc_agreement`), need three recordings and different ratings; the
    first two also different predictions. An ICC of predictions that are all the same is
    0.

    ratings: [n], Any number, NaN for "not rated".
    predictions: [n], In the units of the ratings.
    subjects: [n] of str, The subject of each recording.

    Returns: {"n", "n_subjects"} and of each measure {"value"}, which is None, with a
        "reason", where it can't be computed.

    >>> metrics = score_metrics([1, 2, 6], [2, 3, 7], ["a", "a", "b"])
    >>> metrics["mae"]["value"], round(metrics["pearson"]["value"], 6)
    (1.0, 1.0)
    """
    ratings = np.asarray(ratings, dtype=float)
    rated = ~np.isnan(ratings)
    ratings, predictions = ratings[rated], np.asarray(predictions, dtype=float)[rated]
    subjects = np.asarray(subjects, dtype=object)[rated]
    weights = np.ones(len(ratings))
    result = {"n": len(ratings), "n_subjects": len(set(subjects))}
    too_few = why_too_few(ratings, weights)
    for name, function in SCORE_MEASURES.items():
        value = function(ratings, predictions, weights[None])[0]
        reason = too_few if name != "mae" or not len(ratings) else None
        if reason is None and np.isnan(value):
            reason = WHY_UNDEFINED[name]
        result[name] = (
            {"value": None, "reason": reason} if reason else {"value": float(value)}
        )
    return result
