"""Containers that tell of their length: in chunks, or at a fixed place of their header.

Chunks have a name and a length: WAV, AIFF, CAF, MP4, … A function that measures the
others (AU, SPHERE, WMA, …) takes the file, its first bytes and where it begins. It
gives the position of the samples, their bytes, and where the length stands, if that may
be unknown; None if the header doesn't tell.
"""

import dataclasses
import re
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
MAX_BLOCKS = 100_000


@dataclass(frozen=True)
class Chunks:
    """How a container is made of chunks.

    first: Position of the first one.
    n_name, n_length: Bytes of a chunk's name and of its length, which precede its
        content.
    order: Of the length: "little" or "big".
    sound: How the name of the chunk begins that holds the samples.
    n_empty: Length of that chunk without samples.
    n_own: Bytes that the length counts beside the content.
    align: Chunks begin at multiples of it.
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


def with_length(measure, file, head, start, size):
    """The piece with the header that `measure` reads, in a list."""
    measured = measure(file, head, start)
    if measured is None:
        return [Piece(start, size)]
    position, length, *field = measured
    is_short = length < SHORTEST and position + length < size
    if field and (is_short or length >= UNKNOWN[4]):
        return [
            with_unknown_length(start, size, position, (start + field[0], 4, 0), "big")
        ]
    end = position + length
    if end > start and head[:4] == read_at(file, end, 4):
        return [Piece(start, end, position, length)]
    return [Piece(start, size, position, length, n_more=n_bytes_left(file, end, size))]


def au(file, head, start):
    """Sun and NeXT."""
    position, length = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8))
    return start + position, length, 8


def sphere(file, head, start):
    """NIST SPHERE, unless its samples are compressed."""
    text = read_at(file, start, 1024).decode("ascii", "replace")
    fields = dict(re.findall(r"^(\S+) -\S+ (\S+)", text, re.MULTILINE))
    names = ("sample_count", "channel_count", "sample_n_bytes")
    numbers = [
        int(fields[n]) for n in names if re.fullmatch(r"\d{1,12}", fields.get(n, ""))
    ]
    if len(numbers) < len(names) or "," in fields.get("sample_coding", ""):
        return None
    header = head[8:16].strip()
    n_header = int(header) if header.isdigit() else 1024
    return start + n_header, numbers[0] * numbers[1] * numbers[2]


def avr(file, head, start):
    """Atari."""
    channels = 1 if head[12:14] == b"\0\0" else 2
    n_samples = int.from_bytes(head[26:30], "big")
    return start + 128, n_samples * channels * head[15] // 8


def psion(file, head, start):
    """Psion's A-law, of a byte per sample."""
    return start + 32, int.from_bytes(head[18:22], "big")


def voc(file, head, start, size):
    """The piece that begins with a VOC, in a list.

    It has blocks of a byte of type and three of length, to one of type 0.
    """
    first = position = start + int.from_bytes(head[20:22], "little")
    n_blocks = 0
    while n_blocks < MAX_BLOCKS:
        block = read_at(file, position, 4)
        if len(block) < 4 or not 1 <= block[0] <= 9:
            break
        n_blocks += 1
        position += 4 + int.from_bytes(block[1:], "little")
    position += block[:1] == b"\0"
    [piece] = with_length(lambda *_: (first, position - first), file, head, start, size)
    return [dataclasses.replace(piece, needs_ffmpeg=n_blocks > 1)]


def mat4(file, head, start):
    """Matrices: a type, rows, columns, whether imaginary, length of the name."""
    position = start
    for _ in range(2):  # rate and samples
        fields = [read_at(file, position + i, 4) for i in range(0, 20, 4)]
        order = "little" if head[:4] == bytes(4) else "big"
        kind, rows, columns, _, n_name = (int.from_bytes(f, order) for f in fields)
        n_bytes = (8, 4, 4, 2, 2, 1)[min(kind // 10 % 10, 5)]
        position += 20 + n_name + rows * columns * n_bytes
    return start, position - start


def mat5(file, head, start):
    """Two elements: rate and samples."""
    order = "little" if read_at(file, start + 126, 2) == b"IM" else "big"
    position = start + 128
    for _ in range(2):
        length = int.from_bytes(read_at(file, position + 4, 4), order)
        position += 8 + length
    return start + 128, position - 8 - start - 128  # libsndfile counts 8 too many


def sds(file, head, start):
    """A MIDI dump: packets of 127 bytes, with 120 of two to four for a sample."""
    n_samples = head[10] | head[11] << 7 | head[12] << 14
    in_packet = 120 // max(2, -(-head[6] // 7))
    return start + 21, -(-n_samples // in_packet) * 127


def mpc(file, head, start):
    """Akai, of 16 bits."""
    return start + 42, int.from_bytes(head[30:34], "little") * 2 * (head[21] + 1)


def asf(file, head, start):
    """Windows Media, whose header tells of the whole file, unless it is a broadcast."""
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
    content = read_at(file, start, 1 << 16)
    place = content.find(properties)
    if place < 0 or content[place + 88 : place + 89] not in (b"\0", b"\2"):
        return None
    return start, int.from_bytes(content[place + 40 : place + 48], "little")
