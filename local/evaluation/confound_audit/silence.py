"""One second of a recording in which nobody speaks, and what it sounds like."""

import functools
import warnings

import numpy as np
import torch
import torchaudio

from local.audio.description import VOICE_PERCENTILE, decibels, frame_levels
from local.audio.loading import resample

#: How much silence each recording gives, and how far from speech it has to be, in s.
SILENCE_S, GUARD_S = 1.0, 0.2

#: Shorter stretches are left alone; those used are joined by a cross-fade, in s.
MIN_STRETCH_S, FADE_S = 0.1, 0.01

#: Silence is so far below the voice of the same recording, in dB. In sustained vowels
#: the detector takes the voice itself for silence: of 153 such "silences" of VOICED
#: 150 are less than 6 dB below the voice, and the other 3 more than 20. Higher values
#: would leave out the pauses of noisy recordings, in which noise matters most.
PAUSE_DB = 15.0

#: Digital silence: no sample above this for so long, in s. Half of what the last of
#: 16 bits is worth would be 1.5e-5.
ZERO, MIN_ZEROS_S = 1e-5, 0.01

#: Speech is what the detector gives this probability or more. Lower than its usual
#: 0.5: what may be speech is no silence, and it knows few voices as ill as patients'.
SPEECH_PROBABILITY, MIN_SPEECH_S = 0.3, 0.03
DETECTOR_RATE = 16000

#: Below this, all of the recording may be speech that the detector does not know.
MIN_SPEECH_FOUND_S = 0.25

N_MELS, WINDOW_S, HOP_S = 20, 0.032, 0.010


@functools.cache
def _detector():
    """Silero's voice activity detector; its weights are in the package."""
    n_threads = torch.get_num_threads()
    import silero_vad  # sets the number of threads to 1

    torch.set_num_threads(n_threads)
    with warnings.catch_warnings():
        # of the way in which silero's package has its weights
        warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated")
        return silero_vad.load_silero_vad(), silero_vad.get_speech_timestamps


def find_speech(waveform: torch.Tensor, sample_rate: int) -> list[tuple[float, float]]:
    """Finds where somebody speaks.

    By silero-vad (https://github.com/snakers4/silero-vad).

    waveform: [time]
    sample_rate: Hz.

    Returns: Begin and end in s, in order.
    """
    model, timestamps = _detector()
    with torch.inference_mode():
        result = timestamps(
            resample(waveform, sample_rate, DETECTOR_RATE),
            model,
            threshold=SPEECH_PROBABILITY,
            sampling_rate=DETECTOR_RATE,
            min_speech_duration_ms=1000 * MIN_SPEECH_S,
        )
    return [(p["start"] / DETECTOR_RATE, p["end"] / DETECTOR_RATE) for p in result]


def pause_share(speech: list[tuple[float, float]]) -> float | None:
    """The share of the time from the first to the last speech that is none.

    speech: As `find_speech` gives it.

    Returns: None without speech.

    >>> pause_share([(1.0, 2.0), (3.0, 5.0)])
    0.25
    """
    if not speech:
        return None
    spoken_s = sum(end - begin for begin, end in speech)
    return 1 - spoken_s / (speech[-1][1] - speech[0][0])


def voice_level_dbfs(samples: np.ndarray, sample_rate: int) -> float:
    """How loud the voice of a recording is, by its loud frames; dB of full scale.

    samples: [time]
    sample_rate: Hz.
    """
    return float(np.percentile(frame_levels(samples, sample_rate), VOICE_PERCENTILE))


def find_silence(
    waveform: torch.Tensor, sample_rate: int, speech: list[tuple[float, float]]
) -> torch.Tensor | None:
    """Takes exactly 1.0 s of a recording in which nobody speaks.

    At least 200 ms from speech, and without digital zeros, which are a device's gate
    or a codec's padding and no sound. A stretch that is less than 15 dB below the voice
    is a voice that the detector missed. The longest stretches come first, cross-faded
    over 10 ms at equal power, so that no click tells how many there were.

    waveform: [time]
    sample_rate: Hz.
    speech: As `find_speech` gives it.

    Returns: [sample_rate], None where there is not as much, or less than 0.25 s of
        speech: what the detector did not hear may be speech all the same.
    """
    if sum(end - begin for begin, end in speech) < MIN_SPEECH_FOUND_S:
        return None
    usable = ~_digital_zeros(waveform.numpy(), sample_rate)
    for begin_s, end_s in speech:
        begin = max(0, int(np.floor((begin_s - GUARD_S) * sample_rate)))
        usable[begin : int(np.ceil((end_s + GUARD_S) * sample_rate))] = False
    shortest = round(MIN_STRETCH_S * sample_rate)
    loudest = voice_level_dbfs(waveform.numpy(), sample_rate) - PAUSE_DB
    stretches = [
        (b, e)
        for b, e in _runs(usable)
        if e - b >= shortest
        and decibels(waveform[b:e].double().square().mean().item()) <= loudest
    ]
    stretches.sort(key=lambda stretch: stretch[0] - stretch[1])  # longest first
    return _join([waveform[b:e] for b, e in stretches], sample_rate)


def _digital_zeros(samples, sample_rate):
    """Which samples [time] belong to digital silence."""
    zeros = np.abs(samples) < ZERO
    for begin, end in _runs(zeros):
        if end - begin < MIN_ZEROS_S * sample_rate:
            zeros[begin:end] = False
    return zeros


def _runs(flags):
    """Begin and end of each run of True in flags [time]."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return edges.reshape(-1, 2).tolist()


def _join(stretches, sample_rate):
    """The first 1.0 s of stretches [time], each faded into the next; None if less."""
    length, n_fade = round(SILENCE_S * sample_rate), round(FADE_S * sample_rate)
    if not stretches:
        return None
    angle = torch.linspace(0, torch.pi / 2, n_fade)
    joined = stretches[0]
    for stretch in stretches[1:]:
        if len(joined) >= length:
            break
        seam = joined[-n_fade:] * angle.cos() + stretch[:n_fade] * angle.sin()
        joined = torch.cat([joined[:-n_fade], seam, stretch[n_fade:]])
    return joined[:length].clone() if len(joined) >= length else None


def silence_features(waveform: torch.Tensor | None, sample_rate: int) -> dict:
    """What a silence sounds like: mean and deviation of 20 log-mel energies.

    waveform: [time], As `find_silence` gives it.
    sample_rate: Hz.

    Returns: `silence_mean_00` … and `silence_sd_00` … in dB; None where there is no
        silence.
    """
    names = [
        f"silence_{kind}_{i:02d}" for kind in ("mean", "sd") for i in range(N_MELS)
    ]
    if waveform is None:
        return dict.fromkeys(names)
    energies = _mel_spectrogram(sample_rate)(waveform).clamp(min=1e-10)
    decibels = 10 * torch.log10(energies)  # [mel, frame]
    values = torch.cat([decibels.mean(dim=1), decibels.std(dim=1)])
    return dict(zip(names, values.tolist(), strict=True))


@functools.cache
def _mel_spectrogram(sample_rate):
    """Mel energies, of frames inside the waveform only."""
    return torchaudio.transforms.MelSpectrogram(
        sample_rate,
        n_fft=round(WINDOW_S * sample_rate),
        hop_length=round(HOP_S * sample_rate),
        n_mels=N_MELS,
        center=False,
    )
