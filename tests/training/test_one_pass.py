"""training.one_pass: hparams/train_statistics.yaml, from training to predictions."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from conftest import LABELS, RATE, read_csv
from running import (
    evaluate,
    extract,
    failed,
    run_script,
    succeeded,
)

from local.data.labels import flatten
from local.inference.classifier import ClinicalClassifier
from local.model import recording_statistics
from local.model.recording_statistics import RecordingStatistics

#: Those of train.yaml's keys that it has too, for the tiny corpus.
OPTIONS = (f"--sample_rate={RATE}", "--device=cpu", "--acoustic_baseline=False")
FAST = ("--audit=False", "--report=False")


def train_statistics(corpus, folder, *options):
    return run_script(
        *("train.py", "hparams/train_statistics.yaml", f"--corpus_folder={corpus}"),
        f"--output_folder={folder}",
        *(*OPTIONS, *FAST, *options),
    )


@pytest.fixture(scope="module")
def experiment(shared_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("statistics") / "experiment"
    succeeded(train_statistics(shared_corpus, folder))
    return folder


def logits(folder):
    rows = read_csv(folder / "predictions.csv")
    return {(row["uid"], row["label"]): float(row["logit"]) for row in rows}


def test_it_learns_and_says_the_same_again(experiment):
    """The corpus's labels are pitch, amplitude modulation and noise: a few numbers."""
    metrics = json.loads((experiment / "metrics.json").read_text())
    assert metrics["macro"]["auroc"]["value"] > 0.9
    log = (experiment / "log.txt").read_text()
    assert log.count("inverse penalty") == len(flatten(LABELS))
    again = succeeded(evaluate(experiment, *FAST))
    assert "Everything is in" in again.stdout
    scored = logits(experiment / "evaluation" / "test")
    assert scored == pytest.approx(logits(experiment), rel=1e-5)


#: train.py, which is asked to stop once the heads are fitted.
STOPPED = """
import os, signal
import train
from local.training.one_pass import OnePassBrain
from local.utils import cli

learn = OnePassBrain._learn

def learn_and_be_stopped(self, *batches):
    loss = learn(self, *batches)
    os.kill(os.getpid(), signal.SIGTERM)
    return loss

OnePassBrain._learn = learn_and_be_stopped
cli.run(train.main, goes_on=True)
"""


def test_a_run_that_was_stopped_in_validation_goes_on(
    experiment, shared_corpus, tmp_path
):
    (tmp_path / "stopped.py").write_text(STOPPED)
    folder = tmp_path / "experiment"
    command = [f"--corpus_folder={shared_corpus}", f"--output_folder={folder}"]
    command = ["hparams/train_statistics.yaml", *command, *OPTIONS, *FAST]
    failed(run_script(tmp_path / "stopped.py", *command), status=143)
    assert not (folder / "predictions.csv").exists()
    succeeded(run_script("train.py", *command))
    for file in ("predictions.csv", "train_log.txt"):  # which has both losses
        assert (folder / file).read_bytes() == (experiment / file).read_bytes()


def test_what_it_takes_is_written_down(experiment):
    costs = json.loads((experiment / "save" / "costs.json").read_text())
    assert 0 < costs["training_s"] < 120 and 0 < costs["scoring_s"] < 120
    (folder,) = (experiment / "save").glob("CKPT+*")
    files = [folder / f"{name}.ckpt" for name in ("embedding_model", "classifier")]
    states = [torch.load(file, weights_only=True) for file in files]
    learned = sum(tensor.numel() for own in states for tensor in own.values())
    # and the two numbers of mean_var_norm at most, which nothing has learned
    assert learned <= costs["n_parameters"] <= learned + 2
    size = sum(file.stat().st_size for file in files)
    assert costs["model_mb"] == pytest.approx(size / 1e6)


