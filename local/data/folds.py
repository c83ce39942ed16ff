"""Folds over subjects, for cross-validation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.spelling import alike, first_spellings

#: Of a probe or a baseline, see `draw_folds`.
MAX_FOLDS = 5

#: Draws among which the best-balanced folds are chosen.
N_DRAWS = 100


def make_folds(
    table: pd.DataFrame,
    targets: pd.DataFrame,
    n_folds: int,
    seed: int,
    disjoint_by: Sequence[str] = ("subject",),
) -> np.ndarray:
    """Divide recordings into folds, subjects kept whole, balanced over labels.

    Recordings that share a value of a `disjoint_by` column, directly or through others,
    are a group that stays together. In each of `N_DRAWS` draws the groups, the large
    ones early, go one after the other to the fold that has least of what they bring:
    of the subjects, and of each label's positives and negatives. The draw is taken
    that leaves the fewest folds with one class of a label, and of these the one whose
    folds are most alike.

    table: One row per recording, with `subject` and the columns of `disjoint_by`, all
        text; an empty cell ties to nothing.
    targets: [n_recordings, n_labels] of float, 0, 1 or NaN (not rated); of a score its
        place in its range, from 0 to 1 (see `labels.scale_targets`). Rows as in
        `table`.
    n_folds: 2 or more.
    disjoint_by: Columns whose values may not cross; subjects never do.

    Returns: [n_recordings] of int, The fold of each recording, from 0; no fold is
        empty.
    Raises UserError: for a column that is not there, fewer than two folds, or fewer
        groups than folds.

    >>> table = pd.DataFrame({"subject": list("aabbcc"), "site": list("xxxxyy")})
    >>> targets = pd.DataFrame({"low": [0, 1, 0, 1, 0, 1.0]})
    >>> folds = make_folds(table, targets, 2, seed=1, disjoint_by=["site"])
    >>> bool(folds[0] == folds[3] != folds[4])
    True
    """
    groups = _groups(table, n_folds, disjoint_by)
    shares = _shares(table["subject"], targets, groups)
    generator = np.random.default_rng(seed)
    draws = [_draw(shares, n_folds, generator) for _ in range(N_DRAWS)]
    best = min(draws, key=lambda draw: _imbalance(draw, shares, n_folds))
    return best[groups]


def _groups(table, n_folds, disjoint_by):
    """The group of each recording, enough of them for so many folds, or a UserError."""
    columns = _tying(table, disjoint_by)
    if n_folds < 2:
        raise UserError(f"n_folds must be 2 or more, found {n_folds}.")
    groups = _tied(table, columns)
    n_groups = groups.max() + 1
    if n_groups < n_folds:
        raise UserError(
            f"{n_folds} folds need as many groups of recordings that share no "
            f"{' and no '.join(columns)}, but there are {n_groups}: set n_folds to "
            f"{n_groups} or less, or name fewer columns in disjoint_by."
        )
    return groups


def _tying(table, disjoint_by):
    """The columns whose values may not cross, which must be there."""
    _check_columns("disjoint_by", disjoint_by, table)
    return list(dict.fromkeys(["subject", *disjoint_by]))


def _check_columns(key, columns, table):
    absent = [column for column in columns if column not in table.columns]
    if absent:
        filled = [column for column in table.columns if (table[column] != "").any()]
        raise UserError(
            f"{key} names {', '.join(map(repr, absent))}, which is no column; "
            f"there are {', '.join(filled)}."
        )


def folds_by_column(
    table: pd.DataFrame, column: str, disjoint_by: Sequence[str] = ("subject",)
) -> tuple[np.ndarray, list[str]]:
    """A fold for each value of a column, as a site: what other sites' data are worth.

    table, disjoint_by: As for `make_folds`.

    Returns folds: [n_recordings] of int, from 0.
    Returns values: Of each fold, sorted; a value in several spellings in its first one.
    Raises UserError: for a column that is not there, has an empty cell or a single
        value, or that subjects (or others of `disjoint_by`) cross.

    >>> sites = ["Ulm", "ulm", "B", "B"]
    >>> table = pd.DataFrame({"subject": list("aabc"), "site": sites})
    >>> folds, values = folds_by_column(table, "site")
    >>> folds.tolist(), values
    ([1, 1, 0, 0], ['B', 'Ulm'])
    """
    _check_columns("leave_one_out", [column], table)
    first = first_spellings(table[column].str.strip())
    values = table[column].str.strip().map(first)
    if n_empty := int((values == "").sum()):
        raise UserError(
            f"leave_one_out: {column} needs a value of {column} for each recording, "
            f"and {counted(n_empty, 'cell')} of it {'is' if n_empty == 1 else 'are'} "
            "empty: fill them, or take the recordings out."
        )
    names = sorted(values.unique())
    if len(names) < 2:
        raise UserError(
            f"leave_one_out: {column} needs two values of {column} or more, and all "
            f"recordings have {names[0]!r}: leave it out, folds are then drawn."
        )
    columns = [name for name in _tying(table, disjoint_by) if name != column]
    crossing = values.groupby(_tied(table, columns)).nunique() > 1
    if n_crossing := int(crossing.sum()):
        is_plain = columns == ["subject"]
        who = "subjects" if is_plain else f"groups by {', '.join(columns)}"
        raise UserError(
            f"leave_one_out: {column} would test on people who are trained on: "
            f"{n_crossing} {who} have recordings of several values of {column}. Give "
            f"each of them one {column}, or take their recordings of the others out."
        )
    return values.map({name: i for i, name in enumerate(names)}).to_numpy(), names


def _tied(table, columns):
    """The group of each recording: those tied by values belong together.

    A graph of recordings and values, an edge wherever a recording has a value.
    """
    edges, n = [], len(table)
    for column in columns:
        # as `spelling.alike` tells who is who: an empty cell stays empty
        codes, values = pd.factorize(table[column].map(alike).replace("", None))
        tied = np.flatnonzero(codes >= 0)  # -1 is an empty cell
        edges.append(np.stack([tied, codes[tied] + n]))
        n += len(values)
    rows, ends = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(rows)), (rows, ends)), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    return np.unique(component[: len(table)], return_inverse=True)[1]


def _shares(subjects, targets, groups) -> np.ndarray:
    """What each group has of all there is.

    Returns: [n_groups, 1 + 2 * n_labels], Of the subjects, and of each label's
        positives and negatives. A rating of a score counts as both, by its place in its
        range.
    """
    n_subjects = subjects.groupby(groups).nunique().to_numpy()[:, None]
    by_group = targets.groupby(groups)
    positives = by_group.sum().to_numpy()
    negatives = by_group.count().to_numpy() - positives
    amounts = np.concatenate([n_subjects, positives, negatives], axis=1)
    totals = amounts.sum(axis=0)
    return amounts / np.where(totals > 0, totals, 1)


def _draw(shares, n_folds, generator):
    """The fold of each group, [n_groups], by one random order of the groups."""
    size = np.linalg.norm(shares, axis=1) * generator.uniform(0.5, 1, len(shares))
    loads = np.zeros((n_folds, shares.shape[1]))
    folds = np.empty(len(shares), dtype=int)
    for group in np.argsort(-size, kind="stable"):
        # Where the product is smallest, the sum of the squared loads grows least: it
        # is smallest of all where the folds are alike. An empty fold's is 0.
        folds[group] = np.argmin(loads @ shares[group])
        loads[folds[group]] += shares[group]
    return folds


def _imbalance(draw, shares, n_folds):
    """How unlike the folds are: lost classes, then the squared distance from equal."""
    loads = np.stack([shares[draw == fold].sum(axis=0) for fold in range(n_folds)])
    # A label without a class at all loses it in every draw alike.
    lost = int((loads[:, 1:] < 1e-12).sum())
    return lost, float(((loads - 1 / n_folds) ** 2).sum())


def one_class_folds(folds: np.ndarray, targets: pd.DataFrame) -> dict[str, list[int]]:
    """The folds in which a label has one class, or none.

    folds: [n_recordings] of int, As `make_folds` gives it.
    targets: [n_recordings, n_labels] of float, As `make_folds` takes it; a score that
        is at one end of its range throughout counts as one class.

    Returns: The folds of each label that has such, from 0. Nothing can be measured
        there.

    >>> targets = pd.DataFrame({"low": [0, 1, 0, 0.0], "fast": [0, 1, 1, 0.0]})
    >>> one_class_folds(np.array([0, 0, 1, 1]), targets)
    {'low': [1]}
    """
    by_fold = targets.groupby(folds)
    # min and max of no rating are NaN, which is not above
    separable = (by_fold.max() > 0) & (by_fold.min() < 1)
    return {
        label: [int(fold) for fold in separable.index[~separable[label]]]
        for label in targets.columns
        if not separable[label].all()
    }


def draw_folds(
    targets: np.ndarray, subjects: np.ndarray, seed: int
) -> np.ndarray | None:
    """Divides recordings into few folds, for one label and for models that fit fast.

    targets: [n], 0 or 1.
    subjects: [n] of str

    Returns: [n] of int, The fold of each recording: 5 folds, or as many as there are
        subjects with positives or with negatives; None with one of those.
    """
    n_folds = min(
        MAX_FOLDS, *(len(set(subjects[targets == value])) for value in (0, 1))
    )
    if n_folds < 2:
        return None
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    folds = np.empty(len(targets), dtype=int)
    for fold, (_, rows) in enumerate(splitter.split(targets, targets, subjects)):
        folds[rows] = fold
    return folds
