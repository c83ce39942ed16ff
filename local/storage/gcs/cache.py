"""A folder on this machine with copies of objects, so that each is fetched once.

Below the folder are:

- ``objects/<bucket>/<digest of the object's folder>/<generation>/<file>``: whole files
  only, never written again;
- ``partial/<random>/``: what is just being downloaded, with a file ``claim`` that holds
  its size and is locked as long as the download lives;
- ``CACHEDIR.TAG``: without it a folder with files in it is none of ours;
- ``.lock``: whoever changes anything in ``objects`` or claims room holds a lock on it;
  its content is the known total, an upper bound for the bytes in both.

Claims are made for one object at a time, and nobody waits for room while holding one,
so that no two processes can wait for each other.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from local.storage.gcs.addresses import Address, RemoteObject, check_name
from local.storage.gcs.downloads import download
from local.storage.gcs.errors import RemoteError
from local.storage.gcs.parallel import download_many
from local.utils.errors import UserError

#: Share of the limit that is left in use once room had to be made: as it takes a look
#: at every file, it should not be necessary again at once.
FILLED = 0.9
#: An exabyte.
MAX_LIMIT_GB = 1e9
#: Seconds after which somebody who waits for room looks again.
POLL_S = 0.2

#: Errors that say that a folder can't be one to write to, whatever comes later.
_NO_FOLDER = (
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)

#: The file that is locked, and holds the known total.
LEDGER = ".lock"

#: Says that a folder is a cache, to backups (https://bford.info/cachedir/) and to us:
#: what is deleted to make room must not be somebody's own.
TAG = "CACHEDIR.TAG"
TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# Copies of objects of buckets. May be deleted while nobody uses it.
"""


