"""Intervals against loops, formulas and simulated studies."""

import json

import numpy as np
import pytest
from scipy.stats import norm, t
from simulations.coverage import coverage, simulated
from statsmodels.stats.proportion import proportion_confint

from local.metrics import resampling
from local.metrics.estimate import wilson_interval
from local.metrics.intervals import auroc_interval, bootstrap_intervals, macro_intervals
from local.metrics.measures import (
    ORDINAL_MEASURES,
    PROBABILITY_MEASURES,
    auroc,
    brier,
    mae,
    subject_weights,
    threshold_measures,
)

ALL_BINARY = PROBABILITY_MEASURES | threshold_measures(0.5)


def study(n_subjects=20, seed=1, varying=True, share=0.4):
    """Targets, probabilities and subjects, six recordings each."""
    generator = np.random.default_rng(seed)
    targets, scores, subjects = simulated(generator, n_subjects, 0.8, varying, share)
    return targets, norm.cdf(scores - 1).round(2), subjects


def share_below(score, others):
    return np.mean([(other < score) + (other == score) / 2 for other in others])


def bounds(interval):
    return interval["low"], interval["high"]


def obuchowski_variance(targets, scores, subjects):
    """Written down from the paper's formulas, one subject at a time."""
    positives, negatives = scores[targets == 1], scores[targets == 0]
    area = np.mean([share_below(x, negatives) for x in positives])
    s10 = s01 = s11 = 0
    with_positive = with_negative = 0
    names = sorted(set(subjects))
    for name in names:
        x = scores[(subjects == name) & (targets == 1)]
        y = scores[(subjects == name) & (targets == 0)]
        of_x = sum(share_below(score, negatives) - area for score in x)
        of_y = sum(1 - share_below(score, positives) - area for score in y)
        with_positive += len(x) > 0
        with_negative += len(y) > 0
        s10, s01, s11 = s10 + of_x**2, s01 + of_y**2, s11 + of_x * of_y
    s10 *= with_positive / ((with_positive - 1) * len(positives))
    s01 *= with_negative / ((with_negative - 1) * len(negatives))
    s11 *= len(names) / (len(names) - 1)
    variance = s10 / len(positives) + s01 / len(negatives)
    variance += 2 * s11 / (len(positives) * len(negatives))
    return area, variance, min(with_positive, with_negative) - 1


@pytest.mark.parametrize("varying", [True, False])
def test_auroc_as_the_paper_has_it(varying):
    data = study(varying=varying)
    area, variance, freedom = obuchowski_variance(*data)
    error = np.sqrt(variance) / (area * (1 - area)) * t.ppf(0.975, freedom)
    odds = area / (1 - area) * np.exp([-error, error])
    interval = auroc_interval(*data)
    assert interval["value"] == pytest.approx(area)
    assert bounds(interval) == pytest.approx(tuple(odds / (1 + odds)))
    assert interval == auroc_interval(*data, weights=np.full(len(data[0]), 1))
    # logits instead of probabilities change nothing
    assert auroc_interval(data[0], 5 * data[1] - 7, data[2]) == pytest.approx(interval)


def test_auroc_with_weights_is_that_of_repeated_recordings():
    targets, scores, subjects = study()
    weights = np.random.default_rng(2).integers(1, 4, len(targets))
    repeated = np.repeat(np.arange(len(targets)), weights)
    assert auroc_interval(targets, scores, subjects, weights) == pytest.approx(
        auroc_interval(targets[repeated], scores[repeated], subjects[repeated])
    )


def test_auroc_of_subjects_that_weigh_the_same():
    targets, scores, subjects = study(varying=False)
    # six copies more of one subject's recordings must not count
    more = np.concatenate([np.arange(len(targets)), np.tile(np.arange(6), 6)])
    assert auroc_interval(
        targets[more], scores[more], subjects[more], subject_weights(subjects[more])
    ) == pytest.approx(auroc_interval(targets, scores, subjects))


