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
from local.model.kernel_heads import KernelHeads, RobustStandardisation
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
    norm = RobustStandardisation()
    norm.fit(np.arange(201.0)[:, None] * [1, 2, 0])
    return {
        "classifier": heads,
        "compute_features": FrontEnd(),
        "embedding_model": norm,
    }


def test_a_linear_head_has_a_weight_per_statistic():
    modules = fitted("linear")
    weights = weights_of(modules)
    ranges = [(10, 190), (20, 380), (0, 0)]  # the 5th and the 95th of 100 parts
    told = zip(modules["classifier"].weight[:, 0].tolist(), ranges, strict=True)
    told = [(weight, *bounds) for weight, bounds in told]
    assert weights["shaky"] == dict(zip(NAMES, told, strict=True))
    told = heaviest([weights])
    first = told["shaky"]["weights"][0]
    assert first["words"] == "jitter (mean)" and first["weight"] > 0
    assert first["low"] is first["high"] is None
    assert first["unit"] == "dB" and first["usual"] == [10, 190]
    first = told["pauses"]["weights"][0]
    assert first["words"] == "number of pauses" and first["weight"] < 0
    assert told["all"] == {"weights": [], "weights_reason": CONSTANT}


def test_a_head_that_compares_recordings_has_none():
    weights = weights_of(fitted("rbf"))
    assert weights["shaky"] == COMPARES and weights["all"] == CONSTANT
    assert heaviest([weights])["pauses"]["weights_reason"] == COMPARES


def test_of_folds_there_is_the_mean_and_the_range():
    usual = (0.0, 1.0), (0.5, 2.0)
    first, second = (
        {"x": (x, *bounds), "y": (y, *bounds)}
        for x, y, bounds in ((1.0, -3.0, usual[0]), (2.0, -1.0, usual[1]))
    )
    folds = [
        {"a": first, "b": first},
        {"a": COMPARES, "b": COMPARES},
        {"a": second, "b": COMPARES},
    ]
    told = heaviest(folds)
    both = {"unit": "", "usual": [0.25, 1.5]}
    y, x = {"statistic": "y", "words": "y"}, {"statistic": "x", "words": "x"}
    assert told["a"]["weights"] == [
        y | both | {"weight": -2.0, "low": -3.0, "high": -1.0},
        x | both | {"weight": 1.5, "low": 1.0, "high": 2.0},
    ]
    assert told["b"] == {"weights": [], "weights_reason": FEW_FOLDS}


def test_only_the_heaviest_are_told():
    weights = {f"f{i}": (float(i), 0.0, 1.0) for i in range(30)}
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
    modules["embedding_model"] = RobustStandardisation()
    assert weights_of(modules) is None
