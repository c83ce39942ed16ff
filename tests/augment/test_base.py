"""augment.base: when transforms are called, and on what."""

import numpy as np
import pytest
import torch

from local.augment.base import Augmentation, Transform
from local.augment.waveform import Speed, WhiteNoise
from local.utils.keyed_random import keyed_generator
from tests.audio_files import sine

RATE = 16000  # Hz


def tone(duration_s=1.0, frequency=440.0):
    """float32 [time]"""
    return torch.from_numpy(sine(duration_s, RATE, 1, frequency)[:, 0]).float()


# Transforms


def test_the_probability_is_the_share_that_is_changed():
    noise, clean = WhiteNoise(0.25, (10, 10)), tone(0.01)
    n = sum(not noise(clean, keyed_generator(i)).equal(clean) for i in range(400))
    assert 70 < n < 130  # 100, with a standard deviation of 8.7


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_wrong_probabilities_are_refused(probability):
    with pytest.raises(ValueError, match="probability must lie in 0 to 1"):
        WhiteNoise(probability, (10, 30))


@pytest.mark.parametrize("bounds", [(2, 3), [2, 3.0], (2.5, 2.5)])
def test_a_range_is_kept_as_two_floats(bounds):
    assert Transform(0.5, gain_range=bounds).gain_range == tuple(bounds)


def test_a_single_number_is_a_range_of_its_own():
    assert Transform(0.5, gain_range=-3).gain_range == (-3.0, -3.0)
    clean = tone(0.01)
    fixed, as_range = WhiteNoise(1.0, 10), WhiteNoise(1.0, [10, 10])
    found = fixed(clean, keyed_generator("x"))
    assert torch.equal(found, as_range(clean, keyed_generator("x")))


@pytest.mark.parametrize(
    "bounds",
    [(3, 2), (2,), (1, 2, 3), "ab", "1", None, (None, 1), float("nan"), (0, "inf")],
)
def test_what_is_no_range_is_refused(bounds):
    with pytest.raises(ValueError, match=r"gain_range must be .* or one number"):
        Transform(0.5, gain_range=bounds)


def test_ranges_can_be_limited():
    transform = Transform(0.5, gain_range=(1, 3))
    transform.require("gain_range", 1, 3)
    transform.require("gain_range", 1)
    with pytest.raises(ValueError, match=r"gain_range must lie in 0 to 2: \[1.0, 3.0"):
        transform.require("gain_range", 0, 2)
    with pytest.raises(ValueError, match="gain_range must be 2 or more"):
        transform.require("gain_range", 2)


def test_an_empty_recording_stays_empty():
    assert len(WhiteNoise(1.0, 10)(torch.zeros(0), keyed_generator("x"))) == 0


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
