"""PPV and NPV at other prevalences, by hand and against simulated studies."""

import numpy as np
import pytest
from scipy.special import logit

from local.metrics.prevalences import at_prevalences

SENSITIVITY = {"value": 0.8, "low": 0.6, "high": 0.9}
SPECIFICITY = {"value": 0.9, "low": 0.85, "high": 0.95}


def entry(**given):
    (found,) = at_prevalences(
        given.get("sensitivity", SENSITIVITY),
        given.get("specificity", SPECIFICITY),
        [given.get("prevalence", 0.1)],
    )
    return found


def test_values_by_bayes():
    found = entry()
    assert found["ppv"]["value"] == pytest.approx(0.08 / (0.08 + 0.09))
    assert found["npv"]["value"] == pytest.approx(0.81 / (0.81 + 0.02))


def test_bounds_by_hand():
    """On the logit scale, where the two likelihoods' logarithms are subtracted."""
    found = entry()
    below = np.hypot(np.log(0.8 / 0.6), np.log(0.15 / 0.1))
    above = np.hypot(np.log(0.9 / 0.8), np.log(0.1 / 0.05))
    middle = logit(0.1) + np.log(8)
    bounds = logit([found["ppv"][key] for key in ("low", "value", "high")])
    assert bounds == pytest.approx([middle - below, middle, middle + above])
    # negatives called positive and positives called negative: the mirror image
    mirrored = entry(sensitivity=SPECIFICITY, specificity=SENSITIVITY, prevalence=0.9)
    assert mirrored["ppv"] == pytest.approx(found["npv"])


def test_bounds_shrink_as_those_of_independent_shares_do():
    """As many drawn pairs of log-normal shares as 95 % of 100,000 lie within."""
    generator = np.random.default_rng(1)
    z = 1.959964
    shares = {"sensitivity": (0.6, 0.1), "wrong": (0.2, 0.2)}
    low, high = (
        {n: m * np.exp(s * z * side) for n, (m, s) in shares.items()}
        for side in (-1, 1)
    )
    found = entry(
        sensitivity={
            "value": 0.6,
            "low": low["sensitivity"],
            "high": high["sensitivity"],
        },
        specificity={"value": 0.8, "low": 1 - high["wrong"], "high": 1 - low["wrong"]},
    )
    drawn = {
        name: middle * np.exp(spread * generator.normal(size=100_000))
        for name, (middle, spread) in shares.items()
    }
    right, wrong = 0.1 * drawn["sensitivity"], 0.9 * drawn["wrong"]
    expected = np.quantile(right / (right + wrong), [0.025, 0.975])
    bounds = [found["ppv"]["low"], found["ppv"]["high"]]
    assert bounds == pytest.approx(expected, abs=0.003)


def test_perfect_specificity_has_a_lower_bound():
    """At its worst: 5 of 95 wrong against 60 of 100 right, at a prevalence of 1/10."""
    perfect = {"value": 1.0, "low": 0.95, "high": 1.0}
    found = entry(specificity=perfect)["ppv"]
    assert found["value"] == found["high"] == 1
    assert found["low"] == pytest.approx(0.06 / (0.06 + 0.9 * 0.05))


def test_nobody_called_positive():
    nobody = {"value": 0.0, "low": 0.0, "high": 0.2}
    perfect = {"value": 1.0, "low": 0.9, "high": 1.0}
    found = entry(sensitivity=nobody, specificity=perfect)
    assert found["ppv"]["value"] is None
    assert found["ppv"]["reason"] == "no recording is predicted positive"
    assert found["npv"]["value"] == pytest.approx(0.9)  # who is called negative: all
    assert found["npv"]["low"] < 0.9 < found["npv"]["high"]


def test_without_bounds_or_values_there_is_a_reason():
    few = {"value": 0.8, "low": None, "high": None, "reason": "few"}
    found = entry(sensitivity=few)
    assert found["ppv"]["value"] == pytest.approx(0.08 / 0.17)
    assert found["ppv"]["low"] is None and found["ppv"]["reason"] == "few"
    nothing = {"value": None, "low": None, "high": None, "reason": "no threshold"}
    found = entry(specificity=nothing)
    assert found["npv"]["value"] is None and found["npv"]["reason"] == "no threshold"
