"""local.audio against samples that are known beforehand."""

import json
import math

import av
import numpy as np
import pytest
import soundfile
import torch

from local import audio
from local.errors import BadRecording
from tests.audio_files import (
    ENCODERS,
    cut_file,
    frequency_hz,
    make_recording,
    pcm_wav,
    sine,
    write_audio,
    write_metadata,
)


def reason(call, *args, **kwargs):
    with pytest.raises(BadRecording) as raised:
        call(*args, **kwargs)
    return str(raised.value)


# Metadata and finding the file


def test_metadata_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "metadata.json").write_text('{"encoding": "WAV"}', encoding="utf-8-sig")
    assert audio.read_metadata(tmp_path) == {"encoding": "WAV"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "metadata.json is missing"),
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
    if content is not None:
        (tmp_path / "metadata.json").write_bytes(content)
    with pytest.raises(BadRecording, match=expected):
        audio.read_metadata(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    assert "no folder" in reason(audio.read_metadata, tmp_path / "r1")
    assert "no folder" in reason(audio.inspect_recording, tmp_path / "r1")


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
    assert audio.find_waveform(tmp_path, {"encoding": encoding}) == tmp_path / found


def test_no_waveform_and_several(tmp_path):
    assert "waveform.wav is missing" in reason(
        audio.find_waveform, tmp_path, {"encoding": "WAV"}
    )
    for name in ("waveform.mp3", "waveform.ogg"):
        (tmp_path / name).touch()
    assert "several others: waveform.mp3, waveform.ogg" in reason(
        audio.find_waveform, tmp_path, {"encoding": "WAV"}
    )


def test_an_encoding_cannot_name_a_file_elsewhere(tmp_path):
    (tmp_path / "secret.wav").touch()
    (tmp_path / "r1").mkdir()
    assert "missing" in reason(
        audio.find_waveform, tmp_path / "r1", {"encoding": "/../../secret.wav"}
    )


# Decoding


@pytest.mark.parametrize("backend", audio.BACKENDS)
@pytest.mark.parametrize(
    ("bits", "values", "expected"),
    [
        (8, [0, 64, 128, 192, 255], [-1, -0.5, 0, 0.5, 127 / 128]),
        (16, [-(2**15), 2**14, 1], [-1, 0.5, 2**-15]),
        (24, [-(2**23), 2**22, 1], [-1, 0.5, 2**-23]),
        (32, [-(2**31), 2**30, 2**8], [-1, 0.5, 2**-23]),
    ],
)
def test_integers_are_scaled_to_one(tmp_path, backend, bits, values, expected):
    (tmp_path / "a.wav").write_bytes(pcm_wav(values, bits=bits))
    waveform, rate = audio.decode(tmp_path / "a.wav", backend)
    assert rate == 8000
    assert waveform.dtype == torch.float32
    assert waveform.tolist() == [expected]


@pytest.mark.parametrize(
    ("dtype", "sample_format", "codec", "expected"),
    [
        ("u1", "u8", "pcm_u8", [-1, -0.5, 0.5]),
        ("i2", "s16", "pcm_s16le", [-1, -0.5, 0.5]),
        ("i4", "s32", "pcm_s32le", [-1, -0.5, 0.5]),
        ("f4", "flt", "pcm_f32le", [-1, -0.5, 0.5]),
    ],
)
def test_ffmpegs_integers_are_scaled_alike(
    tmp_path, dtype, sample_format, codec, expected
):
    """Two interleaved channels in Matroska, which libsndfile doesn't read."""
    values = np.array(expected)
    if dtype != "f4":
        values = values * 2 ** (8 * int(dtype[1]) - 1) + (128 if dtype == "u1" else 0)
    stereo = np.stack([values, values[::-1]], axis=1).astype(dtype)
    frame = av.AudioFrame.from_ndarray(
        stereo.reshape(1, -1), format=sample_format, layout="stereo"
    )
    frame.sample_rate = 8000
    with av.open(str(tmp_path / "a.mka"), "w", format="matroska") as output:
        stream = output.add_stream(codec, rate=8000, layout="stereo")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    waveform, rate = audio.decode(tmp_path / "a.mka")
    assert audio.probe(tmp_path / "a.mka").reader == "pyav"
    assert rate == 8000
    assert waveform.tolist() == [expected, expected[::-1]]


@pytest.mark.parametrize("backend", audio.BACKENDS)
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("extension", "subtype", "rate"),
    [
        ("wav", "PCM_U8", 8000),
        ("wav", "PCM_16", 192000),
        ("wav", "PCM_24", 44100),
        ("wav", "PCM_32", 96000),
        ("wav", "FLOAT", 48000),
        ("wav", "DOUBLE", 22050),
        ("flac", "PCM_24", 16000),
        ("aiff", "PCM_16", 11025),
        ("au", "PCM_16", 16000),
    ],
)
def test_lossless_formats_keep_every_sample(
    tmp_path, backend, channels, extension, subtype, rate
):
    samples = sine(0.1, rate, channels)
    write_audio(tmp_path / f"a.{extension}", samples, rate, subtype)
    waveform, found_rate = audio.decode(tmp_path / f"a.{extension}", backend)
    assert found_rate == rate
    assert waveform.shape == (channels, round(0.1 * rate))
    step = {"PCM_U8": 1 / 128, "PCM_16": 2**-15}.get(subtype, 2**-22)
    assert np.abs(waveform.numpy().T - samples).max() <= step


