"""Acoustic statistics of a recording that need no model of the voice."""

import functools

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

#: Frames whose F0 is computed at a time, so that memory stays small.
FRAMES_AT_A_TIME = 1000


def acoustic_statistics(waveform: torch.Tensor, sample_rate: int) -> dict[str, float]:
    """Describes a recording by 52 plain numbers.

    Over frames of 32 ms, every 10 ms: mean and standard deviation of 20 mel-frequency
    cepstral coefficients, of the level (dB of full scale), the spectral centroid (Hz)
    and the spectral flatness (dB; Johnston 1988, IEEE JSAC 6:314-323). Of F0: median
    (Hz), standard deviation (semitones) and the share of frames that are voiced;
    without a voiced frame the middle of the range searched (155 Hz) and a deviation of
    0. Of the whole: duration (s), share of pauses, and how many there are of 0.3 s or
    more.

    waveform: [time], Mono, float32.
    sample_rate: Hz.

    Returns: `acoustic_…`, all finite, the same names for every recording.

    >>> tone = torch.sin(2 * torch.pi * 200 * torch.arange(16000) / 16000)
    >>> values = acoustic_statistics(tone, 16000)
    >>> len(values), values["acoustic_f0_median_hz"], values["acoustic_n_pauses"]
    (52, 200.0, 0.0)
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
    result = {
        **{f"{name}_mean": track.mean().item() for name, track in tracks.items()},
        **{
            f"{name}_sd": track.std(correction=0).item()
            for name, track in tracks.items()
        },
        **_f0_statistics(f0_track(waveform, sample_rate)),
        "duration_s": duration_s,
        "pause_share": _pause_share(level),
        "n_pauses": float(count_pauses(level)),
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
        correlation = (_autocorrelation(centred * window) / of_window)[:, lags]
        _, best = (correlation - cost).max(dim=1)
        voiced = correlation.gather(1, best[:, None])[:, 0] > VOICED_CORRELATION
        voiced &= centred.abs().amax(dim=1) > VOICED_AMPLITUDE * waveform.abs().max()
        result.append(torch.where(voiced, sample_rate / lags[best], 0.0))
    return torch.cat(result)


def _autocorrelation(frames):
    """Of frames [..., time] at each lag, 1 at lag 0."""
    size = frames.shape[-1]
    spectrum = torch.fft.rfft(frames, 2 * size)  # twice: no end meets the beginning
    products = torch.fft.irfft(spectrum.abs() ** 2)[..., :size]
    return products / products[..., :1].clamp(min=MIN_POWER)


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
