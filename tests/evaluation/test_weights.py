"""evaluation.weights: which statistics a linear head goes by, in words."""

import numpy as np
import pytest
import torch

from local.evaluation.weights import (
    COMPARES,
    CONSTANT,
    FEW_FOLDS,
    N_TOLD,
    heaviest,
    in_words,
    weights_of,
)
from local.model.heads import ClassifierHeads
from local.model.kernel_heads import KernelHeads
from local.model.recording_statistics import RecordingStatistics

NAMES = ["acoustic_jitter_db_mean", "acoustic_n_pauses", "own"]


class FrontEnd(torch.nn.Module):
    names = NAMES


def fitted(kernel):
    """Heads of three labels: the first feature, none, the second's opposite."""
    generator = np.random.default_rng(1)
    features = generator.normal(size=(60, 3))
    targets = np.stack(
        [features[:, 0] > 0, np.ones(60), features[:, 1] < 0], axis=1
    ).astype(float)
    subjects = np.array([f"s{i // 2}" for i in range(60)], dtype=object)
    heads = KernelHeads([["shaky", "all"], ["pauses"]], kernel=kernel)
    heads.fit(features, targets, subjects)
    return {"classifier": heads, "compute_features": FrontEnd()}


def test_a_linear_head_has_a_weight_per_statistic():
    modules = fitted("linear")
    weights = weights_of(modules)
    assert weights["shaky"] == dict(
        zip(NAMES, modules["classifier"].weight[:, 0].tolist(), strict=True)
    )
    told = heaviest([weights])
    first = told["shaky"]["weights"][0]
    assert first["words"] == "jitter (mean)" and first["weight"] > 0
    assert first["low"] is first["high"] is None
    first = told["pauses"]["weights"][0]
    assert first["words"] == "number of pauses" and first["weight"] < 0
    assert told["all"] == {"weights": [], "weights_reason": CONSTANT}


def test_a_head_that_compares_recordings_has_none():
    weights = weights_of(fitted("rbf"))
    assert weights["shaky"] == COMPARES and weights["all"] == CONSTANT
    assert heaviest([weights])["pauses"]["weights_reason"] == COMPARES


def test_of_folds_there_is_the_mean_and_the_range():
    folds = [
        {"a": {"x": 1.0, "y": -3.0}, "b": {"x": 1.0, "y": 0.0}},
        {"a": COMPARES, "b": COMPARES},
        {"a": {"x": 2.0, "y": -1.0}, "b": COMPARES},
    ]
    told = heaviest(folds)
    assert told["a"]["weights"] == [
        {"statistic": "y", "words": "y", "weight": -2.0, "low": -3.0, "high": -1.0},
        {"statistic": "x", "words": "x", "weight": 1.5, "low": 1.0, "high": 2.0},
    ]
    assert told["b"] == {"weights": [], "weights_reason": FEW_FOLDS}


def test_only_the_heaviest_are_told():
    weights = {f"f{i}": float(i) for i in range(30)}
    told = heaviest([{"a": weights}])["a"]["weights"]
    assert [entry["statistic"] for entry in told] == [
        f"f{i}" for i in range(29, 29 - N_TOLD, -1)
    ]


def test_every_statistic_has_words_of_its_own():
    names = RecordingStatistics(8000).names
    words = [in_words(name) for name in names]
    assert len(set(words)) == len(names)
    assert not any("_" in word for word in words)


@pytest.mark.parametrize("heads", [ClassifierHeads(3, [["a"]]), KernelHeads([["a"]])])
def test_other_models_have_none(heads):
    front_end = torch.nn.Identity()
    modules = {"classifier": heads, "compute_features": front_end}
    assert weights_of(modules) is None
