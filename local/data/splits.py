"""Splits: reading their CSVs, keeping subjects apart, drawing validation subjects."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from local.data.recording_names import name_of_file, path_of
from local.storage.gcs.addresses import problem_of_name
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.problems import Place, Problem
from local.utils.spelling import alike, composed, first_spellings
from local.utils.text_io import read_rows

#: Columns with a meaning of their own; empty where a CSV does not have them.
OPTIONAL_COLUMNS = (
    *("subject", "audio", "file", "start_s", "end_s", "channel", "session"),
)

#: What is measured of a recording (fields of `inspection.RecordingReport`).
MEASURED = (
    "waveform",
    "format",
    "codec",
    "sample_rate",
    "channels",
    "peak",
    "level_dbfs",
    "clipped_share",
    "silent_share",
    "warnings",
)

#: Columns of a manifest, and of a CSV, that have a meaning of their own.
RESERVED = ("ID", "duration", "recording", "uid", *OPTIONAL_COLUMNS, *MEASURED)

#: Unicode categories that a name may not have: control characters, line separators.
UNSEEN = ("Cc", "Cs", "Zl", "Zp")

#: Longest name of a folder, in bytes of UTF-8.
MAX_NAME_BYTES = 255

#: Names that need no closer look.
PLAIN_NAME = re.compile(r"\w[\w .+=-]{0,200}", re.ASCII)

#: Draws among which the best-balanced validation set is chosen.
N_DRAWS = 1000


def read_split(
    path: Path, required: tuple[str, ...] = ("uid", "subject")
) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read a split's CSV as text, so that uid ``007`` or ``1e5`` stays what it is.

    required: Columns that must be there and filled.

    Returns table: One row per recording, called by its number in a spreadsheet; every
        cell is text. Optional columns are added (`audio` as the uid, the others
        empty). `file` has become the name in `audio`: see `recording_names`.
        `attrs["columns"]` are the file's own. None if the columns are wrong, so that
        nothing more can be said of the file.
    Returns problems: Missing or repeated columns, rows with more or fewer cells than
        the header, empty or repeated uids, uids that are no folder's name, files
        that are not below the data folder, segments that are not numbers.
    Raises UserError: if the file is missing or is no CSV.
    """
    path = Path(path)
    name = path.name
    try:
        (_, header), *rows = read_rows(path, required[0])
    except FileNotFoundError as error:
        raise UserError(f"There is no split file {path}.") from error
    table = _table(header, rows)
    repeated = sorted(set(table.columns[table.columns.duplicated()]))
    if repeated:
        places = tuple(Place(column, name) for column in repeated)
        return None, [Problem("column", "given twice", places)]
    table, problems = checked(table, name, required)
    return table, [*_length_problems(header, rows, name), *problems]


def checked(
    table: pd.DataFrame, name: str, required: tuple[str, ...], cells: bool = True
) -> tuple[pd.DataFrame | None, list[Problem]]:
    """A table of text with its optional columns, and what is wrong with its cells.

    name: Of its file.
    cells: Whether to look at all cells, which takes long.

    Returns: As `read_split`.
    """
    table.attrs["columns"] = list(table.columns)
    absent = [column for column in required if column not in table.columns]
    if absent:
        advice = f"the columns are {', '.join(table.columns)}"
        places = tuple(Place(column, name) for column in absent)
        return None, [Problem("needed column", "missing", places, advice)]
    if table.empty:
        return None, [f"{name} holds no recordings"]
    for column in OPTIONAL_COLUMNS:
        if column not in table.columns:
            table[column] = table["uid"] if column == "audio" else ""
    files = table.pop("file")
    has_file = files != ""
    both = has_file & (table["audio"] != "") & ("audio" in table.attrs["columns"])
    table["audio"] = table["audio"].where(table["audio"] != "", table["uid"])
    problems = []
    if cells:
        problems += _cell_problems(table, required, name)
        problems += _file_problems(files, both, name) + segment_problems(table, name)
    table["audio"] = table["audio"].where(~has_file, files.map(name_of_file))
    return table, problems


