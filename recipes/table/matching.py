"""Which files belong to which rows of tables, and which to none."""

import dataclasses
import re

import pandas as pd

from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.problems import Place, Problem, listed
from recipes.table.audio_folder import AudioFolder, Names, is_audio, nearly
from recipes.table.dates import ADVICE, DATE
from recipes.table.patterns import Pattern

#: Kinds of problems that `--accept` goes on with.
UNMATCHED = "near_names"

#: Digits that a number may be filled to, as `{Code:06}`.
MOST_DIGITS = 6

#: A path that no file below a folder has.
OUTSIDE = re.compile(r"/.*|(.*/)?\.\.(/.*)?")


@dataclasses.dataclass(frozen=True)
class FilePattern:
    """A pattern of `--file`: columns, and at most one `*`, which becomes `task`."""

    pattern: Pattern

    @classmethod
    def parse(cls, text: str) -> "FilePattern":
        """Read one.

        Raises UserError: if it is none, or leads out of the folder.
        """
        pattern = Pattern.parse(text, "--file")
        parts = text.split("/")
        if text.count("*") > 1 or {"", ".", ".."} & set(parts) or "\\" in text:
            raise UserError(
                f"--file={text!r}: expected the name of a file below the audio folder, "
                "with / between folders and at most one *."
            )
        return cls(pattern)

    @property
    def has_star(self) -> bool:
        """Whether a part of the name is the task."""
        return "*" in self.pattern.text

    def with_width(self, i: int, width: int) -> "FilePattern":
        """The same with column `i` filled with zeros to `width` digits."""
        return FilePattern(self.pattern.with_width(i, width))

    def filled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """What the files of each row begin and end with.

        Returns: `before` and `after` (None without a star); rows that don't fill the
            pattern are left out.
        """
        star = "\0"  # a cell may hold a *
        literals = tuple(part.replace("*", star) for part in self.pattern.literals)
        filled = dataclasses.replace(self.pattern, literals=literals).fill(rows)
        parts = filled.dropna().str.partition(star)
        after = parts[2].where(parts[1] == star, None).astype(object)
        return pd.DataFrame({"before": parts[0], "after": after})


@dataclasses.dataclass
class Matches:
    """What was found.

    pairs: `row` (label in the rows), `file` and `task` of each recording.
    people: Labels of the rows that name no file: they are about people.
    said, problems: As those of a `Source`.
    """

    pairs: pd.DataFrame
    people: list
    said: list[str]
    problems: list[str | Problem]


def match(
    rows: pd.DataFrame,
    own: pd.DataFrame,
    patterns: list[FilePattern],
    folder: AudioFolder,
    may_share: bool,
    accepted: set[str],
) -> Matches:
    """Find the files of rows.

    rows: Of all tables, text, with `table`.
    own: Of the same index: `place` and `row`, for messages.
    may_share: Whether rows may have a file in common, as they name segments of it.
    accepted: Kinds of problems that are none.
    """
    names = Names(folder.checksums)
    pairs, expected, said = [], [], []
    for pattern in patterns:
        pattern, wanted, matched = _with_zeros(pattern, rows, names)
        expected.append(wanted)
        pairs.append(matched)
        said.append(
            f"--file='{pattern.pattern.text}': {counted(len(matched), 'recording')} of "
            f"{matched['row'].nunique():,} of {counted(len(wanted), 'row')}"
        )
    expected = pd.concat(expected)
    pairs = pd.concat(pairs, ignore_index=True).drop_duplicates(["row", "file"])
    people = rows.index[~rows.index.isin(expected.index)].tolist()
    matches = Matches(pairs, people, said, [])
    if not may_share:
        _note_shared(matches, own)
    alone = expected[~expected.index.isin(pairs["row"])]
    taken = set(pairs["file"])
    left = [name for name in folder.checksums if name not in taken]
    columns = {column for pattern in patterns for column in pattern.pattern.columns}
    dates = _with_dates(rows, columns)
    _note_unmatched(matches, own, alone, left, dates, accepted)
    if pairs.empty and not matches.problems:
        matches.problems.append(_nothing(patterns, expected, folder))
    return matches


def _matched(pattern, rows, names):
    """What the files of rows begin and end with, and those that are there."""
    wanted = pattern.filled(rows)
    pairs = [
        (row.Index, file, file[len(row.before) : len(file) - len(row.after or "")])
        for row in wanted.itertuples()
        for file in names.between(row.before, row.after)
    ]
    return wanted, pd.DataFrame(pairs, columns=["row", "file", "task"])


