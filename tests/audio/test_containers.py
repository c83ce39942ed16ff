"""audio.containers over decoding: files joined, cut or never closed; videos."""

import struct

import av
import numpy as np
import pytest
import soundfile

from local.audio import decoding, loading, probing
from tests.audio_files import pcm_wav, reason, sine, write_audio
from tests.fuzz import containers as fuzz

NOISE = np.random.default_rng(0).normal(scale=0.1, size=48000).astype("float32")
JOINED = "recordings joined in one file, read one after the other"
NOT_CLOSED = "a header that was never completed: the file is read to its end"
TORN = "it ends within a frame: it may be truncated"


@pytest.fixture
def decoded(tmp_path):
    """Decodes bytes: float32 [channels, samples], and what is odd about them."""

    def decode(content, **options):
        (tmp_path / "a").write_bytes(content)
        info = probing.probe(tmp_path / "a")
        found = decoding.blocks(tmp_path / "a", info, "soundfile", **options)
        blocks = [samples for _, samples, _ in found]
        return np.concatenate(blocks, axis=1), info.warnings

    return decode


@pytest.fixture
def written(tmp_path):
    """The bytes of a file of 1 s that libsndfile writes, or another one."""

    def write(kind, codec=None, samples=NOISE[:16000], rate=16000):
        soundfile.write(tmp_path / "w", samples, rate, format=kind, subtype=codec)
        return (tmp_path / "w").read_bytes()

    return write


@pytest.fixture
def muxed(tmp_path):
    """The bytes of a file that FFmpeg writes, of tracks as in `fuzz.mux`."""

    def write(container, codec, tracks, rate=16000, video=None, **options):
        fuzz.mux(tmp_path / "m", container, codec, tracks, rate, video, options)
        return (tmp_path / "m").read_bytes()

    return write


def put(content, place, form, value):
    """Bytes with a number of this form (as in `struct`) written over at a place."""
    content = bytearray(content)
    struct.pack_into(form, content, place, value)
    return bytes(content)


# Every kind of file, as people break it


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        *[("WAV", "PCM_U8"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("RF64", "FLOAT")],
        *[("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_24"), ("W64", "PCM_16")],
        *[("NIST", "PCM_16"), ("VOC", "PCM_16"), ("MAT4", "FLOAT"), ("MAT5", "FLOAT")],
        *[("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")],
        *[("aac", "aac"), ("amr", "libopencore_amrnb"), ("m4a", "aac")],
        *[("mka", "flac"), ("wma", "wmav2"), ("avi", "pcm_s16le"), ("ts", "aac")],
        ("wav", "g722"),
    ],
)
def test_no_sound_is_lost_or_put_in_without_a_word(tmp_path, kind, codec):
    """Whole, cut, joined, with a wrong length, several tracks and late sound."""
    generator = np.random.default_rng(7)
    try:
        cases = list(fuzz.cases(kind, codec, generator, tmp_path))
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg does not encode {codec}")
    assert len(cases) >= 6
    for case in cases:
        what, verdict = fuzz.try_case(tmp_path / "recording", kind, *case)
        assert verdict in ("right", "told"), what


def test_the_judge_knows_what_is_wrong():
    parts = [NOISE[:16000], NOISE[16000:32000]]
    both = np.concatenate(parts)
    assert fuzz.judge(both, [], parts, 16000, True) == "right"
    assert fuzz.judge(parts[0], [], parts, 16000, True).startswith("short in silence")
    assert fuzz.judge(parts[0], ["odd"], parts, 16000, True) == "told"
    assert fuzz.judge(both[::-1], [], parts, 16000, True) == "other samples"
    assert "a good file" in fuzz.judge(None, ["odd"], parts, 16000, False)


# Joined


def test_joined_wavs_are_read_sample_by_sample(decoded):
    notes = b"LIST\x05\0\0\0notes\0"
    joined = pcm_wav(range(3000)) + notes + pcm_wav(range(3000, 5000))
    samples, warnings = decoded(joined)
    assert (samples[0] * 2**15).tolist() == list(range(5000))
    assert warnings == [f"2 {JOINED}"]
    cut, _ = decoded(joined, start_s=0.25, end_s=0.5)
    assert (cut[0] * 2**15).tolist() == list(range(2000, 4000))


