"""Acoustic statistics of a recording that need no model of the voice."""

import functools
import itertools

import torch
import torchaudio

WINDOW_S, HOP_S = 0.032, 0.010
N_MFCC, N_MELS = 20, 40

#: Power of a frame or a frequency that is told from nothing.
MIN_POWER = 1e-10

#: A pause is so long, in s, and so many dB below the loudest sounds.
MIN_PAUSE_S, PAUSE_DB, LOUDEST = 0.3, 25.0, 0.99

#: Where F0 is looked for, in Hz, in frames of three of its longest periods. The others
#: are Praat's defaults: a frame is voiced with at least this correlation and this
#: amplitude, in parts of the recording's; an octave lower costs so much correlation.
F0_RANGE = (60.0, 400.0)
F0_PERIODS = 3
VOICED_CORRELATION, VOICED_AMPLITUDE, OCTAVE_COST = 0.45, 0.03, 0.01

#: Bands in Hz in which F0 and level go up and down: slow, syllables, tremor, the
#: flutter of amyotrophic lateral sclerosis (Aronson et al. 1992, Ann Otol Rhinol
#: Laryngol 101:511-518), roughness.
MODULATION_BANDS = {
    "slow": (0.5, 2.0),
    "syllabic": (2.0, 4.0),
    "tremor": (4.0, 8.0),
    "flutter": (8.0, 15.0),
    "rough": (15.0, 50.0),
}

#: Spectra of a modulation have this many points at the least: 0.1 Hz apart.
MODULATION_FFT = 1024

#: Semitones from the median F0 at which the octave is taken for wrong.
HALF_OCTAVE = 6.0

#: Least power of a modulation, in dB² or semitones².
MIN_MODULATION = 1e-6

#: Bands of the long-term spectrum, 0 to 4 kHz, through whose levels the slope goes.
SLOPE_BAND_HZ, N_SLOPE_BANDS = 500.0, 8

#: Frames whose F0 is computed at a time, so that memory stays small.
FRAMES_AT_A_TIME = 1000


def acoustic_statistics(waveform: torch.Tensor, sample_rate: int) -> dict[str, float]:
    """Describes a recording by 66 plain numbers.

    Over frames of 32 ms, every 10 ms: mean and standard deviation of 20 mel-frequency
    cepstral coefficients, of the level (dB of full scale), the spectral centroid (Hz)
    and the spectral flatness (dB; Johnston 1988, IEEE JSAC 6:314-323). Of F0: median
    (Hz), standard deviation (semitones) and the share of frames that are voiced;
    without a voiced frame the middle of the range searched (155 Hz) and a deviation of
    0. Of the whole: duration (s), share of pauses, and how many there are of 0.3 s or
    more. How much F0 and level go up and down in each of `MODULATION_BANDS` (dB; see
    `modulation`), and four numbers of the long-term spectrum's tilt (see `_tilt`).

    waveform: [time], Mono, float32.
    sample_rate: Hz.

    Returns: `acoustic_…`, all finite, the same names for every recording.

    >>> tone = torch.sin(2 * torch.pi * 200 * torch.arange(16000) / 16000)
    >>> values = acoustic_statistics(tone, 16000)
    >>> len(values), round(values["acoustic_f0_median_hz"]), values["acoustic_n_pauses"]
    (66, 200, 0.0)
    """
    duration_s = len(waveform) / sample_rate
    # as long as a frame, at the least
    missing = max(0, _pitch_window(sample_rate) - len(waveform))
    waveform = torch.nn.functional.pad(waveform, (0, missing))
    spectrogram, mfcc = _transforms(sample_rate)
    power = spectrogram(waveform).clamp(min=MIN_POWER)  # [frequency, frame]
    # what one side of the spectrum has, twice, is the mean square of a frame
    level = _decibels(2 * power.sum(dim=0) / spectrogram.n_fft)
    frequencies = torch.linspace(0, sample_rate / 2, len(power))
    tracks = {
        **{f"mfcc_{i:02d}": track for i, track in enumerate(mfcc(waveform))},
        "level_db": level,
        "centroid_hz": frequencies @ power / power.sum(dim=0),
        "flatness_db": _decibels(power).mean(dim=0) - _decibels(power.mean(dim=0)),
    }
    f0 = f0_track(waveform, sample_rate)
    result = {
        **{f"{name}_mean": track.mean().item() for name, track in tracks.items()},
        **{
            f"{name}_sd": track.std(correction=0).item()
            for name, track in tracks.items()
        },
        **_f0_statistics(f0),
        "duration_s": duration_s,
        "pause_share": _pause_share(level),
        "n_pauses": float(count_pauses(level)),
        **_modulations("f0", _semitones(f0)),
        **_modulations("level", level),
        **_tilt(power.mean(dim=1), frequencies),
    }
    return {f"acoustic_{name}": value for name, value in result.items()}


