"""95 % intervals of measures, by subject: made for small clinical studies.

Recordings of one subject are alike, so that what counts is how many subjects there
are. AUROC has an interval from its variance between subjects (`auroc_interval`); all
other measures have one from drawing subjects with replacement
(`bootstrap_intervals`), and so have means over labels (`macro_intervals`).
`docs/intervals.md` says how often they hold the truth.

Results are dicts {"value", "low", "high"}, with "reason" where one of them is None,
and "n_undefined" where draws had to be left out.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import t as student_t

from local.metrics.estimate import (
    measure,
    subjects_by_class,
    too_few_subjects,
    wilson_interval,
)
from local.metrics.measures import WHY_UNDEFINED
from local.metrics.resampling import draw_subjects, in_blocks
from local.utils.ranking import pairs_in_order

LEVEL = 0.95

#: With fewer subjects there is no telling how much they differ.
MIN_SUBJECTS = 5

#: Subjects are drawn so often for a bootstrap interval.
N_DRAWS = 2000

#: Where fewer draws than this share are defined, they can't stand for all.
MIN_DEFINED_SHARE = 0.5

#: A smaller difference between values around 1 is due to rounding.
ROUNDING = 1e-12

#: Shares of recordings, for which only the subjects count who have such recordings.
SHARES = ("sensitivity", "specificity", "ppv", "npv", "f1")

#: Other measures from 0 to 1, for which all subjects count.
SEPARATIONS = ("auroc", "auprc", "balanced_accuracy")


def auroc_interval(
    targets: ArrayLike,
    scores: ArrayLike,
    subjects: ArrayLike,
    weights: ArrayLike | None = None,
) -> dict:
    """Computes AUROC and its interval.

    The variance is that of Obuchowski (1997), Biometrics 53:567-578, for clustered
    data: of each recording's share of pairs in order, summed within the subject, with
    the covariance of the two sums of subjects who have both classes. The interval is
    symmetric on the scale of the logit. Its width is of Student's t with as many
    degrees of freedom as there are subjects with a positive or, if they are fewer,
    with a negative, less one.

    Where AUROC is 0 or 1, or nothing varies between subjects, it is Wilson's interval
    of a proportion instead: AUROC as the share of right answers, of as many answers as
    there are subjects. With n subjects that is n / (n + 1.96²) to 1 at AUROC 1, and
    the mirror image at 0.

    targets: [n], 0, 1, or NaN for "not rated".
    scores: [n], Logits or probabilities: AUROC is the same for both.
    subjects: [n], The subject of each recording.
    weights: [n], How much each recording counts, above 0; 1 unless given. See
        `measures.subject_weights`.

    Returns: {"value", "low", "high"}, and "reason" where fewer than 5 subjects have a
        positive or a negative (no bounds), or there is one class only (no value).

    >>> scores = [1, 6, 2, 7, 3, 8, 4, 5, 9, 10]
    >>> interval = auroc_interval([0, 1] * 5, scores, list("abcdefghij"))
    >>> [round(interval[key], 2) for key in ("value", "low", "high")]
    [0.84, 0.15, 0.99]
    """
    targets, scores, subjects, weights = _rated(targets, scores, subjects, weights)
    names, index = np.unique(subjects, return_inverse=True)
    if len(np.unique(targets)) < 2:
        return _undefined("auroc", targets)
    value, variance = _auroc_and_variance(targets, scores, index, weights)
    too_few = too_few_subjects(*subjects_by_class(targets, index), MIN_SUBJECTS)
    if too_few:
        return measure(value, reason=too_few)
    if min(value, 1 - value, variance) <= ROUNDING:
        return measure(value, wilson_interval(value, len(names)))
    freedom = min(len(np.unique(index[targets == c])) for c in (0, 1)) - 1
    half_width = student_t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance)
    half_width /= value * (1 - value)  # as the logit stretches it
    return measure(value, expit(logit(value) + half_width * np.array([-1, 1])))


def _auroc_and_variance(targets, scores, index, weights):
    """AUROC and its variance between subjects, of targets with both classes.

    A subject moves AUROC by what its positives, and by what its negatives, have more
    pairs in order than is usual: its two `errors`.
    """
    value, shares = pairs_in_order(targets, scores, weights)
    sides, n_subjects = (targets == 1, targets == 0), index.max() + 1
    errors = [
        np.bincount(
            index[side],
            weights[side] * (shares[side] - value) / weights[side].sum(),
            minlength=n_subjects,
        )
        for side in sides
    ]
    variance = 2 * _unbiased(n_subjects) * (errors[0] * errors[1]).sum()
    for side, error in zip(sides, errors, strict=True):
        variance += _unbiased(len(np.unique(index[side]))) * (error**2).sum()
    return value, max(variance, 0)


def _unbiased(n):
    return n / (n - 1) if n > 1 else 1


def bootstrap_intervals(
    functions: dict[str, Callable],
    targets: ArrayLike,
    scores: ArrayLike,
    subjects: ArrayLike,
    seed: int,
    two_classes: bool = True,
    weights: ArrayLike | None = None,
    n_draws: int = N_DRAWS,
) -> dict[str, dict]:
    """Computes measures of one label and their percentile intervals.

    Subjects are drawn with replacement, with all their recordings; the draws are the
    same for all measures. With two classes, as many subjects with a positive are drawn
    as there are, and as many without one. (Where one of these two strata has fewer
    than 5 subjects though 5 have a positive and 5 a negative, which happens if most
    subjects have both, they are drawn from all.)

    Where all draws give the same value, a measure from 0 to 1 has Wilson's interval
    instead, of as many answers as there are subjects who contribute: of sensitivity
    those with a positive, of AUROC, average precision and balanced accuracy all. Other
    measures then have none.

    functions: Measures by name, as in `local.metrics.measures`.
    targets: [n], 0 or 1, or ratings; NaN for "not rated".
    scores, subjects: [n], Probabilities, or predicted ratings; of whom they are.
    two_classes: False if the targets are ratings: all subjects are one stratum.
    weights: [n], How much each recording counts, above 0; 1 unless given. See
        `measures.subject_weights`.

    Returns: {"value", "low", "high"} of each measure; "reason" where one of them is
        None; "n_undefined", the draws in which the measure is undefined, where there
        are any: the interval is that of the others.

    >>> from local.metrics.measures import mae
    >>> ratings, predictions, subjects = range(9), [1] * 9, list("abcdefghi")
    >>> rows = ratings, predictions, subjects
    >>> mae = bootstrap_intervals({"mae": mae}, *rows, seed=1, two_classes=False)["mae"]
    >>> mae["low"] < mae["value"] < mae["high"]
    True
    """
    targets, scores, subjects, weights = _rated(targets, scores, subjects, weights)
    names, index = np.unique(subjects, return_inverse=True)
    label = functions, targets, scores, index, weights
    strata, too_few = np.zeros(len(names)), _why_too_few_subjects(len(names))
    if two_classes:
        strata = _strata(targets, index)
        too_few = too_few_subjects(*subjects_by_class(targets, index), MIN_SUBJECTS)
    values = _measured(label, np.ones((1, len(names))))
    draws = {} if too_few else _drawn([label], strata, seed, n_draws)

    def interval(name):
        value = values[name][0]
        if np.isnan(value):
            return _undefined(name, targets)
        if too_few:
            return measure(value, reason=too_few)
        return _percentiles(value, draws[name][0], partial(_n_answers, name, label))

    return {name: interval(name) for name in functions}


def macro_intervals(
    labels: dict[str, dict], seed: int, n_draws: int = N_DRAWS
) -> dict[str, dict]:
    """Computes means of measures over labels and their percentile intervals.

    Means are over the labels with two different targets; which labels these are does
    not change from draw to draw. Subjects are drawn with replacement from all who are
    rated for one of them, without strata, and a draw is the same for all labels, as
    one subject's labels belong together. A draw in which the measure of one label is
    undefined, as it has one class only there, is left out and counted.

    Where all draws give the same value, it is as in `bootstrap_intervals`, with as
    many answers as there are subjects.

    labels: Of each label the arguments of `bootstrap_intervals`: "functions" (of the
        same names for all labels), "targets", "scores", "subjects", and maybe
        "weights".

    Returns: As of `bootstrap_intervals`; a mean is None with the reason where the
        measure of a label is undefined, or no label has two different targets.

    >>> from local.metrics.measures import mae
    >>> label = {"functions": {"mae": mae}, "subjects": list("abcde")}
    >>> first = label | {"targets": [1, 2, 3, 4, 5], "scores": [1, 2, 3, 4, 9]}
    >>> second = label | {"targets": [1, 2, 3, 4, 5], "scores": [1, 2, 3, 4, 5]}
    >>> round(macro_intervals({"x": first, "y": second}, seed=1)["mae"]["value"], 6)
    0.4
    """
    names = [name for label in labels.values() for name in label["functions"]]
    columns = ("targets", "scores", "subjects", "weights")
    rated = {
        label: (given["functions"], *_rated(*map(given.get, columns)))
        for label, given in labels.items()
    }
    kept = {
        label: entry for label, entry in rated.items() if len(np.unique(entry[1])) > 1
    }
    if not kept:
        reason = "no label has two different targets"
        return {name: measure(None, reason=reason) for name in names}
    subjects = np.unique(np.concatenate([entry[3] for entry in kept.values()]))
    kept = {
        label: (functions, targets, scores, np.searchsorted(subjects, entry), weights)
        for label, (functions, targets, scores, entry, weights) in kept.items()
    }
    return _macro_intervals(kept, len(subjects), seed, n_draws)


def _macro_intervals(labels, n_subjects, seed, n_draws):
    """The same of the labels that are kept, with the numbers of their subjects."""
    everybody = np.ones((1, n_subjects))
    values = {label: _measured(entry, everybody) for label, entry in labels.items()}
    too_few = _why_too_few_subjects(n_subjects)
    draws = None
    if not too_few:
        draws = _drawn(list(labels.values()), np.zeros(n_subjects), seed, n_draws)
    intervals = {}
    for name in next(iter(values.values())):
        of_labels = {label: entry[name][0] for label, entry in values.items()}
        undefined = [label for label, value in of_labels.items() if np.isnan(value)]
        value = np.mean(list(of_labels.values()))
        if undefined:
            reason = f"{', '.join(undefined)}: {WHY_UNDEFINED[name]}"
            intervals[name] = measure(None, reason=reason)
        elif too_few:
            intervals[name] = measure(value, reason=too_few)
        else:
            n_answers = n_subjects if name in (*SHARES, *SEPARATIONS) else 0
            means = draws[name].mean(axis=0)
            intervals[name] = _percentiles(value, means, lambda n=n_answers: n)
    return intervals


def _percentiles(value, draws, n_answers):
    """The measure with the interval that draws [n_draws] give, NaN among them.

    n_answers : function, of what number of answers the value is a share; 0 if of none
    """
    defined = draws[~np.isnan(draws)]
    n_undefined = len(draws) - len(defined)
    if len(defined) < MIN_DEFINED_SHARE * len(draws):
        reason = f"undefined in {n_undefined} of {len(draws)} draws of subjects"
        estimate = measure(value, reason=reason)
    elif np.ptp(defined) > ROUNDING:
        bounds = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        estimate = measure(value, bounds)
    elif n := n_answers():
        estimate = measure(value, wilson_interval(value, n))
    else:
        estimate = measure(value, reason="the same in all draws of subjects")
    return estimate | ({"n_undefined": n_undefined} if n_undefined else {})


def _n_answers(name, label):
    """How many subjects contribute to a measure from 0 to 1; 0 for the other ones."""
    functions, _, _, index, _ = label
    n_subjects = index.max() + 1
    if name in SEPARATIONS:
        return n_subjects
    if name not in SHARES:
        return 0
    # Who has no recording of those that it is a share of has no such share alone.
    label = ({name: functions[name]}, *label[1:])
    everybody = np.arange(n_subjects)
    alone = [_measured(label, (everybody == i)[None])[name] for i in everybody]
    return int(np.isfinite(alone).sum())


def _drawn(labels, strata, seed, n_draws):
    """Each measure of each label in the same draws: {name: [n_labels, n_draws]}.

    labels : list of (functions, targets, scores, index of the subject, weights)
    strata : [n_subjects]
    """
    blocks = in_blocks(
        lambda counts: [_measured(label, counts) for label in labels],
        draw_subjects(strata, n_draws, seed),
        max(len(targets) for _, targets, *_ in labels),
    )
    return {
        name: np.hstack([[entry[name] for entry in block] for block in blocks])
        for name in labels[0][0]
    }


def _measured(label, counts):
    """The measures of a label, each subject counted [d, n_subjects] times: [d] each."""
    functions, targets, scores, index, weights = label
    weights = np.take(counts, index, axis=1) * weights
    return {name: call(targets, scores, weights) for name, call in functions.items()}


def _strata(targets, index):
    """1 for subjects with a positive, 0 for the others; 0 for all where few differ."""
    strata = np.zeros(index.max(initial=-1) + 1, dtype=int)
    strata[index[targets == 1]] = 1
    n_positive = strata.sum()
    if min(n_positive, len(strata) - n_positive) < MIN_SUBJECTS:
        strata[:] = 0
    return strata


def _why_too_few_subjects(n):
    return f"fewer than {MIN_SUBJECTS} subjects: {n}" if n < MIN_SUBJECTS else None


def _rated(targets, scores, subjects, weights):
    """Targets, scores, subjects and weights of the rated recordings, by score.

    In the order of the scores, as each measure that sorts them is faster then.
    """
    targets, scores = np.asarray(targets, dtype=float), np.asarray(scores, dtype=float)
    subjects = np.asarray(subjects).astype(str)
    weights = np.ones(len(targets)) if weights is None else np.asarray(weights)
    order = np.argsort(scores, kind="stable")
    order = order[~np.isnan(targets[order])]
    return targets[order], scores[order], subjects[order], weights[order]


def _undefined(name, targets):
    reason = WHY_UNDEFINED[name] if len(targets) else "no recording is rated"
    return measure(None, reason=reason)
