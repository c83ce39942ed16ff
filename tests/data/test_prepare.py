"""data.prepare: from a corpus folder to manifests, on the tiny corpus."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import RATE, read_csv, user_error, write_csv, write_recording
from preparing import change_csv, values_of

from local.data import manifests, prepare, prepared_split, splits
from local.data.corpus import find_exclusions
from local.data.saved_preparations import save_preparation, saved_preparation
from local.storage.inputs import Storage
from local.utils.errors import UserError

# Manifests


@pytest.fixture(scope="module")
def preparation(shared_corpus):
    return prepare.prepare_training(values_of(shared_corpus))


def test_every_split_gets_a_manifest_of_its_recordings(preparation):
    assert {k: len(m) for k, m in preparation.manifests.items()} == {
        "train": 16,  # 8, 3 and 4 subjects with 2 recordings each
        "valid": 6,
        "test": 8,
    }
    assert preparation.label_groups == [["low", "loud"], ["noisy"]]
    assert preparation.labels == ["low", "loud", "noisy"]
    assert preparation.failed == []


def test_what_a_manifest_holds(preparation):
    manifest = preparation.manifests["train"].set_index("ID")
    first = manifest.loc["s00_0"]
    assert first["duration"] == 0.3  # s, by conftest: 0.3 + 0.1 * (seed 0 % 3)
    assert manifest.loc["s00_1", "duration"] == 0.4  # seed 1
    assert manifest.loc["s01_1", "duration"] == 0.5  # seed 101
    assert (first["recording"], first["subject"], first["sex"]) == ("s00_0", "s00", "f")
    assert (first["sample_rate"], first["channels"]) == (RATE, 1)
    assert (first["start_s"], first["end_s"], first["channel"]) == ("", "", "")
    # n = 0, its `loud` is not rated; n = 3 of subject 1: low and loud and noisy
    assert (first["low"], first["noisy"]) == (0, 0)
    assert math.isnan(first["loud"])
    assert manifest.loc["s01_1", ["low", "loud", "noisy"]].tolist() == [1, 1, 1]


def test_a_note_about_many_recordings_is_one_line(preparation):
    notes = [note for note in preparation.notes if "recorded at 8000 Hz" in note]
    counts = {split: len(of) for split, of in preparation.manifests.items()}
    assert [note.partition(":")[0] for note in notes] == [
        f"{counts[split]} recordings" for split in counts
    ]


def test_a_note_names_no_recording_and_the_manifest_does(preparation):
    assert not [note for note in preparation.notes if "s00" in note]
    manifest = preparation.manifests["train"].set_index("ID")
    assert manifest["warnings"]["s00_0"].startswith("recorded at 8000 Hz")


def test_a_csv_may_have_columns_named_like_the_manifests(corpus):
    def change(rows):
        return [{**row, "duration": "long", "peak": "7"} for row in rows]

    change_csv(corpus, "test", change)
    found = prepare.prepare_training(values_of(corpus)).manifests["test"]
    assert found["duration"].between(0.3, 0.5).all()
    assert (found["peak"] <= 1).all()
    assert set(found["csv_duration"]) == {"long"}
    assert set(found["csv_peak"]) == {"7"}


def test_a_segment_counts_with_its_own_duration(corpus):
    def change(rows):
        rows = [{**row, "start_s": "", "end_s": "", "audio": ""} for row in rows]
        rows[0] |= {"start_s": "0.05", "end_s": "0.25", "audio": "s11_1"}
        return rows

    change_csv(corpus, "test", change)
    found = prepare.prepare_training(values_of(corpus)).manifests["test"]
    assert found["duration"][0] == pytest.approx(0.2, abs=1 / RATE)
    assert found["recording"].tolist()[:2] == ["s11_1", "s11_1"]


@pytest.mark.parametrize("name", ["channel", "duration", "subject", "peak"])
def test_a_label_cannot_have_the_name_of_another_column(corpus, name):
    (corpus / "labels.txt").write_text(f"low,{name}\n")
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert f"can't name a label {name}" in message


# Subjects


def test_subjects_of_val_csv_are_left_out_of_training(corpus):
    def change(rows):
        return rows + [
            {**row, "uid": f"{row['uid']}_again", "audio": row["uid"]}
            for row in read_csv(corpus / "splits" / "val.csv")
            if row["subject"] in ("s08", "s09")
        ]

    def with_audio(rows):
        return change([{**row, "audio": ""} for row in rows])

    change_csv(corpus, "train", with_audio)
    found = prepare.prepare_training(values_of(corpus))
    assert len(found.manifests["train"]) == 16
    assert set(found.manifests["valid"]["subject"]) == {"s08", "s09", "s10"}
    assert not {"s08", "s09"} & set(found.manifests["train"]["subject"])
    assert (
        "2 subjects of val.csv also stand in train.csv and are left out of training"
        in found.notes
    )


def test_a_subject_that_is_spelt_otherwise_is_the_same(corpus):
    """As `0` and `0.0` of two spreadsheets: kept apart, and counted once."""

    def spell(of):
        return lambda rows: [
            {**row, "subject": of(row["subject"]).replace("s", "S")} for row in rows
        ]

    again = [
        {**row, "uid": f"{row['uid']}_again", "audio": row["uid"], "subject": "S8.0"}
        for row in read_csv(corpus / "splits" / "val.csv")
        if row["subject"] == "s08"
    ]
    change_csv(
        corpus, "train", lambda rows: [{**row, "audio": ""} for row in rows] + again
    )
    found = prepare.prepare_training(values_of(corpus))
    notes = "\n".join(found.notes)
    assert len(found.manifests["train"]) == 16
    assert "1 subjects of val.csv also stand in train.csv and are left out" in notes
    assert "1 subject spelt in several ways" in notes
    # the first spelling that was seen, in train.csv
    assert found.manifests["valid"]["subject"].unique().tolist() == [
        *("S8.0", "s09", "s10")
    ]


def test_the_draw_keeps_spellings_together(corpus):
    """Each subject's second recording is spelt otherwise."""
    (corpus / "splits" / "val.csv").unlink()
    plain = prepare.prepare_training(values_of(corpus))

    def change(rows):
        for row in rows[1::2]:
            row["subject"] = row["subject"].replace("s0", "S ")

    change_csv(corpus, "train", change)
    found = prepare.prepare_training(values_of(corpus))
    for split, manifest in plain.manifests.items():
        pd.testing.assert_frame_equal(found.manifests[split], manifest)
    assert sum("8 subjects spelt in several ways" in note for note in found.notes) == 1


