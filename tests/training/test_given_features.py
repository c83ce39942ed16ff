"""hparams/train_features.yaml: a head on features from a file, without any audio."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, read_csv
from running import evaluate, extract, failed, run_script, succeeded

from local.data.feature_table import FeatureTable
from local.data.labels import flatten
from local.inference.classifier import ClinicalClassifier
from local.utils.errors import UserError

NAMES = flatten(LABELS)


def train_features(corpus, folder, features, *options):
    return run_script(
        *("train.py", "hparams/train_features.yaml", f"--corpus_folder={corpus}"),
        *(f"--output_folder={folder}", f"--features={features}", "--device=cpu"),
        *options,
    )


@pytest.fixture(scope="module")
def corpus(shared_corpus, tmp_path_factory):
    """CSVs and labels.txt alone, with a number per label that says a lot of it."""
    folder = tmp_path_factory.mktemp("features") / "corpus"
    shutil.copytree(shared_corpus / "splits", folder / "splits")
    shutil.copy(shared_corpus / "labels.txt", folder)
    rows = [row for file in folder.glob("splits/*.csv") for row in read_csv(file)]
    generator = np.random.default_rng(1)
    columns = {"uid": [row["uid"] for row in rows], "note": ["text"] * len(rows)}
    for name in NAMES:
        rated = np.array([float(row[name] or 0.5) for row in rows])
        columns[f"of {name}"] = rated + 0.2 * generator.normal(size=len(rows))
    columns["of low"][0] = np.nan
    columns["count"] = range(len(rows))
    pd.DataFrame(columns).to_parquet(folder / "features.parquet")
    return folder


@pytest.fixture(scope="module")
def experiment(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "experiment"
    succeeded(train_features(corpus, folder, corpus / "features.parquet"))
    return folder


def logits(folder):
    rows = read_csv(folder / "predictions.csv")
    return {(row["uid"], row["label"]): float(row["logit"]) for row in rows}


def test_it_learns_from_them_and_says_which_weigh(experiment):
    metrics = json.loads((experiment / "metrics.json").read_text())
    assert metrics["failed_parts"] == {}
    assert metrics["macro"]["auroc"]["value"] > 0.75  # by chance 0.5
    low = metrics["labels"]["low"]
    assert low["weights"] or low["weights_reason"]
    assert not list((experiment / "save").rglob("*.npz"))
    assert (experiment / "report.html").is_file()


def test_evaluation_takes_the_features_of_its_split(experiment, corpus, tmp_path):
    test = corpus / "splits/test.csv"
    shuffled = pd.read_parquet(corpus / "features.parquet")
    shuffled = shuffled[shuffled["uid"].isin({row["uid"] for row in read_csv(test)})]
    shuffled[[*reversed(shuffled.columns)]].to_parquet(tmp_path / "test.parquet")
    features = f"--features={tmp_path / 'test.parquet'}"
    succeeded(evaluate(experiment, f"--split_csv={test}", features))
    scored = logits(experiment / "evaluation/test")
    assert scored == pytest.approx(logits(experiment), abs=1e-5)
    shuffled.drop(columns="count").to_parquet(tmp_path / "less.parquet")
    less = evaluate(
        experiment, f"--split_csv={test}", f"--features={tmp_path / 'less.parquet'}"
    )
    assert "lacks 1 of the 4 columns" in failed(less) and "count" in less.stderr


def test_embeddings_are_the_standardised_features(experiment, corpus, tmp_path):
    csv = f"--split_csv={corpus / 'splits/test.csv'}"
    succeeded(extract(experiment, tmp_path / "pt.parquet", csv))
    values = np.stack(pq.read_table(tmp_path / "pt.parquet")["embedding"].to_pylist())
    assert values.shape[1] == len(NAMES) + 1 and np.isfinite(values).all()


def test_all_recordings_without_a_row_are_told_at_once(corpus, tmp_path):
    table = pd.read_parquet(corpus / "features.parquet")
    train = [row["uid"] for row in read_csv(corpus / "splits/train.csv")][:2]
    test = read_csv(corpus / "splits/test.csv")[0]["uid"]
    lacking, features = [*train, test], tmp_path / "some.parquet"
    empty = table["uid"] == read_csv(corpus / "splits/test.csv")[1]["uid"]
    table.loc[empty, table.columns.difference(["uid", "note"])] = np.nan
    table[~table["uid"].isin(lacking)].to_parquet(features)
    message = failed(train_features(corpus, tmp_path / "out", features))
    assert "has no row of it" in message and "has no number of it" in message
    assert all(uid in message for uid in [*lacking, *table["uid"][empty]])


def test_what_needs_audio_is_refused(experiment, corpus, tmp_path):
    features = corpus / "features.parquet"
    asked = train_features(corpus, tmp_path / "out", features, "--audit=True")
    assert "audit: True needs audio" in failed(asked)
    nothing = run_script(
        *("train.py", "hparams/train_features.yaml", f"--corpus_folder={corpus}")
    )
    assert "give --features=FILE.parquet" in failed(nothing)
    option = f"--experiment_folder={experiment}"
    (tmp_path / "a.wav").touch()
    for command in (
        ("predict.py", tmp_path / "a.wav", option),
        ("export.py", option, f"--output_folder={tmp_path / 'exported'}"),
    ):
        assert "features that were computed elsewhere" in failed(run_script(*command))
    with pytest.raises(UserError, match="can't be asked about audio"):
        ClinicalClassifier.from_hparams(source=str(experiment))


def test_a_cross_validation_of_features(corpus, tmp_path):
    options = ("--n_folds=2", "--report=False", "--device=cpu")
    succeeded(
        run_script(
            *("cross_validate.py", "hparams/train_features.yaml", *options),
            *(f"--corpus_folder={corpus}", f"--output_folder={tmp_path / 'cv'}"),
            f"--features={corpus / 'features.parquet'}",
        )
    )
    metrics = json.loads((tmp_path / "cv/metrics.json").read_text())
    assert metrics["macro"]["auroc"]["value"] > 0.7
    weights = metrics["labels"]["low"]["weights"]
    if weights:
        assert weights[0]["low"] <= weights[0]["weight"] <= weights[0]["high"]


def test_lists_of_embeddings_are_features_too(tmp_path):
    lists = [[1.0, 2.0], None, [3.0, 4.0]]
    table = pa.table({"uid": ["a", "b", "c"], "embedding": lists})
    pq.write_table(table, tmp_path / "e.parquet")
    features = FeatureTable(tmp_path / "e.parquet")
    assert features.names == ["embedding_0", "embedding_1"]
    assert features.vector("c").tolist() == [3, 4]
    assert features.vector("b").isnan().all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "x": [1.0]}, "found: id, x"),
        ({"uid": ["a"], "x": ["text"]}, "found no numbers"),
        ({"uid": ["a", "a"], "x": [1.0, 2.0]}, "several rows of"),
        ({"uid": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}, "of one length"),
    ],
)
def test_other_files_are_refused(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=message):
        FeatureTable(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="expected parquet with a column uid"):
        FeatureTable(tmp_path / "x.parquet")