@pytest.mark.parametrize("backend", audio.BACKENDS)
@pytest.mark.parametrize("extension", ["mp3", "ogg", "opus", *ENCODERS])
def test_lossy_formats_keep_the_sine(tmp_path, backend, extension):
    """Amplitude 0.5 at 440 Hz, in the middle half of 2 s."""
    rate = ENCODERS.get(extension, (None, None, 48000, None))[2]
    path = tmp_path / f"a.{extension}"
    try:
        write_audio(path, sine(2, rate), rate)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg does not encode {extension}")
    waveform, found_rate = audio.decode(path, backend)
    assert found_rate == rate
    assert waveform.shape[0] == 1
    assert waveform.shape[1] / rate == pytest.approx(2, abs=0.15)
    middle = waveform[0, rate // 2 : rate * 3 // 2].numpy()
    assert frequency_hz(middle, rate) == pytest.approx(440, abs=1)
    # AMR is made for voices and takes a fifth of a pure tone's amplitude.
    tolerance = 0.1 if extension == "amr" else 0.02
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, abs=tolerance)


def test_stereo_through_ffmpeg_keeps_its_channels_apart(tmp_path):
    write_audio(tmp_path / "a.m4a", sine(2, 44100, channels=2), 44100)
    waveform, rate = audio.decode(tmp_path / "a.m4a")
    left, right = waveform[:, rate // 2 : rate * 3 // 2].square().mean(dim=1).sqrt()
    assert left / right == pytest.approx(2, abs=0.05)


def test_the_content_counts_not_the_extension(tmp_path):
    write_audio(tmp_path / "a.wav", sine(), 16000)
    (tmp_path / "a.wav").rename(tmp_path / "a.mp3")
    assert audio.probe(tmp_path / "a.mp3").format == "WAV"


def test_a_file_called_raw_with_a_header_is_read(tmp_path):
    (tmp_path / "a.raw").write_bytes(pcm_wav([0, 2**14]))
    assert audio.decode(tmp_path / "a.raw")[0].tolist() == [[0, 0.5]]


def test_probe_tells_what_the_header_says(tmp_path):
    write_audio(tmp_path / "a.wav", sine(0.5, 44100, channels=2), 44100, "PCM_24")
    info = audio.probe(tmp_path / "a.wav")
    assert (info.sample_rate, info.channels, info.n_samples) == (44100, 2, 22050)
    assert (info.format, info.codec, info.reader) == ("WAV", "PCM_24", "soundfile")
    write_audio(tmp_path / "a.m4a", sine(0.5, 44100, channels=2), 44100)
    info = audio.probe(tmp_path / "a.m4a")
    assert (info.sample_rate, info.channels) == (44100, 2)
    assert info.n_samples == pytest.approx(22050, abs=2048)
    assert info.format.startswith("mov")
    assert (info.codec, info.reader) == ("aac", "pyav")


def test_an_mp3_of_variable_rate_without_a_length_is_read_whole(tmp_path):
    """Half noise, half silence: libsndfile guesses half of the length."""
    noise = np.random.default_rng(0).normal(scale=0.2, size=44100 * 10)
    noise[44100 * 5 :] = 0
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w", options={"write_xing": "0"}) as output:
        options = {"global_quality": "4", "flags": "+qscale"}
        stream = output.add_stream(
            "libmp3lame", rate=44100, layout="mono", options=options
        )
        frame = av.AudioFrame.from_ndarray(
            noise.astype(np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate = 44100
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    assert soundfile.info(path).frames < 44100 * 8, "the trap is gone"
    for backend in audio.BACKENDS:
        waveform, rate = audio.decode(path, backend)
        assert waveform.shape[1] / rate == pytest.approx(10, abs=0.1)


def test_a_flac_that_does_not_state_its_length_is_read(tmp_path):
    """As an encoder leaves it that writes to a pipe."""
    path = tmp_path / "a.flac"
    samples = sine(2)
    soundfile.write(path, samples, 16000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the number of samples: the last 36 bits of bytes 18 to 25
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert soundfile.info(path).frames > 2**62, "the trap is gone"
    waveform, _ = audio.decode(path, start_s=0.5, end_s=1.5)
    assert waveform.shape == (1, 16000)
    assert np.abs(waveform[0].numpy() - samples[8000:24000, 0]).max() <= 2**-15


def test_an_unknown_backend_is_the_callers_mistake(tmp_path):
    write_audio(tmp_path / "a.wav", sine(), 16000)
    with pytest.raises(ValueError, match="sox"):
        audio.decode(tmp_path / "a.wav", "sox")


# Segments


@pytest.mark.parametrize("backend", audio.BACKENDS)
def test_a_segment_holds_exactly_its_samples(tmp_path, backend):
    """Sample k of the file is k / 2^15."""
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(8000)))
    cut = audio.decode(tmp_path / "a.wav", backend, start_s=0.25, end_s=0.5)[0]
    assert (cut * 2**15).tolist() == [list(range(2000, 4000))]
    rest = audio.decode(tmp_path / "a.wav", backend, start_s=0.75)[0]
    assert (rest * 2**15).tolist() == [list(range(6000, 8000))]
    whole = audio.decode(tmp_path / "a.wav", backend, start_s=0, end_s=1)[0]
    assert whole.shape == (1, 8000)


@pytest.mark.parametrize("extension", ["flac", "aiff", "mp3", "ogg", "opus", "m4a"])
def test_a_segment_is_a_cut_of_the_whole(tmp_path, extension):
    noise = np.random.default_rng(0).normal(scale=0.1, size=(48000 * 3, 1))
    write_audio(tmp_path / f"a.{extension}", noise, 48000)
    whole, _ = audio.decode(tmp_path / f"a.{extension}")
    segment, _ = audio.decode(tmp_path / f"a.{extension}", start_s=1.5, end_s=2.25)
    assert torch.equal(segment, whole[:, 72000:108000])


def test_long_files_are_read_in_blocks(tmp_path, monkeypatch):
    """Blocks of 1000 samples give what one block gives, also at their borders."""
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(8000)))
    monkeypatch.setattr(audio, "BLOCK", 1000)
    whole = audio.decode(tmp_path / "a.wav")[0]
    assert (whole * 2**15).tolist() == [list(range(8000))]
    for start, end in [(0, 1000), (999, 1001), (1000, 3000), (7999, 8000)]:
        cut = audio.decode(tmp_path / "a.wav", start_s=start / 8000, end_s=end / 8000)[
            0
        ]
        assert (cut * 2**15).tolist() == [list(range(start, end))]


