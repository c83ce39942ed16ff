"""From an audio file to its samples, and whether the file is whole.

libsndfile (through soundfile, or librosa) reads what it can, FFmpeg (through PyAV)
the rest. Audio travels as blocks `(position, samples, rate)`: the number of the
block's first sample, float32 [channels, samples] and Hz. So inspecting a recording
of an hour needs no more memory than one of a minute.
"""

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from local.errors import BadRecording
from local.files import file_size

BACKENDS = ("soundfile", "librosa")

#: Samples that are decoded at a time, of all channels together.
BLOCK = 1 << 20

# What a recording may be. Generous: beyond lie damaged headers, and files of a few
# bytes that unfold to terabytes.
MAX_DURATION_S = 24 * 3600
MAX_CHANNELS = 256
MIN_RATE, MAX_RATE = 1000, 768_000  # Hz
#: Samples of all channels: 24 h at 192 kHz, some minutes of decoding.
MAX_SAMPLES = 1 << 34
#: Chunks of a WAV or AIFF before its samples; those of recorders have a dozen.
MAX_CHUNKS = 10_000
#: A container's own idea of its length is coarse: encoder delay, last packet.
LENGTH_SLACK_S = 0.25
#: `end_s` in a CSV is rounded, so it may lie this far beyond the last sample.
END_SLACK_S = 0.01
#: A WAV header's length from here on is what a recorder that was never closed,
#: or a pipe, leaves there: "unknown", not a promise.
UNKNOWN_BYTES = 0x7FFF0000
#: libsndfile's "unknown" is 2^63 - 1.
UNKNOWN_FRAMES = 1 << 62


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    channels : int
        Number of channels.
    n_samples : int
        Samples per channel.
    format : str
        The container: "WAV", "MP3", "mov,mp4,m4a,3gp,3g2,mj2", …
    codec : str
        The encoding within: "PCM_16", "MPEG_LAYER_III", "aac", …
    reader : str
        The library that reads it: "soundfile" or "pyav".
    is_promise : bool
        Whether the header states `n_samples`; otherwise it is an estimate.
    """

    sample_rate: int
    channels: int
    n_samples: int
    format: str
    codec: str
    reader: str
    is_promise: bool


def probe(path):
    """Reads an audio file's header.

    Arguments
    ---------
    path : str or Path
        The audio file.

    Returns
    -------
    info : AudioInfo
        What the header says.

    Raises
    ------
    BadRecording
        If the file is missing, empty or no audio that anything here reads, or if its
        header tells of more than the limits above.
    """
    path = Path(path)
    with reasons_named(path):
        if file_size(path) == 0:
            raise BadRecording(f"{path.name} is empty (0 bytes)")
        _check_last_ogg_page(path)
    info = _probe(path)
    n_samples = info.n_samples if info.is_promise else 0
    _check_limits(path, info.sample_rate, info.channels, n_samples)
    return info


def _check_limits(path, rate, channels, n_samples):
    """Raises BadRecording for what no recording is; n_samples per channel."""
    problems = []
    if not MIN_RATE <= rate <= MAX_RATE:
        problems.append(f"{rate} Hz (expected {MIN_RATE} to {MAX_RATE})")
    if not 1 <= channels <= MAX_CHANNELS:
        problems.append(f"{channels} channels (expected 1 to {MAX_CHANNELS})")
    if n_samples > MAX_DURATION_S * rate:
        problems.append(f"more than {MAX_DURATION_S // 3600} h of sound")
    elif n_samples * channels > MAX_SAMPLES:
        problems.append(f"more than {MAX_SAMPLES} samples")
    if problems:
        raise BadRecording(f"{path.name} has {' and '.join(problems)} by its header")


def _probe(path):
    try:
        header = soundfile.info(str(path))
    except (soundfile.LibsndfileError, TypeError):
        # TypeError: soundfile wants every detail of a file called ".raw".
        return _probe_with_pyav(path)
    is_guess = header.format == "MP3" and not _states_length(path)
    if is_guess or header.frames >= UNKNOWN_FRAMES:
        # Where an MP3 doesn't state its length, libsndfile guesses it from the
        # first frame's bit rate and reads no further: of 20 s of variable rate,
        # 8. In a FLAC that doesn't (written to a pipe) it can't read at all.
        return _probe_with_pyav(path)
    return AudioInfo(
        sample_rate=header.samplerate,
        channels=header.channels,
        n_samples=header.frames,
        format=header.format,
        codec=header.subtype,
        reader="soundfile",
        is_promise=True,
    )


def blocks(path, info, backend, start_s=None, end_s=None):
    """Yields at least one block of a file's segment, and finds truncated files.

    Arguments
    ---------
    path : Path
        The audio file.
    info : AudioInfo
        From `probe`.
    backend : str
        "soundfile" or "librosa".
    start_s, end_s : float or None
        The segment in seconds; None is the beginning or the end.

    Yields
    ------
    position : int
        Number of the block's first sample in the file.
    samples : np.ndarray
        float32 [channels, samples].
    rate : int
        In Hz.

    Raises
    ------
    BadRecording
        If the file can't be decoded, is truncated or empty, or if the segment
        reaches beyond its end.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend should be one of {BACKENDS}, found {backend!r}")
    is_whole = start_s is None and end_s is None
    segment = "" if is_whole else f" from {start_s or 0:g} s to {end_s or 'the end'}"
    start_s = 0.0 if start_s is None else start_s
    last_s = MAX_DURATION_S + 1 if end_s is None else end_s
    if not 0 <= start_s < last_s <= MAX_DURATION_S + 1:
        raise BadRecording(
            f"the segment should have 0 <= start_s < end_s <= {MAX_DURATION_S}, found "
            f"start_s {start_s} and end_s {end_s}"
        )
    with reasons_named(path):
        _check_chunks(path, info)
    if info.reader == "pyav":
        found = _blocks_from_pyav(path)
    elif backend == "librosa":
        found = _blocks_from_librosa(path)
    else:
        found = _blocks_from_soundfile(path, info, start_s)
    is_empty = True
    for block in _cut(_complete(found, path, info), path, start_s, end_s):
        is_empty = False
        yield block
    if is_empty:
        raise BadRecording(f"{path.name} holds no samples{segment}")


