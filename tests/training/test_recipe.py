"""The three scripts from end to end, as a user runs them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, read_csv, write_csv
from running import FAST, SMALL, evaluate, extract, failed, run_script, succeeded, train
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from local.training.train_log import read_train_log

NAMES = [label for group in LABELS for label in group]

#: Everything switched on that is off by default.
OPTIONS = (
    "--shared_dense=True",
    "--positive_weight=True",
    "--scheduler=onecycle",
    "--speed=0.5",
    "--gauss=0.5",
    "--freqm=4",
    "--timem=4",
    "--best_checkpoint=macro_auroc",
    "--audit=True",
    "--acoustic_baseline=True",
    "--report=True",
    "--subgroups=[sex]",
)


@pytest.fixture(scope="module")
def experiment(shared_corpus, tmp_path_factory):
    """A trained model, with everything switched on that is off by default."""
    folder = tmp_path_factory.mktemp("recipe") / "experiment"
    succeeded(train(shared_corpus, folder, *OPTIONS))
    return folder


def contents(folder):
    """Path → bytes of every file in a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_training_leaves_what_the_contract_names(experiment):
    names = {str(path.relative_to(experiment)) for path in experiment.rglob("*")}
    expected = {
        "hyperparams.yaml",
        "env.log",
        "log.txt",
        "train_log.txt",
        "train_log.jsonl",
        "train.py",
        "save/manifests/train.csv",
        "save/manifests/valid.csv",
        "save/manifests/test.csv",
        "predictions.csv",
        "metrics.json",
        "audit.json",
        "report.html",
        "model_card.md",
        "figures/roc.png",
        "figures/forest.png",
        "figures/training_curves.png",
        "save/operating_points.json",
        "save/measurements/train.parquet",
        "save/measurements/valid.parquet",
        "save/measurements/test.parquet",
    }
    assert expected <= names
    assert any(name.startswith("save/CKPT+") for name in names)


def test_every_epoch_is_logged_with_its_measures(experiment):
    lines = (experiment / "train_log.txt").read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "train loss: " in line and "valid loss: " in line
        assert "valid macro_auroc: " in line
        for name in NAMES:
            assert f"valid auroc {name}: " in line
    log = read_train_log(experiment / "train_log.jsonl")
    assert log["epoch"].tolist() == [1, 2] and log.notna().all(axis=None)


def test_predictions_have_a_row_per_test_recording_and_label(experiment, shared_corpus):
    rows = read_csv(experiment / "predictions.csv")
    test = read_csv(shared_corpus / "splits" / "test.csv")
    assert [(row["uid"], row["label"]) for row in rows] == [
        (recording["uid"], label) for recording in test for label in NAMES
    ]
    ratings = {row["uid"]: row for row in test}
    for row in rows:
        assert row["target"] == str(ratings[row["uid"]][row["label"]])
        assert row["subject"] == ratings[row["uid"]]["subject"]
    assert sum(row["target"] == "" for row in rows) == 1


def test_the_weight_of_positives_is_taken_out_of_probabilities(
    experiment, shared_corpus
):
    train_rows = read_csv(shared_corpus / "splits" / "train.csv")
    for row in read_csv(experiment / "predictions.csv"):
        ratings = [recording[row["label"]] for recording in train_rows]
        weight = ratings.count("0") / ratings.count("1")
        expected = expit(float(row["logit"]) - np.log(weight))
        assert float(row["probability"]) == pytest.approx(expected, abs=1e-6)


def test_metrics_are_those_of_the_predictions(experiment):
    rows = read_csv(experiment / "predictions.csv")
    found = json.loads((experiment / "metrics.json").read_text())
    for name in NAMES:
        rated = [row for row in rows if row["label"] == name and row["target"]]
        targets = [int(row["target"]) for row in rated]
        scores = [float(row["probability"]) for row in rated]
        assert found["labels"][name]["n"] == len(rated)
        assert found["labels"][name]["auroc"]["value"] == pytest.approx(
            roc_auc_score(targets, scores)
        )


