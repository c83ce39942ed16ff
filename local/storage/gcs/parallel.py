"""Downloading many objects at a time."""

import concurrent.futures
import functools
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from local.storage.gcs.addresses import RemoteObject
from local.storage.gcs.clients import N_CONNECTIONS
from local.storage.gcs.downloads import download
from local.storage.gcs.errors import Denied, RemoteError, Unreachable
from local.storage.gcs.patience import Patience
from local.utils.errors import UserError
from local.utils.progress import progress as shown

#: Downloads at a time: they wait for the network far more than they compute.
N_THREADS = 32


def download_many(
    pairs: Iterable[tuple[RemoteObject, str | Path]],
    progress: bool = True,
    n_threads: int = N_THREADS,
    patience: Patience | None = None,
    fetch: Callable = download,
):
    """Download objects in parallel.

    pairs: What to download, and to which file.
    progress: Show how far it has come.
    n_threads: How many at a time.
    patience: For each of them.
    fetch: Downloads one object; takes the arguments of `download`.

    Raises UserError, RemoteError: After all others were downloaded: all failures in one
        message, a UserError if every one is (access denied, gone). Its `failures` is a
        dict of RemoteObject to its own error. Once access was denied, or the bucket
        could not be reached up to the deadline, objects not yet begun are not tried;
        they are no failures, and counted in the message.
    Raises OSError: At once, if a file can't be written.
    """
    # Not transfer_manager.download_many: it opens the file under its final name and
    # leaves a half one there after most errors, checks nothing after a resumed
    # download, fetches no wrong object again, and reports only when all are done.
    pairs = list(pairs)
    patience = patience or Patience.from_environment()
    stop, dead = threading.Event(), threading.Event()
    fetch = functools.partial(fetch, patience=patience, stop=stop)
    with (
        _shown(pairs, progress) as step,
        concurrent.futures.ThreadPoolExecutor(min(n_threads, N_CONNECTIONS)) as pool,
    ):
        jobs = {
            pool.submit(_try, fetch, remote, path, dead): remote
            for remote, path in pairs
        }
        try:
            failures, n_left = _gather(jobs, step)
        except BaseException:  # e.g. Ctrl-C or a full disk: ends with the next bytes
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failures:
        raise _summary(failures, n_left, len(pairs))


def _shown(pairs, progress):
    """Shows how many of the bytes have arrived."""
    n_bytes = sum(remote.size for remote, _ in pairs)
    # no bar that is switched off: its lock would be shared by forked workers
    return shown(n_bytes, "downloading", "B", hidden=not progress)


#: What became of an object that was not tried.
NOT_TRIED = object()


def _try(fetch, remote, path, dead):
    """Download an object; its error, None, or NOT_TRIED once `dead` is set."""
    if dead.is_set():
        return NOT_TRIED
    try:
        return fetch(remote, path)
    except (UserError, RemoteError) as error:
        # as the others would be: minutes each, or thousands of the same message
        if isinstance(error, (Denied, Unreachable)):
            dead.set()
        return error


def _gather(jobs, step):
    """Failures by object, and the number of objects that were not tried."""
    failures, n_left = {}, 0
    for job in concurrent.futures.as_completed(jobs):
        error = job.result()
        if error is None:
            step(jobs[job].size)
        elif error is NOT_TRIED:
            n_left += 1
        else:
            failures[jobs[job]] = error
    return failures, n_left


def _summary(failures, n_left, n):
    """All failures as one exception."""
    errors = [failures[remote] for remote in sorted(failures, key=lambda o: o.address)]
    denied = [error for error in errors if isinstance(error, Denied)]
    for error in denied[1:]:  # the same of each that had already begun
        errors.remove(error)
        n_left += 1
    only_input = all(isinstance(error, UserError) for error in errors)
    left = f" ({n_left} more were not tried)" if n_left else ""
    summary = (UserError if only_input else RemoteError)(
        f"{len(errors)} of {n} objects could not be downloaded{left}:",
        [str(error) for error in errors],
    )
    summary.failures = failures
    return summary
