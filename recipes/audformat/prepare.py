"""Lay out CSVs of audformat or nkululeko as a corpus.

    python recipes/audformat/prepare.py --csv=[SPLIT=]FILE … --corpus_folder=OUT
        --label='NAME: CONDITION' … [--score='NAME: {COLUMN}' …] [--keep=COLUMN …]
        [--audio_folder=DIR] [--subject='{speaker}'] [--heads='a,b;c']
        [--test_share=0.3 | --splits=COLUMN] [--seed=1986] [--dry_run]

CSVs have a column `file`, maybe `start` and `end` (as `0 days 00:00:01.5`, or seconds),
`speaker`, `gender`, `age` and targets; speakers may be in a CSV of their own. Those
called train, dev and test are the splits. docs/your_data.md has more.
"""

import dataclasses
import os
import posixpath
import re
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.storage.addresses import absolute, is_remote  # noqa: E402
from local.utils.errors import UserError  # noqa: E402
from local.utils.problems import Place, Problem  # noqa: E402
from recipes.table import lay_out, options  # noqa: E402
from recipes.table import prepare as table_recipe  # noqa: E402
from recipes.table.audio_folder import AudioFolder  # noqa: E402
from recipes.table.patterns import TABLE, Pattern  # noqa: E402
from recipes.table.people import SPLITS  # noqa: E402
from recipes.table.source import ADVICE, DATE, Source  # noqa: E402
from recipes.table.tables import Table, named_files, read_tables  # noqa: E402

#: Columns that are kept under the names of this project.
KEPT = {"sex": "gender", "age": "age", "start_s": "start_s", "end_s": "end_s"}

#: A time with a unit; pandas takes 0,5 for 5 nanoseconds.
UNIT = re.compile(r"[^,]*[a-zA-Z:][^,]*")

#: How times say that there is none.
NO_TIME = ("", "NaT", "nan", "None", "<NA>")


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = options.new_parser(__doc__)
    parser.prog = "recipes/audformat/prepare.py"
    add, several = parser.add_argument, {"action": "extend", "nargs": "+"}
    add("--csv", **several, metavar="[SPLIT=]FILE", help="with a column file")
    add("--audio_folder", metavar="DIR", help="where paths begin; default: each CSV's")
    add("--subject", **several, metavar="PATTERN", help="default: {speaker}")
    return lay_out.run(parser, arguments, read, paths=("csv", "audio_folder"))


def read(values: dict, given: lay_out.Given) -> tuple[Source, AudioFolder]:
    """The recordings, or segments of recordings, that the CSVs name."""
    if not values.get("csv"):
        raise UserError("Give --csv=FILE, with a column 'file'; several are possible.")
    asked = {column for columns in given.labels.columns.values() for column in columns}
    below = values.get("audio_folder")
    tables = [read_csv(text, below) for text in values["csv"]]
    people = [table for table in tables if "file" not in table.rows]
    tables = [table for table in tables if "file" in table.rows]
    if not tables:
        raise UserError("A CSV with the labels and a column 'file' is missing.")
    folder = place_files(tables, below)
    tables = join(tables, asked)
    choose_splits(tables, values)
    tables += people
    columns = dict.fromkeys(column for table in tables for column in table.rows)
    subject = values.get("subject", ["{speaker}"])
    if subject == ["{speaker}"] and "speaker" not in columns:
        raise UserError(
            "There is no column 'speaker', by which people are kept in one split: give "
            f"another, as --subject='{{COLUMN}}'; there are {', '.join(columns)}."
        )
    problems = [problem for table in tables for problem in read_times(table)]
    for name, column in KEPT.items():
        if any(column in table.rows for table in tables):
            given.kept.setdefault(name, [Pattern.parse(f"{{{column}}}", "--keep")])
    patterns = {"file": ["{file}"], "subject": subject}
    source, folder = table_recipe.read(values | patterns, given, tables, folder)
    source.problems += problems
    return source, folder


def read_csv(text: str, audio_folder: str | None) -> Table:
    """A table whose column `file` holds whole paths; one of speakers as it is.

    text: `FILE`, or `SPLIT=FILE`.
    """
    ((_, path),) = named_files([text])
    (table,) = read_tables([text], needed=["file", "speaker"])
    if "file" not in table.rows:
        if "speaker" in table.rows and table.rows["speaker"].is_unique:
            return table
        raise UserError(
            f"{path} has no column 'file': there are {', '.join(table.rows)}. A table "
            "with other names is laid out by recipes/table/prepare.py."
        )
    nothing = table.rows["file"] == ""
    if nothing.any():
        rows = nothing.index[nothing]
        places = tuple(Place(None, table.place, row) for row in rows)
        problem = Problem("empty cell", "in column 'file'", places)
        raise UserError(f"{path} can't be used:", [problem])
    base = absolute(audio_folder or str(path.parent), "audio_folder")
    files = table.rows["file"]
    whole = files.str.startswith("/") | files.map(is_remote)
    paths = files.where(whole, f"{base}/" + files)
    local = ~paths.map(is_remote)
    paths = paths.mask(local, paths[local].map(posixpath.normpath))
    inside = paths.str.startswith(f"{base.rstrip('/')}/")
    stray = ~whole & ~inside
    if stray.any() and (inside | whole).any():  # or all are beside the CSV's folder
        places = tuple(
            Place(file, table.place, row) for row, file in files[stray].items()
        )
        what = f"that leads out of {base}, where the other paths begin"
        advice = "correct it, or write the whole path"
        problem = Problem("path", what, places, advice)
        raise UserError(f"{path} can't be used:", [problem])
    return dataclasses.replace(table, rows=table.rows.assign(file=paths))


