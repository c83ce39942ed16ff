"""Lay out a BIDS folder of recordings as a corpus.

    python recipes/bids/prepare.py --bids_folder=DIR --corpus_folder=OUT
        --label='NAME: CONDITION' … [--score='NAME: {COLUMN}' …]
        [--rater='NAME: {R1}, {R2}' …] [--keep=COLUMN …] [--heads='a,b;c']
        [--test_share=0.3 | --splits=COLUMN] [--seed=1986] [--dry_run]

Recordings are `sub-*/ses-*/audio/*_task-*.wav` (any folder, any audio; `ses-*` may be
missing). COLUMNs are those of participants.tsv, of phenotype/**/*.tsv, `task` and the
other parts of a file's name, and the keys of its sidecar. docs/your_data.md has more.
"""

import dataclasses
import itertools
import json
import re
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.storage.addresses import local_path  # noqa: E402
from local.utils.errors import UserError  # noqa: E402
from local.utils.problems import Place, Problem, listed  # noqa: E402
from recipes.own_layout import new_table  # noqa: E402
from recipes.table import lay_out, options  # noqa: E402
from recipes.table import prepare as table_recipe  # noqa: E402
from recipes.table.audio_folder import AudioFolder, is_audio  # noqa: E402
from recipes.table.patterns import Pattern  # noqa: E402
from recipes.table.people import TRAITS  # noqa: E402
from recipes.table.source import Source  # noqa: E402
from recipes.table.tables import NoRows, Table, read_tables  # noqa: E402

RECORDING = re.compile(
    r"sub-(?P<participant_id>[^/]+)/(?:ses-(?P<session_id>[^/]+)/)?(?:[^/]+/)?"
    r"(?P<stem>[^/]*_task-[^/]+)\.\w+"
)

#: A part of a file's name, as in `task-vowel`.
ENTITY = re.compile(r"(?:^|_)([a-zA-Z]+)-([^_]+)")

#: Tables of people.
OF_PEOPLE = re.compile(r"participants\.tsv|phenotype/.*\.tsv")

#: Where a person's code may stand in a table.
PERSON = ("participant_id", "record_id", "subject_id")

#: What b2aiprep calls the visit where it isn't `session_id`: `gad_7_session_id`.
VISIT = "_session_id"

#: How BIDS writes that nothing is known.
NOTHING = "n/a"

#: How the sidecar of a recording may be called; the last are b2aiprep's.
SIDECARS = ("{}.json", "{}_recording-metadata.json", "{}_metadata.json")


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = options.new_parser(__doc__)
    parser.prog = "recipes/bids/prepare.py"
    parser.add_argument("--bids_folder", metavar="DIR")
    return lay_out.run(parser, arguments, read, paths=("bids_folder",))


def read(values: dict, given: lay_out.Given) -> tuple[Source, AudioFolder]:
    """The recordings of a BIDS folder, and what its tables say of them."""
    if not values.get("bids_folder"):
        raise UserError("Give --bids_folder=DIR, the folder of sub-*/.")
    path = local_path(values["bids_folder"], "bids_folder")
    folder = AudioFolder.listed(str(path), "bids_folder")
    rows = recordings(folder)
    people = read_people(folder)
    asked = {column for columns in given.labels.columns.values() for column in columns}
    kept = itertools.chain(*given.kept.values())
    asked |= {column for one in kept for column in one.columns}
    asked |= {values["splits"]} if values.get("splits") else set()
    if not asked <= {*rows[0]}.union(*(one.rows.columns for one in people)):
        rows = [read_sidecar(path, row["file"]) | row for row in rows]
    of_labels = {name for names in given.labels.columns.values() for name in names}
    if mixed := several_tables(people, of_labels):
        raise UserError("Of which table are these columns of labels?", mixed)
    notes = several_tables(people, asked)
    people = [with_names(table, asked) for table in people]
    tables = [new_table(f"{path}/sub-*", rows, notes), *people]
    if asked <= set().union(*(table.rows.columns for table in tables)):
        people = [table for table in people if asked & set(table.rows)]
        check_codes(rows, people)
        tables = [tables[0], *people]
    if any(row["session_id"] for row in rows):
        given.kept.setdefault("session", [Pattern.parse("{session_id}", "--keep")])
    patterns = {"file": ["{file}"], "subject": ["{participant_id}"]}
    source, _ = table_recipe.read(values | patterns, given, tables, folder)
    if "file" in source.own:
        source.own["task"] = source.rows["task"]
        stems = source.own["file"].str.replace(r".*/|\.[^.]*$", "", regex=True)
        if not stems.duplicated().any():
            source.own["uid"] = stems
    return source, folder


