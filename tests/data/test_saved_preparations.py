"""data.saved_preparations: what an experiment keeps, and whether it still holds."""

import shutil

import pandas as pd
import pytest
from conftest import synthesise, user_error, write_recording
from preparing import change_csv, values_of

from local.data import manifests, prepare, prepared_split
from local.data.saved_preparations import save_preparation, saved_preparation

# Saved preparations


def save(corpus, folder, **overrides):
    values = values_of(corpus, **overrides)
    found = prepare.prepare_training(values)
    save_preparation(found, folder)
    return found


def test_a_saved_preparation_is_what_was_saved(corpus, tmp_path):
    change_csv(corpus, "test", lambda rows: [{**r, "duration": "1"} for r in rows])
    saved = save(corpus, tmp_path / "manifests")
    found = saved_preparation(tmp_path / "manifests", values_of(corpus))
    for split, manifest in saved.manifests.items():
        pd.testing.assert_frame_equal(
            found.manifests[split], manifest, check_exact=True
        )
    assert found.label_groups == saved.label_groups
    assert found.label_ranges == saved.label_ranges == [None, None, None]
    assert (found.failed, found.notes) == (saved.failed, saved.notes)


def test_nothing_saved_is_nothing(corpus, tmp_path):
    assert saved_preparation(tmp_path, values_of(corpus)) is None


@pytest.mark.parametrize("what", ["csv", "labels", "val", "excluded", "key", "loss"])
def test_a_saved_preparation_of_other_input_is_refused(corpus, tmp_path, what):
    save(corpus, tmp_path / "manifests")
    values = values_of(corpus)
    if what == "csv":
        change_csv(corpus, "test", lambda rows: rows[:-1])
    elif what == "labels":
        (corpus / "labels.txt").write_text("low\nloud,noisy\n")
    elif what == "val":
        (corpus / "splits" / "val.csv").unlink()
    elif what == "excluded":
        (corpus / "excluded_subjects.txt").write_text("s00\n")
    elif what == "loss":
        values["loss"] = "mse"
    else:
        values["min_duration"] = 0.35
    message = user_error(saved_preparation, tmp_path / "manifests", values)
    assert "was prepared from other CSVs, labels or settings" in message


def test_csvs_that_were_only_saved_again_are_the_same(corpus, tmp_path):
    saved = save(corpus, tmp_path / "manifests")
    path = corpus / "splits" / "train.csv"
    text = path.read_text().replace(",", ";").replace("\n", ";\r\n")
    path.write_bytes(f"sep=;\r\n{text}\r\n".encode("utf-8-sig"))
    found = saved_preparation(tmp_path / "manifests", values_of(corpus))
    assert found.fingerprint == saved.fingerprint


def test_a_corpus_may_move_and_must_be_the_same(corpus, tmp_path):
    saved = save(corpus, tmp_path / "manifests")
    moved = corpus.rename(tmp_path / "moved")
    found = saved_preparation(tmp_path / "manifests", values_of(moved))
    assert found.recordings.place == str(moved / "audio")
    pd.testing.assert_frame_equal(found.manifests["train"], saved.manifests["train"])
    shutil.copy(moved / "audio" / "s01_0" / "waveform.wav", moved / "audio" / "s00_0")
    (moved / "audio" / "s02_0" / "waveform.wav").write_bytes(b"")
    message = user_error(saved_preparation, tmp_path / "manifests", values_of(moved))
    assert "is not what this experiment was prepared with" in message
    assert "s00_0: another length, rate or level" in message
    assert "s02_0: waveform.wav is empty" in message


def test_where_recordings_have_left_the_key_for_their_place_is_named(corpus, tmp_path):
    saved = save(corpus, tmp_path / "manifests")
    values = values_of(corpus)
    corpus.rename(tmp_path / "moved")
    message = user_error(
        prepared_split.inspect_again, saved.manifests["test"], saved.labels, values
    )
    assert f"There is no folder {corpus / 'audio'}" in message
    assert "give --data_folder=DIR" in message


def test_recordings_are_looked_at_again(corpus, tmp_path):
    change_csv(
        corpus,
        "test",
        lambda rows: [{**r, "duration": "1", "start_s": ""} for r in rows],
    )
    change_csv(
        corpus,
        "test",
        lambda rows: [
            {**r, "start_s": "0.1"} if r["uid"] == "s12_0" else r for r in rows
        ],
    )
    values = values_of(corpus, on_bad_recording="skip")
    saved = save(corpus, tmp_path / "manifests")
    names = saved.labels
    manifest = manifests.read_manifest(tmp_path / "manifests" / "test.csv", names)
    again = prepared_split.inspect_again(manifest, names, values)
    columns = sorted(again.manifest.columns)
    assert columns == sorted(manifest.columns)
    pd.testing.assert_frame_equal(again.manifest[columns], manifest[columns])
    assert again.failed == []

    shutil.rmtree(corpus / "audio" / "s11_0")
    again = prepared_split.inspect_again(manifest, names, values)
    assert [entry["uid"] for entry in again.failed] == ["s11_0"]
    assert again.manifest["ID"].tolist() == manifest["ID"].tolist()[1:]
    values["on_bad_recording"] = "stop"
    assert "s11_0" in user_error(prepared_split.inspect_again, manifest, names, values)


def test_labels_that_the_manifest_does_not_have_are_told(corpus, tmp_path):
    saved = save(corpus, tmp_path / "manifests")
    names, values = ["lowest", *saved.labels], values_of(corpus)
    message = user_error(
        prepared_split.inspect_again, saved.manifests["test"], names, values
    )
    assert "names the labels lowest, which its own test split does not" in message


def test_uids_survive_a_manifest(corpus, tmp_path):
    """Also `NA`, `007` and a cell with a comma."""
    for uid in ("NA", "007"):
        write_recording(corpus / "audio" / uid, synthesise(1, 0, 1, seed=1))

    def change(rows):
        new = {"subject": "1e5", "low": "1", "loud": "", "noisy": "0", "sex": "f, or m"}
        return rows + [{"uid": uid, **new} for uid in ("NA", "007")]

    change_csv(corpus, "test", change)
    save(corpus, tmp_path)
    found = manifests.read_manifest(tmp_path / "test.csv", ["low", "loud", "noisy"])
    last = found.tail(2)
    assert last["ID"].tolist() == ["NA", "007"]
    assert last["subject"].tolist() == ["1e5", "1e5"]
    assert last["sex"].tolist() == ["f, or m", "f, or m"]
    assert last["loud"].isna().all()
