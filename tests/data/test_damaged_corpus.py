"""Recordings of every kind of damage of docs/bad_input.md, a case for each line."""

import os
import shutil
import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.audio import decoding, loading, probing
from local.data import prepare
from tests.audio_files import (
    cut_file,
    make_recording,
    pcm_wav,
    reason,
    sine,
    write_audio,
    write_metadata,
)
from tests.conftest import make_corpus, read_csv, write_csv
from tests.fuzz.containers import mux
from tests.preparing import lines_of_page, values_of
from tests.running import failed, run_script, train

# Recordings: each function makes one in a folder; a str is the reason why it can't be
# used, a tuple the warnings about one that can.

NOISE = np.random.default_rng(0).normal(scale=0.1, size=(8000, 1))
USED = ()
RECORDINGS = {}


def case(name, expected):
    """Note a function as the case of this name."""

    def note(make):
        RECORDINGS[name] = (make, expected)
        return make

    return note


def with_wav(samples, rate=8000, subtype="PCM_16"):
    """A function that makes a WAV of these samples."""
    return lambda folder: make_recording(
        folder, np.asarray(samples), rate, subtype=subtype
    )


def with_bytes(content):
    """A function that makes a folder with these bytes as waveform.wav."""

    def make(folder):
        make_recording(folder, NOISE, 8000)
        (folder / "waveform.wav").write_bytes(content)

    return make


def with_metadata(content):
    """A function that makes a folder with these bytes as metadata.json."""

    def make(folder):
        make_recording(folder, NOISE, 8000)
        (folder / "metadata.json").write_bytes(content)

    return make


def with_waveform(make_waveform):
    """A function that makes a folder where `make_waveform` makes waveform.wav."""

    def make(folder):
        make_recording(folder, NOISE, 8000)
        (folder / "waveform.wav").unlink()
        make_waveform(folder / "waveform.wav")

    return make


def changed(content, place, form, value):
    """Bytes with a number of this form (as in `struct`) written over at a place."""
    content = bytearray(content)
    struct.pack_into(form, content, place, value)
    return bytes(content)


TONE = (8000 * np.sin(np.arange(8000) / 3)).astype(int)
WAV = pcm_wav(TONE)  # 1 s of 16 bits at 8 kHz: bytes 24 the rate, 40 the data's length
SCALED = np.round(NOISE * 2**15) / 2**15  # what 16 bits can hold

