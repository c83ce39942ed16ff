"""Cells of label columns: what they say, and settings for those that say nothing."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from local.data.label_proposals import WrongCells, number_in
from local.data.labels import NOT_RATED, LabelType
from local.utils.errors import UserError
from local.utils.problems import Place, Problem
from local.utils.spelling import near

#: Words for 1 and 0, in any case.
WORDS = {
    **dict.fromkeys(("yes", "y", "true", "t"), 1.0),
    **dict.fromkeys(("no", "n", "false", "f"), 0.0),
}


@dataclasses.dataclass(frozen=True)
class CellCodes:
    """What cells mean beside numbers.

    missing: Codes for "not rated", beside `NOT_RATED`.
    values: Column → code → number, or NaN for "not rated".
    given: The settings that all this is made of.
    """

    missing: frozenset = frozenset()
    values: dict[str, dict] = dataclasses.field(default_factory=dict)
    given: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, values: dict):
        """As a yaml's `missing_values` and `label_values` say.

        values: Of a yaml; either may be None or absent.

        Raises UserError: naming every entry of `label_values` that can't be used.
        """
        missing_values = list(values.get("missing_values") or ())
        label_values = dict(values.get("label_values") or {})
        given = {
            "label_types": dict(values.get("label_types") or {}),
            "label_values": label_values,
            "missing_values": missing_values,
        }
        missing = {code_of(value) for value in missing_values}
        if "null" in missing:  # what yaml makes of NULL, None and ~ without quotes
            missing |= {"none", "~"}
        numbers, problems = {}, []
        for column, entry in label_values.items():
            try:
                numbers[str(column)] = _numbers(entry)
            except ValueError as error:
                problems.append(f"{column}: {error}")
        if problems:
            raise UserError(
                "label_values can't be used; expected e.g. "
                "label_values: {strained: {present: 1, absent: 0}}",
                problems,
            )
        return cls(frozenset(missing), numbers, given)

    def unused(
        self, labels: Iterable[str], columns: Iterable[str], name: str
    ) -> list[Problem]:
        """Entries of `label_values` for what is neither a label nor a column.

        name: The file's name.
        """
        places = [
            Place(column, name) for column in self.values if column not in columns
        ]
        places = tuple(place for place in places if place.value not in labels)
        what = "of label_values that is no label and no column"
        return [Problem("entry", what, places)] if places else []

    def of_raters(self, label, columns):
        """The same, with a label's own codes for columns of its raters."""
        own = dict.fromkeys(columns, self.values.get(label, {}))
        return dataclasses.replace(self, values={**own, **self.values})

    def number(self, cell: str, column: str, has_words: bool):
        """What a cell says: a number, or NaN for "not rated".

        has_words: Whether `WORDS` count.

        Raises ValueError: if it says nothing.

        >>> codes = CellCodes.of({"label_values": {"low": {"present": 1, 9: None}}})
        >>> codes.number("Present", "low", False), codes.number("9.0", "low", True)
        (1.0, nan)
        """
        cell = cell.strip()
        code = code_of(cell)
        own = self.values.get(column, {})
        if code in own:
            return own[code]
        if cell in NOT_RATED or code in self.missing:
            return math.nan
        if has_words and code in WORDS:
            return WORDS[code]
        number = number_in(cell)
        if math.isnan(number):
            raise ValueError("no number")
        return number


def code_of(value):
    """A code in the one form that is compared: in small letters, numbers as such."""
    text = "null" if value is None else str(value).strip().casefold()
    try:
        return repr(number_in(text))
    except ValueError:
        return text


