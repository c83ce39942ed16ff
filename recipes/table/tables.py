"""Tables of people and recordings, whatever program saved them: xlsx, csv or tsv."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from local.storage.addresses import local_path
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.problems import Place, Problem
from local.utils.spelling import composed
from local.utils.text_io import DELIMITERS, read_rows
from recipes.table.patterns import TABLE

#: Rows above a header that may hold a title or an explanation.
MAX_TITLE_ROWS = 20

#: How files begin that are read as workbooks.
WORKBOOK = (b"PK\x03\x04", bytes.fromhex("d0cf11e0"))


class NoRows(UserError):
    """A table has a header and no rows below it."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One sheet, or one text file.

    name: What `{table}` is in patterns.
    place: What messages call it.
    rows: Text, one column per column of the sheet; the index is the number of the row
        as the spreadsheet counts.
    notes: What a reader should know of how it was read.
    """

    name: str
    place: str
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_tables(
    given: Iterable[str], sheets: Iterable[str] = (), needed: Iterable[str] = ()
) -> list[Table]:
    """Read tables.

    given: Each `FILE` or `NAME=FILE`; without a name it is the file's stem.
    sheets: Names of sheets of workbooks, each `SHEET`, or `NAME=SHEET` for the table
        of that name.
    needed: Columns by which a header is known where a title stands above it.

    Raises UserError: everything that is wrong with any of them, at once.
    """
    tables, problems, needed = [], [], set(needed)
    for name, path in named_files(given):
        try:
            tables += _read(name, path, _sheets_of(name, sheets), needed)
        except UserError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise UserError("These tables can't be read:", map(str, problems))
    return tables


def named_files(given: Iterable[str]) -> list[tuple[str, Path]]:
    """Names and files of tables.

    >>> named_files(["/a/ward.xlsx", "B=/b.csv"])
    [('ward', PosixPath('/a/ward.xlsx')), ('B', PosixPath('/b.csv'))]
    """
    named = []
    for text in given:
        name, equals, file = text.partition("=")
        if not equals or "/" in name or Path(text).exists():
            name, file = Path(text).stem, text
        named.append((name.strip(), local_path(file, "table")))
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"Two tables have the name {', '.join(twice)}: give --table=NAME=FILE."
        )
    return named


def _sheets_of(name, sheets):
    """Sheets that are wanted of the table of a name."""
    wanted = []
    for text in sheets:
        table, equals, sheet = text.partition("=")
        if not equals:
            wanted.append(text)
        elif table == name:
            wanted.append(sheet)
    return wanted


def _read(name, path, sheets, needed):
    """The tables of a file."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from error
    if path.suffix.lower() in (".xlsx", ".xlsm", ".xls", ".ods") or start in WORKBOOK:
        from recipes.table.workbooks import read_workbook  # only these need openpyxl

        by_place = {
            f"{path.name}, sheet {sheet!r}": rows
            for sheet, rows in read_workbook(path, sheets).items()
        }
    else:
        by_place = {path.name: _text_rows(path, needed)}
    return [_table(name, place, rows, needed) for place, rows in by_place.items()]


def _text_rows(path, needed):
    """Rows of a text file, cut where it gives most of the columns that are needed."""
    errors, cut = [], {}
    for delimiter in DELIMITERS:
        try:
            rows = read_rows(path, "", delimiter)
        except UserError as error:
            errors.append(error)
            continue
        header = _header(rows, needed)
        columns = _columns(rows[header][1], needed)
        score = len(needed & set(columns)), len(columns)
        cut[score] = cut.get(score, rows)
    if not cut or (errors and needed and not max(cut)[0]):  # or cut in a wrong way
        raise errors[0]
    return cut[max(cut)]


def _columns(cells, needed):
    """Names of columns: line ends and repeated spaces in them are one space.

    One that is needed, and is there in another case only, is called as it is needed.
    """
    columns = [_one_line(cell) for cell in cells]
    spelt = Counter(composed(column).casefold() for column in columns)
    called = {
        composed(name).casefold(): name
        for name in sorted(needed - set(columns) - {TABLE})
    }
    called = {fold: name for fold, name in called.items() if spelt[fold] == 1}
    return [
        column if column in needed else called.get(composed(column).casefold(), column)
        for column in columns
    ]


def _one_line(cell):
    return " ".join(cell.split())


def _header(rows, needed):
    """Which row is the header: the first one with most of the columns needed."""
    hits = [
        len(needed & set(_columns(row, needed)))
        for _, row in rows[: MAX_TITLE_ROWS + 1]
    ]
    return hits.index(max(hits))


def _table(name, place, rows, needed):
    header = _header(rows, needed)
    columns, notes = _columns(rows[header][1], needed), []
    if header:
        notes.append(f"{place}: the header is row {rows[header][0]}")
    for cell, column in zip(map(_one_line, rows[header][1]), columns, strict=True):
        if cell != column:
            notes.append(f"{place}: column {cell!r} is taken for {column!r}")
    body = rows[header + 1 :]
    if not body:
        raise NoRows(f"{place} has a header and no rows below it.")
    width = max(len(columns), *(len(row) for _, row in body))
    columns += [""] * (width - len(columns))
    frame = pd.DataFrame(
        [row + [""] * (width - len(row)) for _, row in body],
        index=[number for number, _ in body],
        columns=columns,
        dtype=str,
    )
    problems = _column_problems(frame, place, needed)
    if problems:
        raise UserError(f"{place} can't be read as a table:", problems)
    nameless = (frame.columns == "") & (frame != "").any().to_numpy()
    if n := int(nameless.sum()):
        notes.append(f"{place}: {counted(n, 'column')} without a name left out")
    return Table(name, place, frame.loc[:, frame.columns != ""], tuple(notes))


def _column_problems(frame, place, needed):
    """Columns of one name, and formulas without a value where one is needed."""
    named = [column for column in frame.columns if column]
    twice = sorted({column for column in named if named.count(column) > 1})
    if twice:
        places = tuple(Place(column, place) for column in twice)
        advice = "rename one of the two, so that it is clear which is meant"
        return [Problem("column", "given twice", places, advice)]
    formulas = [
        Place(cell, place, row)
        for column in needed & set(named)
        for row, cell in frame[column].items()
        if cell.startswith("=")
    ]
    if not formulas:
        return []
    advice = (
        "open the file in a spreadsheet program and save it, which saves the values "
        "of formulas, or put the values in their place"
    )
    return [Problem("cell", "with a formula and no value", tuple(formulas), advice)]
