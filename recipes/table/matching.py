"""Which files belong to which rows of tables, and which to none."""

import dataclasses
import re
from pathlib import PurePosixPath

import pandas as pd

from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.problems import Place, Problem, listed
from local.utils.spelling import composed
from recipes.table.audio_folder import AudioFolder, Names, is_audio, loosely, nearly
from recipes.table.patterns import TABLE, Pattern
from recipes.table.source import ADVICE, DATE

#: Kinds of problems that `--accept` goes on with.
UNMATCHED = "near_names"

#: Digits that a number may be filled to, as `{Code:06}`.
MOST_DIGITS = 6

#: A path that no file below a folder has.
OUTSIDE = re.compile(r"/.*|(.*/)?\.\.(/.*)?")


def file_pattern(text: str) -> Pattern:
    """A pattern of `--file`: columns, and at most one `*`, which becomes `task`.

    Raises UserError: if it is none, or leads out of the folder.
    """
    pattern = Pattern.parse(text, "--file")
    n_stars = "".join(pattern.literals).count("*")
    if n_stars > 1 or {"", ".", ".."} & set(text.split("/")) or "\\" in text:
        raise UserError(
            f"--file={text!r}: expected the name of a file below the audio folder, "
            "with / between folders and at most one *."
        )
    return pattern


def _around_star(pattern, rows):
    """What the files of each row begin and end with.

    Returns: `before` and `after` (None without a star); rows that don't fill the
        pattern are left out.
    """
    star = "\ufdd0"  # a cell may hold a *, and numpy cuts a \0 at the end
    literals = tuple(part.replace("*", star) for part in pattern.literals)
    filled = dataclasses.replace(pattern, literals=literals).fill(rows)
    parts = filled.dropna().map(composed).astype(object).str.partition(star)
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
    patterns: list[Pattern],
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
    names = Names(folder.checksums, composed)
    pairs, expected, said = [], [], []
    for pattern in patterns:
        pattern, wanted, matched = _with_zeros(pattern, rows, names)
        expected.append(wanted)
        pairs.append(matched)
        said.append(
            f"--file='{pattern.text}': {counted(len(matched), 'recording')} of "
            f"{matched['row'].nunique():,} of {counted(len(wanted), 'row')}"
        )
    expected = pd.concat(expected)
    pairs = pd.concat(pairs, ignore_index=True).drop_duplicates(["row", "file"])
    people = rows.index[~rows.index.isin(expected.index)].tolist()
    matches = Matches(pairs, people, said, [])
    if not may_share:
        _note_shared(matches, own)
    taken = set(pairs["file"])
    left = [name for name in folder.checksums if name not in taken]
    columns = {column for pattern in patterns for column in pattern.columns}
    dates = _with_dates(rows, columns)
    _note_unmatched(matches, own, expected, left, dates, accepted)
    if pairs.empty and not matches.problems:
        matches.problems.append(_nothing(patterns, expected, folder))
    return matches


def _matched(pattern, rows, names):
    """What the files of rows begin and end with, and those that are there."""
    wanted = _around_star(pattern, rows)
    pairs = [
        (row.Index, file, _at_star(composed(file), row))
        for row in wanted.itertuples()
        for file in names.between(row.before, row.after)
        # a * may hold the suffix
        if row.after is None or "." in row.after or is_audio(file)
    ]
    return wanted, pd.DataFrame(pairs, columns=["row", "file", "task"])


def _at_star(name, row):
    return name[len(row.before) : len(name) - len(row.after or "")]


def _with_zeros(pattern, rows, names):
    """Match a pattern, its numbers filled with zeros where the files' names have them.

    A spreadsheet keeps 7 of 007. Filled only where that is no guess: one number of
    digits finds files for more rows than any other, and loses none found without.

    Returns: the pattern as it was taken, and what `_matched` gives for it.
    """
    best = (pattern, *_matched(pattern, rows, names))
    for i, column in enumerate(pattern.columns if len(best[1]) else ()):
        cells, n_rows = rows.loc[best[1].index, column], best[2]["row"].nunique()
        if n_rows == len(cells) or not cells.str.fullmatch("[0-9]+").all():
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
    options = ", ".join(f"--file='{pattern.text}'" for pattern in patterns)
    looked = f"looked for {listed(shown)}" if shown else "no row has all its columns"
    named = any(TABLE in pattern.columns for pattern in patterns)
    hint = "; a table is called by its stem, or as --table=NAME=FILE says" * named
    return (
        f"no file matches {options}: {looked}; {folder.address} holds "
        f"{listed(list(folder.checksums))}{hint}"
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
        places = own.loc[shared["row"], "place"]
        tables = "name the table in it, as '{table}/…', " * (places.nunique() > 1)
        advice = (
            f"let each row match its own ({tables}write what stands after the code "
            "before the *, as '{code}_*.wav'), remove the rows that are there twice, "
            "or give the times of segments: --keep='start_s: {…}' --keep='end_s: {…}'"
        )
        places = _places(own, shared["row"], shared["file"])
        matches.problems.append(Problem("file", "matched by two rows", places, advice))


def _note_unmatched(matches, own, expected, left, dated, accepted):
    """Rows without a file and files without a row, with what may have been meant."""
    left = [name for name in left if is_audio(name)]
    by_key = [Names(left, key) for key in (nearly, loosely) if left]
    matched, near, alone, close = set(matches.pairs["row"]), [], {}, set()
    for row in expected.itertuples():
        shown = f"{row.before}{_star(row.after)}"
        files = sorted({name for one in by_key for name in _nearly(one, row)})
        if row.Index in matched:  # beside S1.wav, an S1.mp3 is none of its files
            suffix = PurePosixPath(shown).suffix.casefold()
            files = [name for name in files if name.casefold().endswith(suffix)]
        if files:
            close.update(files)
            near.append((row.Index, shown, f" is nearly {listed(files)}"))
        elif row.Index not in matched:
            alone.setdefault(row.Index, shown)
    for label, *_ in near:
        alone.pop(label, None)
    dates = {label: shown for label, shown in alone.items() if label in dated}
    plain = {label: shown for label, shown in alone.items() if label not in dated}
    if dates:
        places = _places(own, dates, dates.values())
        problem = Problem("row", "with a date and without a file", places, ADVICE)
        matches.problems.append(problem)
    if near:
        problem = Problem(
            "name",
            "of a row's file that differs in case, spaces, hyphens, suffix or zeros "
            "only from one that is there",
            _places(own, *zip(*near, strict=True)),
            "mend --file (as {Code:03} for 007, {Code:01} for 7), the name of a table "
            "(--table=NAME=FILE), the sheet or the file, or leave them out: "
            f"--accept={UNMATCHED}",
        )
        told = matches.said if UNMATCHED in accepted else matches.problems
        told.append(str(problem) if UNMATCHED in accepted else problem)
    if plain:
        outside = " leads out of the folder"
        notes = [outside * bool(OUTSIDE.fullmatch(name)) for name in plain.values()]
        places = _places(own, plain, plain.values(), notes)
        matches.said.append(str(Problem("row", "without a file, left out", places)))
    others = tuple(Place(name) for name in left if name not in close)
    if others:
        matches.said.append(str(Problem("file", "without a row, left out", others)))


def _nearly(names, row):
    """Files whose names are nearly what is expected."""
    if row.after is None:
        return names.between(names.key(row.before), None)
    # the end without its suffix, as that of the names is left away
    return names.between(names.key(f"{row.before}.x"), names.key(row.after))