case("no folder", "there is no folder")(lambda folder: None)
case("empty file", "is empty (0 bytes)")(with_bytes(b""))
case("no audio", "no audio that libsndfile or FFmpeg")(with_bytes(b"a text\n" * 99))
case("header without samples", "holds no samples")(with_bytes(pcm_wav([])))
case("one sample", "expected at least 0.1 s, found 0.000125 s (1 samples)")(
    with_bytes(pcm_wav([9]))
)
case("all zero", "silent: every sample is 0")(with_wav(np.zeros((8000, 1))))
case("NaN", "NaN or infinite")(
    with_wav(np.append(NOISE, [[np.nan]], axis=0), subtype="FLOAT")
)
case("infinite", "NaN or infinite")(
    with_wav(np.append(NOISE, [[np.inf]], axis=0), subtype="FLOAT")
)
case("floats beyond 2^31", "samples of up to 1e+30")(
    with_wav(np.append(NOISE, [[1e30]], axis=0), subtype="FLOAT")
)
case("floats beyond 1", ("samples reach 3.5, where 1 is full scale",))(
    with_wav(np.append(NOISE, [[3.5]], axis=0), subtype="FLOAT")
)
case("8 bit", USED)(with_wav(SCALED, subtype="PCM_U8"))
case("24 bit", USED)(with_wav(SCALED, subtype="PCM_24"))
case("192 kHz", USED)(with_wav(sine(0.5, 192000), 192000))
case("six channels", USED)(with_wav(SCALED * np.arange(1, 7) / 8))
case("channels that cancel", "they cancel each other")(with_wav(NOISE * [1, -1]))
case("channels that nearly cancel", "when its channels are mixed: they cancel")(
    with_wav(np.concatenate([NOISE, 0.01 * NOISE[::-1] - NOISE], axis=1))
)
case("channels that cancel in part", ("channels cancel each other in part",))(
    with_wav(np.concatenate([NOISE, -NOISE / 2], axis=1))
)
case("joined recordings", ("2 recordings joined in one file",))(with_bytes(WAV + WAV))
case("header never completed", ("a header that was never completed",))(
    with_bytes(changed(WAV, 40, "<I", 0))
)
case("header states more than there is", "truncated: expected 2.00 s")(
    with_bytes(changed(WAV, 40, "<I", 32000))
)
case(
    "header states less than there is",
    "tells of 8000 bytes of samples, 0.50 s, and 8000 more",
)(with_bytes(changed(WAV, 40, "<I", 8000)))
case("header's rate is impossible", "has 3 Hz (expected 1000 to 768000)")(
    with_bytes(changed(WAV, 24, "<I", 3))
)
case("metadata of 0 bytes", "metadata.json is not JSON")(with_metadata(b""))
case("metadata not JSON", "metadata.json is not JSON")(with_metadata(b"{encoding: WAV"))
case("metadata not UTF-8", "metadata.json is not UTF-8")(
    with_metadata(b'{"encoding": "\xff"}')
)
case("metadata of 2 MB", "more than 1000000 bytes")(
    with_metadata(b'{"encoding": "WAV", "x": "' + b"x" * 2_000_000 + b'"}')
)
case("metadata with byte order mark", USED)(
    with_metadata(b'\xef\xbb\xbf{"encoding": "WAV", "sample_rate_hz": 8000}')
)
case("waveform is a pipe", "it is a pipe, not a file")(with_waveform(os.mkfifo))
case("waveform is a device", "it is a device, not a file")(
    with_waveform(lambda path: path.symlink_to("/dev/zero"))
)
case("waveform is a folder", "it is a folder, not a file")(with_waveform(Path.mkdir))
case("link to nothing", "can't be read: No such file")(
    with_waveform(lambda path: path.symlink_to("nothing"))
)


@case("no waveform", "waveform.wav is missing")
def _(folder):
    make_recording(folder, NOISE, 8000)
    (folder / "waveform.wav").unlink()


@case("no permission", "can't be read: Permission denied")
def _(folder):
    make_recording(folder, NOISE, 8000)
    folder.chmod(0)


@case("truncated", "truncated: expected 1.00 s")
def _(folder):
    make_recording(folder, NOISE, 8000)
    cut_file(folder / "waveform.wav")


@case("several audio tracks", ("2 audio tracks: number 2 is used, the only one",))
def _(folder):
    make_recording(folder, NOISE, 8000)
    tracks = [{"samples": samples.astype("float32")} for samples in (0 * NOISE, NOISE)]
    write_tracks(folder / "waveform.wav", tracks)


@case(
    "video whose sound starts late", ("a video whose sound starts after its picture",)
)
def _(folder):
    make_recording(folder, NOISE, 8000)
    tracks = [{"samples": NOISE.astype("float32"), "delay_s": 0.5}]
    write_tracks(folder / "waveform.wav", tracks, video="mpeg4")


def write_tracks(path, tracks, **options):
    """Write a Matroska file, whatever its extension."""
    tracks = [{**track, "samples": track["samples"][:, 0]} for track in tracks]
    mux(path, "matroska", "pcm_s16le", tracks, 8000, **options)


@case("wrong extension", USED)
def _(folder):
    make_recording(folder, NOISE, 8000)
    (folder / "waveform.wav").rename(folder / "waveform.mp3")
    write_metadata(folder, encoding="MP3", sample_rate_hz=8000)


@case("several waveforms", "several others: waveform.mp3, waveform.wav")
def _(folder):
    make_recording(folder, NOISE, 8000)
    shutil.copy(folder / "waveform.wav", folder / "waveform.mp3")
    write_metadata(folder, encoding="FLAC", sample_rate_hz=8000)


