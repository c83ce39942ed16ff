"""Text files of users, as editors and spreadsheet programs save them."""

import contextlib
import csv
import io
import re
from pathlib import Path

from local.utils.errors import UserError
from local.utils.files import file_size

#: Largest text file that is read, in bytes: a CSV of a million long rows is smaller.
MAX_BYTES = 200_000_000

#: What may stand between the cells of a row: spreadsheet programs take semicolons
#: where a comma is the decimal sign, and tabs for "Unicode text".
DELIMITERS = (",", ";", "\t")

#: A first line that tells spreadsheet programs what does; they don't count it as a row.
TOLD = re.compile(r'"?sep=([^\w\s"]|\t| )"?[^\S\n]*\n', re.IGNORECASE)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 if a byte order mark says so.

    Returns: Without the byte order mark; line ends as they are.
    Raises FileNotFoundError: if it is not there: what that means is for the caller to
        say.
    Raises UserError: if it can't be read, is too large, in another encoding or no text.
    """
    path = Path(path)
    try:
        size = file_size(path)
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from error
    if size > MAX_BYTES:
        raise UserError(
            f"{path} can't be read: it has {size / 1e6:.0f} MB, and more than "
            f"{MAX_BYTES / 1e6:.0f} are no table of recordings."
        )
    has_mark = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if has_mark else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} can't be read: it is not UTF-8 text (line {line}). Save it in "
            'UTF-8, which spreadsheet programs call "CSV UTF-8".'
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(
            f"{path} can't be read: it holds NUL characters (line {line}), as damaged "
            "files do, and UTF-16 without a byte order mark. Save it in UTF-8."
        )
    return text


def read_cells(path: Path, column: str) -> list[list[str]]:
    """Read a CSV file: cells between commas, semicolons or tabs, "quoted" or not.

    column: A column that the header must have: what makes it one stands between the
        cells.

    Returns: The header and the rows, each with as many cells as it has. Blank rows are
        left out, and spaces around a cell: "s01 " is no other subject than "s01".
    Raises FileNotFoundError: if it is not there.
    Raises UserError: as `read_text`, if it is empty, or if a quote is never closed.

    >>> file = getfixture("tmp_path") / "train.csv"
    >>> _ = file.write_text('uid;note\\nr1; "1,5"\\nr2;"a\\nb;c"\\n')
    >>> read_cells(file, "uid")
    [['uid', 'note'], ['r1', '"1,5"'], ['r2', 'a\\nb;c']]
    """
    return [cells for _, cells in read_rows(path, column)]


def read_rows(
    path: Path, column: str, delimiter: str | None = None
) -> list[tuple[int, list[str]]]:
    """As `read_cells`, each row with its number as a spreadsheet counts.

    delimiter: What stands between the cells, unless the file's first line tells; None:
        what `column` tells.

    >>> file = getfixture("tmp_path") / "train.csv"
    >>> _ = file.write_text('sep=;\\nuid;note\\n\\nr1;1,5\\n')
    >>> read_rows(file, "uid")
    [(1, ['uid', 'note']), (3, ['r1', '1,5'])]
    """
    text = read_text(path)
    told = TOLD.match(text)
    text = text[told.end() :] if told else text
    delimiter = told[1] if told else delimiter or _delimiter(text, column)
    rows, number = [], 0
    try:
        for number, cells in _rows(text, delimiter):
            rows.append((number, cells))
    except csv.Error as error:
        reason = str(error)
        if reason == "unexpected end of data":
            reason = "a quote that is opened there is never closed"
        raise UserError(
            f"{path} can't be read as a CSV file: row {number + 1}: {reason}."
        ) from error
    if not rows:
        raise UserError(f"{path} can't be read as a CSV file: it is empty.")
    return rows


def _rows(text, delimiter):
    """Yield the rows that are not blank, and their numbers."""
    lines = io.StringIO(text, newline="")  # so that quoted line ends stay
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for number, row in enumerate(reader, start=1):
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield number, cells


def _delimiter(text, column):
    """The one that cuts the header finest, this column being among its cells."""
    n_cells = dict.fromkeys(DELIMITERS, 0)
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):
            _, header = next(_rows(text, delimiter), (1, []))
            n_cells[delimiter] = len(header) if column in header else 0
    return max(n_cells, key=n_cells.get)  # of equal ones the first
