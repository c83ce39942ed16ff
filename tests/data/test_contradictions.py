"""data.contradictions: one code that may be two people."""

import pandas as pd
import pytest
from conftest import make_corpus, read_csv, write_csv
from running import failed, succeeded, train

from local.data.contradictions import contradictions


def found(labels=(), **columns):
    """What is found in a manifest of these columns: what → subjects."""
    listed = contradictions([pd.DataFrame(columns)], list(labels))
    return {of.what: of.subjects for of in listed}


@pytest.mark.parametrize("column", ["sex", "Gender", "SEX"])
def test_several_sexes(column):
    cells = ["f", "Female", "", "f", "m", "m", "w", "NA"]
    subjects = ["a", "a", "a", "b", "b", "c", "d", "d"]
    assert found(subject=subjects, **{column: cells}) == {
        f"several values of {column!r}": ["b"]
    }


@pytest.mark.parametrize(
    ("ages", "sessions", "is_one"),
    [
        (["40", "42", ""], None, True),
        (["40", "43", "40"], None, False),
        (["40", "50", "50"], ["1", "2", "2"], True),  # ten years later
        (["40", "50", "44"], ["1", "2", "2"], False),  # both at the second visit
        (["50", "47", "47"], ["visit 9", "visit 10", "visit 11"], False),
        (["47", "50", "50"], ["visit 9", "visit 10", "visit 11"], True),
        (["50", "40", "40"], ["post", "pre", "pre"], True),  # nobody knows the order
        (["NA", "old", ""], None, True),
    ],
)
def test_ages(ages, sessions, is_one):
    columns = {"subject": ["a"] * 3, "Age": ages}
    if sessions:
        columns["session"] = sessions
    what = "values of 'Age' more than 2 years apart"
    assert found(**columns) == ({} if is_one else {what: ["a"]})


def test_a_label_that_nearly_nobody_changes():
    subjects = [f"p{i // 2:02d}" for i in range(80)]
    sick = [float(i // 2 % 2) for i in range(80)]
    varying = [float(i % 4 == 0) for i in range(80)]
    sick[7] = 0.0  # the second recording of p03
    columns = {"subject": subjects, "sick": sick, "low": varying}
    what = "both 0 and 1 of 'sick', which hardly anybody has"
    assert found(["sick", "low"], **columns) == {what: ["p03"]}
    columns["sick"] = [1 - s if i in (9, 11) else s for i, s in enumerate(sick)]
    assert found(["sick", "low"], **columns) == {}  # 3 of 40 are more than 5 %
    few = {key: values[:30] for key, values in columns.items()}
    assert found(["sick"], **few | {"sick": sick[:30]}) == {}  # of 15 subjects


def test_where_no_recording_can_be_used_there_are_none(tmp_path):
    assert contradictions([pd.DataFrame(), pd.DataFrame()], ["low"]) == []
    corpus = make_corpus(tmp_path / "corpus")
    (corpus / "audio").rename(tmp_path / "elsewhere")
    (corpus / "audio").mkdir()
    looked = train(corpus, tmp_path / "out", "--check_only=True")
    assert "there is no folder" in looked.stdout
    assert (looked.returncode, looked.stderr) == (3, "")
    assert "there is no folder" in failed(train(corpus, tmp_path / "out"))


def test_they_are_named_to_who_looks_and_not_in_logs(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    rows = read_csv(corpus / "splits" / "train.csv")
    rows[0]["sex"] = "m" if rows[0]["sex"] == "f" else "f"
    write_csv(corpus / "splits" / "train.csv", rows)
    shown = "1 subject with several values of 'sex': one code for two people?"
    looked = succeeded(train(corpus, tmp_path / "look", "--check_only=True"))
    assert f"warning: {shown} s00\n" in looked.stdout
    options = ("--number_of_epochs=1", "--val_size=0")
    result = succeeded(train(corpus, tmp_path / "out", *options))
    assert f"warning: {shown} s00\n" in result.stderr
    log = (tmp_path / "out" / "log.txt").read_text()
    assert f"{shown} (--check_only=True names them)" in log
    assert "s00" not in log and "s00" not in result.stdout
