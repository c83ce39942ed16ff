"""augment.waveform: what each transform does to a signal, measured."""

import logging
import math
import random

import numpy as np
import parselmouth
import pytest
import soundfile
import torch
from speechbrain.augment.codec import CodecAugment
from speechbrain.augment.time_domain import DropChunk, DropFreq

from local.augment.base import Augmentation
from local.augment.noise_and_rooms import Background, Reverb
from local.augment.waveform import (
    EdgeSilence,
    Gain,
    PitchShift,
    SpeechBrainTransform,
    Speed,
    TimeShift,
    TimeStretch,
    WhiteNoise,
)
from local.utils.keyed_random import keyed_generator
from tests.audio_files import frequency_hz, sine, write_audio

RATE = 16000  # Hz


def tone(duration_s=1.0, frequency=440.0):
    """float32 [time]"""
    return torch.from_numpy(sine(duration_s, RATE, 1, frequency)[:, 0]).float()


def vowel(duration_s=1.0, f0_hz=150.0, rate=RATE):
    """Harmonics that fall off by 6 dB per octave: float32 [time]"""
    time_s = torch.arange(round(duration_s * rate), dtype=torch.float64) / rate
    harmonics = torch.arange(1, 25, dtype=torch.float64)[:, None]
    waves = torch.sin(2 * math.pi * f0_hz * harmonics * time_s) / harmonics
    return (0.2 * waves.sum(0)).float()


def hiss(n_samples=RATE, key="hiss"):
    """White noise: float32 [time]"""
    return torch.randn(n_samples, generator=keyed_generator(key)) * 0.1


def power(waveform):
    return waveform.double().square().mean().item()


def db(ratio_of_powers):
    return 10 * math.log10(ratio_of_powers)


