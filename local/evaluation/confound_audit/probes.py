"""How well features tell a label, by cross-validation over subjects, and by chance.

A probe is a ridge regression of the label, 0 or 1. Its AUROC is computed in each fold
and averaged, so that nothing is compared between the scores of two models.
"""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.linear_model import Ridge

from local.utils.ranking import plain_auroc

#: The penalty on standardised features; of a logistic regression it would be C = 0.1.
PENALTY = 40.0

#: Numbers that differ by less, relative to the largest, are the same.
ROUNDING = 1e-9

#: A category of fewer recordings counts as "other".
MIN_IN_CATEGORY = 5

#: A permutation test stops at so many draws that are as extreme as what was observed
#: (Besag and Clifford 1991, Biometrika 78:301-304).
ENOUGH_EXTREME = 20


def design_matrix(features: pd.DataFrame) -> np.ndarray:
    """Makes numbers of features: standardised ones, and one-hot of text.

    features: [n rows], columns of numbers and of text. Only numbers may have gaps: a
        gap counts as the mean, and that it is one as a further feature. A column with
        more gaps than numbers is left out.

    Returns: [n, n_features], without columns that are the same in all rows.

    >>> table = pd.DataFrame({"x": [1.0, 3.0] * 5, "y": ["a", "b"] * 5, "z": 7.0})
    >>> design_matrix(table)[:2].tolist()
    [[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    >>> design_matrix(pd.DataFrame({"x": [1.0, 3.0, None]})).tolist()
    [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    columns = []
    for name in features:
        values = features[name]
        if pd.api.types.is_numeric_dtype(values):
            columns += _of_numbers(values.to_numpy(dtype=float))
        else:
            counts = values.map(values.value_counts())
            values = values.where(counts >= MIN_IN_CATEGORY, "other")
            if values.nunique() > 1:
                columns.append(pd.get_dummies(values).to_numpy(dtype=float))
    return np.concatenate(columns, axis=1) if columns else np.empty((len(features), 0))


def _of_numbers(values):
    """The columns [n, 1] of numbers [n], NaN where there is a gap."""
    gaps = np.isnan(values)
    known = values[~gaps]
    if len(known) * 2 < len(values):
        return []
    columns = []
    if np.ptp(known) > ROUNDING * np.abs(known).max():
        scaled = (values - known.mean()) / known.std()
        columns.append(np.where(gaps, 0.0, scaled)[:, None])
    if gaps.any():
        columns.append(gaps.astype(float)[:, None])
    return columns


def effective_features(design: np.ndarray) -> float:
    """How many features that vary by themselves vary as much together as these.

    The participation ratio of the covariance's eigenvalues.

    design: [n, n_features]

    >>> one = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(effective_features(one), 6)
    2.0
    >>> round(effective_features(np.repeat(one, 9, axis=1)), 6)
    2.0
    """
    covariance = np.atleast_2d(np.cov(design.T)) if design.shape[1] else np.zeros(1)
    squares = np.square(covariance).sum()
    return float(np.trace(covariance) ** 2 / squares) if squares else 0.0


def out_of_fold_scores(
    features: np.ndarray, targets: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Scores each recording by a probe that was fitted to the other folds.

    A probe is scikit-learn's ridge regression: it ranks recordings as a logistic
    regression does, in a third of the time, and a permutation test fits thousands.
    Columns that are the same in all recordings it is fitted to are left out.

    features: [n, n_features], of the size of 1.
    targets: [n], 0 or 1.
    folds: [n] of int

    Returns: [n]; of different folds they can't be compared. 0 where the other
        folds have one class or no feature varies.
    """
    scores = np.zeros(len(targets))
    probe = Ridge(PENALTY, solver="cholesky")
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for fold in np.unique(folds):
            inside = folds == fold
            varying = np.ptp(features[~inside], axis=0) > 0
            if varying.any() and len(set(targets[~inside].tolist())) == 2:
                probe.fit(features[~inside][:, varying], targets[~inside])
                scores[inside] = probe.predict(features[inside][:, varying])
    return scores