def test_perfect_auroc_is_wilson_of_subjects():
    targets, subjects = np.tile([0, 1], 20), np.repeat(np.arange(20), 2)
    n = 20
    interval = auroc_interval(targets, targets, subjects)
    expected = pytest.approx((n / (n + norm.ppf(0.975) ** 2), 1))
    assert interval["value"] == 1
    assert bounds(interval) == expected
    worst = auroc_interval(targets, 1 - targets, subjects)
    assert worst["value"] == 0
    assert (1 - worst["high"], 1 - worst["low"]) == expected
    useless = auroc_interval(targets, np.full(40, 0.3), subjects)
    assert useless["value"] == 0.5
    assert bounds(useless) == pytest.approx(proportion_confint(10, 20, method="wilson"))


@pytest.mark.parametrize("target", [0, 1])
def test_too_few_subjects(target):
    # four subjects have the target, 16 recordings; the other eight have none
    targets = np.full(48, 1 - target)
    targets[:16] = target
    subjects = np.repeat(np.arange(12), 4)
    scores = np.random.default_rng(1).random(48)
    name = "positive" if target else "negative"
    found = bootstrap_intervals(ALL_BINARY, targets, scores, subjects, seed=1)
    for interval in (auroc_interval(targets, scores, subjects), *found.values()):
        assert interval["value"] is not None
        assert bounds(interval) == (None, None)
        assert f"fewer than 5 subjects have {name}s: 4" in interval["reason"]
    targets[16] = target  # a fifth, who has both
    assert auroc_interval(targets, scores, subjects)["low"] is not None
    found = bootstrap_intervals(ALL_BINARY, targets, scores, subjects, seed=1)
    assert found["brier"]["low"] is not None


def test_what_can_not_be_computed():
    one_class = auroc_interval([1, 1, np.nan], [1, 2, 3], list("abc"))
    nothing = auroc_interval([np.nan], [0.5], ["a"])
    assert (one_class["value"], nothing["value"]) == (None, None)
    assert "one class" in one_class["reason"]
    assert nothing["reason"] == "no recording is rated"
    found = bootstrap_intervals(ALL_BINARY, [np.nan], [0.5], ["a"], seed=1)
    for interval in (nothing, *found.values()):
        assert interval["value"] is None
        assert interval["reason"] == "no recording is rated"
    found = bootstrap_intervals(ALL_BINARY, [0] * 9, [0.2] * 9, range(9), seed=1)
    assert found["brier"]["value"] == pytest.approx(0.04)
    assert "have positives: 0" in found["brier"]["reason"]
    assert found["ppv"]["reason"] == "no recording is predicted positive"
    assert found["specificity"]["value"] == 1


def test_unrated_recordings_change_nothing():
    targets, scores, subjects = study()
    unrated = np.concatenate([targets, [np.nan]]), np.append(scores, 0.2)
    more = np.append(subjects.astype(str), "nobody")
    assert auroc_interval(*unrated, more) == auroc_interval(targets, scores, subjects)
    found = bootstrap_intervals({"brier": brier}, *unrated, more, seed=1)
    same = bootstrap_intervals({"brier": brier}, targets, scores, subjects, seed=1)
    assert found == same


