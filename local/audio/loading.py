"""From a recording's folder to a waveform.

A recording is a folder with one `waveform.<ext>` of any format that libsndfile or,
where that can't, FFmpeg (through PyAV) reads, and maybe `metadata.json`. All that can
be wrong with one raises `BadRecording` with the reason: what was expected and what was
found.
"""

import dataclasses
import functools
import json
import math
import unicodedata
from pathlib import Path

import numpy as np
import soxr
import torch
import torchaudio

from local.audio.decoding import BACKENDS, blocks
from local.audio.probing import probe, reasons_named
from local.utils.errors import (
    ABSENT,
    BAD_METADATA,
    FILE_ABSENT,
    NO_CHANNEL,
    BadRecording,
    UserError,
)
from local.utils.file_size import file_size
from local.utils.from_keys import FromKeys

MIXES = ("mean", "sum")

#: Hz; below it there is no speech.
LOWEST_RATE = 1000

#: A name that looks the same may be written in two ways: macOS takes "é" for two
#: characters, most others for one.
FORMS = [functools.partial(unicodedata.normalize, form) for form in ("NFC", "NFD")]

METADATA = "metadata.json"
MAX_METADATA_BYTES = 1_000_000
#: Above this, torchaudio's resampling kernel takes over 32 MB and many seconds.
MAX_KERNEL_SIZE = 1 << 22
#: Samples that torchaudio resamples at a time: it needs many times their memory.
RESAMPLED_BLOCK = 1 << 22


@dataclasses.dataclass(frozen=True)
class AudioFormat(FromKeys):
    """What a model gets of a recording, whatever its files are like.

    sample_rate: Hz; 0 is the one that all recordings have, until preparation has found
        it.
    audio_backend: `soundfile` or `librosa`; what neither reads, PyAV does.
    mono: `mean` or `sum` of the channels.
    min_duration: s; shorter recordings can't be used.

    Raises UserError: for a format that can't be.

    >>> AudioFormat(sample_rate=8000, mono="sum").audio_backend
    'soundfile'
    """

    sample_rate: int = 16000
    audio_backend: str = "soundfile"
    mono: str = "mean"
    min_duration: float = 0.1

    def __post_init__(self):
        if self.sample_rate and self.sample_rate < LOWEST_RATE:
            raise UserError(
                f"sample_rate must be {LOWEST_RATE} or more, or 0 for the recordings' "
                f"own; found {self.sample_rate}."
            )
        for key, names in (("audio_backend", BACKENDS), ("mono", MIXES)):
            if getattr(self, key) not in names:
                raise UserError(
                    f"{key} must be {' or '.join(names)}, found {getattr(self, key)!r}."
                )


def is_recording_file(name):
    """Whether a file of this name is a part of a recording.

    >>> [is_recording_file(name) for name in ("waveform.wav", "metadata.json", "x.txt")]
    [True, True, False]
    """
    return name == METADATA or name.startswith("waveform.")


def recording_files(folder: str | Path) -> dict[str, Path]:
    """The files of a recording on disk.

    folder: The recording's folder.

    Returns: By name.
    Raises BadRecording: if there is no such folder, or it can't be read.
    """
    folder = Path(folder)
    with reasons_named(folder):
        for name in (folder.name, *(form(folder.name) for form in FORMS)):
            if folder.with_name(name).is_dir():
                return {
                    path.name: path
                    for path in sorted(folder.with_name(name).iterdir())
                    if is_recording_file(path.name)
                }
    raise BadRecording(f"there is no folder {folder}", ABSENT)


def file_alone(path: str | Path) -> dict[str, Path]:
    """An audio file of any name as the files of a recording.

    Raises BadRecording: if there is no such file, or it can't be looked at.
    """
    with reasons_named(Path(path)):
        for form in (str, *FORMS):
            own = Path(form(str(path)))
            if own.exists() and not own.is_dir():
                return {f"waveform{own.suffix}": own}
    raise BadRecording(f"there is no file {path}", ABSENT)


