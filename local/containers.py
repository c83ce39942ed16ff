"""What an audio file's container tells of its length, and where recordings begin in it.

libsndfile and FFmpeg read as far as the first header tells them to, or to the end of
the file, without a word. Here a file's bytes are compared with what its headers tell,
and files that were joined (`cat a.ogg b.ogg`) are taken apart. Neither needs the sound
itself.
"""

import dataclasses
import functools
import io
import itertools
import mmap
import re
from dataclasses import dataclass
from pathlib import Path

from local.errors import BadRecording
from local.mpeg import mpeg_frame

#: Chunks of one recording; those of recorders have a dozen, of videos thousands.
MAX_CHUNKS = 100_000
MAX_PIECES = 1000
#: Lengths of so many bytes are, from here on, what a recorder that was never closed,
#: or a pipe, leaves there: "unknown", not a promise.
UNKNOWN = {4: 0x7FFF0000, 8: 1 << 62}
NOT_CLOSED = "a header that was never completed: the file is read to its end"


@dataclass(frozen=True)
class Piece:
    """A recording within a file; most files hold one.

    Arguments
    ---------
    start, end : int
        Its first byte in the file, and the first one behind it.
    position : int or None
        Where its samples begin; None where the container doesn't tell.
    promised : int or None
        How many bytes of samples its header tells of.
    is_sound : bool
        Whether `promised` counts samples, rather than some part of the file.
    n_more : int
        Bytes behind them that are neither chunks nor zeros.
    patch : tuple or None
        (position, bytes): the length, where its header doesn't tell it.
    needs_ffmpeg : bool
        Whether libsndfile would read a part of it for all there is.
    n_samples : int or None
        Samples per channel that its header tells of, where it doesn't tell of bytes.
    warning : str
        What is odd about it.
    """

    start: int
    end: int
    position: int | None = None
    promised: int | None = None
    is_sound: bool = True
    n_more: int = 0
    patch: tuple[int, bytes] | None = None
    needs_ffmpeg: bool = False
    n_samples: int | None = None
    warning: str = ""

    @property
    def present(self):
        """Bytes from where the samples begin to the end."""
        return self.end - self.position


class Excerpt(io.RawIOBase):
    """A piece of a file as a file of its own, with its length written in.

    Arguments
    ---------
    path : Path
        The file.
    piece : Piece
    """

    def __init__(self, path, piece):
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


def pieces(path):
    """The recordings that a file holds, one behind the other.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    list of Piece
        At least one, if it isn't empty.

    Raises
    ------
    BadRecording
        If there are more than anybody joins.
    OSError
        If the file can't be read.
    """
    found = []
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        while not found or found[-1].end < size:
            start = found[-1].end if found else 0
            found += _pieces_from(file, start, size)
            if len(found) > MAX_PIECES:
                raise BadRecording(
                    f"{path.name} holds more than {MAX_PIECES} recordings"
                )
    return found


def _pieces_from(file, start, size):
    """The next piece, in a list; all of them where these have to be searched for."""
    begin = start + _n_tag(file, start)
    head = _read(file, begin, 64)
    for beginning, find in CONTAINERS:
        if re.match(beginning, head, re.DOTALL):
            first, *others = find(file, head, begin, size)
            return [dataclasses.replace(first, start=start), *others]
    if begin > start:  # some more bytes between the tag and the first frame
        first, *others = _mpeg(file, head, begin, size)
        return [dataclasses.replace(first, start=start), *others]
    return [Piece(start, size)]


def _read(file, position, n_bytes):
    file.seek(position)
    return file.read(n_bytes)


def _n_tag(file, position):
    """Length of the ID3 tag that begins there, 0 if there is none."""
    head = _read(file, position, 10)
    if len(head) < 10 or not re.match(rb"ID3[\2-\4].[^\x80-\xff]{5}", head, re.DOTALL):
        return 0
    size = functools.reduce(lambda total, byte: total << 7 | byte, head[6:], 0)
    return 10 + size + (10 if head[5] & 0x10 else 0)  # a footer


def _unknown(start, end, position, field, order):
    """A Piece whose length was never filled in.

    field : (position, number of bytes) of the length in the file, and what it counts
    beside the samples.
    """
    place, n_bytes, n_own = field
    length = end - position + n_own
    patch = (place, length.to_bytes(n_bytes, order)) if length < 256**n_bytes else None
    return Piece(start, end, position, patch=patch, warning=NOT_CLOSED)


