"""What a recording is like: levels, silence, clipping, and what is odd about it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from local.audio import decoding, loading, probing
from local.utils.errors import DAMAGED, SILENT, TOO_SHORT, BadRecording

FULL_SCALE = 0.999
SILENCE_DBFS = -60
LEVEL_FRAME_S = 0.025
#: Floats may hold integers that nobody scaled, of up to 32 bits; beyond lies damage.
MAX_MAGNITUDE = 2.0**31
#: Channels that have nothing in common add up to a certain power. Where their mix has
#: less than this share of it, its sound is what remains of a cancellation.
MIN_MIXED_SHARE = 0.1
LOW_MIXED_SHARE = 0.5


@dataclass(frozen=True)
class RecordingReport:
    """What `inspect_recording` found; levels are relative to full scale.

    waveform (str): Name of the file.
    format, codec (str): As in `probing.AudioInfo`.
    sample_rate (int): In Hz, of the file.
    channels (int): Number of channels of the file.
    duration_s (float): Seconds of the segment, from the samples that were really
        decoded.
    metadata_sample_rate (float or None): In Hz, what metadata.json says, if there is
        one.
    peak (float): Largest magnitude in the channels used, before they are mixed.
    level_dbfs (float): RMS of the mono signal; -3.01 for a sine of full scale.
    clipped_share (float): Share of the samples of the channels used that are at full
        scale.
    silent_share (float): Share of frames of 25 ms of the mono signal below -60 dBFS.
    warnings (tuple of str): What is odd about it, but no reason not to use it.
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


def inspect_recording(
    files: dict[str, Path],
    audio: loading.AudioFormat,
    *,
    channel: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> RecordingReport:
    """Decodes a whole recording once, block by block, and says what it is like.

    files: The recording's, by name.
    audio: How it will be read.
    channel, start_s, end_s: As in `loading.load_recording`.

    Returns report.
    Raises BadRecording: if it can't be read, is truncated, too short or silent, if it
        holds NaN or infinity, or if the segment reaches beyond its end.
    """
    metadata = loading.read_metadata(files)
    path = loading.find_waveform(files, metadata)
    info = probing.probe(path)
    levels = None
    read = decoding.blocks(path, info, audio.audio_backend, start_s, end_s)
    for _, samples, rate in read:
        levels = levels or _Levels(rate, audio.mono)
        used = samples[loading.channels_used(len(samples), channel)]
        mixed = loading.to_mono(torch.from_numpy(used), how=audio.mono)
        levels.add(used, mixed.numpy())
    levels.check(path.name, audio.min_duration)
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
            *_rate_warnings(metadata, levels.rate, audio.sample_rate),
            *info.warnings,
            *levels.warnings(),
        ),
    )


class _Levels:
    """Sums up a recording's levels, block by block."""

    def __init__(self, rate, how):
        self.rate = rate
        self.how = how
        self.channel_sums = None  # [channels, (samples, squares)]
        self.sum_of_mono = 0.0
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
        if len(used) > 1:
            self._add_channels(used, mono)
        squares = np.concatenate([self.pending, squares])
        whole = len(squares) - len(squares) % self.frame_length
        means = squares[:whole].reshape(-1, self.frame_length).mean(axis=1)
        self.n_frames += len(means)
        self.n_silent += int(np.count_nonzero(means < 10 ** (SILENCE_DBFS / 10)))
        self.pending = squares[whole:]

    def _add_channels(self, used, mono):
        """Sums up what `mixed_share` compares."""
        if self.channel_sums is None:
            self.channel_sums = np.zeros((len(used), 2))
        self.channel_sums += [
            (channel.sum(dtype=np.float64), np.square(channel, dtype=np.float64).sum())
            for channel in used
        ]
        self.sum_of_mono += float(mono.sum(dtype=np.float64))

    @property
    def mixed_share(self):
        """Power of the mix, relative to channels of these that are unrelated.

        1 for these and for one that sounds alone, the number of channels for equal
        ones, 0 for such that cancel. Constant parts don't count.
        """
        if self.channel_sums is None:
            return 1.0
        sums, squares = self.channel_sums.T / self.n_samples
        power = np.sum(squares - sums**2)
        mixed = self.mean_square - (self.sum_of_mono / self.n_samples) ** 2
        gain = 1.0 if self.how == "sum" else 1 / len(sums)
        return mixed / (gain**2 * power) if power > 0 else 1.0

    @property
    def peak(self):
        """The largest sample of the mix, whatever its sign; 1 is full scale."""
        return max(-self.low, self.high)

    @property
    def mean_square(self):
        """Mean power of the mix, where full scale is 1."""
        return self.sum_of_squares / self.n_samples

    @property
    def clipped_share(self):
        """The share of the samples that are clipped, of all channels."""
        return self.n_clipped / self.n_values

    @property
    def silent_share(self):
        """The share of the frames that are silent."""
        # A recording shorter than one frame counts as one.
        if self.n_frames == 0:
            return float(self.mean_square < 10 ** (SILENCE_DBFS / 10))
        return self.n_silent / self.n_frames

    def check(self, name, min_duration_s):
        """Raises BadRecording for what no recording of speech can be."""
        if self.n_samples < max(2, min_duration_s * self.rate):
            raise BadRecording(
                f"{name} is too short: expected at least {min_duration_s:g} s, found "
                f"{self.n_samples / self.rate:.4g} s ({self.n_samples} samples)",
                TOO_SHORT,
            )
        if not self.is_finite:
            raise BadRecording(
                f"{name} holds samples that are NaN or infinite", DAMAGED
            )
        if self.peak > MAX_MAGNITUDE:
            raise BadRecording(
                f"{name} holds samples of up to {self.peak:.3g}, where 1 is full scale"
            )
        if self.low == self.high:
            raise BadRecording(
                f"{name} is silent: every sample is {self.low:g}", SILENT
            )
        if self.mono_low == self.mono_high:
            raise BadRecording(
                f"{name} is silent once its channels are mixed, since they cancel "
                "each other: choose one of them with `channel`",
                SILENT,
            )
        if self.mixed_share < MIN_MIXED_SHARE:
            lost_db = -10 * math.log10(max(self.mixed_share, 1e-12))
            raise BadRecording(
                f"{name} loses {lost_db:.0f} dB when its channels are mixed: they "
                "cancel each other, choose one of them with `channel`"
            )

    def warnings(self):
        """Yields what is odd about the levels."""
        if self.peak > 1.001:
            yield f"samples reach {self.peak:.4g}, where 1 is full scale"
        elif self.clipped_share > 0.001:
            yield f"clipped: {self.clipped_share:.1%} of the samples at full scale"
        if self.mixed_share < LOW_MIXED_SHARE:
            yield "channels cancel each other in part: choose one with `channel`"
        if self.silent_share > 0.9:
            yield f"{self.silent_share:.0%} of it is below {SILENCE_DBFS} dBFS"


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rate_warnings(metadata, rate, sample_rate):
    stated_rate = metadata.get("sample_rate_hz", None if metadata else rate)
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
