"""Splits: reading their CSVs, keeping subjects apart, drawing validation subjects."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from local.errors import UserError
from local.text_files import read_cells

#: Columns with a meaning of their own; empty where a CSV does not have them.
OPTIONAL_COLUMNS = ("subject", "audio", "start_s", "end_s", "channel", "session")

#: Unicode categories that a name may not have: control characters, line separators.
UNSEEN = ("Cc", "Cs", "Zl", "Zp")

#: Longest name of a folder, in bytes of UTF-8.
MAX_NAME_BYTES = 255

#: Draws among which the best-balanced validation set is chosen.
N_DRAWS = 1000


def read_split(path, required=("uid", "subject")):
    """Read a split's CSV as text, so that uid ``007`` or ``1e5`` stays what it is.

    Arguments
    ---------
    path : Path
    required : tuple of str
        Columns that must be there and filled.

    Returns
    -------
    table : pandas.DataFrame or None
        One row per recording; every cell is text. Optional columns are added
        (`audio` as the uid, the others empty). None if the columns are wrong, so
        that nothing more can be said of the file.
    problems : list of str
        Missing or repeated columns, rows with more or fewer cells than the header,
        empty or repeated uids, uids that are no folder's name, segments that are not
        numbers.

    Raises
    ------
    UserError
        If the file is missing or is no CSV.
    """
    path = Path(path)
    name = path.name
    try:
        header, *rows = read_cells(path, required[0])
    except FileNotFoundError as error:
        raise UserError(f"There is no split file {path}.") from error
    table = _table(header, rows)
    repeated = sorted(set(table.columns[table.columns.duplicated()]))
    if repeated:
        return None, [f"{name} has the column {column!r} twice" for column in repeated]
    absent = [column for column in required if column not in table.columns]
    if absent:
        found = ", ".join(table.columns)
        return None, [
            f"{name} has no column {column!r}; its columns: {found}"
            for column in absent
        ]
    if table.empty:
        return None, [f"{name} holds no recordings"]
    for column in OPTIONAL_COLUMNS:
        if column not in table.columns:
            table[column] = table["uid"] if column == "audio" else ""
    table["audio"] = table["audio"].where(table["audio"] != "", table["uid"])
    return table, [
        *_length_problems(header, rows, name),
        *_cell_problems(table, required, name),
        *_segments(table, name),
    ]


def _table(header, rows):
    """A table as wide as the header; rows of another length are told of apart."""
    empty = [""] * len(header)
    cells = [(row + empty)[: len(header)] for row in rows]
    table = pd.DataFrame(cells, columns=header, dtype=str)
    # spreadsheets may leave a comma at the end of every line
    named = (table.columns != "") | (table != "").any().to_numpy()
    return table.loc[:, named].copy()


def _length_problems(header, rows, name):
    """Rows of which nobody can say which cell belongs to which column."""
    wrong = {}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            wrong.setdefault(len(row), []).append(number)
    return [
        f"{name}: expected {len(header)} cells in a row, as the header has, found "
        f"{n_cells} in row {_listed(numbers)}"
        for n_cells, numbers in wrong.items()
    ]


def _cell_problems(table, required, name):
    problems = []
    for column in required:
        empty = np.flatnonzero(table[column].str.strip() == "") + 2
        if len(empty):
            problems.append(f"{name}: {column!r} is empty in row {_listed(empty)}")
    uids = table["uid"].map(composed)
    for uid, rows in table.groupby(uids).indices.items():
        if uid and len(rows) > 1:
            problems.append(
                f"{name}: uid {uid!r} stands in rows {_listed(np.sort(rows) + 2)}"
            )
    for column in ("uid", "audio"):
        problems += [
            f"{name}: {column} {value!r} is no name of a folder"
            for value in table[column].unique()
            if not _is_folder_name(value)
        ]
    return problems


def _is_folder_name(value):
    """Whether a uid names one folder, and can be shown in one line."""
    return not (
        re.search(r"[/\\]", value)
        or value in (".", "..")
        or len(value.encode()) > MAX_NAME_BYTES
        or any(unicodedata.category(letter) in UNSEEN for letter in value)
    )


def composed(name):
    """A name in the Unicode form in which "é" is one character, for comparing.

    Example
    -------
    >>> composed("e\u0301") == "\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def alike(name):
    """What is left of a name without what people and programs change by accident.

    Case, spaces, Unicode form, characters that can't be seen; and what a spreadsheet
    makes of a number: ``007`` and ``7.0`` are ``7``.

    Example
    -------
    >>> alike("S01") == alike("s1\u200b"), alike("007") == alike("7.0")
    (True, True)
    >>> alike("s1") == alike("s10")
    False
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf" and c != " ")
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"(?<=\d)\.0+$", "", text))


def _segments(table, name):
    """Problems of start_s, end_s (s) and channel."""
    problems = []
    numbers = {
        column: pd.to_numeric(table[column].replace("", None), errors="coerce")
        for column in ("start_s", "end_s", "channel")
    }
    for column, values in numbers.items():
        kind = "whole number" if column == "channel" else "number"
        allowed = (
            (values >= 0) & (values < np.inf) & ((values % 1 == 0) | (kind == "number"))
        )
        wrong = (table[column] != "") & ~allowed
        if wrong.any():
            problems.append(
                f"{name}: {column} is no {kind} from 0 on in row "
                f"{_listed(np.flatnonzero(wrong) + 2)}"
            )
    backwards = numbers["end_s"] <= numbers["start_s"].fillna(0)
    if backwards.any():
        problems.append(
            f"{name}: end_s is not after start_s in row "
            f"{_listed(np.flatnonzero(backwards) + 2)}"
        )
    return problems


def _listed(rows):
    rows = list(rows)
    return ", ".join(map(str, rows[:10])) + (", …" if len(rows) > 10 else "")


def overlaps(tables, disjoint_by):
    """What stands in the test split and in another one.

    Arguments
    ---------
    tables : dict of str to pandas.DataFrame
        Split name → table; `test` is one of them.
    disjoint_by : list of str
        Columns whose values may not cross (`subject`, and for example `site`).

    Returns
    -------
    list of str
        A problem for each value that crosses, if only in another spelling (see
        `alike`), and for each uid in two splits.
    """
    problems = []
    test = tables["test"]
    for split, table in tables.items():
        if split == "test":
            continue
        for column in disjoint_by:
            if column not in table.columns or column not in test.columns:
                problems.append(
                    f"disjoint_by names {column!r}, which is no column of test.csv "
                    f"and {split}.csv"
                )
                continue
            shared = (set(table[column]) & set(test[column])) - {""}
            problems += [
                f"{column} {value!r} is in test.csv and in {split}.csv"
                for value in sorted(shared)
            ]
            problems += _misspelt(test[column], table[column], split)
    names = list(tables)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = set(tables[first]["uid"].map(composed)) & set(
                tables[second]["uid"].map(composed)
            )
            problems += [
                f"uid {uid!r} is in {first}.csv and in {second}.csv"
                for uid in sorted(shared)
            ]
    return list(dict.fromkeys(problems))


def _misspelt(of_test, others, split):
    """Values that are in both columns, but not spelt alike."""
    known = {}
    for value in sorted(set(of_test) - {""}):
        known.setdefault(alike(value), value)
    return [
        f"{others.name} {known[alike(value)]!r} is in test.csv and {value!r} in "
        f"{split}.csv: spell one alike, or tell two better apart"
        for value in sorted(set(others) - set(of_test) - {""})
        if alike(value) in known
    ]


def spellings(values):
    """Values that are spelt in several ways, if `alike` is right.

    Arguments
    ---------
    values : iterable of str

    Returns
    -------
    list of list of str
        The spellings of each.

    Example
    -------
    >>> spellings(["s01", "S01", "s01", "s02"])
    [['S01', 's01']]
    """
    found = {}
    for value in sorted(set(values)):
        found.setdefault(alike(value), []).append(value)
    return [spelt for spelt in found.values() if len(spelt) > 1]


def draw_validation(subjects, targets, val_size, seed):
    """Draw validation subjects from the training subjects, balanced over labels.

    Of `N_DRAWS` random draws the one whose labels are most alike in both parts is
    taken: the largest difference of a label's mean (a prevalence, where it is 0 or
    1) between validation and training is smallest. Draws that leave a label at one
    end of its range throughout a part, which is one class where it is 0 or 1, come
    last: nothing could be learned or measured there.

    Arguments
    ---------
    subjects : pandas.Series of str, [n_recordings]
    targets : pandas.DataFrame of float, [n_recordings, n_labels]
        0, 1 or NaN (not rated); of a score its place in its range, from 0 to 1 (see
        `labels.scale_targets`).
    val_size : int
        Subjects to draw, 1 or more; at most a quarter of those there are.
    seed : int

    Returns
    -------
    list of str
        The validation subjects, sorted.

    Raises
    ------
    UserError
        With fewer than two subjects there is none to spare.

    Example
    -------
    >>> subjects = pd.Series(list("aabbccdd"))
    >>> targets = pd.DataFrame({"x": [0, 1, 0, 1, 0, 1, 0, 1.0]})
    >>> len(draw_validation(subjects, targets, val_size=50, seed=1))
    1
    """
    names = sorted(subjects.unique())
    if len(names) < 2:
        raise UserError(
            f"There is no val.csv, and train.csv has {len(names)} subject(s): "
            "validation subjects can be drawn from two or more."
        )
    size = min(val_size, max(1, len(names) // 4))
    if size < 1:
        raise UserError(f"val_size must be 0 or more, found {val_size}.")
    by_subject = targets.groupby(subjects.to_numpy())
    sums = by_subject.sum().loc[names].to_numpy()
    rated = by_subject.count().loc[names].to_numpy()
    generator = np.random.default_rng(seed)
    draws = np.stack(
        [generator.choice(len(names), size, replace=False) for _ in range(N_DRAWS)]
    )
    chosen = draws[np.argmin([_imbalance(draw, sums, rated) for draw in draws])]
    return sorted(names[i] for i in chosen)


def _imbalance(draw, sums, rated):
    """How unlike validation and training are: lost classes, largest difference.

    sums, rated : [n_subjects, n_labels], sum and number of each subject's targets
    """
    outside = np.ones(len(sums), dtype=bool)
    outside[draw] = False
    # each [2, n_labels]; summed apart, as a difference of scores may miss 0 narrowly
    parts = [
        np.array([sums[part].sum(axis=0), rated[part].sum(axis=0)])
        for part in (draw, outside)
    ]
    at_one_end = sum(((part[0] == 0) | (part[0] == part[1])).sum() for part in parts)
    means = [part[0] / np.maximum(part[1], 1) for part in parts]
    return at_one_end * 10 + np.abs(means[0] - means[1]).max()
