"""evaluation.test_log: how often a test split was evaluated."""

import dataclasses
import json
import logging

import pandas as pd
import pytest

from local.evaluation.test_log import NO_LOG, TestLog

COMMAND = ["python", "evaluate.py", "hparams/evaluate.yaml"]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a log reads of an EvaluationResult."""

    metrics: dict
    provenance: dict


RESULT = Result({"checkpoint": "CKPT+1"}, {"date": "2026-01-31T12:00:00+00:00"})


def experiment(folder, uids):
    path = folder / "save" / "manifests" / "test.csv"
    path.parent.mkdir(parents=True)
    pd.DataFrame({"ID": list(uids), "subject": "p1"}).to_csv(path, index=False)
    return folder


def log_of(folder, uids, *options, copy=None):
    manifest = pd.DataFrame({"ID": list(uids)})
    return TestLog.of(manifest, folder, copy or folder, [*COMMAND, *options])


def evaluated(log):
    """The count that an evaluation gets."""
    counted = log.counted(RESULT)
    log.add(counted)
    return counted.metrics.get("n_test_evaluations")


def lines(folder):
    text = (folder / "evaluation" / "test_evaluations.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_each_evaluation_is_a_line(tmp_path):
    folder = experiment(tmp_path / "mine", "abc")
    options = (
        "--experiment_folder=results/p01",
        "--window_pooling=max",
        "--device=cpu",
    )
    assert evaluated(log_of(folder, "abc")) == 1
    assert evaluated(log_of(folder, "cba", *options)) == 2
    assert evaluated(log_of(folder, "abcd", "--audit=False")) == 3  # a CSV with it
    assert evaluated(log_of(folder, "cba", *options)) == 3  # tells nothing new
    assert len(lines(folder)) == 4
    first, second, *_ = lines(folder)
    assert first["changed"] == {} and first["script"] == "evaluate.py"
    assert first["checkpoint"] == "CKPT+1" and first["date"].startswith("2026-01-31")
    assert second["changed"] == {"window_pooling": "max"}  # and no place
    assert "p01" not in json.dumps(second)


def test_other_recordings_are_not_counted(tmp_path):
    folder = experiment(tmp_path / "mine", "abc")
    for log in (log_of(folder, "ab"), log_of(tmp_path / "none", "abc"), NO_LOG):
        assert evaluated(log) is None
        assert log.counted(RESULT) is RESULT
    assert not (folder / "evaluation").exists()


def test_experiments_beside_it_count_if_their_test_split_is_the_same(tmp_path):
    same, other = (experiment(tmp_path / n, u) for n, u in (("s", "ab"), ("o", "ac")))
    folder = experiment(tmp_path / "mine", "ba")
    assert evaluated(log_of(same, "ab", "--seed=1")) == 1
    assert evaluated(log_of(same, "ab", "--seed=2")) == 2
    assert evaluated(log_of(other, "ac", "--seed=3")) == 1
    assert evaluated(log_of(folder, "ab", "--seed=4")) == 3
    assert evaluated(log_of(folder, "ab", "--seed=5")) == 4


def test_that_of_an_experiment_in_a_bucket_counts_with_the_local_one(tmp_path):
    copy, home = experiment(tmp_path / "cache" / "x", "ab"), tmp_path / "results" / "x"
    home.mkdir(parents=True)
    assert evaluated(log_of(copy, "ab")) == 1
    assert evaluated(log_of(home, "ab", "--audit=False", copy=copy)) == 2
    assert len(lines(copy)) == len(lines(home)) == 1


def test_a_folder_that_can_not_be_written_to_fails_nothing(tmp_path, caplog):
    folder = experiment(tmp_path / "mine", "ab")
    (folder / "evaluation").write_text("a file in its place")
    with caplog.at_level(logging.WARNING):
        assert evaluated(log_of(folder, "ab")) == 1
    assert "This evaluation of the test split is not counted" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_a_link_out_of_the_experiment_is_not_followed(tmp_path, caplog):
    folder, elsewhere = experiment(tmp_path / "mine", "ab"), tmp_path / "elsewhere"
    elsewhere.write_text("")
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "test_evaluations.jsonl").symlink_to(elsewhere)
    evaluated(log_of(folder, "ab"))
    assert elsewhere.read_text() == "" and "leads out" in caplog.text


@pytest.mark.parametrize("torn", ['{"date": "20', "[1]", "\n"])
def test_half_a_line_is_no_evaluation(tmp_path, torn):
    folder = experiment(tmp_path / "mine", "ab")
    evaluated(log_of(folder, "ab"))
    with (folder / "evaluation" / "test_evaluations.jsonl").open("a") as stream:
        stream.write(torn)
    assert evaluated(log_of(folder, "ab", "--audit=False")) == 2