def test_metrics_and_audit_have_what_the_contract_names(experiment):
    found = json.loads((experiment / "metrics.json").read_text())
    entries = ("auroc", "auprc", "log_loss", "brier", "sensitivity", "specificity")
    entries += ("ppv", "npv", "balanced_accuracy", "f1")
    for of in found["labels"].values():
        assert all({"value", "low", "high"} <= set(of[name]) for name in entries)
        numbers = {"ece", "calibration_slope", "prevalence"}
        assert numbers | {"calibration_intercept"} <= set(of)
        thresholds = [entry["threshold"] for entry in of["decision_curve"]]
        assert thresholds == [0.05, 0.1, 0.2, 0.3, 0.5]
        assert [entry["prevalence"] for entry in of["at_prevalences"]] == [0.05, 0.2]
        # three validation subjects are too few to choose on, and that is said
        assert of["threshold"]["value"] is None
        assert "10 subjects" in of["threshold"]["reason"]
    assert set(found["selective"]["labels"]) == set(NAMES)
    assert set(found["subgroups"]) == set(NAMES)
    assert set(found["baselines"]) == {"prevalence", "acoustic statistics"}
    assert found["per_subject"]["n_cases"] == 4
    audit = json.loads((experiment / "audit.json").read_text())
    assert audit["shared_subjects"] == audit["shared_audio"] == []
    for of in audit["labels"].values():
        assert of["status"] in ("flagged", "clear", "inconclusive", "not_computable")
        # of all splits together: 30 recordings, of which three are not rated
        assert of["capture_probe_auroc"]["n"] >= 27


def test_embeddings_of_any_model_are_a_baseline(experiment, tmp_path):
    """The label itself, as an embedding, tells the label."""
    rows = [
        (row["ID"], [float(row["low"]), 1.0])
        for split in ("train", "test")
        for row in read_csv(experiment / "save" / "manifests" / f"{split}.csv")
    ]
    pd.DataFrame(rows, columns=["uid", "embedding"]).to_parquet(
        tmp_path / "theirs.parquet"
    )
    shutil.copy(tmp_path / "theirs.parquet", tmp_path / "again.parquet")
    options = (
        f"--features=[{tmp_path / 'theirs.parquet'},{tmp_path / 'again.parquet'}]",
        f"--output_folder={tmp_path / 'out'}",
        "--acoustic_baseline=False",
        *FAST,
    )
    succeeded(evaluate(experiment, *options))
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["baselines"]
    for name in ("theirs", "again"):
        assert found[name]["labels"]["low"]["auroc"]["value"] == 1
    plain = found["acoustic statistics"]["labels"]["low"]
    assert "acoustic_baseline: False" in plain["reason"]
    assert not (tmp_path / "out" / "report.html").exists()
    pd.DataFrame(rows[1:], columns=["uid", "embedding"]).to_parquet(
        tmp_path / "theirs.parquet"
    )
    message = failed(evaluate(experiment, *options))
    assert f"training: no embedding of 1 recordings: {rows[0][0]}" in message


def test_evaluation_repeats_the_test_scores_and_changes_nothing(experiment):
    before = contents(experiment)
    succeeded(evaluate(experiment, "--subgroups=[sex]"))
    after = contents(experiment)
    log = experiment / "evaluation" / "test_evaluations.jsonl"
    assert after[log].startswith(before.pop(log))  # each evaluation is a line more
    assert {path: after[path] for path in before} == before
    again = experiment / "evaluation" / "test"
    for name in ("predictions.csv", "audit.json"):
        assert (again / name).read_bytes() == (experiment / name).read_bytes()
    found, first = (
        json.loads((folder / "metrics.json").read_text())
        for folder in (again, experiment)
    )
    lines = [json.loads(line) for line in after[log].splitlines()]
    asked = {(line["script"], str(line["changed"])) for line in lines}
    assert found.pop("n_test_evaluations") == len(asked)
    assert first.pop("n_test_evaluations") == 1
    assert found == first


