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
    if not len(rows):
        return _undefined("auroc", rows)
    used = [fold for _, fold in rows.groupby("fold") if fold["target"].nunique() == 2]
    if not used:
        return _undefined("auroc", rows)
    values, errors = zip(*map(_auroc_errors, used), strict=True)
    value, k = float(np.mean(values)), len(used)
    rows, errors = pd.concat(used), pd.concat(errors).groupby(level=0).sum() / k
    counts = subjects_by_class(rows["target"].to_numpy(), rows["subject"].to_numpy())
    few = too_few_subjects(*counts, MIN_SUBJECTS) or _too_few_for_folds(counts, k)
    if few:
        return Linearised(value, few)
    # each fold has taken one mean of either class: squares are too small by that
    positives, negatives = (n / (n - k) for n in counts)
    one, other = errors["positive"], errors["negative"]
    both = 2 * _unbiased(len(errors), k) * (one * other).sum()
    variance = positives * (one**2).sum() + negatives * (other**2).sum() + both
    return Linearised(
        value,
        influence=np.sqrt(positives) * one + np.sqrt(negatives) * other,
        freedom=min(counts) - k,
        n=min(counts),
        scale="logit",
        variance=max(variance, 0.0),
    )


def _auroc_errors(fold):
    """AUROC of a fold, and by subject what its positives and negatives do to it."""
    targets, scores, weights = (
        fold[name].to_numpy() for name in ("target", "score", "weight")
    )
    value, shares = pairs_in_order(targets, scores, weights)
    positive = targets == 1
    errors = {
        name: side * weights * (shares - value) / weights[side].sum()
        for name, side in (("positive", positive), ("negative", ~positive))
    }
    return value, pd.DataFrame(errors).groupby(fold["subject"].to_numpy()).sum()


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
    index, names = pd.factorize(rows["subject"], sort=True)
    few, by_class = _few(rows, two_classes), study_design == CASE_CONTROL
    strata = np.zeros(len(names))
    if two_classes and by_class and not few:
        strata = _strata(rows["target"].to_numpy(), index)
    asked = {name: each for name, each in functions.items() if name != "auroc"}
    values, influences, alone = _influences(_within_folds(asked, rows), rows, index)
    results = {}
    for name in functions:
        if name == "auroc":
            results[name] = linearised_auroc(targets, scores, subjects, weights, folds)
        elif np.isnan(values[name]):
            results[name] = _undefined(name, rows)
        elif few:
            results[name] = Linearised(float(values[name]), few)
        else:
            influence = _centred(pd.Series(influences[name], names), strata)
            given = values[name], influence, alone.get(name)
            results[name] = _result(name, *given, rows, two_classes)
    return results


def _result(name, value, influence, alone, rows, two_classes):
    """A measure that has an interval; alone: of how many subjects it is a share."""
    k, n = 1, alone or len(influence)
    if two_classes and name not in SHARES:
        counts = subjects_by_class(
            rows["target"].to_numpy(), rows["subject"].to_numpy()
        )
        n = min(counts)
    if name in RANKING:
        of_folds = rows.groupby("fold")["target"].nunique()
        k = int((of_folds > 1).sum())
    return Linearised(
        float(value),
        influence=influence * np.sqrt(_unbiased(n, k)),
        freedom=n - k,
        n=n if name in (*SHARES, *SEPARATIONS) else 0,
        scale=SCALE_OF.get(name, "plain"),
    )


def _few(rows, two_classes):
    """Why subjects are too few for an interval; None if they are not."""
    n = rows["subject"].nunique()
    if two_classes:
        columns = (rows[name].to_numpy() for name in ("target", "subject"))
        return too_few_subjects(*subjects_by_class(*columns), MIN_SUBJECTS)
    return f"fewer than {MIN_SUBJECTS} subjects: {n}" if n < MIN_SUBJECTS else None


def _within_folds(functions, rows):
    """The functions, those that rank recordings as means over folds."""
    codes, folds = pd.factorize(rows["fold"])
    if len(folds) < 2:
        return functions
    places = [np.flatnonzero(codes == code) for code in range(len(folds))]

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


def _influences(functions, rows, index):
    """Of each measure its value, each subject's influence, and for how many a share.

    index : [n], the number of each recording's subject. Returns three dicts: of floats,
    of arrays [n_subjects], and of the number of subjects who have such a share alone.
    """
    targets, scores, weights = (
        rows[name].to_numpy() for name in ("target", "score", "weight")
    )
    values = {
        name: function(targets, scores, weights[None])[0]
        for name, function in functions.items()
    }

    def of_block(block):
        own = index == block[:, None]
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

    n_subjects = index.max(initial=-1) + 1
    if not n_subjects:
        return values, {}, {}
    blocks = in_blocks(of_block, np.arange(n_subjects), len(index))
    changed, alone = (
        {name: np.concatenate([each[name] for each in column]) for name in column[0]}
        for column in zip(*blocks, strict=True)
    )
    influences = {name: (values[name] - changed[name]) / STEP for name in functions}
    return values, influences, {name: int(each.sum()) for name, each in alone.items()}


def _centred(influence, strata):
    """Influences less their mean in each stratum, squares enlarged for that."""
    groups = influence.groupby(strata)
    return influence - groups.transform("mean")


def _strata(targets, index):
    """[n_subjects]: 1 of subjects with a positive; all 0 where a stratum is small."""
    strata = np.zeros(index.max() + 1)
    strata[index[targets == 1]] = 1
    n_positive = strata.sum()
    if min(n_positive, len(strata) - n_positive) < MIN_SUBJECTS:
        strata[:] = 0
    return strata


def _rated(targets, scores, subjects, weights, folds):
    """The rated recordings: target, score, subject, weight, fold; by score.

    In the order of the scores, as each measure that sorts them is faster then.
    """
    rows = pd.DataFrame(
        {
            "target": np.asarray(targets, dtype=float),
            "score": np.asarray(scores, dtype=float),
            "subject": np.asarray(subjects).astype(str),
            "weight": 1.0 if weights is None else np.asarray(weights, dtype=float),
            "fold": "" if folds is None else np.asarray(folds).astype(str),
        }
    )
    return rows[rows["target"].notna()].sort_values("score", kind="stable")


def _undefined(name, rows):
    if not len(rows):
        return Linearised(None, "no recording is rated")
    if rows["fold"].nunique() > 1 and name in RANKING:
        return Linearised(None, "no fold has both classes")
    return Linearised(None, WHY_UNDEFINED[name])
