"""Acoustic statistics of tones and noise by hand, of speech by librosa and Praat."""

import librosa
import numpy as np
import parselmouth
import pytest
import torch

from local.model import acoustic_statistics
from tests.audio_files import speech

RATE = 16000


@pytest.fixture(scope="module")
def spoken():
    return speech("a bag of sand in the park", RATE)


def statistics(samples, rate=RATE):
    waveform = torch.as_tensor(samples, dtype=torch.float32)
    found = acoustic_statistics.acoustic_statistics(waveform, rate)
    return {name.removeprefix("acoustic_"): value for name, value in found.items()}


def sine(frequency_hz, duration_s=1.0, rate=RATE, amplitude=0.5):
    time_s = torch.arange(round(duration_s * rate)) / rate
    return amplitude * torch.sin(2 * torch.pi * frequency_hz * time_s)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_statistics_of_a_tone(rate):
    found = statistics(sine(250, rate=rate), rate)
    # 0.5 is 6 dB below full scale, and a sine's mean square another 3 dB
    assert found["level_db_mean"] == pytest.approx(-9.03, abs=0.1)
    assert found["f0_median_hz"] == pytest.approx(250, rel=0.02)
    assert found["f0_sd_semitones"] < 0.1 and found["voiced_share"] == 1
    assert found["duration_s"] == 1 and found["n_pauses"] == 0
    # but for the first and last frames, which hold its mirror image
    assert found["centroid_hz_mean"] == pytest.approx(250, rel=0.15)


def test_level_and_flatness_of_white_noise():
    noise = torch.randn(5 * RATE, generator=torch.Generator().manual_seed(0))
    found = statistics(0.01 * noise)
    assert found["level_db_mean"] == pytest.approx(-40, abs=0.2)
    assert found["voiced_share"] < 0.05
    # the mean logarithm of a periodogram is Euler's 0.577 below that of its mean
    assert found["flatness_db_mean"] == pytest.approx(
        -10 * np.log10(np.e) * 0.5772, 0.03
    )
    assert found["centroid_hz_mean"] == pytest.approx(RATE / 4, rel=0.02)


def test_cepstrum_is_librosas(spoken):
    found = statistics(spoken)
    theirs = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40, htk=True, norm=None)
    power = np.abs(librosa.stft(spoken, n_fft=512, hop_length=160, pad_mode="reflect"))
    decibels = librosa.power_to_db(theirs @ power**2)
    expected = librosa.feature.mfcc(S=decibels, n_mfcc=20)
    for i in range(20):
        assert found[f"mfcc_{i:02d}_mean"] == pytest.approx(
            expected[i].mean(), abs=0.05
        )
        assert found[f"mfcc_{i:02d}_sd"] == pytest.approx(expected[i].std(), abs=0.05)


def test_f0_is_that_of_praat(spoken):
    found = statistics(spoken)
    pitch = parselmouth.Sound(spoken, RATE).to_pitch_ac(
        pitch_floor=60, pitch_ceiling=400
    )
    voiced = pitch.selected_array["frequency"]
    share = (voiced > 0).mean()
    assert found["f0_median_hz"] == pytest.approx(
        np.median(voiced[voiced > 0]), rel=0.03
    )
    assert found["voiced_share"] == pytest.approx(share, abs=0.1)


def test_f0_is_found_over_a_long_recording():
    """Of more frames than are computed at a time."""
    track = acoustic_statistics.f0_track(sine(100, duration_s=12), RATE)
    assert len(track) > acoustic_statistics.FRAMES_AT_A_TIME
    assert track == pytest.approx(100, rel=0.01)


def test_f0_moves_by_semitones():
    found = statistics(torch.cat([sine(100), sine(200)]))
    # half of the frames an octave above the others: 6 semitones on either side
    assert found["f0_sd_semitones"] == pytest.approx(6, abs=0.3)


def test_pauses_are_counted_between_sounds():
    sound, nothing = sine(200, 0.5), 0.001 * sine(200, 0.5)

    def n_pauses(*parts):
        return statistics(torch.cat(parts))["n_pauses"]

    assert n_pauses(nothing, sound, nothing) == 0
    assert n_pauses(nothing, sound, nothing, sound, nothing, sound) == 2
    short = nothing[: RATE // 4]
    assert n_pauses(sound, short, sound, nothing, sound) == 1
    assert n_pauses(sound, 0.1 * sound, sound) == 0  # 20 dB below is sound


@pytest.mark.parametrize(
    "samples", [torch.zeros(RATE), torch.zeros(10), sine(200, 0.03), torch.ones(RATE)]
)
def test_nothing_is_missing_whatever_the_recording(samples):
    found = statistics(samples)
    assert list(found) == list(statistics(sine(200))) and len(found) == 66
    assert np.isfinite(list(found.values())).all()
    assert found["pause_share"] == 0  # nothing is less loud than the rest
    if samples.max() == 0:
        assert found["f0_median_hz"] == pytest.approx((60 * 400) ** 0.5)
        assert found["f0_sd_semitones"] == found["voiced_share"] == 0


def test_a_trembling_voice_trembles_in_its_band():
    """F0 of 200 Hz, 1 semitone up and down 6 times a second: a variance of 0.5."""
    time_s = torch.arange(4 * RATE, dtype=torch.float64) / RATE
    f0 = 200 * 2 ** (torch.sin(2 * torch.pi * 6 * time_s) / 12)
    found = statistics(torch.sin(2 * torch.pi * f0.cumsum(0) / RATE))
    assert found["f0_tremor_db"] == pytest.approx(10 * np.log10(0.5), abs=0.5)
    others = ("slow", "syllabic", "flutter", "rough")
    assert max(found[f"f0_{band}_db"] for band in others) < -15
    # 50 % of amplitude, 10 times a second, is flutter of the level
    louder = 1 + 0.5 * torch.sin(2 * torch.pi * 10 * time_s)
    found = statistics(louder * torch.sin(2 * torch.pi * 200 * time_s))
    assert found["level_flutter_db"] > 5 > -10 > found["level_tremor_db"]
    assert found["f0_flutter_db"] < -20


def test_modulation_is_the_variance_in_a_band():
    track = torch.as_tensor(np.random.default_rng(0).standard_normal(4000)) * 3
    found = 10 ** (np.array(acoustic_statistics.modulation(track.float())) / 10)
    widths = np.array([1.5, 2, 4, 7, 35])
    assert found[2:] == pytest.approx(9 * widths[2:] / 50, rel=0.25)
    line = torch.linspace(-50, 50, 500)
    assert max(acoustic_statistics.modulation(line)) < -50


def test_octave_errors_are_no_tremor():
    f0 = torch.full((300,), 150.0)
    f0[::7], f0[::11] = 75.0, 0.0
    assert acoustic_statistics._semitones(f0).abs().max() == 0


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_tilt_of_two_tones(rate):
    found = statistics(sine(300, rate=rate) + 0.1 * sine(2500, rate=rate), rate)
    assert found["alpha_ratio_db"] == pytest.approx(20, abs=0.5)
    assert found["hammarberg_db"] == pytest.approx(20, abs=1)
    assert found["low_balance_db"] > 20 and found["slope_db"] < -3