def _file_problems(files, both, name):
    """Problems of the column `file`, and of rows that name a folder as well."""
    unfit = files[files != ""].map(lambda path: problem_of_name(path_of(path)))
    wrong = unfit.reindex(files.index).notna()
    what = "in column 'file' that are no path below data_folder"
    advice = "write paths from there on, with / between folders and no .."
    problems = of_cells(files, wrong, name, what, advice=advice)
    what = "in column 'file' of a row that names a folder in 'audio', too"
    return problems + of_cells(
        files, both, name, what, advice="leave one of the two empty"
    )


def _table(header, rows):
    """A table as wide as the header; rows of another length are told of apart."""
    empty = [""] * len(header)
    cells = [(row + empty)[: len(header)] for _, row in rows]
    numbers = [number for number, _ in rows]
    table = pd.DataFrame(cells, index=numbers, columns=header, dtype=str)
    # spreadsheets may leave a comma at the end of every line
    named = (table.columns != "") | (table != "").any().to_numpy()
    return table.loc[:, named].copy()


def _length_problems(header, rows, name):
    """Rows of which nobody can say which cell belongs to which column."""
    return [
        Problem(
            "row",
            f"of {len(row)} cells, where the header has {len(header)}",
            (Place(None, name, number),),
        )
        for number, row in rows
        if len(row) != len(header)
    ]


def _cell_problems(table, required, name):
    problems = []
    for column in required:
        empty = table[column].str.strip() == ""
        what = f"in column {column!r}"
        cells = table[column].where(~empty)
        problems += of_cells(cells, empty, name, what, "empty cell")
    uids = table["uid"].map(composed)
    repeated = uids.duplicated(keep=False) & (uids != "")
    advice = "name each recording once: remove the row, or give another uid"
    problems += of_cells(uids, repeated, name, "in several rows", "uid", advice)
    for column in ("uid", "audio"):
        unfit = ~table[column].map(_is_folder_name)
        if column == "audio":  # which the uid is, where it is not given
            unfit &= table[column] != table["uid"]
        what = f"in column {column!r} with no name of a folder"
        problems += of_cells(table[column], unfit, name, what)
    return problems


def of_cells(
    cells: pd.Series,
    wrong: pd.Series | np.ndarray,
    name: str,
    what: str,
    noun: str = "cell",
    advice: str = "",
) -> list[Problem]:
    """The problem of some cells of a column, as a list that may be empty.

    wrong: Which cells have it, [n] of bool.
    name: Of the file.
    what, noun, advice: As of `Problem`.
    """
    places = [
        Place(None if pd.isna(cell) else cell, name, row)
        for row, cell in cells[wrong].items()
    ]
    return [Problem(noun, what, tuple(places), advice)] if places else []


def _is_folder_name(value):
    """Whether a uid names one folder, and can be shown in one line."""
    return PLAIN_NAME.fullmatch(value) is not None or not (
        re.search(r"[/\\]", value)
        or value in (".", "..")
        or len(value.encode()) > MAX_NAME_BYTES
        or any(unicodedata.category(letter) in UNSEEN for letter in value)
    )


def segment_problems(table: pd.DataFrame, name: str) -> list[Problem]:
    """What is wrong with `start_s`, `end_s` (s) and `channel`.

    table: Of text, each row called by its number in a spreadsheet.
    name: Of its file.
    """
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
        what = f"in column {column!r} with no {kind} from 0 on"
        problems += of_cells(table[column], wrong, name, what)
        numbers[column] = values.where(allowed)
    backwards = numbers["end_s"] <= numbers["start_s"].fillna(0)
    what = "in column 'end_s' that is not after start_s"
    return problems + of_cells(table["end_s"], backwards, name, what)


def overlaps(
    tables: dict[str, pd.DataFrame], disjoint_by: list[str]
) -> list[str | Problem]:
    """What stands in the test split and in another one.

    tables: Name of the CSV → table; `test.csv` is one of them.
    disjoint_by: Columns whose values may not cross (`subject`, and for example `site`).

    Returns: The values that cross, if only in another spelling (see `spelling.alike`).
    """
    problems = []
    test = tables["test.csv"]
    for name, table in tables.items():
        for column in dict.fromkeys(disjoint_by) if name != "test.csv" else ():
            if column not in table.columns or column not in test.columns:
                problems.append(
                    f"disjoint_by names {column!r}, which is no column of test.csv "
                    f"and {name}"
                )
            else:
                problems += _crossing(test[column], table[column], name)
    return problems


