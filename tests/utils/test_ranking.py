"""AUROC in its three forms, beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from local.utils.ranking import auroc, pairs_in_order, plain_auroc


@pytest.fixture(params=range(5))
def drawn(request):
    """Targets, scores with ties, and weights, some of them 0."""
    generator = np.random.default_rng(request.param)
    targets = generator.integers(0, 2, 50)
    return targets, generator.integers(0, 9, 50), generator.integers(0, 4, 50)


def test_auroc_is_scikit_learns(drawn):
    targets, scores, weights = drawn
    plain = roc_auc_score(targets, scores)
    weighted = roc_auc_score(targets, scores, sample_weight=weights)
    assert plain_auroc(targets, scores) == pytest.approx(plain, abs=1e-12)
    both = auroc(targets, scores, np.stack([weights, np.ones(50)]).astype(float))
    assert both == pytest.approx([weighted, plain], abs=1e-12)


def test_shares_are_of_each_recordings_pairs(drawn):
    targets, scores, weights = drawn
    weights = weights + 0.5
    value, shares = pairs_in_order(targets, scores, weights)
    expected = roc_auc_score(targets, scores, sample_weight=weights)
    assert value == pytest.approx(expected, abs=1e-12)
    for i in range(50):
        others = targets != targets[i]
        right = np.sign(scores[i] - scores[others]) * (2 * targets[i] - 1)
        share = np.average((right + 1) / 2, weights=weights[others])
        assert shares[i] == pytest.approx(share, abs=1e-12)


def test_of_one_class_there_is_none():
    assert np.isnan(plain_auroc(np.ones(3), np.arange(3)))