@pytest.mark.parametrize("kind", ["FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "NIST"])
def test_other_joined_files_are_read_sample_by_sample(decoded, written, kind):
    parts = [NOISE[:16000], NOISE[16000:25001]]
    samples, warnings = decoded(b"".join(written(kind, None, part) for part in parts))
    whole = np.concatenate([decoded(written(kind, None, part))[0] for part in parts], 1)
    assert np.array_equal(samples, whole)
    assert samples.shape == (1, 25001)
    assert warnings == [f"2 {JOINED}"]


@pytest.mark.parametrize("kinds", [["RF64", "WAV"], ["WAV", "RF64"]])
def test_a_wav_and_an_rf64_joined_are_read_sample_by_sample(decoded, written, kinds):
    parts = [NOISE[:16000], NOISE[16000:25001]]
    joined = b"".join(map(written, kinds, [None, None], parts))
    samples, warnings = decoded(joined)
    whole = [decoded(written("WAV", None, part))[0] for part in parts]
    assert np.array_equal(samples, np.concatenate(whole, axis=1))
    assert warnings == [f"2 {JOINED}"]


def test_joined_mp3s_have_all_their_seconds(decoded, written):
    """With an ID3 tag before each and after it, a cover among them."""
    mp3 = written("MP3", samples=NOISE[:32000])
    cover = np.random.default_rng(1).bytes(20000)
    tag = b"ID3\3\0\0" + bytes([0, 1, 28, 32]) + cover  # 1 << 14 | 28 << 7 | 32
    for content in (mp3 * 3, (tag + mp3 + b"TAG" + bytes(125)) * 3):
        samples, warnings = decoded(content)
        assert samples.shape[1] / 16000 == pytest.approx(6, abs=0.05)
        assert warnings == [f"3 {JOINED}"]


def test_joined_recordings_of_different_rates_are_reported(decoded, written):
    joined = written("OGG") + written("OGG", None, NOISE, 48000)
    message = reason(decoded, joined)
    assert "changes its rate or channels on the way, from 16000 Hz" in message
    stereo = written("WAV", None, np.stack([NOISE, NOISE], axis=1))
    assert "1 channel(s) to 16000 Hz and 2" in reason(decoded, written("WAV") + stereo)


def test_another_kind_behind_a_wav_is_reported(decoded, written):
    assert "more bytes follow" in reason(decoded, written("WAV") + written("FLAC"))


# Lengths in headers


@pytest.mark.parametrize(("frames", "flags"), [(0, None), (20, None), (None, 0)])
def test_an_mp3_that_tells_of_fewer_frames_is_read_whole(decoded, muxed, frames, flags):
    mp3 = muxed("mp3", "libmp3lame", [{"samples": NOISE}], 16000)
    place = mp3.index(b"Info")
    mp3 = mp3 if frames is None else put(mp3, place + 8, ">I", frames)
    mp3 = mp3 if flags is None else put(mp3, place + 7, "B", flags)
    samples, warnings = decoded(mp3)
    assert samples.shape[1] / 16000 == pytest.approx(3, abs=0.15)
    assert warnings == []


def test_an_mp3_that_is_cut_is_told(decoded, muxed):
    tracks = [{"samples": NOISE}]
    mp3 = muxed("mp3", "libmp3lame", tracks, 16000)
    assert "expected 3." in reason(decoded, mp3[: len(mp3) // 2])
    mp3 = muxed("mp3", "libmp3lame", tracks, 16000, write_xing="0")
    assert decoded(mp3)[1] == []
    assert decoded(mp3[:-100])[1] == [TORN]


@pytest.mark.parametrize("kind", ["AU", "CAF", "W64", "NIST", "VOC", "SVX", "AVR"])
def test_a_cut_file_tells_the_seconds(decoded, written, kind):
    content = written(kind, "PCM_16")
    message = reason(decoded, content[: len(content) - 16000])  # the last 0.5 s
    assert "truncated: expected 1.0" in message
    assert "found 0.5" in message or "found 0.49" in message


@pytest.mark.parametrize(
    ("codec", "rate", "found"), [("g722", 16000, "3.60"), ("adpcm_ms", 16000, "3.")]
)
def test_a_cut_wav_of_any_codec_tells_the_seconds(decoded, muxed, codec, rate, found):
    wav = muxed("wav", codec, [{"samples": np.resize(NOISE, 10 * rate)}], rate)
    place = wav.index(b"data") + 8
    message = reason(decoded, wav[: place + (len(wav) - place) * 36 // 100])
    assert f"found {found}" in message
    assert "expected 10.0" in message or "expected 9.9" in message


@pytest.mark.parametrize("length", [0, 1, 36, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("codec", ["PCM_16", "GSM610"])
def test_a_wav_that_was_never_closed_is_read(decoded, written, length, codec):
    wav = written("WAV", codec, NOISE[:16000], 8000)
    whole, _ = decoded(wav)
    samples, warnings = decoded(put(wav, wav.index(b"data") + 4, "<I", length))
    assert np.array_equal(samples, whole)
    assert warnings == [NOT_CLOSED]


@pytest.mark.parametrize(
    ("kind", "name", "form", "lengths"),
    [
        ("AIFF", b"SSND", ">I", (0, 8, 0xFFFFFFFF)),
        ("AU", b"\0\0\0\x18", ">I", (0, 0xFFFFFFFF)),
        ("CAF", b"data", ">q", (0, -1)),
        ("RF64", b"ds64", "<12xq", (0,)),
    ],
)
def test_nor_other_files_that_were_never_closed_are_lost(
    decoded, written, kind, name, form, lengths
):
    content = written(kind)
    for length in lengths:
        place = content.index(name) + 4
        samples, warnings = decoded(
            put(content, place, form.replace("12x", ""), length)
            if "x" not in form
            else put(content, place + 12, "<q", length)
        )
        assert samples.shape == (1, 16000)
        assert warnings == [NOT_CLOSED]


def test_a_wav_without_samples_has_none(decoded):
    empty = pcm_wav([])
    notes = b"LIST\x06\0\0\0notes\0"
    assert "holds no samples" in reason(decoded, empty)
    assert "holds no samples" in reason(decoded, empty + notes)


def test_bytes_behind_the_samples_are_no_chunk_by_their_first_letters(decoded):
    """8-bit samples look like letters."""
    wav = pcm_wav([0x41 + i % 20 for i in range(8000)], bits=8)
    assert "4000 more bytes follow" in reason(decoded, put(wav, 40, "<I", 4000))


def test_a_flac_that_tells_of_less_is_reported(decoded, written):
    flac = written("FLAC", samples=NOISE)
    assert "more bytes follow" in reason(decoded, put(flac, 22, ">I", 16000))
    for behind in (b"TAG" + bytes(125), bytes(5000)):
        assert decoded(flac + behind)[0].shape == (1, 48000)


def test_an_ogg_without_its_end_is_noted(decoded, written):
    ogg = written("OGG", "OPUS", NOISE, 48000)
    assert decoded(ogg[: ogg.rindex(b"OggS")])[1] == [
        "an Ogg without an end: it may be truncated"
    ]


def test_a_browsers_webm_that_was_cut_is_noted(decoded, muxed):
    """It states no length at all."""
    webm = muxed("webm", "libopus", [{"samples": NOISE}], 48000, live="1")
    assert decoded(webm)[1] == []
    assert decoded(webm[: len(webm) * 6 // 10])[1] == [TORN]


@pytest.mark.parametrize(("form", "codec"), [("matroska", "flac"), ("webm", "libopus")])
def test_a_matroska_file_without_its_end_is_noted(decoded, muxed, form, codec):
    """Less than a quarter of a second is missing."""
    whole = muxed(form, codec, [{"samples": NOISE}], 48000)
    assert decoded(whole)[1] == []
    warnings = decoded(whole[: len(whole) * 9 // 10])[1]
    assert "its end is missing: it may be truncated" in warnings


# Tracks and videos


@pytest.mark.parametrize(
    ("peaks", "default", "used", "why"),
    [
        ((0, 0.5), (1, 0), 2, "the only one that is not silent"),
        ((0.5, 0), (0, 1), 1, "the only one that is not silent"),
        ((0.5, 0.25), (0, 1), 2, "the one that is marked as default"),
        ((0.5, 0.25), (0, 0), 1, "the first, since none stands out"),
        ((0, 0.5, 0.25), (1, 0, 1), 3, "the one that is marked as default"),
        ((0, 0.5, 0.25), (1, 0, 0), 2, "the first, since none stands out"),
    ],
)
def test_the_track_that_is_meant_is_used(decoded, muxed, peaks, default, used, why):
    tracks = [
        {"samples": peak * np.sign(NOISE[:16000]), "is_default": is_default}
        for peak, is_default in zip(peaks, default, strict=True)
    ]
    samples, warnings = decoded(muxed("matroska", "pcm_s16le", tracks))
    assert np.abs(samples).max() == pytest.approx(peaks[used - 1], abs=1e-3)
    assert warnings == [f"{len(peaks)} audio tracks: number {used} is used, {why}"]


@pytest.mark.parametrize(
    ("container", "video"), [("mp4", "mpeg4"), ("matroska", "mpeg4")]
)
def test_the_sound_of_a_video_is_placed_on_its_clock(decoded, muxed, container, video):
    tracks = [{"samples": NOISE[:16000], "delay_s": 0.7}]
    samples, warnings = decoded(muxed(container, "flac", tracks, video=video))
    assert samples.shape[1] == pytest.approx(1.7 * 16000, abs=16)
    assert np.abs(samples[0, : int(0.69 * 16000)]).max() == 0
    begin = int(np.flatnonzero(samples[0])[0])
    assert begin == pytest.approx(0.7 * 16000, abs=16)
    assert np.abs(samples[0, begin:][:16000] - NOISE[: 16000 - 0]).max() < 1e-3
    assert "sound starts after its picture" in warnings[0]
    alone, warnings = decoded(muxed(container, "flac", tracks))
    assert alone.shape[1] == 16000  # an audio file begins with its first sample
    assert warnings == []


def test_a_gap_in_a_videos_sound_is_silence(decoded, muxed, tmp_path):
    with av.open(str(tmp_path / "v"), "w", format="matroska") as output:
        picture = output.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        stream = output.add_stream("pcm_s16le", rate=16000, layout="mono")
        packets = fuzz.encode(stream, NOISE[:32768], 16000)
        for packet in packets[16:]:  # of 1024 samples
            packet.pts = packet.dts = packet.pts + int(0.5 / packet.time_base)
        packets += fuzz.encode_video(picture, 2.5)
        packets = [packet for packet in packets if packet.dts is not None]
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            output.mux(packet)
    samples, warnings = decoded((tmp_path / "v").read_bytes())
    assert samples.shape[1] == pytest.approx(32768 + 8000, abs=16)
    assert np.abs(samples[0, 16400:24300]).max() == 0
    assert "has gaps" in warnings[0]


def test_a_cover_is_no_video(tmp_path):
    """The priming of the encoder is cut off as FFmpeg does."""
    write_audio(tmp_path / "a.m4a", sine(2, 44100), 44100)
    alone, _ = loading.decode(tmp_path / "a.m4a")
    with (
        av.open(str(tmp_path / "a.m4a")) as source,
        av.open(str(tmp_path / "b.m4a"), "w", format="mp4") as output,
    ):
        sound = output.add_stream_from_template(source.streams.audio[0])
        cover = output.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame(64, 64, "yuvj420p")
        for packet in (*cover.encode(frame), *cover.encode(None)):
            output.mux(packet)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = sound
                output.mux(packet)
    assert loading.decode(tmp_path / "b.m4a")[0].shape == alone.shape
