"""audio.loading: from a recording's folder to a waveform that is known beforehand."""

import math

import numpy as np
import pytest
import torch

from local.audio import loading
from local.audio.loading import recording_files as files
from local.utils.errors import BadRecording, UserError
from tests.audio_files import (
    frequency_hz,
    make_recording,
    reason,
    sine,
    write_metadata,
)

# Metadata and finding the file


def test_metadata_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "metadata.json").write_text('{"encoding": "WAV"}', encoding="utf-8-sig")
    assert loading.read_metadata(files(tmp_path)) == {"encoding": "WAV"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not JSON"),
        (b"{'encoding': 'WAV'}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'["WAV"]', "should be an object .* found a list"),
        (b'{"encoding": "\xff"}', "not UTF-8"),
        (b"{}", 'needs "encoding".* found None'),
        (b'{"encoding": 3}', 'needs "encoding".* found 3'),
        (b'{"encoding": "' + b" " * 1_000_000 + b'"}', "more than 1000000 bytes"),
    ],
)
def test_metadata_that_is_wrong(tmp_path, content, expected):
    (tmp_path / "metadata.json").write_bytes(content)
    with pytest.raises(BadRecording, match=expected):
        loading.read_metadata(files(tmp_path))


def test_without_metadata_the_only_waveform_counts(tmp_path):
    assert loading.read_metadata(files(tmp_path)) == {}
    assert "no waveform.*" in reason(loading.find_waveform, files(tmp_path), {})
    (tmp_path / "waveform.FLAC").touch()
    assert loading.find_waveform(files(tmp_path), {}).name == "waveform.FLAC"
    (tmp_path / "waveform.mp3").touch()
    message = reason(loading.find_waveform, files(tmp_path), {})
    assert "several waveforms: waveform.FLAC, waveform.mp3; keep one" in message


def test_a_missing_folder_is_named(tmp_path):
    assert "no folder" in reason(loading.recording_files, tmp_path / "r1")


@pytest.mark.parametrize(
    ("names", "encoding", "found"),
    [
        (["waveform.wav", "waveform.mp3"], "MP3", "waveform.mp3"),
        (["waveform.flac"], "WAV", "waveform.flac"),
        (["waveform.WAV", "notes.txt", "._waveform.wav"], "WAV", "waveform.WAV"),
    ],
)
def test_the_waveform_is_the_encodings_or_the_only_one(
    tmp_path, names, encoding, found
):
    for name in names:
        (tmp_path / name).touch()
    waveform = loading.find_waveform(files(tmp_path), {"encoding": encoding})
    assert waveform == tmp_path / found


def test_no_waveform_and_several(tmp_path):
    assert "waveform.wav is missing" in reason(
        loading.find_waveform, files(tmp_path), {"encoding": "WAV"}
    )
    for name in ("waveform.mp3", "waveform.ogg"):
        (tmp_path / name).touch()
    assert "several others: waveform.mp3, waveform.ogg" in reason(
        loading.find_waveform, files(tmp_path), {"encoding": "WAV"}
    )


def test_an_encoding_cannot_name_a_file_elsewhere(tmp_path):
    (tmp_path / "secret.wav").touch()
    (tmp_path / "r1").mkdir()
    assert "missing" in reason(
        loading.find_waveform, files(tmp_path / "r1"), {"encoding": "/../../secret.wav"}
    )


# Channels


def test_channels_are_averaged_summed_or_picked():
    waveform = torch.tensor([[1.0, 2.0], [3.0, -2.0]])
    assert loading.to_mono(waveform).tolist() == [2, 0]
    assert loading.to_mono(waveform, how="sum").tolist() == [4, 0]
    assert loading.to_mono(waveform, channel=1).tolist() == [3, -2]
    assert loading.to_mono(waveform[:1], how="sum").tolist() == [1, 2]


@pytest.mark.parametrize("channel", [-1, 2])
def test_a_channel_that_is_not_there(channel):
    message = reason(loading.to_mono, torch.zeros(2, 5), channel)
    assert f"no channel {channel}: the recording has 2, numbered from 0 to 1" in message


def test_an_unknown_mix_is_the_callers_mistake():
    with pytest.raises(ValueError, match="max"):
        loading.to_mono(torch.zeros(2, 5), how="max")


# Resampling


