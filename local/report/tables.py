"""Tables of a report: what is missing is a dash, with the reason below the table."""

import dataclasses
import string

from local.utils import number_format
from local.utils.number_format import DASH, interval


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table.

    detail: What may stand on a line of its own, as an interval.
    mark: The letter of its note.
    kind: "flagged" for what is shown in red, "word" for text rather than numbers.
    """

    text: str
    detail: str = ""
    mark: str = ""
    kind: str = ""


class Flag(str):
    """A sentence that is shown in red."""

    kind = "flag"


class Warned(str):
    """A sentence that something is missing, or to be careful about."""

    kind = "warning"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table; without cells it is the heading of those below it."""

    name: str
    cells: list


class Table:
    """A table with a caption, whose gaps are explained in notes below it.

    columns: The first one is that of the rows' names.

    >>> table = Table("Results", ["label", "AUROC"])
    >>> table.add("slow", table.entry({"value": None, "reason": "only one class"}))
    >>> table.rows[0].cells[0].text, table.notes
    ('–', {'only one class': 'a'})
    """

    def __init__(self, caption: str, columns: list[str]):
        self.caption, self.columns = caption, list(columns)
        self.rows, self.notes = [], {}

    def __bool__(self):
        """Whether it says anything: one without rows is not shown."""
        return bool(self.rows)

    def add(self, name, *cells):
        """Adds a row; cells are Cell, int or str."""
        if len(cells) != len(self.columns) - 1:
            raise ValueError(f"{len(cells)} cells for the columns {self.columns}")
        self.rows.append(Row(name, [_cell(cell) for cell in cells]))

    def heading(self, name):
        """Adds a line above rows that belong together."""
        self.rows.append(Row(name, []))

    def headed(self, entries):
        """Yields what {name: entry} holds, each below a heading with its name."""
        for name, entry in entries.items():
            self.heading(name)
            yield name, entry

    def mark(self, reason):
        """The letter of a note: the same one for the same reason."""
        n = len(self.notes)
        letters = string.ascii_lowercase
        new = letters[n] if n < 26 else letters[n // 26 - 1] + letters[n % 26]
        return self.notes.setdefault(reason, new)

    def is_text(self, position):
        """Whether a column, counted from 0, is one of words."""
        cells = [row.cells[position - 1] for row in self.rows if row.cells]
        return position == 0 or any("word" in cell.kind for cell in cells)

    def number(self, value, reason=None, form=number_format.number, kind=""):
        """A number, or the dash with the reason why there is none."""
        if value is None:
            return Cell(DASH, mark=self.mark(reason or "not computed"))
        return Cell(form(value), kind=kind)

    def entry(self, entry, form=number_format.number):
        """The cell of an entry of metrics.json: a value with its interval."""
        if entry is None:
            return self.number(None)
        if entry["value"] is None:
            return self.number(None, entry.get("reason"))
        low, high = entry.get("low"), entry.get("high")
        detail = f"({DASH})" if None in (low, high) else interval(low, high, form)
        mark = self.mark(entry["reason"]) if entry.get("reason") else ""
        return Cell(form(entry["value"]), detail, mark)

    def value(self, entry, form=number_format.number):
        """The same without its interval, where there never is one."""
        return self.number(entry["value"], entry.get("reason"), form)


def percent(share):
    """A share as it is spoken of.

    >>> percent(0.05), percent(0.125)
    ('5 %', '12.5 %')
    """
    return f"{100 * share:g} %"


def signed(entry):
    """A difference with its sign, and its interval where it has one.

    >>> signed({"value": 0.05, "low": -0.012, "high": 0.1})
    '+0.05 (−0.01 to +0.10)'
    >>> signed({"value": -0.05, "low": None, "high": None})
    '−0.05'
    >>> signed({"value": 0.001, "low": -0.004, "high": 0.006})
    '0.00 (0.00 to +0.01)'
    """
    value, low, high = (
        None if entry[key] is None else f"{round(entry[key], 2) + 0:+.2f}"
        for key in ("value", "low", "high")
    )
    value, low, high = (
        text and text.replace("+0.00", "0.00").replace("-", "−")
        for text in (value, low, high)
    )
    return value if None in (low, high) else f"{value} ({low} to {high})"


def with_interval(entry):
    """An entry in words.

    >>> with_interval({"value": 0.9, "low": 0.8, "high": 0.95})
    '0.90 (0.80–0.95)'
    >>> with_interval({"value": 0.9, "low": None, "high": None, "reason": "too few"})
    '0.90 (no interval)'
    >>> with_interval({"value": None, "low": None, "high": None, "reason": "too few"})
    'not computable'
    """
    if entry["value"] is None:
        return "not computable"
    value, bounds = number_format.number(entry["value"]), (entry["low"], entry["high"])
    return f"{value} {'(no interval)' if None in bounds else interval(*bounds)}"


def word(text, kind=""):
    """A cell of text."""
    return Cell(str(text), kind=f"word {kind}".strip())


def _cell(content):
    if isinstance(content, Cell):
        return content
    return Cell(f"{content:,}" if isinstance(content, int) else str(content))
