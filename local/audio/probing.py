"""What an audio file's header says, as far as libsndfile or FFmpeg can read it."""

import contextlib
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import av
import soundfile

from local.audio.containers import pieces
from local.audio.ffmpeg import read_header
from local.audio.pieces import Excerpt, Piece
from local.utils.errors import DAMAGED, UNREADABLE, BadRecording
from local.utils.file_size import file_size

# What a recording may be. Generous: beyond lie damaged headers, and files of a few
# bytes that unfold to terabytes.
MAX_DURATION_S = 24 * 3600
MAX_CHANNELS = 256
MIN_RATE, MAX_RATE = 1000, 768_000  # Hz
#: Samples of all channels: 24 h at 192 kHz, some minutes of decoding.
MAX_SAMPLES = 1 << 34
#: libsndfile's "unknown" is 2^63 - 1.
UNKNOWN_FRAMES = 1 << 62


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says.

    sample_rate: In Hz.
    channels: Number of channels.
    n_samples: Samples per channel.
    format: The container: "WAV", "MP3", "mov,mp4,m4a,3gp,3g2,mj2", …
    codec: The encoding within: "PCM_16", "MPEG_LAYER_III", "aac", …
    reader: The library that reads it: "soundfile" or "pyav".
    is_promise: Whether the header states `n_samples`; otherwise it is an
        estimate.
    piece: Which part of the file it is about.
    track: Which of FFmpeg's streams is read.
    parts: The recordings of a file that was joined of several;
        empty for most.
    warnings: What is odd about the file; decoding may add to it.
    """

    sample_rate: int
    channels: int
    n_samples: int
    format: str
    codec: str
    reader: str
    is_promise: bool
    piece: Piece
    track: int = 0
    parts: tuple = ()
    warnings: list = field(default_factory=list)


def probe(path: str | Path) -> AudioInfo:
    """Reads an audio file's header.

    path: The audio file.

    Returns info: What the header says.
    Raises BadRecording: if the file is missing, empty or no audio that anything here
        reads, or if its header tells of more than the limits above.
    """
    path = Path(path)
    with reasons_named(path):
        if file_size(path) == 0:
            raise BadRecording(f"{path.name} is empty (0 bytes)", DAMAGED)
        parts = [_probe(path, piece) for piece in pieces(path)]
    info = parts[0] if len(parts) == 1 else _joined_info(parts)
    n_samples = info.n_samples if info.is_promise else 0
    check_limits(path, info.sample_rate, info.channels, n_samples)
    return info


def _joined_info(parts):
    """An AudioInfo for all recordings of a file, from theirs."""
    rate = parts[0].sample_rate
    joined = f"{len(parts)} recordings joined in one file, read one after the other"
    return dataclasses.replace(
        parts[0],
        n_samples=round(
            sum(part.n_samples / part.sample_rate for part in parts) * rate
        ),
        is_promise=all(part.is_promise for part in parts),
        parts=tuple(parts),
        warnings=[joined, *(note for part in parts for note in part.warnings)],
    )


def check_limits(path, rate, channels, n_samples):
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


@contextlib.contextmanager
def opened(path, piece):
    """What the libraries open: a path, or a piece of the file as a file."""
    if piece.is_whole:
        yield str(path.absolute())  # FFmpeg takes "a:b/c" for a protocol
    else:
        with Excerpt(path, piece) as file:
            yield file


def _probe(path, piece):
    warnings = [piece.warning] if piece.warning else []
    try:
        with opened(path, piece) as source:
            header = soundfile.info(source)
    except (soundfile.LibsndfileError, TypeError):
        # TypeError: soundfile wants every detail of a file called ".raw".
        return _probe_with_pyav(path, piece, warnings)
    if header.format == "MP3" or header.frames >= UNKNOWN_FRAMES or piece.needs_ffmpeg:
        # libsndfile reads an MP3 as far as its first frame tells, or as it guesses
        # from its bit rate: of 20 s of variable rate, 8. In a FLAC that doesn't state
        # its length (written to a pipe) it can't read at all. FFmpeg reads to the end.
        return _probe_with_pyav(path, piece, warnings)
    return AudioInfo(
        sample_rate=header.samplerate,
        channels=header.channels,
        n_samples=header.frames,
        format=header.format,
        codec=header.subtype,
        reader="soundfile",
        is_promise=True,
        piece=piece,
        warnings=warnings,
    )


def _probe_with_pyav(path, piece, warnings):
    try:
        with opened(path, piece) as source:
            header = read_header(source, path.name)
    except av.FFmpegError as error:
        raise BadRecording(
            f"{path.name} is no audio that libsndfile or FFmpeg can read "
            f"({error.strerror})",
            UNREADABLE,
        ) from error
    if piece.n_samples is not None:
        header |= {"n_samples": piece.n_samples, "is_promise": True}
    header["warnings"] = warnings + header["warnings"]
    return AudioInfo(**header, reader="pyav", piece=piece)


@contextlib.contextmanager
def reasons_named(path: Path):
    """Turns what the libraries raise into BadRecording.

    path: The file that the message names.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = error.error_string or f"libsndfile's error {error.code}"
        raise BadRecording(
            f"{path.name} can't be decoded: {reason}", UNREADABLE
        ) from error
    except av.FFmpegError as error:
        raise BadRecording(
            f"{path.name} can't be decoded: {error.strerror}", UNREADABLE
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadRecording(
            f"{path.name} can't be read: {reason}", UNREADABLE
        ) from error
    except MemoryError as error:
        raise BadRecording(
            f"{path.name} needs more memory to be decoded than there is"
        ) from error
