"""The worst errors: which rows, and what of their recordings."""

import numpy as np
import pandas as pd
import pytest
import torch

from local.audio.loading import AudioFormat
from local.data.labels import LabelType
from local.data.recordings import FolderRecordings
from local.evaluation import worst_errors
from local.evaluation.result import Excerpt
from tests.conftest import RATE, synthesise, write_recording


def make_table():
    """Errors by hand: 0.4, none (not rated), 0.9, 25 of 100, 0.9, 60 of 100."""
    return pd.DataFrame(
        {
            "uid": ["a", "a", "b", "a", "c", "b"],
            "label": ["x", "y", "x", "score", "y", "score"],
            "target": [0.0, np.nan, 1.0, 50.0, 0.0, 80.0],
            "logit": [0.0, 9.0, 0.0, 25.0, 0.0, 20.0],
            "probability": [0.4, 0.99, 0.1, np.nan, 0.9, np.nan],
        }
    )


TYPES = {
    "x": LabelType(),
    "y": LabelType("ordinal", (0.0, 4.0), 2.0),
    "score": LabelType("score", (0.0, 100.0), None, is_score=True),
}


def test_the_worst_come_first_and_unrated_ones_never():
    found = worst_errors.worst_errors(make_table(), TYPES)
    assert found["row"].tolist() == [4, 6, 7, 2, 5]  # the header is row 1
    assert found["prediction"].tolist() == [0.1, 0.9, 20.0, 0.4, 25.0]
    assert worst_errors.worst_errors(make_table(), TYPES, n=1)["uid"].tolist() == ["b"]


def test_excerpts_are_the_beginnings_of_the_recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(worst_errors, "LONGEST_S", 0.25)
    rows = []
    for i, uid in enumerate("abc"):
        samples = synthesise(1, 0, 0, seed=i, duration_s=0.2 + 0.1 * i)
        write_recording(tmp_path / uid, samples)
        rows.append({"ID": uid, "recording": uid, "start_s": "", "end_s": ""})
    manifest = pd.DataFrame(rows).assign(channel="")
    worst = worst_errors.worst_errors(make_table(), TYPES, n=2)
    found = worst_errors.read_excerpts(
        worst, manifest, FolderRecordings(str(tmp_path)), AudioFormat(RATE)
    )
    assert [(of.uid, of.row, of.label) for of in found] == [
        ("b", 4, "x"),
        ("c", 6, "y"),
    ]
    assert [len(of.waveform) for of in found] == [RATE // 4, RATE // 4]
    expected = synthesise(1, 0, 0, seed=1, duration_s=0.3)[: RATE // 4]
    assert found[0].waveform == pytest.approx(expected, abs=1e-4)
    assert (found[0].target, found[0].prediction) == (1, 0.1)
    assert found[0].curves is None


def test_curves_are_of_the_model_and_the_piece_that_is_shown():
    class Brain:
        """Hears of x how loud it is, of y the opposite."""

        def score_waveforms(self, waveforms):
            loud = waveforms.std(dim=1)
            return torch.stack([loud, -loud], dim=1)

    samples = synthesise(1, 0, 0, seed=0, duration_s=1.0)
    samples[: RATE // 2] *= 0.5
    excerpt = Excerpt(2, "a", "x", 1.0, 0.1, samples, RATE)
    curves = worst_errors.with_curves(excerpt, Brain(), ["x", "y"]).curves
    assert curves["times_s"] == pytest.approx(np.arange(8) / 10 + 0.15)
    loud = samples[4000:6400].std(ddof=1)
    assert curves["labels"]["x"]["values"][5] == pytest.approx(loud, abs=1e-4)
    assert curves["labels"]["x"]["peak_s"] > 0.6
    assert curves["labels"]["y"]["peak_s"] < 0.4
