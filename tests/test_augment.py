"""local.augment: what each transform does to a signal, measured."""

import numpy as np
import pytest
import torch

from local.augment import Augmentation, EdgeSilence, Speed, Transform, WhiteNoise
from local.randomness import keyed_generator
from tests.audio_files import frequency_hz, sine

RATE = 16000  # Hz


def tone(duration_s=1.0, frequency=440.0):
    """float32 [time]"""
    return torch.from_numpy(sine(duration_s, RATE, 1, frequency)[:, 0]).float()


def power(waveform):
    return waveform.double().square().mean().item()


# Transforms


@pytest.mark.parametrize("ratio", [0.6, 0.9, 1.0, 1.1, 1.3])
def test_speed_changes_duration_and_frequency_alike(ratio):
    changed = Speed(1.0, (ratio, ratio))(tone(), keyed_generator("x"))
    assert len(changed) == pytest.approx(RATE / ratio, abs=1)
    assert frequency_hz(changed, RATE) == pytest.approx(440 * ratio, abs=3)
    middle = changed[1000:-1000]
    assert power(middle) == pytest.approx(0.5**2 / 2, rel=0.01)


def test_speeds_lie_in_their_range():
    speed = Speed(1.0, (0.8, 1.25))
    ratios = [RATE / len(speed(tone(), keyed_generator(i))) for i in range(40)]
    assert min(ratios) >= 0.8 - 1e-3
    assert max(ratios) <= 1.25 + 1e-3
    assert len({round(ratio, 3) for ratio in ratios}) > 5


def test_a_narrow_range_of_speeds_changes_something():
    speed = Speed(1.0, (0.98, 1.02))
    n_samples = {len(speed(tone(), keyed_generator(i))) for i in range(40)}
    assert len(n_samples) == 5  # steps of 0.01


@pytest.mark.parametrize("snr_db", [0, 10, 30])
def test_white_noise_has_its_ratio_and_is_white(snr_db):
    clean = tone(2)
    added = WhiteNoise(1.0, (snr_db, snr_db))(clean, keyed_generator("x")) - clean
    assert 10 * np.log10(power(clean) / power(added)) == pytest.approx(snr_db, abs=0.2)
    spectrum = np.abs(np.fft.rfft(added.numpy())) ** 2
    low, high = np.split(spectrum[: len(spectrum) // 2 * 2], 2)
    assert low.sum() / high.sum() == pytest.approx(1, abs=0.1)


def test_ratios_of_noise_lie_in_their_range():
    noise, clean = WhiteNoise(1.0, (10, 30)), tone(0.5)
    ratios = [
        10 * np.log10(power(clean) / power(noise(clean, keyed_generator(i)) - clean))
        for i in range(40)
    ]
    assert 9.5 < min(ratios) < 14
    assert 26 < max(ratios) < 30.5


@pytest.mark.parametrize(
    "transform", [Speed(1.0, (0.6, 1.3)), WhiteNoise(1.0, (10, 30))]
)
def test_silence_stays_silence(transform):
    changed = transform(torch.zeros(RATE), keyed_generator("x"))
    assert len(changed) > 0
    assert (changed == 0).all()


def test_the_probability_is_the_share_that_is_changed():
    noise, clean = WhiteNoise(0.25, (10, 10)), tone(0.01)
    n = sum(not noise(clean, keyed_generator(i)).equal(clean) for i in range(400))
    assert 70 < n < 130  # 100, with a standard deviation of 8.7


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_wrong_probabilities_are_refused(probability):
    with pytest.raises(ValueError, match="probability must lie in 0 to 1"):
        WhiteNoise(probability, (10, 30))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: WhiteNoise(1.0, (30, 10)), "snr_range"),
        (lambda: Speed(1.0, (1.1, 0.9)), "speed_range"),
        (lambda: Speed(1.0, (0.0, 1.1)), "speed_range"),
        (lambda: Speed(1.0, (-1.0, 1.1)), "speed_range"),
    ],
)
def test_wrong_ranges_are_refused(make, name):
    with pytest.raises(ValueError, match=name):
        make()