#: train.py with an audit that fails.
BROKEN = """
import numpy as np
import train
from local.evaluation import confound_audit as audit
from local.utils import cli

def broken(*_args, **_kwargs):
    np.linalg.inv(np.zeros((2, 2)))

audit.audit_labels = broken
cli.run(train.main)
"""


def test_an_evaluation_is_not_lost_to_one_of_its_parts(
    experiment, shared_corpus, tmp_path
):
    copy, script = tmp_path / "copy", tmp_path / "broken.py"
    shutil.copytree(experiment, copy)
    script.write_text(BROKEN)
    command = (script, "hparams/train.yaml", f"--corpus_folder={shared_corpus}")
    options = [option for option in OPTIONS if option != "--report=True"]
    result = run_script(*command, f"--output_folder={copy}", *SMALL, *options)
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    reason = "it failed: LinAlgError: Singular matrix"
    failures = (of for of in result.stdout.splitlines() if "audit: it failed" in of)
    (line,) = failures
    line = line[line.index("audit: ") :]
    assert line.startswith(f"audit: {reason}.")
    kept = Path(line.split()[-1])
    assert "Traceback" in kept.read_text() and "broken" in kept.read_text()
    kept.unlink()
    found, before = (
        {
            name: json.loads((folder / name).read_text())
            for name in ("metrics.json", "audit.json")
        }
        for folder in (copy, experiment)
    )
    assert found["audit.json"]["reason"] == reason
    assert found["audit.json"]["labels"] == {}
    assert found["audit.json"]["label_shares"] == before["audit.json"]["label_shares"]
    assert found["metrics.json"].pop("failed_parts") == {"audit": reason}
    assert before["metrics.json"].pop("failed_parts") == {}
    for metrics in (found["metrics.json"], before["metrics.json"]):
        del metrics["n_test_evaluations"]
    assert found["metrics.json"] == before["metrics.json"]
    table = "predictions.csv"
    assert (copy / table).read_bytes() == (experiment / table).read_bytes()
    assert line in (copy / "log.txt").read_text()


@pytest.mark.parametrize(
    "split", ["test", "val.csv", pytest.param("manifest", marks=pytest.mark.repeats)]
)
def test_no_threshold_is_judged_by_those_who_chose_it(
    experiment, shared_corpus, tmp_path, split
):
    copy = tmp_path / "copy"
    shutil.copytree(experiment, copy)
    # three validation subjects are too few to choose one: here they have
    file = copy / "save" / "operating_points.json"
    points = json.loads(file.read_text())["labels"]
    for point in points.values():
        point["threshold"] = {
            "value": 0.5,
            "rule": "youden",
            "source": "validation",
            "n_positive_subjects": 3,
        }
    file.write_text(json.dumps({"labels": points}))
    csv = {
        "test": shared_corpus / "splits" / "test.csv",
        "val.csv": shared_corpus / "splits" / "val.csv",
        "manifest": copy / "save" / "manifests" / "valid.csv",
    }
    options = (f"--split_csv={csv[split]}", f"--output_folder={tmp_path / 'out'}")
    succeeded(evaluate(copy, *options, "--audit=False"))
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    judged = split == "test"
    assert found["n_subjects"] == (4 if judged else 3)
    for of in found["labels"].values():
        assert (of["threshold"]["value"] == 0.5) == judged
        assert (of["specificity"]["value"] is not None) == judged
        if not judged:
            assert "chosen on 3 of these subjects" in of["threshold"]["reason"]
    assert {row["predicted"] for row in rows} <= ({"0", "1"} if judged else {""})
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("3 of 3 subjects of this split were trained" in page) != judged