def _n_more(file, position, end):
    """Bytes from a position to the end, 0 if they are zeros: the rest of a sector."""
    content = _read(file, position, min(max(0, end - position), 1 << 16))
    return max(0, end - position) if any(content) else 0


# Containers made of chunks, which have a name and a length


@dataclass(frozen=True)
class Chunks:
    """How a container is made of chunks.

    Arguments
    ---------
    first : int
        Position of the first one.
    n_name, n_length : int
        Bytes of a chunk's name and of its length, which precede its content.
    order : str
        Of the length: "little" or "big".
    sound : bytes
        How the name of the chunk begins that holds the samples.
    n_empty : int
        Length of that chunk without samples.
    n_own : int
        Bytes that the length counts beside the content.
    align : int
        Chunks begin at multiples of it.
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
            name = _read(file, head, self.n_name)
            field = head + self.n_name, self.n_length, self.n_own
            position = sum(field[:2])
            if position > size or not _is_name(name[:4]):
                return
            if name == b"ds64":  # RF64: 64-bit lengths of the file and of its data
                wide = position + 8, 8, 0
            if wide and name == self.sound:
                field = wide
            length = int.from_bytes(_read(file, *field[:2]), self.order) - self.n_own
            yield head, name, position, length, field
            position += max(length, 0)
            gap = -(position - start) % self.align
            if _read(file, position, 1) == b"\0":  # some don't fill up
                position += gap

    def begins(self, file, start, position):
        """Whether a container like that at `start` begins at `position`."""
        own, other = _read(file, start, 12), _read(file, position, 12)
        # an AVI goes on in a "RIFF….AVIX"
        n_same = self.first if self.first != 12 else 4
        return own[:n_same] == other[:n_same] and own[8:] == other[8:] != b""


def _in_chunks(form, file, head, start, size):
    """The piece that begins with a container of chunks, in a list."""
    end, sound, last, behind = size, None, (0, 0), start
    for place, name, position, length, field in form.walk(
        file, start, start + form.first, size
    ):
        if form.begins(file, start, place):
            end = place
            break
        last = position, length
        if sound is None and name.startswith(form.sound):
            sound = position, length
            if _is_unknown(form, file, start, size, position, length, field):
                return [_unknown(start, size, position, field, form.order)]
        if position + length <= size:
            behind = position + length
    if sound is not None:
        n_more = _n_more(file, behind, end)
        return [Piece(start, end, *sound, n_more=n_more)]
    if size < sum(last) < size + UNKNOWN[4]:
        return [Piece(start, size, *last, is_sound=False)]
    return [Piece(start, end)]


def _is_unknown(form, file, start, size, position, length, field):
    """Whether the length of the chunk with the samples was never filled in."""
    if length >= UNKNOWN[field[1]]:
        return True
    if length > form.n_empty or position + form.n_empty >= size:
        return False
    others = [chunk[2:4] for chunk in form.walk(file, start, position, size)]
    return not others or sum(others[-1]) + form.align <= size or sum(others[-1]) > size


def _is_name(name):
    """Whether these bytes may be a chunk's name."""
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _in_boxes(file, head, start, size):
    """The piece that begins with an MP4 or its like, in a list."""
    position = start
    for _ in range(MAX_CHUNKS):
        length = int.from_bytes(_read(file, position, 4), "big")
        name = file.read(4)
        if name == b"ftyp" and position > start:
            return [Piece(start, position)]
        if length == 1:  # 64 bits follow
            length = int.from_bytes(file.read(8), "big")
        if position + length > size:
            return [Piece(start, size, position, length, is_sound=False)]
        if length < 8 or len(name) < 4:
            break
        position += length
    return [Piece(start, size)]


# Containers whose header tells of the length at a fixed place


def _with_length(measure, file, head, start, size):
    """The piece with the header that `measure` reads, in a list."""
    measured = measure(file, head, start)
    if measured is None:
        return [Piece(start, size)]
    position, length, *field = measured
    if field and (length == 0 or length >= UNKNOWN[4]):
        return [_unknown(start, size, position, (start + field[0], 4, 0), "big")]
    end = position + length
    if head[:4] == _read(file, end, 4):
        return [Piece(start, end, position, length)]
    return [Piece(start, size, position, length, n_more=_n_more(file, end, size))]


def _au(file, head, start):
    position, length = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8))
    return start + position, length, 8


