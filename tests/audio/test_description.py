"""What recordings are like: numbers that are known of signals made for it."""

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from local.audio.description import DESCRIBED, describe, frame_levels

RATE = 16000


def described(samples):
    return dict(zip(DESCRIBED, describe(samples, RATE).tolist(), strict=True))


def tone(duration_s, amplitude=0.1):
    times = np.arange(round(duration_s * RATE)) / RATE
    return amplitude * np.sin(2 * np.pi * 200 * times)


def test_a_steady_sound_is_all_sound_and_its_own_floor():
    values = described(tone(2.0))
    # a sine's mean square is half of its amplitude's square: -20 - 3.01 dB
    assert values["level_dbfs"] == pytest.approx(-23.01, abs=0.01)
    assert values["noise_floor_dbfs"] == pytest.approx(-23.01, abs=0.1)
    assert values["speech_share"] == 1 and values["rate_per_s"] == 0


def test_bursts_are_counted_and_pauses_are_none_of_the_sound():
    # 5 times 0.2 s of sound and 0.2 s of a sound 60 dB below it
    samples = np.concatenate([tone(0.2), tone(0.2, 1e-4)] * 5)
    values = described(samples)
    assert values["speech_share"] == 0.5
    assert values["noise_floor_dbfs"] == pytest.approx(-83.01, abs=0.1)
    # the first peak lies at the edge, where nothing comes before it
    assert values["rate_per_s"] == pytest.approx(5 / 2, abs=0.51)


def test_bandwidth_ends_with_the_filter():
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    low = sosfilt(butter(12, 3500, fs=RATE, output="sos"), noise)
    assert 3.5 < described(low)["bandwidth_khz"] < 6
    assert described(noise)["bandwidth_khz"] == 8


def test_digital_silence_and_the_shortest_recording_have_numbers():
    assert np.isfinite(describe(np.zeros(RATE), RATE)).all()
    assert np.isfinite(describe(np.array([0.1, -0.1]), RATE)).all()
    assert frame_levels(np.zeros(RATE), RATE).tolist() == [-100.0] * 40
