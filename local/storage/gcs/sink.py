"""Where the bytes of a download go, and whether they are the right ones."""

import base64
import zlib

import google_crc32c

from local.storage.gcs.errors import RemoteError


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
        found = base64.b64encode(self._checksum.digest()).decode()
        if found != self._remote.crc32c:
            return f"expected crc32c {self._remote.crc32c}, found {found}"
        if self._unpacker and not self._unpacker.eof:
            return "its gzip content has no end"
        return None