def test_training_subjects_that_all_stand_in_val_csv(corpus):
    shutil.copy(corpus / "splits" / "train.csv", corpus / "splits" / "val.csv")
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert "No recordings are left to train on" in message


def test_validation_subjects_are_drawn_without_val_csv(corpus):
    (corpus / "splits" / "val.csv").unlink()
    found = prepare.prepare_training(values_of(corpus))
    subjects = {k: set(m["subject"]) for k, m in found.manifests.items()}
    assert len(subjects["valid"]) == 2  # a quarter of 8
    assert len(subjects["train"]) == 6
    assert not subjects["valid"] & subjects["train"]
    assert {k: len(m) for k, m in found.manifests.items()} == {
        "train": 12,
        "valid": 4,
        "test": 8,
    }
    (note,) = [note for note in found.notes if "drawn" in note]
    assert note.startswith("2 of 8 training subjects drawn for validation")
    again = prepare.prepare_training(values_of(corpus))
    pd.testing.assert_frame_equal(again.manifests["valid"], found.manifests["valid"])


def test_excluded_subjects_are_nowhere(corpus):
    (corpus / "excluded_subjects.txt").write_text("s00\n\n s11 \r\ns99\n")
    shutil.rmtree(corpus / "audio" / "s00_0")  # never read: not missed
    found = prepare.prepare_training(values_of(corpus))
    for manifest in found.manifests.values():
        assert not {"s00", "s11"} & set(manifest["subject"])
    assert "train.csv: 2 recordings of excluded subjects left out" in found.notes
    assert "test.csv: 2 recordings of excluded subjects left out" in found.notes
    assert (len(found.manifests["train"]), len(found.manifests["test"])) == (14, 6)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_excluded_subject_in_another_spelling_is_nowhere(corpus, encoding):
    """Consent is withdrawn by a person, not by a spelling."""
    (corpus / "excluded_subjects.txt").write_text("S00\r\ns011\r\n", encoding)
    found = prepare.prepare_training(values_of(corpus))
    subjects = set().union(*(of["subject"] for of in found.manifests.values()))
    assert not {"s00", "s11"} & subjects
    assert "train.csv: 2 recordings of excluded subjects left out" in found.notes