def f0_hz(waveform, rate=RATE):
    """By Praat, the median of the voiced frames of the middle."""
    middle = waveform[len(waveform) // 8 : -len(waveform) // 8]
    pitch = parselmouth.Sound(middle.double().numpy(), rate).to_pitch()
    found = pitch.selected_array["frequency"]
    return float(np.median(found[found > 0]))


def cents(ratio):
    return 1200 * math.log2(ratio)


def centre_of_energy(waveform):
    """As sample."""
    energy = waveform.double().square()
    return (energy * torch.arange(len(energy))).sum().item() / energy.sum().item()


def draws(transform, waveform, n=40):
    """What a transform makes of a recording with n generators."""
    return [transform(waveform, keyed_generator(i)) for i in range(n)]


def changed_once(transform, waveform):
    return transform(waveform, keyed_generator("x"))


# What holds for all


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noises")
    for i in range(2):
        soundfile.write(folder / f"{i}.wav", hiss(8000, i).numpy(), RATE, "FLOAT")
    return folder


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    decay = np.exp(-np.arange(2000) / 300)
    for i in range(8):
        response = hiss(2000, i).numpy() * decay
        response[10 * i] = 1
        soundfile.write(folder / f"{i}.wav", response, RATE, "FLOAT")
    return folder


CHUNKS = {"drop_length_low": 100, "drop_length_high": 400}

#: Each with its probability, the folders of noises and of rooms.
MAKERS = {
    "time shift": lambda p, noises, rooms: TimeShift(p, (-0.5, 0.5), RATE),
    "speed": lambda p, noises, rooms: Speed(p, (0.8, 1.25)),
    "time stretch": lambda p, noises, rooms: TimeStretch(p, (0.8, 1.25), RATE),
    "pitch shift": lambda p, noises, rooms: PitchShift(p, (-4, 4), RATE),
    "gain": lambda p, noises, rooms: Gain(p, (-6, 6)),
    "noise by ratio": lambda p, noises, rooms: WhiteNoise(p, snr_range=(10, 30)),
    "noise by level": lambda p, noises, rooms: WhiteNoise(p, std_range=0.005),
    "edge silence": lambda p, noises, rooms: EdgeSilence(p, (0.0, 0.3), RATE),
    "background": lambda p, noises, rooms: Background(p, noises, (0, 20), RATE),
    "reverb": lambda p, noises, rooms: Reverb(p, rooms, RATE),
    "drop freq": lambda p, noises, rooms: SpeechBrainTransform(p, DropFreq()),
    "drop chunk": lambda p, noises, rooms: SpeechBrainTransform(p, DropChunk(**CHUNKS)),
    "noisy chunk": lambda p, noises, rooms: SpeechBrainTransform(
        p, DropChunk(**CHUNKS, noise_factor=1.0)
    ),
    "codec": lambda p, noises, rooms: SpeechBrainTransform(p, CodecAugment(RATE)),
}
#: Silence in, silence out.
SILENT = set(MAKERS) - {"noise by level", "codec"}


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


@pytest.fixture
def make(name, noises, rooms):
    return lambda probability=1.0: MAKERS[name](probability, noises, rooms)


def augmented(transform, waveforms, uids, epoch=1, seed=1):
    """The recordings of an augmented batch, each at its own length."""
    n_samples = torch.tensor([len(waveform) for waveform in waveforms])
    padded = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    found, lengths = Augmentation([transform], seed)(
        padded, n_samples / padded.shape[1], uids, epoch
    )
    n_found = torch.round(lengths * found.shape[1]).long().tolist()
    for waveform, n in zip(found, n_found, strict=True):
        assert (waveform[n:] == 0).all()
    return [waveform[:n] for waveform, n in zip(found, n_found, strict=True)]


def n_different(waveforms):
    return len({waveform.numpy().tobytes() for waveform in waveforms})


def test_parameters_differ_between_recordings_and_epochs(make):
    transform, uids = make(), list("abcdefgh")
    first = augmented(transform, [vowel(0.4)] * 8, uids)
    second = augmented(transform, [vowel(0.4)] * 8, uids, epoch=2)
    other_seed = augmented(transform, [vowel(0.4)] * 8, uids, seed=2)
    assert n_different(first) > 1
    for others in (second, other_seed):
        pairs = zip(first, others, strict=True)
        assert not all(torch.equal(one, other) for one, other in pairs)


def test_the_same_seed_repeats_them_whatever_the_global_state(make):
    uids = list("abcd")
    first = augmented(make(), [vowel(0.4)] * 4, uids)
    torch.manual_seed(5)
    random.seed(5)
    states = torch.get_rng_state(), random.getstate()
    # alone and in another order, as in another batch
    for uid, expected in list(zip(uids, first, strict=True))[::-1]:
        again = augmented(make(), [vowel(0.4)], [uid])[0]
        assert torch.equal(again, expected)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()


def test_a_recording_is_changed_to_its_end_and_no_further(make):
    """Beside a longer one as alone: no padding comes in, what is added is counted."""
    short, long = vowel(0.3), vowel(0.5)
    for i in range(3):
        together = augmented(make(), [short, long], [f"a{i}", f"b{i}"])
        assert torch.equal(together[0], augmented(make(), [short], [f"a{i}"])[0])
        assert torch.equal(together[1], augmented(make(), [long], [f"b{i}"])[0])


def test_mixed_precision_does_not_reach_the_waveforms(make):
    uids, waveforms = list("ab"), [vowel(0.4), vowel(0.3)]
    expected = augmented(make(), waveforms, uids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = augmented(make(), waveforms, uids)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_as_on_a_cpu(make):
    uids, waveforms = list("ab"), [vowel(0.4), vowel(0.3)]
    expected = augmented(make(), waveforms, uids)
    state = torch.cuda.get_rng_state()
    found = augmented(make(), [waveform.cuda() for waveform in waveforms], uids)
    for one, other in zip(found, expected, strict=True):
        assert one.is_cuda and one.isfinite().all()
        torch.testing.assert_close(one.cpu(), other, atol=1e-3, rtol=1e-3)
    assert torch.equal(state, torch.cuda.get_rng_state())


def test_another_one_that_is_off_leaves_the_draws_as_they_are(make):
    class Other(Gain):
        """Of a name of its own."""

    alone = Augmentation([make()], seed=1)
    beside = Augmentation([Other(0.0, 3), make(), make(0.0)], seed=1)
    batch = vowel(0.4)[None], torch.ones(1), ["a"]
    assert torch.equal(alone(*batch, epoch=1)[0], beside(*batch, epoch=1)[0])


def test_a_second_one_of_a_name_draws_for_itself():
    once = Augmentation([Gain(1.0, (-6, 6))], seed=1)
    twice = Augmentation([Gain(1.0, (-6, 6)), Gain(1.0, (-6, 6))], seed=1)
    batch = torch.ones(1, 100), torch.ones(1), ["a"]
    first, both = (augment(*batch, epoch=1)[0][0, 0] for augment in (once, twice))
    assert both != pytest.approx(first**2)


def test_noise_that_cannot_be_read_leaves_recordings_alone_and_is_named(
    tmp_path, caplog
):
    write_audio(tmp_path / "cut.wav", sine(1.0, RATE), RATE)
    content = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    for transform in (
        Background(1.0, tmp_path, 10, RATE),
        Reverb(1.0, tmp_path, RATE),
    ):
        assert torch.equal(changed_once(transform, vowel(0.2)), vowel(0.2))
    assert "cut.wav can't be used" in caplog.text


def test_probability_0_changes_nothing(make):
    for found in draws(make(0.0), vowel(0.2), 5):
        assert torch.equal(found, vowel(0.2))


def test_a_recording_itself_is_never_written_to(make):
    waveform = vowel(0.4)
    draws(make(), waveform, 3)
    assert torch.equal(waveform, vowel(0.4))


@pytest.mark.parametrize("content", ["silence", "constant", "hiss", "denormal"])
def test_hardly_anything_stays_finite(make, name, content):
    transform = make()
    for n_samples in (1, 2, 3, 10, 127, 128, 129, 256, 257, 511, 513, 1000, 4000):
        waveform = {
            "silence": torch.zeros(n_samples),
            "constant": torch.ones(n_samples),
            "hiss": hiss(n_samples),
            "denormal": torch.full((n_samples,), 1e-40),
        }[content]
        for found in draws(transform, waveform, 3):
            assert found.shape == (len(found),) and len(found) > 0
            assert found.dtype == torch.float32
            assert found.isfinite().all()
            if content == "silence" and name in SILENT:
                assert not found.any()


def test_a_recording_of_no_samples_stays_one(make):
    assert len(changed_once(make(), torch.zeros(0))) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: TimeShift(0.5, (0.5, -0.5), RATE), "tshift_range"),
        (lambda: TimeShift(0.5, (-0.5, 0.5), 0), "sample_rate must be above 0"),
        (lambda: Speed(0.5, (1.1, 0.9)), "speed_range"),
        (lambda: Speed(0.5, (0.0, 1.1)), "speed_range must lie in 0.1 to 10"),
        (lambda: Speed(0.5, (-1.0, 1.1)), "speed_range must lie in 0.1 to 10"),
        (lambda: Speed(0.5, (0.9, 11)), "speed_range must lie in 0.1 to 10"),
        (lambda: TimeStretch(0.5, (1.2, 0.8), RATE), "stretch_range"),
        (lambda: TimeStretch(0.5, 0, RATE), "stretch_range must lie in"),
        (lambda: TimeStretch(0.5, 1.2, 0), "sample_rate must be above 0"),
        (lambda: PitchShift(0.5, (4, -4), RATE), "pshiftn"),
        (lambda: PitchShift(0.5, (-40, 4), RATE), "pshiftn must lie in -24 to 24"),
        (lambda: PitchShift(0.5, 2, 0), "sample_rate must be above 0"),
        (lambda: Gain(0.5, (6, -6)), "gain_range"),
        (lambda: Gain(0.5, 1000), "gain_range must lie in -200 to 200"),
        (lambda: WhiteNoise(0.5, (30, 10)), "snr_range"),
        (lambda: WhiteNoise(0.5, (-999, 10)), "snr_range must lie in"),
        (lambda: WhiteNoise(0.5, std_range=(-0.1, 1)), "std_range must be 0 or more"),
        (lambda: WhiteNoise(0.5), "exactly one of snr_range and std_range"),
        (lambda: WhiteNoise(0.5, 10, 0.1), "exactly one of snr_range and std_range"),
        (lambda: EdgeSilence(0.5, (-0.1, 0.2), RATE), "silence_range must lie in 0"),
        (lambda: EdgeSilence(0.5, (0.1, 0.2), 0), "sample_rate must be above 0"),
        (lambda: Background(0.0, None, (20, 10), RATE), "snr_range"),
        (lambda: Background(0.5, None, 10, RATE), "folder with noise.*none given"),
        (lambda: Background(0.5, "no/such", 10, RATE), "there is no folder no/such"),
        (lambda: Background(0.5, None, 10, 0), "sample_rate must be above 0"),
        (lambda: Reverb(0.5, None, RATE), "folder with impulse resp.*none given"),
        (lambda: Reverb(0.5, "no/such", RATE), "there is no folder no/such"),
        (lambda: Reverb(1.5, None, RATE), "probability must lie in 0 to 1"),
        (lambda: SpeechBrainTransform(2, DropFreq()), "probability must lie"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


# Time and pitch


@pytest.mark.parametrize("shift_s", [-0.3, 0.0, 0.25, 0.5])
def test_a_shift_moves_a_recording_and_loses_nothing(shift_s):
    waveform = hiss()
    found = changed_once(TimeShift(1.0, shift_s, RATE), waveform)
    spectra = torch.fft.rfft(found), torch.fft.rfft(waveform)
    correlation = torch.fft.irfft(spectra[0] * spectra[1].conj(), n=RATE)
    assert correlation.argmax().item() == round(shift_s * RATE) % RATE
    assert torch.equal(found.sort().values, waveform.sort().values)


def test_shifts_lie_in_their_range():
    impulse = torch.zeros(RATE)
    impulse[RATE // 2] = 1
    found = draws(TimeShift(1.0, (-0.25, 0.25), RATE), impulse)
    shifts_s = [waveform.argmax().item() / RATE - 0.5 for waveform in found]
    assert -0.25 <= min(shifts_s) < -0.2
    assert 0.2 < max(shifts_s) <= 0.25


@pytest.mark.parametrize("ratio", [0.6, 0.9, 1.0, 1.1, 1.3])
def test_speed_changes_duration_and_frequency_alike(ratio):
    changed = changed_once(Speed(1.0, (ratio, ratio)), tone())
    assert len(changed) == pytest.approx(RATE / ratio, abs=1)
    assert frequency_hz(changed, RATE) == pytest.approx(440 * ratio, abs=3)
    middle = changed[1000:-1000]
    assert power(middle) == pytest.approx(0.5**2 / 2, rel=0.01)
    voice = changed_once(Speed(1.0, ratio), vowel())
    assert abs(cents(f0_hz(voice) / (150 * ratio))) < 5


def test_speeds_lie_in_their_range():
    ratios = [RATE / len(found) for found in draws(Speed(1.0, (0.8, 1.25)), tone())]
    assert min(ratios) >= 0.8 - 1e-3
    assert max(ratios) <= 1.25 + 1e-3
    assert len({round(ratio, 3) for ratio in ratios}) > 5


def test_a_narrow_range_of_speeds_changes_something():
    n_samples = {len(found) for found in draws(Speed(1.0, (0.98, 1.02)), tone())}
    assert len(n_samples) == 5  # steps of 0.01


@pytest.mark.parametrize("ratio", [0.5, 0.8, 0.93, 1.25, 2.0])
@pytest.mark.parametrize("rate", [RATE, 22050])
def test_a_stretch_changes_duration_not_pitch(ratio, rate):
    found = changed_once(TimeStretch(1.0, ratio, rate), vowel(2.0, rate=rate))
    assert len(found) == round(2 * rate / ratio)
    assert abs(cents(f0_hz(found, rate) / 150)) < 5
    # to its very ends
    tenths = [power(part) for part in found.chunk(10)]
    assert max(tenths) < 2 * min(tenths)


@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_a_stretch_moves_what_happens(ratio):
    waveform = torch.cat([torch.zeros(RATE), tone(0.1), torch.zeros(3 * RATE // 2)])
    found = changed_once(TimeStretch(1.0, ratio, RATE), waveform)
    expected = centre_of_energy(waveform) / ratio
    assert centre_of_energy(found) == pytest.approx(expected, abs=0.01 * RATE)


def test_a_long_recording_is_stretched_as_well_as_a_short_one():
    """Phases add up over a recording; at its end the tone is as pure as ever."""
    found = changed_once(TimeStretch(1.0, 0.93, RATE), tone(60, 7000.0))
    spectrum = np.abs(np.fft.rfft(found[-RATE - 512 : -512].numpy() * np.hanning(RATE)))
    energy = spectrum**2  # in bins of 1 Hz
    assert db(1 - energy[6995:7006].sum() / energy.sum()) < -45


def test_stretches_lie_in_their_range():
    found = draws(TimeStretch(1.0, (0.8, 1.25), RATE), tone(0.2))
    ratios = [0.2 * RATE / len(waveform) for waveform in found]
    assert 0.8 - 1e-3 <= min(ratios) < 0.85
    assert 1.2 < max(ratios) <= 1.25 + 1e-3
    assert len(set(ratios)) > 30


@pytest.mark.parametrize("semitones", [-12, -5.5, -2, -0.5, 0.7, 1, 4, 7.3, 12])
def test_a_pitch_shift_changes_f0_not_duration(semitones):
    found = changed_once(PitchShift(1.0, semitones, RATE), vowel(1.0, 200))
    assert len(found) == RATE
    assert abs(cents(f0_hz(found) / 200) - 100 * semitones) < 9 + 3  # Praat's own


@pytest.mark.parametrize("semitones", [-4, 3])
def test_a_pitch_shift_leaves_what_happens_in_its_place(semitones):
    waveform = torch.cat([torch.zeros(RATE), tone(0.1), torch.zeros(RATE // 2)])
    found = changed_once(PitchShift(1.0, semitones, RATE), waveform)
    expected = centre_of_energy(waveform)
    assert centre_of_energy(found) == pytest.approx(expected, abs=0.01 * RATE)
    tone_s = slice(RATE + 200, RATE + 1400)
    assert abs(db(power(found[tone_s]) / power(waveform[tone_s]))) < 1


def test_pitch_shifts_lie_in_their_range():
    found = draws(PitchShift(1.0, (-3, 3), RATE), vowel(0.4), 20)
    semitones = [cents(f0_hz(waveform) / 150) / 100 for waveform in found]
    assert -3.2 < min(semitones) < -2
    assert 2 < max(semitones) < 3.2


# Level, noise and silence


@pytest.mark.parametrize("gain_db", [-20, -6, 0, 3.5])
def test_gain_changes_the_level(gain_db):
    found = changed_once(Gain(1.0, gain_db), tone())
    assert db(power(found) / power(tone())) == pytest.approx(gain_db, abs=0.01)


def test_gains_lie_in_their_range():
    clean = tone(0.1)
    gains = [db(power(x) / power(clean)) for x in draws(Gain(1.0, (-6, 6)), clean)]
    assert -6.01 < min(gains) < -5
    assert 5 < max(gains) < 6.01


@pytest.mark.parametrize("snr_db", [0, 10, 30])
def test_white_noise_has_its_ratio_and_is_white(snr_db):
    clean = tone(2)
    added = changed_once(WhiteNoise(1.0, (snr_db, snr_db)), clean) - clean
    assert db(power(clean) / power(added)) == pytest.approx(snr_db, abs=0.2)
    spectrum = np.abs(np.fft.rfft(added.numpy())) ** 2
    low, high = np.split(spectrum[: len(spectrum) // 2 * 2], 2)
    assert low.sum() / high.sum() == pytest.approx(1, abs=0.1)


def test_ratios_of_noise_lie_in_their_range():
    clean = tone(0.5)
    found = draws(WhiteNoise(1.0, (10, 30)), clean)
    ratios = [db(power(clean) / power(noisy - clean)) for noisy in found]
    assert 9.5 < min(ratios) < 14
    assert 26 < max(ratios) < 30.5


@pytest.mark.parametrize("amplitude", [0.0, 0.01, 1.0])
def test_white_noise_of_a_level_heeds_no_recording(amplitude):
    clean = amplitude * tone()
    added = changed_once(WhiteNoise(1.0, std_range=0.005), clean) - clean
    assert added.std().item() == pytest.approx(0.005, rel=0.03)
    assert added.mean().item() == pytest.approx(0, abs=2e-4)


def test_levels_of_noise_lie_in_their_range():
    found = draws(WhiteNoise(1.0, std_range=(0.001, 0.01)), torch.zeros(4000))
    levels = [waveform.std().item() for waveform in found]
    assert 0.0009 < min(levels) < 0.002
    assert 0.009 < max(levels) < 0.0105


def test_silence_is_put_at_both_ends_and_counted_in_the_lengths():
    silence = EdgeSilence(1.0, (0.1, 0.5), sample_rate=1000)
    waveforms = torch.ones(2, 400)
    waveforms[1, 200:] = 0  # padding
    augment = Augmentation([silence], seed=1)
    changed, lengths = augment(waveforms, torch.tensor([1.0, 0.5]), ["a", "b"], epoch=1)
    n_samples = (lengths * changed.shape[1]).round().long().tolist()
    for row, n, speech in zip(changed, n_samples, (400, 200), strict=True):
        first, last = row.nonzero().flatten()[[0, -1]].tolist()
        assert last - first + 1 == speech
        assert 100 <= first <= 500 and 100 <= n - 1 - last <= 500
        assert first != n - 1 - last  # each end has its own length


# Noise from a folder


def found_in(piece, source):
    """The highest correlation of a piece with any place of its source, 0 to 1."""
    piece, source = piece.double().numpy(), source.double().numpy()
    n_fft = len(piece) + len(source)
    spectrum = np.fft.rfft(source, n_fft) * np.fft.rfft(piece, n_fft).conj()
    products = np.fft.irfft(spectrum, n_fft)[: len(source) - len(piece) + 1]
    sums = np.concatenate([[0], np.cumsum(source**2)])
    energies = sums[len(piece) :] - sums[: -len(piece)]
    return (products / np.sqrt(energies * (piece**2).sum())).max()


@pytest.mark.parametrize("snr_db", [-5, 0, 20])
def test_background_has_its_ratio(noises, snr_db):
    clean = tone(0.4)
    for noisy in draws(Background(1.0, noises, snr_db, RATE), clean, 5):
        ratio_db = db(power(clean) / power(noisy - clean))
        assert ratio_db == pytest.approx(snr_db, abs=0.05)


def test_ratios_of_background_lie_in_their_range(noises):
    clean = vowel(0.4)
    ratios = [
        db(power(clean) / power(noisy - clean))
        for noisy in draws(Background(1.0, noises, (0, 20), RATE), clean)
    ]
    assert -0.1 < min(ratios) < 4 and 16 < max(ratios) < 20.1


def test_background_is_a_piece_of_a_file_drawn(noises):
    clean = tone(0.2)
    pieces = [x - clean for x in draws(Background(1.0, noises, 0, RATE), clean, 10)]
    sources = [torch.from_numpy(soundfile.read(path)[0]) for path in noises.iterdir()]
    matches = torch.tensor(
        [[found_in(piece, source) for source in sources] for piece in pieces]
    )
    assert (matches.max(1).values > 0.999).all()
    assert set(matches.argmax(1).tolist()) == {0, 1}
    assert n_different(pieces) == 10  # of the same file, another piece


def test_background_is_repeated_where_it_is_shorter(tmp_path):
    soundfile.write(tmp_path / "short.wav", hiss(1000).numpy(), RATE, "FLOAT")
    clean = torch.ones(2500)
    noise = changed_once(Background(1.0, tmp_path, 0, RATE), clean) - clean
    assert noise[:1000] == pytest.approx(noise[1000:2000], abs=1e-6)
    assert noise[:500] == pytest.approx(noise[2000:], abs=1e-6)
    assert found_in(noise[:1000], hiss(1000).repeat(2)) > 0.999


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_background_of_a_long_file_is_any_piece_of_it(tmp_path, rate):
    """Longer than what is kept decoded; a sweep tells where a piece is from."""
    time_s = np.arange(40 * rate) / rate  # 200 Hz at the start, 3000 Hz at the end
    sweep = 0.5 * np.sin(2 * np.pi * (200 * time_s + 35 * time_s**2))
    soundfile.write(tmp_path / "sweep.flac", sweep, rate)
    clean = torch.ones(RATE // 4) * 1e-3
    background = Background(1.0, tmp_path, -40, RATE)
    found = [frequency_hz(x - x.mean(), RATE) for x in draws(background, clean, 25)]
    assert 200 <= min(found) < 700
    assert 2400 < max(found) <= 3000
    shortest = changed_once(background, torch.ones(1))
    assert len(shortest) == 1 and shortest.isfinite().all()


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "m4a", "webm"])
def test_background_reads_any_format_at_any_depth(tmp_path, extension):
    rate = 48000 if extension == "webm" else 44100
    (tmp_path / "a" / "b").mkdir(parents=True)
    samples = sine(2.0, rate, 2, 1000.0)
    write_audio(tmp_path / "a" / "b" / f"hum.{extension}", samples, rate)
    noisy = changed_once(Background(1.0, tmp_path, -20, RATE), hiss())
    assert frequency_hz(noisy, RATE) == pytest.approx(1000, abs=2)


def test_files_come_sorted_and_others_are_left_out(tmp_path, caplog):
    for name in ("b/x.wav", "a.wav", "b/a.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_audio(tmp_path / name, sine(0.1), RATE)
    (tmp_path / "README.md").write_text("Noises\n")
    (tmp_path / "empty.wav").touch()
    with caplog.at_level(logging.WARNING):
        background = Background(1.0, tmp_path, 10, RATE)
    names = [path.relative_to(tmp_path).as_posix() for path, _ in background.files]
    assert names == ["a.wav", "b/a.flac", "b/x.wav"]
    assert "2 files are no audio and left out, README.md, empty.wav" in caplog.text


@pytest.mark.parametrize("kind", [Background, Reverb])
def test_a_folder_without_audio_is_refused(tmp_path, kind):
    (tmp_path / "README.md").write_text("Nothing here yet\n")
    ranges = {"snr_range": 10} if kind is Background else {}
    with pytest.raises(ValueError, match=r"as audio files.*there is no audio in"):
        kind(0.5, tmp_path, **ranges, sample_rate=RATE)


@pytest.mark.parametrize("kind", [Background, Reverb])
def test_no_folder_is_needed_while_it_is_off(kind):
    ranges = {"snr_range": 10} if kind is Background else {}
    for folder in (None, "no/such"):
        off = kind(0.0, folder, **ranges, sample_rate=RATE)
        assert torch.equal(changed_once(off, tone()), tone())


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_noise_that_can_not_be_mixed_changes_nothing(tmp_path, value):
    samples = np.full(RATE, value, dtype=np.float32)
    soundfile.write(tmp_path / "x.wav", samples, RATE, "FLOAT")
    found = changed_once(Background(1.0, tmp_path, 0, RATE), tone())
    assert torch.equal(found, tone())


# Rooms


def reverb(tmp_path, response, rate=RATE):
    soundfile.write(tmp_path / "room.wav", response, rate, "FLOAT")
    return Reverb(1.0, tmp_path, RATE)


def test_an_impulse_becomes_the_response(tmp_path):
    response = np.zeros(200)
    response[[0, 150]] = 1, 0.5
    impulse = torch.zeros(1000)
    impulse[300] = 1
    found = changed_once(reverb(tmp_path, response), impulse)
    expected = torch.zeros(1000)
    # of the same sum of magnitudes as the impulse
    expected[[300, 450]] = torch.tensor([2 / 3, 1 / 3])
    assert found == pytest.approx(expected, abs=1e-6)


def test_reverb_is_the_convolution_with_nothing_wrapped_around(tmp_path):
    response, waveform = hiss(700, "room").numpy(), hiss(1000)
    response[0] = 2
    found = changed_once(reverb(tmp_path, response), waveform).numpy()
    expected = np.convolve(waveform.numpy(), response)[:1000]
    scale = found.dot(expected) / expected.dot(expected)
    assert found == pytest.approx(scale * expected, abs=1e-5)
    impulse = torch.zeros(1000)
    impulse[-1] = 1  # all of its echo lies beyond the end
    found = changed_once(reverb(tmp_path, response), impulse)
    assert found[:-1].abs().max() < 1e-6 < found[-1]


def test_the_direct_sound_stays_in_its_place(tmp_path):
    response = np.zeros(300)
    response[[40, 100]] = -1, 0.5  # recorded 2.5 ms late, and upside down
    for position in (0, 300, 999):
        found = changed_once(reverb(tmp_path, response), torch.eye(1000)[position])
        echo = position + 60
        assert found.abs().argmax().item() == position
        found[[position, *range(echo, min(echo + 1, 1000))]] = 0
        assert found.abs().max() < 1e-6


def test_a_response_longer_than_the_recording_will_do(tmp_path):
    response = np.zeros(5000)
    response[[0, 30, 4000]] = 1, 0.5, 0.25
    found = changed_once(reverb(tmp_path, response), torch.eye(100)[0])
    expected = torch.zeros(100)
    expected[[0, 30]] = torch.tensor([1, 0.5]) / 1.75
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_response_is_resampled_and_of_one_channel(tmp_path):
    response = np.zeros((4800, 2))
    response[0] = 1
    response[2400, 0] = 0.5  # after 50 ms
    response[1200, 1] = 0.5
    found = changed_once(reverb(tmp_path, response, 48000), torch.eye(2000)[0])
    assert found[400:].argmax().item() + 400 == 800
    assert found[350:450].abs().max() < 0.01 * found[800]


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_room_without_sound_changes_nothing(tmp_path, value):
    found = changed_once(reverb(tmp_path, np.full(100, value)), tone())
    assert torch.equal(found, tone())


# SpeechBrain


def test_a_frequency_is_dropped():
    """SpeechBrain's notch lies 5 % above what is asked, and is twice as wide."""
    module = DropFreq(0.5, 0.5, drop_freq_count_low=1, drop_freq_count_high=1)
    waveform = hiss(10 * RATE)
    found = changed_once(SpeechBrainTransform(1.0, module), waveform)
    spectra = [
        np.abs(np.fft.rfft(x.numpy())[:-1]).reshape(-1, 500) for x in (found, waveform)
    ]
    gains_db = 10 * np.log10((spectra[0] ** 2).sum(1) / (spectra[1] ** 2).sum(1))
    bands_hz = 25 + 50 * np.arange(160)  # 500 bins of 0.1 Hz
    assert 4000 <= bands_hz[gains_db.argmin()] <= 4400
    assert gains_db.min() < -30
    far = np.abs(bands_hz - 4200) > 1000
    assert np.abs(gains_db[far]).max() < 0.5


def test_frequencies_dropped_differ():
    transform = SpeechBrainTransform(1.0, DropFreq(drop_freq_count_high=1))
    found = draws(transform, hiss(4000), 8)
    lowest = {
        np.abs(np.fft.rfft(x))[:2000].reshape(-1, 25).sum(1).argmin() for x in found
    }
    assert len(lowest) > 4


def test_chunks_are_dropped_and_the_rest_kept():
    module = DropChunk(200, 300, drop_count_low=2, drop_count_high=2)
    for found in draws(SpeechBrainTransform(1.0, module), hiss(), 10):
        dropped = found == 0
        assert 200 <= dropped.sum().item() <= 600
        assert torch.equal(found[~dropped], hiss()[~dropped])
        assert 1 <= dropped.int().diff().clamp(min=0).sum().item() + dropped[0] <= 2


@pytest.mark.parametrize(
    "settings",
    [
        {},  # three of up to 1000 samples would leave nothing of it
        {"drop_length_high": 200},  # nor would three of 200 of 500
        {"noise_factor": 1.0},
        {"drop_start": 3000},  # beyond its end
        {"drop_start": -3000},
        {"drop_end": 3000, "drop_length_high": 100},
        {"drop_start": 400, "drop_length_high": 100, "drop_end": -100},
    ],
)
def test_a_recording_without_room_for_a_chunk_stays_as_it_is(settings):
    transform = SpeechBrainTransform(1.0, DropChunk(**settings))
    for n_samples in (1, 10, 500):
        for found in draws(transform, hiss(n_samples), 10):
            assert torch.equal(found, hiss(n_samples))


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_a_codec_changes_little(rate):
    waveform = vowel(0.5, rate=rate) + hiss(rate // 2) * 0.01
    found = draws(SpeechBrainTransform(1.0, CodecAugment(rate)), waveform, 8)
    assert n_different(found) == 3  # µ-law, MP3 and Opus
    for coded in found:
        assert not torch.equal(coded, waveform)
        assert torch.corrcoef(torch.stack([coded, waveform]))[0, 1] > 0.9


@pytest.mark.parametrize("rate", [22050, 44100])
def test_a_codec_that_can_not_encode_at_a_rate_is_left_out(rate, caplog):
    with caplog.at_level(logging.WARNING):
        transform = SpeechBrainTransform(1.0, CodecAugment(rate))
    assert f"OPUS is left out at {rate} Hz" in caplog.text
    found = draws(transform, vowel(0.2, rate=rate), 12)
    assert n_different(found) == 2


def test_codecs_are_left_alone_while_they_are_off(caplog):
    SpeechBrainTransform(0.0, CodecAugment(44100))
    assert not caplog.text


def test_a_rate_that_no_codec_takes_is_refused():
    with pytest.raises(ValueError, match="no codec works at 0 Hz"):
        SpeechBrainTransform(1.0, CodecAugment(0))


class Own(torch.nn.Module):
    """A module of one's own: what it is given, and what it returns."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, waveforms, lengths):
        assert torch.equal(lengths, torch.ones(1))
        assert waveforms.shape == (1, 100)
        return self.change(waveforms)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda x: x[:, :60], torch.arange(100) < 60),
        (lambda x: torch.cat([x, x], dim=1), torch.ones(100)),
        (lambda x: x.double(), torch.ones(100)),
        (lambda x: x / 0, torch.ones(100)),
    ],
)
def test_what_a_module_returns_is_brought_to_length(change, expected):
    found = changed_once(SpeechBrainTransform(1.0, Own(change)), torch.ones(100))
    assert found.dtype == torch.float32
    assert torch.equal(found, expected.float())


def test_a_frequency_of_0_hz_is_not_dropped():
    """SpeechBrain's filter is NaN there."""
    module = DropFreq(1e-14, 1e-13)
    assert module(hiss()[None]).isnan().all()
    found = changed_once(SpeechBrainTransform(1.0, module), hiss())
    assert torch.equal(found, hiss())


def test_a_module_that_fails_leaves_the_global_state():
    def fail(waveforms):
        torch.rand(1), random.random()
        raise RuntimeError("no")

    states = torch.get_rng_state(), random.getstate()
    with pytest.raises(RuntimeError, match="no"):
        changed_once(SpeechBrainTransform(1.0, Own(fail)), torch.ones(100))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