@contextlib.contextmanager
def reasons_named(path):
    """Turns what the libraries raise into BadRecording.

    Arguments
    ---------
    path : Path
        The file that the message names.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = error.error_string or f"libsndfile's error {error.code}"
        raise BadRecording(f"{path.name} can't be decoded: {reason}") from error
    except av.FFmpegError as error:
        raise BadRecording(f"{path.name} can't be decoded: {error.strerror}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadRecording(f"{path.name} can't be read: {reason}") from error
    except MemoryError as error:
        raise BadRecording(
            f"{path.name} needs more memory to be decoded than there is"
        ) from error


def _blocks_from_soundfile(path, info, start_s):
    # After a jump, lossy codecs decode slightly different samples.
    lossy = ("MPEG", "VORBIS", "OPUS", "ADPCM", "GSM", "NMS", "G72")
    can_seek = not any(word in info.codec for word in lossy)
    with reasons_named(path), soundfile.SoundFile(str(path)) as file:
        position = 0
        if can_seek and start_s:
            position = file.seek(min(round(start_s * file.samplerate), file.frames))
        length = max(1, BLOCK // file.channels)
        while True:
            samples = file.read(length, dtype="float32", always_2d=True).T
            yield position, samples, file.samplerate
            position += samples.shape[1]
            if samples.shape[1] < length:
                return


def _blocks_from_librosa(path):
    # Not its path: what libsndfile can't read librosa hands to any program it finds.
    with reasons_named(path), soundfile.SoundFile(str(path)) as file:
        if file.seekable():
            samples, rate = librosa.load(file, sr=None, mono=False)
        else:  # GSM: librosa can't tell how much there is to read
            samples = file.read(file.frames, dtype="float32", always_2d=True).T
            rate = file.samplerate
    yield 0, np.atleast_2d(samples), int(rate)


def _blocks_from_pyav(path):
    with reasons_named(path), _open_with_pyav(path) as (container, stream):
        position, n_samples, frames, shape = 0, 0, [], None
        for frame in container.decode(stream):
            if shape not in (None, (frame.sample_rate, frame.layout.nb_channels)):
                raise BadRecording(
                    f"{path.name} changes its rate or channels on the way, from "
                    f"{shape[0]} Hz and {shape[1]} channel(s) to {frame.sample_rate} "
                    f"Hz and {frame.layout.nb_channels}"
                )
            shape = frame.sample_rate, frame.layout.nb_channels
            frames.append(_float_samples(frame))
            n_samples += frame.samples
            if n_samples >= frame.sample_rate:  # FFmpeg's own frames are short
                yield position, np.concatenate(frames, axis=1), shape[0]
                position, n_samples, frames = position + n_samples, 0, []
        if frames:
            yield position, np.concatenate(frames, axis=1), shape[0]


def _float_samples(frame):
    """An FFmpeg frame as float32 [channels, samples], integers as in libsndfile."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / 2.0 ** (8 * samples.itemsize - 1)
    return samples.astype(np.float32)


