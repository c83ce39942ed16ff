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
import re
from pathlib import Path

from local.audio.lengths import (
    Chunks,
    asf,
    au,
    avr,
    in_boxes,
    in_chunks,
    mat4,
    mat5,
    mpc,
    psion,
    sds,
    sphere,
    voc,
    with_length,
)
from local.audio.mpeg import mpeg_pieces, n_tag
from local.audio.pieces import Piece, places, read_at
from local.utils.errors import DAMAGED, BadRecording

#: The identifiers of a Matroska file's header and of what follows it; how it goes on.
EBML, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
EBML_CONTENT = rb".{1,8}B[\x82\x86\xf2\xf3\xf7]"

MAX_PIECES = 1000


def pieces(path: Path) -> list[Piece]:
    """The recordings that a file holds, one behind the other.

    path: The file.

    Returns: At least one, if it isn't empty.
    Raises BadRecording: if there are more than anybody joins.
    Raises OSError: if the file can't be read.
    """
    recordings = []
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        while not recordings or recordings[-1].end < size:
            start = recordings[-1].end if recordings else 0
            recordings += _pieces_from(file, start, size)
            if len(recordings) > MAX_PIECES:
                raise BadRecording(
                    f"{path.name} holds more than {MAX_PIECES} recordings"
                )
    if len(recordings) == 1 and recordings[0].patch is None:
        recordings = [dataclasses.replace(recordings[0], is_whole=True)]
    return recordings


def _pieces_from(file, start, size):
    """The next piece, in a list; all of them where these have to be searched for."""
    begin = start
    head = read_at(file, begin, 64).ljust(64, b"\0")
    if head[:3] == b"ID3":
        begin += n_tag(file, start)
        head = read_at(file, begin, 64).ljust(64, b"\0")
    find = next((find for begins, find in CONTAINERS if begins.match(head)), None)
    if find is None and begin == start:
        return [Piece(start, size)]
    # after a tag there may be some more bytes before the first frame
    first, *others = (find or mpeg_pieces)(file, head, begin, size)
    return [
        dataclasses.replace(first, start=start) if begin > start else first,
        *others,
    ]


def _searched(literal, more, file, head, start, size):
    """The pieces that begin with these bytes, and more that match a pattern."""
    starts = [start, *places(file, literal, start + 1, more), size]
    return [Piece(*ends) for ends in itertools.pairwise(starts)]


def _matroska(file, head, start, size):
    """Matroska and WebM, which tell where they end, unless they were made live."""
    return [
        dataclasses.replace(piece, warning=_segment_cut(file, piece))
        for piece in _searched(EBML, EBML_CONTENT, file, head, start, size)
    ]


def _segment_cut(file, piece):
    """A warning, if a Matroska segment is longer than what is there of it."""
    n_header, segment = _ebml_size(file, piece.start + len(EBML))
    if read_at(file, segment + n_header, len(SEGMENT)) != SEGMENT:
        return ""
    length, begin = _ebml_size(file, segment + n_header + len(SEGMENT))
    return "its end is missing: it may be truncated" * (begin + length > piece.end)


def _ebml_size(file, position):
    """The size of an element, 0 if it is unknown, and where its content begins."""
    content = read_at(file, position, 8).ljust(8, b"\xff")
    n_bytes = 9 - content[0].bit_length()
    known = (1 << 7 * n_bytes) - 1
    size = int.from_bytes(content[:n_bytes], "big") & known
    return 0 if size == known else size, position + n_bytes


def _ogg(file, head, start, size):
    """Chains of an Ogg file; each may begin with the first pages of several tracks."""
    chains, next_page = [], None
    for position in places(file, b"OggS\0\2", start):
        page = read_at(file, position, 27 + 255).ljust(27, b"\0")
        is_next = position == next_page
        next_page = position + 27 + page[26] + sum(page[27 : 27 + page[26]])
        if is_next:
            chains[-1][1] = True
        else:
            chains.append([position, False])
    if not chains or chains[0][0] != start:
        chains.insert(0, [start, False])
    ends = [*(place for place, _ in chains[1:]), size]
    return [
        Piece(place, end, needs_ffmpeg=is_mixed, warning=_last_page(file, place, end))
        for (place, is_mixed), end in zip(chains, ends, strict=True)
    ]


def _last_page(file, start, end):
    """A warning if the last page of a piece doesn't say that it is.

    Raises BadRecording if it is incomplete.
    """
    start = max(start, end - (1 << 17))  # two of the largest pages
    content = read_at(file, start, end - start)
    page = content[content.rfind(b"OggS") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(segments):
        raise BadRecording(
            f"{Path(file.name).name} is truncated: its last Ogg page is incomplete",
            DAMAGED,
        )
    return "" if page[5] & 4 else "an Ogg without an end: it may be truncated"


#: How containers of chunks begin.
OF_CHUNKS = [
    (beginning, functools.partial(in_chunks, form))
    for beginning, form in (
        (rb"(RIFF|RF64|BW64)", Chunks(12, 4, 4, "little")),
        (rb"RIFX", Chunks(12, 4, 4, "big")),
        (rb"FORM....AIF", Chunks(12, 4, 4, "big", b"SSND", n_empty=8)),
        (rb"FORM....(8SVX|16SV)", Chunks(12, 4, 4, "big", b"BODY")),
        (rb"caff", Chunks(8, 4, 8, "big", n_empty=4)),
        (rb"riff\x2e\x91\xcf\x11", Chunks(40, 16, 8, "little", n_own=24, align=8)),
    )
]

#: How those begin whose header tells the length.
OF_STATED_LENGTH = [
    (beginning, functools.partial(with_length, measure))
    for beginning, measure in (
        (rb"\.snd", au),
        (rb"NIST_1A", sphere),
        (rb"2BIT", avr),
        (rb"ALawSoundFile\*\*", psion),
        (rb".{20}samplerate\0", mat4),
        (rb"MATLAB 5\.0", mat5),
        (rb"\xf0\x7e.\x01", sds),
        (rb"\x01\x04[ -~\0]{17}", mpc),
        (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", asf),
    )
]

#: How those begin of which the next is searched for.
SEARCHED = [
    (re.escape(literal) + more, functools.partial(_searched, literal, more))
    for literal, more in (
        (b"fLaC", rb"[\0\x80]\0\0\x22"),
        (b"#!AMR", rb"(-WB)?\n"),
        (b"FLV\1", rb"[\1\4\5]\0\0\0\x09"),
        (b"TTA1", rb"[\1\2]\0"),
        (b"PVF1", rb"\n[1-9]"),
        (b" paf", rb"\0{8}"),
        (b"\x64\xa3", rb"[\0-\4]\0.{4}[\1-\x10]\0\0\0"),
    )
]

#: How containers begin, and what finds the pieces from there on.
CONTAINERS = [
    (re.compile(beginning, re.DOTALL), find)
    for beginning, find in (
        *OF_CHUNKS,
        *OF_STATED_LENGTH,
        *SEARCHED,
        (rb"Creative Voice File", voc),
        (rb"OggS", _ogg),
        (EBML + EBML_CONTENT, _matroska),
        (rb"....(ftyp|moov|mdat|wide|free|skip|pnot)", in_boxes),
        (rb"\xff[\xe0-\xff]", mpeg_pieces),
    )
]
