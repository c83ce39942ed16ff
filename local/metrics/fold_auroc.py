"""AUROC within the folds of a cross-validation, averaged, with its interval.

The networks of two folds are two networks: their outputs have no common scale.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t

from local.data.labels import why_one_class
from local.metrics.cases import Rated
from local.metrics.estimate import measure, too_few_subjects, wilson_interval
from local.metrics.intervals import MIN_SUBJECTS
from local.utils.ranking import pairs_in_order


class FoldAuroc(NamedTuple):
    """AUROC within folds and averaged, and what its variance needs.

    value: None if no fold has both classes.
    influence: [n_subjects, 2], By subject, how far its positives and its negatives draw
        the value away from its expectation.
    n_positive, n_negative: Subjects with positives, and with negatives, in the folds
        that are used.
    n_folds: Folds that are used: those with both classes.
    """

    value: float | None
    influence: pd.DataFrame
    n_positive: int
    n_negative: int
    n_folds: int

    @property
    def df(self):
        """Degrees of freedom: each fold has estimated one AUROC of its own."""
        return min(self.n_positive, self.n_negative) - self.n_folds

    def influence_of_subjects(self):
        """One number per subject, pandas.Series; the sum of squares is the variance.

        Inside a fold the influences of the positives are centred, and so are those of
        the negatives: each fold takes one from the number of either. As with the
        variance of a sample, the squares are enlarged by that. Needs df > 0.
        """
        subjects = np.array([self.n_positive, self.n_negative])
        return self.influence @ np.sqrt(subjects / (subjects - self.n_folds))


def auroc_within_folds(folds: list[Rated]) -> FoldAuroc:
    """Computes AUROC within each fold, its mean, and the influence of each subject.

    The influence curve of a fold's AUROC, for a positive recording the share of the
    fold's negatives below it, for a negative one the share of the positives above it,
    each less the AUROC: LeDell, Petersen and van der Laan (2015), Electronic Journal
    of Statistics 9:1583-1607. A subject's recordings are summed before anything is
    squared. Ties count half.

    >>> columns = [0, 1, 1], [0.2, 0.1, 0.7], ["ann", "bo", "cy"]
    >>> auroc_within_folds([Rated(*map(np.array, columns))]).value
    0.5
    """
    used = [fold for fold in folds if why_one_class(fold.targets) is None]
    values, influences = [], []
    for fold in used:
        value, of_recordings = _influence(fold.targets == 1, fold.predictions)
        values.append(value)
        influences.append(
            pd.DataFrame(of_recordings).groupby(fold.subjects).sum() / len(used)
        )
    if not used:
        return FoldAuroc(None, pd.DataFrame(columns=[0, 1]), 0, 0, 0)
    targets = np.concatenate([fold.targets for fold in used])
    subjects = np.concatenate([fold.subjects for fold in used])
    return FoldAuroc(
        float(np.mean(values)),
        pd.concat(influences).groupby(level=0).sum(),
        len(set(subjects[targets == 1])),
        len(set(subjects[targets == 0])),
        len(used),
    )


def _influence(positive, predictions):
    """AUROC and the influence of each recording on it.

    positive : bool [n]; predictions : [n]. Returns a float and an array [n, 2]: of the
    positives in the first column, of the negatives in the second, 0 elsewhere.
    """
    value, shares = pairs_in_order(positive, predictions)
    influence = np.zeros((len(positive), 2))
    for column, side in enumerate((positive, ~positive)):
        influence[side, column] = (shares[side] - value) / side.sum()
    return value, influence


def mean_auroc_interval(repeats: list[FoldAuroc]) -> dict:
    """The mean of a cross-validation's AUROC over repeats, with its 95 % interval.

    On the logit scale, with Student's t and the degrees of freedom of the smaller
    class's subjects less one per fold, the least of any repeat. The variance is the
    mean of the repeats': never less than that of their mean, since the same subjects
    are in all of them.

    Returns: {"value", "low", "high"}, and "reason" where one of them is None. Where
        there is no variance (all right, say) Wilson's interval, with the subjects as n.
    """
    repeats = [repeat for repeat in repeats if repeat.value is not None]
    if not repeats:
        return measure(None, reason="no fold has both classes")
    value = float(np.mean([repeat.value for repeat in repeats]))
    for reason in filter(None, map(_too_few, repeats)):
        return measure(value, reason=reason)
    variances = [(repeat.influence_of_subjects() ** 2).sum() for repeat in repeats]
    n_subjects, df = min(len(r.influence) for r in repeats), min(r.df for r in repeats)
    return _logit_interval(value, variances, df, n_subjects)


def _logit_interval(value, variances, df, n):
    """value, the variance of each repeat, degrees of freedom; n for Wilson's."""
    error = np.sqrt(np.mean(variances))
    # Differences of rounding are no variance: influences are of the size 1 / n.
    if error < 1e-9 or not 0 < value < 1:
        return measure(value, wilson_interval(value, n))
    half = t.ppf(0.975, df) * error / (value * (1 - value))
    return measure(value, expit(logit(value) + np.array([-half, half])))


def _too_few(folds):
    """Why the subjects of a FoldAuroc are too few for an interval; None if not."""
    reason = too_few_subjects(folds.n_positive, folds.n_negative, MIN_SUBJECTS)
    n = min(folds.n_positive, folds.n_negative)
    if reason is None and n <= folds.n_folds:  # each fold has a mean of its own
        name = "positives" if n == folds.n_positive else "negatives"
        return f"in {folds.n_folds} folds only {n} subjects have {name}"
    return reason


def macro_auroc_interval(kept: dict[str, list[FoldAuroc]], estimates: dict) -> dict:
    """The mean of several labels' AUROC, with its 95 % interval.

    A subject's influence on the mean is the mean of its influences on the labels.

    kept: By label its AUROC in each repeat.
    estimates: By label what `mean_auroc_interval` says.
    """
    value = float(np.mean([estimates[label]["value"] for label in kept]))
    for label in kept:
        if estimates[label]["low"] is None:
            return measure(value, reason=f"{label}: {estimates[label]['reason']}")
    variances = []
    for repeat in zip(*kept.values(), strict=True):
        used = [fold for fold in repeat if fold.value is not None]
        if not used:
            continue
        influences = pd.concat([fold.influence_of_subjects() for fold in used])
        summed = (influences.groupby(level=0).sum() ** 2).sum()
        variances.append(summed / len(used) ** 2)
    every = [fold for row in kept.values() for fold in row if fold.value is not None]
    smaller = min(min(fold.n_positive, fold.n_negative) for fold in every)
    return _logit_interval(value, variances, min(fold.df for fold in every), smaller)
