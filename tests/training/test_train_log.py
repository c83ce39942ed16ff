"""The numbers of each epoch, as SpeechBrain writes them and as JSON lines."""

import json
import math

import numpy as np
import pytest
from speechbrain.utils.train_logger import FileTrainLogger

from local.training.train_log import JsonTrainLogger, json_log, read_train_log
from local.utils import files
from local.utils.errors import UserError

NAN = float("nan")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train_log.jsonl"


def logger_in(folder):
    return JsonTrainLogger(str(folder / "train_log.txt"), precision=4)


def log_epoch(logger, epoch, train_loss, valid_loss, macro_auroc):
    stats = {"loss": valid_loss, "macro_auroc": macro_auroc, "auroc slow": 0.1}
    meta = {"epoch": epoch, "lr": 3e-4}
    logger.log_stats(meta, {"loss": train_loss}, stats, verbose=False)


def test_the_text_is_that_of_speechbrain(tmp_path):
    stock = FileTrainLogger(str(tmp_path / "stock.txt"), precision=4)
    for logger in (stock, logger_in(tmp_path)):
        log_epoch(logger, 1, 2 / 3, 0.5, None)
        logger.log_stats({"Epoch loaded": 2}, test_stats={"loss": 9.0}, verbose=False)
    expected = (tmp_path / "stock.txt").read_text()
    assert (tmp_path / "train_log.txt").read_text() == expected
    assert expected.startswith("epoch: 1, lr: 3.0000e-04 - train loss: 6.6667e-01 - ")


def test_the_lines_are_json_and_not_rounded(tmp_path, path):
    log_epoch(logger_in(tmp_path), 1, 2 / 3, 0.5, NAN)
    logger_in(tmp_path).log_stats(  # a run that goes on
        {"epoch": 2, "lr": 1e-4}, train_stats={"loss": 0.25}, verbose=False
    )
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "epoch": 1,
        "lr": 3e-4,
        "train": {"loss": 2 / 3},
        "valid": {"loss": 0.5, "macro_auroc": None, "auroc slow": 0.1},
    }
    assert second == {"epoch": 2, "lr": 1e-4, "train": {"loss": 0.25}}


def test_a_kill_leaves_no_half_line(tmp_path, path, monkeypatch):
    log_epoch(logger_in(tmp_path), 1, 0.5, 0.5, 0.5)
    before = path.read_bytes()

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", killed)  # when the line is written
        with pytest.raises(KeyboardInterrupt):
            log_epoch(logger_in(tmp_path), 2, 0.5, 0.5, 0.5)
    assert path.read_bytes() == before
    log_epoch(logger_in(tmp_path), 2, 0.5, 0.5, 0.5)
    assert read_train_log(path)["epoch"].tolist() == [1, 2]


def test_epochs_are_read(tmp_path, path):
    logger = logger_in(tmp_path)
    log_epoch(logger, 1, 2.5, 0.5, None)
    log_epoch(logger, 2, 1.25, 0.5, 0.75)
    logger.log_stats({"Epoch loaded": 2}, test_stats={"loss": 9.0}, verbose=False)
    log = read_train_log(path)
    assert list(log.columns) == ["epoch", "train_loss", "valid_loss", "macro_auroc"]
    np.testing.assert_array_equal(log, [[1, 2.5, 0.5, NAN], [2, 1.25, 0.5, 0.75]])
    assert log["epoch"].dtype == int


def test_repeated_epoch_keeps_the_last_line(tmp_path, path):
    logger = logger_in(tmp_path)
    log_epoch(logger, 1, 0.9, 0.8, 0.6)
    log_epoch(logger, 2, 0.7, 0.7, 0.7)
    log_epoch(logger, 10, 0.1, 0.1, 0.1)
    log_epoch(logger, 2, 0.6, 0.5, NAN)
    logger.log_stats({"epoch": 3, "lr": 1.0}, {"loss": 0.5}, verbose=False)
    log = read_train_log(path)
    assert log["epoch"].tolist() == [1, 2, 3, 10]
    np.testing.assert_array_equal(log["train_loss"], [0.9, 0.6, 0.5, 0.1])
    np.testing.assert_array_equal(log["valid_loss"], [0.8, 0.5, NAN, 0.1])
    np.testing.assert_array_equal(log["macro_auroc"], [0.6, NAN, NAN, 0.1])


def test_an_empty_log(path):
    path.write_text("")
    assert read_train_log(path).empty


@pytest.mark.parametrize(
    "text",
    [
        '{"epoch": 1, "tr',
        "7",
        '{"epoch": 1}',
        '{"epoch": 1, "train": {"loss": "low"}}',
        '{"epoch": null, "train": {"loss": 1}}',
    ],
)
def test_something_else_is_told(path, text):
    path.write_text(text)
    with pytest.raises(UserError, match=r"can't be read .*: expected the JSON lines"):
        read_train_log(path)


def test_log_that_is_not_there(tmp_path, path):
    assert json_log(tmp_path) is None
    with pytest.raises(UserError, match="can't be read"):
        read_train_log(path)
    log_epoch(logger_in(tmp_path), 1, 0.5, math.inf, 0.5)
    assert json_log(tmp_path) == path
