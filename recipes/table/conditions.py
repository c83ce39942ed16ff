"""Conditions: what `--label='NAME: {COLUMN} = value or …'` says of each row.

    condition   = part {" or " part}            "and" binds closer than "or"
    part        = clause {" and " clause}
    clause      = "{" COLUMN "}" [operator value]
    operator    = "=" | "!=" | "contains" | ">=" | ">" | "<=" | "<"

A clause of an empty cell, or of a column that the row's table lacks, is unknown. True
or unknown is true, false and unknown is false; what stays unknown is not rated.
"""

import dataclasses
import math
import operator
import re

import numpy as np

from local.data.label_cells import CellCodes, code_of
from local.data.label_proposals import UNKNOWN, number_in
from local.data.labels import NOT_RATED, LabelType
from local.utils.errors import UserError
from local.utils.problems import Problem, options
from local.utils.spelling import composed
from recipes.table.source import Source, read_numbers

#: Text that a value may hold is cut only where a new clause begins.
JOINED = re.compile(r"\s+(and|or)\s+(?=\{)")
CLAUSE = re.compile(
    r"\{(?P<column>[^{}]+)\}(?:\s*(?P<operator>!=|>=|<=|=|>|<|contains\b)"
    r"\s*(?P<value>[^{}]+))?"
)

NUMBERS = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}

EXPECTED = (
    "expected {COLUMN}, {COLUMN} = value, {COLUMN} != value, {COLUMN} contains text "
    "or {COLUMN} >= number (>, <=, <), joined by 'and' or 'or'"
)


class _Number(LabelType):
    """What a column may hold that is compared with a number."""

    def describe(self):
        """In words."""
        return "a number"


ANY_NUMBER = _Number("score", (-math.inf, math.inf), None, is_score=True)


@dataclasses.dataclass(frozen=True)
class Clause:
    """What is asked of one column.

    operator: Empty where the cells themselves say 0 or 1.
    value: As it was given, without quotes.
    """

    column: str
    operator: str = ""
    value: str = ""

    def holds(self, source: Source, codes: CellCodes, problems: list) -> np.ndarray:
        """1, 0 or NaN (unknown) of each recording, [n].

        problems: What cells can't be read is added.
        """
        if self.operator in ("", *NUMBERS):
            kind = LabelType() if not self.operator else ANY_NUMBER
            numbers, wrong = read_numbers(source, self.column, kind, codes)
            problems += wrong
            if not self.operator:
                hint = (
                    f"or, if {self.column!r} is not 0 and 1: say what is 1, as "
                    f"--label='NAME: {{{self.column}}} = value' or '… >= number', or "
                    f"learn it as a number, --score='NAME: {{{self.column}}}'"
                )
                problems += [hint] * bool(wrong)
                return numbers
            with np.errstate(invalid="ignore"):
                held = NUMBERS[self.operator](numbers, number_in(self.value))
            return np.where(np.isnan(numbers), np.nan, held)
        cells = source.cells(self.column).map(composed)
        own, wanted = cells.map(code_of), code_of(composed(self.value))
        unknown = cells.isin(NOT_RATED) | own.isin(codes.missing)
        known = {wanted, *codes.values.get(self.column, ())}
        unclear = own.isin(UNKNOWN - known) & ~unknown
        if unclear.any():
            problems.append(
                Problem(
                    "cell",
                    f"in column {self.column!r} that may mean that nothing is known",
                    source.places(self.column, unclear),
                    _settings(self.column, sorted(set(cells[unclear]))),
                )
            )
        held = own == wanted
        if self.operator == "contains":
            text = composed(self.value).casefold()
            held = cells.str.casefold().str.contains(text, regex=False)
        if not held.any():
            line = f"no cell of {self.column!r} {self.operator.strip('!')} {self.value}"
            source.said += [line] * (line not in source.said)
        held = ~held if self.operator == "!=" else held
        return np.where(unknown, np.nan, held.astype(float))


@dataclasses.dataclass(frozen=True)
class Condition:
    """Clauses: any of these groups, of each group all.

    text: As it was given.
    """

    text: str
    groups: tuple[tuple[Clause, ...], ...]

    @classmethod
    def parse(cls, text: str, option: str) -> "Condition":
        """Read a condition.

        option: Where it was given, for messages.

        Raises UserError: if it has another form.

        >>> Condition.parse("{a} >= 2 and {b} or {c} = x and y", "--label").groups[1]
        (Clause(column='c', operator='=', value='x and y'),)
        """
        groups = [[]]
        parts = JOINED.split(text.strip())
        for word, part in zip(["and", *parts[1::2]], parts[::2], strict=True):
            if word == "or":
                groups.append([])
            groups[-1].append(_clause(part, text, option))
        return cls(text.strip(), tuple(map(tuple, groups)))

    @property
    def columns(self) -> list[str]:
        """All columns that it asks for."""
        return [clause.column for group in self.groups for clause in group]

    @property
    def is_plain(self) -> bool:
        """Whether it is one column only, whose cells say everything."""
        return len(self.columns) == 1 and not self.groups[0][0].operator

    def holds(self, source: Source, codes: CellCodes, problems: list) -> np.ndarray:
        """1, 0 or NaN (not rated) of each recording, [n]."""
        of_groups = [
            _all([clause.holds(source, codes, problems) for clause in group])
            for group in self.groups
        ]
        return 1 - _all([1 - held for held in of_groups])


def _all(values):
    """0 where any is 0, else NaN where any is, else 1."""
    values = np.stack(values)
    unknown = np.isnan(values).any(axis=0)
    return np.where((values == 0).any(axis=0), 0.0, np.where(unknown, np.nan, 1.0))


def _settings(column, cells):
    """What would tell of cells what they mean."""
    missing = options({"missing_values": cells})
    others = options({"label_values": {column: dict.fromkeys(cells, 0)}})
    return f"if they mean 'not rated': {missing}; if they are a value as any: {others}"


def _clause(part, text, option):
    match = CLAUSE.fullmatch(part.strip())
    if not match or (match["value"] or " ")[0] in "=<>!":
        raise UserError(
            f"{option}: {text.strip()!r} is no condition at {part.strip()!r}: "
            f"{EXPECTED}."
        )
    column = " ".join(match["column"].split())
    value = (match["value"] or "").strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if match["operator"] and value == "":
        raise UserError(
            f"{option}: {part.strip()!r} compares with nothing: {EXPECTED}."
        )
    if re.search(r"\s(and|or)$", value):
        raise UserError(f"{option}: nothing follows {part.strip()!r}: {EXPECTED}.")
    if match["operator"] in NUMBERS:
        try:
            number = number_in(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(
                f"{option}: {part.strip()!r} compares with {value!r}, which is no "
                f"number: {EXPECTED}."
            )
    return Clause(column, match["operator"] or "", value)


def named(text: str, option: str) -> tuple[str, str]:
    """Name and rest of what is given as `NAME: REST`.

    >>> named("dysarthria: {Diagnosis} contains dysarthria", "--label")
    ('dysarthria', '{Diagnosis} contains dysarthria')
    """
    name, colon, rest = text.partition(":")
    name = name.strip()
    if not (colon and name and rest.strip()) or "{" in name:
        raise UserError(
            f"{option}={text!r}: expected 'NAME: …' with columns in braces, as "
            "'strained: {Strained}'."
        )
    return name, rest.strip()
