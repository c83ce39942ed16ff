"""Replacing several files together, so that a kill leaves the old or the new ones.

New files are written to a folder beside the old ones. Once all of them are on disk, the
folder gets another name, by which they are the valid ones, and they are moved to their
places. What a kill interrupts after that is finished by the next run.
"""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from local.utils.errors import UserError
from local.utils.files import read_json, write_json

#: Folders in the output folder: not complete yet; complete, to be moved.
BEGUN, COMPLETE = ".begun", ".complete"

#: In the latter, what is to be moved; of other names there is no new file.
MOVES = "moves.json"


@contextlib.contextmanager
def replaced_together(folder: str | Path, names: Sequence[str]):
    """Lends an empty folder whose files take the places of others at the end.

    folder: Made if it is not there.
    names: Paths below it. Files that the block does not write are removed: they would
        be an earlier run's. The last one vouches for the others: while they are moved
        it is not there.

    Yields Path: The folder to write to.
    Raises OSError: if something can't be written; then everything stays as it was.

    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "old.txt").write_text("of an earlier run")
    >>> with replaced_together(folder, ["old.txt", "new.txt"]) as staged:
    ...     _ = (staged / "new.txt").write_text("done")
    >>> [file.name for file in folder.iterdir()]
    ['new.txt']
    """
    folder = Path(folder)
    finish(folder, names)
    begun = folder / BEGUN
    shutil.rmtree(begun, ignore_errors=True)  # a killed run's
    begun.mkdir(parents=True)
    try:
        yield begun
        written = [name for name in names if (begun / name).exists()]
        write_json(begun / MOVES, {"move": written})
        begun.rename(folder / COMPLETE)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    finish(folder, names)


def finish(folder: str | Path, names: Sequence[str]):
    """Move files to their places that are complete, if a kill has left any.

    names: Paths below it: no others are touched, whatever a folder from elsewhere says.
    """
    complete = Path(folder) / COMPLETE
    if not (complete / MOVES).exists():
        shutil.rmtree(complete, ignore_errors=True)  # all but removed
        return
    try:
        moved = read_json(complete / MOVES)["move"]
        written = [name for name in names if name in moved]
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{complete / MOVES} is damaged ({error}): delete {complete}, which a run "
            "that was killed has left."
        ) from error
    if written and (complete / written[-1]).exists():
        (Path(folder) / written[-1]).unlink(missing_ok=True)
    for name in set(names) - set(written):
        (Path(folder) / name).unlink(missing_ok=True)
    for name in written:
        if (complete / name).exists():  # else a killed run has moved it
            place = Path(folder) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            (complete / name).replace(place)
    (complete / MOVES).unlink()
    shutil.rmtree(complete)