@functools.cache
def _transforms(sample_rate):
    """Power spectrogram and MFCCs of the same frames."""
    size = round(WINDOW_S * sample_rate)
    frames = {"n_fft": size, "hop_length": round(HOP_S * sample_rate)}
    spectrogram = torchaudio.transforms.Spectrogram(**frames, normalized="window")
    mfcc = torchaudio.transforms.MFCC(
        sample_rate, n_mfcc=N_MFCC, melkwargs={**frames, "n_mels": N_MELS}
    )
    return spectrogram, mfcc


def _decibels(power):
    return 10 * torch.log10(power)


def _tilt(power, frequencies):
    """How the long-term spectrum [frequency] falls, in dB and dB per 500 Hz.

    Alpha ratio and Hammarberg index (Eyben et al. 2016, IEEE Trans Affect Comput
    7:190-202), the first 500 Hz above the next, and the slope to 4 kHz.
    """

    def within(low, high):
        return power[(frequencies >= low) & (frequencies < high)]

    def level(low, high):
        return _decibels(within(low, high).sum().clamp(min=MIN_POWER)).item()

    peaks = [
        _decibels(torch.cat([part, power.new_full((1,), MIN_POWER)]).max()).item()
        for part in (within(0, 2000), within(2000, 5000))
    ]
    edges = [SLOPE_BAND_HZ * i for i in range(N_SLOPE_BANDS + 1)]
    levels = torch.tensor([level(*band) for band in itertools.pairwise(edges)])
    return {
        "alpha_ratio_db": level(50, 1000) - level(1000, 5000),
        "hammarberg_db": peaks[0] - peaks[1],
        "low_balance_db": level(50, 500) - level(500, 1000),
        "slope_db": _trend(levels)[0].item(),
    }


def _trend(values):
    """Slope per step and the straight line of values [n]."""
    steps = torch.arange(len(values)) - (len(values) - 1) / 2
    slope = (steps @ values) / steps.square().sum().clamp(min=1)
    return slope, values.mean() + slope * steps


def _modulations(name, track):
    """Of a track [frame] in each band, by the names of the statistics."""
    return {
        f"{name}_{band}_db": value
        for band, value in zip(MODULATION_BANDS, modulation(track), strict=True)
    }


def modulation(track: torch.Tensor) -> list[float]:
    """How much a track goes up and down in each of `MODULATION_BANDS`.

    track: [frame], every 10 ms; its straight line is taken off.

    Returns: 10 log10 of its variance in the band, -60 at the least.

    >>> tremor = 2**0.5 * torch.sin(2 * torch.pi * 6 * torch.arange(500) / 100)
    >>> [round(value) for value in modulation(tremor)][2]
    0
    """
    window = torch.hann_window(len(track), periodic=False)
    n = max(MODULATION_FFT, len(track))
    spectrum = torch.fft.rfft((track - _trend(track)[1]) * window, n).abs().square()
    variance = 2 * spectrum / (n * window.square().sum().clamp(min=1))
    frequencies = torch.fft.rfftfreq(n, HOP_S)
    return [
        _decibels(
            variance[(frequencies >= low) & (frequencies < high)]
            .sum()
            .clamp(min=MIN_MODULATION)
        ).item()
        for low, high in MODULATION_BANDS.values()
    ]