@pytest.mark.parametrize("backend", audio.BACKENDS)
@pytest.mark.parametrize("extension", ["wav", "mp3", "m4a"])
@pytest.mark.parametrize(("start_s", "end_s"), [(1.5, None), (5, 6), (0.5, 1.5)])
def test_a_segment_beyond_the_end(tmp_path, backend, extension, start_s, end_s):
    write_audio(tmp_path / f"a.{extension}", sine(1, 44100), 44100)
    message = reason(audio.decode, tmp_path / f"a.{extension}", backend, start_s, end_s)
    assert "beyond the end" in message
    assert "which has 1.0" in message


def test_a_rounded_end_is_forgiven(tmp_path):
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(7999)))
    assert audio.decode(tmp_path / "a.wav", end_s=1.0)[0].shape == (1, 7999)


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-1, None), (2, 1), (0.5, 0.5), (math.nan, 1)]
)
def test_a_segment_that_is_none(tmp_path, start_s, end_s):
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(8000)))
    message = reason(audio.decode, tmp_path / "a.wav", start_s=start_s, end_s=end_s)
    assert "0 <= start_s < end_s" in message


# Channels


def test_channels_are_averaged_summed_or_picked():
    waveform = torch.tensor([[1.0, 2.0], [3.0, -2.0]])
    assert audio.to_mono(waveform).tolist() == [2, 0]
    assert audio.to_mono(waveform, how="sum").tolist() == [4, 0]
    assert audio.to_mono(waveform, channel=1).tolist() == [3, -2]
    assert audio.to_mono(waveform[:1], how="sum").tolist() == [1, 2]


