"""Calibration against values by hand, statsmodels, scikit-learn and scipy."""

import json

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm
from sklearn.calibration import calibration_curve as binned_curve

from local.metrics.calibration import (
    calibration_curve,
    calibration_intercept,
    calibration_metrics,
    calibration_slope,
    ece,
    ece_if_calibrated,
    fit_calibration,
)
from local.metrics.decision import apply_calibration

NAN = np.nan


def draw(n, slope=1.0, intercept=0.0, seed=0, spread=1.5):
    """Targets whose probability is expit(slope * logit + intercept), and logits."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, n)
    targets = generator.random(n) < expit(slope * logits + intercept)
    return targets.astype(float), logits


def subjects_of(n):
    return [f"s{i}" for i in range(n)]


def log_loss(targets, logits):
    return np.logaddexp(0, np.where(targets == 1, -logits, logits)).sum()


@pytest.mark.parametrize("seed", range(3))
def test_intercept_and_slope_against_glm(seed):
    targets, logits = draw(300, slope=0.5, intercept=-1, seed=seed)
    family = sm.families.Binomial()
    offset = sm.GLM(targets, np.ones(300), family=family, offset=logits).fit()
    value = calibration_intercept(targets, logits)["value"]
    assert value == pytest.approx(offset.params[0], abs=1e-6)
    line = sm.GLM(targets, sm.add_constant(logits), family=family).fit()
    value = calibration_slope(targets, logits)["value"]
    assert value == pytest.approx(line.params[1], abs=1e-6)


def test_slope_of_a_table_by_hand():
    # 1 of 4 positive at logit 0, 3 of 4 at logit 2: the line goes through both, from
    # -log 3 to log 3.
    targets, logits = [0, 0, 0, 1, 0, 1, 1, 1], [0.0] * 4 + [2.0] * 4
    assert calibration_slope(targets, logits)["value"] == pytest.approx(np.log(3))
    assert calibration_intercept(targets, [5.0] * 8)["value"] == pytest.approx(-5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_slope_of_any_scale(scale):
    targets, logits = draw(200)
    value = calibration_slope(targets, logits)["value"]
    scaled = calibration_slope(targets, logits * scale + 3 * scale)["value"]
    assert scaled * scale == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("targets", "logits", "reason"),
    [
        ([], [], "no recording is rated"),
        ([1, 1], [0.0, 1.0], "only one class"),
        ([0, 1, 0], [2.0, 2.0, 2.0], "all logits are the same"),
        ([0, 0, 1, 1], [0.0, 1.0, 2.0, 3.0], "do not overlap"),
        ([0, 0, 1, 1], [0.0, 2.0, 2.0, 3.0], "do not overlap"),
        ([1, 1, 0, 0], [0.0, 1.0, 2.0, 3.0], "do not overlap"),
    ],
)
def test_no_slope(targets, logits, reason):
    measure = calibration_slope(targets, logits)
    assert measure["value"] is None
    assert reason in measure["reason"]


def test_intercept_needs_no_overlap():
    assert calibration_intercept([0, 1], [-9.0, 9.0])["value"] == pytest.approx(0)
    assert calibration_intercept([0, 0], [0.0, 1.0])["value"] is None


def test_a_subject_far_out_does_not_break_the_slope():
    targets, logits = draw(100)
    logits[0] = 2000.0
    targets[0] = 1
    expected = sm.GLM(
        targets[1:], sm.add_constant(logits[1:]), family=sm.families.Binomial()
    ).fit()
    # It is as certain as can be of what is right: it changes nothing.
    value = calibration_slope(targets, logits)["value"]
    assert value == pytest.approx(expected.params[1], abs=1e-4)


def test_ece_by_hand():
    # 20 probabilities, pairs to a bin; in each pair one is positive.
    probabilities = np.arange(20) / 20
    targets = np.tile([0, 1], 10)
    means = probabilities.reshape(10, 2).mean(axis=1)
    expected = np.abs(means - 0.5).mean()
    assert ece(targets, probabilities)["value"] == pytest.approx(expected)


def test_ece_does_not_depend_on_the_order_of_rows():
    generator = np.random.default_rng(1)
    targets = generator.integers(0, 2, 60)
    probabilities = generator.random(60).round(1)
    value = ece(targets, probabilities)["value"]
    order = generator.permutation(60)
    assert ece(targets[order], probabilities[order])["value"] == pytest.approx(value)
    # Equal probabilities share a bin: with one bin it is the difference of the means.
    same = ece(targets, np.full(60, 0.3))["value"]
    assert same == pytest.approx(abs(targets.mean() - 0.3))


def test_ece_against_scikit_learn():
    targets, logits = draw(500, slope=0.4)
    observed, predicted = binned_curve(
        targets, expit(logits), n_bins=10, strategy="quantile"
    )
    expected = np.abs(observed - predicted).mean()  # 50 in each bin
    assert ece(targets, expit(logits))["value"] == pytest.approx(expected)


def test_ece_if_calibrated_by_hand():
    # Ten bins of ten: |mean of 10 coins - 1/2|, whose mean is 63 / 512.
    bins = np.repeat(np.linspace(0.4999, 0.5001, 10), 10)
    value = ece_if_calibrated(bins, seed=1)["value"]
    assert value == pytest.approx(63 / 512, abs=0.002)


def test_ece_if_calibrated_at_100_recordings():
    values = [
        ece_if_calibrated(np.random.default_rng(seed).random(100), seed)["value"]
        for seed in range(5)
    ]
    # The mean over a uniform p of sqrt(2 p (1 - p) / (10 pi)) is 0.099.
    assert np.mean(values) == pytest.approx(0.095, abs=0.01)


def test_ece_if_calibrated_is_the_mean_ece():
    _, logits = draw(100)
    probabilities = expit(logits)
    generator = np.random.default_rng(5)
    drawn = [
        ece(generator.random(100) < probabilities, probabilities)["value"]
        for _ in range(500)
    ]
    value = ece_if_calibrated(probabilities, seed=2)["value"]
    assert value == pytest.approx(np.mean(drawn), abs=0.004)
    assert ece_if_calibrated(probabilities, seed=2)["value"] == value
    assert ece_if_calibrated(probabilities, seed=3)["value"] != value


def test_metrics_leave_out_what_is_not_rated():
    targets, logits = draw(100)
    probabilities = expit(logits)
    found = calibration_metrics(targets, probabilities, seed=1)
    with_gaps = calibration_metrics(
        np.append(targets, [NAN] * 50), np.append(probabilities, np.ones(50)), seed=1
    )
    assert with_gaps == found
    assert list(found) == [
        "ece",
        "ece_if_calibrated",
        "calibration_intercept",
        "calibration_slope",
    ]
    slope = calibration_slope(targets, logits)["value"]
    assert found["calibration_slope"] == pytest.approx(slope)


def test_metrics_say_why_not():
    found = calibration_metrics([0, 0, NAN], [0.0, 1.0, 0.5], seed=1)
    assert found["calibration_slope"] is None
    reason = found["calibration_slope_reason"]
    assert reason == "only one class: all 2 rated recordings are negative"
    assert found["ece"] == 0.5
    json.dumps(found, allow_nan=False)
    nothing = calibration_metrics([NAN], [0.5], seed=1)
    assert nothing["ece_reason"] == "no recording is rated"


def test_temperature_is_the_best():
    targets, logits = draw(400, slope=0.5)
    fitted = fit_calibration(targets, logits, subjects_of(400), "temperature")
    best = minimize_scalar(lambda slope: log_loss(targets, slope * logits))
    assert fitted == {
        "kind": "temperature",
        "slope": pytest.approx(best.x, abs=1e-5),
        "intercept": 0,
    }


def test_platt_against_glm():
    targets, logits = draw(400, slope=0.5, intercept=1)
    fitted = fit_calibration(targets, logits + 100, subjects_of(400), "platt")
    line = sm.GLM(targets, sm.add_constant(logits), family=sm.families.Binomial()).fit()
    intercept, slope = line.params
    assert fitted["slope"] == pytest.approx(slope, abs=1e-6)
    assert fitted["intercept"] == pytest.approx(intercept - 100 * slope, abs=1e-4)


def test_fitting_mends_what_it_was_fitted_on():
    targets, logits = draw(400, slope=0.3, intercept=1)
    fitted = fit_calibration(targets, logits, subjects_of(400), "platt")
    mended = calibration_metrics(targets, apply_calibration(fitted, logits), seed=1)
    assert mended["calibration_slope"] == pytest.approx(1)
    assert mended["calibration_intercept"] == pytest.approx(0, abs=1e-6)
    # The parameters are plain: they survive JSON.
    again = apply_calibration(json.loads(json.dumps(fitted)), logits)
    assert (again == apply_calibration(fitted, logits)).all()


def test_apply_by_hand():
    parameters = {"kind": "platt", "slope": 2.0, "intercept": np.log(3)}
    assert apply_calibration(parameters, [[0.0], [np.log(3)]]).tolist() == [
        [pytest.approx(3 / 4)],
        [pytest.approx(27 / 28)],
    ]


@pytest.mark.parametrize("kind", ["temperature", "platt"])
@pytest.mark.parametrize("case", ["few subjects", "separated", "turned round"])
def test_fits_that_are_refused(kind, case):
    targets, logits = draw(200)
    subjects = subjects_of(200)
    if case == "few subjects":
        subjects = [f"{t}-{i % 9}" for i, t in enumerate(targets)]
        reason = "fewer than 10 subjects have positives: 9"
    elif case == "separated":
        logits, reason = np.where(targets == 1, 1.0, -1.0), "overlap"
    else:
        logits, reason = -logits, "higher logits do not go with more positives"
    fitted = fit_calibration(targets, logits, subjects, kind)
    assert (fitted["slope"], fitted["intercept"]) == (None, None)
    assert reason in fitted["reason"]
    with pytest.raises(ValueError, match="there is no calibration"):
        apply_calibration(fitted, logits)


def test_temperature_where_only_the_cut_at_0_separates_nothing():
    # All positive logits: they can be cut at 5, but not at 0.
    targets = np.repeat([0.0, 1.0], 10)
    logits = targets * 8 + 1
    subjects = subjects_of(20)
    assert fit_calibration(targets, logits, subjects, "platt")["slope"] is None
    assert fit_calibration(targets, logits, subjects, "temperature")["slope"] > 0


def test_unrated_recordings_do_not_count():
    targets, logits = draw(200)
    more = np.append(targets, [NAN] * 20), np.append(logits, [50.0] * 20)
    fitted = fit_calibration(*more, subjects_of(220), "platt")
    assert fitted == fit_calibration(targets, logits, subjects_of(200), "platt")


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="temperature, platt"):
        fit_calibration([0, 1], [0.0, 1.0], ["a", "b"], "isotonic")


def wilson(share, n):
    """By the formula, Wilson (1927)."""
    z = norm.ppf(0.975)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def test_bins_of_the_curve():
    probabilities = np.repeat([0.1, 0.6], 20)
    targets = np.array([1.0, 0, 0, 0] * 5 + [1.0] * 20)
    subjects = [f"s{i // 2}" for i in range(40)]
    found = calibration_curve(
        np.append(targets, NAN), np.append(probabilities, 0.9), [*subjects, "x"]
    )
    low, high = wilson(0.25, 10)
    assert found["bins"][0] == pytest.approx(
        {
            "n": 20,
            "n_subjects": 10,
            "probability": 0.1,
            "observed": 0.25,
            "low": low,
            "high": high,
        }
    )
    assert len(found["bins"]) == 2
    assert found["bins"][1]["low"] == pytest.approx(wilson(1, 10)[0])
    assert found["curve"] is None
    assert found["reason"].endswith("the rarer class has 15")
    json.dumps(found, allow_nan=False)


def test_curve_from_200_of_each_class_on():
    targets, logits = draw(5000, slope=0.5, seed=3)
    ones, zeros = np.flatnonzero(targets == 1), np.flatnonzero(targets == 0)
    kept = np.concatenate([ones[:200], zeros[:1000]])
    found = calibration_curve(targets[kept], expit(logits[kept]), subjects_of(1200))
    assert "reason" not in found
    fewer = calibration_curve(targets[kept[1:]], expit(logits[kept[1:]]), kept[1:])
    assert fewer["curve"] is None
    curve = calibration_curve(targets, expit(logits), subjects_of(5000))["curve"]
    truth = expit(
        0.5 * np.log(curve["probability"] / (1 - np.array(curve["probability"])))
    )
    assert len(curve["observed"]) == 101
    assert np.abs(curve["observed"] - truth)[10:-10].max() < 0.05


def test_no_curve_of_a_constant():
    found = calibration_curve([0.0, 1.0] * 200, [0.5] * 400, subjects_of(400))
    assert found["reason"] == "all probabilities are the same"
    assert calibration_curve([NAN], [0.5], ["a"])["bins"] == []
