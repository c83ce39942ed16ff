"""Corpora whose layout is their own: read into tables, then laid out as any table.

A recipe's folder has a prepare.py, which reads what is there into tables, and a
corpus.yaml, which says of their columns what the table recipe is told of a
spreadsheet's: files, subjects, labels, what is kept.

    def main(arguments=None):
        return own_layout.run(__file__, __doc__, arguments, read)

    def read(source): ...     # → list of Table
"""

import re
import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from local.storage.addresses import local_path
from local.utils.errors import UserError
from recipes.corpus import exit_status
from recipes.table import lay_out, options
from recipes.table import prepare as table_recipe
from recipes.table.audio_folder import AudioFolder
from recipes.table.tables import Table


def run(
    script: str,
    description: str,
    arguments: Sequence[str] | None,
    read: Callable[[Path], list[Table]],
    convert: Callable[[Path, Path], None] | None = None,
) -> int:
    """Run the command line of a prepare.py; the exit status.

    script: The prepare.py; corpus.yaml lies beside it.
    read: Takes the corpus as it was published; gives its tables.
    convert: Takes the same and an empty folder; puts audio files there, where those of
        the corpus are none that this project reads. They are copied into the corpus.
    """
    recipe = Path(script).resolve().parent
    parser = options.new_parser(description, "the corpus as it was published")
    parser.prog = f"recipes/{recipe.name}/prepare.py"
    add, several = parser.add_argument, {"action": "extend", "nargs": "+"}
    add("--audio_folder", metavar="DIR", help="default: --source")
    add("--file", **several, metavar="PATTERN", help="default: as corpus.yaml says")
    add("--subject", **several, metavar="PATTERN", help="the same")
    parser.set_defaults(corpus_yaml=str(recipe / "corpus.yaml"))

    def make():
        values = options.read_options(parser, arguments, paths=("audio_folder",))
        source = _source(values, parser.prog)
        given = lay_out.Given.of(values)
        tables = read(source)
        with tempfile.TemporaryDirectory() as converted:
            below = values.get("audio_folder") or str(source)
            if convert:
                convert(source, Path(converted))
                below, values["copy"] = converted, True
            folder = AudioFolder.listed(below)
            corpus = table_recipe.read(values, given, tables, folder)
            again = f"{parser.prog} --source={shlex.quote(str(source))}"
            lay_out.lay_out(*corpus, values, given, again)

    return exit_status(make)


def _source(values, script):
    """The folder that `--source` names."""
    if not values.get("source"):
        raise UserError(
            f"Give --source=DIR, the folder of the corpus as it was published; "
            f"{Path(script).parent}/README.md says where it is to be had."
        )
    source = local_path(values["source"], "source")
    if not source.is_dir():
        raise UserError(f"--source should be a folder: there is no folder {source}.")
    return source


def new_table(place: str, rows: Sequence[dict], notes: Sequence[str] = ()) -> Table:
    """A table of what was read from many files.

    place: What messages call it.
    rows: Column → text; what a row lacks is empty.

    Raises UserError: if there is none.
    """
    if not rows:
        raise UserError(f"{place} were expected, and there are none.")
    frame = pd.DataFrame(rows, dtype=object).fillna("").astype(str)
    frame.columns = [" ".join(str(column).split()) for column in frame.columns]
    frame.index = pd.Index([None] * len(frame), dtype=object)
    return Table(Path(place).name, place, frame, tuple(notes))


def read_names(source: Path, pattern: str) -> list[dict]:
    """A row for each audio file whose path below a folder says what it is.

    pattern: Regular expression with named groups: the columns, beside `file`; in any
        case. Folders above what it describes may be there, as of an archive that was
        unpacked.
    """
    expected = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE)
    names = AudioFolder.listed(str(source), "source").checksums
    matches = {name: expected.fullmatch(name) for name in names}
    return [
        match.groupdict(default="") | {"file": name}
        for name, match in matches.items()
        if match
    ]
