"""Containers made of chunks, which have a name and a length: WAV, AIFF, CAF, MP4, …"""

from dataclasses import dataclass

from local.audio.pieces import (
    SHORTEST,
    UNKNOWN,
    Piece,
    n_bytes_left,
    read_at,
    with_unknown_length,
)

#: Chunks of one recording; those of recorders have a dozen, of videos thousands.
MAX_CHUNKS = 100_000


@dataclass(frozen=True)
class Chunks:
    """How a container is made of chunks.

    first (int): Position of the first one.
    n_name, n_length (int): Bytes of a chunk's name and of its length, which precede its
        content.
    order (str): Of the length: "little" or "big".
    sound (bytes): How the name of the chunk begins that holds the samples.
    n_empty (int): Length of that chunk without samples.
    n_own (int): Bytes that the length counts beside the content.
    align (int): Chunks begin at multiples of it.
    """

    first: int
    n_name: int
    n_length: int
    order: str
    sound: bytes = b"data"
    n_empty: int = 0
    n_own: int = 0
    align: int = 2

    def walk(self, file, start, position, size):
        """Yields (head, name, position, length, field) of each chunk.

        The length may go beyond the file, or be negative, if the header says so.
        """
        wide = None
        for _ in range(MAX_CHUNKS):
            head = position
            name = read_at(file, head, self.n_name)
            field = head + self.n_name, self.n_length, self.n_own
            position = sum(field[:2])
            if position > size or not _is_name(name[:4]):
                return
            if name == b"ds64":  # RF64: 64-bit lengths of the file and of its data
                wide = position + 8, 8, 0
            if wide and name == self.sound:
                field = wide
            length = int.from_bytes(read_at(file, *field[:2]), self.order) - self.n_own
            yield head, name, position, length, field
            position += max(length, 0)
            gap = -(position - start) % self.align
            if gap and read_at(file, position, 1) == b"\0":  # some don't fill up
                position += gap

    def begins(self, file, start, position):
        """Whether a container like that at `start` begins at `position`."""
        own, other = read_at(file, start, 12), read_at(file, position, 12)
        if not _is_alike(own[:4], other[:4]):
            return False
        # an AVI goes on in a "RIFF….AVIX"
        n_same = self.first if self.first != 12 else 4
        return own[4:n_same] == other[4:n_same] and own[8:] == other[8:] != b""


def in_chunks(form, file, head, start, size):
    """The piece that begins with a container of chunks, in a list."""
    end, sound, last, behind = size, None, (0, 0), start
    for place, name, position, length, field in form.walk(
        file, start, start + form.first, size
    ):
        if _is_alike(name[:4], head[:4]) and form.begins(file, start, place):
            end = place
            break
        last = position, length
        if sound is None and name.startswith(form.sound):
            sound = position, length
            if _is_unknown(form, file, start, size, position, length, field):
                return [with_unknown_length(start, size, position, field, form.order)]
        if position + length <= size:
            behind = position + length
    if sound is not None:
        n_more = n_bytes_left(file, behind, end)
        return [Piece(start, end, *sound, n_more=n_more)]
    if size < sum(last) < size + UNKNOWN[4]:
        return [Piece(start, size, *last, is_sound=False)]
    return [Piece(start, end)]


def _is_unknown(form, file, start, size, position, length, field):
    """Whether the length of the chunk with the samples was never filled in."""
    if length >= UNKNOWN[field[1]]:
        return True
    behind = position + max(length, form.n_empty)
    if length >= form.n_empty + SHORTEST or behind >= size:
        return False
    ends = [chunk[2] + chunk[3] for chunk in form.walk(file, start, behind, size)]
    return not ends or not size - form.align < ends[-1] <= size


def _is_alike(name, other):
    """Whether containers of these names are of one kind: RF64 is a long WAV."""
    return name == other or {name, other} <= {b"RIFF", b"RF64", b"BW64"}


def _is_name(name):
    """Whether these bytes may be a chunk's name."""
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def in_boxes(file, head, start, size):
    """The piece that begins with an MP4 or its like, in a list."""
    position = start
    for _ in range(MAX_CHUNKS):
        length = int.from_bytes(read_at(file, position, 4), "big")
        name = file.read(4)
        if name == b"ftyp" and position > start:
            return [Piece(start, position)]
        if length == 1:  # 64 bits follow
            length = int.from_bytes(file.read(8), "big")
        if length < 8 or not _is_name(name):
            break
        if position + length > size:
            return [Piece(start, size, position, length, is_sound=False)]
        position += length
    return [Piece(start, size)]