def _crossing(of_test, others, name):
    """The problems of values that are in both columns, as they are spelt there."""
    known, same, misspelt = {}, [], []
    for value in sorted(set(of_test) - {""}):
        known.setdefault(alike(value), value)
    for value in sorted(set(others) - {""}):
        if value in set(of_test):
            same.append(Place(value))
        elif alike(value) in known:
            misspelt.append(Place(known[alike(value)], note=f" as {value!r}"))
    kinds = {
        f"both in test.csv and in {name}": (same, ""),
        f"in test.csv that {name} spells otherwise": (
            misspelt,
            "spell one alike, or tell two better apart",
        ),
    }
    return [
        Problem(others.name, what, tuple(places), advice)
        for what, (places, advice) in kinds.items()
        if places
    ]


def shared_uids(tables: dict[str, pd.DataFrame]) -> list[Problem]:
    """Recordings that stand in two splits.

    tables: Name of the CSV → table.
    """
    rows = pd.concat(
        [
            pd.DataFrame({"uid": table["uid"].map(composed).unique(), "file": name})
            for name, table in tables.items()
        ]
    )
    shared = rows[rows["uid"].duplicated(keep=False)].sort_values("uid", kind="stable")
    places = [Place(row.uid, row.file) for row in shared.itertuples()]
    advice = "keep each recording in one of them"
    return [Problem("uid", "in several files", tuple(places), advice)] if places else []


def unify_subjects(tables: list[pd.DataFrame]) -> list[str]:
    """Spell subjects in one way, the first that was seen.

    tables: With `subject`, which is changed.

    Returns: A note of how many had several spellings, without their names.
    """
    first = first_spellings(
        subject for table in tables for subject in table["subject"] if subject
    )
    several = {one for spelling, one in first.items() if spelling != one}
    if not several:
        return []
    for table in tables:
        table["subject"] = table["subject"].map(lambda name: first.get(name, name))
    return [
        f"{counted(len(several), 'subject')} spelt in several ways (case, spaces, "
        "leading zeros): taken for one person each, as spelt first"
    ]


def draw_validation(
    subjects: pd.Series, targets: pd.DataFrame, val_size: int, seed: int
) -> list[str]:
    """Draw validation subjects from the training subjects, balanced over labels.

    Of `N_DRAWS` random draws the one whose labels are most alike in both parts is
    taken: the largest difference of a label's mean (a prevalence, where it is 0 or
    1) between validation and training is smallest. Draws that leave a label at one
    end of its range throughout a part, which is one class where it is 0 or 1, come
    last: nothing could be learned or measured there.

    subjects: [n_recordings] of str
    targets: [n_recordings, n_labels] of float, 0, 1 or NaN (not rated); of a score its
        place in its range, from 0 to 1 (see `labels.scale_targets`).
    val_size: Subjects to draw, 1 or more; at most a quarter of those there are.

    Returns: The validation subjects, sorted.
    Raises UserError: with fewer than two subjects there is none to spare.

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
    return draw_subjects(subjects, targets, size, seed)


def draw_subjects(
    subjects: pd.Series,
    targets: pd.DataFrame,
    size: int,
    seed: int,
    part: set[str] = frozenset(),
    among: set[str] | None = None,
) -> list[str]:
    """Draw subjects so that labels are most alike among them and among the others.

    subjects, targets: As for `draw_validation`.
    size: How many are drawn.
    part: Who belongs to them already.
    among: Of whom they are drawn; None: of all.

    Returns: Those who were drawn, sorted.
    """
    names = sorted(subjects.unique())
    known = [i for i, name in enumerate(names) if name in part]
    free = [i for i, name in enumerate(names) if among is None or name in among]
    by_subject = targets.groupby(subjects.to_numpy())
    sums = by_subject.sum().loc[names].to_numpy()
    rated = by_subject.count().loc[names].to_numpy()
    generator = np.random.default_rng(seed)
    draws = [
        np.array(free)[generator.choice(len(free), size, replace=False)]
        for _ in range(N_DRAWS)
    ]
    together = [np.concatenate([known, draw]).astype(int) for draw in draws]
    chosen = draws[np.argmin([_imbalance(draw, sums, rated) for draw in together])]
    return sorted(names[i] for i in chosen)


def _imbalance(draw, sums, rated):
    """How unlike validation and training are: lost classes, largest difference.

    sums, rated: [n_subjects, n_labels], sum and number of each subject's targets.
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