def test_results_are_plain_numbers():
    data = study()
    found = bootstrap_intervals(ALL_BINARY, *data, seed=1, n_draws=50)
    found["macro"] = macro_intervals({"x": as_label(ALL_BINARY, *data)}, 1, n_draws=50)
    found["interval"] = auroc_interval(*data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_interval_of_a_mean_is_the_normal_one():
    # the mean absolute error is a mean of 400 independent subjects
    errors = np.abs(np.random.default_rng(1).normal(size=400))
    found = bootstrap_intervals(
        {"mae": mae}, np.zeros(400), errors, range(400), seed=1, two_classes=False
    )["mae"]
    half_width = 1.96 * errors.std() / 20
    assert found["value"] - found["low"] == pytest.approx(half_width, rel=0.08)
    assert found["high"] - found["value"] == pytest.approx(half_width, rel=0.08)


def test_subjects_are_drawn_whole():
    errors = np.random.default_rng(1).random(30)
    arguments = {"seed": 1, "two_classes": False}
    once = bootstrap_intervals(
        {"mae": mae}, np.zeros(30), errors, np.arange(30), **arguments
    )
    # five copies of each recording say nothing new
    subjects = np.repeat(np.arange(30), 5)
    five = bootstrap_intervals(
        {"mae": mae}, np.zeros(150), np.repeat(errors, 5), subjects, **arguments
    )
    assert five["mae"] == pytest.approx(once["mae"])


def prevalence(targets, scores, weights):
    return weights @ targets / weights.sum(axis=1)


def test_strata():
    functions = {"net_benefit": prevalence}
    targets = np.array([1] * 6 + [0] * 9)
    found = bootstrap_intervals(functions, targets, targets, np.arange(15), seed=1)
    assert found["net_benefit"]["reason"] == "the same in all draws of subjects"
    # Ten have both classes and one no positive, too few for a stratum: how often that
    # one is drawn varies, and so does the share.
    targets = np.array([[1, 0]] * 10 + [[0, 0]]).ravel()
    subjects = np.repeat(np.arange(11), 2)
    found = bootstrap_intervals(functions, targets, targets, subjects, seed=1)
    # half of the recordings are positive where that one is not drawn
    assert found["net_benefit"]["low"] < 10 / 22 < found["net_benefit"]["high"] == 0.5


def test_proportions_that_do_not_vary_are_wilson_of_those_who_contribute():
    # 8 subjects with a positive, all found; 12 without; 3 of these with a false alarm
    targets = np.repeat([1] * 8 + [0] * 12, 2)
    scores = np.where(targets == 1, 0.9, 0.1)
    scores[[16, 18, 20]] = 0.8
    subjects = np.repeat(np.arange(20), 2)
    found = bootstrap_intervals(ALL_BINARY, targets, scores, subjects, seed=1)
    assert bounds(found["sensitivity"]) == pytest.approx(wilson_interval(1, 8))
    # all of them are predicted negative at least once
    assert bounds(found["npv"]) == pytest.approx(wilson_interval(1, 12))
    assert bounds(found["auroc"]) == pytest.approx(wilson_interval(1, 20))
    assert found["specificity"]["value"] == pytest.approx(21 / 24)
    assert found["specificity"]["low"] < 21 / 24 < found["specificity"]["high"] <= 1
    assert bounds(found["specificity"]) != pytest.approx(wilson_interval(21 / 24, 12))
    same = bootstrap_intervals(ALL_BINARY, targets, targets, subjects, seed=1)
    assert bounds(same["f1"]) == pytest.approx(wilson_interval(1, 8))
    assert bounds(same["balanced_accuracy"]) == pytest.approx(wilson_interval(1, 20))
    assert (same["brier"]["value"], *bounds(same["brier"])) == (0, None, None)
    assert same["brier"]["reason"] == "the same in all draws of subjects"


def test_draws_in_which_a_measure_is_undefined():
    # One of ten subjects without a positive has the only prediction above 0.5.
    targets, scores = np.repeat([1, 0], 10), np.full(20, 0.2)
    scores[15] = 0.9
    found = bootstrap_intervals(ALL_BINARY, targets, scores, range(20), seed=1)
    missing = 0.9**10 * 2000  # draws without him
    assert found["ppv"]["n_undefined"] == pytest.approx(missing, abs=80)
    assert "n_undefined" not in found["npv"]
    rare = bootstrap_intervals(
        {
            "ppv": lambda y, p, w: (
                np.where(w[:, 0] > 1, 0.5, np.nan) if len(w) > 1 else [1]
            )
        },
        targets,
        scores,
        range(20),
        seed=1,
    )["ppv"]
    assert (rare["value"], *bounds(rare)) == (1, None, None)
    assert (
        rare["reason"]
        == f"undefined in {rare['n_undefined']} of 2000 draws of subjects"
    )


def test_seeds_blocks_and_threads(monkeypatch):
    data = study()
    first = bootstrap_intervals(ALL_BINARY, *data, seed=1, n_draws=300)
    assert bootstrap_intervals(ALL_BINARY, *data, seed=2, n_draws=300) != first
    monkeypatch.setattr(resampling, "BLOCK_SIZE", 777)
    monkeypatch.setattr(resampling, "N_THREADS", 1)
    again = bootstrap_intervals(ALL_BINARY, *data, seed=1, n_draws=300)
    for name, interval in first.items():
        assert again[name] == pytest.approx(interval)


def test_bootstrap_of_subjects_that_weigh_the_same():
    errors = np.random.default_rng(1).random(30)
    arguments = {"seed": 1, "two_classes": False}
    once = bootstrap_intervals(
        {"mae": mae}, np.zeros(30), errors, range(30), **arguments
    )
    n = np.arange(30) % 4 + 1
    subjects = np.repeat(np.arange(30), n)
    found = bootstrap_intervals(
        {"mae": mae},
        np.zeros(len(subjects)),
        np.repeat(errors, n),
        subjects,
        weights=subject_weights(subjects),
        **arguments,
    )
    assert found["mae"] == pytest.approx(once["mae"])


def as_label(functions, targets, scores, subjects):
    return {
        "functions": functions,
        "targets": targets,
        "scores": scores,
        "subjects": subjects,
    }


def test_macro_of_one_label_is_that_label():
    data = study()
    macro = macro_intervals({"x": as_label({"brier": brier}, *data)}, seed=3)
    alone = bootstrap_intervals({"brier": brier}, *data, seed=3, two_classes=False)
    assert macro == alone


def test_macro_draws_are_shared():
    # What one label has more of an error the other has less, in each subject. The
    # other one is rated in another order and has an unrated subject more.
    errors = np.random.default_rng(1).random(12)
    targets = np.resize([0.0, 1.0], 12)
    order = np.random.default_rng(2).permutation(12)
    second = as_label(
        {"mae": mae},
        np.append(targets[order], np.nan),
        np.append((targets + 2 - errors)[order], 1),
        [*order, 99],
    )
    first = as_label({"mae": mae}, targets, targets + errors, range(12))
    macro = macro_intervals({"x": first, "y": second}, seed=1)["mae"]
    assert macro["value"] == pytest.approx(1)
    assert macro["reason"] == "the same in all draws of subjects"


def test_macro_counts_draws_with_one_class():
    scores = np.random.default_rng(1).random(10)
    common = as_label({"auroc": auroc}, [0, 1] * 5, scores, range(10))
    rare = as_label({"auroc": auroc}, [1] + [0] * 9, scores, range(10))
    absent = as_label({"auroc": auroc}, [0] * 10, scores, range(10))
    labels = {"common": common, "rare": rare, "absent": absent}
    macro = macro_intervals(labels, seed=1)["auroc"]
    values = [auroc_interval(*list(of.values())[1:])["value"] for of in (common, rare)]
    assert macro["value"] == pytest.approx(np.mean(values))
    # without the first subject, or with nobody else of one class of `common`
    assert macro["n_undefined"] == pytest.approx(0.9**10 * 2000, abs=80)
    assert macro["low"] < macro["value"] < macro["high"]


def test_macro_that_can_not_be_computed():
    scores = np.full(10, 0.2)
    label = as_label(threshold_measures(0.5), [0, 1] * 5, scores, range(10))
    macro = macro_intervals({"x": label, "y": label}, seed=1)
    assert macro["ppv"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "x, y: no recording is predicted positive",
    }
    assert bounds(macro["specificity"]) == pytest.approx(wilson_interval(1, 10))
    absent = label | {"targets": [0] * 10}
    macro = macro_intervals({"x": absent}, seed=1)
    assert macro["ppv"]["reason"] == "no label has two different targets"
    few = label | {"subjects": [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]}
    macro = macro_intervals({"x": few}, seed=1)
    assert macro["specificity"]["value"] == 1
    assert macro["specificity"]["reason"] == "fewer than 5 subjects: 4"
    assert macro_intervals({}, seed=1) == {}


def test_ratings_have_all_measures():
    generator = np.random.default_rng(1)
    ratings = generator.integers(0, 5, 60)
    found = bootstrap_intervals(
        ORDINAL_MEASURES,
        ratings,
        ratings + generator.normal(size=60),
        np.arange(60) // 3,
        seed=1,
        two_classes=False,
    )
    assert list(found) == list(ORDINAL_MEASURES)
    for interval in found.values():
        assert interval["low"] < interval["value"] < interval["high"]


@pytest.mark.parametrize(
    ("cell", "least"),
    [((20, 0.97, False, 0.5), 0.85), ((40, 0.90, True, 0.5), 0.90)],
)
def test_coverage(cell, least):
    found = coverage(auroc_interval, *cell, repetitions=400)
    assert least <= found["holds"] <= 0.99


def test_recordings_are_no_subjects():
    def of_recordings(targets, scores, subjects):
        return auroc_interval(targets, scores, np.arange(len(subjects)))

    # the simulation would notice an interval that takes them for subjects
    assert coverage(of_recordings, 40, 0.9, False, 0.5, 200)["holds"] < 0.8