def _with_zeros(pattern, rows, names):
    """Match a pattern, its numbers filled with zeros where the files' names have them.

    A spreadsheet keeps 7 of 007. Filled only where that is no guess: one number of
    digits finds files for more rows than any other, and loses none found without.

    Returns: the pattern as it was taken, and what `_matched` gives for it.
    """
    best = (pattern, *_matched(pattern, rows, names))
    for i, column in enumerate(pattern.pattern.columns if len(best[1]) else ()):
        cells, n_rows = rows.loc[best[1].index, column], best[2]["row"].nunique()
        if n_rows == len(cells) or not cells.str.fullmatch("0|[1-9][0-9]*").all():
            continue
        trials = []
        for width in range(2, MOST_DIGITS + 1):
            filled = best[0].with_width(i, width)
            trials.append((filled, *_matched(filled, rows, names)))
        trials.sort(key=lambda trial: trial[2]["row"].nunique())
        most, next_most = trials[-1], trials[-2]
        kept = set(best[2]["file"]) <= set(most[2]["file"])
        if kept and most[2]["row"].nunique() > max(
            n_rows, next_most[2]["row"].nunique()
        ):
            best = most
    return best


def _with_dates(rows, columns):
    """Labels of the rows with a date in one of these columns, set."""
    dated = set()
    for column in columns & set(rows):
        dated.update(rows.index[rows[column].str.fullmatch(DATE)])
    return dated


def _nothing(patterns, expected, folder):
    """The problem that no row has a file."""
    shown = [f"{row.before}{_star(row.after)}" for row in expected.head(3).itertuples()]
    options = ", ".join(f"--file='{pattern.pattern.text}'" for pattern in patterns)
    looked = f"looked for {listed(shown)}" if shown else "no row has all its columns"
    return (
        f"no file matches {options}: {looked}; {folder.address} holds "
        f"{listed(list(folder.checksums))}"
    )


def _star(after):
    return "" if after is None else f"*{after}"


def _places(own, labels, values, notes=None):
    notes = notes or [""] * len(labels)
    return tuple(
        Place(value, own.at[label, "place"], own.at[label, "row"], note)
        for label, value, note in zip(labels, values, notes, strict=True)
    )


def _note_shared(matches, own):
    """Files that several rows claim: which of them is meant would be a guess."""
    pairs = matches.pairs
    shared = pairs[pairs["file"].duplicated(keep=False)].sort_values("file")
    if not shared.empty:
        advice = (
            "let each row match its own (write what stands after the code before the "
            "*, as '{code}_*.wav'), remove the rows that are there twice, or give the "
            "times of segments: --keep='start_s: {…}' --keep='end_s: {…}'"
        )
        places = _places(own, shared["row"], shared["file"])
        matches.problems.append(Problem("file", "matched by two rows", places, advice))


def _note_unmatched(matches, own, alone, left, dated, accepted):
    """Rows without a file and files without a row, with what may have been meant."""
    left = [name for name in left if is_audio(name)]
    alike_names = Names(left, nearly)
    near, plain, dates, close = [], [], [], set()
    for row in alone[~alone.index.duplicated()].itertuples():
        shown = f"{row.before}{_star(row.after)}"
        files = _nearly_between(alike_names, row)
        if row.Index in dated and not files:
            dates.append((row.Index, shown))
        elif files:
            close.update(files)
            near.append((row.Index, shown, f" is nearly {listed(sorted(files))}"))
        else:
            plain.append((row.Index, shown))
    if dates:
        labels, shown = zip(*dates, strict=True)
        places = _places(own, labels, shown)
        matches.problems.append(
            Problem("row", "with a date and without a file", places, ADVICE)
        )
    if near:
        labels, shown, notes = zip(*near, strict=True)
        problem = Problem(
            "name",
            "of a row's file that differs in case, spaces, suffix, zeros or Unicode "
            "form only from one that is there",
            _places(own, labels, shown, notes),
            "mend --file (as {Code:03} for 007), the sheet or the file, or leave "
            f"them out: --accept={UNMATCHED}",
        )
        told = matches.said if UNMATCHED in accepted else matches.problems
        told.append(str(problem) if UNMATCHED in accepted else problem)
    if plain:
        labels, shown = zip(*plain, strict=True)
        outside = " leads out of the folder"
        notes = [outside if OUTSIDE.fullmatch(name) else "" for name in shown]
        places = _places(own, labels, shown, notes)
        matches.said.append(str(Problem("row", "without a file, left out", places)))
    others = [name for name in left if name not in close]
    if others:
        places = tuple(Place(name) for name in others)
        matches.said.append(str(Problem("file", "without a row, left out", places)))


def _nearly_between(names, row):
    """Files whose names are nearly what is expected."""
    if row.after is None:
        return names.between(nearly(row.before), None)
    # the end without its suffix, as that of the names is left away
    return names.between(nearly(f"{row.before}.x"), nearly(f"{row.after}"))
