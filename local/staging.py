"""Replacing several files together, so that a kill leaves the old or the new ones.

New files are written to a folder beside the old ones. Once all of them are on disk, the
folder gets another name, by which they are the valid ones, and they are moved to their
places. What a kill interrupts after that is finished by the next run.
"""

import contextlib
import shutil
from pathlib import Path

from local.files import read_json, write_json

#: Folders in the output folder: not complete yet; complete, to be moved.
BEGUN, COMPLETE = ".begun", ".complete"

#: In the latter, what is to be moved, and what there is no new one of.
MOVES = "moves.json"


@contextlib.contextmanager
def replaced_together(folder, names):
    """Lends an empty folder whose files take the places of others at the end.

    Arguments
    ---------
    folder : str or pathlib.Path
        Made if it is not there.
    names : sequence of str
        Paths below it. Files that the block does not write are removed: they would be
        an earlier run's. The last one vouches for the others: while they are moved it
        is not there.

    Yields
    ------
    Path
        The folder to write to.

    Raises
    ------
    OSError
        If something can't be written; then everything stays as it was.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "old.txt").write_text("of an earlier run")
    >>> with replaced_together(folder, ["old.txt", "new.txt"]) as staged:
    ...     _ = (staged / "new.txt").write_text("done")
    >>> [file.name for file in folder.iterdir()]
    ['new.txt']
    """
    folder = Path(folder)
    finish(folder)
    begun = folder / BEGUN
    shutil.rmtree(begun, ignore_errors=True)  # a killed run's
    begun.mkdir(parents=True)
    try:
        yield begun
        written = [name for name in names if (begun / name).exists()]
        gone = [name for name in names if name not in written]
        write_json(begun / MOVES, {"move": written, "remove": gone})
        begun.rename(folder / COMPLETE)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    finish(folder)


def finish(folder):
    """Move files to their places that are complete, if a kill has left any.

    Arguments
    ---------
    folder : str or pathlib.Path
    """
    complete = Path(folder) / COMPLETE
    if not (complete / MOVES).exists():
        shutil.rmtree(complete, ignore_errors=True)  # all but removed
        return
    moves = read_json(complete / MOVES)
    *others, last = moves["move"]
    if (complete / last).exists():
        (Path(folder) / last).unlink(missing_ok=True)
    for name in moves["remove"]:
        (Path(folder) / name).unlink(missing_ok=True)
    for name in [*others, last]:
        if (complete / name).exists():  # else a killed run has moved it
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (complete / name).replace(Path(folder) / name)
    (complete / MOVES).unlink()
    shutil.rmtree(complete)
