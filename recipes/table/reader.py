"""Tables and a folder of audio as a `Source`."""

import dataclasses
import itertools

import pandas as pd

from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.problems import Place, Problem, listed
from recipes.table.audio_folder import AudioFolder
from recipes.table.matching import match
from recipes.table.patterns import TABLE, Pattern, first_filled, unknown_columns
from recipes.table.source import Source, with_uids
from recipes.table.tables import Table, read_tables

#: A kind of problem that `--accept` goes on with.
OWN_ROW = "own_row"

#: Columns that say which part of a file a row means.
SEGMENT = ("start_s", "end_s", "channel")


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """What the options of the table recipe say, beside those of labels and splits.

    subjects: Of several the first that a row fills counts.
    kept: Column of the corpus → patterns, as `lay_out.kept_columns` gives it.
    columns: Option → columns that it asks for, of labels and splits.
    """

    tables: list[str]
    sheets: list[str]
    files: list[Pattern]
    subjects: list[Pattern]
    kept: dict[str, list[Pattern]]
    columns: dict[str, list[str]]
    accepted: set[str]

    @property
    def named(self) -> dict[str, list[str]]:
        """Option → columns, of all options."""
        named = {}
        for option, patterns in (
            ("--file", self.files),
            ("--subject", self.subjects),
            ("--keep", itertools.chain(*self.kept.values())),
        ):
            for pattern in patterns:
                named[f"{option}={pattern.text!r}"] = list(pattern.columns)
        return named | self.columns


def read_source(
    options: TableOptions, folder: AudioFolder, tables: list[Table] | None = None
) -> Source:
    """Read tables and find the file of each row.

    tables: In place of those that the options name.

    Raises UserError: if tables can't be read, or lack a column that is named.
    """
    needed = {column for columns in options.named.values() for column in columns}
    tables = tables or read_tables(options.tables, options.sheets, needed)
    _check_columns(options, tables)
    rows, own = _together(tables)
    said = [note for table in tables for note in table.notes]
    with_table = rows.assign(**{TABLE: own["table"]})
    own["subject"] = first_filled(options.subjects, with_table)
    for column, patterns in options.kept.items():
        if column in (*SEGMENT, "session"):
            own[column] = first_filled(patterns, with_table)
    may_share = bool(set(SEGMENT) & set(own))
    matches = match(with_table, own, options.files, folder, may_share, options.accepted)
    source = Source(rows, own, folder.address, [*said, *matches.said], matches.problems)
    if matches.pairs.empty:
        return source
    people = own.loc[matches.people].index
    with_rows = _recordings(source, matches.pairs)
    if len(people):
        _fill(with_rows, rows.loc[people], own.loc[people], needed, options)
    nobody = with_rows.own["subject"] == ""
    if nobody.any():
        places = tuple(
            Place(None, place, row)
            for place, row in with_rows.own.loc[nobody, ["place", "row"]].to_numpy()
        )
        shown = " or ".join(f"--subject={one.text!r}" for one in options.subjects)
        what = f"of which {shown} gives no subject, as a cell is empty"
        with_rows.problems.append(Problem("row", what, places))
    return with_rows


def _check_columns(options, tables):
    """Refuse names of columns that no table has, and tables without a subject's."""
    columns = {column: None for table in tables for column in table.rows}
    problems = unknown_columns(options.named, columns)
    if problems:
        shown = [f"{table.place} has {', '.join(table.rows)}" for table in tables]
        raise UserError("There is no such column:", [*problems, *shown])
    for option, patterns in (
        ("--subject", options.subjects),
        ("--file", options.files),
    ):
        for table in tables:
            has_all = [
                set(one.columns) <= {TABLE, *table.rows.columns} for one in patterns
            ]
            # a table of people names no files; it must be of the same people
            if not any(has_all) and (option == "--subject" or len(tables) == 1):
                absent = set(patterns[0].columns) - {TABLE, *table.rows.columns}
                problems.append(
                    f"{table.place}: {option}={patterns[0].text!r} asks for "
                    f"{listed(sorted(absent))}, and it has {', '.join(table.rows)}; "
                    f"give a further {option} for it, or rename a column"
                )
    if problems:
        raise UserError("There is no such column:", problems)


