"""Learning curves over subjects."""

import json

import numpy as np
import pandas as pd
import pytest

from local.evaluation import learning_curve as module
from local.evaluation.baselines import predict_folds
from local.evaluation.learning_curve import learning_curve
from local.model import kernel_fitting

NAMES = ["low", "loud"]


def make(n_subjects, n_each=2, n_features=30, seed=0):
    """Ten features tell `low` a little each, nothing tells `loud`."""
    generator = np.random.default_rng(seed)
    subjects = np.repeat([f"p{i:03}" for i in range(n_subjects)], n_each)
    features = generator.normal(size=(n_subjects, n_features)).repeat(n_each, axis=0)
    features += 0.3 * generator.normal(size=features.shape)
    hidden = features[:, :10].sum(axis=1) / 2
    manifest = pd.DataFrame({"subject": subjects})
    manifest["low"] = (hidden + generator.logistic(size=len(subjects)) > 0).astype(
        float
    )
    manifest["loud"] = generator.integers(0, 2, len(subjects)).astype(float)
    return features, manifest


@pytest.fixture(scope="module")
def curve():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "N_DRAWS", 2)
        patch.setattr(kernel_fitting, "STRENGTHS", (0.1,))
        yield learning_curve(*make(160), NAMES, seed=1)


def test_more_subjects_bring_more_where_there_is_something_to_learn(curve):
    assert [step["n_subjects"] for step in curve] == [40, 80, 120, 160]
    assert [step["share"] for step in curve] == [0.25, 0.5, 0.75, 1.0]
    low = [step["labels"]["low"]["auroc"]["mean"] for step in curve]
    assert low[-1] > low[0] + 0.05 and low[-1] > 0.75
    assert all(0.35 < s["labels"]["loud"]["auroc"]["mean"] < 0.65 for s in curve)
    for step in curve:
        means = [of["auroc"]["mean"] for of in step["labels"].values()]
        assert len(means) == 2
        assert step["auroc"]["mean"] == pytest.approx(np.mean(means))
        assert 0 < step["auroc"]["sd"] < 0.15
    json.dumps(curve, allow_nan=False)


def test_the_same_seed_gives_the_same(monkeypatch):
    monkeypatch.setattr(module, "N_DRAWS", 2)
    monkeypatch.setattr(module, "SHARES", (1.0,))
    monkeypatch.setattr(kernel_fitting, "STRENGTHS", (0.1,))
    given = (*make(16), NAMES)
    one, again, other = (learning_curve(*given, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_each_fold_is_predicted_from_subjects_of_the_others(monkeypatch):
    """In all draws and parts."""
    seen = []

    def watched(manifest, folds, *others, **options):
        assert manifest["subject"].groupby(folds).nunique().sum() == (
            manifest["subject"].nunique()
        )
        seen.append(set(manifest["subject"]))
        return predict_folds(manifest, folds, *others, **options)

    monkeypatch.setattr(module, "predict_folds", watched)
    monkeypatch.setattr(module, "N_DRAWS", 2)
    monkeypatch.setattr(kernel_fitting, "STRENGTHS", (0.1,))
    learning_curve(*make(24), NAMES)
    assert [len(subjects) for subjects in seen] == [6, 12, 18, 24] * 2
    for draw in (seen[:4], seen[4:]):
        assert draw[0] < draw[1] < draw[2] < draw[3]
    assert seen[0] != seen[4]


def test_what_can_not_be_computed_has_a_reason(monkeypatch):
    monkeypatch.setattr(module, "N_DRAWS", 2)
    monkeypatch.setattr(kernel_fitting, "STRENGTHS", (0.1,))
    features, manifest = make(20)
    manifest["low"] = 0.0
    curve = learning_curve(features, manifest, ["low"])
    nothing = {"mean": None, "sd": None, "reason": module.NOT_ALL}
    assert all(step["auroc"] == nothing for step in curve)
    assert all(step["labels"]["low"]["auroc"] == nothing for step in curve)
