"""Whether a model does as well in one group of subjects as in another.

The largest difference between small groups is mostly noise: where AUROC is 0.83 in all
of four groups with ten positive and ten negative subjects each, it differs by 0.19 on
average. So groups that are too small have no numbers, the largest difference stands
beside the one to be expected by chance, and a test looks at all groups of a column at
once.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from local.data.labels import NOT_RATED
from local.metrics.estimate import (
    measure,
    subjects_by_class,
    too_few_subjects,
    with_holm,
)
from local.metrics.intervals import auroc_interval, measure_intervals
from local.metrics.measures import threshold_measures
from local.metrics.resampling import BLOCK_SIZE
from local.metrics.thresholds import MIN_TO_CHOOSE
from local.utils.ranking import auroc

#: Numeric columns with more different values are binned.
MAX_VALUES = 6

#: At least so many, and so many for each test of a report.
N_PERMUTATIONS, PERMUTATIONS_PER_TEST = 1000, 50

NOT_GIVEN = "not given"


def subgroup_report(
    targets: ArrayLike,
    logits: ArrayLike,
    probabilities: ArrayLike,
    subjects: ArrayLike,
    groups: pd.DataFrame,
    predicted: ArrayLike,
    seed: int,
    n_permutations: int = N_PERMUTATIONS,
) -> dict:
    """Describes one label in the groups that each column makes.

    targets: [n], 0, 1, or NaN for "not rated".
    logits: [n], For AUROC; where one is NaN the probabilities are taken.
    probabilities: [n]
    subjects: [n] of str
    groups: [n rows], A column each for sex, age, site, …; see `name_groups`.
    predicted: [n], Decisions, 0 or 1; NaN where there is none, which does not count.

    Returns: {"n_permutations", "columns": {column: …}}. A column has "groups", a list
        of {"group", "n", "n_subjects", "n_positive_subjects", "n_negative_subjects",
        "auroc", "sensitivity", "specificity"}, and what `heterogeneity` finds. Groups
        with fewer than 10 subjects of either class have counts only and the "reason".
    """
    targets = np.asarray(targets, dtype=float)
    rated = ~np.isnan(targets)
    scores = np.asarray(logits, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    scores = scores if np.isfinite(scores[rated]).all() else probabilities
    predicted = np.asarray(predicted, dtype=float)[rated]
    subjects = np.asarray(subjects, dtype=object)
    rows = (targets[rated] == 1, scores[rated], subjects[rated])
    columns = {}
    for column in groups.columns:
        # Bins are of all subjects, so that they are the same ones for every label.
        members = name_groups(groups[column], subjects)[rated]
        entries = [
            _entry(name, members == name, *rows, predicted)
            for name in members.categories
        ]
        large = [
            entry["group"] for entry in entries if entry["auroc"]["value"] is not None
        ]
        codes = pd.Categorical(members, categories=large).codes
        result = heterogeneity(*rows, codes, len(large), seed, n_permutations)
        columns[column] = {"groups": entries} | result
    return {"n_permutations": n_permutations, "columns": columns}


def permutations_for(n_tests: int) -> int:
    """How many permutations let a p-value be small after Holm's method: 0.02 or less.

    n_tests: Of the whole report.

    >>> permutations_for(10), permutations_for(60)
    (1000, 3000)
    """
    return max(N_PERMUTATIONS, PERMUTATIONS_PER_TEST * n_tests)


def corrected(reports: dict[str, dict]) -> dict[str, dict]:
    """Corrects the p-values of all labels and columns of a report, by Holm's method.

    A report is read as a whole: where no label differs between groups, one that seems
    to is to be in it in at most 5 of 100 cases.

    reports: By label what `subgroup_report` gives.

    Returns: The same with "p_holm" in each column.
    """
    tests = with_holm(
        {
            (label, name): column
            for label, report in reports.items()
            for name, column in report["columns"].items()
        }
    )
    return {
        label: report
        | {"columns": {name: tests[label, name] for name in report["columns"]}}
        for label, report in reports.items()
    }


def name_groups(values: pd.Series, subjects: ArrayLike) -> pd.Categorical:
    """The group of each recording, by one column.

    Numeric columns with more than 6 different values are cut where a third and two
    thirds of the subjects are below, a subject who has several values counting with
    their median. What is missing is a group of its own.

    values: [n], Text or numbers.
    subjects: [n] of str

    Returns: [n], The groups in the order of their values, those not given last.

    >>> ages = pd.Series(["30", "41", "52", "63", "", "74", "85", "96"])
    >>> name_groups(ages, list("abcdefgh")).categories.tolist()
    ['up to 52', 'above 52, up to 74', 'above 74', 'not given']
    """
    values = pd.Series(np.asarray(values, dtype=object))
    text = values.map(_text)
    given = ~text.isin(NOT_RATED)
    numbers = pd.to_numeric(text.where(given), errors="coerce").astype(float)
    is_numeric = np.isfinite(numbers[given]).all()
    if is_numeric and numbers.nunique() > MAX_VALUES:
        of_subjects = numbers.groupby(np.asarray(subjects, dtype=object)).median()
        thirds = [1 / 3, 2 / 3]
        # a value that some subject has, not one between two
        edges = np.quantile(of_subjects.dropna(), thirds, method="inverted_cdf")
        order, places = _bins(numbers[given], np.unique(edges))
        text[given] = np.array(order, dtype=object)[places]
    else:
        by_value = numbers.to_numpy() if is_numeric else text.to_numpy()
        pairs = set(zip(by_value[given], text[given], strict=True))
        order = [name for _, name in sorted(pairs)]
    text[~given] = NOT_GIVEN
    order = [name for name in order if name != NOT_GIVEN and (text == name).any()]
    order += [NOT_GIVEN] if (text == NOT_GIVEN).any() else []
    return pd.Categorical(text, categories=order)


def _text(value):
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    # 1 and 1.0 are the same group: a gap turns a column of whole numbers into floats
    is_number = isinstance(value, int | float | np.number) and value == value
    return f"{value:.10g}" if is_number else str(value).strip()


def _bins(numbers, edges):
    """Names of the bins between edges [n_edges], and the bin of each of numbers [n]."""
    low = [f"above {edge:.10g}" for edge in edges]
    high = [f"up to {edge:.10g}" for edge in edges]
    middle = [f"{a}, {b}" for a, b in zip(low[:-1], high[1:], strict=True)]
    return [high[0], *middle, low[-1]], np.searchsorted(edges, numbers)


def _entry(name, inside, positive, scores, subjects, predicted):
    """One group; inside : bool [n]; the others are [n]."""
    positive, scores, subjects = positive[inside], scores[inside], subjects[inside]
    n_positive, n_negative = subjects_by_class(positive, subjects)
    entry = {
        "group": str(name),
        "n": int(inside.sum()),
        "n_subjects": len(set(subjects)),
        "n_positive_subjects": n_positive,
        "n_negative_subjects": n_negative,
    }
    too_few = too_few_subjects(n_positive, n_negative, MIN_TO_CHOOSE)
    if too_few:
        reason = f"too small: {too_few}"
        nothing = measure(None, reason=reason)
        names = ("auroc", "sensitivity", "specificity")
        return entry | dict.fromkeys(names, nothing) | {"reason": reason}
    names, decisions = ("sensitivity", "specificity"), threshold_measures(0.5)
    shares = dict.fromkeys(names, measure(None, reason="there is no threshold"))
    predicted = predicted[inside]
    decided = ~np.isnan(predicted)
    if decided.any():
        functions = {name: decisions[name] for name in names}
        rows = (each[decided] for each in (positive, predicted, subjects))
        shares = measure_intervals(functions, *rows)
    return entry | {"auroc": auroc_interval(positive, scores, subjects)} | shares


def heterogeneity(
    positive: np.ndarray,
    scores: np.ndarray,
    subjects: np.ndarray,
    codes: np.ndarray,
    n_groups: int,
    seed: int,
    n_permutations: int = N_PERMUTATIONS,
) -> dict:
    """Tests whether AUROC differs between groups.

    By permutation: if groups make no difference, subjects may exchange theirs. All
    recordings of a subject move together. Exchanged is among subjects with positives
    only, among those with negatives only and among those with both, so that each group
    keeps its numbers of them. Where a subject is in several groups, the one who gets
    them takes them in turn over parts that were in one group before. The statistic is
    the variance of the groups' AUROCs around their mean, each with the weight
    p q / (p + q) for p subjects with positives and q with negatives. As every
    permutation test it also notices other differences than the one it looks for, if
    they are large.

    positive: [n] of bool
    scores: [n]
    subjects: [n] of str
    codes: [n] of int, The group of each recording from 0 on; those below 0 are left
        out.

    Returns: {"n_groups", "largest_gap", "largest_gap_by_chance", "p"}: the largest
        difference between two groups' AUROCs, and its mean under permutation. The three
        are None, with a "reason", with fewer than two groups.
    """
    result = {"n_groups": n_groups}
    if n_groups < 2:
        nothing = dict.fromkeys(("largest_gap", "largest_gap_by_chance", "p"))
        reason = f"{n_groups or 'no'} group is large enough: a comparison needs two"
        return result | nothing | {"reason": reason}
    inside = codes >= 0
    rows = positive[inside], scores[inside], subjects[inside], codes[inside]
    generator = np.random.default_rng(seed)
    return result | _test(*rows, n_groups, generator, n_permutations)


def _test(positive, scores, subjects, codes, n_groups, generator, n_permutations):
    """What `heterogeneity` says of two groups or more, all codes being 0 or above."""
    counts = [
        subjects_by_class(positive[codes == group], subjects[codes == group])
        for group in range(n_groups)
    ]
    weights = np.array([p * q / (p + q) for p, q in counts])
    observed = _aurocs(positive, scores, codes[None], n_groups)
    blocks = _permutations(positive, subjects, codes, generator, n_permutations)
    permuted = np.concatenate(
        [_aurocs(positive, scores, block, n_groups) for block in blocks]
    )
    # 1e-12: the same groups, summed in another order. A permutation that leaves a
    # group without a class has no statistic, and counts as extreme.
    less = _variance(permuted, weights) < _variance(observed, weights) - 1e-12
    gaps = np.ptp(permuted[~np.isnan(permuted).any(axis=1)], axis=1)
    return {
        "largest_gap": float(np.ptp(observed)),
        "largest_gap_by_chance": float(gaps.mean()),
        "p": float((1 + (~less).sum()) / (1 + len(less))),
    }


def _aurocs(positive, scores, codes, n_groups):
    """AUROC in each group, [n_permutations, n_groups], for codes [n_permutations, n]"""
    return np.stack(
        [auroc(positive, scores, codes == group) for group in range(n_groups)], axis=1
    )


def _variance(aurocs, weights):
    """aurocs [n_permutations, n_groups], weights [n_groups] -> [n_permutations]"""
    mean = np.average(aurocs, axis=1, weights=weights)[:, None]
    return np.average((aurocs - mean) ** 2, axis=1, weights=weights)


def _permutations(positive, subjects, codes, generator, n_permutations):
    """Yields codes of recordings in blocks, [permutations of the block, n].

    What moves is a part: the recordings of one subject that are in one group.
    """
    _, of_row = np.unique(subjects, return_inverse=True)
    parts, part_of_row = np.unique(
        np.stack([of_row, codes], axis=1), axis=0, return_inverse=True
    )
    of_part, code_of_part = parts.T
    first, n_parts = np.unique(of_part, return_index=True, return_counts=True)[1:]
    place = np.arange(len(parts)) - first[of_part]
    has = [np.bincount(of_row, weights=is_of) > 0 for is_of in (positive, ~positive)]
    kind = has[0] + 2 * has[1]
    n_blocks = -(-n_permutations * len(codes) // BLOCK_SIZE)
    for size in np.diff(np.linspace(0, n_permutations, n_blocks + 1).astype(int)):
        givers = np.empty((size, len(kind)), dtype=int)
        for members in (np.flatnonzero(kind == k) for k in np.unique(kind)):
            tiled = np.tile(members, (size, 1))
            givers[:, members] = generator.permuted(tiled, axis=1)
        shift = generator.integers(0, n_parts[givers])
        giver = givers[:, of_part]
        source = first[giver] + (place + shift[:, of_part]) % n_parts[giver]
        yield code_of_part[source][:, part_of_row.ravel()]