def _complete(found, path, info):
    """Passes blocks on while they are within limits; compares lengths at the end."""
    found_s = 0.0
    for position, samples, rate in found:
        n_samples = position + samples.shape[1]
        _check_limits(path, rate, len(samples), n_samples)
        yield position, samples, rate
        found_s = n_samples / rate
    expected_s = info.n_samples / info.sample_rate
    if info.is_promise and found_s < expected_s - LENGTH_SLACK_S:
        raise BadRecording(
            f"{path.name} is truncated or damaged: expected {expected_s:.2f} s by its "
            f"header, found {found_s:.2f} s"
        )


def _cut(found, path, start_s, end_s):
    """Passes on what lies in the segment; stops decoding at its end."""
    found_s = 0.0
    for position, samples, rate in found:
        n_samples = samples.shape[1]
        first = max(0, round(start_s * rate) - position)
        last = n_samples if end_s is None else max(0, round(end_s * rate) - position)
        if samples[:, first:last].size:
            yield position, samples[:, first:last], rate
        if last < n_samples:
            return
        found_s = (position + n_samples) / rate
    is_beyond = end_s is not None and end_s > found_s + END_SLACK_S
    if found_s and (is_beyond or start_s >= found_s):
        end = "the end" if end_s is None else f"{end_s:g} s"
        raise BadRecording(
            f"the segment from {start_s:g} s to {end} reaches beyond the end of "
            f"{path.name}, which has {found_s:.2f} s"
        )


@contextlib.contextmanager
def _open_with_pyav(path):
    # An absolute path, since FFmpeg takes "a:b/c" for a protocol; local files
    # only, since a playlist in disguise could fetch from the network.
    options = {"protocol_whitelist": "file"}
    with av.open(
        str(path.resolve()), options=options, metadata_errors="replace"
    ) as container:
        if not container.streams.audio:
            raise BadRecording(f"{path.name} has no audio track")
        if container.streams.audio[0].codec_context is None:
            raise BadRecording(f"{path.name} is in an encoding that FFmpeg can't read")
        yield container, container.streams.audio[0]


