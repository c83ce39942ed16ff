"""The transforms that `local.augment.base.Augmentation` draws for every recording.

Each takes a waveform [time] and a generator that every random number comes from, and
works on the waveform's device (codecs and the drawing of noise on the CPU). The
algorithms are those of torchaudio and SpeechBrain. Neither silence nor a recording of a
few samples becomes NaN.
"""

import contextlib
import inspect
import logging
import math
import random
from fractions import Fraction

import soundfile
import torch
import torchaudio
from speechbrain.augment.codec import CodecAugment
from speechbrain.augment.time_domain import DropChunk

from local.augment.base import Transform
from local.utils.keyed_random import integer_below, uniform

logger = logging.getLogger(__name__)

#: Changes of speed that can be asked for, as ratio: beyond, it is a mistake.
RATIOS = (0.1, 10)
#: Changes of level that can be asked for in dB: far from float32's ends.
LEVELS_DB = (-200, 200)
#: Ratios of resampling are drawn in steps of 1/100: the kernel stays small.
STEPS = 100


def known_rate(sample_rate, probability):
    """A sample rate in Hz that has to be known where a transform is used."""
    if probability and not sample_rate > 0:
        raise ValueError(f"sample_rate must be above 0 Hz: {sample_rate}")
    return sample_rate


# Time and pitch


class TimeShift(Transform):
    """Shift a recording in its own length, as SpeechBrain's `RandomShift` does.

    What leaves at one end comes in at the other: whatever a label rests on, be it
    the cough at the very end, is still there, and no silence is made up.

    tshift_range: In s; above 0 is later.
    sample_rate: Hz.

    >>> shift = TimeShift(1.0, 0.5, sample_rate=4)
    >>> shift(torch.arange(5.0), torch.Generator())
    tensor([3., 4., 0., 1., 2.])
    """

    def __init__(
        self,
        probability: float,
        tshift_range: tuple[float, float] | float,
        sample_rate: int,
    ):
        super().__init__(probability, tshift_range=tshift_range)
        self.sample_rate = known_rate(sample_rate, probability)

    def apply_to(self, waveform, generator):
        """Circular, by whole samples."""
        shift_s = uniform(*self.tshift_range, generator)
        return torch.roll(waveform, round(shift_s * self.sample_rate))


class Speed(Transform):
    """Play a recording faster or slower; pitch and formants move with the speed.

    speed_range: Ratio of speeds: 1.1 is 10 % faster, and as much shorter. Drawn in
        steps of 0.01.

    >>> speed = Speed(1.0, (1.25, 1.25))
    >>> speed(torch.randn(16000), torch.Generator()).shape
    torch.Size([12800])
    """

    def __init__(self, probability: float, speed_range: tuple[float, float] | float):
        super().__init__(probability, speed_range=speed_range)
        self.require("speed_range", *RATIOS)

    def apply_to(self, waveform, generator):
        """Resample as if the recording had been made at another rate."""
        ratio = uniform(*self.speed_range, generator)
        return _played_at(waveform, Fraction(round(ratio * STEPS), STEPS))


class TimeStretch(Transform):
    """Speak faster or slower: the duration changes, pitch and formants stay.

    stretch_range: Ratio of speeds, librosa's `rate`: 1.25 is 25 % faster, and as much
        shorter.
    sample_rate: Hz.

    >>> stretch = TimeStretch(1.0, 1.25, sample_rate=16000)
    >>> stretch(torch.randn(16000), torch.Generator()).shape
    torch.Size([12800])
    """

    def __init__(
        self,
        probability: float,
        stretch_range: tuple[float, float] | float,
        sample_rate: int,
    ):
        super().__init__(probability, stretch_range=stretch_range)
        self.require("stretch_range", *RATIOS)
        self.sample_rate = known_rate(sample_rate, probability)

    def apply_to(self, waveform, generator):
        """A phase vocoder."""
        ratio = uniform(*self.stretch_range, generator)
        return _stretched(waveform, ratio, self.sample_rate)