def count_pauses(level: torch.Tensor) -> int:
    """Counts the pauses between the first and the last sound.

    A pause is 0.3 s or more in which the level is more than 25 dB below that of the
    loudest sounds: de Jong and Wempe (2009), Behavior Research Methods 41:385-390.

    level: [frame], dB, every 10 ms.

    >>> count_pauses(torch.tensor([-60.0] * 50 + [0.0] * 9 + [-60.0] * 30 + [0.0] * 9))
    1
    """
    return len(_pauses(level)[0])


def _pause_share(level):
    """The share of the time from the first to the last sound that is pauses."""
    pauses, n_frames = _pauses(level)
    return pauses.sum().item() / n_frames


def _pauses(level):
    """The length of each pause, and from the first to the last sound, in frames."""
    sounding = torch.nonzero(level >= level.quantile(LOUDEST) - PAUSE_DB)[:, 0]
    gaps = sounding.diff() - 1
    n_frames = (sounding[-1] - sounding[0] + 1).item()
    return gaps[gaps >= round(MIN_PAUSE_S / HOP_S)], n_frames


def _pitch_window(sample_rate):
    return round(F0_PERIODS / F0_RANGE[0] * sample_rate)


def f0_track(waveform: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """F0 by the normalised autocorrelation of each frame.

    Of the window as of the signal, by which the former is divided: Boersma (1993), IFA
    Proceedings 17:97-110, with the best candidate of each frame and no path through
    them.

    waveform: [time], At least 50 ms.
    sample_rate: Hz.

    Returns: [frame], Hz, every 10 ms, from 60 to 400; 0 where not voiced.
    """
    size = _pitch_window(sample_rate)
    frames = waveform.unfold(0, size, round(HOP_S * sample_rate))
    window = torch.hann_window(size)
    of_window = _autocorrelation(window)
    lowest, highest = (int(sample_rate / f0) for f0 in reversed(F0_RANGE))
    lags = torch.arange(lowest, highest + 1)
    cost = OCTAVE_COST * torch.log2(lags / lowest)
    result = []
    for some in frames.split(FRAMES_AT_A_TIME):
        centred = some - some.mean(dim=1, keepdim=True)
        correlation = _autocorrelation(centred * window) / of_window
        _, best = (correlation[:, lags] - cost).max(dim=1)
        before, at, after = correlation.gather(
            1, lags[best][:, None] + torch.tensor([-1, 0, 1])
        ).T
        # where a parabola through the highest and its neighbours has its top
        bend = (before - 2 * at + after).clamp(max=-MIN_POWER)
        period = lags[best] + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
        voiced = at > VOICED_CORRELATION
        voiced &= centred.abs().amax(dim=1) > VOICED_AMPLITUDE * waveform.abs().max()
        result.append(torch.where(voiced, sample_rate / period, 0.0))
    return torch.cat(result)


def _autocorrelation(frames):
    """Of frames [..., time] at each lag, 1 at lag 0."""
    size = frames.shape[-1]
    spectrum = torch.fft.rfft(frames, 2 * size)  # twice: no end meets the beginning
    products = torch.fft.irfft(spectrum.abs() ** 2)[..., :size]
    return products / products[..., :1].clamp(min=MIN_POWER)


def _semitones(f0):
    """From the median, [frame] → [frame]; 0 where not voiced, or at a wrong octave."""
    if not (f0 > 0).any():
        return torch.zeros_like(f0)
    distance = 12 * (f0.clamp(min=1.0) / f0[f0 > 0].median()).log2()
    return torch.where(distance.abs() < HALF_OCTAVE, distance, 0.0)


def _f0_statistics(f0):
    voiced = f0[f0 > 0]
    if not len(voiced):
        middle = (F0_RANGE[0] * F0_RANGE[1]) ** 0.5
        return {"f0_median_hz": middle, "f0_sd_semitones": 0.0, "voiced_share": 0.0}
    return {
        "f0_median_hz": voiced.median().item(),
        "f0_sd_semitones": (12 * voiced.log2()).std(correction=0).item(),
        "voiced_share": len(voiced) / len(f0),
    }
