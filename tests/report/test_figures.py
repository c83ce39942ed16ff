"""Figures: the lines hold the right numbers, the files are pictures."""

import struct

import numpy as np
import pandas as pd
import pytest
from speechbrain.utils.train_logger import FileTrainLogger

from local.data.predictions_table import predictions_table
from local.report.figures import read_train_log, roc_figure, training_curves_figure
from local.utils.errors import UserError

LINE = (
    "epoch: {}, lr: 3.00e-04 - train loss: {} - valid loss: {}, valid macro_auroc: {}"
)


def png_size(path):
    """Width and height in pixels, from the header of a PNG file."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


@pytest.fixture
def table():
    recordings = pd.DataFrame({"uid": list("abcd"), "subject": "s", "session": ""})
    targets = np.array([[1, 0, 1], [0, 0, np.nan], [1, 0, 0], [0, 0, 1]])
    logits = np.array([[3.0, 0, 1], [2, 0, 9], [1, 0, 2], [0, 0, 3]])
    labels = ["_slow $rate", "absent", "strained"]
    return predictions_table(recordings, labels, targets, logits, np.zeros(3), "test")


@pytest.fixture
def write_log(tmp_path):
    def _write(*lines):
        path = tmp_path / "train_log.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return _write


def test_roc_curves(table, tmp_path):
    path = tmp_path / "figures" / "roc.png"
    figure = roc_figure(table, [["_slow $rate", "absent"], ["strained"]], path)
    width, height = png_size(path)
    assert 600 < width < 800  # two panels beside each other, on a phone and on A4
    assert 400 < height < 800
    assert list(path.parent.iterdir()) == [path]
    first, second = figure.axes
    assert first.get_aspect() == 1
    diagonal, slow, absent = first.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    # In the order of the scores: positive, negative, positive, negative.
    corners = [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    np.testing.assert_allclose(slow.get_xydata(), corners)
    assert len(absent.get_xydata()) == 0
    np.testing.assert_allclose(second.lines[1].get_xydata()[-1], [1, 1])


def test_roc_legend(table, tmp_path):
    figure = roc_figure(table, [["_slow $rate", "absent", "strained"]], tmp_path / "a")
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [
        "chance",
        r"AUROC 0.750: _slow \$rate (2 pos., 2 neg.)",
        "AUROC not computable: absent (0 pos., 4 neg.)",
        "AUROC 0.500: strained (2 pos., 1 neg.)",
    ]


def test_many_labels_look_different(tmp_path):
    labels = [str(digit) for digit in range(28)]
    recordings = pd.DataFrame({"uid": list("ab"), "subject": "s", "session": ""})
    outputs = np.array([[0.0] * 28, [1.0] * 28])
    table = predictions_table(
        recordings, labels, outputs, outputs, np.zeros(28), "test"
    )
    figure = roc_figure(table, [labels], tmp_path / "roc.png")
    lines = figure.axes[0].lines[1:]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 28


def test_log_written_by_speechbrain(tmp_path):
    path = tmp_path / "train_log.txt"
    logger = FileTrainLogger(str(path), precision=4)
    for epoch, auroc in ((1, None), (2, 0.75)):
        logger.log_stats(
            {"epoch": epoch, "lr": 3e-4},
            {"loss": 2.5 / epoch},
            {"loss": 0.5, "macro_auroc": auroc, "auroc loss": 0.1},
            verbose=False,
        )
    logger.log_stats({"Epoch loaded": 2}, test_stats={"loss": 9.0}, verbose=False)
    log = read_train_log(path)
    assert list(log.columns) == ["epoch", "train_loss", "valid_loss", "macro_auroc"]
    np.testing.assert_array_equal(log, [[1, 2.5, 0.5, np.nan], [2, 1.25, 0.5, 0.75]])
    assert log["epoch"].dtype == int


def test_repeated_epoch_keeps_the_last_line(write_log):
    log = read_train_log(
        write_log(
            LINE.format(1, 0.9, 0.8, 0.6),
            LINE.format(2, 0.7, 0.7, 0.7),
            LINE.format(10, 0.1, 0.1, 0.1),
            LINE.format(2, 0.6, 0.5, "nan"),
            "epoch: 3, lr: 3.00e-04 - train loss: 0.5",
            "epoch: 4, lr: 1 - train lo",
        )
    )
    assert log["epoch"].tolist() == [1, 2, 3, 4, 10]
    np.testing.assert_array_equal(log["train_loss"], [0.9, 0.6, 0.5, np.nan, 0.1])
    np.testing.assert_array_equal(log["valid_loss"], [0.8, 0.5, np.nan, np.nan, 0.1])
    np.testing.assert_array_equal(
        log["macro_auroc"], [0.6, np.nan, np.nan, np.nan, 0.1]
    )


def test_log_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        read_train_log(tmp_path / "train_log.txt")


@pytest.mark.parametrize(
    ("best_by", "epoch", "name"),
    [
        ("loss", 3, "lowest validation loss (epoch 3)"),
        ("macro_auroc", 2, "highest macro AUROC (epoch 2)"),
    ],
)
def test_training_curves(write_log, tmp_path, best_by, epoch, name):
    log = write_log(
        LINE.format(1, 0.9, 0.8, 0.6),
        LINE.format(2, 0.7, 0.5, 0.8),
        LINE.format(3, 0.5, 0.4, 0.7),
    )
    path = tmp_path / "curves.png"
    figure = training_curves_figure(log, path, best_by)
    width, height = png_size(path)
    assert (width, height) == pytest.approx((702, 416), rel=0.1)
    losses, auroc = figure.axes
    train, valid, best = losses.lines
    np.testing.assert_allclose(train.get_xydata(), [[1, 0.9], [2, 0.7], [3, 0.5]])
    np.testing.assert_allclose(valid.get_ydata(), [0.8, 0.5, 0.4])
    np.testing.assert_allclose(auroc.lines[0].get_ydata(), [0.6, 0.8, 0.7])
    assert list(best.get_xdata()) == list(auroc.lines[1].get_xdata()) == [epoch] * 2
    assert best.get_label() == name


def test_training_curves_without_auroc(write_log, tmp_path):
    log = write_log(LINE.format(1, 0.9, 0.4, "None"), LINE.format(2, 0.7, 0.5, "None"))
    figure = training_curves_figure(log, tmp_path / "curves.png")
    losses, auroc = figure.axes
    assert list(losses.lines[-1].get_xdata()) == [1, 1]
    assert [text.get_text() for text in auroc.texts] == ["not in the log"]


def test_training_curves_by_what_is_not_in_the_log(write_log, tmp_path):
    log = write_log(LINE.format(1, 0.9, 0.4, "None"))
    figure = training_curves_figure(log, tmp_path / "curves.png", "macro_auroc")
    assert len(figure.axes[0].lines) == 2
    with pytest.raises(ValueError, match="best_by"):
        training_curves_figure(log, tmp_path / "curves.png", "accuracy")


def test_training_curves_of_an_empty_log(write_log, tmp_path):
    figure = training_curves_figure(write_log(), tmp_path / "curves.png")
    assert all(not panel.lines for panel in figure.axes)
    png_size(tmp_path / "curves.png")
