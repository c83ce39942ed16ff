"""One run at a time in a folder: a claim that ends with the process."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from local.utils.errors import UserError
from local.utils.files import remove_unfinished

logger = logging.getLogger(__name__)

CLAIM = ".claimed"

#: Folders that runs write to, and files that they add to or write in place.
WRITTEN_TO = (
    *("save", "save/manifests", "save/measurements", "figures", "evaluation"),
    *("log.txt", "env.log", "train_log.txt", "train.py", ".begun", ".complete"),
)


@contextlib.contextmanager
def claimed(folder: Path):
    """Keep a folder for one run at a time.

    The claim is a lock of the operating system's: whatever ends the process ends it,
    SIGKILL included. Processes that decode recordings don't hold it, nor does it
    outlast the run that they belong to. What a killed run was writing is removed.

    folder: Made if it is not there, and removed at the end if nothing was written to
        it.

    Yields file object: A program that is started with its descriptor (`pass_fds`) keeps
        the claim while it runs, even if what started it was killed.
    Raises UserError: if another process has claimed it, or links in it lead out of it.
    Raises OSError: if the folder can't be made or written to.

    >>> folder = getfixture("tmp_path") / "out"
    >>> with claimed(folder):
    ...     with claimed(folder):
    ...         pass
    Traceback (most recent call last):
    local.utils.errors.UserError: Another process works in ...
    """
    folder = Path(folder)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder / CLAIM) as file:
            try:
                refuse_links(folder, WRITTEN_TO)
                for place in (folder, *(folder / "save").glob("**/")):
                    remove_unfinished(place)
                yield file
            finally:
                (folder / CLAIM).unlink(missing_ok=True)
    finally:
        for path in new:
            with contextlib.suppress(OSError):  # not empty: something was written
                path.rmdir()


@contextlib.contextmanager
def _locked(path):
    """Open a file and lock it."""
    while True:
        with _opened(path) as file:
            # a forked process would hold the lock as long as it lives
            os.register_at_fork(after_in_child=file.close)
            _lock(file, path.parent)
            if not _is_at(file, path):
                continue  # whoever had it has just removed it
            yield file
            return


def refuse_links(folder: Path, names: Iterable[str]):
    """Refuse links that lead out of a folder, where a run would write through them.

    names: Paths below it.

    Raises UserError.
    """
    home = folder.resolve()
    links = [
        f"{folder / name} leads to {(folder / name).resolve()}"
        for name in names
        if (folder / name).is_symlink()
        and not (folder / name).resolve().is_relative_to(home)
    ]
    if links:
        raise UserError(
            "Results are written to the output folder only, and not through links out "
            "of it: replace these, or give another folder, which may be a link itself:",
            links,
        )


def _opened(path):
    """The file, made if it is not there; a link is not followed."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666))


def _lock(file, folder):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(
            f"Another process works in {folder}, maybe a part of a run that was "
            "killed: wait for its end, stop it, or give another folder."
        ) from error
    except OSError as error:  # some network drives can't
        logger.warning(
            "This drive has no locks (%s): don't start a second run in the same folder",
            error.strerror,
        )


def _is_at(file, path):
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
