"""Problems of tables: the same thing wrong in many places, told in one line."""

import dataclasses
import json
import re
import shlex
from collections.abc import Iterable

from local.utils.number_format import counted

#: How many values a line shows, and how many rows of each.
MAX_SHOWN = 5

#: How many letters of a value.
MAX_LENGTH = 60

#: Text that yaml takes for itself without quotes.
PLAIN = re.compile(
    r"(?!(null|true|false|yes|no|on|off|y|n)$)[a-z_]([\w -]*\w)?", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where something is wrong.

    value: What is there; None where there is nothing to show.
    file: Name of the file; "" where it is said already.
    row: As a spreadsheet counts; None for the file as a whole.
    note: What stands behind the value.
    """

    value: str | None
    file: str = ""
    row: int | None = None
    note: str = ""

    @property
    def shown(self):
        """The value as text in one line."""
        if self.value is None:
            return ""
        whole = len(self.value) <= MAX_LENGTH
        return repr(self.value if whole else f"{self.value[:MAX_LENGTH]}…") + self.note


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in any number of places.

    noun: What is counted: cells and rows by their places, all else by its values.
    what: What is wrong with it.
    advice: What to do.

    >>> places = [Place("x", "train.csv", row) for row in (2, 5)]
    >>> print(Problem("cell", "in column 'start_s' with no number", places))
    2 cells in column 'start_s' with no number: 'x' (train.csv row 2, 5)
    """

    noun: str
    what: str
    places: tuple[Place, ...]
    advice: str = ""

    @property
    def kind(self):
        """Problems of the same kind are one."""
        return type(self), self.noun, self.what, self.advice

    def with_places_of(self, other):
        """This and another one of the same kind as one problem."""
        return dataclasses.replace(self, places=(*self.places, *other.places))

    def to_do(self):
        """What to do, if that can be told."""
        return self.advice

    def settings(self):
        """Keys of the yaml, and the values that would make it right, dict."""
        return {}

    def __str__(self):
        by_value = {}
        for place in self.places:
            by_value.setdefault(place.shown, []).append(place)
        by_place = self.noun.endswith(("cell", "row"))
        n = len(self.places) if by_place else len(by_value)
        shown = [
            f"{value} ({_rows(places)})"
            if value and _rows(places)
            else value or _rows(places)
            for value, places in list(by_value.items())[:MAX_SHOWN]
        ]
        more = ["…"] * (len(by_value) > MAX_SHOWN)
        line = f"{counted(n, self.noun)} {self.what}: {', '.join([*shown, *more])}"
        advice = self.to_do()
        return f"{line}; {advice}" if advice else line


def _rows(places):
    """The rows of each file, as "train.csv row 2, 5, test.csv row 3"."""
    by_file = {}
    for place in places:
        by_file.setdefault(place.file, []).append(place.row)
    return ", ".join(
        file if None in rows else f"{file} row {listed(sorted(set(rows)))}"
        for file, rows in by_file.items()
        if file
    )


def listed(values):
    """The first few of some values."""
    shown = list(map(str, values[:MAX_SHOWN]))
    return ", ".join([*shown, *["…"] * (len(values) > MAX_SHOWN)])


def lines(problems: Iterable[Problem | str]) -> list[str]:
    """A line for each kind of problem, and one with all settings that mend several."""
    by_kind = {}
    for problem in problems:
        kind = getattr(problem, "kind", problem)
        if kind in by_kind and isinstance(problem, Problem):
            problem = by_kind[kind].with_places_of(problem)
        by_kind[kind] = problem
    told = [str(problem) for problem in by_kind.values()]
    proposed = [x.settings() for x in by_kind.values() if isinstance(x, Problem)]
    proposed = [*filter(None, proposed)]
    if len(proposed) > 1:
        told.append(f"all these settings at once: {options(merged(proposed))}")
    return told


def merged(settings):
    """Several dicts of settings as one; their mappings and their lists are joined.

    >>> merged([{"a": {"x": {"b": [1]}}, "c": [9]}, {"a": {"x": {"b": [2]}}, "c": [8]}])
    {'a': {'x': {'b': [2]}}, 'c': [9, 8]}
    """
    merged = {}
    for key, value in (entry for values in settings for entry in values.items()):
        if isinstance(value, list):
            merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
        else:
            known = merged.get(key, {})
            merged[key] = known | {
                name: {**known[name], **entry} if name in known else entry
                for name, entry in value.items()
            }
    return merged


def options(settings):
    """Settings as a command line has them, quoted for a shell.

    >>> print(options({"missing_values": [9, "NULL", "?"], "x": {"slow rate": [1.0]}}))
    --missing_values='[9, "NULL", "?"]' --x='{slow rate: [1]}'
    """
    return " ".join(
        f"--{key}={shlex.quote(flow(value))}" for key, value in settings.items()
    )


def flow(value):
    """A value as yaml on one line.

    >>> flow({"a: b": [1.0, None, "yes"]})
    '{"a: b": [1, null, "yes"]}'
    """
    if isinstance(value, dict):
        entries = (f"{flow(key)}: {flow(entry)}" for key, entry in value.items())
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