class Cache:
    """A folder with copies of objects, each of one generation.

    Holds no open file and no connection: it may be pickled and used after a fork, and
    any number of processes may use one folder at the same time.

    folder: Made on first use, for this user only: recordings of patients go there.
    limit_gb: Most that it may hold, in units of 10**9 bytes, what is just being
        downloaded included; objects that were not used for longest are deleted to make
        room. Those of encoding "gzip" take what they unpack to, which nobody knows
        before: with them there may be more for a while.
    folder: Path
    limit_bytes: int or None

    Raises UserError: if the limit is no positive number.

    >>> from local.storage.gcs.addresses import RemoteObject
    >>> cache = Cache(getfixture("tmp_path"), limit_gb=0.5)
    >>> cache.limit_bytes
    500000000
    >>> wave = RemoteObject("hospital", "corpus/audio/s01/a.wav", 7, 0, "AAAAAA==")
    >>> str(cache.path(wave).relative_to(cache.folder))
    'objects/hospital/fedf9d89f045381f1584895655237dda/7/a.wav'
    >>> cache.holds(wave)
    False
    """

    def __init__(self, folder: str | Path, limit_gb: float | None = None):
        self.folder = Path(folder)
        is_number = isinstance(limit_gb, int | float) and limit_gb is not True
        if limit_gb is not None and not (is_number and 0 < limit_gb <= MAX_LIMIT_GB):
            raise UserError(
                f"audio_cache_gb must be a number above 0 and up to {MAX_LIMIT_GB:g}, "
                f"or null for no limit; found {limit_gb!r}."
            )
        self.limit_bytes = None if limit_gb is None else round(limit_gb * 10**9)

    def path(self, remote: RemoteObject) -> Path:
        """Where the copy of an object is, or will be.

        Returns: With the object's own last part, so that a suffix stays one. The rest
            of its name is only there as a digest: it may be long, differ from another's
            by case only, or hold the name of a patient.
        Raises UserError: if the name is none that can be trusted as a path.
        """
        parent, _, name = check_name(remote.name).rpartition("/")
        folder = self._copies(Address(remote.bucket, parent))
        return folder / str(remote.generation) / name

    def _copies(self, folder):
        """Where the copies of a bucket's folder are, an Address."""
        digest = hashlib.sha256(folder.name.encode()).hexdigest()[:32]
        return self.folder / "objects" / folder.bucket / digest

    def forget(self, place: Address, is_file: bool = False):
        """Delete every copy, of any generation, of an object or of those of a folder.

        place: The object, or the folder of the objects right in it, not below.
        """
        for copy in self._kept(place, is_file):
            if is_file:
                copy.unlink(missing_ok=True)
                _remove_empty(copy.parent)
            else:
                shutil.rmtree(copy, ignore_errors=True)

    def keeps(self, place: Address, is_file: bool = False) -> bool:
        """Whether there is a copy of an object, or of anything right in a folder."""
        return bool(self._kept(place, is_file))

    def _kept(self, place, is_file):
        """Copies of an object, or the folder of those of a folder."""
        if not is_file:
            folder = self._copies(place)
            return [folder] if folder.exists() else []
        parent, _, name = place.name.rpartition("/")
        generations = self._copies(Address(place.bucket, parent)).glob("*")
        return [folder / name for folder in generations if (folder / name).exists()]

    def sweep(self):
        """Delete what killed downloads left."""
        with self._locked():
            self._in_flight()

    def holds(self, remote: RemoteObject) -> bool:
        """Whether an object's copy is there.

        Returns: It may be deleted at any time by somebody who needs room: who opens a
            file must be ready to `fetch` it again. Once open, it can be read to its
            end.
        """
        return _is_copy(self.path(remote), remote)

    def fetch(self, remotes: Iterable[RemoteObject], progress: bool = False):
        """Download the objects that are not there; mark all as used now.

        remotes: None of them is deleted to make room for another, but other processes
            may delete them, least recently used first, see `holds`.
        progress: Show a bar where somebody watches.

        Raises UserError: if all of them together are larger than the limit; if the
            folder can't be written.
        Raises UserError, RemoteError: if objects can't be downloaded, see
            `download_many`.
        Raises OSError: if a file can't be written, e.g. because the disk is full.
        """
        pairs = {remote: self.path(remote) for remote in remotes}
        self._check_size(pairs)
        private_folder(self.folder)
        missing = [(r, path) for r, path in pairs.items() if not _used_now(path, r)]
        if not missing:
            return
        self.sweep()  # also where there is no limit
        kept = frozenset(map(str, pairs.values()))
        fetch = functools.partial(self._download, kept)
        download_many(missing, progress=progress, fetch=fetch)

    def _check_size(self, remotes):
        """Refuse what can't all be there at the same time."""
        n_bytes = sum(remote.size for remote in remotes)
        if self.limit_bytes is not None and n_bytes > self.limit_bytes:
            raise UserError(
                f"audio_cache_gb is too small: {len(remotes)} objects that are needed "
                f"together have {n_bytes} bytes, and it allows {self.limit_bytes}. "
                f"Set it to {math.ceil(n_bytes / 1e6) / 1e3:g} or more, or to null for "
                "no limit."
            )

    def _download(self, kept, remote, path, patience, stop):
        """Download an object as soon as there is room for it."""
        with self._room(remote, kept, patience, stop) as partial:
            download(remote, partial / "object", patience, stop)
            with self._locked():  # nobody removes the folder because it is empty
                path.parent.mkdir(parents=True, exist_ok=True)
                (partial / "object").replace(path)

    @contextlib.contextmanager
    def _room(self, remote, kept, patience, stop):
        """Lend a folder for an object, with room for all of it."""
        end_s = time.monotonic() + patience.deadline_s
        while (claim := self._claim(remote.size, kept)) is None:
            if stop.wait(POLL_S) or time.monotonic() > end_s:
                raise RemoteError(
                    f"{remote.address}: expected room for it in the audio_cache, found "
                    "none: other downloads take all that audio_cache_gb allows. Set it "
                    "to more, or run fewer processes at a time."
                )
        partial = Path(claim.name).parent
        with claim:
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _claim(self, n_bytes, kept):
        """A new claim, locked; None if there is room only once others are done."""
        limit = math.inf if self.limit_bytes is None else self.limit_bytes
        with self._locked() as ledger:
            total = _read_total(ledger)
            if total is None or total + n_bytes > limit:
                in_flight = self._in_flight()
                if in_flight and in_flight + n_bytes > limit:
                    return None
                spare = limit * FILLED - in_flight - n_bytes
                total = in_flight + self._evict(spare, kept)
                if in_flight and total + n_bytes > limit:
                    _write_total(ledger, total)
                    return None
            _write_total(ledger, total + n_bytes)
            return self._new_claim(n_bytes)

    def _new_claim(self, n_bytes):
        """The open file of a claim in a folder of its own."""
        partial = self.folder / "partial" / secrets.token_hex(8)
        partial.mkdir(parents=True)
        claim = (partial / "claim").open("x")
        # Let go by the kernel when the process ends, however it does. A child made by
        # fork meanwhile shares it, but no claim is looked at once its file is gone.
        fcntl.flock(claim, fcntl.LOCK_EX)
        claim.write(str(n_bytes))
        claim.flush()
        return claim

    def _in_flight(self):
        """Bytes claimed by living downloads; what killed ones left is removed."""
        n_bytes = 0
        for partial in (self.folder / "partial").glob("*"):
            claimed = _claimed(partial)
            if claimed is None:
                shutil.rmtree(partial, ignore_errors=True)
            n_bytes += claimed or 0
        return n_bytes

    def _evict(self, spare, kept):
        """Delete what was not used for longest until the rest is at most `spare`.

        Returns the bytes of the rest. Files in `kept` are not deleted.
        """
        files = sorted(_files(self.folder / "objects"))
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= spare:
                break
            if path not in kept:
                Path(path).unlink(missing_ok=True)
                _remove_empty(Path(path).parent)
                total -= size
        return total

    @contextlib.contextmanager
    def _locked(self):
        """Hold the lock; lends the descriptor of the file with the known total."""
        ledger = os.open(self.folder / LEDGER, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            yield ledger
        finally:
            # closing is not enough: a child made by fork meanwhile has it open as well
            fcntl.flock(ledger, fcntl.LOCK_UN)
            os.close(ledger)


def _is_copy(path, remote):
    """Whether a file is there that can be the object's copy."""
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return False
    return size == remote.size or remote.encoding == "gzip"


def _used_now(path, remote):
    """Mark an object's copy as used; whether it is there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return _is_copy(path, remote)


def private_folder(folder: Path):
    """Make the cache's folder, for this user only, unless it is there.

    Raises UserError: if it is no folder that can be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _claim_folder(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
        raise UserError(
            "audio_cache must be a folder that can be written, or a name for a new "
            f"one, found {str(folder)!r} ({error.strerror}): set it to another, or "
            "mend its permissions."
        ) from None


def _claim_folder(folder):
    """Mark an empty folder as a cache; refuse one with other files."""
    tag = folder / TAG
    if tag.exists():
        return
    others = {path.name for path in folder.iterdir()} - {TAG, LEDGER}
    if others and not tag.exists():  # another process may just have begun
        raise UserError(
            f"audio_cache {folder} holds other files, and a cache deletes what it has "
            "no room for: name a new or an empty folder."
        )
    tag.write_text(TAG_TEXT, encoding="utf-8")


def _read_total(ledger):
    """The known total, or None if nothing or nonsense is there."""
    text = os.pread(ledger, 20, 0)
    return int(text) if len(text) == 20 and text.isdigit() else None


def _write_total(ledger, total):
    """Of fixed width and in one write: a kill leaves the old one or the new one."""
    os.pwrite(ledger, b"%020d" % total, 0)


def _claimed(partial):
    """Bytes claimed by a download, or None if its process was killed."""
    try:
        with (partial / "claim").open("r+") as claim:
            n_bytes = int(claim.read())
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return n_bytes
    except (FileNotFoundError, ValueError):  # before it had written it
        pass
    return None


def _files(folder):
    """Time of last use, bytes and path of every file; empty folders are removed."""
    for parent, folders, names in os.walk(folder):
        if not folders and not names:
            _remove_empty(parent)
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118, a Path takes far longer
            with contextlib.suppress(FileNotFoundError):
                stat = os.lstat(path)
                yield stat.st_mtime_ns, stat.st_size, path


def _remove_empty(folder):
    """Remove a folder and those above it, as far as they are empty."""
    with contextlib.suppress(OSError):
        os.removedirs(folder)
