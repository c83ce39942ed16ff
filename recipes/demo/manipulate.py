"""How severity becomes audible: the source, the articulation, the timing.

Every recording passes every function here. At severity 0 each returns its input
unchanged (to rounding), so the processing itself leaves no trace to learn from.
The rate is eSpeak's own (`recipes.demo.synthesis.words_per_minute`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage, signal

from recipes.demo.cohort import MAX_SEVERITY
from recipes.demo.synthesis import SAMPLE_RATE, Interval, Utterance

SIBILANTS = ("s", "ʃ", "tʃ", "f")
STOPS = ("p", "t", "k", "b", "d", "ɡ", "g", "tʃ", "dʒ", "ɾ")
VOWEL_LETTERS = "aeiouæɑɒɔəɛɜɪʊʌɐɚɝ"


def _seconds(n_seconds):
    """Seconds as a whole number of samples."""
    return round(n_seconds * SAMPLE_RATE)


def _rms(samples):
    """Root mean square, never 0."""
    return float(np.sqrt(np.mean(samples**2) + 1e-12))


# --- strained: the source -------------------------------------------------------


def press_voice(
    samples: np.ndarray, pulses: np.ndarray, severity: float, rng: np.random.Generator
) -> np.ndarray:
    """Make the voice pressed and creaky.

    The signal is cut at the glottal pulses into overlapping periods, which are put
    back with every second one weaker and late (double pulses), with most of them
    left out in creaky episodes (low, irregular pulses), and with more high
    frequencies (flatter tilt). That is a texture in time; a constant change of
    spectrum would vanish when a network subtracts the recording's mean.

    samples: Mono, [time], at ``SAMPLE_RATE``.
    pulses: Sample numbers of the glottal pulses.
    severity: From 0 to 4.
    rng: Where the episodes and irregularities come from.

    Returns: As long as the input.
    """
    amount = severity / MAX_SEVERITY
    gains, shifts = _irregular_pulses(pulses, amount, rng)
    high_band = signal.sosfiltfilt(
        signal.butter(1, 1200, "highpass", fs=SAMPLE_RATE, output="sos"), samples
    )
    flatter = samples + 1.5 * amount * high_band
    pressed = samples.copy()
    longest = _seconds(0.02)
    for before, here, after, gain, shift in zip(
        pulses, pulses[1:], pulses[2:], gains[1:], shifts[1:], strict=False
    ):
        if here - before > longest or after - here > longest:
            continue
        # Neighbouring windows add up to 1, so unchanged periods leave no trace.
        rise = np.sin(np.linspace(0, np.pi / 2, here - before, endpoint=False)) ** 2
        fall = np.cos(np.linspace(0, np.pi / 2, after - here, endpoint=False)) ** 2
        window = np.concatenate([rise, fall])
        pressed[before:after] -= window * samples[before:after]
        to = slice(max(before + shift, 0), min(after + shift, len(samples)))
        taken = slice(to.start - before - shift, to.stop - before - shift)
        pressed[to] += gain * (window * flatter[before:after])[taken]
    return pressed * (_rms(samples) / _rms(pressed))


def _irregular_pulses(pulses, amount, rng):
    """Gain and shift (samples) of each pulse for an amount of strain from 0 to 1."""
    n_pulses = len(pulses)
    periods = np.diff(pulses, append=pulses[-1:] + 1)
    odd = np.arange(n_pulses) % 2
    depth = np.clip(amount * rng.normal(0.75, 0.15, n_pulses), 0, 0.95)
    gains = 1 - depth * odd
    shifts = amount * periods * (0.2 * odd + rng.normal(0, 0.08, n_pulses))
    # Creak: about 45 pulses a second are left, whatever the voice's pitch.
    index = 0
    while index < n_pulses:
        here_s = pulses[index] / SAMPLE_RATE
        until_s = here_s + rng.uniform(0.1, 0.3)
        episode = int(np.searchsorted(pulses, until_s * SAMPLE_RATE))
        episode = max(episode, index + 1)
        creaky = rng.random() < 0.75 * amount
        spacing = rng.uniform(0.018, 0.028, n_pulses) * SAMPLE_RATE
        if creaky:
            last = -np.inf
            for pulse in range(index, episode):
                kept = pulses[pulse] - last >= spacing[pulse]
                gains[pulse] = 1.3 if kept else 0.04
                last = pulses[pulse] if kept else last
        index = episode
    longest = _seconds(0.02)
    return gains, np.clip(np.round(shifts), -longest, longest).astype(int)


# --- distortions: the articulation ----------------------------------------------


def distort(
    utterance: Utterance, severity: float, rng: np.random.Generator
) -> Utterance:
    """Articulate imprecisely, all the time: lower sibilants, stops that do not
    close, vowels close to the middle one.

    utterance: Speech with its phonemes.
    severity: From 0 to 4.
    rng: Where the friction comes from.

    Returns: With the same timing. Outside sibilants, stops and vowels nothing changes.
    """
    amount = severity / MAX_SEVERITY
    samples = centralise_vowels(utterance, 0.9 * amount)
    loudness = _rms(samples)
    friction = signal.sosfilt(
        signal.butter(2, (900, 4500), "bandpass", fs=SAMPLE_RATE, output="sos"),
        rng.normal(0, 1, len(samples)),
    )
    friction *= 0.5 * amount * loudness / _rms(friction)
    for phoneme in utterance.phonemes:
        start, end = _seconds(phoneme.start_s), _seconds(phoneme.end_s)
        if phoneme.label in SIBILANTS:
            samples[start:end] = lower_friction(samples[start:end], 1 - 0.55 * amount)
        if phoneme.label in STOPS:
            # The closure comes before what eSpeak calls the stop.
            start = max(start - _seconds(0.025), 0)
            closure = friction[start:end]
            samples[start:end] += signal.windows.tukey(len(closure), 0.4) * closure
    return replace(utterance, samples=samples)


def lower_friction(noise: np.ndarray, factor: float) -> np.ndarray:
    """Lower the spectrum of a stretch of friction by playing its middle slower.

    noise: [time].
    factor: On all frequencies; 1 changes nothing.

    Returns: As long and as loud as the input.
    """
    n = len(noise)
    if n < 32:
        return noise
    at = np.arange(n) * factor + (n - 1) * (1 - factor) / 2
    slower = np.interp(at, np.arange(n), noise)
    slower *= _rms(noise) / _rms(slower)
    fade = signal.windows.tukey(n, 0.3)
    return fade * slower + (1 - fade) * noise


def centralise_vowels(
    utterance: Utterance, amount: float, order: int = 20, frame_s: float = 0.03
) -> np.ndarray:
    """Draw the formants of all vowels towards the speaker's mean ones.

    Frames are filtered by their own inverse predictor and by one whose line
    spectral frequencies lie nearer to the mean of all vowels.

    utterance: Speech with its phonemes.
    amount: From 0 (unchanged) to 1 (all vowels alike).
    order: Of the linear prediction, even.
    frame_s: Length of a frame in seconds; frames overlap by half.

    Returns: Samples, as many as the utterance has.
    """
    length = 2 * (_seconds(frame_s) // 2)
    hop, tail = length // 2, _seconds(0.02)
    window = signal.windows.hann(length, sym=False)
    samples = utterance.samples
    starts = np.arange(0, max(len(samples) - length, 0) + 1, hop)
    starts = starts[_in_vowel(utterance.phonemes, starts + hop)]
    if not len(starts):
        return samples.copy()
    frames = samples[starts[:, None] + np.arange(length)] * window
    predictors = _predict(frames, order)
    lines = _to_lines(predictors)
    nearer = _from_lines((1 - amount) * lines + amount * lines.mean(axis=0))
    moved = np.pad(samples, (0, tail))
    for start, frame, old, new in zip(starts, frames, predictors, nearer, strict=True):
        padded = np.pad(frame, (0, tail))
        changed = signal.lfilter(old, new, padded)
        changed *= _rms(frame) / _rms(changed[:length])
        moved[start : start + length + tail] += changed - padded
    return moved[: len(samples)]


def _in_vowel(phonemes, positions):
    """Whether each sample number lies in a vowel: bool, like ``positions``."""
    inside = np.zeros(len(positions), dtype=bool)
    for phoneme in phonemes:
        if phoneme.label[0] in VOWEL_LETTERS:
            start, end = _seconds(phoneme.start_s), _seconds(phoneme.end_s)
            inside |= (positions >= start) & (positions < end)
    return inside


def _predict(frames, order):
    """Linear prediction by autocorrelation, [frames, order + 1]: 1, a1, …"""
    flat = signal.lfilter([1, -0.95], [1], frames, axis=1)
    power = np.abs(np.fft.rfft(flat, 2 * flat.shape[1])) ** 2
    lags = np.fft.irfft(power)[:, : order + 1]
    lags[:, 0] = lags[:, 0] * 1.0001 + 1e-9
    distance = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    solved = np.linalg.solve(lags[:, distance], lags[:, 1:, None])[:, :, 0]
    return np.concatenate([np.ones((len(frames), 1)), -solved], axis=1)


def _to_lines(predictors):
    """Line spectral frequencies [frames, order] in radians, increasing."""
    padded = np.pad(predictors, ((0, 0), (0, 1)))
    mirrored = padded[:, ::-1]
    angles = []
    for polynomials in (padded + mirrored, padded - mirrored):
        n = polynomials.shape[1] - 1
        companions = np.zeros((len(polynomials), n, n))
        companions[:, 0] = -polynomials[:, 1:] / polynomials[:, :1]
        companions[:, np.arange(1, n), np.arange(n - 1)] = 1
        angle = np.sort(np.abs(np.angle(np.linalg.eigvals(companions))), axis=1)
        # Roots come in pairs, and one is the trivial root at 0 or at pi.
        angles.append(angle)
    symmetric, antisymmetric = angles[0][:, 0:-1:2], angles[1][:, 1::2]
    return np.sort(np.concatenate([symmetric, antisymmetric], axis=1), axis=1)


def _from_lines(lines):
    """Predictors [frames, order + 1] of line spectral frequencies [frames, order]."""
    halves = []
    for sign, own in ((1.0, lines[:, 0::2]), (-1.0, lines[:, 1::2])):
        polynomial = np.tile([1.0, sign], (len(lines), 1))
        for column in own.T:
            # Times 1 - 2 cos(w) z^-1 + z^-2, for all frames at once.
            longer = np.pad(polynomial, ((0, 0), (0, 2)))
            longer[:, 1:-1] -= 2 * np.cos(column)[:, None] * polynomial
            longer[:, 2:] += polynomial
            polynomial = longer
        halves.append(polynomial)
    return (halves[0] + halves[1])[:, :-1] / 2


# --- irregular articulatory breakdowns: the timing -------------------------------


def break_down(
    utterance: Utterance, severity: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Let the articulation break down now and then: 1 to 4 short random spans are
    stretched or squeezed and blurred, the rest is left alone.

    utterance: Speech with its phonemes, pauses included.
    severity: From 0 to 4: how many spans, and how much happens in each.
    rng: Where the spans lie and which way each goes.

    Returns samples: Longer or shorter than the input by what the spans gained or lost.
    Returns spans: (start_s, end_s) in the output; none at low severity.
    """
    # A breakdown is heard or it is not: severity is more in how many than in how deep.
    n_spans = min(4, int(severity + 0.15))
    amount = 0.5 + 0.5 * severity / MAX_SEVERITY
    spans = _draw_spans(utterance.phonemes, n_spans, rng)
    stretch_first = int(rng.integers(2))
    pieces, position, broken = [], 0, []
    for index, (start_s, end_s) in enumerate(spans):
        start, end = _seconds(start_s), _seconds(end_s)
        span = utterance.samples[start:end]
        # Turns, so that the whole keeps about its length.
        if (index + stretch_first) % 2:
            factor = 1 + 1.2 * amount
        else:
            factor = 1 / (1 + 0.6 * amount)
        pieces += [utterance.samples[position:start]]
        pieces += [blur(stretch(span, factor), amount)]
        position = end
        until_s = sum(map(len, pieces)) / SAMPLE_RATE
        broken.append((until_s - len(pieces[-1]) / SAMPLE_RATE, until_s))
    pieces.append(utterance.samples[position:])
    return np.concatenate(pieces), broken