def test_a_moved_experiment_scores_another_split_without_bad_recordings(
    experiment, shared_corpus, tmp_path
):
    moved = tmp_path / "site=A" / "2024"
    moved.parent.mkdir()
    experiment.rename(moved)
    try:
        rows = read_csv(shared_corpus / "splits" / "val.csv")
        rows[1]["uid"] = "missing"
        write_csv(tmp_path / "other.csv", rows)
        options = (
            f"--split_csv={tmp_path / 'other.csv'}",
            f"--data_folder={shared_corpus / 'audio'}/",
            f"--output_folder={tmp_path / 'scores'}",
        )
        succeeded(evaluate(moved, *options, *FAST), status=3)
        assert not experiment.exists()  # the old place is not made again
    finally:
        moved.rename(experiment)
    scored = {row["uid"] for row in read_csv(tmp_path / "scores" / "predictions.csv")}
    assert scored == {row["uid"] for row in rows} - {"missing"}
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    own = json.loads((experiment / "metrics.json").read_text())
    assert metrics["internal"]["n_subjects"] == own["n_subjects"]
    for name, of in metrics["labels"].items():
        internal = metrics["internal"]["labels"][name]
        assert internal["auroc"] == own["labels"][name]["auroc"]
        assert of["recalibrated"]["in_the_large"]["reason"]  # of too few subjects
    left_out = read_csv(tmp_path / "scores" / "failed.csv")
    assert [row["uid"] for row in left_out] == ["missing"]
    assert left_out[0]["reason"]


@pytest.mark.parametrize(
    ("kind", "size"), [("pt", 12), ("st", 14), ("ft", 10)], ids=["pt", "st", "ft"]
)
def test_embeddings_come_in_the_order_of_the_csv(
    experiment, shared_corpus, tmp_path, kind, size
):
    uids = ["s12_1", "nowhere", "s03_0"]
    write_csv(tmp_path / "wanted.csv", [{"uid": uid} for uid in uids[:2]])
    write_csv(tmp_path / "more.csv", [{"uid": uids[2], "note": ""}])
    file = tmp_path / "embeddings.parquet"
    options = (
        f"--split_csv=[{tmp_path / 'wanted.csv'},{tmp_path / 'more.csv'}]",
        f"--data_folder={shared_corpus / 'audio'}",
        f"--embedding_type={kind}",
    )
    succeeded(extract(experiment, file, *options), status=3)
    table = pq.read_table(file)
    assert table.schema.field("uid").type == pa.string()
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), size)
    assert table["uid"].to_pylist() == uids
    vectors = table["embedding"].to_pylist()
    assert vectors[1] is None
    assert len(vectors[0]) == size and vectors[0] != vectors[2]
    metadata = table.schema.metadata
    assert metadata[b"embedding_type"].decode() == kind
    assert metadata[b"pooling_mode"] == b"mean"
    assert metadata[b"sample_rate"] == b"8000"
    assert metadata[b"checkpoint"].startswith(b"CKPT+")
    assert {"hyperparams_sha256", "versions"} <= {key.decode() for key in metadata}
    failed_rows = read_csv(tmp_path / "embeddings.parquet.failed.csv")
    assert [row["uid"] for row in failed_rows] == ["nowhere"]


def test_a_csv_of_bad_recordings_only_becomes_a_file_of_nulls(
    experiment, shared_corpus, tmp_path
):
    uids = ["nowhere", "neither"]
    write_csv(tmp_path / "wanted.csv", [{"uid": uid} for uid in uids])
    file = tmp_path / "embeddings.parquet"
    csv = f"--split_csv={tmp_path / 'wanted.csv'}"
    audio = f"--data_folder={shared_corpus / 'audio'}"
    failed(extract(experiment, file, csv, audio), status=3)
    table = pq.read_table(file)
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 12)
    assert table.to_pydict() == {"uid": uids, "embedding": [None, None]}
    left_out = read_csv(f"{file}.failed.csv")
    assert [row["uid"] for row in left_out] == uids
    assert all("no folder" in row["reason"] for row in left_out), left_out