def _sphere(file, head, start):
    """NIST SPHERE, unless its samples are compressed."""
    text = _read(file, start, 1024).decode("ascii", "replace")
    fields = dict(re.findall(r"^(\S+) -\S+ (\S+)", text, re.MULTILINE))
    names = ("sample_count", "channel_count", "sample_n_bytes")
    numbers = [int(fields[n]) for n in names if fields.get(n, "").isdecimal()]
    if len(numbers) < len(names) or "," in fields.get("sample_coding", ""):
        return None
    header = head[8:16].strip()
    n_header = int(header) if header.isdigit() else 1024
    return start + n_header, numbers[0] * numbers[1] * numbers[2]


def _avr(file, head, start):
    channels = 1 if head[12:14] == b"\0\0" else 2
    n_samples = int.from_bytes(head[26:30], "big")
    return start + 128, n_samples * channels * head[15] // 8


def _psion(file, head, start):
    return start + 32, int.from_bytes(head[18:22], "big")


def _voc(file, head, start, size):
    """The piece that begins with a VOC, in a list.

    It has blocks of a byte of type and three of length, to one of type 0.
    """
    first = position = start + int.from_bytes(head[20:22], "little")
    n_blocks = 0
    while n_blocks < MAX_CHUNKS:
        block = _read(file, position, 4)
        if len(block) < 4 or not 1 <= block[0] <= 9:
            break
        n_blocks += 1
        position += 4 + int.from_bytes(block[1:], "little")
    position += block[:1] == b"\0"
    [piece] = _with_length(
        lambda *_: (first, position - first), file, head, start, size
    )
    return [dataclasses.replace(piece, needs_ffmpeg=n_blocks > 1)]


