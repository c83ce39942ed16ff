"""Downloading one object; its bytes are counted and checked on their way."""

import base64
import contextlib
import logging
import threading
import zlib
from pathlib import Path

import google_crc32c
from google.api_core import exceptions as api_exceptions

from local.storage.gcs.addresses import RemoteObject
from local.storage.gcs.clients import shared_client
from local.storage.gcs.errors import GET, Changed, Missing, RemoteError, explained
from local.storage.gcs.listing import stat
from local.storage.gcs.patience import Patience, retry
from local.utils.files import atomic_write

logger = logging.getLogger(__name__)

#: A cut download that brought as much as this gets the whole deadline again.
PROGRESS_BYTES = 2**20


def download(
    remote: RemoteObject, path: str | Path, patience: Patience | None = None, stop=None
):
    """Copy one generation of an object to a file, whole or not at all.

    The bytes go to a temporary file beside it (see `local.utils.files.atomic_write`)
    that is renamed once size and crc32c agree with the listing. After a broken
    connection the rest is fetched, not all of it again.

    remote: From `list_objects` or `stat`. One of encoding "gzip" is unpacked; its file
        is then larger than `remote.size`.
    path: The file; folders are made. The caller has checked the name, see
        `RemoteObject.below`.
    stop (threading.Event, optional): Once it is set, the download ends with an error.

    Raises Denied, Missing: 401 or 403; the object is gone.
    Raises Changed: if another generation has taken its place.
    Raises RemoteError: if the bucket can't be reached, or wrong bytes arrive again and
        again.
    Raises OSError: if the file can't be written.
    """
    patience = patience or Patience.from_environment()
    try:
        with atomic_write(path, "wb") as file, explained(remote.address, GET):
            _fetch_right_bytes(remote, file, patience, stop or threading.Event())
    except Missing:
        now = stat(remote.address, patience)  # says so itself if it is gone
        if now.generation == remote.generation:
            raise RemoteError(
                f"{remote.address} is there, and the server says that it is not (404): "
                "run again."
            ) from None
        raise Changed(
            f"{remote.address} was replaced while it was being read (generation "
            f"{remote.generation}, now {now.generation}): run again."
        ) from None


def _fetch_right_bytes(remote, file, patience, stop):
    """Fetch until size and crc32c agree, a bounded number of times."""
    for _ in range(patience.n_attempts):
        file.seek(0)
        file.truncate()
        sink = Sink(file, remote, stop)
        with contextlib.suppress(WrongBytes):
            _fetch(remote, sink, patience, stop)
        problem = sink.problem()
        if problem is None:
            return
        # without its name, which may be a patient's
        logger.warning(f"An object arrived wrong and is fetched again: {problem}")
    raise RemoteError(
        f"{remote.address} arrived wrong {patience.n_attempts} times: {problem}. "
        "Nothing of it was kept; something between here and the bucket changes bytes."
    )


def _fetch(remote, sink, patience, stop):
    """Fetch one generation, going on where a broken connection left off."""
    # A new Blob has no mediaLink: the address is made from the client's own host.
    bucket = shared_client().bucket(remote.bucket)
    blob = bucket.blob(remote.name, generation=remote.generation)

    def fetch_rest():
        if not sink.complete:
            # The library would also go on after a break, but then checks nothing
            # and counts the deadline from the download's start, however long it is.
            blob.download_to_file(
                sink,
                start=sink.n_bytes or None,
                raw_download=True,
                checksum=None,
                timeout=patience.timeout_s,
                retry=None,
            )

    while True:
        before = sink.n_bytes
        try:
            return retry(patience, stop)(fetch_rest)()
        except api_exceptions.RetryError:
            if sink.n_bytes - before < PROGRESS_BYTES:
                raise


class WrongBytes(Exception):
    """What arrives can't be the object."""


class Sink:
    """Writes the bytes of an object to a file while it counts and checksums them."""

    def __init__(self, file, remote, stop):
        self.n_bytes = 0
        self._file, self._remote, self._stop = file, remote, stop
        self._checksum = google_crc32c.Checksum()
        # the checksum is of the bytes as stored, the file is for who reads it
        self._unpacker = zlib.decompressobj(31) if remote.encoding == "gzip" else None

    @property
    def complete(self):
        """Whether nothing is left to be fetched (an empty object still is, once)."""
        return 0 < self._remote.size <= self.n_bytes

    def write(self, chunk):
        """Take the next bytes."""
        if self._stop.is_set():
            raise RemoteError(f"{self._remote.address}: the download was stopped.")
        self.n_bytes += len(chunk)
        self._checksum.update(chunk)
        if self.n_bytes > self._remote.size:  # e.g. all again instead of the rest
            raise WrongBytes
        if self._unpacker:
            try:
                chunk = self._unpacker.decompress(chunk)
            except zlib.error:
                raise WrongBytes from None
        self._file.write(chunk)

    def problem(self):
        """How the bytes differ from the object listed, or None."""
        if self.n_bytes != self._remote.size:
            return f"expected {self._remote.size} bytes, found {self.n_bytes}"
        crc32c = base64.b64encode(self._checksum.digest()).decode()
        if crc32c != self._remote.crc32c:
            return f"expected crc32c {self._remote.crc32c}, found {crc32c}"
        if self._unpacker and not self._unpacker.eof:
            return "its gzip content has no end"
        return None