def _probe_with_pyav(path):
    try:
        with _open_with_pyav(path) as (container, stream):
            duration_s, is_promise = _stated_duration_s(container, stream)
            return AudioInfo(
                sample_rate=stream.codec_context.sample_rate,
                channels=stream.codec_context.channels,
                n_samples=round(duration_s * stream.codec_context.sample_rate),
                format=container.format.name,
                codec=stream.codec_context.name,
                reader="pyav",
                is_promise=is_promise,
            )
    except av.FFmpegError as error:
        raise BadRecording(
            f"{path.name} is no audio that libsndfile or FFmpeg can read "
            f"({error.strerror})"
        ) from error


def _stated_duration_s(container, stream):
    """Seconds, and whether they are written in the file rather than estimated."""
    is_stated = container.format.name.startswith(("mov", "matroska", "asf"))
    if stream.duration is not None:
        return float(stream.duration * stream.time_base), is_stated
    # A container's duration is that of its longest track, maybe the picture's.
    is_stated = is_stated and len(container.streams) == 1
    return (container.duration or 0) / av.time_base, (
        is_stated and container.duration is not None
    )


def _states_length(path):
    """Whether an MP3 begins with a Xing, Info or VBRI frame."""
    with reasons_named(path), path.open("rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3":  # its size: four times seven bits
            size = functools.reduce(lambda total, byte: total << 7 | byte, head[6:], 0)
            start = 10 + size
        file.seek(start)
        first_frame = file.read(2048)
    return any(name in first_frame for name in (b"Xing", b"Info", b"VBRI"))


def _check_chunks(path, info):
    """Raises BadRecording if a WAV or AIFF has not the bytes that it tells of.

    libsndfile and FFmpeg read such a file to its end, or to the end that its header
    names, without a word.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        found = _find_samples(file)
        if found is None:
            return
        position, promised, is_wide = found
        file.seek(min(position + promised + promised % 2, size))
        beyond = file.read(8)
    present = size - position
    found_s = info.n_samples / info.sample_rate
    if present < promised and (is_wide or promised < UNKNOWN_BYTES):
        raise BadRecording(
            f"{path.name} is truncated: expected {found_s * promised / present:.2f} s "
            f"({promised} bytes) by its header, found {found_s:.2f} s ({present} bytes)"
            if present
            else f"{path.name} is truncated: its header promises {promised} bytes, "
            "found none"
        )
    # another chunk may follow, or zeros to the end of a recorder's sector
    is_chunk = all(0x20 <= byte < 0x7F for byte in beyond[:4]) or not any(beyond)
    is_more = (present - promised) * found_s > LENGTH_SLACK_S * promised
    if is_more and not is_chunk:
        raise BadRecording(
            f"{path.name} is damaged: its header tells of {promised} bytes of samples, "
            f"{found_s:.2f} s, and {present - promised} more bytes follow"
        )


def _find_samples(file):
    """Where the samples of a WAV or AIFF begin, and how many bytes it promises.

    Returns their position, the number of bytes, and whether it was written with 64
    bits; None if it is neither, or if no samples are found.
    """
    little = {b"RIFF": True, b"RF64": True, b"RIFX": False, b"FORM": False}
    order = little.get(file.read(12)[:4])
    if order is None:
        return None
    order = "little" if order else "big"
    position, wide = 12, None
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return None
        name, length = head[:4], int.from_bytes(head[4:], order)
        position += 8
        if name in (b"data", b"SSND"):
            return position, length if wide is None else wide, wide is not None
        if name == b"ds64":  # RF64: 64-bit sizes of the file and of its data
            wide = int.from_bytes(file.read(16)[8:], order)
        position += length + length % 2
        file.seek(position)
    return None


def _check_last_ogg_page(path):
    """Raises BadRecording if an Ogg file ends in the middle of a page."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return
        file.seek(max(0, path.stat().st_size - (1 << 17)))  # two of the largest pages
        end = file.read()
    page = end[end.rfind(b"OggS") :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(page) < 27 + page[26] + sum(lengths):
        raise BadRecording(f"{path.name} is truncated: its last Ogg page is incomplete")
