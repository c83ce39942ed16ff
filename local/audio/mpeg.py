"""Frames of MPEG audio (MP2, MP3), of which the first may tell how many there are."""

import functools
import re

from local.audio.pieces import Piece, places, read_at

#: kbit/s by the header's four bits: layer II and III of MPEG 1, both of MPEG 2.
BIT_RATES = {
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (2, 1): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}


def mpeg_frame(header: bytes) -> tuple[int, ...] | None:
    """What the header of a frame of MPEG audio tells.

    header: The frame's first four.

    Returns: Bytes and samples per channel of the frame, bytes before what its first one
        may tell; None if it is no such frame, of layer I or of free format.

    >>> mpeg_frame(b"\\xff\\xfb\\x90\\xc0")  # 128 kbit/s, 44.1 kHz, mono
    (417, 1152, 21)
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate = (44100, 48000, 32000, 0)[header[2] >> 2 & 3]
    kind = (3, layer) if version == 3 else (2, 1)
    if version == 1 or layer not in (1, 2) or not rate:
        return None
    bit_rate = 1000 * BIT_RATES[kind][header[2] >> 4]
    if not bit_rate:
        return None
    rate >>= (2, 0, 1, 0)[version]
    n_samples = 576 if version != 3 and layer == 1 else 1152
    is_mono = header[3] >> 6 == 3
    n_side = (17, 32)[not is_mono] if version == 3 else (9, 17)[not is_mono]
    padding = header[2] >> 1 & 1
    return n_samples // 8 * bit_rate // rate + padding, n_samples, 4 + n_side


def _told_frame(file, position, name, start):
    """The frame around the name "Xing", "Info" or "VBRI" at a position.

    Returns its position and the samples that it tells of, 0 if it doesn't; None if
    there is no such frame.
    """
    for n_before in (36,) if name == b"VBRI" else (36, 21, 13):
        begin = position - n_before
        frame = mpeg_frame(read_at(file, begin, 4)) if begin >= start else None
        if frame is None or (name != b"VBRI" and frame[2] != n_before):
            continue
        content = read_at(file, position, 20)
        has_number = name == b"VBRI" or (len(content) > 7 and content[7] & 1)
        number = content[14:18] if name == b"VBRI" else content[8:12]
        return begin, has_number * int.from_bytes(number, "big") * frame[1]
    return None


def mpeg_pieces(file, head, start, size):
    """The pieces that begin with a tag or with a frame that tells of their length."""
    told, starts = {}, {start}
    for name in (b"Xing", b"Info", b"VBRI"):
        for position in places(file, name, start):
            if frame := _told_frame(file, position, name, start):
                told[frame[0]] = frame[1]
    for position in places(file, b"ID3", start):
        behind = position + n_tag(file, position)
        if behind > position and mpeg_frame(read_at(file, behind, 4)):
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


def n_tag(file, position):
    """Length of the ID3 tag that begins there, 0 if there is none."""
    head = read_at(file, position, 10)
    if len(head) < 10 or not re.match(rb"ID3[\2-\4].[^\x80-\xff]{5}", head, re.DOTALL):
        return 0
    size = functools.reduce(lambda total, byte: total << 7 | byte, head[6:], 0)
    return 10 + size + (10 if head[5] & 0x10 else 0)  # a footer