@pytest.mark.parametrize(
    ("orig_rate", "new_rate"),
    [
        (8000, 16000),
        (11025, 16000),
        (22050, 16000),
        (44100, 16000),
        (48000, 16000),
        (192000, 16000),
        (44099, 16000),  # one common divisor: soxr
        (15999, 16000),
    ],
)
def test_resampling_keeps_duration_frequency_and_amplitude(orig_rate, new_rate):
    waveform = torch.from_numpy(sine(1, orig_rate)[:, 0]).float()
    resampled = loading.resample(waveform, orig_rate, new_rate)
    assert resampled.dtype == torch.float32
    assert resampled.shape == (new_rate,)
    expected = sine(1, new_rate)[:, 0]
    middle = slice(new_rate // 10, -new_rate // 10)
    assert np.abs(resampled.numpy() - expected)[middle].max() < 5e-3


def test_both_resamplers_agree(monkeypatch):
    """The fallback, forced on a common pair of rates, shifts nothing."""
    waveform = torch.from_numpy(sine(1, 44100, channels=3).T.copy()).float()
    usual = loading.resample(waveform, 44100, 16000)
    monkeypatch.setattr(loading, "MAX_KERNEL_SIZE", 0)
    fallback = loading.resample(waveform, 44100, 16000)
    assert fallback.shape == usual.shape == (3, 16000)
    assert (fallback - usual)[:, 1000:-1000].abs().max() < 2e-3


@pytest.mark.parametrize("n_samples", [1, 44098, 44100, 100_001])
def test_the_length_is_rounded_up_with_either_resampler(n_samples):
    waveform = torch.zeros(2, 1, n_samples)
    for orig_rate in (44100, 44099):
        expected = math.ceil(n_samples * 16000 / orig_rate)
        resampled = loading.resample(waveform, orig_rate, 16000)
        assert resampled.shape == (2, 1, expected)


@pytest.mark.parametrize("rates", [(8000, 16000), (44100, 16000), (192000, 16000)])
@pytest.mark.parametrize("n_samples", [1000, 3000, 9999])
def test_blocks_give_what_the_whole_gives(monkeypatch, rates, n_samples):
    waveform = torch.rand(2, n_samples, generator=torch.manual_seed(0))
    whole = loading.resample(waveform, *rates)
    monkeypatch.setattr(loading, "RESAMPLED_BLOCK", 1000)
    blocks = loading.resample(waveform, *rates)
    assert blocks.shape == whole.shape
    assert (blocks - whole).abs().max() < 1e-6


def test_what_is_above_the_new_nyquist_frequency_is_gone():
    for orig_rate in (44100, 44099):
        tone = torch.from_numpy(sine(1, orig_rate, frequency_hz=12000)[:, 0]).float()
        resampled = loading.resample(tone, orig_rate, 16000)
        assert resampled[1000:-1000].abs().max() < 5e-3


@pytest.mark.parametrize("new_rate", [0, 44100])
def test_the_rate_may_be_left_alone(new_rate):
    waveform = torch.rand(100)
    assert loading.resample(waveform, 44100, new_rate) is waveform


def test_the_kernels_size_is_torchaudios():
    from torchaudio.functional.functional import _get_sinc_resample_kernel

    for orig_rate, new_rate in [(44100, 16000), (8000, 16000), (22050, 16000)]:
        divisor = math.gcd(orig_rate, new_rate)
        kernel, _ = _get_sinc_resample_kernel(orig_rate, new_rate, divisor)
        assert loading._kernel_size(orig_rate, new_rate) == kernel.numel()


# Whole recordings


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sample_rate", 999, "1000 or more, or 0 for the recordings' own; found 999"),
        ("audio_backend", "sox", "soundfile or librosa, found 'sox'"),
        ("mono", "left", "mean or sum, found 'left'"),
    ],
)
def test_formats_that_can_not_be(key, value, expected):
    values = {"sample_rate": 8000, "audio_backend": "librosa", "mono": "sum"}
    values |= {"min_duration": 0.5, "seed": 1}
    audio = loading.AudioFormat.of(values)
    assert audio == loading.AudioFormat(8000, "librosa", "sum", 0.5)
    with pytest.raises(UserError, match=f"{key} must be {expected}"):
        loading.AudioFormat.of(values | {key: value})


def test_a_recording_is_decoded_mixed_and_resampled(tmp_path):
    make_recording(tmp_path, sine(1, 44100, channels=2), 44100)
    metadata = loading.read_metadata(files(tmp_path))
    audio = loading.AudioFormat()
    waveform = loading.load_recording(files(tmp_path), metadata, audio)
    assert waveform.shape == (16000,)
    assert waveform.dtype == torch.float32
    # channels of 0.5 and 0.25
    assert waveform[1000:-1000].abs().max() == pytest.approx(0.375, abs=0.005)
    audio = loading.AudioFormat(sample_rate=0, mono="sum")
    waveform = loading.load_recording(
        files(tmp_path), metadata, audio, start_s=0.5, end_s=0.75
    )
    assert waveform.shape == (11025,)
    assert waveform.abs().max() == pytest.approx(0.75, abs=0.005)
    audio = loading.AudioFormat(audio_backend="librosa")
    waveform = loading.load_recording(files(tmp_path), metadata, audio, channel=1)
    assert waveform[1000:-1000].abs().max() == pytest.approx(0.25, abs=0.005)


def test_the_headers_rate_counts(tmp_path):
    make_recording(tmp_path, sine(1, 8000), 8000)
    write_metadata(tmp_path, encoding="WAV", sample_rate_hz=16000)
    metadata = loading.read_metadata(files(tmp_path))
    waveform = loading.load_recording(files(tmp_path), metadata, loading.AudioFormat())
    assert waveform.shape == (16000,)
    assert frequency_hz(waveform, 16000) == pytest.approx(440, abs=1)