def _numbers(entry):
    """An entry of `label_values`: code → number."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected {{CODE: NUMBER, …}}, found {entry!r}")
    numbers = {}
    for code, value in entry.items():
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"{code!r} must be a number, or null for 'not rated'")
        numbers[code_of(code)] = math.nan if value is None else float(value)
    return numbers


def targets_from_table(
    table: pd.DataFrame,
    types: dict[str, LabelType],
    derived_labels: dict[str, list[str]] | None,
    codes: CellCodes,
    name: str,
) -> tuple[pd.DataFrame | None, list[str | Problem]]:
    """Read the targets of every row of a split's CSV.

    table: One row per recording, all cells text; its index is what rows are called.
    types: Of every label.
    derived_labels: Label → source columns: 1 if any source is above 0; otherwise not
        rated if any source is; otherwise 0. A label that is itself a column is not
        derived, one that is derived must be binary.
    name: The file's name, for messages.

    Returns targets: One column of float per label, NaN where not rated; None if
        `derived_labels` can't be used.
    Returns problems: Everything that can't be read.
    """
    derived_labels = derived_labels or {}
    problems = [
        f"derived_labels needs LABEL: [COLUMN, …], found {label}: {sources!r}"
        for label, sources in derived_labels.items()
        if label not in types or not isinstance(sources, list) or not sources
    ]
    if problems:
        return None, problems
    targets = {}
    for label, kind in types.items():
        if label in table.columns:
            targets[label] = _column(table[label], kind, codes, name, problems, label)
        elif label in derived_labels:
            if kind.is_scale:
                problems.append(
                    f"{name}: {label!r} is derived and so 0 or 1, but label_types "
                    f"calls it {kind.type}: leave it out there"
                )
            sources = derived_labels[label]
            targets[label] = _derive(table, label, sources, codes, name, problems)
        else:
            problems.append(_no_column(label, table, name))
    return pd.DataFrame(targets, index=table.index, dtype=float), problems


class _Source(LabelType):
    """What a column may hold that a label is derived from."""

    def target(self, value):
        """The number itself; ValueError below 0."""
        if not 0 <= value < math.inf:
            raise ValueError("below 0")
        return value

    def describe(self):
        """What a cell may hold, in words."""
        return "a number from 0 on"


def _column(cells, kind, codes, name, problems, column):
    """Targets of one column, [n]; what it can't hold is one problem."""
    values, wrong, fine = np.full(len(cells), math.nan), [], set()
    for i, (row, cell) in enumerate(cells.items()):
        try:
            number = codes.number(cell, column, has_words=not kind.is_scale)
            if not math.isnan(number):
                values[i] = kind.target(number)
                fine.add(number)
        except ValueError:
            wrong.append(Place(cell.strip(), name, row))
    if wrong:
        what = f"in column {column!r} with something else than {kind.describe()}"
        problems.append(
            WrongCells(
                *("cell", what, tuple(wrong)),
                column=column,
                allowed=kind,
                given=codes.given,
                fine=frozenset(fine),
                may_be_scale=not isinstance(kind, _Source),
            )
        )
    return values


def _derive(table, label, sources, codes, name, problems):
    absent = [source for source in sources if source not in table.columns]
    if absent:
        problems += [_no_column(source, table, name, label) for source in absent]
        return np.full(len(table), math.nan)
    columns = np.stack(
        [
            _column(table[source], _Source(), codes, name, problems, source)
            for source in sources
        ]
    )
    positive = (np.nan_to_num(columns) > 0).any(axis=0)
    unrated = np.isnan(columns).any(axis=0)
    return np.where(positive, 1.0, np.where(unrated, math.nan, 0.0))


def _no_column(missing, table, name, derived=None):
    """What is said of a label without a column, or of a source of a derived label."""
    columns = table.attrs.get("columns", list(table.columns))
    meant = near(missing, columns)
    note = f", did you mean {meant!r}?" if meant else ""
    advice = f"there are the columns {', '.join(columns)}"
    noun, what = "source", f"of {derived!r} without a column"
    if derived is None:
        noun, what = "label", "without a column"
        advice += "; derived_labels can make a label of others"
    return Problem(noun, what, (Place(missing, name, note=note),), advice)
