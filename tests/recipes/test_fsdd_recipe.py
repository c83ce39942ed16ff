"""recipes/FSDD/prepare.py on a made-up source of a few short files."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from recipes.FSDD.prepare import main
from tests.audio_files import inspect, sine

DIGITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
]
SCRIPT = Path(__file__).parents[2] / "recipes/FSDD/prepare.py"


@pytest.fixture
def source(tmp_path):
    """A repository with two recordings of 3 and 7 by each of four speakers."""
    folder = tmp_path / "source" / "recordings"
    folder.mkdir(parents=True)
    for number, speaker in enumerate(["theo", "lucas", "ann", "mary_jane"]):
        for digit in (3, 7):
            for index in (2, 10):
                tone = sine(0.2, 8000, frequency_hz=100 * (number + 1) + digit)
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", tone, 8000)
    return tmp_path / "source"


@pytest.fixture
def prepare(tmp_path, source):
    """Runs the recipe into tmp_path / "corpus"; returns its exit status."""

    def run(*options, source=source):
        folders = [f"--source={source}", f"--corpus_folder={tmp_path / 'corpus'}"]
        return main([*folders, *options])

    return run


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_corpus_is_laid_out_by_the_contract(tmp_path, source, prepare):
    assert prepare() == 0
    corpus = tmp_path / "corpus"
    assert {path.name for path in corpus.iterdir()} == {"audio", "splits", "labels.txt"}
    assert (corpus / "labels.txt").read_text() == ",".join(DIGITS) + "\n"
    assert {path.name for path in (corpus / "splits").iterdir()} == {
        "train.csv",
        "test.csv",
    }
    recording = corpus / "audio" / "7_mary_jane_10"
    original = source / "recordings" / "7_mary_jane_10.wav"
    assert (recording / "waveform.wav").read_bytes() == original.read_bytes()
    assert json.loads((recording / "metadata.json").read_text()) == {
        "encoding": "WAV",
        "sample_rate_hz": 8000,
    }
    assert inspect(recording).duration_s == pytest.approx(0.2)


def test_each_digit_is_a_label_and_each_speaker_in_one_split(tmp_path, prepare):
    assert prepare() == 0
    train = read_csv(tmp_path / "corpus/splits/train.csv")
    test = read_csv(tmp_path / "corpus/splits/test.csv")
    assert list(train[0]) == ["uid", "subject", *DIGITS, "sex", "accent"]
    assert {row["subject"] for row in train} == {"ann", "mary_jane"}
    assert {row["subject"] for row in test} == {"theo", "lucas"}
    assert len(train) == len(test) == 8
    for row in train + test:
        digit = int(row["uid"][0])
        assert [row[label] for label in DIGITS] == [
            "1" if number == digit else "0" for number in range(10)
        ]
    row = next(row for row in test if row["uid"] == "7_theo_2")
    assert (row["sex"], row["accent"]) == ("male", "USA/neutral")
    assert (train[0]["sex"], train[0]["accent"]) == ("", "")  # not in its README
    assert [row["uid"] for row in train][:2] == ["3_ann_2", "3_ann_10"]


def test_validation_speakers_and_the_folder_recordings(tmp_path, source, prepare):
    options = ["--test_subjects=ann", "--val_subjects=theo,mary_jane"]
    assert prepare(*options, source=source / "recordings") == 0
    speakers = {
        path.stem: {row["subject"] for row in read_csv(path)}
        for path in (tmp_path / "corpus/splits").iterdir()
    }
    assert speakers == {
        "train": {"lucas"},
        "test": {"ann"},
        "val": {"theo", "mary_jane"},
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--test_subjects=theo,bob"], "no recordings of bob: the source has ann, luc"),
        (["--val_subjects=carl"], "no recordings of carl: the source has ann, lucas"),
        (["--val_subjects=theo"], "theo can't be in test_subjects and in val_subjects"),
        (["--test_subjects="], "training and test need a speaker"),
        (["--val_subjects=ann,mary_jane"], "training and test need a speaker"),
    ],
)
def test_speakers_that_cannot_be_split(tmp_path, prepare, capsys, options, expected):
    assert prepare(*options) == 2
    assert expected in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_files_with_other_names_are_named_and_left_out(
    tmp_path, source, prepare, capsys
):
    for name in ("notes.txt", "12_theo_1.wav", ".hidden"):
        (source / "recordings" / name).touch()
    assert prepare() == 0
    message = capsys.readouterr().err
    assert "{digit}_{speaker}_{index}.wav" in message
    assert "- notes.txt" in message
    assert "- 12_theo_1.wav" in message
    assert "hidden" not in message
    assert len(list((tmp_path / "corpus/audio").iterdir())) == 16


def test_a_source_without_recordings(tmp_path, prepare, capsys):
    assert prepare(source=tmp_path / "nowhere") == 2
    assert "there is no" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "music.mp3").touch()
    assert prepare(source=tmp_path / "other") == 2
    assert "music.mp3" in capsys.readouterr().err


def test_files_that_are_no_audio_are_all_named(tmp_path, source, prepare, capsys):
    for name in ("1_ann_0.wav", "2_ann_0.wav"):
        (source / "recordings" / name).write_text("no audio")
    assert prepare() == 2
    message = capsys.readouterr().err
    assert "1_ann_0.wav" in message
    assert "2_ann_0.wav" in message
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_same_corpus_is_left_as_it_is(tmp_path, prepare, capsys):
    assert prepare() == 0
    before = (tmp_path / "corpus/labels.txt").stat()
    assert prepare() == 0
    assert "already holds exactly this corpus" in capsys.readouterr().out
    assert (tmp_path / "corpus/labels.txt").stat() == before
    assert {path.name for path in tmp_path.iterdir()} == {"source", "corpus"}


def test_an_empty_folder_is_filled(tmp_path, prepare):
    (tmp_path / "corpus").mkdir()
    assert prepare() == 0
    assert len(list((tmp_path / "corpus/audio").iterdir())) == 16


@pytest.mark.parametrize("change", ["other", "changed", "missing", "more"])
def test_a_folder_with_other_content_is_refused(tmp_path, prepare, capsys, change):
    corpus = tmp_path / "corpus"
    if change == "other":
        corpus.mkdir()
        (corpus / "thesis.txt").write_text("my only copy")
    else:
        assert prepare() == 0
    if change == "changed":
        (corpus / "splits/test.csv").write_text("uid,subject\n")
    elif change == "missing":
        (corpus / "audio/7_ann_2/waveform.wav").unlink()
    elif change == "more":
        (corpus / "audio/7_ann_2/notes.txt").touch()
    before = files_of(corpus)
    assert prepare() == 2
    assert "holds other content" in capsys.readouterr().err
    assert files_of(corpus) == before
    assert {path.name for path in tmp_path.iterdir()} == {"source", "corpus"}


def test_nothing_is_left_of_a_stopped_run(tmp_path, prepare, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("recipes.FSDD.prepare.write_rows", stop)
    assert prepare() == 130
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_command_line_from_another_folder(tmp_path, source):
    command = [sys.executable, SCRIPT, f"--source={source}", "--test_subjects=eve"]
    run = subprocess.run(
        [*command, "--corpus_folder=corpus"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr == (
        "There are no recordings of eve: the source has ann, lucas, mary_jane, theo.\n"
    )