def _together(tables: list[Table]):
    """All rows in one frame, and beside it where each is from."""
    rows = pd.concat([table.rows for table in tables], ignore_index=True).fillna("")
    own = pd.concat(
        [
            pd.DataFrame(
                {"table": table.name, "place": table.place, "row": table.rows.index}
            )
            for table in tables
        ],
        ignore_index=True,
    )
    return rows, own


def _recordings(source, pairs):
    """A source with a row for each recording."""
    pairs = pairs.sort_values(["row", "file"], kind="stable")
    own = source.own.loc[pairs["row"]].reset_index(drop=True)
    own["file"] = pairs["file"].to_numpy()
    if (pairs["task"] != "").any():
        own["task"] = pairs["task"].to_numpy()
    rows = source.rows.loc[pairs["row"]].reset_index(drop=True)
    return dataclasses.replace(source, rows=rows, own=with_uids(own))


def _fill(source, people, own, needed, options):
    """Fill empty cells of recordings by rows about the same people.

    people: Rows that name no file.
    own: Of the same rows.
    needed: Columns that are asked for.
    """
    subjects = set(source.own["subject"]) - {""}
    known = own["subject"].isin(subjects)
    for place, rows in own.groupby("place", sort=False):
        n = int(known[rows.index].sum())
        if not n and place not in set(source.own["place"]):
            absent = [one.text for one in options.files]
            source.problems.append(
                f"{place}: no row fills --file={listed(list(map(repr, absent)))}, and "
                "no subject of it has a recording by another table"
            )
        source.said.append(
            f"{place}: {counted(len(rows), 'row')} without a file's name; "
            f"{n:,} of them are about people with recordings, whose empty cells they "
            "fill"
        )
    passes = [(source.own["subject"], own["subject"])]
    if "session" in own:  # what is known of a visit is not known of another one
        of_visit, known = source.own["session"] != "", own["session"] != ""
        recordings, rows = _visits(source.own), _visits(own)
        passes = [
            (recordings[of_visit], rows[known]),
            (source.own["subject"][of_visit], own["subject"][~known]),
            (source.own["subject"][~of_visit], own["subject"]),
        ]
    for column in people:
        for recordings, rows in passes:
            cells = people.loc[rows.index, column]
            cells = cells[cells != ""]
            if len(cells) and len(recordings):
                keys = recordings, rows[cells.index]
                _fill_column(source, cells, own, *keys, column in needed, options)


def _visits(own):
    return own["subject"] + "\0" + own["session"]


def _fill_column(source, cells, own, wanted, keys, must, options):
    """Fill one column; what several rows say differently is left empty.

    cells: Of the rows that fill, not empty.
    own: Of these rows and others.
    wanted: Whom, or whose visit, the recordings to fill are of.
    keys: The same of the rows that fill.
    must: Whether that is a problem.
    """
    column, there = cells.name, source.rows.loc[wanted.index, cells.name]
    groups = cells.groupby(keys)
    filled = wanted.map(groups.first()).fillna("")
    several = (wanted.map(groups.nunique()) > 1) & (there == "")
    if several.any() and must:
        differing = own.loc[keys.index[keys.isin(wanted[several])]]
        columns = differing[["subject", "place", "row"]]
        places = tuple(Place(*row) for row in columns.to_numpy())
        source.problems.append(
            Problem(
                "subject",
                f"with several values of {column!r} in rows without a file",
                places,
                "which one belongs to a recording would be a guess: keep one, or tell "
                "visits apart with --keep='session: {COLUMN}'",
            )
        )
    differ = (there != "") & (filled != "") & (filled != there)
    if differ.any() and must:
        places = source.places(
            column, differ.reindex(source.own.index, fill_value=False)
        )
        problem = Problem(
            "cell",
            f"in column {column!r} that a row about the same person contradicts",
            places,
            f"empty the wrong ones (some programs write 0 in rows of other forms), or "
            f"let the recording's own row count: --accept={OWN_ROW}",
        )
        is_label = any(column in columns for columns in options.columns.values())
        if is_label and OWN_ROW not in options.accepted:
            source.problems.append(problem)
        else:
            source.said.append(str(problem))
    filled = there.where((there != "") | several, filled)
    source.rows.loc[filled.index, column] = filled