# Batches


def augmented(transforms, uids=("a", "b"), epoch=1, seed=1, n_samples=(16000, 8000)):
    """The recordings of an augmented batch of tones, each at its own length."""
    waveforms = torch.zeros(len(uids), max(n_samples))
    for waveform, n in zip(waveforms, n_samples, strict=True):
        waveform[:n] = tone()[:n]
    lengths = torch.tensor(n_samples) / max(n_samples)
    found, lengths = Augmentation(transforms, seed)(waveforms, lengths, uids, epoch)
    n_found = torch.round(lengths * found.shape[1]).long().tolist()
    for waveform, n in zip(found, n_found, strict=True):
        assert (waveform[n:] == 0).all()
    return [waveform[:n] for waveform, n in zip(found, n_found, strict=True)]


def test_padding_stays_silent_and_lengths_true():
    """The longer recording may become the shorter one."""
    both = [Speed(1.0, (0.5, 0.5)), WhiteNoise(1.0, (10, 10))]
    first, second = augmented(both)
    assert (len(first), len(second)) == (32000, 16000)
    # ratios differ by recording: lengths are each recording's own
    n_samples = (16000, 15000)
    for i in range(8):
        uids = (f"a{i}", f"b{i}")
        found = augmented([Speed(1.0, (0.6, 1.4))], uids, n_samples=n_samples)
        for waveform, n, uid in zip(found, n_samples, uids, strict=True):
            alone = augmented([Speed(1.0, (0.6, 1.4))], (uid,), n_samples=(n,))[0]
            assert torch.equal(waveform, alone)


def test_noise_fills_each_recording_to_its_end():
    for waveform in augmented([WhiteNoise(1.0, (0, 0))]):
        assert (waveform[-100:] != tone()[: len(waveform)][-100:]).any()


def test_parameters_are_drawn_anew_for_recordings_and_epochs():
    noise = [WhiteNoise(1.0, (10, 10))]
    same = {"n_samples": (8000, 8000)}
    first, second = augmented(noise, **same)
    assert not torch.equal(first, second)
    assert not torch.equal(first, augmented(noise, epoch=2, **same)[0])
    assert not torch.equal(first, augmented(noise, seed=2, **same)[0])
    torch.manual_seed(5)
    assert torch.equal(first, augmented(noise, **same)[0])


def test_transforms_come_in_order():
    """Noise before the change of speed is changed with the tone: above 4 kHz there
    is none. After it, there is."""
    slow, noise = Speed(1.0, (0.5, 0.5)), WhiteNoise(1.0, (0, 0))

    def share_above_4_khz(transforms):
        spectrum = np.abs(np.fft.rfft(augmented(transforms)[0].numpy())) ** 2
        return spectrum[len(spectrum) // 2 :].sum() / spectrum.sum()

    assert share_above_4_khz([noise, slow]) < 0.01
    assert share_above_4_khz([slow, noise]) == pytest.approx(0.25, abs=0.02)


def test_probability_0_changes_nothing():
    off = Augmentation([Speed(0.0, (0.5, 0.5)), WhiteNoise(0.0, (0, 0))], seed=1)
    waveforms, lengths = torch.rand(2, 100), torch.tensor([1.0, 0.5])
    found = off(waveforms, lengths, ["a", "b"], epoch=1)
    assert found[0] is waveforms
    assert found[1] is lengths
    one_off = [Speed(0.0, (0.5, 0.5)), WhiteNoise(1.0, (200, 200))]
    assert augmented(one_off)[0] == pytest.approx(tone(), abs=1e-6)


def test_a_transform_of_ones_own_needs_one_method():
    class Half(Transform):
        def apply_to(self, waveform, generator):
            return waveform / 2

    first, second = augmented([Half(1.0)])
    assert torch.equal(first, tone() / 2)
    assert torch.equal(second, tone()[:8000] / 2)


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


def test_silence_of_negative_length_is_refused():
    with pytest.raises(ValueError, match="silence_range must be 0 or more"):
        EdgeSilence(0.5, (-0.1, 0.2), sample_rate=1000)
