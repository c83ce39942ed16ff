"""audio.decoding, and audio.decode over it: files of every format, whole and broken."""

import math

import av
import numpy as np
import pytest
import soundfile
import torch

from local.audio import decoding, loading, probing
from tests.audio_files import (
    ENCODERS,
    cut_file,
    frequency_hz,
    pcm_wav,
    reason,
    sine,
    write_audio,
)


def written(path, samples, rate):
    """The path of a file that is written; the test is skipped if FFmpeg can't."""
    try:
        write_audio(path, samples, rate)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg does not encode {path.suffix}")
    return path


# Formats


@pytest.mark.parametrize("backend", decoding.BACKENDS)
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
    waveform, rate = loading.decode(tmp_path / "a.wav", backend)
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
    waveform, rate = loading.decode(tmp_path / "a.mka")
    assert probing.probe(tmp_path / "a.mka").reader == "pyav"
    assert rate == 8000
    assert waveform.tolist() == [expected, expected[::-1]]


@pytest.mark.parametrize("backend", decoding.BACKENDS)
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
    waveform, found_rate = loading.decode(tmp_path / f"a.{extension}", backend)
    assert found_rate == rate
    assert waveform.shape == (channels, round(0.1 * rate))
    step = {"PCM_U8": 1 / 128, "PCM_16": 2**-15}.get(subtype, 2**-22)
    assert np.abs(waveform.numpy().T - samples).max() <= step


@pytest.mark.parametrize("backend", decoding.BACKENDS)
@pytest.mark.parametrize("extension", ["mp3", "ogg", "opus", *ENCODERS])
def test_lossy_formats_keep_the_sine(tmp_path, backend, extension):
    """Amplitude 0.5 at 440 Hz, in the middle half of 2 s."""
    rate = ENCODERS.get(extension, (None, None, 48000, None))[2]
    path = written(tmp_path / f"a.{extension}", sine(2, rate), rate)
    waveform, found_rate = loading.decode(path, backend)
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
    waveform, rate = loading.decode(tmp_path / "a.m4a")
    left, right = waveform[:, rate // 2 : rate * 3 // 2].square().mean(dim=1).sqrt()
    assert left / right == pytest.approx(2, abs=0.05)


def test_the_content_counts_not_the_extension(tmp_path):
    write_audio(tmp_path / "a.wav", sine(), 16000)
    (tmp_path / "a.wav").rename(tmp_path / "a.mp3")
    assert probing.probe(tmp_path / "a.mp3").format == "WAV"


def test_a_file_called_raw_with_a_header_is_read(tmp_path):
    (tmp_path / "a.raw").write_bytes(pcm_wav([0, 2**14]))
    assert loading.decode(tmp_path / "a.raw")[0].tolist() == [[0, 0.5]]


def test_probe_tells_what_the_header_says(tmp_path):
    write_audio(tmp_path / "a.wav", sine(0.5, 44100, channels=2), 44100, "PCM_24")
    info = probing.probe(tmp_path / "a.wav")
    assert (info.sample_rate, info.channels, info.n_samples) == (44100, 2, 22050)
    assert (info.format, info.codec, info.reader) == ("WAV", "PCM_24", "soundfile")
    write_audio(tmp_path / "a.m4a", sine(0.5, 44100, channels=2), 44100)
    info = probing.probe(tmp_path / "a.m4a")
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
    for backend in decoding.BACKENDS:
        waveform, rate = loading.decode(path, backend)
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
    waveform, _ = loading.decode(path, start_s=0.5, end_s=1.5)
    assert waveform.shape == (1, 16000)
    assert np.abs(waveform[0].numpy() - samples[8000:24000, 0]).max() <= 2**-15


def test_an_unknown_backend_is_the_callers_mistake(tmp_path):
    write_audio(tmp_path / "a.wav", sine(), 16000)
    with pytest.raises(ValueError, match="sox"):
        loading.decode(tmp_path / "a.wav", "sox")


# Segments


@pytest.mark.parametrize("backend", decoding.BACKENDS)
def test_a_segment_holds_exactly_its_samples(tmp_path, backend):
    """Sample k of the file is k / 2^15."""
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(8000)))
    cut = loading.decode(tmp_path / "a.wav", backend, start_s=0.25, end_s=0.5)[0]
    assert (cut * 2**15).tolist() == [list(range(2000, 4000))]
    rest = loading.decode(tmp_path / "a.wav", backend, start_s=0.75)[0]
    assert (rest * 2**15).tolist() == [list(range(6000, 8000))]
    whole = loading.decode(tmp_path / "a.wav", backend, start_s=0, end_s=1)[0]
    assert whole.shape == (1, 8000)


