"""Thresholds against those found by hand and by scikit-learn."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import recall_score, roc_curve

from local.metrics.thresholds import (
    choose_threshold,
    chosen_again,
    threshold_with_fallback,
)

NAN = np.nan


def validation(pairs, times=10):
    """Each (target, probability) so many times, each time of another subject."""
    targets, probabilities = np.array(list(pairs) * times, dtype=float).T
    return targets, probabilities, [f"s{i}" for i in range(len(targets))]


def test_youden_takes_the_middle_of_the_gap():
    chosen = choose_threshold(*validation([(0, 0.1), (0, 0.3), (1, 0.7), (1, 0.9)]))
    assert chosen == {
        "value": pytest.approx(0.5),
        "rule": "youden",
        "n_positive_subjects": 20,
    }


def test_of_equal_gaps_the_widest():
    # After 0.1 and after 0.4 Youden's sum is 1/2; the second gap is wider.
    pairs = [(0, 0.1), (1, 0.3), (0, 0.4), (1, 0.8)]
    assert choose_threshold(*validation(pairs))["value"] == pytest.approx(0.6)
    pairs = [(0, 0.1), (1, 0.6), (0, 0.7), (1, 0.8)]
    assert choose_threshold(*validation(pairs))["value"] == pytest.approx(0.35)


def test_ties_are_not_parted():
    # 0.5 has two positives and one negative: above 0.2 is 1 + 1/2, above 0.5 0 + 1.
    pairs = [(0, 0.2), (0, 0.5), (1, 0.5), (1, 0.5)]
    assert choose_threshold(*validation(pairs))["value"] == pytest.approx(0.35)


@pytest.mark.parametrize("seed", range(5))
def test_youden_against_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    targets = generator.binomial(1, 0.25, 200)
    probabilities = (generator.random(200) + targets * 0.4).round(1) / 1.4
    chosen = choose_threshold(targets, probabilities, range(200))["value"]
    fpr, tpr, _ = roc_curve(targets, probabilities)
    predicted = probabilities >= chosen
    sum_at_chosen = recall_score(targets, predicted) - predicted[targets == 0].mean()
    assert sum_at_chosen == pytest.approx((tpr - fpr).max())


@pytest.mark.parametrize(
    ("share", "expected"), [(1, 0.1), (0.75, 0.3), (0.74, 0.3), (0.5, 0.7), (0.2, 0.9)]
)
def test_sensitivity(share, expected):
    pairs = [(1, 0.2), (0, 0.2), (1, 0.4), (0, 0.6), (1, 0.8), (1, 1.0)]
    rule = {"sensitivity": share}
    chosen = choose_threshold(*validation(pairs), rule)
    assert chosen["value"] == pytest.approx(expected)
    assert chosen["rule"] == rule


def test_sensitivity_that_is_reached_exactly():
    # 0.55 * 200 is above 110 in floating point; 110 of 200 positives are at 0.9.
    pairs = [(1, 0.9)] * 11 + [(1, 0.2)] * 9 + [(0, 0.6)]
    chosen = choose_threshold(*validation(pairs), {"sensitivity": 0.55})
    assert chosen["value"] == pytest.approx(0.75)


def test_everything_is_positive_if_it_must_be():
    chosen = choose_threshold(*validation([(1, 0.0), (0, 0.0)]), {"sensitivity": 1})
    assert chosen["value"] == 0.0


def test_between_neighbouring_numbers():
    upper = np.nextafter(0.5, 1)
    targets, probabilities, subjects = validation([(0, 0.5), (1, upper)])
    chosen = choose_threshold(targets, probabilities, subjects)["value"]
    assert ((probabilities >= chosen) == (targets == 1)).all()


def test_no_threshold_of_a_model_that_is_wrong():
    chosen = choose_threshold(*validation([(1, 0.1), (0, 0.9)]))
    assert chosen["value"] is None
    assert chosen["reason"].startswith("no threshold is better")


@pytest.mark.parametrize("rare", [0, 1])
def test_subjects_are_counted_not_recordings(rare):
    targets = np.array([1 - rare] * 20 + [rare] * 30, dtype=float)
    probabilities = np.where(targets == 1, 0.8, 0.2)
    subjects = [f"a{i}" for i in range(20)] + [f"b{i % 9}" for i in range(30)]
    chosen = choose_threshold(targets, probabilities, subjects)
    assert chosen["value"] is None
    name = "positives" if rare else "negatives"
    assert chosen["reason"] == f"fewer than 10 subjects have {name}: 9"
    assert chosen["n_positive_subjects"] == (9 if rare else 20)
    subjects[-1] = "b9"
    assert choose_threshold(targets, probabilities, subjects)["value"] == 0.5


def test_unrated_recordings_do_not_count():
    targets, probabilities, subjects = validation([(0, 0.2), (1, 0.6), (NAN, 0.5)])
    assert choose_threshold(targets, probabilities, subjects)["value"] == 0.4


ENOUGH = validation([(0, 0.2), (1, 0.6)])
FEW = validation([(0, 0.2), (1, 0.9)], times=9)


def fallback(validation, cross_fitted, *others):
    sources = {"validation": validation, "cross-fitted training": cross_fitted}
    return threshold_with_fallback(sources, *others)


def test_validation_comes_first():
    chosen = fallback(ENOUGH, validation([(0, 0.1), (1, 0.9)]))
    assert chosen["value"] == 0.4
    assert chosen["source"] == "validation"
    assert chosen["n_positive_subjects"] == 10


@pytest.mark.parametrize("first", [FEW, None])
@pytest.mark.parametrize("times", [5, 10])
def test_cross_fitted_training_where_validation_is_too_small(first, times):
    """Five subjects of a class do there, as otherwise there would be none."""
    chosen = fallback(first, validation([(0, 0.2), (1, 0.6)], times))
    assert chosen["value"] == 0.4
    assert chosen["source"] == "cross-fitted training"
    assert chosen["n_positive_subjects"] == times


def test_neither():
    chosen = fallback(FEW, None, {"sensitivity": 0.9})
    reason = chosen.pop("reason")
    assert chosen == {
        "value": None,
        "low": None,
        "high": None,
        "rule": {"sensitivity": 0.9},
        "n_positive_subjects": 9,
        "source": None,
    }
    assert reason.startswith(
        "validation: fewer than 10 subjects have positives: 9; fewer than 10 "
        "subjects have negatives: 9; cross-fitted training: there are no such "
    )
    assert "cross_validate.py" in reason and "--cross_fitted_csv" in reason
    assert fallback(None, None)["n_positive_subjects"] == 0
    few = fallback(None, validation([(0, 0.2), (1, 0.9)], times=4))
    assert few["reason"].endswith(
        "cross-fitted training: fewer than 5 subjects have positives: 4; fewer than 5 "
        "subjects have negatives: 4"
    )


def test_a_bad_model_is_not_rescued_elsewhere():
    chosen = fallback(validation([(1, 0.1), (0, 0.9)]), ENOUGH)
    assert (chosen["value"], chosen["source"]) == (None, "validation")
    assert chosen["low"] is chosen["high"] is None


@pytest.mark.parametrize("rule", ["youden", {"sensitivity": 0.8}])
def test_chosen_again_against_a_plain_implementation(rule):
    """Subjects with all their recordings, of which some are not rated."""
    generator = np.random.default_rng(0)
    names = np.repeat([f"s{i}" for i in range(30)], 3)
    targets = np.repeat(generator.integers(0, 2, 30), 3).astype(float)
    probabilities = expit(generator.normal(2 * targets - 1, 1.5)).round(2)
    targets[::7] = NAN
    thresholds = []
    for _ in range(2000):
        rows = [np.flatnonzero(names == f"s{i}") for i in generator.integers(0, 30, 30)]
        rows = np.concatenate(rows)
        drawn = targets[rows], probabilities[rows]
        thresholds.append(choose_threshold(*drawn, range(len(rows)), rule, 1)["value"])
    expected = np.quantile(thresholds, [0.025, 0.975])
    again = chosen_again(targets, probabilities, names, rule, seed=1)
    assert list(again.values()) == pytest.approx(expected, abs=0.06)
    assert again["high"] - again["low"] > 0.1
    assert chosen_again(targets, probabilities, names, rule, seed=1) == again


def test_of_a_model_that_is_wrong_most_draws_choose_nothing():
    rows = validation([(1, 0.1), (0, 0.9)])
    assert chosen_again(*rows) == {"low": None, "high": None}
