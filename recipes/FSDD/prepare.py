"""Lay the Free Spoken Digit Dataset out as a corpus, split by speaker.

    python recipes/FSDD/prepare.py --source=DIR --corpus_folder=DIR
        [--test_subjects=theo,lucas] [--val_subjects=NAME,...]

`--source` is a copy of the repository, or its folder `recordings`. Each of the ten
digits is a label of its own. The test speakers never appear in training.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from local.utils.usage import Parser  # noqa: E402
from recipes.corpus import (  # noqa: E402
    exit_status,
    new_corpus,
    write_metadata,
    write_rows,
)

LABELS_FILE = Path(__file__).with_name("labels.txt")
FILE_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>.+)_(?P<index>[0-9]+)\.wav")

#: What the dataset says of its speakers: sex and accent.
SPEAKERS = {
    "george": ("male", "GRC/Greek"),
    "jackson": ("male", "USA/neutral"),
    "lucas": ("male", "DEU/German"),
    "nicolas": ("male", "BEL/French"),
    "theo": ("male", "USA/neutral"),
    "yweweler": ("male", "DEU/German"),
}


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--corpus_folder", type=Path, required=True)
    parser.add_argument("--test_subjects", type=_names, default=["theo", "lucas"])
    parser.add_argument("--val_subjects", type=_names, default=[])
    given = parser.parse_args(arguments)
    return exit_status(lambda: make_corpus(given))


def make_corpus(given: argparse.Namespace):
    """Reads the source, writes the corpus, prints what went where."""
    rows, audio_files = read_source(given.source)
    splits = split_by_speaker(rows, given.test_subjects, given.val_subjects)
    with new_corpus(given.corpus_folder) as folder:
        write_corpus(folder, splits, audio_files)
    for name, split in splits.items():
        speakers = sorted({row["subject"] for row in split})
        print(f"{name}: {len(split)} recordings of {', '.join(speakers)}")


def read_source(source: Path) -> tuple[list[dict], dict]:
    """Finds the recordings, and says which files are none.

    source: The dataset's repository, or its folder `recordings`.

    Returns rows: One row of a split's CSV per recording.
    Returns audio_files: uid -> Path
    Raises UserError: if there are none.
    """
    folder = source / "recordings" if (source / "recordings").is_dir() else source
    if not folder.is_dir():
        raise UserError(f"source should be the dataset's folder: there is no {source}")
    files, others = [], []
    for path in sorted(folder.iterdir()):
        match = FILE_NAME.fullmatch(path.name)
        if match:
            key = match["speaker"], match["digit"], int(match["index"])
            files.append((key, path))
        elif not path.name.startswith("."):
            others.append(path.name)
    pattern = "{digit}_{speaker}_{index}.wav"
    if not files:
        raise UserError(f"Expected files named {pattern}; {folder} holds none.", others)
    if others:
        print(
            UserError(f"Left out, since their name is not {pattern}:", others),
            file=sys.stderr,
        )
    files.sort()
    labels = LABELS_FILE.read_text(encoding="utf-8").strip().split(",")
    rows = [
        _row(path.stem, speaker, labels, labels[int(digit)])
        for (speaker, digit, _), path in files
    ]
    return rows, {path.stem: path for _, path in files}


def split_by_speaker(
    rows: list[dict], test_subjects: Sequence[str], val_subjects: Sequence[str] = ()
) -> dict:
    """Puts each speaker's recordings into one split.

    rows: From `read_source`.
    test_subjects, val_subjects: Speakers; all others are for training.

    Returns splits: "train", "test" and, with `val_subjects`, "val" -> rows.
    Raises UserError: if a speaker is unknown or in two splits, or a split is empty.
    """
    speakers = sorted({row["subject"] for row in rows})
    present = f"the source has {', '.join(speakers)}"
    unknown = sorted({*test_subjects, *val_subjects} - set(speakers))
    if unknown:
        raise UserError(f"There are no recordings of {', '.join(unknown)}: {present}.")
    both = sorted(set(test_subjects) & set(val_subjects))
    if both:
        raise UserError(
            f"{', '.join(both)} can't be in test_subjects and in val_subjects."
        )
    taken = {*test_subjects, *val_subjects}
    if not test_subjects or taken == set(speakers):
        raise UserError(
            f"Both training and test need a speaker: {present}, test_subjects are "
            f"{', '.join(test_subjects) or 'none'}, val_subjects "
            f"{', '.join(val_subjects) or 'none'}."
        )
    splits = {
        "train": [row for row in rows if row["subject"] not in taken],
        "test": [row for row in rows if row["subject"] in test_subjects],
    }
    if val_subjects:
        splits["val"] = [row for row in rows if row["subject"] in val_subjects]
    return splits


def write_corpus(folder: Path, splits: dict, audio_files: dict):
    """Writes audio, metadata, splits and labels.

    folder: The corpus folder, empty.
    splits: From `split_by_speaker`.
    audio_files: uid -> Path
    """
    problems = []
    for uid, path in audio_files.items():
        try:
            sample_rate = soundfile.info(path).samplerate
        except soundfile.LibsndfileError as error:
            problems.append(f"{path.name}: {error.error_string}")
            continue
        recording = folder / "audio" / uid
        recording.mkdir(parents=True)
        shutil.copyfile(path, recording / "waveform.wav")
        write_metadata(recording, encoding="WAV", sample_rate_hz=sample_rate)
    if problems:
        raise UserError("Recordings that can't be read as WAV:", problems)
    for name, rows in splits.items():
        write_rows(folder / "splits" / f"{name}.csv", rows)
    shutil.copyfile(LABELS_FILE, folder / "labels.txt")


def _row(uid, speaker, labels, spoken):
    sex, accent = SPEAKERS.get(speaker, ("", ""))
    return {
        "uid": uid,
        "subject": speaker,
        **{label: int(label == spoken) for label in labels},
        "sex": sex,
        "accent": accent,
    }


def _names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main())
