"""Sheets of an xlsx workbook as rows of text."""

import datetime
import re
import warnings
import zipfile
from pathlib import Path

import openpyxl

from local.utils.errors import UserError
from local.utils.problems import listed

#: How files begin that are no xlsx: old .xls, and xlsx with a password.
OLE = bytes.fromhex("d0cf11e0a1b11ae1")

#: Bytes of a sheet that is read; a larger one is no table of recordings.
MAX_SHEET_BYTES = 2_000_000_000

MERGED = re.compile(rb'<(?:\w+:)?mergeCell [^>]*ref="([^"]+)"')
ROW_NUMBER = re.compile(rb'\br="(\d+)"')


def read_workbook(path: Path, sheets: list[str]) -> dict[str, list]:
    """The sheets of a workbook.

    sheets: Names of those that are wanted; empty: the only one that holds anything.

    Returns: Name → rows, each its number and its cells as text; blank ones are left
        out. A formula whose value is not saved is the formula itself.
    Raises UserError: if the file can't be read, has cells that are merged, lacks a
        sheet, or has several of which none is named.
    """
    _check_kind(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and checks that are not read
            values = openpyxl.load_workbook(path, read_only=True, data_only=True)
            known = {sheet.title: sheet for sheet in values.worksheets}
            own = [sheet for sheet in known if sheet in sheets]
            if sheets and not own:
                raise UserError(
                    f"{path} has no sheet {listed(sheets)}: there are {_names(known)}."
                )
            tables = {name: _rows(path, known[name]) for name in own or known}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    except Exception as error:  # whatever openpyxl meets in a damaged file
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} can't be read as xlsx ({reason}): open it in a spreadsheet "
            "program and save it again, as xlsx or CSV UTF-8."
        ) from error
    filled = {name: rows for name, rows in tables.items() if rows}
    if not filled:
        raise UserError(f"{path} is empty: expected a header and rows.")
    if not sheets and len(filled) > 1:
        raise UserError(
            f"{path} has several sheets, and which one is meant would be a guess: give "
            f"--sheet=NAME, one of {_names(filled)} (several: once for each)."
        )
    return filled


def _names(sheets):
    return ", ".join(map(repr, sheets))


def _check_kind(path):
    """Refuse what is no xlsx, and say what it is."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            rest = file.read() if start == OLE else b""
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from error
    if "EncryptedPackage".encode("utf-16-le") in rest:
        raise UserError(
            f"{path} is protected by a password: save it without one (in Excel: File, "
            "Info, Protect Workbook, Encrypt with Password, leave it empty)."
        )
    if start == OLE:
        raise UserError(f"{path} is an old Excel file: save it as xlsx or CSV UTF-8.")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no xlsx file: save it as xlsx or CSV UTF-8.")


def _rows(path, sheet):
    """Rows of a sheet that are not blank."""
    archive, member = sheet.parent._archive, sheet._worksheet_path
    if archive.getinfo(member).file_size > MAX_SHEET_BYTES:
        raise UserError(f"{path}, sheet {sheet.title!r} is too large to be a table.")
    xml = archive.read(member)
    if merged := [ref.decode() for ref in MERGED.findall(xml)]:
        raise UserError(
            f"{path}, sheet {sheet.title!r} has merged cells ({listed(merged)}), of "
            "which only the first holds a value: unmerge them and fill each."
        )
    rows, last = [], _last_row(xml)
    if last == 0:
        return rows
    has_formulas = re.search(rb"<(?:\w+:)?f[ >/]", xml) is not None
    del xml
    sheet.reset_dimensions()  # what a file says of them may be wrong
    of_values = sheet.iter_rows(max_row=last)
    if not has_formulas:
        pairs = ((row, row) for row in of_values)
    else:
        with_formulas = openpyxl.load_workbook(path, read_only=True)[sheet.title]
        with_formulas.reset_dimensions()
        pairs = zip(of_values, with_formulas.iter_rows(max_row=last), strict=True)
    for number, (row, formulas) in enumerate(pairs, start=1):
        cells = [_text(cell) for cell in row]
        if has_formulas:
            for i, (cell, formula) in enumerate(zip(row, formulas, strict=True)):
                if cell.value is None and formula.data_type == "f":
                    cells[i] = str(getattr(formula.value, "text", formula.value))
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            rows.append((number, cells))
    return rows


def _last_row(xml):
    """Number of the last row with a value: a million empty ones may follow.

    None where that can't be seen.
    """
    last = max(
        xml.rfind(tag) for tag in (b"<v>", b"<v ", b"<is>", b"<is ", b"<f>", b"<f ")
    )
    if last < 0:
        return 0 if b":v>" not in xml and b":is>" not in xml else None
    row = xml.rfind(b"<row ", 0, last)
    number = ROW_NUMBER.search(xml, row, xml.find(b">", row)) if row >= 0 else None
    return int(number[1]) if number else None


def _text(cell):
    """A cell as somebody sees it: 7 and not 7.0, 007 where it is shown so, days as
    2021-03-01."""
    value = cell.value
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        zeros = cell.number_format
        return str(value).zfill(len(zeros)) if not zeros.strip("0") else str(value)
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
