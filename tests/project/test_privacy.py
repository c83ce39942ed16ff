"""What is logged names no subject, no recording and no folder."""

import fnmatch
import json
import shutil

import pytest
import soundfile
from conftest import RATE, make_corpus, read_csv, synthesise, write_csv
from running import FULL, evaluate, extract, succeeded, train

from local.storage.experiment_files import (
    EVALUATIONS,
    FILES,
    INVENTORY,
    ROWS,
    SCORED_CSV,
    STATISTICS,
    UPLOAD,
    row_of,
)

#: Parts of names that can't come from anywhere else.
UID, SUBJECT, FOLDER = "zebrauid", "giraffesubject", "ostrichcorpus"


def renamed_corpus(folder):
    """A corpus of unmistakable names, in which several recordings are odd."""
    make_corpus(folder)
    for file in (folder / "splits").glob("*.csv"):
        rows = read_csv(file)
        for row in rows:
            old, row["uid"] = row["uid"], f"{UID}-{row['uid']}"
            row["subject"] = f"{SUBJECT}-{row['subject']}"
            (folder / "audio" / old).rename(folder / "audio" / row["uid"])
        write_csv(file, rows)
    clipped = 30 * synthesise(1, 0, 0, seed=1)
    for uid in (f"{UID}-s00_0", f"{UID}-s01_0", f"{UID}-s02_0", f"{UID}-s11_0"):
        soundfile.write(folder / "audio" / uid / "waveform.wav", clipped, RATE)
    described = {"encoding": "WAV", "sample_rate_hz": RATE + 1}
    for uid in (f"{UID}-s03_0", f"{UID}-s12_0"):
        file = folder / "audio" / uid / "metadata.json"
        file.write_text(json.dumps(described))
    shutil.rmtree(folder / "audio" / f"{UID}-s04_1")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return renamed_corpus(tmp_path_factory.mktemp("private") / FOLDER)


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """An experiment, and all that its commands have printed."""
    folder = tmp_path_factory.mktemp("private") / "experiment"
    trained = train(corpus, folder, *FULL, "--show_uids=False")
    csv = f"--split_csv={corpus / 'splits' / 'test.csv'}"
    results = (
        succeeded(trained, status=3),
        succeeded(evaluate(folder, "--audit=False")),
        succeeded(extract(folder, folder.with_name("embeddings.parquet"), csv)),
    )
    return folder, [text for ended in results for text in (ended.stdout, ended.stderr)]


def test_nothing_that_is_logged_or_printed_names_anybody(run):
    folder, printed = run
    logs = [*folder.rglob("*.txt"), *folder.rglob("*.log")]
    assert {"log.txt", "env.log", "train_log.txt"} <= {file.name for file in logs}
    for text in (*printed, *(file.read_text(encoding="utf-8") for file in logs)):
        for name in (UID, SUBJECT, FOLDER):
            assert name not in text


def test_every_file_has_a_row_which_says_whether_it_names_anybody(run):
    folder, _ = run
    for path in (path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        row = row_of(name)
        assert row is not None, name
        content = path.read_bytes()
        if UID.encode() in content or SUBJECT.encode() in content:
            assert row.people, name
        elif path.suffix == ".csv":
            assert row.people == ROWS, name
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    made = {name for name in FILES if any(fnmatch.fnmatch(f, name) for f in there)}
    # of commands and options that were not given
    others = {STATISTICS, INVENTORY, UPLOAD, f"{EVALUATIONS}/*/debug/*", SCORED_CSV}
    others |= {"loggers/*"}
    assert made == FILES.keys() - others


def test_the_log_holds_no_folder_at_all(run):
    folder, _ = run
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert str(folder) not in log
    assert f"Experiment folder: {folder.name}\n" in log
    assert "Loading a checkpoint from CKPT+" in log


def test_warnings_are_counted_in_the_log(run):
    """s00_0, s01_0 and s02_0 of train are clipped; the rate of s03_0 is wrong."""
    folder, _ = run
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert " - 3 recordings: clipped: " in log
    assert f" - 1 recording: metadata.json says {RATE + 1} Hz" in log


def test_manifests_say_which_recordings_the_warnings_are_about(run):
    folder, _ = run
    rows = read_csv(folder / "save/manifests/train.csv")
    warned = {row["ID"]: row["warnings"] for row in rows if row["warnings"]}
    clipped = [uid for uid, text in warned.items() if text.startswith("clipped: ")]
    assert clipped == [f"{UID}-s00_0", f"{UID}-s01_0", f"{UID}-s02_0"]
    assert warned.keys() - set(clipped) == {f"{UID}-s03_0"}
    assert read_csv(folder / "failed.csv")[0]["uid"] == f"{UID}-s04_1"


def test_bad_recordings_are_named_to_the_user_and_not_in_a_log(corpus, tmp_path):
    result = train(corpus, tmp_path / "experiment")
    assert result.returncode == 2
    assert f"{UID}-s04_1: there is no folder" in result.stderr
    assert UID not in result.stdout
    assert not list(tmp_path.rglob("*.txt"))
