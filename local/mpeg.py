"""Frames of MPEG audio (MP2, MP3), of which the first may tell how many there are."""

#: kbit/s by the header's four bits: layer II and III of MPEG 1, both of MPEG 2.
BIT_RATES = {
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (2, 1): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}


def mpeg_frame(header):
    """What the header of a frame of MPEG audio tells.

    Arguments
    ---------
    header : bytes
        The frame's first four.

    Returns
    -------
    tuple of int, or None
        Bytes and samples per channel of the frame, bytes before what its first one may
        tell; None if it is no such frame, of layer I or of free format.

    Example
    -------
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
