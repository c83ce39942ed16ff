"""hparams/train_ssl.yaml: a frozen encoder, from training to predictions."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import read_csv
from encoders import SIZE, make_encoder
from running import evaluate, extract, failed, run_script, succeeded

from local.inference.classifier import ClinicalClassifier

FAST = ("--audit=False", "--report=False", "--acoustic_baseline=False")
OPTIONS = ("--device=cpu", "--ssl_window=1.0", *FAST)


def train_ssl(corpus, source, folder, *options):
    return run_script(
        *("train.py", "hparams/train_ssl.yaml", f"--corpus_folder={corpus}"),
        *(f"--ssl_source={source}", f"--output_folder={folder}", *OPTIONS, *options),
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "wavlm", "wavlm")


@pytest.fixture(scope="module")
def experiment(shared_corpus, source, tmp_path_factory):
    """Its source is gone afterwards."""
    folder = tmp_path_factory.mktemp("ssl")
    moved = source.rename(folder / "source")
    succeeded(train_ssl(shared_corpus, moved, folder / "experiment"))
    moved.rename(source)
    return folder / "experiment"


def logits(folder):
    rows = read_csv(folder / "predictions.csv")
    return {(row["uid"], row["label"]): float(row["logit"]) for row in rows}


def test_it_learns_and_says_the_same_again(experiment):
    """Even a random encoder hears a tone's frequency."""
    metrics = json.loads((experiment / "metrics.json").read_text())
    assert metrics["labels"]["low"]["auroc"]["value"] > 0.9
    succeeded(evaluate(experiment, *FAST[:2]))
    scored = logits(experiment / "evaluation" / "test")
    assert scored == pytest.approx(logits(experiment), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("options", [("--eval_batch_size=4",), ("--num_workers=2",)])
def test_it_is_the_same_at_other_settings_of_work(
    experiment, source, shared_corpus, tmp_path, options
):
    succeeded(train_ssl(shared_corpus, source, tmp_path / "a", *options))
    assert logits(tmp_path / "a") == pytest.approx(logits(experiment), abs=1e-4)


def test_embeddings_are_of_the_chosen_layer(
    experiment, source, shared_corpus, tmp_path
):
    csv = f"--split_csv={shared_corpus / 'splits/test.csv'}"
    data = f"--data_folder={shared_corpus / 'audio'}"
    options = (csv, data, "--embedding_type=pt")
    succeeded(extract(experiment, tmp_path / "mean.parquet", *options))
    succeeded(train_ssl(shared_corpus, source, tmp_path / "second", "--ssl_layer=2"))
    succeeded(extract(tmp_path / "second", tmp_path / "second.parquet", *options))
    mean, second = (
        np.stack(pq.read_table(tmp_path / f"{name}.parquet")["embedding"].to_pylist())
        for name in ("mean", "second")
    )
    assert mean.shape[1] == second.shape[1] == SIZE
    assert not np.allclose(mean, second, atol=1e-3)


def test_other_ways_to_ask_it(experiment, shared_corpus, tmp_path):
    uid = read_csv(shared_corpus / "splits/test.csv")[0]["uid"]
    file = shared_corpus / "audio" / uid / "waveform.wav"
    expected = {
        label: value
        for (name, label), value in logits(experiment).items()
        if name == uid
    }
    model = ClinicalClassifier.from_hparams(source=str(experiment))
    said = {label: of["logit"] for label, of in model.classify_file(file).items()}
    assert said == pytest.approx(expected, abs=1e-4)
    options = (f"--experiment_folder={experiment}", "--json")
    told = json.loads(succeeded(run_script("predict.py", file, *options)).stdout)
    (recording,) = told["recordings"]
    said = {label: of["logit"] for label, of in recording["labels"].items()}
    assert said == pytest.approx(expected, abs=1e-4)
    folder = f"--output_folder={tmp_path / 'export'}"
    told = failed(run_script("export.py", options[0], folder))
    assert "holds a pretrained encoder" in told


def test_the_second_time_nothing_is_encoded(
    experiment, source, shared_corpus, tmp_path
):
    """Of a cache that was made with other numbers these are read."""
    cache = tmp_path / "cache"
    option = f"--feature_cache={cache}"
    succeeded(train_ssl(shared_corpus, source, tmp_path / "a", option))
    files = sorted(cache.glob("*.npz"))
    assert len(files) == 30  # one per recording
    assert logits(tmp_path / "a") == pytest.approx(logits(experiment), abs=1e-4)
    for file in files:
        with np.load(file) as arrays:
            assert arrays["features"].shape == (3, SIZE)
        np.savez(file, features=np.zeros((3, SIZE), "float32"))
    # another layer is of the same features
    succeeded(train_ssl(shared_corpus, source, tmp_path / "b", option, "--ssl_layer=1"))
    assert len({*logits(tmp_path / "b").values()}) == 3  # the same for all, by label
    assert sorted(cache.glob("*.npz")) == files


def test_a_source_that_is_none_is_told_before_the_corpus_is_read(
    shared_corpus, tmp_path
):
    for command in ("train.py", "cross_validate.py"):
        run = run_script(
            *(command, "hparams/train_ssl.yaml", f"--corpus_folder={shared_corpus}"),
            *(f"--ssl_source={tmp_path}", f"--output_folder={tmp_path / 'out'}"),
        )
        told = failed(run)
        assert "is no folder of a pretrained encoder" in told
        assert not (tmp_path / "out").exists()
