"""Calibration against values by hand, statsmodels, scikit-learn and scipy."""

import json

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import norm, t
from simulations.calibration import coverage, simulated
from sklearn.calibration import calibration_curve as binned_curve

from local.metrics.calibration import (
    calibration_curve,
    calibration_intercept,
    calibration_metrics,
    calibration_slope,
    ece,
)
from local.metrics.decisions import apply_calibration
from local.metrics.recalibration import fit_calibration

NAN = np.nan


def draw(n, slope=1.0, intercept=0.0, seed=0, spread=1.5):
    """Targets whose probability is expit(slope * logit + intercept), and logits."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, n)
    targets = generator.random(n) < expit(slope * logits + intercept)
    return targets.astype(float), logits


def subjects_of(n):
    return [f"s{i}" for i in range(n)]


def slope_of(targets, logits):
    """The slope where each recording is of a subject of its own."""
    return calibration_slope(targets, logits, subjects_of(len(targets)))["value"]


def intercept_of(targets, logits):
    return calibration_intercept(targets, logits, subjects_of(len(targets)))["value"]


def log_loss(targets, logits):
    return np.logaddexp(0, np.where(targets == 1, -logits, logits)).sum()


@pytest.mark.parametrize("seed", range(3))
def test_intercept_and_slope_against_glm(seed):
    targets, logits = draw(300, slope=0.5, intercept=-1, seed=seed)
    family = sm.families.Binomial()
    offset = sm.GLM(targets, np.ones(300), family=family, offset=logits).fit()
    value = intercept_of(targets, logits)
    assert value == pytest.approx(offset.params[0], abs=1e-6)
    line = sm.GLM(targets, sm.add_constant(logits), family=family).fit()
    value = slope_of(targets, logits)
    assert value == pytest.approx(line.params[1], abs=1e-6)


def test_slope_of_a_table_by_hand():
    # 1 of 4 positive at logit 0, 3 of 4 at logit 2: the line goes through both, from
    # -log 3 to log 3.
    targets, logits = [0, 0, 0, 1, 0, 1, 1, 1], [0.0] * 4 + [2.0] * 4
    assert slope_of(targets, logits) == pytest.approx(np.log(3))
    assert intercept_of(targets, [5.0] * 8) == pytest.approx(-5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_slope_of_any_scale(scale):
    targets, logits = draw(200)
    value = slope_of(targets, logits)
    scaled = slope_of(targets, logits * scale + 3 * scale)
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
    measure = calibration_slope(targets, logits, subjects_of(len(targets)))
    assert measure["value"] is None
    assert reason in measure["reason"]


def test_intercept_needs_no_overlap():
    assert intercept_of([0, 1], [-9.0, 9.0]) == pytest.approx(0)
    assert intercept_of([0, 0], [0.0, 1.0]) is None


def test_a_subject_far_out_does_not_break_the_slope():
    targets, logits = draw(100)
    logits[0] = 2000.0
    targets[0] = 1
    expected = sm.GLM(
        targets[1:], sm.add_constant(logits[1:]), family=sm.families.Binomial()
    ).fit()
    # It is as certain as can be of what is right: it changes nothing.
    value = slope_of(targets, logits)
    assert value == pytest.approx(expected.params[1], abs=1e-4)


def test_ece_by_hand():
    # 20 probabilities, pairs to a bin; in each pair one is positive.
    probabilities = np.arange(20) / 20
    targets = np.tile([0, 1], 10)
    means = probabilities.reshape(10, 2).mean(axis=1)
    expected = np.abs(means - 0.5).mean()
    assert ece(targets, probabilities) == pytest.approx(expected)


def test_ece_does_not_depend_on_the_order_of_rows():
    generator = np.random.default_rng(1)
    targets = generator.integers(0, 2, 60)
    probabilities = generator.random(60).round(1)
    value = ece(targets, probabilities)
    order = generator.permutation(60)
    assert ece(targets[order], probabilities[order]) == pytest.approx(value)
    # Equal probabilities share a bin: with one bin it is the difference of the means.
    same = ece(targets, np.full(60, 0.3))
    assert same == pytest.approx(abs(targets.mean() - 0.3))


def test_ece_against_scikit_learn():
    targets, logits = draw(500, slope=0.4)
    observed, predicted = binned_curve(
        targets, expit(logits), n_bins=10, strategy="quantile"
    )
    expected = np.abs(observed - predicted).mean()  # 50 in each bin
    assert ece(targets, expit(logits)) == pytest.approx(expected)


def test_metrics_leave_out_what_is_not_rated():
    targets, logits = draw(100)
    probabilities, subjects = expit(logits), subjects_of(100)
    found = calibration_metrics(targets, probabilities, subjects)
    with_gaps = calibration_metrics(
        np.append(targets, [NAN] * 50),
        np.append(probabilities, np.ones(50)),
        [*subjects, *subjects[:50]],
    )
    assert with_gaps == found
    assert list(found) == ["ece", "calibration_intercept", "calibration_slope"]
    slope = calibration_slope(targets, logits, subjects)
    assert found["calibration_slope"] == pytest.approx(slope)


def test_metrics_say_why_not():
    found = calibration_metrics([0, 0, NAN], [0.0, 1.0, 0.5], list("abc"))
    assert found["calibration_slope"]["value"] is None
    reason = found["calibration_slope"]["reason"]
    assert reason == "only one class: all 2 rated recordings are negative"
    assert found["ece"] == 0.5
    json.dumps(found, allow_nan=False)
    nothing = calibration_metrics([NAN], [0.5], ["a"])
    assert nothing["ece_reason"] == "no recording is rated"


@pytest.mark.parametrize("seed", range(3))
def test_intervals_against_generalised_estimating_equations(seed):
    """Their sandwich has no correction for few subjects; it is put on by hand."""
    targets, logits, subjects = simulated(np.random.default_rng(seed), 30, 0.7, -1)
    with_positive, with_negative = (set(subjects[targets == c]) for c in (1, 0))
    freedom = min(len(with_positive), len(with_negative)) - 1
    for columns, offset, entry in (
        (sm.add_constant(logits), None, calibration_slope),
        (np.ones((180, 1)), logits, calibration_intercept),
    ):
        fit = sm.GEE(
            *(targets, columns, subjects),
            family=sm.families.Binomial(),
            cov_struct=sm.cov_struct.Independence(),
            offset=offset,
        ).fit()
        corrected = 30 / 29 * 179 / (180 - columns.shape[1])
        half_width = t.ppf(0.975, freedom) * fit.bse[-1] * np.sqrt(corrected)
        found = entry(targets, logits, subjects)
        expected = fit.params[-1] + half_width * np.array([-1, 0, 1])
        bounds = [found[key] for key in ("low", "value", "high")]
        assert bounds == pytest.approx(expected, abs=1e-4)


def test_few_subjects_have_a_slope_without_bounds():
    targets, logits = draw(100)
    subjects = [f"s{i % 4}" for i in range(100)]
    for entry in (calibration_slope, calibration_intercept):
        found = entry(targets, logits, subjects)
        assert found["value"] is not None and found["low"] is found["high"] is None
        assert found["reason"].startswith("fewer than 5 subjects have positives: 4")
    curve = calibration_curve(targets, expit(logits), subjects)
    assert curve["line"] is None and "fewer than 5 subjects" in curve["line_reason"]


def test_intervals_hold_the_truth():
    """A cell of tests/simulations/calibration.py, which prints the grid."""
    found = coverage(n_subjects=20, slope=1.0, mean=0.0, repetitions=150)
    assert found["computed"] == 1
    # 95 % of 150, three standard errors off
    assert min(found[name] for name in found if name != "computed") > 0.89


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
    mended = apply_calibration(fitted, logits)
    mended = calibration_metrics(targets, mended, subjects_of(400))
    assert mended["calibration_slope"]["value"] == pytest.approx(1)
    assert mended["calibration_intercept"]["value"] == pytest.approx(0, abs=1e-6)
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
    assert found["curve_reason"].endswith("the rarer class has 15")
    json.dumps(found, allow_nan=False)


def test_curve_from_200_of_each_class_on():
    targets, logits = draw(5000, slope=0.5, seed=3)
    ones, zeros = np.flatnonzero(targets == 1), np.flatnonzero(targets == 0)
    kept = np.concatenate([ones[:200], zeros[:1000]])
    found = calibration_curve(targets[kept], expit(logits[kept]), subjects_of(1200))
    assert "curve_reason" not in found
    fewer = calibration_curve(targets[kept[1:]], expit(logits[kept[1:]]), kept[1:])
    assert fewer["curve"] is None
    curve = calibration_curve(targets, expit(logits), subjects_of(5000))["curve"]
    truth = expit(
        0.5 * np.log(curve["probability"] / (1 - np.array(curve["probability"])))
    )
    assert len(curve["observed"]) == 101
    assert np.abs(curve["observed"] - truth)[10:-10].max() < 0.05


def test_line_of_the_curve_by_hand():
    """Twenty subjects of two recordings: 1 of 4 positive at logit -1, 3 of 4 at 1."""
    logits = np.repeat([-1.0, 1.0], 20)
    targets = np.array([1.0, 0, 0, 0] * 5 + [1.0, 1, 1, 0] * 5)
    found = calibration_curve(targets, expit(logits), [f"s{i}" for i in range(40)])
    line = {name: np.array(column) for name, column in found["line"].items()}
    assert line["observed"][[0, -1]] == pytest.approx([0.25, 0.75])
    assert line["probability"][[0, -1]] == pytest.approx(expit([-1, 1]))
    # each end is a mean of 20 independent targets, whose logit has 1 / (20 p (1 - p))
    half_width = t.ppf(0.975, 19) * np.sqrt(1 / (20 * 0.1875) * 40 / 38)
    bounds = expit(np.log(3) + half_width * np.array([-1, 1]))
    assert [line["low"][-1], line["high"][-1]] == pytest.approx(bounds)


def test_no_curve_of_a_constant():
    found = calibration_curve([0.0, 1.0] * 200, [0.5] * 400, subjects_of(400))
    assert found["curve_reason"] == "all probabilities are the same"
    assert found["line_reason"] == "all logits are the same"
    assert calibration_curve([NAN], [0.5], ["a"])["bins"] == []
