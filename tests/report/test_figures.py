"""Figures: the lines hold the right numbers, the files are pictures."""

import struct

import numpy as np
import pandas as pd
import pytest

from local.data.predictions_table import predictions_table
from local.report.figures import roc_figure


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
