"""Lay the Speech Accessibility Project's data out as a corpus: one JSON per speaker.

    python recipes/SAP/prepare.py --source=DIR --corpus_folder=OUT
        [--label='NAME: {DIMENSION} >= 3' …] [--test_share=0.3] [--dry_run]

`--source` holds `Train` and `Dev`, with a folder of wav files and one JSON per speaker
somewhere below. Columns are the dimensions that were rated, in lower case.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from recipes import own_layout  # noqa: E402
from recipes.table.tables import Table  # noqa: E402

#: What a rating calls the dimension, and what was heard on it.
DIMENSION, LEVEL = "Dimension Description", "Level"

#: Top folder → split.
PARTS = {"train": "train", "dev": "test"}


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    return own_layout.run(__file__, __doc__, arguments, read)


def read(source: Path) -> list[Table]:
    """The recordings of all speakers."""
    rows = []
    for path in sorted(source.rglob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict) and "Files" in content:
                rows += [
                    read_file(path, source, content, of) for of in content["Files"]
                ]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            reason = f", as it has no {error}" if isinstance(error, KeyError) else ""
            raise UserError(
                f"{path} is no JSON of a speaker as it is known{reason}: expected "
                "Etiology and Files, each with Filename, Prompt and Ratings of "
                f"{DIMENSION} and {LEVEL}."
            ) from error
    return [own_layout.new_table(f"{source}/**/*.json with Files", rows)]


def read_file(path: Path, source: Path, content: dict, file: dict) -> dict:
    """The row of a recording.

    path: The JSON of its speaker, whose recordings lie beside it.
    content: All that it says.
    file: What it says of this recording.
    """
    folder = path.parent.relative_to(source)
    ratings = {
        one[DIMENSION].lower(): str(one[LEVEL]) for one in file.get("Ratings", [])
    }
    return ratings | {
        "file": (folder / file["Filename"]).as_posix(),
        "speaker": str(content.get("Contributor ID", path.stem)),
        "etiology": content["Etiology"],
        "part": PARTS.get("".join(folder.parts[:1]).lower(), ""),
        "category": file["Prompt"].get("Category Description", ""),
    }


if __name__ == "__main__":
    sys.exit(main())
