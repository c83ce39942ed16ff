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
    names: Paths below it, or patterns of them (`*.csv`). Files that the block does not
        write are removed: they would be an earlier run's. The last one vouches for the
        others: while they are moved it is not there.

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
        write_json(begun / MOVES, {"move": files_of(begun, names)})
        begun.rename(folder / COMPLETE)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    finish(folder, names)


def finish(folder: str | Path, names: Sequence[str]):
    """Move files to their places that are complete, if a kill has left any.

    names: Paths or patterns below it: no others are touched, whatever a folder from
        elsewhere says.
    """
    complete = Path(folder) / COMPLETE
    if not (complete / MOVES).exists():
        shutil.rmtree(complete, ignore_errors=True)  # all but removed
        return
    try:
        moved = set(read_json(complete / MOVES)["move"])
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{complete / MOVES} is damaged ({error}): delete {complete}, which a run "
            "that was killed has left."
        ) from error
    # what is not there any more a killed run has moved
    to_move = [name for name in files_of(complete, names) if name in moved]
    if to_move:
        (Path(folder) / to_move[-1]).unlink(missing_ok=True)
    for name in set(files_of(folder, names)) - moved:
        (Path(folder) / name).unlink(missing_ok=True)
    for name in to_move:
        place = Path(folder) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (complete / name).replace(place)
    (complete / MOVES).unlink()
    shutil.rmtree(complete)


def files_of(folder: str | Path, names: Sequence[str]) -> list[str]:
    """The files of a folder that are called so, in this order.

    names: Paths or patterns below it.

    >>> folder = getfixture("tmp_path")
    >>> for name in ("a.csv", "b.csv", "c.txt"):
    ...     _ = (folder / name).write_text("")
    >>> files_of(folder, ["c.txt", "*.csv", "d.txt"])
    ['c.txt', 'a.csv', 'b.csv']
    """
    return [
        path.relative_to(folder).as_posix()
        for name in names
        for path in sorted(Path(folder).glob(name))
    ]
