"""What recipes share: a corpus folder appears whole or not at all, or a message."""

import contextlib
import csv
import filecmp
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from local.utils.errors import UserError
from local.utils.files import folder_beside


def exit_status(make: Callable) -> int:
    """Calls what makes a corpus; what stopped it is told in a message.

    make: Takes nothing, leaves nothing behind where it fails.

    Returns: 0; 2 for wrong input, 1 if the machine failed, 130 if the user stopped it.
    """
    try:
        make()
    except UserError as error:
        message, status = error, 2
    except (OSError, BrokenProcessPool) as error:
        message, status = f"The corpus could not be made: {error}", 1
    except KeyboardInterrupt:
        message, status = "Stopped; nothing was left behind.", 130
    else:
        return 0
    print(message, file=sys.stderr)
    return status


def check_folder(corpus_folder: Path):
    """Raises UserError: if a file is where the folder, or one above it, should be."""
    for path in (corpus_folder, *corpus_folder.parents):
        if path.exists() and not path.is_dir():
            raise UserError(f"corpus_folder should be a folder: {path} is a file")


def check_new(corpus_folder: Path):
    """Raises UserError: if a corpus folder has other content, or is none."""
    check_folder(corpus_folder)
    if corpus_folder.exists() and any(corpus_folder.iterdir()):
        raise UserError(
            f"corpus_folder should be new or empty: {corpus_folder} holds other "
            "content. Name another folder, or remove that one"
        )


@contextlib.contextmanager
def new_corpus(corpus_folder: str | Path):
    """Lends a temporary folder beside the corpus folder and renames it at the end.

    An existing corpus with exactly the same content is left as it is.

    corpus_folder: Where the corpus shall be; missing, empty or the same corpus.

    Yields folder: Path: The folder to write into.
    Raises UserError: if the corpus folder has other content. Nothing is changed then.
    """
    corpus_folder = Path(corpus_folder).resolve()
    check_folder(corpus_folder)
    with folder_beside(corpus_folder) as folder:
        yield folder
        if not corpus_folder.exists() or not any(corpus_folder.iterdir()):
            if corpus_folder.exists():
                corpus_folder.rmdir()
            folder.rename(corpus_folder)
            print(f"Wrote {corpus_folder}")
        elif _is_same(folder, corpus_folder):
            print(f"{corpus_folder} already holds exactly this corpus: left as it is")
        else:
            check_new(corpus_folder)


def write_metadata(folder: Path, encoding: str, sample_rate_hz: int, **others):
    """Writes a recording's metadata.json.

    folder: The recording's folder.
    encoding: E.g. "WAV".
    sample_rate_hz: As in the audio file's header.
    **others: Any other keys.
    """
    metadata = {"encoding": encoding, "sample_rate_hz": sample_rate_hz, **others}
    content = json.dumps(metadata, ensure_ascii=False) + "\n"
    (folder / "metadata.json").write_text(content, encoding="utf-8")


def write_rows(path: Path, rows: Sequence[dict], columns: Sequence[str] = ()):
    """Writes a CSV.

    path: The file; its folder is made.
    rows: At least one, whose keys are the columns, unless these are given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns or rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _is_same(one, other):
    """Whether two folders hold the same names and bytes; the top is compared first,
    so that a stranger's large folder is not read."""
    if one.is_dir() != other.is_dir():
        return False
    if not one.is_dir():
        return filecmp.cmp(one, other, shallow=False)
    names = {path.name for path in one.iterdir()}
    return names == {path.name for path in other.iterdir()} and all(
        _is_same(one / name, other / name) for name in sorted(names)
    )