class PitchShift(Transform):
    """Move the pitch, and the formants with it; the duration stays to the sample.

    torchaudio's own `pitch_shift` resamples between rates that hardly share a
    divisor, with a kernel of gigabytes. Here the ratio comes in steps of 1/100,
    which puts the pitch up to 9 cents beside the one drawn.

    pshiftn: In semitones; above 0 is higher.
    sample_rate: Hz.

    >>> shift = PitchShift(1.0, (-2, 2), sample_rate=16000)
    >>> shift(torch.randn(16000), torch.Generator()).shape
    torch.Size([16000])
    """

    def __init__(
        self, probability: float, pshiftn: tuple[float, float] | float, sample_rate: int
    ):
        super().__init__(probability, pshiftn=pshiftn)
        self.require("pshiftn", -24, 24)
        self.sample_rate = known_rate(sample_rate, probability)

    def apply_to(self, waveform, generator):
        """Stretch, then play at the speed that makes up for it."""
        ratio = 2 ** (uniform(*self.pshiftn, generator) / 12)
        if ratio >= 1:
            ratio = Fraction(round(ratio * STEPS), STEPS)
        else:
            ratio = Fraction(STEPS, round(STEPS / ratio))
        stretched = _stretched(waveform, 1 / ratio, self.sample_rate)
        return _at_length(_played_at(stretched, ratio), len(waveform))


def _played_at(waveform, ratio):
    """[time] at another speed, a Fraction → [ceil(time / ratio)]"""
    return torchaudio.functional.resample(waveform, ratio.numerator, ratio.denominator)


