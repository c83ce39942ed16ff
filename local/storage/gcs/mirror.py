"""Files of a local folder to a folder of a bucket: what differs, stage by stage."""

import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from google.api_core import exceptions as api_exceptions

from local.storage.gcs.addresses import Address, RemoteObject
from local.storage.gcs.clients import shared_client
from local.storage.gcs.errors import (
    Conflict,
    Missing,
    RemoteError,
    Unreachable,
    explained,
)
from local.storage.gcs.listing import list_objects, stat
from local.storage.gcs.parallel import NOT_TRIED
from local.storage.gcs.patience import Patience, retry
from local.storage.gcs.uploads import measure, upload
from local.utils.errors import UserError

#: Files at a time: results are few and large, and training may wait for them.
N_THREADS = 8

#: The right that deleting needs, and a role that contains it.
DELETE = ("storage.objects.delete", "roles/storage.objectUser")


class Mirror:
    """Copies files of a local folder to a bucket, as far as they differ there.

    It replaces and deletes only what it has found at its first look or written
    itself: whatever somebody else writes meanwhile stays, and is a `Conflict`.

    address: Where the folder's files go, each under its own name.
    there (dict of str to RemoteObject): What the last look has found, by name below
        `address`.
    """

    def __init__(self, folder: str | Path, address: Address):
        self.folder, self.address, self.there = Path(folder), address, {}
        self._generations = None  # of what may be replaced, by name
        self._unsure = set()  # names whose last write may yet have arrived

    def look(
        self, names: Iterable[str] | None = None, patience: Patience | None = None
    ) -> dict[str, RemoteObject]:
        """Ask the bucket what it has. Needed once before anything is written.

        names: Ask for these only, one by one; else everything is listed.

        Returns: `there`.
        Raises UserError, RemoteError: as `list_objects` and `stat` do; a name that is
            not there is no error.
        """
        if names is None:
            prefix = f"{self.address.name}/".lstrip("/")
            listing = list_objects(self.address, patience)
            self.there = {
                remote.name.removeprefix(prefix): remote for remote in listing
            }
        else:
            self.there = {}
            for name in names:
                with contextlib.suppress(Missing):
                    self.there[name] = stat(self.address / name, patience)
        generations = {name: remote.generation for name, remote in self.there.items()}
        if self._generations is None:
            self._generations = generations
        for name in self._unsure:
            self._generations[name] = generations.get(name, 0)
        self._unsure.clear()
        return self.there

    def holds(self, name):
        """Whether the bucket had the very bytes of a file at the last look."""
        remote = self.there.get(name)
        if remote is None or remote.encoding == "gzip":  # other bytes are stored
            return False
        path = self.folder / name
        if path.stat().st_size != remote.size:
            return False
        with path.open("rb") as file:
            return measure(file) == (remote.size, remote.crc32c)

    def upload(self, name: str, patience: Patience | None = None) -> int:
        """Copy one file, whatever is there.

        name: Its path below the folder.

        Returns: The new generation.
        Raises Conflict: if somebody else has written, or deleted, the object.
        Raises UserError, RemoteError, OSError: as `upload` does.
        """
        with self._in_doubt_if_it_fails(name):
            known = self._generations.get(name, 0)
            new = upload(self.folder / name, self.address / name, known, patience)
        self._generations[name] = new
        return new

    def upload_changed(self, name, patience=None):
        """Copy one file unless the bucket `holds` it; see `upload`."""
        if not self.holds(name):
            self.upload(name, patience)

    def delete(self, name, patience=None):
        """Remove one object; see `upload`. One that is gone already is no error."""
        with self._in_doubt_if_it_fails(name):
            known = self._generations.get(name, 0)
            _delete(self.address / name, known, patience)
        self._generations[name] = 0

    @contextlib.contextmanager
    def _in_doubt_if_it_fails(self, name):
        """After a request without an answer, the next look tells what is there."""
        try:
            yield
        except Conflict:
            raise
        except RemoteError:
            self._unsure.add(name)
            raise

    def run(
        self,
        stages: Iterable[tuple[Callable, Iterable[str]]],
        patience: Patience | None = None,
    ) -> list[str]:
        """Go through stages one after another, up to the first with a failure.

        stages: `upload_changed` or `delete`, and the names to call it for, several at a
            time.

        Returns: What failed, a message for each file. Once the bucket could not be
            reached up to the deadline, the rest is not tried, only counted.
        """
        for work, names in stages:
            problems = _try_all(work, sorted(names), patience)
            if problems:
                return problems
        return []


def _try_all(work, names, patience):
    """Do the work for each name; the messages of those that failed."""
    dead = threading.Event()

    def attempt(name):
        if dead.is_set():
            return NOT_TRIED
        try:
            work(name, patience)
        except (UserError, RemoteError, OSError) as error:
            if isinstance(error, Unreachable):  # so would the others be, minutes each
                dead.set()
            return as_problem(error)
        return None

    with concurrent.futures.ThreadPoolExecutor(N_THREADS) as pool:
        outcomes = list(pool.map(attempt, names))
    problems = [text for text in outcomes if text not in (None, NOT_TRIED)]
    n_left = outcomes.count(NOT_TRIED)
    return [*problems, f"{n_left} more were not tried"] if n_left else problems


def as_problem(error) -> str:
    """The text of an exception as one of several that are listed.

    error: Exception

    >>> as_problem(FileNotFoundError(2, "No such file or directory", "metrics.json"))
    'metrics.json: No such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _delete(address, generation, patience):
    """Remove a generation of an object, or see that it is gone."""
    patience = patience or Patience.from_environment()
    blob = shared_client().bucket(address.bucket).blob(address.name)
    with explained(address, DELETE), contextlib.suppress(api_exceptions.NotFound):
        blob.delete(
            if_generation_match=generation,
            timeout=patience.timeout_s,
            retry=retry(patience),
        )


def regular_files(folder: str | Path, prefix: str = ""):
    """Names of all files below a folder that a reader may take for results.

    Hidden files and folders (temporary ones are), links and everything else that is
    no regular file are left out. No link is followed.

    prefix: Put before each name.

    Yields str: Path below the folder, with / between its parts.
    Raises OSError: if a folder can't be read: a list that is too short would look like
        files that were deleted.

    >>> folder = getfixture("tmp_path")
    >>> (folder / "figures").mkdir()
    >>> for name in ("figures/roc.png", "figures/.0a1b.tmp", "metrics.json"):
    ...     _ = (folder / name).write_text("")
    >>> list(regular_files(folder))
    ['figures/roc.png', 'metrics.json']
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from regular_files(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name
