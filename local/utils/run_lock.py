"""One run at a time in a folder: a claim that ends with the process."""

import contextlib
import errno
import logging
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from local.utils.errors import UserError
from local.utils.files import remove_unfinished

logger = logging.getLogger(__name__)

CLAIM = ".claimed"

#: How drives, such as some of networks, say that they have no locks.
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}

#: Folders that runs write to, and files that they add to or write in place.
WRITTEN_TO = (
    *("save", "save/manifests", "save/measurements", "save/features"),
    *("figures", "baselines", "evaluation"),
    *("log.txt", "env.log", "train_log.txt", "train.py", ".begun", ".complete"),
)


@contextlib.contextmanager
def claimed(folder: Path):
    """Keep a folder for one run at a time.

    The claim is a lock of the operating system's: whatever ends the process ends it,
    SIGKILL included. Processes that are forked, as those that decode recordings, don't
    hold it. What a killed run was writing is removed.

    folder: Made if it is not there, and removed at the end if nothing was written to
        it.

    Yields descriptors: A program that is started with them (`pass_fds`) keeps the claim
        while it runs, even if what started it was killed. None where the drive has no
        locks: a warning says so.
    Raises UserError: if another process has claimed it, or links in it lead out of it.
    Raises OSError: if the folder can't be made or written to, or its claim is a link.

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
        with _locked(folder / CLAIM) as descriptors:
            try:
                refuse_links(folder, WRITTEN_TO)
                for place in (folder, *(folder / "save").glob("**/")):
                    remove_unfinished(place)
                yield descriptors
            finally:
                (folder / CLAIM).unlink(missing_ok=True)
    finally:
        for path in new:
            with contextlib.suppress(OSError):  # not empty: something was written
                path.rmdir()


@contextlib.contextmanager
def claimed_by_main(folder: Path):
    """`claimed`, where the main process of several holds the claim for all.

    None of them goes on before it has: what it then removes may be theirs.
    """
    from speechbrain.utils.distributed import (  # which takes long
        ddp_barrier,
        if_main_process,
    )

    with claimed(folder) if if_main_process() else contextlib.nullcontext():
        ddp_barrier()
        yield


@contextlib.contextmanager
def _locked(path):
    """Lock a file; lends the descriptors that hold the lock."""
    descriptors = []
    lock = FileLock(
        path, blocking=False, fallback_to_soft=False, on_acquired=descriptors.append
    )
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"Another process works in {path.parent}, maybe a part of a run that was "
            "killed: wait for its end, stop it, or give another folder."
        ) from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        logger.warning(
            "This drive has no locks (%s): don't start a second run in the same folder",
            error.strerror,
        )
    try:
        yield descriptors
    finally:
        lock.release()


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