@case("three hours", ("100% of it is below -60 dBFS",))
def _(folder):
    """35 MB of FLAC: a minute of noise of 3 steps of 16 bits, 180 times."""
    folder.mkdir()
    minute = np.random.default_rng(0).integers(-3, 4, 60 * 8000).astype("int16")
    with soundfile.SoundFile(folder / "waveform.flac", "w", 8000, 1) as file:
        for _ in range(180):
            file.write(minute)
    write_metadata(folder, encoding="FLAC", sample_rate_hz=8000)


@case("25 hours", "more than 24 h of sound")
def _(folder):
    """By its header; the number of samples is in the last 36 bits of bytes 18 to 25."""
    make_recording(folder, NOISE, 8000, "flac")
    content = bytearray((folder / "waveform.flac").read_bytes())
    content[22:26] = (25 * 3600 * 8000).to_bytes(4, "big")
    (folder / "waveform.flac").write_bytes(content)


@case(
    "rate unlike the metadata's",
    ("metadata.json says 16000 Hz, the audio file's header 8000 Hz: the header's",),
)
def _(folder):
    make_recording(folder, NOISE, 8000)
    write_metadata(folder, encoding="WAV", sample_rate_hz=16000)


@case("metadata missing", ("1 recording without metadata.json",))
def _(folder):
    make_recording(folder, NOISE, 8000)
    (folder / "metadata.json").unlink()


@case("metadata is a folder", "it is a folder, not a file")
def _(folder):
    make_recording(folder, NOISE, 8000)
    (folder / "metadata.json").unlink()
    (folder / "metadata.json").mkdir()


@case("link to another folder", USED)
def _(folder):
    elsewhere = folder.parents[2] / "elsewhere"
    make_recording(elsewhere, NOISE, 8000)
    folder.symlink_to(elsewhere)


@case("uid in another Unicode form", USED)
def _(folder):
    """The CSV has "é" as one character."""
    make_recording(
        folder.with_name(unicodedata.normalize("NFD", UIDS[-1])), NOISE, 8000
    )


UIDS = [f"b{i:02d}" for i in range(len(RECORDINGS) - 1)] + ["b\u00e9"]
CASES = dict(zip(UIDS, RECORDINGS, strict=True))


def make_damaged(folder):
    """The corpus, with the recordings above as further rows of train.csv."""
    make_corpus(folder)
    rows = read_csv(folder / "splits" / "train.csv")
    for uid, name in CASES.items():
        RECORDINGS[name][0](folder / "audio" / uid)
        rows.append({**rows[1], "uid": uid})
    write_csv(folder / "splits" / "train.csv", rows)
    return folder


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    folder = make_damaged(tmp_path_factory.mktemp("damaged") / "corpus")
    yield folder
    for path in (folder / "audio").iterdir():
        if not path.is_symlink():
            path.chmod(0o700)


@pytest.fixture(scope="module")
def prepared(damaged):
    values = values_of(damaged, on_bad_recording="skip", sample_rate=8000)
    return prepare.prepare_training(values)


def test_every_line_of_the_page_has_a_case():
    assert sorted(lines_of_page("Recordings")) == sorted(RECORDINGS)


@pytest.mark.parametrize("uid", UIDS, ids=RECORDINGS)
def test_a_recording_is_used_or_reported(damaged, prepared, uid):
    _, expected = RECORDINGS[CASES[uid]]
    if CASES[uid] == "no permission" and os.geteuid() == 0:
        pytest.skip("root may read anything")
    reasons = {entry["uid"]: entry["reason"] for entry in prepared.failed}
    used = set(prepared.manifests["train"]["ID"])
    if isinstance(expected, str):
        assert expected in reasons[uid]
        assert uid not in used
    else:
        assert uid in used, reasons.get(uid)
        notes = [note for note in prepared.notes if expected and expected[0] in note]
        assert len(notes) == len(expected)


def bad_uids():
    """Those that can't be used."""
    spared = "no permission" if os.geteuid() == 0 else None
    return [
        uid
        for uid, name in CASES.items()
        if isinstance(RECORDINGS[name][1], str) and name != spared
    ]


def test_training_stops_before_it_starts_and_names_them_all(damaged, tmp_path):
    message = failed(train(damaged, tmp_path / "out"))
    assert f"{len(bad_uids())} recordings can't be used" in message
    for uid in bad_uids():
        assert f"- {uid}: " in message
    assert not (tmp_path / "out").exists()