def fold_auroc(
    targets: np.ndarray, scores: np.ndarray, folds: np.ndarray
) -> float | None:
    """The mean of the AUROCs of the folds that have both classes; None without one.

    targets, scores, folds: [n]

    >>> targets, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    >>> fold_auroc(targets, np.array([1, 2, 9, 8]), folds)
    0.5
    """
    values = [
        plain_auroc(targets[folds == fold], scores[folds == fold])
        for fold in np.unique(folds)
        if len(set(targets[folds == fold].tolist())) == 2
    ]
    return float(np.mean(values)) if values else None


def auroc_within(
    targets: np.ndarray, scores: np.ndarray, strata: np.ndarray
) -> float | None:
    """The AUROC over pairs of recordings from the same stratum only.

    targets, scores: [n]
    strata: [n], For example the device of each recording.

    Returns: None if no stratum has both classes.

    >>> targets, devices = np.array([0, 1, 0, 1]), np.array(list("aabb"))
    >>> auroc_within(targets, np.array([1, 2, 9, 8]), devices)
    0.5
    """
    wins, pairs = 0.0, 0
    for stratum in np.unique(strata):
        inside = strata == stratum
        n_positive = int(targets[inside].sum())
        n_pairs = n_positive * (int(inside.sum()) - n_positive)
        if n_pairs:
            wins += n_pairs * plain_auroc(targets[inside], scores[inside])
            pairs += n_pairs
    return float(wins / pairs) if pairs else None


def permute_subjects(rows_of, generator: np.random.Generator) -> np.ndarray:
    """Draws for each recording one of another subject, all of one from the same.

    The first recording of a subject gets the first of the other, the second the
    second, and so on, from the first again where the other has fewer. So what the
    recordings of a subject share stays shared, and what changes in their order too.

    rows_of (list of np.ndarray of int): The rows of each subject.

    Returns: [n] of int, Rows.

    >>> rows_of = [np.array([0, 1]), np.array([2])]
    >>> sorted({tuple(permute_subjects(rows_of, np.random.default_rng(i)).tolist())
    ...         for i in range(9)})
    [(0, 1, 2), (2, 2, 0)]
    """
    drawn = np.empty(sum(map(len, rows_of)), dtype=int)
    for own, other in zip(rows_of, generator.permutation(len(rows_of)), strict=True):
        drawn[own] = np.resize(rows_of[other], len(own))
    return drawn


def count_arrangements(targets: np.ndarray, subjects: np.ndarray) -> int:
    """In how many different ways the subjects' targets can be given to them.

    targets, subjects: [n]

    >>> count_arrangements(np.array([0, 0, 1, 1]), np.array(list("abcd")))
    6
    """
    names = np.unique(subjects)
    alike = Counter(tuple(targets[subjects == name].tolist()) for name in names)
    return math.factorial(len(names)) // math.prod(
        math.factorial(count) for count in alike.values()
    )


def permutation_p(
    statistic: Callable,
    subjects: np.ndarray,
    n_permutations: int,
    seed: int,
    *,
    two_sided: bool = False,
) -> float:
    """How often chance alone gives an AUROC as high as the observed one.

    The features or scores of whole subjects are exchanged, while targets and folds
    stay. That asks whether it matters whose recordings a label belongs to; and as
    nothing within a subject is exchanged, a few subjects with many recordings count
    as few. It is exact if subjects have as many recordings each.

    statistic: Takes the rows [n] whose features the recordings get; gives an AUROC.
    subjects: [n]
    n_permutations: Fewer if the result is clear: at 20 draws that are as extreme.
    two_sided: As far from 0.5, on either side. Not for what is cross-validated: where
        there is nothing to find, that tends to lie below 0.5 (Parker, Günter and Bedo
        2007, BMC Bioinformatics 8:326).
    """
    rows_of = [np.flatnonzero(subjects == name) for name in np.unique(subjects)]

    def extremity(rows):
        value = statistic(rows) - 0.5
        return abs(value) if two_sided else value

    observed = extremity(np.arange(len(subjects)))
    generator = np.random.default_rng(seed)
    n_extreme = 0
    for drawn in range(1, n_permutations + 1):
        n_extreme += extremity(permute_subjects(rows_of, generator)) >= observed - 1e-12
        if n_extreme == ENOUGH_EXTREME:
            return n_extreme / drawn
    return (n_extreme + 1) / (n_permutations + 1)