def test_batches_give_the_embeddings_of_single_recordings(
    experiment, shared_corpus, tmp_path
):
    vectors = []
    for size in (1, 3):
        file = tmp_path / f"{size}.parquet"
        csv = f"--split_csv={shared_corpus / 'splits' / 'test.csv'}"
        succeeded(extract(experiment, file, csv, f"--eval_batch_size={size}"))
        vectors.append(np.array(pq.read_table(file)["embedding"].to_pylist()))
    alone, together = vectors
    difference, norm = (np.linalg.norm(of, axis=1) for of in (together - alone, alone))
    assert (difference / norm).max() < 1e-5
    assert not np.allclose(vectors[0][0], vectors[0][1], atol=1e-3)


def test_excluded_subjects_get_no_embedding(experiment, shared_corpus, tmp_path):
    list_file = shared_corpus / "excluded_subjects.txt"
    list_file.write_text("s12\n")
    try:
        write_csv(tmp_path / "wanted.csv", [{"uid": "s12_1"}, {"uid": "s03_0"}])
        csv = f"--split_csv={tmp_path / 'wanted.csv'}"
        succeeded(extract(experiment, tmp_path / "embeddings.parquet", csv))
    finally:
        list_file.unlink()
    table = pq.read_table(tmp_path / "embeddings.parquet")
    assert table["uid"].to_pylist() == ["s03_0"]


def test_check_only_shows_the_data_and_trains_nothing(corpus, tmp_path):
    (corpus / "audio" / "s03_0" / "waveform.wav").write_bytes(b"")
    result = train(corpus, tmp_path / "out", "--check_only=True")
    assert result.returncode == 3, result.stderr
    assert "s03_0" in result.stdout and "empty" in result.stdout
    found = json.loads((tmp_path / "out" / "inventory.json").read_text())
    assert found["splits"]["train"]["n_recordings"] == 15
    assert found["splits"]["train"]["n_subjects"] == 8
    assert found["splits"]["test"]["labels"]["loud"]["not_rated"] == 1
    assert [entry["uid"] for entry in found["unusable"]] == ["s03_0"]
    assert "\n".join(found["planned"]) in result.stdout
    assert found["planned"][1] == "  test"
    assert found["planned"][2].startswith("    low: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["inventory.json"]


def test_fbank_front_end_and_mixed_precision_train(shared_corpus, tmp_path):
    result = run_script(
        "train.py",
        "hparams/train_fbank.yaml",
        f"--corpus_folder={shared_corpus}",
        f"--output_folder={tmp_path / 'out'}",
        *SMALL,
        "--number_of_epochs=1",
        "--precision=bf16",
        "--eval_precision=bf16",
    )
    succeeded(result)
    assert (tmp_path / "out" / "metrics.json").exists()


def test_debug_trains_a_little_and_leaves_no_result_behind(shared_corpus, tmp_path):
    succeeded(train(shared_corpus, tmp_path / "out", "--debug"))
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert (tmp_path / "out" / "debug" / "metrics.json").exists()


def test_st_of_a_model_without_shared_layer_is_an_error(
    shared_experiment, shared_corpus, tmp_path
):
    csv = f"--split_csv={shared_corpus / 'splits' / 'test.csv'}"
    extracted = extract(
        shared_experiment, tmp_path / "x.parquet", csv, "--embedding_type=st"
    )
    assert "shared_dense" in failed(extracted)
    assert not (tmp_path / "x.parquet").exists()


def test_without_validation_the_last_epoch_counts(corpus, tmp_path):
    (corpus / "splits" / "val.csv").unlink()
    folder = tmp_path / "out"
    succeeded(train(corpus, folder, "--val_size=0", "--number_of_epochs=3"))
    assert len(read_csv(folder / "save" / "manifests" / "train.csv")) == 16
    assert not (folder / "save" / "manifests" / "valid.csv").exists()
    (checkpoint,) = (folder / "save").glob("CKPT+*")
    assert "epoch: 3" in (checkpoint / "CKPT.yaml").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["checkpoint"] == checkpoint.name