def test_a_look_at_the_data_names_them_all(damaged, tmp_path):
    result = train(damaged, tmp_path / "out", "--check_only=True")
    assert result.returncode == 3, result.stderr
    for uid in bad_uids():
        assert f"- train {uid}: " in result.stdout


def test_training_goes_on_without_them(damaged, tmp_path):
    options = ("--on_bad_recording=skip", "--number_of_epochs=1")
    result = train(damaged, tmp_path / "out", *options)
    assert result.returncode == 3, result.stderr[-3000:]
    listed = read_csv(tmp_path / "out" / "failed.csv")
    assert [row["uid"] for row in listed] == bad_uids()
    for row in listed:
        assert RECORDINGS[CASES[row["uid"]]][1] in row["reason"]
    used = {r["ID"] for r in read_csv(tmp_path / "out/save/manifests/train.csv")}
    assert set(UIDS) - used == set(bad_uids())


# The values of those that are used, from the samples that were written


def loaded(damaged, name, rate=8000):
    """The waveform of a case, as training has it."""
    uid = next(uid for uid in UIDS if CASES[uid] == name)
    files = loading.recording_files(damaged / "audio" / uid)
    metadata = loading.read_metadata(files)
    audio = loading.AudioFormat(rate)
    return loading.load_recording(files, metadata, audio).numpy()


@pytest.mark.parametrize(("name", "step"), [("8 bit", 2**-7), ("24 bit", 2**-23)])
def test_other_numbers_of_bits_hold_the_same_samples(damaged, name, step):
    """The 16 bit twin is SCALED itself."""
    found = loaded(damaged, name)
    assert np.abs(found - SCALED[:, 0]).max() <= step


def test_six_channels_are_averaged(damaged):
    """(1 + 2 + … + 6) / 8 / 6 of the samples."""
    found = loaded(damaged, "six channels")
    assert np.abs(found - SCALED[:, 0] * 21 / 48).max() <= 2**-15


def test_floats_beyond_one_keep_their_values(damaged):
    found = loaded(damaged, "floats beyond 1")
    assert found[-1] == 3.5
    assert np.array_equal(found[:-1], NOISE[:, 0].astype("float32"))


def test_192_khz_are_resampled(damaged):
    found, expected = loaded(damaged, "192 kHz"), sine(0.5, 8000)[:, 0]
    assert len(found) == 4000
    assert np.abs(found - expected)[400:-400].max() < 5e-3


def test_names_and_links_lead_to_the_samples(damaged):
    expected = np.round(NOISE[:, 0] * 2**15) / 2**15
    for name in ("wrong extension", "link to another folder"):
        assert np.abs(loaded(damaged, name) - expected).max() <= 2**-15
    assert (
        np.abs(loaded(damaged, "uid in another Unicode form") - expected).max() < 1e-4
    )


MEMORY = """
import resource, sys
from tests.audio_files import inspect
from pathlib import Path
for folder in sys.argv[1:]:
    inspect(Path(folder), min_duration=0)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_three_hours_are_inspected_in_the_memory_of_seconds(damaged, tmp_path):
    """Their samples would be 345 MB."""
    (tmp_path / "memory.py").write_text(MEMORY)
    long = next(uid for uid in UIDS if CASES[uid] == "three hours")
    make_recording(tmp_path / "short", NOISE, 8000, "flac")
    folders = tmp_path / "short", damaged / "audio" / long
    result = run_script(tmp_path / "memory.py", *folders)
    short_mb, long_mb = map(float, result.stdout.split())
    assert long_mb - short_mb < 100


@pytest.mark.parametrize("extension", ["m4a", "ogg"])
def test_what_unfolds_to_more_than_the_limit_is_left(tmp_path, monkeypatch, extension):
    """Also if the header tells nothing, or less: what is decoded is counted."""
    path = tmp_path / f"waveform.{extension}"
    write_audio(path, sine(3, 44100), 44100)
    info = probing.probe(path)
    monkeypatch.setattr(probing, "MAX_DURATION_S", 1)
    assert "more than 0 h of sound" in reason(
        list, decoding.blocks(path, info, "soundfile")
    )