def _stretched(waveform, ratio, sample_rate):
    """[time] at another tempo → [round(time / ratio)], at least one sample."""
    if ratio == 1:
        return waveform
    hop = max(1, round(0.008 * sample_rate))
    n_fft = 4 * hop  # 32 ms
    window = torch.hann_window(n_fft).to(waveform)
    spectrum = torch.stft(
        waveform,
        n_fft,
        hop,
        window=window,
        pad_mode="constant",  # a recording may be too short to be mirrored
        return_complex=True,
    )
    # The phase that bin k gains in a hop, 2π k hop / n_fft, less whole turns: with
    # them, float32's rounding is heard, 34 dB below a 7 kHz tone after a minute.
    turns = torch.arange(n_fft // 2 + 1, device=waveform.device) % 4 / 4
    stretched = torchaudio.functional.phase_vocoder(
        spectrum, float(ratio), (2 * math.pi * turns).to(waveform)[:, None]
    )
    n_samples = max(1, round(len(waveform) / ratio))
    return torch.istft(stretched, n_fft, hop, window=window, length=n_samples)


def _at_length(waveform, n_samples):
    """[time] cut or filled up with zeros → [n_samples]"""
    return torch.nn.functional.pad(waveform, (0, n_samples - len(waveform)))


# Level, noise and silence


class Gain(Transform):
    """Make a recording louder or softer. Nothing is clipped.

    gain_range: In dB.

    >>> Gain(1.0, 20)(torch.tensor([0.0, 0.1]), torch.Generator())
    tensor([0., 1.])
    """

    def __init__(self, probability: float, gain_range: tuple[float, float] | float):
        super().__init__(probability, gain_range=gain_range)
        self.require("gain_range", *LEVELS_DB)

    def apply_to(self, waveform, generator):
        """One factor for the whole recording."""
        gain_db = uniform(*self.gain_range, generator)
        return torchaudio.functional.gain(waveform, gain_db)


class WhiteNoise(Transform):
    """Add white noise, at a signal-to-noise ratio or of a fixed level.

    snr_range: Ratio of the recording's power to the noise's in dB; silence stays
        silent.
    std_range: The noise's standard deviation, where 1 is full scale. Exactly one of the
        two is given.

    >>> noise = WhiteNoise(1.0, (20, 20))
    >>> clean = torch.sin(torch.arange(16000.0))
    >>> added = noise(clean, torch.Generator()) - clean
    >>> round(10 * torch.log10(clean.square().mean() / added.square().mean()).item())
    20
    """

    def __init__(
        self,
        probability: float,
        snr_range: tuple[float, float] | float | None = None,
        std_range: tuple[float, float] | float | None = None,
    ):
        given = {"snr_range": snr_range, "std_range": std_range}
        given = {name: bounds for name, bounds in given.items() if bounds is not None}
        if len(given) != 1:
            raise ValueError(
                "exactly one of snr_range and std_range must be given, found "
                f"snr_range {snr_range} and std_range {std_range}"
            )
        super().__init__(probability, **given)
        self.is_relative = "snr_range" in given
        if self.is_relative:
            self.require("snr_range", *LEVELS_DB)
        else:
            self.require("std_range", 0)

    def apply_to(self, waveform, generator):
        """Every sample has its own noise."""
        if self.is_relative:
            snr_db = uniform(*self.snr_range, generator)
            std = waveform.square().mean().sqrt() * 10 ** (-snr_db / 20)
        else:
            std = uniform(*self.std_range, generator)
        noise = torch.randn(waveform.shape, generator=generator).to(waveform)
        return waveform + noise * std


class EdgeSilence(Transform):
    """Put digital silence before and after a recording.

    Recordings that end in their own room noise otherwise never show a model what
    silence below that noise looks like.

    silence_range: Length of the silence at either end in s.
    sample_rate: Hz.

    >>> silence = EdgeSilence(1.0, (0.5, 0.5), sample_rate=4)
    >>> silence(torch.ones(3), torch.Generator())
    tensor([0., 0., 1., 1., 1., 0., 0.])
    """

    def __init__(
        self,
        probability: float,
        silence_range: tuple[float, float] | float,
        sample_rate: int,
    ):
        super().__init__(probability, silence_range=silence_range)
        self.require("silence_range", 0, 60)
        self.sample_rate = known_rate(sample_rate, probability)

    def apply_to(self, waveform, generator):
        """Two lengths are drawn, one for each end."""
        lengths = [
            round(uniform(*self.silence_range, generator) * self.sample_rate)
            for _ in range(2)
        ]
        return torch.nn.functional.pad(waveform, lengths)


# SpeechBrain


class SpeechBrainTransform(Transform):
    """One of SpeechBrain's augmentations of waveforms.

    Made for `DropFreq`, `DropChunk` and `CodecAugment`, which draw from the global
    generators of torch and Python: these are seeded for the call and put back.

    A recording stays as it is where `DropChunk` could silence all of it or finds no
    place for its chunk (SpeechBrain would fail or leave nothing), and where the
    module makes a NaN of it (`DropFreq` at 0 Hz). Codecs that can't encode at the
    module's rate are left out with a warning: Opus takes 8, 12, 16, 24 and 48 kHz.

    module: [batch, time] → [batch, time]; if its `forward` has an argument `lengths`,
        it gets relative lengths of 1.

    >>> chunk = DropChunk(drop_length_low=9, drop_length_high=9, drop_count_high=1)
    >>> drop = SpeechBrainTransform(1.0, chunk)
    >>> int(drop(torch.ones(100), torch.Generator()).sum())
    91
    """

    def __init__(self, probability: float, module: torch.nn.Module):
        super().__init__(probability)
        self.module = module
        self.takes_lengths = "lengths" in inspect.signature(module.forward).parameters
        if probability and isinstance(module, CodecAugment):
            _leave_out_codecs(module)

    @property
    def name(self):
        """The module's."""
        return type(self.module).__name__

    def apply_to(self, waveform, generator):
        """The seed of the global generators is drawn."""
        seed = integer_below(1 << 62, generator)
        n_samples = len(waveform)
        if isinstance(self.module, DropChunk) and not _has_room(self.module, n_samples):
            return waveform
        lengths = [waveform.new_ones(1)] if self.takes_lengths else []
        with _global_randomness(seed, waveform.device):
            changed = self.module(waveform[None], *lengths)[0]
        changed = _at_length(changed.to(waveform), n_samples)
        return changed if changed.isfinite().all() else waveform


def _leave_out_codecs(module):
    """Takes the codecs that can't encode at its rate from a CodecAugment."""
    usable = []
    for container, encoder in module.available_format_encoders:
        try:
            module.apply_codec(torch.zeros(1, 1000), container, encoder)
        except soundfile.LibsndfileError as error:
            logger.warning(
                "%s is left out at %s Hz: %s", encoder, module.sample_rate, error
            )
        else:
            usable.append((container, encoder))
    if not usable:
        raise ValueError(f"no codec works at {module.sample_rate} Hz")
    module.available_format_encoders = usable


def _has_room(chunks, n_samples):
    """Whether DropChunk finds a place in a recording, and leaves some of it."""
    first, last = chunks.drop_start, chunks.drop_end
    first = first + n_samples if first < 0 else first
    last = n_samples if last is None else last
    last = last + n_samples if last < 0 else last
    longest = chunks.drop_length_high
    fits = first >= 0 and last <= n_samples and last - first >= longest
    return fits and longest * chunks.drop_count_high < n_samples


@contextlib.contextmanager
def _global_randomness(seed, device):
    """Seeds what torch and Python draw from, and puts it back at the end."""
    is_cuda = device.type == "cuda"
    state = random.getstate()
    try:
        with torch.random.fork_rng([device] if is_cuda else []):
            random.seed(seed)
            # torch.manual_seed would seed all other devices too.
            torch.default_generator.manual_seed(seed)
            if is_cuda:
                torch.cuda.default_generators[device.index].manual_seed(seed)
            yield
    finally:
        random.setstate(state)
