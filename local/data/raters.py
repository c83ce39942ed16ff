"""Raters: labels as the consensus of several, and how far they agree.

A column ``<label>@<rater>`` of a split's CSV holds what one rater said of each
recording, in the same codes as the label's own column. Ratings here are tables with a
row per recording and a column per rater, NaN where that rater said nothing; they hold
the codes as they were given, so an ordinal label its scale, not yet 0 and 1.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd

from local.data.label_cells import CellCodes, targets_from_table
from local.data.label_proposals import WrongCells
from local.data.labels import LabelType, parse_label_types
from local.data.splits import of_cells
from local.utils.errors import UserError
from local.utils.problems import Problem

#: A mean in the label's own column may be rounded: by this share of the range.
ROUNDING = 0.01


def rater_columns(
    columns: Iterable[str], labels: list[str]
) -> dict[str, dict[str, str]]:
    """The columns that hold ratings of one rater.

    columns: The columns of a split's CSV.
    labels: Columns of other labels are not looked at.

    Returns: Label → rater → column, for the labels that have raters, raters in the
        order of the columns.

    >>> rater_columns(["uid", "slow", "slow@anna", "slow@bo", "age@x"], ["slow"])
    {'slow': {'anna': 'slow@anna', 'bo': 'slow@bo'}}
    """
    columns_of = {}
    # The longest label first: "a@b@anna" is a rating of "a@b" where that is a label.
    by_length = sorted(labels, key=len, reverse=True)
    for column in columns:
        label = next((n for n in by_length if column.startswith(f"{n}@")), None)
        if label is not None and column not in labels:
            columns_of.setdefault(label, {})[column[len(label) + 1 :]] = column
    return {label: columns_of[label] for label in labels if label in columns_of}


def read_ratings(
    table: pd.DataFrame,
    labels: list[str],
    types: dict[str, LabelType],
    codes: CellCodes,
    name: str,
) -> tuple[dict[str, pd.DataFrame], list[str | Problem]]:
    """Read the columns of raters.

    table: One row per recording, all cells text.
    name: The file's name, for messages.

    Returns ratings: [n_recordings, n_raters], Of each label that has raters.
    Returns problems: Cells that can't be read, and columns without a rater's name.
    """
    ratings, problems = {}, []
    for label, columns in rater_columns(table.columns, labels).items():
        if "" in columns:
            problems.append(
                f"{name}: the column {columns['']!r} lacks the rater's name; expected "
                f"{label}@<rater>"
            )
        # is_score: the rating itself is wanted, not whether it is positive
        given = dataclasses.replace(types[label], is_score=True)
        values, wrong = targets_from_table(
            table,
            dict.fromkeys(columns.values(), given),
            None,
            codes.of_raters(label, columns.values()),
            name,
        )
        problems += [
            dataclasses.replace(problem, column=label)
            if isinstance(problem, WrongCells)
            else problem
            for problem in wrong
        ]
        ratings[label] = values.set_axis(list(columns), axis=1)
    return ratings, problems


def consensus(ratings: pd.DataFrame, label_type: LabelType) -> np.ndarray:
    """The target of each recording by its raters.

    ratings: [n_recordings, n_raters], Codes as given, NaN where not rated.

    Returns: [n_recordings], Of a score the mean; of any other label what most raters
        say, 0 or 1, after each rating was compared with `positive_from`. NaN where
        nobody rated, and where as many say 0 as 1.

    >>> from local.data.labels import LabelType
    >>> import pandas as pd
    >>> ratings = pd.DataFrame({"anna": [3, 1, 2], "bo": [2, 0, 1]})
    >>> consensus(ratings, LabelType("ordinal", (0.0, 4.0), 2.0)).tolist()
    [1.0, 0.0, nan]
    """
    if label_type.is_score:
        return ratings.mean(axis=1).to_numpy(dtype=float)
    return majority(ratings, label_type)


def majority(ratings: pd.DataFrame, label_type: LabelType) -> np.ndarray:
    """What most raters say, 0 or 1, also of a label that is learned as a score.

    ratings: As for `consensus`; the label has a `positive_from`.

    Returns: [n_recordings], NaN where nobody rated, and where as many say 0 as 1.
    """
    share = positive(ratings, label_type).mean(axis=1).to_numpy(dtype=float)
    decided = ~np.isnan(share) & (share != 0.5)
    return np.where(decided, (share > 0.5).astype(float), np.nan)


def count_divided(
    table: pd.DataFrame, types: dict[str, LabelType], codes: CellCodes
) -> dict[str, int]:
    """How many recordings have no target, as their raters are divided evenly.

    table: With the columns of raters, all cells as `read_ratings` takes them.

    Returns: Of each label that has raters; of a score, which is their mean, always 0.

    >>> from local.data.labels import LabelType
    >>> table = pd.DataFrame({"x@anna": ["1", "1", ""], "x@bo": ["0", "1", ""]})
    >>> count_divided(table, {"x": LabelType(), "y": LabelType()}, CellCodes())
    {'x': 1}
    """
    ratings, _ = read_ratings(table, list(types), types, codes, "")
    return {
        label: int(np.isnan(consensus(rated.dropna(how="all"), types[label])).sum())
        for label, rated in ratings.items()
    }


def with_shares(manifest: pd.DataFrame, names: list[str], values: dict) -> pd.DataFrame:
    """A manifest for training whose targets are shares of raters (`soft_targets`).

    manifest: With the columns of raters, which it keeps as the CSV has them.
    names: Labels.
    values: Of a training yaml: `label_types`, `loss`, `label_values`, `missing_values`.

    Returns: The same with the share of raters that say yes, a tie being 0.5, as the
        target of each label that is 0 or 1 and has raters. Where none of them rated a
        recording, and of scores, which are means already, the target stays.
    Raises UserError: if no label has raters.
    """
    types = parse_label_types(values["label_types"], names, values["loss"])
    codes = CellCodes.of(values)
    ratings, _ = read_ratings(manifest, names, types, codes, "train.csv")
    shares = {
        label: positive(rated, types[label]).mean(axis=1).fillna(manifest[label])
        for label, rated in ratings.items()
        if not types[label].is_score
    }
    if not shares:
        raise UserError(
            "soft_targets: True trains with the share of raters that say yes, and "
            "train.csv has no column <label>@<rater> of a label that is 0 or 1: add "
            "them, or leave soft_targets at False."
        )
    return manifest.assign(**shares)


def positive(ratings, label_type):
    """Each rating as 0 or 1, NaN where there is none; shape as given."""
    return (ratings >= label_type.positive_from).astype(float).where(ratings.notna())


def targets_with_raters(
    table: pd.DataFrame,
    types: dict[str, LabelType],
    derived_labels: dict[str, list[str]] | None,
    codes: CellCodes,
    name: str,
) -> tuple[pd.DataFrame | None, list[str | Problem]]:
    """Read the targets of every row, labels that have raters by their consensus.

    Where any rater rated a recording the consensus holds; where none did, the label's
    own column, so that a second rater may have heard a part of the recordings only. A
    label with raters needs no column of its own, but if it has one, its cells may
    not say anything else than the consensus.

    Arguments and what is returned are those of `label_cells.targets_from_table`.
    """
    ratings, problems = read_ratings(table, list(types), types, codes, name)
    no_column = [label for label in ratings if label not in table.columns]
    table = table.assign(**dict.fromkeys(no_column, ""))
    targets, wrong = targets_from_table(table, types, derived_labels, codes, name)
    # One bad cell may be the reason why a label seems to disagree.
    if problems or wrong:
        return targets, [*wrong, *problems]
    for label, of_label in ratings.items():
        agreed = consensus(of_label, types[label])
        own = targets[label].to_numpy()
        rated = of_label.notna().any(axis=1).to_numpy()
        problems += _disagreements(
            targets[label], agreed, rated, table[label], types[label], name
        )
        targets[label] = np.where(rated, agreed, own)
    return targets, problems


def _disagreements(own, agreed, rated, cells, label_type, name):
    """Rows whose own cell is not the raters' consensus.

    own, agreed: [n_recordings], NaN for "not rated"
    rated: [n_recordings] of bool, whether any rater rated it
    cells: [n_recordings], the label's own column
    """
    own, label = own.to_numpy(), cells.name
    tolerance = ROUNDING * label_type.width if label_type.is_score else 0
    same = np.abs(own - agreed) <= tolerance
    kinds = {
        "that disagree with its raters": ~np.isnan(agreed) & ~same,
        "given where its raters are divided": np.isnan(agreed),
    }
    advice = (
        "correct them, leave them empty, or give who decided as a rater "
        f"({label}@<rater>)"
    )
    problems = []
    for kind, where in kinds.items():
        wrong, what = rated & ~np.isnan(own) & where, f"in column {label!r} {kind}"
        problems += of_cells(cells, wrong, name, what, advice=advice)
    return problems