@pytest.mark.parametrize("extension", ["flac", "aiff", "mp3", "ogg", "opus", "m4a"])
def test_a_segment_is_a_cut_of_the_whole(tmp_path, extension):
    noise = np.random.default_rng(0).normal(scale=0.1, size=(48000 * 3, 1))
    write_audio(tmp_path / f"a.{extension}", noise, 48000)
    whole, _ = loading.decode(tmp_path / f"a.{extension}")
    segment, _ = loading.decode(tmp_path / f"a.{extension}", start_s=1.5, end_s=2.25)
    assert torch.equal(segment, whole[:, 72000:108000])


def test_long_files_are_read_in_blocks(tmp_path, monkeypatch):
    """Blocks of 1000 samples give what one block gives, also at their borders."""
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(8000)))
    monkeypatch.setattr(decoding, "BLOCK", 1000)
    whole = loading.decode(tmp_path / "a.wav")[0]
    assert (whole * 2**15).tolist() == [list(range(8000))]
    for start, end in [(0, 1000), (999, 1001), (1000, 3000), (7999, 8000)]:
        cut = loading.decode(
            tmp_path / "a.wav", start_s=start / 8000, end_s=end / 8000
        )[0]
        assert (cut * 2**15).tolist() == [list(range(start, end))]


@pytest.mark.parametrize("backend", decoding.BACKENDS)
@pytest.mark.parametrize("extension", ["wav", "mp3", "m4a"])
@pytest.mark.parametrize(("start_s", "end_s"), [(1.5, None), (5, 6), (0.5, 1.5)])
def test_a_segment_beyond_the_end(tmp_path, backend, extension, start_s, end_s):
    write_audio(tmp_path / f"a.{extension}", sine(1, 44100), 44100)
    message = reason(
        loading.decode, tmp_path / f"a.{extension}", backend, start_s, end_s
    )
    assert "beyond the end" in message
    assert "which has 1.0" in message


def test_a_rounded_end_is_forgiven(tmp_path):
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(7999)))
    assert loading.decode(tmp_path / "a.wav", end_s=1.0)[0].shape == (1, 7999)


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(-1, None), (2, 1), (0.5, 0.5), (math.nan, 1)]
)
def test_a_segment_that_is_none(tmp_path, start_s, end_s):
    (tmp_path / "a.wav").write_bytes(pcm_wav(range(8000)))
    message = reason(loading.decode, tmp_path / "a.wav", start_s=start_s, end_s=end_s)
    assert "0 <= start_s < end_s" in message


# Files that can't be decoded


@pytest.mark.parametrize(
    ("extension", "subtype"), [("aiff", "PCM_16"), ("wav", "PCM_24"), ("rf64", None)]
)
def test_truncated_containers_with_lengths(tmp_path, extension, subtype):
    path = tmp_path / f"a.{extension}"
    container = "RF64" if extension == "rf64" else None
    soundfile.write(path, sine(), 16000, format=container, subtype=subtype)
    assert loading.decode(path)[0].shape == (1, 16000)
    cut_file(path)
    message = reason(loading.decode, path)
    assert "truncated: expected 1.00 s" in message
    assert "found 0.5" in message or "found 0.4" in message


@pytest.mark.parametrize("extension", ["mp3", "flac", "ogg", "opus", *ENCODERS])
def test_truncated_compressed_files(tmp_path, extension):
    """Half the bytes; the reason depends on what the format can tell."""
    rate = ENCODERS.get(extension, (None, None, 16000, None))[2]
    path = written(tmp_path / f"a.{extension}", sine(3, rate), rate)
    cut_file(path)
    message = reason(loading.decode, path)
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
    assert "can't be decoded" in reason(loading.decode, tmp_path / "a.m4a")


def test_a_file_without_an_audio_track(tmp_path):
    with av.open(str(tmp_path / "a.webm"), "w") as output:
        stream = output.add_stream("libvpx", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(32, 32, "yuv420p")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    assert "has no audio track" in reason(loading.decode, tmp_path / "a.webm")


def test_a_playlist_is_no_recording(tmp_path):
    """FFmpeg would follow it, to any address."""
    (tmp_path / "a.wav").write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.wav\n")
    assert "no audio" in reason(loading.decode, tmp_path / "a.wav")


def test_a_relative_path_with_a_colon_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    write_audio(tmp_path / "a.webm", sine(rate=48000), 48000)
    (tmp_path / "a.webm").rename(tmp_path / "a:b" / "a.webm")
    assert loading.decode("a:b/a.webm")[1] == 48000


def test_a_missing_file_is_named(tmp_path):
    assert "a.wav can't be read: No such file" in reason(
        loading.decode, tmp_path / "a.wav"
    )