def test_training_subjects_choose_thresholds_out_of_fold(experiment, shared_corpus):
    """Eight training and three validation subjects, none of whom then is judged."""
    text = (experiment / "save" / "operating_points.json").read_text()
    points = json.loads(text)["labels"]
    manifests = [
        pd.read_csv(experiment / "save" / "manifests" / f"{name}.csv")
        for name in ("train", "valid")
    ]
    seen = pd.concat(manifests)
    for label, point in points.items():
        assert point["threshold"]["source"] == "out-of-fold training"
        n = seen["subject"][seen[label] == 1].nunique()
        assert point["threshold"]["n_positive_subjects"] == n
        assert 0 < point["threshold"]["value"] < 1
        for entry in point["per_subject"].values():
            assert entry["source"] in ("out-of-fold training", None)
    metrics = json.loads((experiment / "metrics.json").read_text())
    assert metrics["labels"]["low"]["sensitivity"]["value"] > 0.7
    csv = f"--split_csv={shared_corpus / 'splits/train.csv'}"
    folder = experiment / "evaluation" / "own"
    succeeded(evaluate(experiment, csv, f"--output_folder={folder}", *FAST))
    own = json.loads((folder / "metrics.json").read_text())["labels"]["low"]
    assert own["threshold"]["value"] is None
    assert "chosen on 8 of these subjects" in own["threshold"]["reason"]


def test_it_is_the_same_at_other_settings_of_work(experiment, shared_corpus, tmp_path):
    succeeded(train_statistics(shared_corpus, tmp_path / "a", "--eval_batch_size=3"))
    assert logits(tmp_path / "a") == pytest.approx(logits(experiment), abs=1e-4)
    before = (experiment / "predictions.csv").read_bytes()
    succeeded(train_statistics(shared_corpus, experiment))  # nothing is left to learn
    assert (experiment / "predictions.csv").read_bytes() == before


def test_features_are_computed_once_for_all_experiments(
    experiment, shared_corpus, tmp_path
):
    kept = {file.name: file for file in (experiment / "save/features").glob("*.npz")}
    manifests = (experiment / "save/manifests").glob("*.csv")
    n_recordings = sum(len(read_csv(file)) for file in manifests)
    assert len(kept) == 2 * n_recordings  # statistics, and what each is like
    shared = shutil.copytree(experiment / "save/features", tmp_path / "shared")
    cache = f"--feature_cache={shared}"
    succeeded(train_statistics(shared_corpus, tmp_path / "second", cache))
    assert logits(tmp_path / "second") == logits(experiment)
    assert {file.name for file in shared.glob("*.npz")} == kept.keys()
    assert not (tmp_path / "second/save/features").exists()
    # what evaluates them takes them from there too: let them be others
    for file in shared.glob("*.npz"):
        with np.load(file) as arrays:
            features = arrays["features"] + 1e6
        np.savez(file, features=features)
    succeeded(evaluate(tmp_path / "second", *FAST))
    scored = logits(tmp_path / "second/evaluation/test")
    same = [np.isclose(scored[key], value) for key, value in logits(experiment).items()]
    assert not any(same)


def test_embeddings_are_standardised_statistics(experiment, shared_corpus, tmp_path):
    csv = f"--split_csv={shared_corpus / 'splits/test.csv'}"
    data = f"--data_folder={shared_corpus / 'audio'}"
    succeeded(
        extract(experiment, tmp_path / "pt.parquet", csv, data, "--embedding_type=pt")
    )
    found = np.stack(pq.read_table(tmp_path / "pt.parquet")["embedding"].to_pylist())
    assert found.shape[1] == len(RecordingStatistics(RATE).names)
    assert np.abs(found).max() <= 5 and 0.1 < found.std() < 3
    ft = extract(experiment, tmp_path / "ft.parquet", csv, "--embedding_type=ft")
    assert "have none" in failed(ft) and "use pt" in failed(ft)


