"""A corpus with every kind of damage of docs/bad_input.md, a case for each line."""

import os
import re
import shutil
import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.audio import decoding, loading
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
from tests.conftest import make_corpus, read_csv, user_error, write_csv
from tests.fuzz.containers import mux
from tests.preparing import change_csv, values_of
from tests.running import ROOT, failed, run_script, train

PAGE = (ROOT / "docs" / "bad_input.md").read_text(encoding="utf-8")


def lines_of_page(heading):
    """The first cells of the table below a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| (.+?) \|", section, flags=re.MULTILINE)[1:]


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
    heading = "CSVs, labels.txt, excluded_subjects.txt"
    assert sorted(lines_of_page(heading)) == sorted(TABLES)


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
    return loading.load_recording(files, metadata, sample_rate=rate).numpy()


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
    inspect(Path(folder), min_duration_s=0)
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
    info = decoding.probe(path)
    monkeypatch.setattr(decoding, "MAX_DURATION_S", 1)
    assert "more than 0 h of sound" in reason(
        list, decoding.blocks(path, info, "soundfile")
    )


# Tables: each function changes the corpus; a str is the message, None: what is read is
# what the undamaged corpus gives, a function: what is to be looked at.

TABLES = {}


def table(name, expected=None):
    """Note a function as the case of this name."""

    def note(change):
        TABLES[name] = (change, expected)
        return change

    return note


def with_text(change):
    """A function that rewrites train.csv: `change` makes bytes of its text."""

    def rewrite(corpus):
        path = corpus / "splits" / "train.csv"
        path.write_bytes(change(path.read_bytes().decode()))

    return rewrite


def with_row(**cells):
    """A function that changes cells of the second row of train.csv."""
    return lambda corpus: change_csv(
        corpus, "train", lambda rows: rows[1].update(cells)
    )


def with_uid(uid):
    """A function that gives the first recording of the test split another name."""

    def rename(corpus):
        (corpus / "audio" / "s11_0").rename(corpus / "audio" / uid)
        change_csv(corpus, "test", lambda rows: rows[0].update(uid=uid))

    return rename


def is_first(uid):
    """A check that the first recording of the test split has this name."""

    def check(found):
        assert found.failed == []
        assert found.manifests["test"]["ID"].iloc[0] == uid

    return check


def with_labels(*values):
    """A function that writes these for 0 and 1 of `low` in all CSVs."""

    def rewrite(corpus):
        for split in ("train", "val", "test"):
            change_csv(
                corpus,
                split,
                lambda rows: [{**r, "low": values[int(r["low"])]} for r in rows],
            )

    return rewrite


def without_s00(found):
    """Recordings of s00 are nowhere."""
    assert "s00" not in set(found.manifests["train"]["subject"])
    assert len(found.manifests["train"]) == 14


def is_not_rated(found):
    """The second row of train.csv has no rating of `low`."""
    assert (
        found.manifests["train"]["low"].isna().tolist() == [False, True] + [False] * 14
    )


def is_doubted(found):
    """s00, who is female in the first row."""
    (doubt,) = found.contradictions
    assert doubt.subjects == ["s00"]
    assert f"{doubt.counted} (--check_only=True names them)" in found.notes


def is_noted(found):
    """There is a note on spellings."""
    assert sum("spelt" in note for note in found.notes) == 1
    assert "S00" not in set(found.manifests["train"]["subject"])


table("byte order mark")(with_text(lambda text: text.encode("utf-8-sig")))
table("UTF-16")(with_text(lambda text: text.encode("utf-16")))
table("Latin-1", "not UTF-8 text (line 3)")(
    with_text(lambda text: text.replace("s00_1", "é").encode("latin-1"))
)
table("NUL characters", "NUL characters (line 3)")(
    with_text(lambda text: text.replace("s00_1", "s\0").encode())
)
table("CRLF")(with_text(lambda text: text.replace("\n", "\r\n").encode()))
table("semicolons")(with_text(lambda text: text.replace(",", ";").encode()))
table("tabs")(with_text(lambda text: text.replace(",", "\t").encode()))
table("quoted newlines and semicolons")(
    with_text(
        lambda text: "".join(
            line + (",note\n" if i == 0 else ',"a\nb; ""c"", d"\n')
            for i, line in enumerate(text.splitlines())
        ).encode()
    )
)
table("quote never closed", "row 3: a quote that is opened there is never closed")(
    with_text(lambda text: text.replace("s00_1", '"s00_1').encode())
)
table("too few cells", "1 row of 5 cells, where the header has 6: train.csv row 3")(
    with_text(lambda text: re.sub("(s00_1,[^\r]*),[^\r]*", r"\1", text).encode())
)
table("too many cells", "1 row of 7 cells, where the header has 6: train.csv row 3")(
    with_text(lambda text: re.sub("(s00_1,[^\r]*)", r"\1,", text).encode())
)
table("first line sep=;")(
    with_text(lambda text: f"sep=;\n{text.replace(',', ';')}".encode())
)
table("blank rows")(
    with_text(
        lambda text: text.replace("\ns01", "\n\n,,,,,\ns01").encode() + b",,,,,\n"
    )
)
table("comma at the end of every line")(
    with_text(lambda text: text.replace("\r", "").replace("\n", ",\n").encode())
)
table("duplicate column", "1 column given twice: 'low'")(
    with_text(lambda text: text.replace("loud", "low", 1).encode())
)
table("duplicate row", "1 uid in several rows: 's00_0' (train.csv row 2, 3)")(
    with_row(uid="s00_0")
)
for uid in ("a b", "Łódź 語", "-rf", "007", "1e5", "NA"):
    names = {
        "a b": "with spaces",
        "Łódź 語": "in Unicode",
        "-rf": "with a leading dash",
    }
    table(f"uid {names.get(uid, uid)}", is_first(uid))(with_uid(uid))
NO_NAME = "in column 'uid' with no name of a folder:"
table("uid with a slash", f"{NO_NAME} '../s01_0' (train.csv row 3)")(
    with_row(uid="../s01_0")
)
table("uid ..", f"{NO_NAME} '..' (train.csv row 3)")(with_row(uid=".."))
table("uid of 300 characters", f"{NO_NAME} '{'a' * 60}…' (train.csv row 3)")(
    with_row(uid="a" * 300)
)
table("uid with a newline", rf"{NO_NAME} 'a\nb' (train.csv row 3)")(
    with_row(uid="a\nb")
)
table("empty uid", "1 empty cell in column 'uid': train.csv row 3")(with_row(uid=" "))
table("empty subject", "1 empty cell in column 'subject': train.csv row 3")(
    with_row(subject="")
)
table("labels 0.0 and 1.0")(with_labels("0.0", "1.0"))
table("labels yes and no")(with_labels("no", "yes"))
table("labels true and false")(with_labels("False", "TRUE"))
table("labels present and absent", "--label_values='{low: {absent: 0, present: 1}}'")(
    with_labels("absent", "present")
)
table("label 2", "--label_types='{low: {type: ordinal, range: [0, 2],")(
    with_row(low="2")
)
table("label 9", "--missing_values='[9]'")(with_row(low="9"))
table("label #NULL!", """--missing_values='["#NULL!"]'""")(with_row(low="#NULL!"))
table("blank label", is_not_rated)(with_row(low=" "))
table(
    "subject of test in training", "1 subject both in test.csv and in train.csv: 's11'"
)(with_row(subject="s11"))
table(
    "subject of test in training, spelt otherwise",
    "in test.csv that train.csv spells otherwise: 's11' as 'S011'",
)(with_row(subject="S011"))
table("one subject in two spellings", is_noted)(with_row(subject="S00"))
table("one subject with two sexes", is_doubted)(with_row(sex="m"))


@table(
    "times that are no numbers",
    "'start_s' with no number from 0 on: '1_0' (train.csv row 2",
)
def _(corpus):
    change_csv(
        corpus, "train", lambda rows: [{**row, "start_s": "1_0"} for row in rows]
    )


@table("excluded subject in another spelling", without_s00)
def _(corpus):
    (corpus / "excluded_subjects.txt").write_text("S00\n", "utf-16")


@table("labels.txt or a yaml in UTF-16")
def _(corpus):
    text = (corpus / "labels.txt").read_text()
    (corpus / "labels.txt").write_text(f"{text}\n\n", "utf-16")


@table("labels.txt with a comma at the end", "a name is empty")
def _(corpus):
    (corpus / "labels.txt").write_text("low,loud,\nnoisy\n")


@table("label named twice", "'low' is named twice")
def _(corpus):
    (corpus / "labels.txt").write_text("low,loud\nlow\n")


@table(
    "several subjects in a line of excluded_subjects.txt", "one subject per line, found"
)
def _(corpus):
    (corpus / "excluded_subjects.txt").write_text("s00;s01\n")


@table("split file is a pipe", "it is a pipe, not a file")
def _(corpus):
    (corpus / "splits" / "val.csv").unlink()
    os.mkfifo(corpus / "splits" / "val.csv")


@pytest.fixture(scope="module")
def undamaged(shared_corpus):
    return prepare.prepare_training(values_of(shared_corpus))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_or_reported(corpus, undamaged, name):
    change, expected = TABLES[name]
    change(corpus)
    if isinstance(expected, str):
        message = user_error(prepare.prepare_training, values_of(corpus))
        assert expected in message
        return
    found = prepare.prepare_training(values_of(corpus))
    if expected:
        expected(found)
        return
    for split, manifest in undamaged.manifests.items():
        own = found.manifests[split]
        assert own[manifest.columns].equals(manifest)


def test_problems_of_several_tables_are_one_message(corpus):
    """Also if one can't be read at all."""
    for split, name in [("train", "Latin-1"), ("val", "duplicate row")]:
        TABLES[name][0](corpus)
        if split != "train":
            break
        shutil.move(corpus / "splits/train.csv", corpus / "splits/val.csv")
        make_corpus(corpus.parent / "other")
        shutil.copy(corpus.parent / "other/splits/train.csv", corpus / "splits")
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert f"{corpus / 'splits' / 'val.csv'} can't be read: it is not UTF-8" in message
    assert "1 uid in several rows: 's00_0' (train.csv row 2, 3)" in message
