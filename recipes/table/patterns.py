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

#: A column, and maybe a number of digits.
PADDED = re.compile(r"(.*?)(?::0(\d))?")

#: A whole number, whatever a program has made of it.
NUMBER = re.compile(r"^0*(\d+)(?:\.0+)?$")

#: What stands for the table's name.
TABLE = "table"


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Text with columns in it.

    text: As it was given.
    literals: What stands before, between and after the columns.
    columns: In their order; `TABLE` for the table's name.
    widths: How many digits numbers have, as `{Code:03}` says: 7, 7.0 and 0007 are 007
        then; else 0.

    >>> Pattern.parse("{table}/{Subject code:03}_*.wav", "--file").columns
    ('table', 'Subject code')
    """

    text: str
    literals: tuple[str, ...]
    columns: tuple[str, ...]
    widths: tuple[int, ...]

    @classmethod
    def parse(cls, text: str, option: str) -> Self:
        """Read a pattern.

        option: Where it was given, for messages.

        Raises UserError: for a brace without its partner, no column, or a * elsewhere
            than in a file's name.
        """
        parts = FIELD.split(text)
        literals = tuple(parts[::2])
        fields = [PADDED.fullmatch(" ".join(field.split())) for field in parts[1::2]]
        columns = tuple(field[1] for field in fields)
        if not columns or "" in columns or set("".join(literals)) & set("{}"):
            raise UserError(
                f"{option}={text!r} is no pattern: expected text with the name of a "
                "column in braces, as '{Subject code}_*.wav'."
            )
        if "*" in "".join(literals) and option != "--file":
            raise UserError(f"{option}={text!r}: a * stands in --file only.")
        widths = tuple(int(field[2] or 0) for field in fields)
        return cls(text, literals, columns, widths)

    def with_width(self, i: int, width: int) -> Self:
        """The same with column `i` filled with zeros to `width` digits.

        >>> Pattern.parse("{Code}_*.wav", "--file").with_width(0, 3).text
        '{Code:03}_*.wav'
        """
        widths = (*self.widths[:i], width, *self.widths[i + 1 :])
        fields = [
            f"{{{column}:0{digits}}}" if digits else f"{{{column}}}"
            for column, digits in zip(self.columns, widths, strict=True)
        ]
        text = "".join(
            part
            for pair in zip(self.literals, [*fields, ""], strict=True)
            for part in pair
        )
        return dataclasses.replace(self, text=text, widths=widths)

    def fill(self, rows: pd.DataFrame) -> pd.Series:
        """The text of each row; None where a cell is empty, or there is no column.

        rows: Text, with `TABLE`.
        """
        filled = np.full(len(rows), self.literals[0], dtype=object)
        empty = np.zeros(len(rows), dtype=bool)
        for column, width, literal in zip(
            self.columns, self.widths, self.literals[1:], strict=True
        ):
            if column not in rows:
                return pd.Series(None, index=rows.index, dtype=object)
            cells = rows[column].to_numpy(dtype=object)
            empty |= cells == ""
            if width:
                numbers = [NUMBER.sub(r"\1", cell).zfill(width) for cell in cells]
                cells = np.array(numbers, dtype=object)
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
