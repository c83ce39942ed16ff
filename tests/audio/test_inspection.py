"""audio.inspection: what a report says of samples that are known beforehand."""

import json
import math

import numpy as np
import pytest

from local.audio import decoding
from tests.audio_files import (
    inspect,
    make_recording,
    pcm_wav,
    reason,
    sine,
    write_metadata,
)


def test_a_rate_in_the_metadata_that_disagrees_is_told(tmp_path):
    make_recording(tmp_path, sine(1, 8000), 8000)
    write_metadata(tmp_path, encoding="WAV", sample_rate_hz=16000)
    report = inspect(tmp_path)
    assert (report.sample_rate, report.metadata_sample_rate) == (8000, 16000)
    assert any(
        "16000 Hz, the audio file's header 8000 Hz" in w for w in report.warnings
    )


@pytest.mark.parametrize("backend", decoding.BACKENDS)
def test_a_report_by_hand(tmp_path, backend):
    """1 s: a square wave of 0.5, then 0.6 s of zeros, 100 samples at full scale."""
    samples = np.tile([0.5, -0.5], 8000)
    samples[4000:13600] = 0
    samples[:100] = 1.0
    make_recording(tmp_path, samples[:, None], subtype="FLOAT")
    report = inspect(tmp_path, audio_backend=backend)
    assert (report.waveform, report.format, report.codec) == (
        "waveform.wav",
        "WAV",
        "FLOAT",
    )
    assert (report.sample_rate, report.channels) == (16000, 1)
    assert report.duration_s == 1.0
    assert report.peak == 1.0
    mean_square = (100 * 1 + 6300 * 0.25) / 16000
    assert report.level_dbfs == pytest.approx(10 * math.log10(mean_square))
    assert report.clipped_share == pytest.approx(100 / 16000)
    assert report.silent_share == pytest.approx(9600 / 16000)  # 24 of 40 frames
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("clipped: 0.6%")


def test_a_report_does_not_depend_on_blocks(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).normal(scale=0.01, size=(16123, 2))
    noise[5000:9000] = 0
    make_recording(tmp_path, noise, subtype="FLOAT")
    whole = inspect(tmp_path)
    monkeypatch.setattr(decoding, "BLOCK", 777)
    blocks = inspect(tmp_path)
    assert blocks.level_dbfs == pytest.approx(whole.level_dbfs)
    assert blocks.silent_share == whole.silent_share
    assert (blocks.peak, blocks.duration_s) == (whole.peak, whole.duration_s)


def test_a_report_of_a_segment_and_a_channel(tmp_path):
    make_recording(tmp_path, sine(2, 16000, channels=2))
    report = inspect(tmp_path, channel=1, start_s=0.5, end_s=1.25)
    assert report.duration_s == 0.75
    assert report.channels == 2
    assert report.peak == pytest.approx(0.25, abs=1e-3)
    # a sine of 0.25: 20 log10(0.25) - 3.01
    assert report.level_dbfs == pytest.approx(-15.05, abs=0.02)
    assert report.warnings == ()


def test_a_recording_without_metadata_is_nothing_odd(tmp_path):
    make_recording(tmp_path, sine(1, 16000), 16000)
    (tmp_path / "metadata.json").unlink()
    report = inspect(tmp_path)
    assert (report.metadata_sample_rate, report.warnings) == (None, ())


def test_warnings_about_rates_levels_and_silence(tmp_path):
    samples = sine(1, 8000)
    samples[200:] = 0
    samples[0] = 40.0
    make_recording(tmp_path, samples, 8000, subtype="FLOAT")
    write_metadata(tmp_path, encoding="WAV")
    assert inspect(tmp_path).warnings == (
        'metadata.json has no "sample_rate_hz"',
        "recorded at 8000 Hz, used at 16000 Hz: there is nothing above 4000 Hz",
        "samples reach 40, where 1 is full scale",
        "98% of it is below -60 dBFS",
    )
    write_metadata(tmp_path, encoding="WAV", sample_rate_hz="8000")
    assert "no number: '8000'" in inspect(tmp_path).warnings[0]


def channels(folder, *samples, extension="wav", **options):
    """Warnings about a recording of these channels, of 16 kHz."""
    subtype = "FLOAT" if extension == "wav" else None
    make_recording(folder, np.stack(samples, axis=1), 16000, extension, subtype)
    return inspect(folder, **options).warnings


LEFT, RIGHT, FAINT = np.random.default_rng(0).normal(scale=0.03, size=(3, 16000))
FAINT = FAINT * 10 ** (-22 / 20)


@pytest.mark.parametrize("mono", ["mean", "sum"])
def test_channels_that_nearly_cancel_are_reported(tmp_path, mono):
    """Their sum is FAINT alone, 22 dB below one of them and 25 below both."""
    message = reason(channels, tmp_path, LEFT + FAINT, -LEFT, mono=mono)
    assert "loses 25 dB when its channels are mixed" in message
    assert "choose one of them with `channel`" in message
    assert channels(tmp_path, LEFT + FAINT, -LEFT, mono=mono, channel=0) == ()


