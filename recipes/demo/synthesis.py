"""Text to speech with Praat's eSpeak: samples, and when each word and phoneme is.

praat-parselmouth is under the GPL: only this recipe and the tests import it.

Praat's synthesiser has hidden random state that no seed reaches: the same calls
in the same order from the start of a process repeat, and nothing else does.
`recipes.demo.prepare` therefore works in fixed blocks of subjects, each in a fresh
process.
"""

from dataclasses import dataclass

import numpy as np
import parselmouth
from parselmouth.praat import call, run

from recipes.demo.cohort import Subject
from recipes.demo.sentences import draw_words

#: eSpeak's own rate: nothing is lost, and every manipulation is done at it.
SAMPLE_RATE = 22050

#: Words per minute asked of eSpeak at rate 0, and at the slow and rapid ends.
NORMAL_WPM, SLOWEST_WPM, FASTEST_WPM = 165.0, 84.0, 320.0

#: Silence that eSpeak leaves between words, in seconds.
WORD_GAP_S = 0.01

#: What Praat searches for pitch, in Hz: wide enough for every voice used.
PITCH_RANGE_HZ = (60.0, 500.0)


@dataclass(frozen=True)
class Interval:
    """A stretch of time in seconds and what is said in it."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Utterance:
    """Clean speech and its transcription in time.

    samples: Mono, [time], at ``SAMPLE_RATE``.
    text: What eSpeak was asked to say.
    words, phonemes: In order, without the gaps between them; eSpeak
        may join two words.
    """

    samples: np.ndarray
    text: str
    words: tuple[Interval, ...]
    phonemes: tuple[Interval, ...]


def words_per_minute(severities: dict[str, float]) -> float:
    """How fast eSpeak is asked to speak: equal steps of severity are equal ratios.

    >>> words_per_minute({"slow rate": 0, "rapid rate": 4})
    320.0
    >>> words_per_minute({"slow rate": 4, "rapid rate": 0})
    84.0
    """
    slow, rapid = severities["slow rate"] / 4, severities["rapid rate"] / 4
    slowed = (SLOWEST_WPM / NORMAL_WPM) ** slow
    return round(NORMAL_WPM * slowed * (FASTEST_WPM / NORMAL_WPM) ** rapid, 6)


def speak(
    subject: Subject, words: list[str], wpm: float, natural: bool = True
) -> Utterance:
    """Synthesise one utterance without the silence around it.

    subject: Voice, accent, pitch and formants.
    words: What to say.
    wpm: Words per minute asked of eSpeak.
    natural: Whether to move the formants; it takes most of the time and leaves the
        timing alone.
    """
    synthesizer = call("Create SpeechSynthesizer", subject.accent, subject.voice)
    call(
        synthesizer,
        "Speech output settings...",
        *(SAMPLE_RATE, WORD_GAP_S, subject.pitch, subject.pitch_range, wpm, "IPA"),
    )
    grid, sound = call(synthesizer, "To Sound", " ".join(words), "yes")
    if natural:
        # Formants move by resampling, pitch and duration are put back by PSOLA, with
        # random numbers of Praat's own that start from the clock unless seeded.
        run("random_initializeWithSeedUnsafelyButPredictably (1)")
        shift = subject.formant_shift
        sound = call(sound, "Change gender...", *PITCH_RANGE_HZ, shift, 0, 1, 1)
    tiers = _read_tiers(grid)
    # The word tier now and then ends too early; the phonemes do not.
    start_s, end_s = tiers["phoneme"][0].start_s, tiers["phoneme"][-1].end_s
    first, last = int(start_s * SAMPLE_RATE), int(end_s * SAMPLE_RATE)
    said, phonemes = (
        tuple(Interval(i.start_s - start_s, i.end_s - start_s, i.label) for i in tier)
        for tier in (tiers["word"], tiers["phoneme"])
    )
    samples = sound.values[0, first:last].copy()
    return Utterance(samples, " ".join(words), said, phonemes)


def _read_tiers(grid):
    """The labelled intervals of each tier of a Praat TextGrid, in order."""
    tiers = {}
    for line in call(grid, "List...", False, 6, True, False).splitlines()[1:]:
        start_s, tier, label, end_s = line.split("\t")
        interval = Interval(float(start_s), float(end_s), label)
        tiers.setdefault(tier, []).append(interval)
    return tiers


def speak_for(
    subject: Subject, speech_s: float, wpm: float, rng: np.random.Generator
) -> Utterance:
    """Say as many words as fit a duration: the text follows the duration, never the
    other way round, so that a recording's length does not tell its rate.

    subject: Who speaks.
    speech_s: Seconds to fill.
    wpm: Words per minute asked of eSpeak.
    rng: Where the text is drawn from.
    """
    # eSpeak says short words faster than asked: 1.6 times is always enough.
    words = draw_words(subject.split, int(speech_s * wpm / 60 * 1.6) + 2, rng)
    trial = speak(subject, words, wpm, natural=False)
    ends_s = np.array([word.end_s for word in trial.words])
    n_words = int(np.argmin(np.abs(ends_s - speech_s))) + 1
    return speak(subject, words[:n_words], wpm)


def find_pulses(samples: np.ndarray) -> np.ndarray:
    """Find the glottal pulses of clean speech.

    samples: Mono, [time], at ``SAMPLE_RATE``.

    Returns: Sample numbers, increasing.
    """
    sound = parselmouth.Sound(samples, SAMPLE_RATE)
    pulses = call(sound, "To PointProcess (periodic, cc)", *PITCH_RANGE_HZ)
    seconds = call(pulses, "To Matrix").values[0]
    return np.unique(np.round(seconds * SAMPLE_RATE).astype(int))
