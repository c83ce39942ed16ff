"""Lay out a corpus from spreadsheets and a folder of audio.

    python recipes/table/prepare.py --table=[NAME=]FILE.xlsx|.csv|.tsv …
        --audio_folder=DIR --corpus_folder=OUT --file='{Subject code}_*.wav'
        --subject='{Subject code}' --label='NAME: CONDITION' …
        [--score='NAME: {COLUMN}' …] [--rater='NAME: {R1}, {R2}' …] [--keep=COLUMN …]
        [--sheet=[NAME=]SHEET]
        [--heads='a,b;c'] [--test_share=0.3 | --splits=COLUMN] [--seed=1986] [--dry_run]
    python recipes/table/prepare.py CORPUS.yaml [--source=DIR] [--corpus_folder=OUT]

It says what it understood before it writes anything, and writes nothing where it would
have to guess. docs/your_data.md describes all of it.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from recipes.table import lay_out, options  # noqa: E402
from recipes.table.audio_folder import AudioFolder  # noqa: E402
from recipes.table.matching import file_pattern  # noqa: E402
from recipes.table.patterns import Pattern  # noqa: E402
from recipes.table.reader import TableOptions, read_source  # noqa: E402
from recipes.table.source import Source  # noqa: E402
from recipes.table.tables import Table  # noqa: E402

#: What can't be left out.
NEEDED = ("table", "audio_folder", "file", "subject")


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = options.new_parser(__doc__)
    parser.prog = "recipes/table/prepare.py"
    add, several = parser.add_argument, {"action": "extend", "nargs": "+"}
    add("--table", **several, metavar="[NAME=]FILE", help="xlsx, csv or tsv")
    add("--sheet", **several, metavar="[NAME=]SHEET", help="of a workbook")
    add("--audio_folder", metavar="DIR", help="local, or gs://bucket/folder")
    add("--file", **several, metavar="PATTERN", help="'{COLUMN}_*.wav'")
    add("--subject", **several, metavar="PATTERN", help="'{COLUMN}'")
    return lay_out.run(parser, arguments, read, paths=("table", "audio_folder"))


def read(
    values: dict,
    given: lay_out.Given,
    tables: list[Table] | None = None,
    folder: AudioFolder | None = None,
) -> tuple[Source, AudioFolder]:
    """Read the tables and list the audio folder.

    tables, folder: In place of those that the options name.
    """
    known = {"table": tables, "audio_folder": folder} | values
    absent = [key for key in NEEDED if not known.get(key)]
    if absent:
        raise UserError(
            f"{' and '.join(f'--{key}' for key in absent)} is missing; as in: "
            "python recipes/table/prepare.py --table=people.xlsx --audio_folder=wav "
            "--file='{Code}_*.wav' --subject='{Code}' --label='strained: {Strained}' "
            "--corpus_folder=my_corpus"
        )
    columns = dict(given.labels.columns)
    if values.get("splits"):
        columns[f"--splits={values['splits']!r}"] = [values["splits"]]
    table_options = TableOptions(
        tables=values.get("table", []),
        sheets=values.get("sheet", []),
        files=[file_pattern(text) for text in values["file"]],
        subjects=[Pattern.parse(text, "--subject") for text in values["subject"]],
        kept=given.kept,
        columns=columns,
        accepted=given.accepted,
    )
    folder = folder or AudioFolder.listed(values["audio_folder"])
    return read_source(table_options, folder, tables), folder


if __name__ == "__main__":
    sys.exit(main())