@pytest.mark.parametrize("extension", ["ogg", "m4a"])
def test_lossy_codecs_do_not_hide_opposite_phase(tmp_path, extension):
    rate = 44100
    wave = sine(1, rate)[:, 0] * np.random.default_rng(1).uniform(0.5, 1, rate)
    make_recording(tmp_path, np.stack([wave, -wave], axis=1), rate, extension)
    message = reason(inspect, tmp_path)
    assert "cancel" in message
    assert "`channel`" in message


def test_channels_that_cancel_in_part_are_noted(tmp_path):
    note = ("channels cancel each other in part: choose one with `channel`",)
    assert channels(tmp_path, LEFT, -0.4 * LEFT) == note  # (1 - 0.4)^2 / 1.16 = 0.31
    assert channels(tmp_path, LEFT, -0.2 * LEFT) == ()  # 0.64 / 1.04 = 0.62


def test_channels_that_do_not_cancel_are_not_noted(tmp_path):
    silent = np.zeros_like(LEFT)
    assert channels(tmp_path, LEFT, RIGHT) == ()
    assert channels(tmp_path, LEFT, LEFT) == ()
    assert channels(tmp_path, LEFT, *[silent] * 15) == ()
    assert channels(tmp_path, LEFT + 0.2, LEFT - 0.2) == ()  # constant parts


# Recordings that can't be used


@pytest.fixture
def recording(tmp_path):
    """A folder whose waveform.wav has the given samples, or bytes."""

    def make(content):
        if isinstance(content, bytes):
            make_recording(tmp_path)
            (tmp_path / "waveform.wav").write_bytes(content)
        else:
            make_recording(tmp_path, np.asarray(content, float), subtype="FLOAT")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty (0 bytes)"),
        (b"this is no audio\n" * 100, "no audio that libsndfile or FFmpeg can read"),
        (pcm_wav([]), "holds no samples"),
        (pcm_wav([1]), "too short: expected at least 0.1 s, found 0.000125 s (1 sam"),
        (pcm_wav(range(400)), "at least 0.1 s, found 0.05 s (400 samples)"),
        (np.zeros((16000, 1)), "silent: every sample is 0"),
        (np.full((16000, 1), 0.25), "silent: every sample is 0.25"),
        (np.full((16000, 1), np.nan), "NaN or infinite"),
        (np.append(sine(), [[np.inf]], axis=0), "NaN or infinite"),
        (sine() * [1, -1], "they cancel each other: choose one"),
    ],
)
def test_recordings_that_cannot_be_used(recording, content, expected):
    assert expected in reason(inspect, recording(content))


def test_the_least_duration_may_be_zero(recording):
    folder = recording(pcm_wav([1, 2]))
    assert inspect(folder, min_duration=0).duration_s == 2 / 8000
    assert inspect(folder, min_duration=0).silent_share == 1
    assert "too short" in reason(inspect, recording(pcm_wav([1])), min_duration=0)


@pytest.mark.parametrize("backend", decoding.BACKENDS)
def test_a_truncated_wav_says_what_was_expected_and_found(recording, backend):
    content = pcm_wav(range(8000))
    folder = recording(content[: 44 + 4000])  # 2000 of 8000 samples
    message = reason(inspect, folder, audio_backend=backend)
    assert "expected 1.00 s (16000 bytes)" in message
    assert "found 0.25 s (4000 bytes)" in message
    assert "truncated" in reason(inspect, recording(content[:44]))


def test_what_is_odd_about_the_file_is_told(recording):
    content = pcm_wav([0, 9] * 4000)
    assert inspect(recording(content + content)).duration_s == 2
    assert "2 recordings joined in one file, read one after the other" in (
        inspect(recording(content + content)).warnings
    )


def test_a_truncated_wav_with_other_chunks_before_its_samples(recording):
    content = pcm_wav(range(8000))
    notes = b"LIST" + (5).to_bytes(4, "little") + b"notes\0"  # odd: padded
    content = content[:12] + notes + content[12:]
    whole = inspect(recording(content))
    assert whole.duration_s == 1
    assert "expected 1.00 s" in reason(inspect, recording(content[:-2]))


@pytest.mark.parametrize("length", [0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_whose_header_was_never_completed_is_read_whole(recording, length):
    content = bytearray(pcm_wav(range(8000)))
    content[40:44] = length.to_bytes(4, "little")
    assert inspect(recording(bytes(content))).duration_s == 1


def test_metadata_for_reports_is_read_from_the_folder(tmp_path):
    make_recording(tmp_path)
    (tmp_path / "metadata.json").write_text(json.dumps({"sample_rate_hz": 16000}))
    assert 'needs "encoding"' in reason(inspect, tmp_path)
