"""Lay the Speech Accessibility Project's data out as a corpus: one JSON per speaker.

    python recipes/SAP/prepare.py --source=DIR --corpus_folder=OUT
        [--label='NAME: {DIMENSION} >= 3' …] [--test_share=0.3] [--dry_run]

`--source` holds `Train` and `Dev`, with a folder of wav files and one JSON per speaker
somewhere below. Columns are the dimensions that were rated, in lower case.
"""

import json
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from recipes import own_layout  # noqa: E402
from recipes.table.audio_folder import AudioFolder, is_audio  # noqa: E402
from recipes.table.tables import Table  # noqa: E402

#: What a rating calls the dimension, and what was heard on it.
DIMENSION, LEVEL = "Dimension Description", "Level"

#: A dimension that releases have under two names.
MISSPELT = {"intelligbility": "intelligibility"}

#: Folder → split.
PARTS = {"train": "train", "dev": "test"}


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    return own_layout.run(__file__, __doc__, arguments, read)


def read(source: Path) -> list[Table]:
    """The recordings of all speakers, each once, as some JSONs are there twice."""
    names = AudioFolder.listed(str(source), "source").checksums
    places = {PurePosixPath(name).name: name for name in filter(is_audio, names)}
    rows = {}
    for path in [source / name for name in names if name.endswith(".json")]:
        try:  # not strict, as transcripts hold line ends
            content = json.loads(path.read_text(encoding="utf-8"), strict=False)
            if not isinstance(content, dict) or "Files" not in content:
                continue
            for file in content["Files"]:
                name = str(file["Filename"])
                row = read_file(content, file)
                row["file"] = places.get(name, name)
                row["speaker"] = str(content.get("Contributor ID", path.stem))
                rows[row["speaker"], name] = row
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            kinds = {KeyError: f"it has no {error}", json.JSONDecodeError: str(error)}
            reason = kinds.get(type(error), "it holds something else")
            raise UserError(
                f"{path} is no JSON of a speaker as it is known ({reason}): expected "
                "Etiology and Files, each with Filename, Prompt and Ratings of "
                f"{DIMENSION} and {LEVEL}."
            ) from error
    for row in rows.values():
        folders = row["file"].lower().split("/")
        row["part"] = next((PARTS[name] for name in folders if name in PARTS), "")
    return [own_layout.new_table(f"{source}/**/*.json with Files", list(rows.values()))]


def read_file(content: dict, file: dict) -> dict:
    """What is said of a recording.

    content: The JSON of its speaker.
    file: Of it, what is about this recording.
    """
    ratings = {}
    for rating in file.get("Ratings") or []:
        name = " ".join(rating[DIMENSION].lower().split())
        ratings[MISSPELT.get(name, name)] = str(rating[LEVEL])
    return ratings | {
        "etiology": content["Etiology"],
        "category": file["Prompt"].get("Category Description", ""),
    }


if __name__ == "__main__":
    sys.exit(main())
