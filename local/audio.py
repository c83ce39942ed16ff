"""From a recording's folder to a waveform.

A recording is a folder with `metadata.json` and one `waveform.<ext>` of any
format that libsndfile or, where that can't, FFmpeg (through PyAV) reads. All
that can be wrong with one raises `BadRecording` with the reason: what was
expected and what was found.

Inside, audio travels as blocks `(position, samples, rate)`: the number of the
block's first sample, float32 [channels, samples] and Hz. So inspecting a
recording of an hour needs no more memory than one of a minute.
"""

import contextlib
import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile
import soxr
import torch
import torchaudio

from local.errors import BadRecording

BACKENDS = ("soundfile", "librosa")
MIXES = ("mean", "sum")

MAX_METADATA_BYTES = 1_000_000
#: Samples per channel that are decoded at a time.
BLOCK = 1 << 20
#: A container's own idea of its length is coarse: encoder delay, last packet.
LENGTH_SLACK_S = 0.25
#: `end_s` in a CSV is rounded, so it may lie this far beyond the last sample.
END_SLACK_S = 0.01
#: A WAV header's length from here on is what a recorder that was never closed,
#: or a pipe, leaves there: "unknown", not a promise.
UNKNOWN_BYTES = 0x7FFF0000
#: libsndfile's "unknown" is 2^63 - 1.
UNKNOWN_FRAMES = 1 << 62
#: Above this, torchaudio's resampling kernel takes over 32 MB and many seconds.
MAX_KERNEL_SIZE = 1 << 22

FULL_SCALE = 0.999
SILENCE_DBFS = -60
LEVEL_FRAME_S = 0.025


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


@dataclass(frozen=True)
class RecordingReport:
    """What `inspect_recording` found; levels are relative to full scale.

    Arguments
    ---------
    waveform : str
        Name of the file.
    format, codec : str
        As in `AudioInfo`.
    sample_rate : int
        In Hz, of the file.
    channels : int
        Number of channels of the file.
    duration_s : float
        Seconds of the segment, from the samples that were really decoded.
    metadata_sample_rate : float or None
        In Hz, what metadata.json says.
    peak : float
        Largest magnitude in the channels used, before they are mixed.
    level_dbfs : float
        RMS of the mono signal; -3.01 for a sine of full scale.
    clipped_share : float
        Share of the samples of the channels used that are at full scale.
    silent_share : float
        Share of frames of 25 ms of the mono signal below -60 dBFS.
    warnings : tuple of str
        What is odd about it, but no reason not to use it.
    """

    waveform: str
    format: str
    codec: str
    sample_rate: int
    channels: int
    duration_s: float
    metadata_sample_rate: float | None
    peak: float
    level_dbfs: float
    clipped_share: float
    silent_share: float
    warnings: tuple[str, ...]


