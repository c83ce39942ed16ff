"""Curves over time: places that are known by construction are where the peak is."""

import numpy as np
import pytest
import torch

from local.data.short_windows import HOP_S, N_TOGETHER, WINDOW_S, score_windows

RATE = 8000


def recording(*bursts, duration_s=4.0, voice=(0.5, 3.5), hz=3000):
    """Noise as a voice in a quiet room; bursts: (middle in s, loudness) of a tone."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    samples = noise * np.where((time_s > voice[0]) & (time_s < voice[1]), 0.1, 0.001)
    for middle_s, loudness in bursts:
        near = np.exp(-(((time_s - middle_s) / 0.05) ** 2))
        samples += loudness * near * np.sin(2 * np.pi * hz * time_s)
    return torch.from_numpy(samples.astype("float32"))


def loudness_at(*frequencies):
    """A classifier whose logits are the loudness of the middle at frequencies in Hz."""

    def score(waveforms):
        time_s = torch.arange(waveforms.shape[1]) / RATE
        heard = waveforms * torch.hann_window(waveforms.shape[1])
        return torch.stack(
            [
                (heard * torch.exp(2j * torch.pi * hz * time_s)).sum(dim=1).abs().log()
                for hz in frequencies
            ],
            dim=1,
        )

    return score


@pytest.mark.parametrize("middle_s", [0.8, 1.44, 2.03, 3.2])
def test_the_loudest_burst_is_where_the_peak_is(middle_s):
    """Of two the louder one, and of each label its own."""
    waveform = recording((middle_s, 0.3), (2.6, 0.1))
    waveform = waveform + recording((1.1, 0.3), hz=1000, voice=(0, 0))
    score, labels = loudness_at(3000, 1000), ["high", "low"]
    said = score_windows(waveform, RATE, score, labels, begin_s=10.0)
    for label, place_s in zip(labels, (middle_s, 1.1), strict=True):
        entry = said["labels"][label]
        assert entry["peak_s"] == pytest.approx(10 + place_s, abs=HOP_S / 2 + 1e-6)
        values = np.array(entry["values"], dtype=float)
        assert said["times_s"][np.nanargmax(values)] == entry["peak_s"]


def test_pauses_are_not_scored():
    """Whatever a model would say of them, and whatever a microphone's offset is."""
    sizes = []

    def quietest(waveforms):
        sizes.append(len(waveforms))
        return -waveforms.std(dim=1)[:, None]

    said = score_windows(recording() + 0.5, RATE, quietest, ["x"])
    values = said["labels"]["x"]["values"]
    scored = [t for t, v in zip(said["times_s"], values, strict=True) if v is not None]
    # half of a window is speech: 3 dB below the voice; a hundredth is 20 dB
    assert scored[0] == pytest.approx(0.5 - WINDOW_S / 2 + HOP_S / 2, abs=HOP_S)
    assert scored[-1] == pytest.approx(3.5 + WINDOW_S / 2 - HOP_S / 2, abs=HOP_S)
    assert np.diff(scored) == pytest.approx(HOP_S)
    assert sum(sizes) == len(scored) and max(sizes) <= N_TOGETHER
    assert None in values


@pytest.mark.parametrize("n_samples", [2, 800, 2400, 2401])
def test_what_is_shorter_than_a_window_is_one(n_samples):
    waveform = torch.randn(n_samples, generator=torch.Generator().manual_seed(0))
    lengths = []

    def score(waveforms):
        lengths.append(waveforms.shape)
        return torch.zeros(len(waveforms), 2)

    said = score_windows(waveform, RATE, score, ["x", "y"])
    length = min(n_samples, round(WINDOW_S * RATE))
    assert lengths == [(1, length)]
    peaks_s = [entry["peak_s"] for entry in said["labels"].values()]
    assert peaks_s == pytest.approx([length / 2 / RATE] * 2, abs=1e-4)


def test_digital_silence_has_values_all_the_same():
    zeros = torch.zeros(RATE)
    said = score_windows(zeros, RATE, lambda waveforms: waveforms[:, :1], ["x"])
    assert said["labels"]["x"]["values"] == [0] * len(said["times_s"])
