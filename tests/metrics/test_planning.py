"""metrics.planning: intervals foretold, against those that simulated studies have."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from local.metrics.intervals import auroc_interval
from local.metrics.planning import planned_interval, planned_intervals


def simulated(auroc, n_positive, n_negative, n_studies=200):
    """The median bounds of studies with one recording of each subject."""
    generator = np.random.default_rng(0)
    targets = np.repeat([1.0, 0.0], [n_positive, n_negative])
    subjects = np.arange(len(targets))
    scores = generator.normal(size=(n_studies, len(targets)))
    scores += targets * norm.ppf(auroc) * np.sqrt(2)
    found = [auroc_interval(targets, of, subjects) for of in scores]
    return np.median([[of["low"], of["high"]] for of in found], axis=0)


@pytest.mark.parametrize("auroc", [0.75, 0.9])
@pytest.mark.parametrize("counts", [(18, 22), (10, 30), (50, 50), (8, 8)])
def test_simulated_studies_have_such_intervals(auroc, counts):
    found = planned_interval(auroc, *counts)
    bounds = found["low"], found["high"]
    np.testing.assert_allclose(bounds, simulated(auroc, *counts), atol=0.05)


def test_variance_by_hand():
    """With five subjects of each class, by t of 4 degrees of freedom, 2.776."""
    auroc, normal = 0.8, multivariate_normal(cov=[[1, 0.5], [0.5, 1]])
    both = normal.cdf([norm.ppf(auroc)] * 2)  # two differences share one score
    variance = (auroc * (1 - auroc) + 8 * (both - auroc**2)) / 25
    half_width = 2.7764 * variance**0.5 / (auroc * (1 - auroc))
    found = planned_interval(auroc, 5, 5)
    for bound, sign in (("low", -1), ("high", 1)):
        odds = np.exp(np.log(auroc / (1 - auroc)) + sign * half_width)
        assert found[bound] == pytest.approx(odds / (1 + odds), abs=1e-4)


def test_lines_of_labels():
    def manifest(subjects, **targets):
        return pd.DataFrame({"subject": [*map(str, subjects)], **targets})

    test = manifest(range(40), slow=[1.0] * 18 + [0.0] * 22, pain=[7.0] * 40)
    train = manifest(range(50, 55), slow=[1.0] * 5, pain=[7.0] * 5)
    # 50 has both, 60 nothing
    valid = manifest([50, 60], slow=[0.0, np.nan], pain=[7.0] * 2)
    manifests = {"train": train, "test": test, "valid": valid}
    asked = {"labels": ["slow", "pain"], "label_ranges": [None, [0, 9]]}
    lines = planned_intervals(SimpleNamespace(manifests=manifests, **asked))
    assert lines[1:] == [
        "  test",
        "    slow: 18 people with, 22 without: AUROC 0.75 would be 0.56 to 0.88, "
        "0.9 would be 0.74 to 0.97",
        "  cross-validation of train and val",
        "    slow: 5 people with, 1 without: fewer than 5 subjects have negatives: 1",
    ]
    asked |= {"label_ranges": [[0, 1], [0, 9]]}
    assert planned_intervals(SimpleNamespace(manifests=manifests, **asked)) == []