def place_files(tables: list[Table], audio_folder: str | None) -> AudioFolder:
    """The folder that all files are below; `file` becomes what is below it.

    Raises UserError: for files elsewhere.
    """
    files = pd.concat([table.rows["file"] for table in tables])
    if audio_folder:
        root = absolute(audio_folder, "audio_folder")
    elif files.map(is_remote).any():
        raise UserError("Give --audio_folder=gs://…, that files in a bucket are below.")
    else:
        root = posixpath.commonpath(list(files.map(posixpath.dirname)))
    root = root.rstrip("/")
    if not root:
        raise UserError(
            "The files have no folder in common but /, which would become the corpus's "
            "audio folder: give --audio_folder, and remove rows with files elsewhere."
        )
    wrong = ~files.str.startswith(f"{root}/")
    if wrong.any():
        places = tuple(map(Place, files[wrong]))
        what = f"not below {root}: give another --audio_folder, or none"
        raise UserError("The CSVs can't be used:", [Problem("file", what, places)])
    for table in tables:
        table.rows["file"] = table.rows["file"].str.removeprefix(f"{root}/")
    if is_remote(root):
        return AudioFolder.listed(root)
    # only folders that are named, as the one above may hold everything
    below = {posixpath.dirname(file) for file in files}
    names = [
        f"{folder}/{name}".removeprefix(f"{root}/")
        for folder in below
        if Path(folder).is_dir()
        for name in os.listdir(folder)  # noqa: PTH208 - only names are wanted
    ]
    if not names:
        raise UserError(
            f"The CSVs name files such as {files.iloc[0]}, and there is no such folder "
            "or nothing in it: give --audio_folder, where their paths begin."
        )
    return AudioFolder(root, dict.fromkeys(sorted(names)))


def join(tables: list[Table], asked: set[str]) -> list[Table]:
    """The CSVs that labels ask for, with what the others say of the same files.

    As audformat has the speakers of its files in a table of their own.

    Raises UserError: if one of the others has several rows of a file.
    """
    files, others, chosen = set(), [], []
    for table in tables:
        files |= set(table.rows["file"]) if asked & set(table.rows) else set()
    for table in tables:
        is_other = table.rows["file"].isin(files).any() and not asked & set(table.rows)
        (others if is_other else chosen).append(table)
    for other in others:
        known = other.rows.set_index("file")
        if not known.index.is_unique:
            twice = other.rows["file"][other.rows["file"].duplicated(keep=False)]
            places = tuple(Place(name, other.place, row) for row, name in twice.items())
            what = "in several rows of a CSV that no label asks for"
            advice = "keep one row for each file, or leave the CSV out"
            problem = Problem("file", what, places, advice)
            raise UserError(f"{other.place} can't be used:", [problem])
        for rows in (table.rows for table in chosen):
            for column in known.columns.difference(rows.columns):
                rows[column] = rows["file"].map(known[column]).fillna("")
    return chosen


def read_times(table: Table) -> list[Problem]:
    """Give a table `start_s` and `end_s` if it has segments; what can't be read."""
    problems = []
    for column in [name for name in ("start", "end") if name in table.rows]:
        seconds = table.rows[column].map(seconds_of)
        wrong = seconds.isna()
        if wrong.any():
            places = tuple(
                Place(cell, table.place, row)
                for row, cell in table.rows.loc[wrong, column].items()
            )
            what = f"in column {column!r} with no time, as '0 days 00:00:01.5' or 1.5"
            is_date = any(DATE.fullmatch(place.value) for place in places)
            advice = ADVICE if is_date else ""
            problems.append(Problem("cell", what, places, advice))
        table.rows[f"{column}_s"] = seconds.fillna("")
    if "start_s" in table.rows and "end_s" in table.rows:
        is_whole = (table.rows["start_s"] == "0") & (table.rows["end_s"] == "")
        table.rows.loc[is_whole, "start_s"] = ""
    return problems


def seconds_of(text: str) -> str | None:
    """Seconds, as text; "" for none, None for what is no time.

    >>> seconds_of("0 days 00:01:01.5"), seconds_of("2.50"), seconds_of("NaT")
    ('61.5', '2.5', '')
    """
    if text in NO_TIME:
        return ""
    try:
        is_number = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text)
        if not is_number and not UNIT.fullmatch(text):
            return None
        value = float(text) if is_number else pd.Timedelta(text).total_seconds()
    except ValueError:
        return None
    return f"{value:.10g}"


def choose_splits(tables: list[Table], values: dict):
    """Have the CSVs' names say the splits, if there is one to train and one to test.

    Raises UserError: if others are there that may be of any split.
    """
    names = [split_of(table.name) for table in tables]
    if values.get("splits", TABLE) != TABLE or "test" not in names:
        return
    if "train" not in names:
        raise UserError(
            "There is a CSV of the split test and none of train: give "
            "--csv=train=FILE, or names of which none says test, to have people drawn."
        )
    unknown = [t.place for t, name in zip(tables, names, strict=True) if name is None]
    if unknown:
        raise UserError(
            f"Of which split is {', '.join(unknown)}? The names of the others say it: "
            "give --csv=train=FILE, --csv=dev=FILE or --csv=test=FILE."
        )
    tables[:] = [
        dataclasses.replace(table, name=name)
        for table, name in zip(tables, names, strict=True)
    ]
    values["splits"] = TABLE


def split_of(name: str) -> str | None:
    """The split that a CSV's name says.

    >>> split_of("db.emotion.categories.train.gold_standard"), split_of("emodb-dev")
    ('train', 'val')
    """
    words = {SPLITS.get(word) for word in re.split(r"[\W_]+", name.lower())} - {None}
    return words.pop() if len(words) == 1 else None


if __name__ == "__main__":
    sys.exit(main())
