"""What a recording is like, in a few numbers that every recording has."""

import numpy as np
from scipy.signal import find_peaks, welch

#: Levels are of frames of this length, in s, and nothing below this is told apart, in
#: dB of full scale: 16 bits reach down to -98.
FRAME_S, FLOOR_DBFS = 0.025, -100.0

#: The voice is as loud as the loudest frames but so many percent: whatever the share
#: of pauses, and whether or not a detector knows the voice.
VOICE_PERCENTILE = 95

#: The noise floor is this percentile of the levels of frames.
NOISE_PERCENTILE = 5

#: The bandwidth ends where the spectrum stays this far below its peak: far below the
#: weakest speech sounds, so that it ends with the microphone or the codec.
BANDWIDTH_DB = 70.0
WINDOW_S = 0.032

#: Sounds are at most so many dB below the voice. A peak of the level is one of its own
#: if it stands out by so many dB (de Jong and Wempe 2009, Behavior Research Methods
#: 41:385-390), and this far from a higher one, in s.
SOUND_DB, PEAK_DB, PEAK_S = 25.0, 2.0, 0.1

#: What `describe` gives, in its order; a recording's duration is known without it.
DESCRIBED = (
    *("level_dbfs", "noise_floor_dbfs", "bandwidth_khz", "speech_share"),
    "rate_per_s",
)


def describe(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Describes a recording.

    samples: [time], Mono, at the model's rate.
    sample_rate: Hz.

    Returns: float32, as `DESCRIBED` names them: level (dB of full scale); that of the
        quietest moments, whatever they are (a sustained vowel's are the vowel);
        bandwidth (kHz); the share of the time in which there is a sound; peaks of the
        level per s, about as many as syllables.

    >>> tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    >>> values = describe(np.concatenate([tone, 0 * tone]), 8000)
    >>> values[[0, 1, 3, 4]].round().tolist()  # nearly half of it is sound
    [-26.0, -100.0, 0.0, 0.0]
    """
    levels = frame_levels(samples, sample_rate)
    loud = np.percentile(levels, VOICE_PERCENTILE) - SOUND_DB
    distance = max(1, round(PEAK_S / FRAME_S))
    peaks, _ = find_peaks(levels, height=loud, prominence=PEAK_DB, distance=distance)
    values = (
        decibels(np.mean(np.square(samples, dtype=np.float64))),
        np.percentile(levels, NOISE_PERCENTILE),
        bandwidth_hz(samples, sample_rate) / 1000,
        np.mean(levels >= loud),
        len(peaks) / (len(samples) / sample_rate),
    )
    return np.array(values, dtype=np.float32)


def frame_levels(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The levels of the frames of 25 ms, [n_frames] in dB of full scale.

    samples: [time]; shorter ones are one frame.
    sample_rate: Hz.

    >>> frame_levels(np.full(400, 0.1), 8000).round(6).tolist()
    [-20.0, -20.0]
    """
    length = min(max(1, round(FRAME_S * sample_rate)), len(samples))
    whole = len(samples) // length * length
    squares = np.square(samples[:whole], dtype=np.float64).reshape(-1, length)
    return decibels(squares.mean(axis=1))


def decibels(power: np.ndarray) -> np.ndarray:
    """Power in dB of full scale, -100 at the least."""
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DBFS / 10)))


def bandwidth_hz(samples: np.ndarray, sample_rate: int) -> float:
    """The highest frequency of which a recording has anything.

    That is, whose long-term power density is less than 70 dB below the highest one. A
    roll-off of so many percent of the energy would measure the speech: its power falls
    with frequency, and sooner in a soft or pressed voice.

    samples: [time]
    sample_rate: Hz.

    Returns: Hz, in steps of 31 Hz.

    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    >>> 1000 <= bandwidth_hz(tone, 8000) < 1200
    True
    """
    length = min(round(WINDOW_S * sample_rate), len(samples))
    frequencies, density = welch(
        samples, sample_rate, window="blackman", nperseg=length
    )
    heard = density > density.max() * 10 ** (-BANDWIDTH_DB / 10)
    return float(frequencies[heard].max(initial=0.0))
