"""data.corpus: where the parts of a corpus lie, and what lies beside them."""

import pytest
from conftest import user_error

from local.data.corpus import corpus_addresses, note_misnamed

# Where the parts lie


def parts(**given):
    keys = ("corpus_folder", "data_folder", "study", "split_folder", "labels_file")
    found = corpus_addresses(dict.fromkeys(keys) | given)
    return [str(found[key]) for key in ("data_folder", "split_folder", "labels_file")]


def test_parts_lie_below_the_corpus_folder():
    expected = ["/c/audio", "/c/splits", "/c/labels.txt"]
    assert parts(corpus_folder="/c") == parts(corpus_folder="/c/") == expected


def test_every_part_can_be_named():
    named = {"data_folder": "/a/", "split_folder": "/b/", "labels_file": "/d.txt"}
    assert parts(**named) == ["/a", "/b", "/d.txt"]
    assert parts(corpus_folder="/c", split_folder="/b") == [
        "/c/audio",
        "/b",
        "/c/labels.txt",
    ]


def test_the_study_is_joined_to_the_data_folder_only():
    assert parts(corpus_folder="/c", study="2024") == [
        "/c/audio/2024",
        "/c/splits",
        "/c/labels.txt",
    ]


def test_missing_parts_are_named():
    assert "data_folder, split_folder, labels_file are missing" in user_error(parts)
    message = user_error(parts, data_folder="/a", labels_file="/d.txt")
    assert "split_folder is missing" in message


def test_parts_may_be_in_buckets():
    names = ["audio/2024", "splits", "labels.txt"]
    expected = [f"gs://bucket/c/{name}" for name in names]
    assert parts(corpus_folder="gs://bucket/c/", study="2024") == expected
    both = parts(corpus_folder="/c", data_folder="gs://bucket")
    assert both[:2] == ["gs://bucket", "/c/splits"]


@pytest.mark.parametrize(
    "address", ["gs:/bucket/c", "gs://B/c", "gs://bucket/../c", "gs://"]
)
def test_a_malformed_address_is_told_with_its_key(address):
    assert "labels_file: " in user_error(parts, corpus_folder="/c", labels_file=address)


@pytest.mark.parametrize(
    "address", ["s3://b/c", "azure://b/c", "https://x.org/c", "S3:/b/c", "file:///c"]
)
@pytest.mark.parametrize("key", ["corpus_folder", "labels_file"])
def test_addresses_of_another_kind_say_which_there_are(address, key):
    message = user_error(parts, **{"corpus_folder": "/c", key: address})
    assert message.startswith(f"{key} is {address}: expected a local path, or gs://")


def test_relative_parts_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parts(corpus_folder="c")[0] == str(tmp_path / "c" / "audio")


# Raters and subgroups


@pytest.mark.parametrize("there", ["valid.csv", "dev.csv"])
def test_what_may_be_meant_for_val_csv_is_told(tmp_path, there):
    files = {"train": tmp_path / "train.csv"}
    (tmp_path / there).touch()
    notes = []
    note_misnamed(files, notes)
    (note,) = notes
    assert note.startswith(f"{there} beside train.csv is not read")
    note_misnamed(files | {"valid": tmp_path / "val.csv"}, notes)
    assert len(notes) == 1