def test_other_ways_to_ask_it(experiment, shared_corpus, tmp_path):
    uid = read_csv(shared_corpus / "splits/test.csv")[0]["uid"]
    file = shared_corpus / "audio" / uid / "waveform.wav"
    model = ClinicalClassifier.from_hparams(source=str(experiment))
    said = {label: of["logit"] for label, of in model.classify_file(file).items()}
    expected = {
        label: value
        for (name, label), value in logits(experiment).items()
        if name == uid
    }
    assert said == pytest.approx(expected, abs=1e-4)
    options = (f"--experiment_folder={experiment}", "--json")
    told = json.loads(succeeded(run_script("predict.py", file, *options)).stdout)
    (recording,) = told["recordings"]
    assert {
        label: of["logit"] for label, of in recording["labels"].items()
    } == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_an_export_says_the_same(shared_corpus, tmp_path, kernel):
    """export.py itself has it loaded without this recipe, and compares."""
    experiment, folder = tmp_path / "experiment", tmp_path / "exported"
    succeeded(train_statistics(shared_corpus, experiment, f"--kernel={kernel}"))
    options = f"--experiment_folder={experiment}", f"--output_folder={folder}"
    said = succeeded(run_script("export.py", *options))
    assert "no model.onnx is written: the acoustic statistics" in said.stdout
    weights = torch.load(folder / "classifier.ckpt", weights_only=True)
    assert len(weights["out_of_fold"]) == 0
    # similar to whom: nobody, where no head asks
    n_landmarks = len(read_csv(experiment / "save/manifests/train.csv"))
    assert len(weights["landmarks"]) == (n_landmarks if kernel == "rbf" else 0)
    model = ClinicalClassifier.from_hparams(
        source=str(folder), savedir=str(tmp_path / "links")
    )
    uid = read_csv(shared_corpus / "splits/test.csv")[0]["uid"]
    file = shared_corpus / "audio" / uid / "waveform.wav"
    said = {label: of["logit"] for label, of in model.classify_file(file).items()}
    expected = {
        label: value
        for (name, label), value in logits(experiment).items()
        if name == uid
    }
    assert said == pytest.approx(expected, abs=1e-4)
    (encoded,) = model.encode_file(file, kind="pt")
    assert encoded.shape == (1, len(RecordingStatistics(RATE).names))


def test_statistics_of_a_recording():
    """The mean of F0 of a tone, and the same whatever it is batched with."""
    time_s = torch.arange(RATE) / RATE
    tone = 0.5 * torch.sin(2 * torch.pi * 200 * time_s)
    front_end = RecordingStatistics(RATE)
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    both = front_end(torch.stack([tone, 0.1 * noise]))
    assert both.shape == (2, 1, len(front_end.names))
    torch.testing.assert_close(both[:1], front_end(tone[None]))
    values = dict(zip(front_end.names, both[0, 0].tolist(), strict=True))
    assert values["acoustic_f0_median_hz"] == pytest.approx(200, rel=0.02)
    noisy = dict(zip(front_end.names, both[1, 0].tolist(), strict=True))
    assert (
        noisy["acoustic_harmonicity_db_mean"] < values["acoustic_harmonicity_db_mean"]
    )


def test_a_long_recording_is_described_in_pieces(monkeypatch):
    """In pieces of 0.6 s as at once, but for what is near an edge of a piece."""
    time_s = torch.arange(6 * RATE) / RATE
    voice = torch.sin(2 * torch.pi * 150 * time_s) + 0.2 * torch.randn(
        len(time_s), generator=torch.Generator().manual_seed(0)
    )
    whole = recording_statistics.recording_statistics(voice, RATE)
    monkeypatch.setattr(recording_statistics, "FRAMES_AT_A_TIME", 60)
    pieces = recording_statistics.recording_statistics(voice, RATE)
    assert pieces["acoustic_f0_hz_mean"] == pytest.approx(
        whole["acoustic_f0_hz_mean"], rel=0.005
    )
    for name, value in whole.items():
        assert pieces[name] == pytest.approx(value, rel=0.05, abs=0.05)
    tracks = recording_statistics._tracks(voice, RATE)
    at_once = recording_statistics._vocal_features(RATE)(voice[None])[0]
    assert len(tracks) == len(at_once) == 596
    same = torch.isclose(tracks[:, 0], at_once[:, 0])
    assert same.float().mean() > 0.95  # smoothing reaches over an edge


@pytest.mark.parametrize("duration_s", [0.05, 0.1, 0.33])
@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_any_rate_and_length(rate, duration_s):
    waveform = 0.1 * torch.randn(round(rate * duration_s))
    found = RecordingStatistics(rate)(waveform[None])
    assert found.isfinite().all()
    nothing = RecordingStatistics(rate)(torch.zeros(1, rate))
    assert not nothing.isinf().any()