def recordings(folder: AudioFolder) -> list[dict]:
    """A row for each recording, of what its name says.

    Raises UserError: if there is none, or a name says other than its folder.
    """
    rows, wrong = [], []
    for name in filter(is_audio, folder.checksums):
        match = RECORDING.fullmatch(name)
        if not match:
            continue
        row = match.groupdict(default="")
        parts = dict(ENTITY.findall(row.pop("stem")))
        own = row["participant_id"], row["session_id"]
        if (parts.pop("sub", own[0]), parts.pop("ses", own[1])) != own:
            wrong.append(Place(name))
        rows.append({**row, "file": name, **parts})
    if wrong:
        what = "that names another person or visit than its folders: rename one"
        raise UserError(
            f"{folder.address} can't be read:", [Problem("file", what, tuple(wrong))]
        )
    if not rows:
        raise UserError(
            f"{folder.address} holds no recording: expected files such as "
            "sub-01/ses-1/audio/sub-01_ses-1_task-vowel.wav."
        )
    return rows


def read_people(folder: AudioFolder) -> list[Table]:
    """participants.tsv and phenotype/**/*.tsv.

    What is left out is printed at once, as it may be why a column is not there.

    Raises UserError: naming all that can't be read.
    """
    tables, problems = [], []
    for name in filter(OF_PEOPLE.fullmatch, folder.checksums):
        file, dotted = f"{folder.address}/{name}", name.replace("/", ".")
        try:
            (table,) = read_tables([f"{dotted[:-4]}={file}"], needed=PERSON)
        except NoRows as error:
            print(f"left out: {error}")
            continue
        except UserError as error:
            problems.append(str(error))
            continue
        person = [column for column in PERSON if column in table.rows]
        if not person:
            print(f"left out: {file} has no column {', '.join(PERSON)}")
            continue
        rows = table.rows.replace(NOTHING, "")
        rows["participant_id"] = rows[person[0]].str.removeprefix("sub-")
        visit = [column for column in rows if column.endswith(VISIT)]
        visit = "session_id" if "session_id" in rows else "".join(visit)
        if visit in rows:  # of several it would be a guess
            rows["session_id"] = rows[visit].str.removeprefix("ses-")
        tables.append(dataclasses.replace(table, rows=rows))
    if problems:
        raise UserError(
            f"{folder.address} has tables that can't be read; mend them, or move them "
            "elsewhere:",
            problems,
        )
    return tables


def check_codes(rows: list[dict], tables: list[Table]):
    """Refuse tables of people or visits without recordings, as where 1 is not 01."""
    recordings, problems = pd.DataFrame(rows), []
    known = dict.fromkeys(
        [*_folders(recordings, with_visits=True), *_folders(recordings)]
    )
    has_visits = (recordings["session_id"] != "").any()
    for table in tables:
        codes = _folders(table.rows, has_visits and "session_id" in table.rows).unique()
        if known.keys().isdisjoint(codes):
            problems.append(
                f"{table.place} is about {listed(codes)}, which are no folders with "
                f"recordings; these are {listed([*known])}: codes should be names"
            )
    if problems:
        raise UserError("There are tables about nobody who has a recording:", problems)


def _folders(rows, with_visits=False):
    """What the folders of people, or of their visits, should be called."""
    names = "sub-" + rows["participant_id"]
    if not with_visits:
        return names
    visits = rows["session_id"]
    return names.where(visits == "", names + "/ses-" + visits)


def several_tables(tables: list[Table], asked: set[str]) -> list[str]:
    """Which columns that are asked for are in several tables, in lines."""
    lines = []
    for name in sorted(asked - {"participant_id", "session_id"}):
        stems = [t.name.rpartition(".")[2] for t in tables if name in t.rows]
        if len(stems) > 1:
            shown = " or ".join(f"{{{stem}.{name}}}" for stem in stems)
            lines.append(f"{name!r} is a column of {len(stems)} tables: take {shown}")
    return lines


def with_names(table: Table, asked: set[str]) -> Table:
    """A table of the columns that matter, with those that are asked for by
    `TABLE.COLUMN`, as where two tables have a column of one name."""
    rows, stem = table.rows, table.name.rpartition(".")[2]
    for name in asked - set(rows):
        column = name.removeprefix(f"{stem}.")
        if column in rows:
            rows[name] = rows[column]
    if not asked & set(rows):
        return table
    wanted = asked | {"participant_id", "session_id"}
    traits = [name for name in rows for t in TRAITS.values() if t.fullmatch(name)]
    columns = [name for name in rows if name in wanted or name in traits]
    return Table(table.name, table.place, rows[columns], table.notes)


def read_sidecar(folder: Path, file: str) -> dict:
    """Keys of a recording's sidecar, or of its FHIR items; {} where there is none."""
    stem = str(folder / file).rpartition(".")[0]
    bases = dict.fromkeys((stem, stem.removesuffix("_audio")))
    for path in (Path(name.format(base)) for base in bases for name in SIDECARS):
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            items = {
                item["linkId"]: next(iter(item["answer"][0].values()))
                for item in content.pop("item", [])
                if item.get("answer")
            }
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            reason = "expected keys with a value each, or FHIR's items with answers"
            reason = str(error) if isinstance(error, ValueError) else reason
            raise UserError(f"{path} can't be read as a sidecar: {reason}.") from error
        pairs = (content | items).items()
        return {
            key: value for key, value in pairs if isinstance(value, str | int | float)
        }
    return {}


if __name__ == "__main__":
    sys.exit(main())