def read_metadata(folder):
    """Reads a recording's metadata.json.

    Arguments
    ---------
    folder : str or Path
        The recording's folder.

    Returns
    -------
    metadata : dict
        At least with "encoding".

    Raises
    ------
    BadRecording
        If the file is missing, too large, not a JSON object in UTF-8, or
        without "encoding".
    """
    path = _existing(folder) / "metadata.json"
    if not path.is_file():
        raise BadRecording("metadata.json is missing")
    with _reasons_named(path):
        if path.stat().st_size > MAX_METADATA_BYTES:
            raise BadRecording(
                f"metadata.json should be a few lines, but has more than "
                f"{MAX_METADATA_BYTES} bytes"
            )
        content = path.read_bytes()
    try:
        metadata = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadRecording(f"metadata.json is not UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadRecording(f"metadata.json is not JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise BadRecording(
            'metadata.json should be an object like {"encoding": "WAV", '
            f'"sample_rate_hz": 44100}}, found a {type(metadata).__name__}'
        )
    encoding = metadata.get("encoding")
    if not isinstance(encoding, str) or not encoding.strip():
        raise BadRecording(
            f'metadata.json needs "encoding", e.g. "WAV"; found {encoding!r}'
        )
    return metadata


def find_waveform(folder, metadata):
    """Finds a recording's audio file.

    Arguments
    ---------
    folder : str or Path
        The recording's folder.
    metadata : dict
        From `read_metadata`.

    Returns
    -------
    path : Path
        `waveform.<encoding in lower case>`, else the only `waveform.*`.

    Raises
    ------
    BadRecording
        If there is none, or several and none is named after the encoding.
    """
    named = f"waveform.{metadata['encoding'].strip().lower()}"
    # Names are compared, never joined: an encoding of "/../x" finds nothing.
    found = {
        path.name: path
        for path in sorted(_existing(folder).glob("waveform.*"))
        if path.is_file()
    }
    if named in found:
        return found[named]
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise BadRecording(f"{named} is missing, and there is no other waveform.*")
    raise BadRecording(
        f"{named} is missing, and there are several others: {', '.join(found)}"
    )


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
        If the file is missing, empty or no audio that anything here reads.
    """
    path = Path(path)
    with _reasons_named(path):
        if path.stat().st_size == 0:
            raise BadRecording(f"{path.name} is empty (0 bytes)")
        _check_last_ogg_page(path)
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


def decode(path, backend="soundfile", start_s=None, end_s=None):
    """Decodes an audio file, or a segment of it, at its own rate.

    Integers become floats in [-1, 1). What libsndfile can't read, FFmpeg does,
    with either backend. Uncompressed files and FLAC are read from `start_s` on,
    others decoded from their beginning.

    Arguments
    ---------
    path : str or Path
        The audio file.
    backend : str
        "soundfile" or "librosa".
    start_s, end_s : float or None
        The segment in seconds; None is the beginning or the end.

    Returns
    -------
    waveform : torch.Tensor
        float32 [channels, samples].
    sample_rate : int
        In Hz.

    Raises
    ------
    BadRecording
        If the file can't be read, is truncated or empty, or if the segment
        reaches beyond its end.
    """
    path = Path(path)
    blocks = list(_blocks(path, probe(path), backend, start_s, end_s))
    pieces = [samples for _, samples, _ in blocks]
    samples = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
    return torch.from_numpy(np.ascontiguousarray(samples)), blocks[0][2]


def to_mono(waveform, channel=None, how="mean"):
    """Mixes channels, or picks one.

    Arguments
    ---------
    waveform : torch.Tensor
        [channels, samples]
    channel : int or None
        The channel to pick, from 0; None mixes all.
    how : str
        "mean" or "sum".

    Returns
    -------
    waveform : torch.Tensor
        [samples]

    Raises
    ------
    BadRecording
        If there is no such channel.

    Example
    -------
    >>> to_mono(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    tensor([ 0.5000, -0.5000])
    >>> to_mono(torch.tensor([[1.0, 0.0], [0.0, -1.0]]), channel=1)
    tensor([ 0., -1.])
    """
    if how not in MIXES:
        raise ValueError(f"how should be one of {MIXES}, found {how!r}")
    used = waveform[_channels_used(len(waveform), channel)]
    if len(used) == 1:
        return used[0]
    return used.mean(dim=0) if how == "mean" else used.sum(dim=0)


def resample(waveform, orig_rate, new_rate):
    """Resamples with torchaudio's defaults, or leaves the rate alone.

    Rates without a large common divisor (44099 and 16000 Hz) need a kernel of
    gigabytes there; soxr resamples those, at its high quality.

    Arguments
    ---------
    waveform : torch.Tensor
        float32 [..., samples]
    orig_rate : int
        The waveform's rate in Hz.
    new_rate : int
        The wanted rate in Hz; 0 leaves it alone.

    Returns
    -------
    waveform : torch.Tensor
        float32 [..., ceil(samples * new_rate / orig_rate)]

    Example
    -------
    >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
    torch.Size([2, 16000])
    """
    if new_rate in (0, orig_rate):
        return waveform
    if _kernel_size(orig_rate, new_rate) <= MAX_KERNEL_SIZE:
        return torchaudio.functional.resample(waveform, orig_rate, new_rate)
    n_samples = -(-waveform.shape[-1] * new_rate // orig_rate)
    rows = waveform.reshape(-1, waveform.shape[-1]).numpy()
    resampled = soxr.resample(rows.T, orig_rate, new_rate, quality="HQ").T
    whole = np.zeros((len(rows), n_samples), dtype=np.float32)
    n_same = min(n_samples, resampled.shape[1])  # soxr rounds, torchaudio rounds up
    whole[:, :n_same] = resampled[:, :n_same]
    return torch.from_numpy(whole).reshape(*waveform.shape[:-1], n_samples)


def load_recording(
    folder,
    metadata,
    *,
    sample_rate=16000,
    backend="soundfile",
    mono="mean",
    channel=None,
    start_s=None,
    end_s=None,
):
    """Loads a recording as a mono waveform: decode, mix, resample.

    The rate in the audio file's header counts, not the one in metadata.json.

    Arguments
    ---------
    folder : str or Path
        The recording's folder.
    metadata : dict
        From `read_metadata`.
    sample_rate : int
        The wanted rate in Hz; 0 leaves the file's own.
    backend : str
        "soundfile" or "librosa".
    mono : str
        How channels are mixed: "mean" or "sum".
    channel : int or None
        The only channel to use, from 0; None mixes all.
    start_s, end_s : float or None
        The segment in seconds; None is the beginning or the end.

    Returns
    -------
    waveform : torch.Tensor
        float32 [samples]

    Raises
    ------
    BadRecording
        As `find_waveform`, `decode` and `to_mono` do.
    """
    path = find_waveform(folder, metadata)
    waveform, rate = decode(path, backend, start_s, end_s)
    return resample(to_mono(waveform, channel, mono), rate, sample_rate)


def inspect_recording(
    folder,
    *,
    backend="soundfile",
    mono="mean",
    channel=None,
    start_s=None,
    end_s=None,
    min_duration_s=0.1,
    sample_rate=16000,
):
    """Decodes a whole recording once, block by block, and says what it is like.

    Arguments
    ---------
    folder : str or Path
        The recording's folder.
    backend, mono, channel, start_s, end_s, sample_rate
        As in `load_recording`.
    min_duration_s : float
        What is shorter can't be used.

    Returns
    -------
    report : RecordingReport

    Raises
    ------
    BadRecording
        If it can't be read, is truncated, too short or silent, if it holds NaN
        or infinity, or if the segment reaches beyond its end.
    """
    metadata = read_metadata(folder)
    path = find_waveform(folder, metadata)
    info = probe(path)
    levels = None
    for _, samples, rate in _blocks(path, info, backend, start_s, end_s):
        levels = levels or _Levels(rate)
        used = samples[_channels_used(len(samples), channel)]
        levels.add(used, to_mono(torch.from_numpy(used), how=mono).numpy())
    levels.check(path.name, min_duration_s)
    stated_rate = metadata.get("sample_rate_hz")
    return RecordingReport(
        waveform=path.name,
        format=info.format,
        codec=info.codec,
        sample_rate=levels.rate,
        channels=info.channels,
        duration_s=levels.n_samples / levels.rate,
        metadata_sample_rate=float(stated_rate) if _is_number(stated_rate) else None,
        peak=levels.peak,
        level_dbfs=10 * math.log10(levels.mean_square),
        clipped_share=levels.clipped_share,
        silent_share=levels.silent_share,
        warnings=(
            *_rate_warnings(stated_rate, levels.rate, sample_rate),
            *levels.warnings(),
        ),
    )


class _Levels:
    """Sums up a recording's levels, block by block."""

    def __init__(self, rate):
        self.rate = rate
        self.n_samples = 0
        self.low, self.high = math.inf, -math.inf
        self.mono_low, self.mono_high = math.inf, -math.inf
        self.is_finite = True
        self.n_values = self.n_clipped = 0
        self.sum_of_squares = 0.0
        self.n_frames = self.n_silent = 0
        self.frame_length = max(1, round(LEVEL_FRAME_S * rate))
        self.pending = np.empty(0)

    def add(self, used, mono):
        """Takes the channels used [channels, samples] and their mix [samples]."""
        self.is_finite = self.is_finite and bool(np.isfinite(used).all())
        self.n_samples += len(mono)
        if not self.is_finite:
            return
        self.low = min(self.low, float(used.min()))
        self.high = max(self.high, float(used.max()))
        self.mono_low = min(self.mono_low, float(mono.min()))
        self.mono_high = max(self.mono_high, float(mono.max()))
        self.n_values += used.size
        self.n_clipped += int(np.count_nonzero(np.abs(used) >= FULL_SCALE))
        squares = np.square(mono, dtype=np.float64)
        self.sum_of_squares += float(squares.sum())
        squares = np.concatenate([self.pending, squares])
        whole = len(squares) - len(squares) % self.frame_length
        means = squares[:whole].reshape(-1, self.frame_length).mean(axis=1)
        self.n_frames += len(means)
        self.n_silent += int(np.count_nonzero(means < 10 ** (SILENCE_DBFS / 10)))
        self.pending = squares[whole:]

    @property
    def peak(self):
        return max(-self.low, self.high)

    @property
    def mean_square(self):
        return self.sum_of_squares / self.n_samples

    @property
    def clipped_share(self):
        return self.n_clipped / self.n_values

    @property
    def silent_share(self):
        # A recording shorter than one frame counts as one.
        if self.n_frames == 0:
            return float(self.mean_square < 10 ** (SILENCE_DBFS / 10))
        return self.n_silent / self.n_frames

    def check(self, name, min_duration_s):
        """Raises BadRecording for what no recording of speech can be."""
        if self.n_samples < max(2, min_duration_s * self.rate):
            raise BadRecording(
                f"{name} is too short: expected at least {min_duration_s:g} s, found "
                f"{self.n_samples / self.rate:.4g} s ({self.n_samples} samples)"
            )
        if not self.is_finite:
            raise BadRecording(f"{name} holds samples that are NaN or infinite")
        if self.low == self.high:
            raise BadRecording(f"{name} is silent: every sample is {self.low:g}")
        if self.mono_low == self.mono_high:
            raise BadRecording(
                f"{name} is silent once its channels are mixed, since they cancel "
                "each other: choose one of them with `channel`"
            )

    def warnings(self):
        """Yields what is odd about the levels."""
        if self.peak > 1.001:
            yield f"samples reach {self.peak:.4g}, where 1 is full scale"
        elif self.clipped_share > 0.001:
            yield f"clipped: {self.clipped_share:.1%} of the samples at full scale"
        if self.silent_share > 0.9:
            yield f"{self.silent_share:.0%} of it is below {SILENCE_DBFS} dBFS"


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rate_warnings(stated_rate, rate, sample_rate):
    if stated_rate is None:
        yield 'metadata.json has no "sample_rate_hz"'
    elif not _is_number(stated_rate):
        yield f'"sample_rate_hz" in metadata.json is no number: {stated_rate!r}'
    elif stated_rate != rate:
        yield (
            f"metadata.json says {stated_rate} Hz, the audio file's header "
            f"{rate} Hz: the header's is used"
        )
    if rate < sample_rate:
        yield (
            f"recorded at {rate} Hz, used at {sample_rate} Hz: there is nothing "
            f"above {rate // 2} Hz"
        )


def _existing(folder):
    folder = Path(folder)
    if not folder.is_dir():
        raise BadRecording(f"there is no folder {folder}")
    return folder


def _channels_used(n_channels, channel):
    if channel is None:
        return slice(None)
    if not 0 <= channel < n_channels:
        raise BadRecording(
            f"there is no channel {channel}: the recording has {n_channels}, "
            f"numbered from 0 to {n_channels - 1}"
        )
    return slice(channel, channel + 1)


def _kernel_size(orig_rate, new_rate):
    """Numbers in torchaudio's resampling kernel, from its defaults."""
    divisor = math.gcd(orig_rate, new_rate)
    orig, new = orig_rate // divisor, new_rate // divisor
    width = math.ceil(6 * orig / (min(orig, new) * 0.99))
    return new * (2 * width + orig)


@contextlib.contextmanager
def _reasons_named(path):
    """Turns what the libraries raise into BadRecording."""
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


def _blocks(path, info, backend, start_s, end_s):
    """Yields at least one block of a file's segment, and finds truncated files."""
    if backend not in BACKENDS:
        raise ValueError(f"backend should be one of {BACKENDS}, found {backend!r}")
    is_whole = start_s is None and end_s is None
    segment = "" if is_whole else f" from {start_s or 0:g} s to {end_s or 'the end'}"
    start_s = 0.0 if start_s is None else start_s
    if not 0 <= start_s < (math.inf if end_s is None else end_s):
        raise BadRecording(
            f"the segment should have 0 <= start_s < end_s, found start_s {start_s} "
            f"and end_s {end_s}"
        )
    with _reasons_named(path):
        _check_chunks(path, info)
    if info.reader == "pyav":
        blocks = _blocks_from_pyav(path)
    elif backend == "librosa":
        blocks = _blocks_from_librosa(path)
    else:
        blocks = _blocks_from_soundfile(path, info, start_s)
    is_empty = True
    for block in _cut(_complete(blocks, path, info), path, start_s, end_s):
        is_empty = False
        yield block
    if is_empty:
        raise BadRecording(f"{path.name} holds no samples{segment}")


def _blocks_from_soundfile(path, info, start_s):
    # After a jump, lossy codecs decode slightly different samples.
    lossy = ("MPEG", "VORBIS", "OPUS", "ADPCM", "GSM", "NMS", "G72")
    can_seek = not any(word in info.codec for word in lossy)
    with _reasons_named(path), soundfile.SoundFile(str(path)) as file:
        position = 0
        if can_seek and start_s:
            position = file.seek(min(round(start_s * file.samplerate), file.frames))
        while True:
            samples = file.read(BLOCK, dtype="float32", always_2d=True).T
            yield position, samples, file.samplerate
            position += samples.shape[1]
            if samples.shape[1] < BLOCK:
                return


def _blocks_from_librosa(path):
    with _reasons_named(path):
        samples, rate = librosa.load(path, sr=None, mono=False)
    yield 0, np.atleast_2d(samples), int(rate)


def _blocks_from_pyav(path):
    with _reasons_named(path), _open_with_pyav(path) as (container, stream):
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


def _complete(blocks, path, info):
    """Passes blocks on; at the end, compares their length with the header's."""
    found_s = 0.0
    for position, samples, rate in blocks:
        yield position, samples, rate
        found_s = (position + samples.shape[1]) / rate
    expected_s = info.n_samples / info.sample_rate
    if info.is_promise and found_s < expected_s - LENGTH_SLACK_S:
        raise BadRecording(
            f"{path.name} is truncated or damaged: expected {expected_s:.2f} s by its "
            f"header, found {found_s:.2f} s"
        )


def _cut(blocks, path, start_s, end_s):
    """Passes on what lies in the segment; stops decoding at its end."""
    found_s = 0.0
    for position, samples, rate in blocks:
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
    with av.open(str(path.resolve()), options=options) as container:
        if not container.streams.audio:
            raise BadRecording(f"{path.name} has no audio track")
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
    with _reasons_named(path), path.open("rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3":  # its size: four times seven bits
            size = functools.reduce(lambda total, byte: total << 7 | byte, head[6:], 0)
            start = 10 + size
        file.seek(start)
        first_frame = file.read(2048)
    return any(name in first_frame for name in (b"Xing", b"Info", b"VBRI"))


def _check_chunks(path, info):
    """Raises BadRecording if a WAV or AIFF promises more bytes than it has.

    libsndfile and FFmpeg read such a file to its end without a word.
    """
    with path.open("rb") as file:
        little = {b"RIFF": True, b"RF64": True, b"RIFX": False, b"FORM": False}
        order = little.get(file.read(12)[:4])
        if order is None:
            return
        order = "little" if order else "big"
        position, wide = 12, None
        while len(head := file.read(8)) == 8:
            name, length = head[:4], int.from_bytes(head[4:], order)
            position += 8
            if name in (b"data", b"SSND"):
                break
            if name == b"ds64":  # RF64: 64-bit sizes of the file and of its data
                wide = int.from_bytes(file.read(16)[8:], order)
            position += length + length % 2
            file.seek(position)
        else:
            return
    promised = length if wide is None else wide
    present = path.stat().st_size - position
    if present >= promised or (wide is None and promised >= UNKNOWN_BYTES):
        return
    found_s = info.n_samples / info.sample_rate
    raise BadRecording(
        f"{path.name} is truncated: expected {found_s * promised / present:.2f} s "
        f"({promised} bytes) by its header, found {found_s:.2f} s ({present} bytes)"
        if present
        else f"{path.name} is truncated: its header promises {promised} bytes, "
        "found none"
    )


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
