"""data.summary: what `check_only` counts and shows."""

import json

import pandas as pd
import pytest
from conftest import ROOT

from local.data.prepare import Preparation, prepare_training
from local.data.summary import format_inventory, take_inventory
from local.utils.yaml_files import plain_values

NAN = float("nan")
FAILED = [
    {"uid": "r8", "split": "train", "reason": "waveform.wav is silent"},
    {"uid": "r9", "split": "test", "reason": "there is no waveform"},
]


def manifest(rows):
    """A manifest of (subject, low, loud, duration), each recording of one format."""
    table = pd.DataFrame(rows, columns=["subject", "low", "loud", "duration"])
    return table.assign(
        ID=[f"r{i}" for i in range(len(table))],
        level_dbfs=[-20.0 - i for i in range(len(table))],
        clipped_share=0.0,
        silent_share=0.25,
        sample_rate=[8000] + [16000] * (len(table) - 1),
        channels=1,
        format="WAV",
        codec="PCM_16",
    )


@pytest.fixture
def preparation():
    train = [
        ("p1", 1, 0, 1800),
        ("p1", 1, NAN, 3600),
        ("p2", 1, NAN, 7200),
        ("p3", 0, 1, 900),
    ]
    manifests = {
        "train": manifest(train),
        "test": manifest([("p4", 0, NAN, 360)]),
        "valid": manifest(train).iloc[:0],
    }
    groups, notes = [["low"], ["loud"]], ["p7 left out"]
    return Preparation(groups, manifests, FAILED, notes, "x", [None, None], None)


def test_labels_are_counted_per_split(preparation):
    splits = take_inventory(preparation)["splits"]
    assert splits["train"]["labels"] == {
        "low": {"positive": 3, "negative": 1, "not_rated": 0, "positive_subjects": 2},
        "loud": {"positive": 1, "negative": 1, "not_rated": 2, "positive_subjects": 1},
    }
    assert splits["test"]["labels"] == {
        "low": {"positive": 0, "negative": 1, "not_rated": 0, "positive_subjects": 0},
        "loud": {"positive": 0, "negative": 0, "not_rated": 1, "positive_subjects": 0},
    }
    assert splits["valid"] == {"n_recordings": 0}


def test_recordings_are_summed_up_per_split(preparation):
    train = take_inventory(preparation)["splits"]["train"]
    assert (train["n_recordings"], train["n_subjects"]) == (4, 3)
    assert train["hours"] == 3.75  # 13500 s
    # the median of four is between the second and the third
    assert train["duration"] == {"min": 900, "median": 2700, "max": 7200, "unit": "s"}
    assert train["level_dbfs"]["min"] == -23
    assert train["level_dbfs"]["median"] == -21.5
    assert train["silent_share"]["max"] == 0.25
    assert train["sample_rate"] == {"16000": 3, "8000": 1}
    assert train["format"] == {"WAV": 4}


def test_the_inventory_can_be_saved_as_json(preparation):
    inventory = take_inventory(preparation)
    assert json.loads(json.dumps(inventory, allow_nan=False)) == inventory
    assert inventory["unusable"] == FAILED
    assert inventory["notes"] == ["p7 left out"]


def test_the_text_shows_counts_notes_and_what_is_unusable(preparation):
    lines = format_inventory(take_inventory(preparation)).splitlines()
    assert "train: 4 recordings of 3 subjects, 3.75 h" in lines
    cells = [line.split() for line in lines]
    assert ["low", "3", "1", "0", "2"] in cells
    assert ["loud", "1", "1", "2", "1"] in cells
    assert "  duration: 900 to 7200 s, median 2700" in lines
    assert "  sample_rate: 16000: 3, 8000: 1" in lines
    assert "valid: no usable recordings" in lines
    assert "note: p7 left out" in lines
    assert lines[-3:] == [
        "unusable recordings: 2",
        "  - train r8: waveform.wav is silent",
        "  - test r9: there is no waveform",
    ]


def test_scores_are_summed_up(preparation):
    """`loud` as a score of 0 to 9: two ratings of two subjects in training."""
    loud = [2.0, NAN, NAN, 7.5]
    train = preparation.manifests["train"].assign(loud=loud)
    found = Preparation(
        preparation.label_groups,
        {**preparation.manifests, "train": train},
        [],
        [],
        "x",
        [None, [0.0, 9.0]],
        None,
    )
    inventory = take_inventory(found)
    assert inventory["splits"]["train"]["labels"] == {
        "low": {"positive": 3, "negative": 1, "not_rated": 0, "positive_subjects": 2},
        "loud": {
            "rated": 2,
            "not_rated": 2,
            "min": 2.0,
            "mean": 4.75,
            "max": 7.5,
            "subjects": 2,
        },
    }
    unrated = inventory["splits"]["test"]["labels"]["loud"]
    assert (unrated["rated"], unrated["mean"]) == (0, None)
    assert json.loads(json.dumps(inventory, allow_nan=False)) == inventory
    cells = [line.split() for line in format_inventory(inventory).splitlines()]
    assert ["low", "3", "1", "0", "2"] in cells
    assert ["rated", "not_rated", "min", "mean", "max", "subjects"] in cells
    assert ["loud", "2", "2", "2", "4.75", "7.5", "2"] in cells
    assert ["loud", "0", "1", "n/a", "n/a", "n/a", "0"] in cells


def test_a_prepared_corpus_is_counted(corpus):
    (corpus / "audio" / "s03_1" / "waveform.wav").write_bytes(b"")  # low and loud
    paths = {
        "data_folder": str(corpus / "audio"),
        "split_folder": str(corpus / "splits"),
        "labels_file": str(corpus / "labels.txt"),
        "on_bad_recording": "skip",
        "sample_rate": 8000,
    }
    values = plain_values(ROOT / "hparams" / "train.yaml", paths)
    inventory = take_inventory(prepare_training(values))
    train = inventory["splits"]["train"]
    assert (train["n_recordings"], train["n_subjects"]) == (15, 8)
    # of 16 recordings 0 … 15, bit by bit, without number 7
    counts = {
        name: (label["positive"], label["negative"], label["not_rated"])
        for name, label in train["labels"].items()
    }
    assert counts == {"low": (7, 8, 0), "loud": (7, 7, 1), "noisy": (7, 8, 0)}
    assert train["sample_rate"] == {"8000": 15}
    assert inventory["splits"]["valid"]["n_recordings"] == 6
    assert inventory["splits"]["test"]["n_recordings"] == 8
    (entry,) = inventory["unusable"]
    assert (entry["split"], entry["uid"]) == ("train", "s03_1")
    assert f"  - train s03_1: {entry['reason']}" in format_inventory(inventory)
