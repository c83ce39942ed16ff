"""Loggers beside the text file's, and that a run which goes on goes on in them."""

import json
import sqlite3
from pathlib import Path

import pytest
from running import failed, succeeded, train
from speechbrain.utils.train_logger import TrainLogger

from local.training import loggers
from local.training.train_log import JsonTrainLogger
from local.utils.errors import UserError

LOSSES = {1: 0.5, 2: 0.25, 3: 0.125}


def logged(folder, names, epochs):
    """Log epochs as a process does that begins with the first of them."""
    own = loggers.Loggers(
        JsonTrainLogger(str(folder / "train_log.txt")), names, folder / "loggers"
    )
    for epoch in epochs:
        own.log_stats(
            {"epoch": epoch, "lr": 0.1},
            train_stats={"loss": LOSSES[epoch]},
            valid_stats={"loss": 2 * LOSSES[epoch]} if epoch > 1 else None,
        )
    return own


def test_tensorboard_goes_on_with_the_epochs(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    logged(tmp_path, ["tensorboard"], [1, 2])
    logged(tmp_path, ["tensorboard"], [3])
    events = accumulator.EventAccumulator(str(tmp_path / "loggers" / "tensorboard"))
    events.Reload()
    assert {e.step: e.value for e in events.Scalars("loss/train")} == LOSSES
    assert {e.step: e.value for e in events.Scalars("loss/valid")} == {2: 0.5, 3: 0.25}
    lines = (tmp_path / "train_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_mlflow_goes_on_in_its_run(tmp_path):
    pytest.importorskip("mlflow")
    logged(tmp_path, ["mlflow"], [1, 2])
    logged(tmp_path, ["mlflow"], [3])
    with sqlite3.connect(tmp_path / "loggers" / "mlflow" / "mlflow.db") as base:
        rows = base.execute("select run_uuid, key, step, value from metrics").fetchall()
    assert {run for run, *_ in rows} == {
        (tmp_path / "loggers" / "mlflow" / "run").read_text()
    }
    train_losses = {step: value for _, key, step, value in rows if key == "train.loss"}
    assert train_losses == LOSSES


def test_wandb_is_offline_and_has_one_run(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for epochs in ([1, 2], [3]):
        own = logged(tmp_path, ["wandb"], epochs)
        assert own.others["wandb"].run.settings.mode == "offline"
        assert own.others["wandb"].run.step == epochs[-1]
        wandb.finish()
    files = list((tmp_path / "loggers" / "wandb").rglob("run-*.wandb"))
    assert len(files) == 2 and len({file.name for file in files}) == 1


def test_one_that_fails_stops_no_training(tmp_path, monkeypatch, caplog):
    class Failing(TrainLogger):
        def log_stats(self, *stats, **more_stats):
            raise OSError("no network")

    monkeypatch.setitem(loggers.MAKERS, "mlflow", lambda folder: Failing())
    monkeypatch.setattr(loggers, "check_loggers", lambda names: None)
    logged(tmp_path, ["mlflow"], [1, 2])
    assert caplog.text.count("mlflow failed, and is left out from now on") == 1
    assert len((tmp_path / "train_log.jsonl").read_text().splitlines()) == 2


def test_null_means_none_beside_the_file(tmp_path):
    logged(tmp_path, None, [1])
    assert (tmp_path / "train_log.jsonl").is_file()
    assert not (tmp_path / "loggers").exists()


def test_what_is_no_logger_or_not_installed_is_refused(monkeypatch):
    with pytest.raises(UserError, match="found comet"):
        loggers.check_loggers(["tensorboard", "comet"])
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="mlflow is not installed: pip install"):
        loggers.check_loggers(["mlflow"])


def test_the_yaml_chooses_it(shared_corpus, tmp_path):
    pytest.importorskip("tensorboard")
    succeeded(train(shared_corpus, tmp_path / "out", "--loggers=[tensorboard]"))
    assert list(Path(tmp_path / "out/loggers/tensorboard").glob("events.*"))
    message = failed(train(shared_corpus, tmp_path / "no", "--loggers=[sacred]"))
    assert "loggers must be of tensorboard, wandb, mlflow; found sacred" in message
    assert not (tmp_path / "no").exists()
