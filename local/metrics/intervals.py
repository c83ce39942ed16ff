"""95 % intervals of measures, by subject: made for small clinical studies.

Recordings of one subject are alike, so that what counts is how many subjects there
are. Each measure is linearised: see `local.metrics.linearised`.
`docs/intervals.md` says how often the intervals hold the truth.

In a cross-validation the networks of two folds are two networks, whose outputs have no
common scale: what ranks recordings is computed within each fold and averaged, and
everything else over all recordings together.

Results are dicts {"value", "low", "high"}, with "reason" where one of them is None.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from local.metrics.estimate import subjects_by_class, too_few_subjects
from local.metrics.linearised import Linearised
from local.metrics.measures import WHY_UNDEFINED
from local.metrics.resampling import MIN_SUBJECTS, in_blocks
from local.utils.ranking import pairs_in_order

#: How subjects came into a study: as they come, or so many of each class by design.
COHORT, CASE_CONTROL = STUDY_DESIGNS = "cohort", "case_control"

#: By this much less a subject counts to see what the subject does to a measure: the
#: error is a millionth of the influence, and rounding is far below it.
STEP = 1e-6

#: Shares of recordings, for which only the subjects count who have such recordings.
SHARES = ("sensitivity", "specificity", "ppv", "npv", "f1")

#: Of these the subjects of the smaller class count.
SEPARATIONS = ("auroc", "auprc", "balanced_accuracy")

#: They compare recordings with each other: within folds only.
RANKING = ("auroc", "auprc")

SCALE_OF = {
    **dict.fromkeys((*SHARES, *SEPARATIONS, "brier"), "logit"),
    **dict.fromkeys(("log_loss", "mae"), "log"),
    **dict.fromkeys(("log_loss_skill", "brier_skill"), "skill"),
    **dict.fromkeys(("pearson", "spearman", "icc", "quadratic_kappa"), "correlation"),
    "net_benefit": "plain",
}


def auroc_interval(
    targets: ArrayLike,
    scores: ArrayLike,
    subjects: ArrayLike,
    weights: ArrayLike | None = None,
    folds: ArrayLike | None = None,
) -> dict:
    """Computes AUROC and its interval: see `linearised_auroc`.

    Returns: {"value", "low", "high"}, and "reason" where fewer than 5 subjects have a
        positive or a negative (no bounds), or there is one class only (no value).

    >>> scores = [1, 6, 2, 7, 3, 8, 4, 5, 9, 10]
    >>> interval = auroc_interval([0, 1] * 5, scores, list("abcdefghij"))
    >>> [round(interval[key], 2) for key in ("value", "low", "high")]
    [0.84, 0.15, 0.99]
    """
    return linearised_auroc(targets, scores, subjects, weights, folds).interval()


def linearised_auroc(
    targets: ArrayLike,
    scores: ArrayLike,
    subjects: ArrayLike,
    weights: ArrayLike | None = None,
    folds: ArrayLike | None = None,
) -> Linearised:
    """AUROC, within folds and averaged if there are some, linearised.

    The variance is that of Obuchowski (1997), Biometrics 53:567-578, for clustered
    data: of each recording's share of pairs in order, summed within the subject, with
    the covariance of the two sums of subjects who have both classes. Over folds the
    sums are those of the influence curve of LeDell, Petersen and van der Laan (2015),
    Electronic Journal of Statistics 9:1583-1607: the same within each fold, divided by
    the number of folds. Degrees of freedom are the subjects with a positive or, if they
    are fewer, with a negative, less one per fold.

    targets: [n], 0, 1, or NaN for "not rated".
    scores: [n], Logits or probabilities: AUROC is the same for both.
    subjects: [n], The subject of each recording.
    weights: [n], How much each recording counts, above 0; 1 unless given. See
        `measures.subject_weights`.
    folds: [n], The fold of each recording; one unless given. A fold with one class is
        left out.
    """
    rows = _rated(targets, scores, subjects, weights, folds)
    values, errors, used = _errors_within_folds(rows)
    if not values:
        return _undefined("auroc", rows)
    value, k = float(np.mean(values)), len(values)
    counts = rows.classes(used)
    few = too_few_subjects(*counts, MIN_SUBJECTS) or _too_few_for_folds(counts, k)
    if few:
        return Linearised(value, few)
    # each fold has taken one mean of either class: squares are too small by that
    one, other = errors
    positives, negatives = (n / (n - k) for n in counts)
    both = _unbiased(len(np.unique(rows.subjects[used])), k) * 2 * (one * other).sum()
    variance = positives * (one**2).sum() + negatives * (other**2).sum() + both
    influence = np.sqrt(positives) * one + np.sqrt(negatives) * other
    return Linearised(
        value,
        influence=pd.Series(influence, rows.names),
        freedom=min(counts) - k,
        n=min(counts),
        scale="logit",
        variance=max(variance, 0.0),
    )


def _errors_within_folds(rows):
    """AUROC of each fold that has both classes, and what moves their mean.

    Returns a list of float; an array [2, n_subjects], what the positives and what the
    negatives of each subject do; and bool [n], the recordings of these folds.
    """
    values, errors = [], np.zeros((2, len(rows.names)))
    used = np.full(len(rows.targets), False)
    for fold in range(rows.n_folds):
        inside = rows.folds == fold
        targets, weights = rows.targets[inside], rows.weights[inside]
        positive = targets == 1
        if positive.all() or not positive.any():
            continue
        value, shares = pairs_in_order(targets, rows.scores[inside], weights)
        for side, of_class in zip(errors, (positive, ~positive), strict=True):
            each = of_class * weights * (shares - value) / weights[of_class].sum()
            side += np.bincount(rows.subjects[inside], each, len(side))
        values.append(value)
        used |= inside
    return values, errors / max(len(values), 1), used


def _too_few_for_folds(counts, k):
    """Why [positive, negative] subjects are too few for a mean in each of k folds."""
    n = min(counts)
    if n > k:
        return None
    name = "positives" if n == counts[0] else "negatives"
    return f"in {k} folds only {n} subjects have {name}"


def _unbiased(n, k=1):
    return n / (n - k) if n > k else 1


def measure_intervals(functions: dict[str, Callable], *rows, **given) -> dict:
    """Computes measures of one label and their intervals: see `linearised`.

    Returns: {"value", "low", "high"} of each measure; "reason" where one of them is
        None.

    >>> from local.metrics.measures import mae
    >>> rows = range(9), [1] * 9, list("abcdefghi")
    >>> mae = measure_intervals({"mae": mae}, *rows, two_classes=False)["mae"]
    >>> mae["low"] < mae["value"] < mae["high"]
    True
    """
    estimates = linearised(functions, *rows, **given)
    return {name: estimate.interval() for name, estimate in estimates.items()}


def linearised(
    functions: dict[str, Callable],
    targets: ArrayLike,
    scores: ArrayLike,
    subjects: ArrayLike,
    weights: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    two_classes: bool = True,
    study_design: str = COHORT,
) -> dict[str, Linearised]:
    """Measures of one label, linearised over subjects.

    A subject's influence is how much a measure changes if all recordings of the subject
    count a little less (the infinitesimal jackknife). Subjects are those of a
    population; with `case_control` the numbers of subjects with a positive and of those
    without are fixed, and only what differs within either varies. (Where one of these
    two strata has fewer than 5 subjects though 5 have a positive and 5 a negative,
    which happens if most subjects have both, they are one stratum.) AUROC has a
    variance of its own: see `linearised_auroc`.

    functions: Measures by name, as in `local.metrics.measures`.
    targets: [n], 0 or 1, or ratings; NaN for "not rated".
    scores, subjects: [n], Probabilities, or predicted ratings; of whom they are.
    weights, folds: As of `linearised_auroc`.
    two_classes: False if the targets are ratings.
    study_design: One of `STUDY_DESIGNS`.
    """
    rows = _rated(targets, scores, subjects, weights, folds)
    few = _few(rows, two_classes)
    strata = np.zeros(len(rows.names), int)
    if two_classes and study_design == CASE_CONTROL and not few:
        strata = _strata(rows)
    asked = {name: each for name, each in functions.items() if name != "auroc"}
    values, influences, alone = _influences(_within_folds(asked, rows), rows)
    results = {}
    for name in functions:
        if name == "auroc":
            results[name] = linearised_auroc(targets, scores, subjects, weights, folds)
        elif np.isnan(values[name]):
            results[name] = _undefined(name, rows)
        elif few:
            results[name] = Linearised(float(values[name]), few)
        else:
            n = len(rows.names)
            if two_classes:
                n = alone[name] if name in SHARES else min(rows.classes())
            influence = _centred(influences[name], strata)
            results[name] = _result(name, values[name], influence, n, rows)
    return results


def _result(name, value, influence, n, rows):
    """A measure that has an interval; n : the subjects that count."""
    k = 1
    if name in RANKING:
        folds = (rows.targets[rows.folds == fold] for fold in range(rows.n_folds))
        k = sum(len(np.unique(targets)) > 1 for targets in folds)
    return Linearised(
        float(value),
        influence=pd.Series(influence * np.sqrt(_unbiased(n, k)), rows.names),
        freedom=n - k,
        n=n if name in (*SHARES, *SEPARATIONS) else 0,
        scale=SCALE_OF.get(name, "plain"),
    )


def _few(rows, two_classes):
    """Why subjects are too few for an interval; None if they are not."""
    n = len(rows.names)
    if two_classes:
        return too_few_subjects(*rows.classes(), MIN_SUBJECTS)
    return f"fewer than {MIN_SUBJECTS} subjects: {n}" if n < MIN_SUBJECTS else None


def _within_folds(functions, rows):
    """The functions, those that rank recordings as means over folds."""
    if rows.n_folds < 2:
        return functions
    places = [np.flatnonzero(rows.folds == fold) for fold in range(rows.n_folds)]

    def averaged(function):
        def mean(targets, scores, weights):
            values = np.stack(
                [function(targets[i], scores[i], weights[:, i]) for i in places]
            )
            there = ~np.isnan(values)
            n = there.sum(axis=0)
            total = np.where(there, values, 0).sum(axis=0)
            return np.where(n > 0, total / np.maximum(n, 1), np.nan)

        return mean

    return {
        name: averaged(function) if name in RANKING else function
        for name, function in functions.items()
    }


def _influences(functions, rows):
    """Of each measure its value, each subject's influence, and for how many a share.

    Returns three dicts: of floats, of arrays [n_subjects], and of the number of
    subjects who have such a share alone.
    """
    targets, scores, weights = rows.targets, rows.scores, rows.weights
    values = {
        name: function(targets, scores, weights[None])[0]
        for name, function in functions.items()
    }

    def of_block(block):
        own = rows.subjects == block[:, None]
        less = np.where(own, (1 - STEP) * weights, weights)
        alone = own.astype(float)
        return [
            {name: each(targets, scores, less) for name, each in functions.items()},
            {
                name: ~np.isnan(functions[name](targets, scores, alone))
                for name in SHARES
                if name in functions
            },
        ]

    if not len(rows.names):
        return values, {}, {}
    blocks = in_blocks(of_block, np.arange(len(rows.names)), len(targets))
    changed, alone = (
        {name: np.concatenate([each[name] for each in column]) for name in column[0]}
        for column in zip(*blocks, strict=True)
    )
    influences = {name: (values[name] - changed[name]) / STEP for name in functions}
    return values, influences, {name: int(each.sum()) for name, each in alone.items()}


def _centred(influence, strata):
    """Influences [n_subjects] less their mean in each stratum [n_subjects]."""
    means = np.bincount(strata, influence) / np.maximum(np.bincount(strata), 1)
    return influence - means[strata]


def _strata(rows):
    """[n_subjects]: 1 of subjects with a positive; all 0 where a stratum is small."""
    strata = np.zeros(len(rows.names), int)
    strata[rows.subjects[rows.targets == 1]] = 1
    n_positive = strata.sum()
    if min(n_positive, len(strata) - n_positive) < MIN_SUBJECTS:
        strata[:] = 0
    return strata


class _Rows(NamedTuple):
    """The rated recordings of a label; subjects and folds are numbers from 0."""

    targets: np.ndarray
    scores: np.ndarray
    subjects: np.ndarray
    weights: np.ndarray
    folds: np.ndarray
    names: np.ndarray  # of the subjects
    n_folds: int

    def classes(self, some=slice(None)):
        """How many subjects have a positive, and how many a negative."""
        return subjects_by_class(self.targets[some], self.subjects[some])


def _rated(targets, scores, subjects, weights, folds):
    """The rated recordings in the order of the scores, in which sorting is fast."""
    targets, scores = np.asarray(targets, dtype=float), np.asarray(scores, dtype=float)
    order = np.argsort(scores, kind="stable")
    order = order[~np.isnan(targets[order])]
    names, of_rows = np.unique(
        np.asarray(subjects).astype(str)[order], return_inverse=True
    )
    weights = np.ones(len(targets)) if weights is None else np.asarray(weights)
    folds = np.zeros(len(targets)) if folds is None else np.asarray(folds).astype(str)
    different, of_fold = np.unique(folds[order], return_inverse=True)
    rows = targets[order], scores[order], of_rows, weights[order], of_fold
    return _Rows(*rows, names, len(different))


def _undefined(name, rows):
    if not len(rows.targets):
        return Linearised(None, "no recording is rated")
    if rows.n_folds > 1 and name in RANKING:
        return Linearised(None, "no fold has both classes")
    return Linearised(None, WHY_UNDEFINED[name])
