"""Lay out a BIDS folder of recordings as a corpus.

    python recipes/bids/prepare.py --bids_folder=DIR --corpus_folder=OUT
        --label='NAME: CONDITION' … [--score='NAME: {COLUMN}' …]
        [--rater='NAME: {R1}, {R2}' …] [--keep=COLUMN …] [--heads='a,b;c']
        [--test_share=0.3 | --splits=COLUMN] [--seed=1986] [--dry_run]

Recordings are `sub-*/ses-*/audio/*_task-*.wav` (any folder, any audio; `ses-*` may be
missing). COLUMNs are those of participants.tsv, of phenotype/**/*.tsv, `task` and the
other parts of a file's name, and the keys of its sidecar. docs/your_data.md has more.
"""

import itertools
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.storage.addresses import is_remote  # noqa: E402
from local.utils.errors import UserError  # noqa: E402
from local.utils.problems import Place, Problem  # noqa: E402
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

#: Where a person's code may stand in a table.
PERSON = ("participant_id", "record_id", "subject_id")

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
    if is_remote(values["bids_folder"]):
        raise UserError(
            "--bids_folder takes a folder on disk: copy the bucket's first."
        )
    path = Path(values["bids_folder"])
    folder = AudioFolder.listed(str(path), "bids_folder")
    rows = recordings(folder)
    people, left_out = read_people(path)
    for line in left_out:  # at once, as it may be why a column is not there
        print(line)
    asked = {column for columns in given.labels.columns.values() for column in columns}
    kept = itertools.chain(*given.kept.values())
    asked |= {column for one in kept for column in one.columns}
    asked |= {values["splits"]} if values.get("splits") else set()
    if not asked <= {*rows[0]}.union(*(one.rows.columns for one in people)):
        rows = [read_sidecar(path, row["file"]) | row for row in rows]
    notes = several_tables(people, asked)
    people = [with_names(table, asked) for table in people]
    tables = [new_table(f"{path}/sub-*", rows, notes), *people]
    if asked <= set().union(*(table.rows.columns for table in tables)):
        asked_for = [table for table in people if asked & set(table.rows)]
        tables = [tables[0], *asked_for]
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
        pairs = (("sub", "participant_id"), ("ses", "session_id"))
        if any(parts.pop(key, row[column]) != row[column] for key, column in pairs):
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


def read_people(path: Path) -> tuple[list[Table], list[str]]:
    """participants.tsv and phenotype/**/*.tsv; what was left out, in lines.

    Raises UserError: naming all that can't be read.
    """
    files = [*path.glob("participants.tsv"), *sorted(path.glob("phenotype/**/*.tsv"))]
    tables, left_out, problems = [], [], []
    for file in files:
        name = ".".join(file.relative_to(path).with_suffix("").parts)
        try:
            (table,) = read_tables([f"{name}={file}"], needed=PERSON)
        except NoRows as error:
            left_out.append(f"left out: {error}")
            continue
        except UserError as error:
            problems.append(str(error))
            continue
        person = [column for column in PERSON if column in table.rows]
        if not person:
            left_out.append(f"left out: {file} has no column {', '.join(PERSON)}")
            continue
        rows = table.rows
        rows["participant_id"] = rows[person[0]].str.removeprefix("sub-")
        if "session_id" in rows:
            rows["session_id"] = rows["session_id"].str.removeprefix("ses-")
        tables.append(table)
    if problems:
        raise UserError(
            f"{path} has tables that can't be read; mend them, or move them elsewhere:",
            problems,
        )
    return tables, left_out


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
            }
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise UserError(f"{path} can't be read as a sidecar: {error!r}.") from error
        pairs = (content | items).items()
        return {
            key: value for key, value in pairs if isinstance(value, str | int | float)
        }
    return {}


if __name__ == "__main__":
    sys.exit(main())
