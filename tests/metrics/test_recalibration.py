"""What recalibration on new subjects would reach, judged by those it left out."""

import numpy as np
import pytest
from scipy.special import expit, logit
from simulations.calibration import simulated
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import GroupKFold

from local.metrics.calibration import calibration_intercept, calibration_slope
from local.metrics.recalibration import cross_fitted_recalibration


@pytest.fixture(scope="module")
def moved():
    """A model whose logits are too extreme by two, and too high by one."""
    targets, logits, subjects = simulated(np.random.default_rng(2), 80, 1.0, -1.0)
    return targets, 2 * logits + 1, subjects


def test_recalibration_helps_and_its_parameters_are_those_of_the_whole(moved):
    targets, logits, subjects = moved
    probabilities = expit(logits)
    found = cross_fitted_recalibration(targets, probabilities, subjects, seed=1)
    shifted, lined = found["in_the_large"], found["slope_and_intercept"]
    assert list(shifted) == ["intercept", "brier", "log_loss"]
    assert list(lined) == ["slope", "intercept", "brier", "log_loss"]
    intercept = calibration_intercept(targets, logits, subjects)["value"]
    assert shifted["intercept"] == pytest.approx(intercept)
    slope = calibration_slope(targets, logits, subjects)["value"]
    assert lined["slope"] == pytest.approx(slope)
    assert slope == pytest.approx(0.5, abs=0.15)
    untouched = brier_score_loss(targets, probabilities)
    assert lined["brier"] < shifted["brier"] < untouched
    assert "left out of the fit" in found["text"]


def test_losses_are_of_subjects_that_the_fit_left_out():
    """Ten recordings, each of a subject: a fold of two gets the share of the others."""
    targets, logits = np.tile([0.0, 1.0], 5), np.zeros(10)
    found = cross_fitted_recalibration(targets, expit(logits), np.arange(10), seed=1)[
        "in_the_large"
    ]
    assert found["intercept"] == pytest.approx(0)
    folds = GroupKFold(5, shuffle=True, random_state=1)
    losses = np.concatenate(
        [
            (targets[rest].mean() - targets[left_out]) ** 2
            for rest, left_out in folds.split(logits, groups=np.arange(10))
        ]
    )
    assert found["brier"] == pytest.approx(losses.mean())
    assert found["brier"] > 0.25  # of one half for all, which they share


def test_what_tells_nothing_is_not_made_better():
    """Judged by what it was fitted to, a line through chance would look useful."""
    generator = np.random.default_rng(0)
    gains = []
    for seed in range(40):
        targets = (generator.random(40) < 0.5).astype(float)
        probabilities = expit(generator.normal(0, 0.3, 40))
        found = cross_fitted_recalibration(targets, probabilities, np.arange(40), seed)
        gains.append(0.25 - found["slope_and_intercept"]["brier"])  # always one half
    assert np.mean(gains) < 0


def test_reasons():
    few = cross_fitted_recalibration(
        np.array([0.0, 1.0]), np.array([0.2, 0.7]), np.array(["a", "b"]), seed=1
    )
    for name in ("in_the_large", "slope_and_intercept"):
        assert few[name]["brier"] is None and "fewer than 5" in few[name]["reason"]
    targets = np.repeat([0.0, 1.0], 10)
    separated = cross_fitted_recalibration(
        targets, expit(logit(0.3) + 2 * targets), np.arange(20), seed=1
    )
    assert separated["slope_and_intercept"]["reason"].startswith("the logits of the")
    assert separated["in_the_large"]["brier"] is not None