def _draw_spans(phonemes, n_spans, rng):
    """Draw disjoint spans of whole phonemes, about 0.2 to 0.4 s long, in order."""
    free, spans = np.ones(len(phonemes) + 2, dtype=bool), []
    for first in rng.permutation(len(phonemes)):
        if len(spans) == n_spans:
            break
        start_s = phonemes[first].start_s
        end_s = start_s + rng.uniform(0.2, 0.35)
        last = first
        while last + 1 < len(phonemes) and phonemes[last].end_s < end_s:
            last += 1
        found_s = phonemes[last].end_s - start_s
        # One phoneme stays between two spans, and no pause lies within one.
        if 0.15 <= found_s <= 0.45 and free[first : last + 3].all():
            free[first + 1 : last + 2] = False
            spans.append((start_s, phonemes[last].end_s))
    return sorted(spans)


def stretch(
    samples: np.ndarray, factor: float, frame_s: float = 0.03, search_s: float = 0.006
) -> np.ndarray:
    """Change the duration and keep the pitch (waveform-similarity overlap-add).

    samples: [time].
    factor: On the duration; above 1 is longer.
    frame_s, search_s: Length of a frame, and how far it may move to fit the last one,
        in seconds.

    Returns: About ``factor`` times as long.
    """
    length = 2 * (_seconds(frame_s) // 2)
    hop, search = length // 2, _seconds(search_s)
    n_out = round(len(samples) * factor)
    padded = np.pad(samples, (hop, length + search + hop), mode="reflect")
    window = signal.windows.hann(length, sym=False)
    out = np.zeros(n_out + 2 * length)
    natural = None
    for start in range(0, n_out + hop, hop):
        at = min(round(start / factor), len(padded) - length - hop)
        if natural is not None:
            low = max(at - search, 0)
            area = padded[low : at + search + length]
            fit = np.correlate(area, natural, "valid")
            at = min(low + int(np.argmax(fit)), len(padded) - length - hop)
        out[start : start + length] += window * padded[at : at + length]
        natural = padded[at + hop : at + hop + length]
    return out[hop : hop + n_out]


def blur(samples: np.ndarray, amount: float) -> np.ndarray:
    """Smear the spectrum over time and frequency and weaken it, as when the
    articulators miss their targets.

    samples: [time].
    amount: From 0 (unchanged) to 1.

    Returns: As long as the input, faded into it at both ends.
    """
    _, _, spectrum = signal.stft(samples, SAMPLE_RATE, nperseg=512, noverlap=384)
    level = np.log(np.abs(spectrum) + 1e-6)
    smooth = ndimage.gaussian_filter(level, (6 * amount, 14 * amount), mode="nearest")
    _, smeared = signal.istft(
        spectrum * np.exp(smooth - level), SAMPLE_RATE, nperseg=512, noverlap=384
    )
    smeared = np.pad(smeared, (0, max(0, len(samples) - len(smeared))))[: len(samples)]
    smeared *= _rms(samples) / _rms(smeared) * 10 ** (-8 * amount / 20)
    fade = signal.windows.tukey(len(samples), 0.2)
    return fade * smeared + (1 - fade) * samples


# --- pauses: drawn on their own, no label ------------------------------------------


def insert_pauses(
    utterance: Utterance, pauses_s: Sequence[float], rng: np.random.Generator
) -> Utterance:
    """Put silences between words.

    utterance: Speech with its words and phonemes.
    pauses_s: Duration of each pause in seconds; those for which no word boundary is
        left are dropped.
    rng: Which boundaries.

    Returns: With words and phonemes where they now are.
    """
    words = utterance.words
    n_pauses = min(len(pauses_s), len(words) - 1)
    chosen = np.sort(rng.permutation(len(words) - 1)[:n_pauses])
    cuts_s = [(words[i].end_s + words[i + 1].start_s) / 2 for i in chosen]
    pieces = np.split(utterance.samples, [_seconds(cut_s) for cut_s in cuts_s])
    fade = np.linspace(0, 1, _seconds(0.004))
    joined = [pieces[0]]
    for pause_s, piece in zip(pauses_s, pieces[1:], strict=False):
        joined[-1][-len(fade) :] *= fade[::-1][-len(joined[-1]) :]
        piece[: len(fade)] *= fade[: len(piece)]
        joined += [np.zeros(_seconds(pause_s)), piece]

    def place(interval):
        middle_s = (interval.start_s + interval.end_s) / 2
        shift_s = sum(np.array(pauses_s[:n_pauses])[np.array(cuts_s) <= middle_s])
        return Interval(
            interval.start_s + shift_s, interval.end_s + shift_s, interval.label
        )

    return replace(
        utterance,
        samples=np.concatenate(joined),
        words=tuple(map(place, utterance.words)),
        phonemes=tuple(map(place, utterance.phonemes)),
    )