def read_metadata(files: dict[str, Path]) -> dict:
    """Reads a recording's metadata.json.

    files: The recording's, by name.

    Returns metadata: At least with "encoding"; empty where there is no such file, and
        the audio file's header says it all.
    Raises BadRecording: if the file is too large, not a JSON object in UTF-8, or
        without "encoding".
    """
    path = files.get(METADATA)
    if path is None:
        return {}
    with reasons_named(path):
        if file_size(path) > MAX_METADATA_BYTES:
            raise BadRecording(
                f"metadata.json should be a few lines, but has more than "
                f"{MAX_METADATA_BYTES} bytes",
                BAD_METADATA,
            )
        content = path.read_bytes()
    try:
        metadata = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadRecording(
            f"metadata.json is not UTF-8: {error}", BAD_METADATA
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadRecording(
            f"metadata.json is not JSON: {error}", BAD_METADATA
        ) from error
    if not isinstance(metadata, dict):
        raise BadRecording(
            'metadata.json should be an object like {"encoding": "WAV", '
            f'"sample_rate_hz": 44100}}, found a {type(metadata).__name__}',
            BAD_METADATA,
        )
    encoding = metadata.get("encoding")
    if not isinstance(encoding, str) or not encoding.strip():
        raise BadRecording(
            f'metadata.json needs "encoding", e.g. "WAV"; found {encoding!r}',
            BAD_METADATA,
        )
    return metadata


def find_waveform(files: dict[str, Path], metadata: dict) -> Path:
    """Finds a recording's audio file.

    files: The recording's, by name.
    metadata: From `read_metadata`.

    Returns path: `waveform.<encoding in lower case>`, else the only `waveform.*`.
    Raises BadRecording: if there is none, or several and none is named after the
        encoding.
    """
    encoding = metadata.get("encoding")
    named = f"waveform.{encoding.strip().lower()}" if encoding else None
    # Names are compared, never joined: an encoding of "/../x" finds nothing.
    if named in files:
        return files[named]
    waveforms = {
        name: path
        for name, path in files.items()
        if name != METADATA and not path.is_dir()
    }
    if len(waveforms) == 1:
        return next(iter(waveforms.values()))
    if named is None:
        raise BadRecording(
            f"there are several waveforms: {', '.join(waveforms)}; keep one, or name "
            f'its encoding in {METADATA}, as {{"encoding": "WAV"}}'
            if waveforms
            else "there is no waveform.*",
            BAD_METADATA if waveforms else FILE_ABSENT,
        )
    if not waveforms:
        raise BadRecording(
            f"{named} is missing, and there is no other waveform.*", FILE_ABSENT
        )
    raise BadRecording(
        f"{named} is missing, and there are several others: {', '.join(waveforms)}",
        FILE_ABSENT,
    )


def decode(
    path: str | Path,
    backend: str = "soundfile",
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[torch.Tensor, int]:
    """Decodes an audio file, or a segment of it, at its own rate.

    Integers become floats in [-1, 1). MP3 and what libsndfile can't read, FFmpeg does,
    with either backend. Uncompressed files and FLAC are read from `start_s` on,
    others decoded from their beginning.

    path: The audio file.
    backend: "soundfile" or "librosa".
    start_s, end_s: The segment in seconds; None is the beginning or the end.

    Returns waveform: float32 [channels, samples].
    Returns sample_rate: In Hz.
    Raises BadRecording: if the file can't be read, is truncated or empty, or if the
        segment reaches beyond its end.
    """
    path = Path(path)
    decoded = list(blocks(path, probe(path), backend, start_s, end_s))
    pieces = [samples for _, samples, _ in decoded]
    samples = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
    return torch.from_numpy(np.ascontiguousarray(samples)), decoded[0][2]


def to_mono(
    waveform: torch.Tensor, channel: int | None = None, how: str = "mean"
) -> torch.Tensor:
    """Mixes channels, or picks one.

    waveform: [channels, samples]
    channel: The channel to pick, from 0; None mixes all.
    how: "mean" or "sum".

    Returns waveform: [samples]
    Raises BadRecording: if there is no such channel.

    >>> to_mono(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    tensor([ 0.5000, -0.5000])
    >>> to_mono(torch.tensor([[1.0, 0.0], [0.0, -1.0]]), channel=1)
    tensor([ 0., -1.])
    """
    if how not in MIXES:
        raise ValueError(f"how should be one of {MIXES}, found {how!r}")
    used = waveform[channels_used(len(waveform), channel)]
    if len(used) == 1:
        return used[0]
    return used.mean(dim=0) if how == "mean" else used.sum(dim=0)


def resample(waveform: torch.Tensor, orig_rate: int, new_rate: int) -> torch.Tensor:
    """Resamples with torchaudio's defaults, or leaves the rate alone.

    Rates without a large common divisor (44099 and 16000 Hz) need a kernel of
    gigabytes there; soxr resamples those, at its high quality.

    waveform: float32 [..., samples]
    orig_rate: The waveform's rate in Hz.
    new_rate: The wanted rate in Hz; 0 leaves it alone.

    Returns waveform: float32 [..., ceil(samples * new_rate / orig_rate)]

    >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
    torch.Size([2, 16000])
    """
    if new_rate in (0, orig_rate):
        return waveform
    if _kernel_size(orig_rate, new_rate) <= MAX_KERNEL_SIZE:
        return _resample_in_blocks(waveform, orig_rate, new_rate)
    n_samples = -(-waveform.shape[-1] * new_rate // orig_rate)
    rows = waveform.reshape(-1, waveform.shape[-1]).numpy()
    resampled = soxr.resample(rows.T, orig_rate, new_rate, quality="HQ").T
    whole = np.zeros((len(rows), n_samples), dtype=np.float32)
    n_same = min(n_samples, resampled.shape[1])  # soxr rounds, torchaudio rounds up
    whole[:, :n_same] = resampled[:, :n_same]
    return torch.from_numpy(whole).reshape(*waveform.shape[:-1], n_samples)


def load_recording(
    files: dict[str, Path],
    metadata: dict,
    audio: AudioFormat,
    *,
    channel: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> torch.Tensor:
    """Loads a recording as a mono waveform: decode, mix, resample.

    The rate in the audio file's header counts, not the one in metadata.json.

    files: The recording's, by name.
    metadata: From `read_metadata`.
    audio: With `sample_rate` 0 the file's own rate stays.
    channel: The only channel to use, from 0; None mixes all.
    start_s, end_s: The segment in seconds; None is the beginning or the end.

    Returns waveform: float32 [samples]
    Raises BadRecording: as `find_waveform`, `decode` and `to_mono` do.
    """
    path = find_waveform(files, metadata)
    # Mixed block by block, so that many channels need no more memory than one.
    read = blocks(path, probe(path), audio.audio_backend, start_s, end_s)
    decoded = [
        (to_mono(torch.from_numpy(samples), channel, audio.mono), rate)
        for _, samples, rate in read
    ]
    waveform = torch.cat([samples for samples, _ in decoded])
    return resample(waveform, decoded[0][1], audio.sample_rate)


def channels_used(n_channels: int, channel: int | None) -> slice:
    """Which of a recording's channels are used, as a slice.

    channel: The only channel to use, from 0; None uses all.

    Raises BadRecording: if there is no such channel.

    >>> channels_used(2, None), channels_used(2, 1)
    (slice(None, None, None), slice(1, 2, None))
    """
    if channel is None:
        return slice(None)
    if not 0 <= channel < n_channels:
        raise BadRecording(
            f"there is no channel {channel}: the recording has {n_channels}, "
            f"numbered from 0 to {n_channels - 1}",
            NO_CHANNEL,
        )
    return slice(channel, channel + 1)


@functools.lru_cache(16)
def _resampler(orig_rate, new_rate):
    """torchaudio's, whose kernel is computed once and in float64."""
    return torchaudio.transforms.Resample(orig_rate, new_rate)


def _resample_in_blocks(waveform, orig_rate, new_rate):
    """torchaudio's, of [..., samples], each block with all that its kernel sees."""
    resampler = _resampler(orig_rate, new_rate)
    orig, new, width = _kernel_shape(orig_rate, new_rate)
    length = max(1, RESAMPLED_BLOCK // orig) * orig
    margin = (width // orig + 2) * orig
    blocks_of_output = []
    for start in range(0, waveform.shape[-1], length):
        first = max(0, start - margin)
        resampled = resampler(waveform[..., first : start + length + margin])
        begin = (start - first) // orig * new
        blocks_of_output.append(resampled[..., begin : begin + length // orig * new])
    if len(blocks_of_output) == 1:
        return blocks_of_output[0]
    return torch.cat(blocks_of_output, dim=-1)


def _kernel_shape(orig_rate, new_rate):
    """The rates without their common divisor, and the kernel's reach to each side."""
    divisor = math.gcd(orig_rate, new_rate)
    orig, new = orig_rate // divisor, new_rate // divisor
    return orig, new, math.ceil(6 * orig / (min(orig, new) * 0.99))


def _kernel_size(orig_rate, new_rate):
    """Numbers in torchaudio's resampling kernel, from its defaults."""
    orig, new, width = _kernel_shape(orig_rate, new_rate)
    return new * (2 * width + orig)
