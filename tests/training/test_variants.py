"""Kinds of labels, front ends and lengths, from training to evaluation."""

import json

import numpy as np
import pytest
from conftest import read_csv, write_csv
from running import evaluate, failed, succeeded, train
from sklearn.metrics import mean_absolute_error, roc_auc_score

from recipes.demo.ablation import make_rooms

pytestmark = pytest.mark.unmeasured


def as_severity(corpus):
    """Make `loud` a score from 0 to 100 that goes with the label, unrated ones stay."""
    for path in (corpus / "splits").glob("*.csv"):
        rows = read_csv(path)
        for i, row in enumerate(rows):
            if row["loud"]:
                row["loud"] = str(10 + 60 * int(row["loud"]) + 2.5 * (i % 4))
        write_csv(path, rows)


def results(folder):
    """metrics.json, and the rated rows of predictions.csv by label."""
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = [row for row in read_csv(folder / "predictions.csv") if row["target"]]
    labels = {row["label"] for row in rows}
    return metrics, {
        label: [row for row in rows if row["label"] == label] for label in labels
    }


def numbers(rows, column):
    return np.array([float(row[column]) for row in rows])


def check_binary(measured, rows):
    probability = numbers(rows, "probability")
    target = numbers(rows, "target")
    assert measured["auroc"]["value"] == pytest.approx(
        roc_auc_score(target, probability)
    )
    assert probability == pytest.approx(1 / (1 + np.exp(-numbers(rows, "logit"))))


def check_score(measured, rows):
    assert {row["probability"] for row in rows} == {""}
    target, predicted = numbers(rows, "target"), numbers(rows, "logit")
    expected = mean_absolute_error(target, predicted)
    assert measured["mae"]["value"] == pytest.approx(expected)
    assert "auroc" not in measured and "icc" in measured


def evaluated_again(folder, report=False):
    """evaluate.py on the test split gives the same predictions; its folder."""
    succeeded(evaluate(folder, "--audit=False", f"--report={report}"))
    again = folder / "evaluation" / "test"
    first, second = (path / "predictions.csv" for path in (folder, again))
    assert first.read_bytes() == second.read_bytes()
    return again


def test_scores_beside_classes(corpus, tmp_path):
    as_severity(corpus)
    folder = tmp_path / "out"
    kinds = "--label_types={loud: {type: score, range: [0, 100]}}"
    succeeded(train(corpus, folder, kinds, "--mixup=0.5"))
    metrics, rows = results(folder)
    check_binary(metrics["labels"]["low"], rows["low"])
    check_score(metrics["labels"]["loud"], rows["loud"])
    given = read_csv(corpus / "splits" / "test.csv")
    expected = {row["uid"]: float(row["loud"]) for row in given if row["loud"]}
    assert len(set(expected.values())) > 2  # no 0/1 label
    assert {row["uid"]: float(row["target"]) for row in rows["loud"]} == expected
    again = evaluated_again(folder, report=True)
    assert (again / "figures" / "scores.png").exists()
    log = (folder / "train_log.txt").read_text()
    assert "valid mae loud" in log and "valid auroc low" in log


def test_all_labels_as_scores_of_whole_recordings(shared_corpus, tmp_path):
    folder = tmp_path / "out"
    options = ("--loss=mse", "--clip_length=0", "--mixup=0.5", "--noise=True")
    succeeded(train(shared_corpus, folder, *options, "--stretch=0.5"))
    metrics, rows = results(folder)
    for label in ("low", "loud", "noisy"):
        check_score(metrics["labels"][label], rows[label])
    assert metrics["macro"]["auroc"]["value"] is None
    again = evaluated_again(folder, report=True)
    assert not (again / "figures" / "roc.png").exists()


def test_ratings_outside_the_range_are_named(corpus, tmp_path):
    as_severity(corpus)
    kinds = "--label_types={loud: {type: score, range: [0, 50]}}"
    message = failed(train(corpus, tmp_path / "out", kinds))
    assert "something else than the range 0 to 50" in message


def test_the_originals_front_end_and_model(shared_corpus, tmp_path):
    folder = tmp_path / "out"
    options = ("--n_mfcc=20", "--shared_dense=True", "--layernorm=True", "--gauss=0.5")
    succeeded(train(shared_corpus, folder, *options, yaml="train_original.yaml"))
    metrics, rows = results(folder)
    check_binary(metrics["labels"]["low"], rows["low"])
    evaluated_again(folder)


def test_a_filterbank_of_fixed_length(shared_corpus, tmp_path):
    folder = tmp_path / "out"
    options = ("--target_length=50", "--dataset_mean=-6", "--dataset_std=4")
    succeeded(train(shared_corpus, folder, *options, yaml="train_fbank.yaml"))
    metrics, rows = results(folder)
    check_binary(metrics["labels"]["low"], rows["low"])
    evaluated_again(folder)


def test_folders_of_noise_are_needed_for_training_only(shared_corpus, tmp_path):
    """An experiment may be evaluated on another machine."""
    rooms, folder = tmp_path / "rooms", tmp_path / "out"
    make_rooms(rooms, n_rooms=2)
    options = ("--reverb=0.5", f"--reverb_folder={rooms}")
    succeeded(train(shared_corpus, folder, *options))
    make_rooms(rooms, n_rooms=3)
    message = failed(train(shared_corpus, folder, *options, "--number_of_epochs=3"))
    assert "files in reverb_folder: '2 files" in message  # other rooms, other draws
    rooms.rename(tmp_path / "elsewhere")
    evaluated_again(folder)
