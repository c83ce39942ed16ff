"""What every reader of a recipe gives: recordings, and all that is known of them.

A reader (of tables, of BIDS, of a corpus of its own) makes a `Source`; labels, splits
and files are made of it in the same way for all: see `lay_out.lay_out`.
"""

import dataclasses
import re

import numpy as np
import pandas as pd

from local.data.label_cells import CellCodes, targets_from_table
from local.data.label_proposals import WrongCells
from local.data.labels import LabelType
from local.utils.problems import Place, Problem

_MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"

#: What becomes of codes such as 3-1 or MAR1, and of numbers such as 1.5.
DATE = re.compile(
    rf"\d{{4}}-\d\d-\d\d( .*)?|\d{{1,2}}[./-]\d{{1,2}}[./-](\d\d)?\d\d"
    rf"|\d{{1,2}}-({_MONTH})|({_MONTH})-\d\d",
    re.IGNORECASE,
)

ADVICE = (
    "spreadsheet programs turn codes such as 3-1 and numbers such as 1.5 into dates: "
    "format the column as text and type them again"
)

#: Columns that a reader may give each recording, beside those of its source.
OWN = ("uid", "subject", "file", "task", "session", "start_s", "end_s", "channel")


@dataclasses.dataclass
class Source:
    """Recordings, as a reader found them.

    rows: One row per recording, every cell text ("" is empty), with the columns of
        the source as they are called there: what conditions ask for.
    own: Of the same index: `uid` (made by `with_uids` where it is not there),
        `subject`, `file` (below the audio folder) and maybe others of `OWN`; `place`
        and `row`, where messages say that a recording stands.
    audio_folder: Path, or gs:// address.
    said: Lines for the user: what was understood.
    problems: What is wrong, str or Problem; with any of them nothing is written.
    """

    rows: pd.DataFrame
    own: pd.DataFrame
    audio_folder: str
    said: list[str] = dataclasses.field(default_factory=list)
    problems: list[str | Problem] = dataclasses.field(default_factory=list)

    def cells(self, column: str) -> pd.Series:
        """A column of the source, or one of its own; all empty where there is none."""
        for frame in (self.rows, self.own):
            if column in frame:
                return frame[column]
        return pd.Series("", index=self.own.index)

    def places(self, column: str, where: pd.Series) -> tuple[Place, ...]:
        """Where cells of a column are.

        where: Which recordings, of bool.
        """
        own = self.own[where]
        cells = self.cells(column)[where]
        return tuple(map(Place, cells, own["place"], own["row"]))


def read_numbers(
    source: Source, column: str, kind: LabelType, codes: CellCodes
) -> tuple[np.ndarray, list[str | Problem]]:
    """What the cells of a column say.

    kind: What they may hold.

    Returns numbers: [n], NaN where nothing is said.
    Returns problems.
    """
    cells, numbers, problems = source.cells(column), [], []
    if kind.is_score:
        cells = with_decimal_points(column, cells, source)
    for (place, *_), own in source.own.groupby(["place"], sort=False):
        table = cells[own.index].to_frame(column).set_axis(own["row"])
        targets, wrong = targets_from_table(table, {column: kind}, None, codes, place)
        numbers.append(targets[column].set_axis(own.index))
        problems += [part for problem in wrong for part in _told(problem, column)]
    return pd.concat(numbers).reindex(source.own.index).to_numpy(), problems


def with_decimal_points(column: str, cells: pd.Series, source: Source) -> pd.Series:
    """Cells with 0.5 for 0,5, which is said, where commas can be nothing else.

    Nothing else means: none is before three digits, as in 1,000.
    """
    with_comma = cells[cells.str.contains(",", regex=False)]
    if (
        with_comma.empty
        or not with_comma.str.fullmatch(r"-?\d+,(\d{1,2}|\d{4,})").all()
        or cells.str.contains(r"\d\.\d").any()
    ):
        return cells
    line = f"{column}: numbers with a decimal comma, as 0,5"
    source.said += [line] * (line not in source.said)
    return cells.str.replace(",", ".", regex=False)


def _told(problem, column):
    """A problem of cells as one of dates, and one of all others."""
    if not isinstance(problem, WrongCells):
        return [problem]
    by_kind = {True: [], False: []}
    for place in problem.places:
        by_kind[DATE.fullmatch(place.value) is not None].append(place)
    dates, others = tuple(by_kind[True]), tuple(by_kind[False])
    what = f"in column {column!r} with a date in place of a number"
    told = [Problem("cell", what, dates, ADVICE)] if dates else []
    if others:  # no option makes a scale of them
        told.append(dataclasses.replace(problem, places=others, may_be_scale=False))
    return told


def with_uids(own: pd.DataFrame) -> pd.DataFrame:
    """Names recordings after their files, and segments of a file after their times.

    Two files that differ in their suffix only keep it; one that is called waveform has
    its folder's name, as in the layout with folders.

    >>> files = ["a/s1.wav", "a/s1.flac", "b/s2.wav", "s3/waveform.ogg"]
    >>> with_uids(pd.DataFrame({"file": files}))["uid"].tolist()
    ['a-s1.wav', 'a-s1.flac', 'b-s2', 's3']
    """
    whole = own["file"].str.replace("/", "-", regex=False)
    stems = whole.str.replace(r"(-waveform)?\.[^.]*$", "", regex=True)
    by_stem = pd.DataFrame({"stem": stems, "file": own["file"]}).drop_duplicates()
    several = by_stem["stem"][by_stem["stem"].duplicated()]
    uids = stems.where(~stems.isin(several), whole)
    for column in ("start_s", "end_s", "channel"):
        if column in own:
            uids = uids + own[column].where(own[column] == "", "-" + own[column])
    return own.assign(uid=uids)
