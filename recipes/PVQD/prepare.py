"""Lay PVQD out as a corpus: sheets of raters, each twice, beside a folder of audio.

    python recipes/PVQD/prepare.py --source=DIR --corpus_folder=OUT
        [--test_share=0.3] [--seed=1986] [--dry_run]

`--source` holds `Audio Files` and `Ratings Spreadsheets`, as they were published.
"""

import re
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.data.label_proposals import number_in  # noqa: E402
from local.utils.errors import UserError  # noqa: E402
from local.utils.problems import Place, Problem  # noqa: E402
from recipes import own_layout  # noqa: E402
from recipes.table.tables import Table, read_tables  # noqa: E402

SHEETS = ("CAPE-V", "GRBAS")
RATER = re.compile(r"Rater (?P<rater>\d+) Time \d+", re.IGNORECASE)

#: Raters that corpus.yaml names: where there are fewer, their columns are empty.
N_RATERS = 4


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    return own_layout.run(__file__, __doc__, arguments, read)


def read(source: Path) -> list[Table]:
    """A row for each audio file: whose it is, and the mean of each rater's times."""
    sheets = source / "Ratings Spreadsheets"
    ratings, people, needed = {}, {}, ["File", "Characteristics"]
    scales = read_tables([str(sheets / "Ratings_both_scales.xlsx")], SHEETS)
    if len(scales) < len(SHEETS):
        there = " and ".join(table.place for table in scales)
        raise UserError(f"Expected the sheets {' and '.join(SHEETS)}: found {there}.")
    for table in scales:
        scale = next(name for name in SHEETS if f"sheet {name!r}" in table.place)
        for row in rows_with(table, needed):
            dimension = row["Characteristics"].split()[-1].lower()
            said = mean_ratings(f"{scale} {dimension}", row)
            ratings.setdefault(code_of(row["File"]), {}).update(said)
    for table in read_tables([str(sheets / "Demographics.xlsx")]):
        for row in rows_with(table, ["Participant ID"]):
            people[code_of(row["Participant ID"])] = row
    rows = own_layout.read_names(source, r"Audio Files/(?P<code>\D+\d+)[^/]*\.wav")
    for row in rows:
        code = code_of(row["code"])
        row.update(people.get(code, {}) | ratings.get(code, {}))
    codes = {code_of(row["code"]) for row in rows}
    notes = [
        str(Problem("code", what, tuple(map(Place, sorted(alone)))))
        for what, alone in (
            ("of recordings that no sheet of ratings has", codes - set(ratings)),
            ("of the sheets of ratings without a recording", set(ratings) - codes),
        )
        if alone
    ]
    return [own_layout.new_table(f"{source}/Audio Files/*.wav", rows, notes)]


def rows_with(table: Table, columns: list[str]) -> list[dict]:
    """Rows of a sheet that say something in these columns.

    Raises UserError: if there is no such column.
    """
    absent = [column for column in columns if column not in table.rows]
    if absent:
        raise UserError(
            f"{table.place} has no column {' and '.join(absent)}: there are "
            f"{', '.join(table.rows)}."
        )
    return table.rows[(table.rows[columns] != "").all(axis=1)].to_dict("records")


def code_of(cell: str) -> str:
    """A participant as the files, the sheets and the table of people all have it."""
    return cell.strip().upper()


def mean_ratings(name: str, row: dict) -> dict:
    """Column of each rater → the mean of what it said at all times.

    name: Of the scale and dimension.
    """
    by_rater = {str(i + 1): [] for i in range(N_RATERS)}
    for column, cell in row.items():
        match = RATER.fullmatch(column.strip())
        if match and cell:
            try:
                by_rater.setdefault(match["rater"], []).append(number_in(cell))
            except ValueError as error:
                raise UserError(
                    f"Ratings of {row['File']}, {name}: {column!r} should be a number, "
                    f"found {cell!r}."
                ) from error
    return {
        f"{name} R{rater}": f"{np.mean(numbers):.10g}" if numbers else ""
        for rater, numbers in by_rater.items()
    }


if __name__ == "__main__":
    sys.exit(main())
