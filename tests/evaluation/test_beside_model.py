"""A model beside baselines: tables of their predictions, differences in pairs."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.metrics import average_precision_score, roc_auc_score

from local.data.labels import LabelType
from local.data.predictions_table import predictions_table, read_predictions
from local.evaluation import baselines, learning_curve, parts
from local.evaluation.baselines import ACOUSTIC, PREVALENCE
from local.evaluation.beside_model import baseline_tables, with_differences
from local.evaluation.evaluate import evaluate
from local.evaluation.scored_split import ScoredSplit
from local.metrics.comparison import compare
from local.report.writing import write_results
from local.training.evaluation_settings import EvaluationSettings

NAMES = ["low", "loud"]
N_SUBJECTS, N_EACH, N_FOLDS = 40, 3, 4


def make_manifest(seed=0):
    """A manifest, and features of which the first tells `low` and the second `loud`."""
    generator = np.random.default_rng(seed)
    subjects = np.repeat([f"p{i:02}" for i in range(N_SUBJECTS)], N_EACH)
    features = generator.normal(size=(len(subjects), 4))
    targets = features[:, :2] + generator.logistic(size=(len(subjects), 2)) > 0
    manifest = pd.DataFrame(
        {"ID": [f"r{i:03}" for i in range(len(subjects))], "subject": subjects}
    )
    manifest[NAMES] = targets.astype(float)
    manifest.loc[::11, "low"] = np.nan
    return manifest, features


def model_table(manifest, split="test", seed=5):
    """A model that has learned something of each label."""
    generator = np.random.default_rng(seed)
    targets = manifest[NAMES].to_numpy()
    logits = generator.normal(size=targets.shape) + np.nan_to_num(targets)
    recordings = manifest.rename(columns={"ID": "uid"})[["uid", "subject"]]
    recordings = recordings.assign(session="")
    table = predictions_table(recordings, NAMES, targets, logits, [0, 0], split, None)
    return table.assign(split=split)


def fold_of(manifest):
    return manifest["subject"].str[1:].astype(int) % N_FOLDS


def scored_of(manifest, features, table, **changes):
    frame = pd.DataFrame(
        features, columns=[f"acoustic_{i}" for i in range(features.shape[1])]
    )
    known = {
        "name": "test",
        "manifest": manifest,
        "measurements": frame.assign(ID=manifest["ID"], audio_sha256=manifest["ID"]),
        "table": table,
        "label_groups": [NAMES],
        "types": {name: LabelType() for name in NAMES},
        "points": {},
        "evaluation": EvaluationSettings(report=False, audit=False, seed=1),
        "command": ["python"],
    }
    return ScoredSplit(**(known | changes))


@pytest.fixture(scope="module")
def beside():
    """Results and tables of two baselines, and what they stand beside."""
    train, known = make_manifest(1)
    manifest, features = make_manifest(2)
    given = {ACOUSTIC: (known, features), "other": "no file"}
    results, probabilities = baselines.baseline_results(train, manifest, NAMES, given)
    table = model_table(manifest)
    tables = baseline_tables(table, manifest["ID"], NAMES, probabilities)
    return with_differences(results, tables, table), tables, table, probabilities


def test_tables_hold_the_probabilities(beside):
    _, tables, table, probabilities = beside
    assert list(tables) == [PREVALENCE, ACOUSTIC]
    own = tables[ACOUSTIC]
    assert len(own) == len(table) and list(own) == list(table)
    assert own["uid"].tolist() == table["uid"].tolist()
    low = own[own["label"] == "low"]
    assert low["probability"].tolist() == probabilities[ACOUSTIC][:, 0].tolist()
    assert np.allclose(low["logit"], logit(low["probability"]))
    assert low["predicted"].isna().all()
    assert low["target"].isna().sum() == 11


def test_differences_are_those_of_compare(beside):
    results, tables, table, _ = beside
    expected = compare({"model": table, "acoustic": tables[ACOUSTIC]})
    pair = "model - acoustic"
    for name in NAMES:
        entry = results[ACOUSTIC]["labels"][name]
        assert entry["difference"] == pytest.approx(
            expected["labels"][name]["differences"][pair]
        )
        auroc = expected["labels"][name]["auroc"]
        assert entry["auroc"]["value"] == pytest.approx(auroc["acoustic"])
        assert entry["verdict"] in ("not distinguishable", "below", "above")
    macro = results[ACOUSTIC]["macro"]
    assert macro["difference"] == pytest.approx(expected["macro"]["differences"][pair])
    mean = expected["macro"]["auroc"]["acoustic"]
    assert macro["auroc"]["value"] == pytest.approx(mean)
    assert macro["auroc"]["low"] < mean < macro["auroc"]["high"]
    assert macro["n_labels"] == 2
    assert "difference" not in results[PREVALENCE]["labels"]["low"]
    assert results["other"]["labels"]["low"] == {"reason": "no file"}
    json.dumps(results, allow_nan=False)


def test_recordings_without_features_are_in_no_pair():
    train, known = make_manifest(1)
    manifest, features = make_manifest(2)
    features[:30] = np.nan
    given = {ACOUSTIC: (known, features)}
    results, probabilities = baselines.baseline_results(train, manifest, NAMES, given)
    table = model_table(manifest)
    tables = baseline_tables(table, manifest["ID"], NAMES, probabilities)
    assert set(table["uid"]) - set(tables[ACOUSTIC]["uid"]) == {
        f"r{i:03}" for i in range(30)
    }
    rest = table[table["uid"] >= "r030"]
    expected = compare({"model": rest, "acoustic": tables[ACOUSTIC]})["labels"]["low"]
    found = with_differences(results, tables, table)[ACOUSTIC]["labels"]["low"]
    assert found["difference"]["low"] == pytest.approx(
        expected["differences"]["model - acoustic"]["low"]
    )


# Cross-validation


def test_out_of_fold_predictions_are_of_the_other_folds():
    manifest, features = make_manifest()
    folds = fold_of(manifest).to_numpy()
    results, probabilities = baselines.out_of_fold(
        manifest, folds, NAMES, {ACOUSTIC: features}
    )
    out = folds == 2
    subjects = manifest["subject"].to_numpy(dtype=object)
    expected, _ = baselines.logistic_baseline(
        features[~out],
        manifest["low"].to_numpy()[~out],
        subjects[~out],
        features[out],
        0,
    )
    assert probabilities[ACOUSTIC][out, 0] == pytest.approx(expected)
    share = manifest["low"][~out].mean()
    assert np.allclose(probabilities[PREVALENCE][out, 0], share)
    rated = manifest["low"].notna().to_numpy()
    for measure, function in (
        ("auroc", roc_auc_score),
        ("auprc", average_precision_score),
    ):
        within = [
            function(manifest["low"][part], probabilities[ACOUSTIC][part, 0])
            for part in (rated & (folds == fold) for fold in range(N_FOLDS))
        ]
        entry = results[ACOUSTIC]["labels"]["low"][measure]
        assert entry["value"] == pytest.approx(np.mean(within))
    assert results[ACOUSTIC]["labels"]["low"]["auroc"]["low"] is not None
    assert results[PREVALENCE]["labels"]["low"]["auroc"]["value"] == 0.5


def test_a_fold_that_can_learn_nothing_has_no_predictions():
    manifest, features = make_manifest()
    folds = fold_of(manifest).to_numpy()
    manifest.loc[folds > 0, "low"] = 0.0
    manifest["loud"] = 1.0
    results, probabilities = baselines.out_of_fold(
        manifest, folds, NAMES, {ACOUSTIC: features}
    )
    known = ~np.isnan(probabilities[ACOUSTIC][:, 0])
    assert np.array_equal(known, folds > 0)
    assert "are positive" in results[ACOUSTIC]["labels"]["loud"]["reason"]


def test_out_of_fold_predictions_stand_beside_baselines(tmp_path):
    manifest, features = make_manifest()
    of_rows = fold_of(manifest)
    table = model_table(manifest)
    by_uid = dict(zip(manifest["ID"], of_rows, strict=True))
    table["split"] = [f"fold {by_uid[uid] + 1}" for uid in table["uid"]]
    scored = scored_of(manifest, features, table)
    assert scored.folds["r000"] == "fold 1"
    result = evaluate(scored)
    assert result.failures.reasons == {}
    write_results(result, tmp_path)
    own = read_predictions(tmp_path / "baselines" / "acoustic.csv")
    assert set(own["split"]) == {f"fold {i}" for i in range(1, N_FOLDS + 1)}
    expected = compare({"model": table, "acoustic": own}, scored.folds)
    found = result.metrics["baselines"][ACOUSTIC]
    for name in NAMES:
        difference = expected["labels"][name]["differences"]["model - acoustic"]
        assert found["labels"][name]["difference"] == pytest.approx(difference)
    difference = expected["macro"]["differences"]["model - acoustic"]
    assert found["macro"]["difference"] == pytest.approx(difference)
    assert "learning_curve" not in result.metrics
    # the same people in two splits are no folds
    crossed = table.assign(split=["fold 1", "fold 2"] * (len(table) // 2))
    other = dataclasses.replace(scored, table=crossed)
    assert other.folds is None
    reason = parts.beside_baselines(other)[ACOUSTIC]["labels"]["low"]["reason"]
    assert reason == parts.NO_TRAINING and other.baselines == {}


def test_a_cross_validation_has_a_learning_curve_on_request(monkeypatch):
    monkeypatch.setattr(learning_curve, "SHARES", (1.0,))
    monkeypatch.setattr(learning_curve, "N_DRAWS", 2)
    manifest, features = make_manifest()
    table = model_table(manifest)
    asked = EvaluationSettings(
        report=False, audit=False, learning_curve=True, subgroups=[], seed=1
    )
    scored = scored_of(manifest, features, table, evaluation=asked)
    assert "learning_curve" not in evaluate(scored).metrics  # no folds
    by_uid = dict(zip(manifest["ID"], fold_of(manifest), strict=True))
    table["split"] = [f"fold {by_uid[uid] + 1}" for uid in table["uid"]]
    (step,) = evaluate(dataclasses.replace(scored, table=table)).metrics[
        "learning_curve"
    ]
    assert step["n_subjects"] == N_SUBJECTS and step["auroc"]["mean"] > 0.6