@pytest.mark.parametrize("channel", [-1, 2])
def test_a_channel_that_is_not_there(channel):
    message = reason(audio.to_mono, torch.zeros(2, 5), channel)
    assert f"no channel {channel}: the recording has 2, numbered from 0 to 1" in message


def test_an_unknown_mix_is_the_callers_mistake():
    with pytest.raises(ValueError, match="max"):
        audio.to_mono(torch.zeros(2, 5), how="max")


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
    resampled = audio.resample(waveform, orig_rate, new_rate)
    assert resampled.dtype == torch.float32
    assert resampled.shape == (new_rate,)
    expected = sine(1, new_rate)[:, 0]
    middle = slice(new_rate // 10, -new_rate // 10)
    assert np.abs(resampled.numpy() - expected)[middle].max() < 5e-3


def test_both_resamplers_agree(monkeypatch):
    """The fallback, forced on a common pair of rates, shifts nothing."""
    waveform = torch.from_numpy(sine(1, 44100, channels=3).T.copy()).float()
    usual = audio.resample(waveform, 44100, 16000)
    monkeypatch.setattr(audio, "MAX_KERNEL_SIZE", 0)
    fallback = audio.resample(waveform, 44100, 16000)
    assert fallback.shape == usual.shape == (3, 16000)
    assert (fallback - usual)[:, 1000:-1000].abs().max() < 2e-3


@pytest.mark.parametrize("n_samples", [1, 44098, 44100, 100_001])
def test_the_length_is_rounded_up_with_either_resampler(n_samples):
    waveform = torch.zeros(2, 1, n_samples)
    for orig_rate in (44100, 44099):
        expected = math.ceil(n_samples * 16000 / orig_rate)
        resampled = audio.resample(waveform, orig_rate, 16000)
        assert resampled.shape == (2, 1, expected)


def test_what_is_above_the_new_nyquist_frequency_is_gone():
    for orig_rate in (44100, 44099):
        tone = torch.from_numpy(sine(1, orig_rate, frequency_hz=12000)[:, 0]).float()
        resampled = audio.resample(tone, orig_rate, 16000)
        assert resampled[1000:-1000].abs().max() < 5e-3


@pytest.mark.parametrize("new_rate", [0, 44100])
def test_the_rate_may_be_left_alone(new_rate):
    waveform = torch.rand(100)
    assert audio.resample(waveform, 44100, new_rate) is waveform


def test_the_kernels_size_is_torchaudios():
    from torchaudio.functional.functional import _get_sinc_resample_kernel

    for orig_rate, new_rate in [(44100, 16000), (8000, 16000), (22050, 16000)]:
        divisor = math.gcd(orig_rate, new_rate)
        kernel, _ = _get_sinc_resample_kernel(orig_rate, new_rate, divisor)
        assert audio._kernel_size(orig_rate, new_rate) == kernel.numel()


# Whole recordings


def test_a_recording_is_decoded_mixed_and_resampled(tmp_path):
    make_recording(tmp_path, sine(1, 44100, channels=2), 44100)
    metadata = audio.read_metadata(tmp_path)
    waveform = audio.load_recording(tmp_path, metadata)
    assert waveform.shape == (16000,)
    assert waveform.dtype == torch.float32
    # channels of 0.5 and 0.25
    assert waveform[1000:-1000].abs().max() == pytest.approx(0.375, abs=0.005)
    waveform = audio.load_recording(
        tmp_path, metadata, sample_rate=0, mono="sum", start_s=0.5, end_s=0.75
    )
    assert waveform.shape == (11025,)
    assert waveform.abs().max() == pytest.approx(0.75, abs=0.005)
    waveform = audio.load_recording(tmp_path, metadata, channel=1, backend="librosa")
    assert waveform[1000:-1000].abs().max() == pytest.approx(0.25, abs=0.005)


def test_the_headers_rate_counts(tmp_path):
    make_recording(tmp_path, sine(1, 8000), 8000)
    write_metadata(tmp_path, encoding="WAV", sample_rate_hz=16000)
    waveform = audio.load_recording(tmp_path, audio.read_metadata(tmp_path))
    assert waveform.shape == (16000,)
    assert frequency_hz(waveform, 16000) == pytest.approx(440, abs=1)
    report = audio.inspect_recording(tmp_path)
    assert (report.sample_rate, report.metadata_sample_rate) == (8000, 16000)
    assert any(
        "16000 Hz, the audio file's header 8000 Hz" in w for w in report.warnings
    )


@pytest.mark.parametrize("backend", audio.BACKENDS)
def test_a_report_by_hand(tmp_path, backend):
    """1 s: a square wave of 0.5, then 0.6 s of zeros, 100 samples at full scale."""
    samples = np.tile([0.5, -0.5], 8000)
    samples[4000:13600] = 0
    samples[:100] = 1.0
    make_recording(tmp_path, samples[:, None], subtype="FLOAT")
    report = audio.inspect_recording(tmp_path, backend=backend)
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
    whole = audio.inspect_recording(tmp_path)
    monkeypatch.setattr(audio, "BLOCK", 777)
    blocks = audio.inspect_recording(tmp_path)
    assert blocks.level_dbfs == pytest.approx(whole.level_dbfs)
    assert blocks.silent_share == whole.silent_share
    assert (blocks.peak, blocks.duration_s) == (whole.peak, whole.duration_s)


def test_a_report_of_a_segment_and_a_channel(tmp_path):
    make_recording(tmp_path, sine(2, 16000, channels=2))
    report = audio.inspect_recording(tmp_path, channel=1, start_s=0.5, end_s=1.25)
    assert report.duration_s == 0.75
    assert report.channels == 2
    assert report.peak == pytest.approx(0.25, abs=1e-3)
    # a sine of 0.25: 20 log10(0.25) - 3.01
    assert report.level_dbfs == pytest.approx(-15.05, abs=0.02)
    assert report.warnings == ()


def test_warnings_about_rates_levels_and_silence(tmp_path):
    samples = sine(1, 8000)
    samples[200:] = 0
    samples[0] = 40.0
    make_recording(tmp_path, samples, 8000, subtype="FLOAT")
    write_metadata(tmp_path, encoding="WAV")
    assert audio.inspect_recording(tmp_path).warnings == (
        'metadata.json has no "sample_rate_hz"',
        "recorded at 8000 Hz, used at 16000 Hz: there is nothing above 4000 Hz",
        "samples reach 40, where 1 is full scale",
        "98% of it is below -60 dBFS",
    )
    write_metadata(tmp_path, encoding="WAV", sample_rate_hz="8000")
    assert "no number: '8000'" in audio.inspect_recording(tmp_path).warnings[0]


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
    assert expected in reason(audio.inspect_recording, recording(content))


def test_the_least_duration_may_be_zero(recording):
    folder = recording(pcm_wav([1, 2]))
    assert audio.inspect_recording(folder, min_duration_s=0).duration_s == 2 / 8000
    assert audio.inspect_recording(folder, min_duration_s=0).silent_share == 1
    assert "too short" in reason(
        audio.inspect_recording, recording(pcm_wav([1])), min_duration_s=0
    )


@pytest.mark.parametrize("backend", audio.BACKENDS)
def test_a_truncated_wav_says_what_was_expected_and_found(recording, backend):
    content = pcm_wav(range(8000))
    folder = recording(content[: 44 + 4000])  # 2000 of 8000 samples
    message = reason(audio.inspect_recording, folder, backend=backend)
    assert "expected 1.00 s (16000 bytes)" in message
    assert "found 0.25 s (4000 bytes)" in message
    assert "truncated" in reason(audio.inspect_recording, recording(content[:44]))


def test_a_truncated_wav_with_other_chunks_before_its_samples(recording):
    content = pcm_wav(range(8000))
    notes = b"LIST" + (5).to_bytes(4, "little") + b"notes\0"  # odd: padded
    content = content[:12] + notes + content[12:]
    whole = audio.inspect_recording(recording(content))
    assert whole.duration_s == 1
    assert "expected 1.00 s" in reason(audio.inspect_recording, recording(content[:-2]))


@pytest.mark.parametrize("length", [0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_whose_header_was_never_completed_is_read_whole(recording, length):
    content = bytearray(pcm_wav(range(8000)))
    content[40:44] = length.to_bytes(4, "little")
    assert audio.inspect_recording(recording(bytes(content))).duration_s == 1


@pytest.mark.parametrize(
    ("extension", "subtype"), [("aiff", "PCM_16"), ("wav", "PCM_24"), ("rf64", None)]
)
def test_truncated_containers_with_lengths(tmp_path, extension, subtype):
    path = tmp_path / f"a.{extension}"
    container = "RF64" if extension == "rf64" else None
    soundfile.write(path, sine(), 16000, format=container, subtype=subtype)
    assert audio.decode(path)[0].shape == (1, 16000)
    cut_file(path)
    message = reason(audio.decode, path)
    assert "truncated: expected 1.00 s" in message
    assert "found 0.5" in message or "found 0.4" in message


@pytest.mark.parametrize("extension", ["mp3", "flac", "ogg", "opus", *ENCODERS])
def test_truncated_compressed_files(tmp_path, extension):
    """Half the bytes; the reason depends on what the format can tell."""
    rate = ENCODERS.get(extension, (None, None, 16000, None))[2]
    path = tmp_path / f"a.{extension}"
    try:
        write_audio(path, sine(3, rate), rate)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg does not encode {extension}")
    cut_file(path)
    message = reason(audio.decode, path)
    assert any(
        word in message for word in ("truncated", "can't be decoded", "is no audio")
    )


def test_an_error_in_the_middle_is_found(tmp_path):
    noise = np.random.default_rng(0).normal(scale=0.1, size=(44100, 1))
    write_audio(tmp_path / "a.m4a", noise, 44100)
    content = bytearray((tmp_path / "a.m4a").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = bytes(range(200)) * 3
    (tmp_path / "a.m4a").write_bytes(content)
    assert "can't be decoded" in reason(audio.decode, tmp_path / "a.m4a")


def test_a_file_without_an_audio_track(tmp_path):
    with av.open(str(tmp_path / "a.webm"), "w") as output:
        stream = output.add_stream("libvpx", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(32, 32, "yuv420p")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    assert "has no audio track" in reason(audio.decode, tmp_path / "a.webm")


def test_a_playlist_is_no_recording(tmp_path):
    """FFmpeg would follow it, to any address."""
    (tmp_path / "a.wav").write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.wav\n")
    assert "no audio" in reason(audio.decode, tmp_path / "a.wav")


def test_a_relative_path_with_a_colon_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    write_audio(tmp_path / "a.webm", sine(rate=48000), 48000)
    (tmp_path / "a.webm").rename(tmp_path / "a:b" / "a.webm")
    assert audio.decode("a:b/a.webm")[1] == 48000


def test_a_missing_file_is_named(tmp_path):
    assert "a.wav can't be read: No such file" in reason(
        audio.decode, tmp_path / "a.wav"
    )


def test_metadata_for_reports_is_read_from_the_folder(tmp_path):
    make_recording(tmp_path)
    (tmp_path / "metadata.json").write_text(json.dumps({"sample_rate_hz": 16000}))
    assert 'needs "encoding"' in reason(audio.inspect_recording, tmp_path)
