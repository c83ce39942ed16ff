"""From an audio file to its samples, and whether the file is whole.

libsndfile (through soundfile, or librosa) reads what it can, FFmpeg (through PyAV)
MP3 and the rest. Both read as far as headers tell them, so what they give is compared
with what `containers` finds in the file's bytes. Audio travels as blocks
`(position, samples, rate)`: the number of the block's first sample, float32 [channels,
samples] and Hz. So inspecting a recording of an hour needs no more memory than one of
a minute.
"""

import contextlib
import os
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from local.audio.ffmpeg import LENGTH_SLACK_S, check_length, decoded_blocks
from local.audio.probing import (
    MAX_DURATION_S,
    AudioInfo,
    check_limits,
    opened,
    reasons_named,
)
from local.utils.errors import DAMAGED, OUTSIDE, UNREADABLE, BadRecording

BACKENDS = ("soundfile", "librosa")

#: Samples that are decoded at a time, of all channels together.
BLOCK = 1 << 20

#: `end_s` in a CSV is rounded, so it may lie this far beyond the last sample.
END_SLACK_S = 0.01


def blocks(
    path: Path,
    info: AudioInfo,
    backend: str,
    start_s: float | None = None,
    end_s: float | None = None,
):
    """Yields at least one block of a file's segment, and finds truncated files.

    path: The audio file.
    info: From `probe`.
    backend: "soundfile" or "librosa".
    start_s, end_s: The segment in seconds; None is the beginning or the end.

    Yields position: int: Number of the block's first sample in the file.
    Yields samples: np.ndarray: float32 [channels, samples].
    Yields rate: int: In Hz.
    Raises BadRecording: if the file can't be decoded, is truncated or empty, or if the
        segment reaches beyond its end.
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
            f"start_s {start_s} and end_s {end_s}",
            OUTSIDE,
        )
    is_empty = True
    for block in _cut(_joined(path, info, backend, start_s), path, start_s, end_s):
        is_empty = False
        yield block
    if is_empty:
        raise BadRecording(f"{path.name} holds no samples{segment}", DAMAGED)


def _joined(path, info, backend, start_s):
    """Yields the blocks of all parts, one part behind the other."""
    behind, n_samples, shape = 0, 0, None
    for part in info.parts or (info,):
        first_s = 0.0 if info.parts else start_s
        with reasons_named(path):
            _check_bytes(path, part, backend)
        for position, samples, rate in _complete(path, part, backend, first_s):
            if shape not in (None, (rate, len(samples))):
                raise BadRecording(
                    f"{path.name} changes its rate or channels on the way, from "
                    f"{shape[0]} Hz and {shape[1]} channel(s) to {rate} Hz and "
                    f"{len(samples)}",
                    UNREADABLE,
                )
            shape = rate, len(samples)
            n_samples = behind + position + samples.shape[1]
            check_limits(path, rate, len(samples), n_samples)
            yield behind + position, samples, rate
        behind = n_samples


def _decoded(path, part, backend, start_s):
    """Yields the blocks of a part, which may begin at a later one."""
    if part.reader == "pyav":
        with opened(path, part.piece) as source:
            yield from decoded_blocks(source, path.name, part.track, part.warnings)
    elif backend == "librosa":
        yield from _blocks_from_librosa(path, part)
    else:
        yield from _blocks_from_soundfile(path, part, start_s)


@contextlib.contextmanager
def _sound_file(path, part):
    """A piece opened by libsndfile; finds what a FLAC holds beyond its own number.

    A FLAC tells of its samples, not of their bytes: whether there are more shows only
    where libsndfile has stopped reading.
    """
    with opened(path, part.piece) as source:
        if part.format != "FLAC" or not isinstance(source, str):
            with soundfile.SoundFile(source) as file:
                yield file
            return
    with (
        path.open("rb") as raw,
        soundfile.SoundFile(raw.fileno(), closefd=False) as file,
    ):
        yield file
        n_read = os.lseek(raw.fileno(), 0, os.SEEK_CUR)
        n_more = part.piece.end - n_read
        found_s = file.frames / file.samplerate
        if n_more * found_s > LENGTH_SLACK_S * n_read:
            raise BadRecording(
                f"{path.name} is damaged: its header tells of {found_s:.2f} s, and "
                f"{n_more} more bytes follow",
                DAMAGED,
            )


def _blocks_from_soundfile(path, part, start_s):
    # After a jump, lossy codecs decode slightly different samples.
    lossy = ("MPEG", "VORBIS", "OPUS", "ADPCM", "GSM", "NMS", "G72")
    can_seek = not any(word in part.codec for word in lossy)
    with _sound_file(path, part) as file:
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


def _blocks_from_librosa(path, part):
    # Not its path: what libsndfile can't read librosa hands to any program it finds.
    with _sound_file(path, part) as file:
        if file.seekable():
            samples, rate = librosa.load(file, sr=None, mono=False)
        else:  # GSM: librosa can't tell how much there is to read
            samples = file.read(file.frames, dtype="float32", always_2d=True).T
            rate = file.samplerate
    yield 0, np.atleast_2d(samples), int(rate)


def _complete(path, part, backend, start_s):
    """Passes a part's blocks on; compares lengths at the end."""
    decoded_s = 0.0
    decoded = _decoded(path, part, backend, start_s)
    while True:
        with reasons_named(path):
            block = next(decoded, None)
        if block is None:
            break
        yield block
        decoded_s = (block[0] + block[1].shape[1]) / block[2]
    if part.is_promise:
        check_length(path.name, part.n_samples / part.sample_rate, decoded_s)


def _cut(decoded, path, start_s, end_s):
    """Passes on what lies in the segment; stops decoding at its end."""
    found_s = 0.0
    for position, samples, rate in decoded:
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
            f"{path.name}, which has {found_s:.2f} s",
            OUTSIDE,
        )


def _check_bytes(path, part, backend):
    """Raises BadRecording if a container has not the bytes that it tells of.

    libsndfile and FFmpeg read such a file to its end, or to the end that its header
    names, without a word.
    """
    promised, piece = part.piece.promised, part.piece
    if promised is None or (part.is_promise and not piece.is_sound):
        return
    present = piece.present
    if present < promised:
        found_s = _seconds(path, part, backend) if piece.is_sound else 0
        seconds = f"{found_s * promised / max(present, 1):.2f} s ({promised} bytes)"
        raise BadRecording(
            f"{path.name} is truncated: expected {seconds} by its header, "
            f"found {found_s:.2f} s ({present} bytes)"
            if found_s
            else f"{path.name} is truncated: its header promises {promised} bytes, "
            f"found {present or 'none'}",
            DAMAGED,
        )
    found_s = part.n_samples / part.sample_rate
    if piece.n_more * found_s > LENGTH_SLACK_S * promised:
        raise BadRecording(
            f"{path.name} is damaged: its header tells of {promised} bytes of samples, "
            f"{found_s:.2f} s, and {piece.n_more} more bytes follow",
            DAMAGED,
        )


def _seconds(path, part, backend):
    """How much of a damaged file can be decoded."""
    found_s = 0.0
    with contextlib.suppress(av.FFmpegError, soundfile.LibsndfileError):
        for position, samples, rate in _decoded(path, part, backend, 0.0):
            found_s = (position + samples.shape[1]) / rate
    return found_s
