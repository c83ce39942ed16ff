"""Pairs in the right order: the area under the ROC curve, for any weights.

targets   [n], 1 of positives, anything else of negatives
scores    [n], logits or probabilities: AUROC is the same for both
weights   [d, n], 0 or more; each row gives one value
"""

import numpy as np


def auroc(targets: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the share of pairs in the right order, ties half.

    Returns: [d], NaN where one class has no weight.

    >>> auroc(np.array([0, 1, 0]), np.array([0.1, 0.5, 0.5]), np.ones((1, 3))).tolist()
    [0.75]
    """
    places, of_positives = sorted_weights(scores, weights, targets == 1)
    negatives, of_negatives = sorted_weights(scores, weights, targets != 1)
    below = weight_below(places, negatives, of_negatives)
    pairs = of_positives.sum(axis=1) * of_negatives.sum(axis=1)
    return ratio(np.einsum("dn,dn->d", of_positives, below), pairs)


def plain_auroc(targets: np.ndarray, scores: np.ndarray) -> float:
    """The same where each recording weighs 1.

    Faster than scikit-learn's for few recordings, as permutation tests need it.

    >>> plain_auroc(np.array([0, 1, 1]), np.array([1.0, 1.0, 2.0]))
    0.75
    """
    return float(auroc(targets, scores, np.ones((1, len(targets))))[0])


def pairs_in_order(
    targets: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, np.ndarray]:
    """AUROC, and what each recording has to do with it.

    weights: [n], above 0; 1 unless given.

    Returns auroc.
    Returns shares: [n], Of the pairs of each recording those in order, ties half.

    >>> pairs_in_order(np.array([0, 1, 0]), np.array([1.0, 2.0, 3.0]))
    (0.5, array([1. , 0.5, 0. ]))
    """
    weights = np.ones(len(targets)) if weights is None else weights
    positive, shares = targets == 1, np.empty(len(targets))
    for side, others in ((positive, ~positive), (~positive, positive)):
        below = weight_below(
            scores[side], *sorted_weights(scores, weights[None], among=others)
        )
        shares[side] = below[0] / weights[others].sum()
    shares[~positive] = 1 - shares[~positive]
    value = np.average(shares[positive], weights=weights[positive])
    return float(value), shares


def sorted_weights(
    values: np.ndarray, weights: np.ndarray, among: np.ndarray = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Some of the values, ascending, and their weights.

    values: [n]
    weights: [d, n]
    among: [n] of bool, Which ones; all unless given.

    Returns values: [m]
    Returns weights: [d, m]

    >>> values, weights = sorted_weights(np.array([3, 1]), np.array([[0.5, 2.0]]))
    >>> values.tolist(), weights.tolist()
    ([1, 3], [[2.0, 0.5]])
    """
    places = np.arange(len(values))[among]
    places = places[np.argsort(values[places], kind="stable")]
    # take, as memory stays in the order in which all that follows is fast
    return values[places], np.take(weights, places, axis=1)


def weight_below(
    places: np.ndarray, values: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The weight of the values below each place, and half of those equal to it.

    places: [k]
    values: [m], Ascending.
    weights: [d, m]

    Returns: [d, k]

    >>> weight_below(np.array([2, 9]), np.array([1, 2, 3]), np.ones((1, 3))).tolist()
    [[1.5, 3.0]]
    """
    sums = sums_up_to(weights)
    below = np.take(sums, np.searchsorted(values, places, side="left"), axis=1)
    below += np.take(sums, np.searchsorted(values, places, side="right"), axis=1)
    below /= 2
    return below


def sums_up_to(weights):
    """The sum of the first i weights at i: [d, m] -> [d, m + 1]."""
    sums = np.zeros((len(weights), weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def ratio(above, below):
    """above / below; NaN where below is 0."""
    result = np.full(np.shape(below), np.nan)
    return np.divide(above, below, out=result, where=below > 0)
