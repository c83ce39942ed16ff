"""Pieces of a file: recordings one behind the other, each read as a file of its own."""

import io
import mmap
import re
from dataclasses import dataclass
from pathlib import Path

#: Lengths of so many bytes are, from here on, what a recorder that was never closed,
#: or a pipe, leaves there: "unknown", not a promise.
UNKNOWN = {4: 0x7FFF0000, 8: 1 << 62}
#: No recording is of fewer bytes: where more follow, this is what was put in first.
SHORTEST = 64
MAX_POSITION = 1 << 62
NOT_CLOSED = "a header that was never completed: the file is read to its end"


@dataclass(frozen=True)
class Piece:
    """A recording within a file; most files hold one.

    start, end: Its first byte in the file, and the first one behind it.
    position: Where its samples begin; None where the container doesn't
        tell.
    promised: How many bytes of samples its header tells of.
    is_sound: Whether `promised` counts samples, rather than some part of the
        file.
    n_more: Bytes behind them that are neither chunks nor zeros.
    patch: (position, bytes): the length, where its header doesn't tell
        it.
    needs_ffmpeg: Whether libsndfile would read a part of it for all there is.
    is_whole: Whether it is the file as it is.
    n_samples: Samples per channel that its header tells of, where it
        doesn't tell of bytes.
    warning: What is odd about it.
    """

    start: int
    end: int
    position: int | None = None
    promised: int | None = None
    is_sound: bool = True
    n_more: int = 0
    patch: tuple[int, bytes] | None = None
    needs_ffmpeg: bool = False
    is_whole: bool = False
    n_samples: int | None = None
    warning: str = ""

    @property
    def present(self):
        """Bytes from where the samples begin to the end."""
        return max(0, self.end - self.position)


class Excerpt(io.RawIOBase):
    """A piece of a file as a file of its own, with its length written in.

    path: The file.
    """

    def __init__(self, path: Path, piece: Piece):
        self._file = path.open("rb")
        self._piece = piece
        self._position = 0

    def readable(self):
        """Yes."""
        return True

    def seekable(self):
        """Yes."""
        return True

    def tell(self):
        """Where it is read next."""
        return self._position

    def seek(self, offset, whence=io.SEEK_SET):
        """Goes to another place, which may lie behind the end."""
        size = self._piece.end - self._piece.start
        self._position = max(0, (0, self._position, size)[whence] + offset)
        return self._position

    def readinto(self, buffer):
        """Fills the buffer, and gives the number of bytes."""
        first = self._piece.start + self._position
        self._file.seek(first)
        n_wanted = max(0, min(len(buffer), self._piece.end - first))
        read = bytearray(self._file.read(n_wanted))
        place, new = self._piece.patch or (0, b"")
        for i, byte in enumerate(new, start=place - first):
            if 0 <= i < len(read):
                read[i] = byte
        buffer[: len(read)] = read
        self._position += len(read)
        return len(read)

    def close(self):
        """Closes the file."""
        self._file.close()
        super().close()


def read_at(file, position, n_bytes):
    """Bytes from a position on; none where headers tell of a place that can't be."""
    if not 0 <= position < MAX_POSITION:
        return b""
    file.seek(position)
    return file.read(n_bytes)


def with_unknown_length(start, end, position, field, order):
    """A Piece whose length was never filled in.

    field : (position, number of bytes) of the length in the file, and what it counts
    beside the samples.
    """
    place, n_bytes, n_own = field
    length = max(0, end - position) + n_own
    patch = (place, length.to_bytes(n_bytes, order)) if length < 256**n_bytes else None
    return Piece(start, end, position, patch=patch, warning=NOT_CLOSED)


def n_bytes_left(file, position, end):
    """Bytes from a position to the end, 0 if they are zeros: the rest of a sector."""
    if position >= end:
        return 0
    return end - position if any(read_at(file, position, 1 << 16)) else 0


def places(file, literal, position, more=b""):
    """Yields where the literal stands, followed by the pattern, from there on."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while (position := content.find(literal, position)) >= 0:
            behind = position + len(literal)
            if re.match(more, content[behind : behind + 64], re.DOTALL):
                yield position
            position = behind