def _mat4(file, head, start):
    """Matrices: a type, rows, columns, whether imaginary, length of the name."""
    position = start
    for _ in range(2):  # rate and samples
        fields = [_read(file, position + i, 4) for i in range(0, 20, 4)]
        order = "little" if head[:4] == bytes(4) else "big"
        kind, rows, columns, _, n_name = (int.from_bytes(f, order) for f in fields)
        n_bytes = (8, 4, 4, 2, 2, 1)[min(kind // 10 % 10, 5)]
        position += 20 + n_name + rows * columns * n_bytes
    return start, position - start


def _mat5(file, head, start):
    order = "little" if _read(file, start + 126, 2) == b"IM" else "big"
    position = start + 128
    for _ in range(2):
        length = int.from_bytes(_read(file, position + 4, 4), order)
        position += 8 + length
    return start + 128, position - 8 - start - 128  # libsndfile counts 8 too many


def _sds(file, head, start):
    """A MIDI dump: packets of 127 bytes, with 120 of two to four for a sample."""
    n_samples = head[10] | head[11] << 7 | head[12] << 14
    in_packet = 120 // max(2, -(-head[6] // 7))
    return start + 21, -(-n_samples // in_packet) * 127


def _mpc(file, head, start):
    return start + 42, int.from_bytes(head[30:34], "little") * 2 * (head[21] + 1)


def _asf(file, head, start):
    """Windows Media, whose header tells of the whole file, unless it is a broadcast."""
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
    content = _read(file, start, 1 << 16)
    found = content.find(properties)
    if found < 0 or content[found + 88 : found + 89] not in (b"\0", b"\2"):
        return None
    return start, int.from_bytes(content[found + 40 : found + 48], "little")


# Compressed streams: where else their beginning is found


def _searched(literal, more, file, head, start, size):
    """The pieces that begin with these bytes, and more that match a pattern."""
    starts = [start, *_places(file, literal, start + 1, more), size]
    return [Piece(*ends) for ends in itertools.pairwise(starts)]


def _places(file, literal, position, more=b""):
    """Yields where the literal stands, followed by the pattern, from there on."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while (position := content.find(literal, position)) >= 0:
            behind = position + len(literal)
            if re.match(more, content[behind : behind + 64], re.DOTALL):
                yield position
            position = behind


def _ogg(file, head, start, size):
    """Chains of an Ogg file; each may begin with the first pages of several tracks."""
    found, next_page = [], None
    for position in _places(file, b"OggS\0\2", start):
        page = _read(file, position, 27 + 255)
        is_next = position == next_page
        next_page = position + 27 + page[26] + sum(page[27 : 27 + page[26]])
        if is_next:
            found[-1][1] = True
        else:
            found.append([position, False])
    if not found or found[0][0] != start:
        found.insert(0, [start, False])
    ends = [*(place for place, _ in found[1:]), size]
    return [
        Piece(place, end, needs_ffmpeg=is_mixed, warning=_last_page(file, place, end))
        for (place, is_mixed), end in zip(found, ends, strict=True)
    ]


def _last_page(file, start, end):
    """A warning if the last page of a piece doesn't say that it is.

    Raises BadRecording if it is incomplete.
    """
    start = max(start, end - (1 << 17))  # two of the largest pages
    content = _read(file, start, end - start)
    page = content[content.rfind(b"OggS") :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(lengths):
        raise BadRecording(
            f"{Path(file.name).name} is truncated: its last Ogg page is incomplete"
        )
    return "" if page[5] & 4 else "an Ogg without an end: it may be truncated"


# MPEG audio, whose first frame may tell how many there are


def _told_frame(file, position, name, size):
    """The frame around the name "Xing", "Info" or "VBRI" at a position.

    Returns its position and the samples that it tells of, 0 if it doesn't; None if
    there is no such frame.
    """
    for n_before in (36,) if name == b"VBRI" else (36, 21, 13):
        begin = position - n_before
        frame = mpeg_frame(_read(file, begin, 4)) if begin >= 0 else None
        if frame is None or (name != b"VBRI" and frame[2] != n_before):
            continue
        content = _read(file, position, 20)
        has_number = name == b"VBRI" or (len(content) > 7 and content[7] & 1)
        number = content[14:18] if name == b"VBRI" else content[8:12]
        return begin, has_number * int.from_bytes(number, "big") * frame[1]
    return None


def _mpeg(file, head, start, size):
    """The pieces that begin with a tag or with a frame that tells of their length."""
    told, starts = {}, {start}
    for name in (b"Xing", b"Info", b"VBRI"):
        for position in _places(file, name, start):
            if frame := _told_frame(file, position, name, size):
                told[frame[0]] = frame[1]
    for position in _places(file, b"ID3", start):
        behind = position + _n_tag(file, position)
        if behind > position and mpeg_frame(_read(file, behind, 4)):
            starts.add(position)
            if behind in told:
                told[position] = told.pop(behind)
    if mpeg_frame(head) is None and told:  # something else before the first frame
        told[start] = told.pop(min(told))
    starts = sorted(starts | set(told))
    return [
        Piece(begin, end, n_samples=told.get(begin) or None)
        for begin, end in zip(starts, [*starts[1:], size], strict=True)
    ]


AIFF = Chunks(12, 4, 4, "big", b"SSND", n_empty=8)

#: How containers begin, and what finds the pieces from there on.
CONTAINERS = [
    (beginning, functools.partial(_in_chunks, form))
    for beginning, form in (
        (rb"(RIFF|RF64|BW64)", Chunks(12, 4, 4, "little")),
        (rb"RIFX", Chunks(12, 4, 4, "big")),
        (rb"FORM....AIF", AIFF),
        (rb"FORM....(8SVX|16SV)", Chunks(12, 4, 4, "big", b"BODY")),
        (rb"caff", Chunks(8, 4, 8, "big", n_empty=4)),
        (rb"riff\x2e\x91\xcf\x11", Chunks(40, 16, 8, "little", n_own=24, align=8)),
    )
]
CONTAINERS += [
    (beginning, functools.partial(_with_length, measure))
    for beginning, measure in (
        (rb"\.snd", _au),
        (rb"NIST_1A", _sphere),
        (rb"2BIT", _avr),
        (rb"ALawSoundFile\*\*", _psion),
        (rb".{20}samplerate\0", _mat4),
        (rb"MATLAB 5\.0", _mat5),
        (rb"\xf0\x7e.\x01", _sds),
        (rb"\x01\x04[ -~\0]{17}", _mpc),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _asf),
    )
]
CONTAINERS += [
    (re.escape(literal) + more, functools.partial(_searched, literal, more))
    for literal, more in (
        (b"fLaC", rb"[\0\x80]\0\0\x22"),
        (b"#!AMR", rb"(-WB)?\n"),
        (b"\x1aE\xdf\xa3", rb".{1,8}B[\x82\x86\xf2\xf3\xf7]"),
        (b"FLV\1", rb"[\1\4\5]\0\0\0\x09"),
        (b"TTA1", rb"[\1\2]\0"),
        (b"PVF1", rb"\n[1-9]"),
        (b" paf", rb"\0{8}"),
        (b"\x64\xa3", rb"[\0-\4]\0.{4}[\1-\x10]\0\0\0"),
    )
]
CONTAINERS += [
    (rb"Creative Voice File", _voc),
    (rb"OggS", _ogg),
    (rb"....(ftyp|moov|mdat|wide|free|skip|pnot)", _in_boxes),
    (rb"\xff[\xe0-\xff]", _mpeg),
]
