"""metrics.estimate: values, bounds and reasons by hand."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from local.data.labels import why_one_class
from local.metrics.estimate import (
    exact_interval,
    measure,
    subjects_by_class,
    too_few_subjects,
    wilson_interval,
)


def test_a_reason_stands_where_something_is_missing_only():
    assert measure(np.float64(1), (0, 2), "why") == {"value": 1.0, "low": 0, "high": 2}
    assert measure(None, reason="why") == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "why",
    }
    assert measure(1, (None, 2), "why")["reason"] == "why"
    assert type(measure(np.float64(1), (np.int64(0), 2))["low"]) is float


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (7, 7), (50, 90)])
def test_wilson_is_scipy_s(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson_interval(k / n, n) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_of_all_reaches_1():
    for n in range(5, 60):
        assert wilson_interval(1.0, n)[1] == 1.0
        assert wilson_interval(0.0, n)[0] == 0.0


def test_one_class():
    assert why_one_class(np.array([])) == "no recording is rated"
    assert "all 2 rated recordings are negative" in why_one_class(np.zeros(2))
    assert why_one_class(np.array([0, 1])) is None


def test_counts_of_subjects():
    targets = np.array([1, 1, 0, 0, np.nan])
    assert subjects_by_class(targets, np.array(list("aabac"), dtype=object)) == (1, 2)
    assert too_few_subjects(10, 10, 10) is None
    assert too_few_subjects(9, 10, 10) == "fewer than 10 subjects have positives: 9"
    assert "; fewer than 5 subjects have negatives: 0" in too_few_subjects(4, 0, 5)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_exact_bounds_of_all_and_of_none(n):
    # all of n: the bound at which that happens in 2.5 %
    assert exact_interval(1.0, n) == pytest.approx((0.025 ** (1 / n), 1))
    assert exact_interval(0.0, n) == pytest.approx((0, 1 - 0.025 ** (1 / n)))


def test_exact_bounds_between():
    low, high = exact_interval(0.3, 20)
    assert binom.sf(5, 20, low) == pytest.approx(0.025)
    assert binom.cdf(6, 20, high) == pytest.approx(0.025)