def test_subjects_that_may_be_one_are_told_without_their_names(corpus):
    change_csv(
        corpus,
        "train",
        lambda rows: [
            {**r, "subject": "S00"} if r["uid"] == "s00_1" else r for r in rows
        ],
    )
    (note,) = (
        note
        for note in prepare.prepare_training(values_of(corpus)).notes
        if "spelt" in note
    )
    assert note.startswith("1 subject spelt in several ways")
    assert "s00" not in note.lower()


def test_other_files_beside_the_splits_are_no_obstacle(corpus):
    """What macOS leaves, and what a spreadsheet has saved in Latin-1."""
    (corpus / "excluded_subjects.txt").write_text("s00\n")
    (corpus / "splits" / "._test.csv").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (corpus / "splits" / "notes.csv").write_bytes("Gespräch;Größe\n".encode("latin-1"))
    rows = [{"uid": "of_s00", "subject": "s00"}]
    write_csv(corpus / "splits" / "archive.csv", rows)
    notes = []
    excluded = find_exclusions(values_of(corpus), Storage.of({}), notes)
    assert excluded.uids == {"s00_0", "s00_1", "of_s00"}
    (note,) = notes
    assert note.startswith("notes.csv lies beside the splits")
    (corpus / "splits" / "val.csv").write_bytes("uid;Größe\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"val\.csv can't be read"):
        find_exclusions(values_of(corpus), Storage.of({}), notes)


def test_a_list_of_excluded_subjects_who_are_nowhere_is_told(corpus):
    note = "excluded_subjects.txt names 2 subjects, of whom the CSVs have no recording"
    (corpus / "excluded_subjects.txt").write_text("p00\np11\n")
    notes = prepare.prepare_training(values_of(corpus)).notes
    assert f"{note}: nobody is left out" in notes
    (corpus / "excluded_subjects.txt").write_text("p00\ns11\n")
    assert note not in "".join(prepare.prepare_training(values_of(corpus)).notes)


def test_a_split_of_excluded_subjects_only(corpus):
    (corpus / "excluded_subjects.txt").write_text("s11\ns12\ns13\ns14\n")
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert "test.csv holds only excluded subjects" in message


def test_test_subjects_in_training_are_named(corpus):
    rows = read_csv(corpus / "splits" / "test.csv")
    extra = [{**rows[0], "uid": "new"}]
    change_csv(corpus, "train", lambda rows: rows + extra)
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert "1 subject both in test.csv and in train.csv: 's11'" in message


# What is wrong is told at once


def test_all_problems_of_the_csvs_are_one_error(corpus):
    def damage_train(rows):
        rows[0]["low"] = "3"
        rows[1]["noisy"] = "?"

    def damage_val(rows):
        rows[1]["uid"] = rows[0]["uid"]

    def damage_test(rows):
        return [{k: v for k, v in row.items() if k != "subject"} for row in rows]

    change_csv(corpus, "train", damage_train)
    change_csv(corpus, "val", damage_val)
    change_csv(corpus, "test", damage_test)
    message = user_error(prepare.prepare_training, values_of(corpus))
    for part in (
        "1 cell in column 'low' with something else than 0 and 1: '3' (train.csv row 2",
        "1 cell in column 'noisy' with something else than 0 and 1: '?' (train.csv row",
        "1 uid in several rows: 's08_0' (val.csv row 2, 3)",
        "1 needed column missing: 'subject' (test.csv); the columns are uid, low",
    ):
        assert part in message


def test_missing_folders_and_files_are_named_at_once(corpus):
    shutil.rmtree(corpus / "audio")
    (corpus / "splits" / "train.csv").unlink()
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert str(corpus / "audio") in message
    assert str(corpus / "splits" / "train.csv") in message
    assert "test.csv\n" not in message


# Recordings that can't be used


@pytest.fixture
def damaged(corpus):
    """A corpus with three recordings that can't be used, in two splits."""
    shutil.rmtree(corpus / "audio" / "s00_0")
    (corpus / "audio" / "s01_0" / "waveform.wav").write_bytes(b"")
    shutil.rmtree(corpus / "audio" / "s11_0")
    write_recording(corpus / "audio" / "s11_0", np.zeros(RATE, dtype="float32"))
    return corpus


def test_bad_recordings_are_listed_with_reasons_and_left_out(damaged):
    found = prepare.prepare_training(values_of(damaged))
    reasons = {(e["split"], e["uid"]): e["reason"] for e in found.failed}
    assert list(reasons) == [("train", "s00_0"), ("train", "s01_0"), ("test", "s11_0")]
    assert "there is no folder" in reasons["train", "s00_0"]
    assert "empty (0 bytes)" in reasons["train", "s01_0"]
    assert "silent" in reasons["test", "s11_0"]
    assert (len(found.manifests["train"]), len(found.manifests["test"])) == (14, 7)
    # targets stay beside their recordings: s01_1 is n = 3, s02_0 is n = 4
    rated = found.manifests["train"].set_index("ID")[["low", "loud", "noisy"]]
    assert rated.loc["s01_1"].tolist() == [1, 1, 1]
    assert rated.loc["s02_0"].tolist() == [0, 0, 1]


def test_stopping_on_bad_recordings_lists_them_all(damaged):
    failed = prepare.prepare_training(values_of(damaged)).failed
    message = user_error(manifests.stop_on_failed, failed)
    assert message.startswith("3 recordings can't be used")
    for uid in ("s00_0", "s01_0", "s11_0"):
        assert f"- {uid}: " in message
    manifests.stop_on_failed([])


def test_failed_recordings_are_written(tmp_path):
    failed = [{"uid": "a", "reason": "silent, or so", "split": "test"}]
    manifests.write_failed(failed, tmp_path / "out" / "failed.csv")
    assert read_csv(tmp_path / "out" / "failed.csv") == [
        {"uid": "a", "reason": "silent, or so"}
    ]
    manifests.write_failed([], tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_a_split_without_a_usable_recording_stops_even_with_skip(corpus):
    for folder in (corpus / "audio").glob("s1[1-4]_*"):
        shutil.rmtree(folder)
    values = values_of(corpus, on_bad_recording="skip")
    message = user_error(prepare.prepare_training, values)
    assert "Too few recordings of test can be used" in message


# A split of its own, for a trained model


def test_a_split_is_prepared_for_evaluation(damaged):
    values = values_of(damaged, on_bad_recording="skip")
    split = prepared_split.prepare_split(
        damaged / "splits" / "test.csv", values, names=["low", "noisy"]
    )
    assert (len(split.rows), len(split.manifest)) == (8, 7)
    assert [(e["uid"], e["subject"]) for e in split.failed] == [("s11_0", "s11")]
    assert split.manifest["ID"].tolist() == split.rows["uid"].tolist()[1:]
    values["on_bad_recording"] = "stop"
    message = user_error(
        prepared_split.prepare_split,
        damaged / "splits" / "test.csv",
        values,
        names=["low"],
    )
    assert "- s11_0: " in message


# Class weights


def test_positive_weights_are_negatives_per_positive():
    manifest = pd.DataFrame(
        {
            "rare": [1, 0, 0, 0, 0, np.nan],
            "common": [1, 1, 1, 0, np.nan, np.nan],
            "always": [1.0] * 6,
            "never": [0.0] * 6,
            "unrated": [np.nan] * 6,
        }
    )
    names = list(manifest.columns)
    assert manifests.positive_weights(manifest, names) == [4, 1 / 3, 1, 1, 1]
    ranges = [[0.0, 1.0], None, None, [0.0, 1.0], None]
    assert manifests.positive_weights(manifest, names, ranges) == [1, 1 / 3, 1, 1, 1]


@pytest.mark.parametrize("derived", [{"x": ["low"]}, {"low": []}, {"low": "loud"}])
def test_derived_labels_must_name_a_label_and_its_columns(corpus, derived):
    message = user_error(
        prepare.prepare_training, values_of(corpus, derived_labels=derived)
    )
    assert message.count("derived_labels needs LABEL: [COLUMN, …]") == 1


def test_an_excluded_list_has_one_subject_per_line(corpus):
    (corpus / "excluded_subjects.txt").write_text('s01,s02\n"s03"\ns04\n')
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert "one subject per line" in message
    assert "s01,s02" in message and '"s03"' in message and "s04" not in message


def test_labels_with_one_class_are_named_and_unrated_splits_refused(corpus):
    rows = read_csv(corpus / "splits" / "train.csv")
    write_csv(corpus / "splits" / "train.csv", [{**row, "low": "1"} for row in rows])
    assert (
        "low: only one class: all 16 rated recordings are positive (train): nothing of "
        "it can be learned" in prepare.prepare_training(values_of(corpus)).notes
    )
    blank = {"low": "", "loud": "", "noisy": ""}
    write_csv(corpus / "splits" / "train.csv", [{**row, **blank} for row in rows])
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert "no label of the train recordings is rated" in message


# Scores

TYPES = {
    "loud": {"type": "ordinal", "range": [0, 4], "positive_from": 2},
    "noisy": {"type": "score", "range": [0, 100]},
}


@pytest.fixture
def scored_corpus(corpus):
    """`loud` is 0 or 4 and unrated once, `noisy` is 12.5 times the row from 0 on."""
    for split in ("train", "val", "test"):
        rows = read_csv(corpus / "splits" / f"{split}.csv")
        for i, row in enumerate(rows):
            row["loud"] = {"0": "0", "1": "4"}.get(row["loud"], "")
            row["noisy"] = str(12.5 * (i % 8))
        write_csv(corpus / "splits" / f"{split}.csv", rows)
    return corpus


@pytest.mark.parametrize(
    ("loss", "loud", "ranges"),
    [
        ("bce", {0, 1}, [None, None, [0, 100]]),
        ("mse", {0, 4}, [[0, 1], [0, 4], [0, 100]]),
    ],
)
def test_scores_are_prepared(scored_corpus, tmp_path, loss, loud, ranges):
    values = values_of(scored_corpus, label_types=TYPES, loss=loss)
    found = prepare.prepare_training(values)
    assert found.label_ranges == ranges
    train = found.manifests["train"]
    assert train["noisy"].tolist() == [12.5 * (i % 8) for i in range(16)]
    assert set(train["loud"].dropna()) == loud
    assert math.isnan(train["loud"][0])

    save_preparation(found, tmp_path / "manifests")
    back = saved_preparation(tmp_path / "manifests", values)
    assert back.label_ranges == ranges
    pd.testing.assert_frame_equal(back.manifests["train"], train, check_exact=True)

    names = ["low", "loud", "noisy"]
    split = prepared_split.prepare_split(
        scored_corpus / "splits" / "test.csv", values, names=names
    )
    assert split.manifest[names].equals(found.manifests["test"][names])


def test_validation_is_drawn_by_scores(scored_corpus):
    (scored_corpus / "splits" / "val.csv").unlink()
    values = values_of(scored_corpus, label_types=TYPES, loss="mse")
    found = prepare.prepare_training(values).manifests
    assert (len(found["train"]), len(found["valid"])) == (12, 4)
    rows = pd.DataFrame(read_csv(scored_corpus / "splits" / "train.csv"))
    places = rows[["low", "loud", "noisy"]].apply(pd.to_numeric) / [1, 4, 100]
    expected = splits.draw_validation(
        rows["subject"], places, values["val_size"], values["seed"]
    )
    assert sorted(set(found["valid"]["subject"])) == expected


def test_scores_that_never_vary_are_named(scored_corpus):
    def change(rows):
        return [{**row, "noisy": "50", "loud": ""} for row in rows]

    change_csv(scored_corpus, "train", change)
    values = values_of(scored_corpus, label_types=TYPES, loss="mse")
    notes = prepare.prepare_training(values).notes
    ending = " (train): nothing of it can be learned"
    assert f"noisy: all 16 rated values are the same{ending}" in notes
    assert f"loud: no recording is rated{ending}" in notes
    assert not [note for note in notes if "one class" in note]


# Raters and subgroups


def test_labels_with_raters_are_what_most_of_them_say(corpus):
    said = {"a": [1, 0, 1, ""], "b": [1, 1, 0, ""], "c": [1, 0, "", ""]}

    def rate(rows):
        for i, row in enumerate(rows):
            row |= {f"loud@{rater}": said[rater][i % 4] for rater in said}
            # where nobody rated, the label's own cell counts
            row["loud"] = "1" if i % 4 == 3 else ""

    change_csv(corpus, "test", rate)
    prepared = prepare.prepare_training(values_of(corpus))
    expected = [1.0, 0.0, None, 1.0] * 2
    found = prepared.manifests["test"]["loud"]
    assert [None if math.isnan(target) else target for target in found] == expected
    note = "as their raters are divided evenly: loud 2"
    assert f"test.csv: recordings without a label, {note}" in prepared.notes
    # what each rater said stays, for the evaluation
    assert prepared.manifests["test"]["loud@b"].tolist() == ["1", "1", "0", ""] * 2


def test_a_label_that_is_not_what_its_raters_say_is_a_problem(corpus):
    def rate(rows):
        for row in rows:
            row["low@ann"] = 1 - int(row["low"])

    change_csv(corpus, "val", rate)
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert (
        "6 cells in column 'low' that disagree with its raters: '0' (val.csv row 2, 4"
        in message
    )


def test_words_count_in_later_splits_and_for_raters_too(corpus):
    plain = prepare.prepare_training(values_of(corpus)).manifests
    words = {"1": "heard", "0": "Not", "": ""}

    def tell(rows):
        return [
            {**row, "low": words[row["low"]], "low@ann": words[row["low"]]}
            for row in rows
        ]

    for split in ("train", "val", "test"):
        change_csv(corpus, split, tell)
    values = values_of(corpus, label_values={"low": {"heard": 1, "not": 0}})
    found = prepare.prepare_training(values).manifests
    for split, manifest in plain.items():
        assert found[split]["low"].equals(manifest["low"])
    split = prepared_split.prepare_split(
        corpus / "splits/test.csv", values, names=["low"]
    )
    assert split.manifest["low"].equals(plain["test"]["low"])
    values["label_values"] = {"low": {"heard": 1, "not": 0}, "lwo": {"x": 1}}
    message = user_error(prepare.prepare_training, values)
    assert "1 entry of label_values that is no label and no column: 'lwo' (" in message


def test_subgroups_must_be_columns_of_the_test_split(corpus):
    message = user_error(
        prepare.prepare_training, values_of(corpus, subgroups=["sex", "site"])
    )
    assert "subgroups names site" in message and "sex" in message
    prepare.prepare_training(values_of(corpus, subgroups=["sex"]))
