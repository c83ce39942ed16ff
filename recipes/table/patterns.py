"""Patterns: text with `{COLUMN}`s, which each row of a table fills."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import pandas as pd

from local.utils.errors import UserError
from local.utils.spelling import near

FIELD = re.compile(r"\{([^{}]*)\}")

#: What stands for the table's name.
TABLE = "table"


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Text with columns in it.

    text: As it was given.
    literals: What stands before, between and after the columns.
    columns: In their order; `TABLE` for the table's name.

    >>> Pattern.parse("{table}/{Subject code}_*.wav", "--file").columns
    ('table', 'Subject code')
    """

    text: str
    literals: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, option: str) -> Self:
        """Read a pattern.

        option: Where it was given, for messages.

        Raises UserError: for a brace without its partner, or without a column.
        """
        parts = FIELD.split(text)
        literals = tuple(parts[::2])
        columns = tuple(" ".join(column.split()) for column in parts[1::2])
        if not columns or "" in columns or set("".join(literals)) & set("{}"):
            raise UserError(
                f"{option}={text!r} is no pattern: expected text with the name of a "
                "column in braces, as '{Subject code}_*.wav'."
            )
        return cls(text, literals, columns)

    def fill(self, rows: pd.DataFrame) -> pd.Series:
        """The text of each row; None where a cell is empty, or there is no column.

        rows: Text, with `TABLE`.
        """
        filled = np.full(len(rows), self.literals[0], dtype=object)
        empty = np.zeros(len(rows), dtype=bool)
        for column, literal in zip(self.columns, self.literals[1:], strict=True):
            if column not in rows:
                return pd.Series(None, index=rows.index, dtype=object)
            cells = rows[column].to_numpy(dtype=object)
            empty |= cells == ""
            filled = filled + cells + literal
        filled[empty] = None
        return pd.Series(filled, index=rows.index, dtype=object)


def first_filled(patterns: Sequence[Pattern], rows: pd.DataFrame) -> pd.Series:
    """The text of the first pattern that each row fills; "" where none is."""
    filled = pd.Series(None, index=rows.index, dtype=object)
    for pattern in patterns:
        filled = filled.where(filled.notna(), pattern.fill(rows))
    return filled.fillna("")


def unknown_columns(
    named: dict[str, Iterable[str]], columns: Iterable[str]
) -> list[str]:
    """What is to be said of columns that no table has.

    named: Option as it was given → columns that it names.
    columns: Those that there are.

    >>> unknown_columns({"--keep='Sexe'": ["Sexe"]}, ["Sex", "Age"])
    ["--keep='Sexe': there is no column 'Sexe', did you mean 'Sex'?"]
    """
    columns, problems = list(columns), []
    for option, wanted in named.items():
        for column in dict.fromkeys(wanted):
            if column not in (*columns, TABLE):
                hint = near(column, columns)
                hint = f", did you mean {hint!r}?" if hint else ""
                problems.append(f"{option}: there is no column {column!r}{hint}")
    return problems
