"""metrics.choice: which model, and what it costs to have chosen."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from local.metrics.choice import NO_LABEL, pick_the_best, recommend
from local.metrics.comparison import UNVARYING

FAMILIES = {"net": "scratch", "linear": "statistics", "rbf": "statistics"}
ORDER = ["prevalence", "statistics", "scratch"]


def auroc(value, low=None):
    return {"value": value, "low": low, "high": None}


def pair(value, low, high):
    return {"value": value, "low": low, "high": high, "reason": "few"}


def recommended(aurocs, differences, families=FAMILIES):
    aurocs = {name: auroc(value) for name, value in aurocs.items()}
    return recommend(aurocs, differences, families, ORDER)


def test_the_simplest_that_the_best_does_not_beat():
    aurocs = {"net": 0.8, "linear": 0.75, "rbf": 0.78}
    differences = {
        "net - linear": pair(0.05, 0.01, 0.09),
        "net - rbf": pair(0.02, -0.04, 0.08),
        "linear - rbf": pair(-0.03, -0.05, -0.01),
    }
    name, reason = recommended(aurocs, differences)
    assert name == "rbf"  # the better one of the two simple ones
    assert reason == (
        "rbf (statistics): simpler than net (scratch), which is not shown to be "
        "better: difference 0.02 (−0.04 to 0.08)"
    )


def test_the_best_where_it_beats_all_that_is_simpler():
    aurocs = {"net": 0.8, "linear": 0.7, "rbf": 0.6}
    differences = {
        "net - linear": pair(0.1, 0.02, 0.18),
        "rbf - net": pair(-0.2, -0.3, -0.1),
    }
    name, reason = recommended(aurocs, differences)
    assert name == "net"
    assert "linear by 0.10 (0.02–0.18); rbf by 0.20 (0.10–0.30)" in reason
    two = {"net": "scratch", "linear": "statistics"}
    name, reason = recommended({"net": 0.7, "linear": 0.8}, {}, two)
    assert (name, "nothing is simpler" in reason) == ("linear", True)


def test_without_an_interval_nothing_is_shown():
    aurocs = {"net": 0.9, "linear": 0.6}
    families = {"net": "scratch", "linear": "statistics"}
    few = pair(0.3, None, None)
    assert recommended(aurocs, {"net - linear": few}, families).name == "linear"
    assert recommend(
        {"net": auroc(None), "linear": auroc(None)}, {}, families, ORDER
    ) == (None, NO_LABEL)


@pytest.mark.parametrize(("low", "name"), [(0.7, "net"), (0.4, "prevalence")])
def test_a_perfect_model_is_judged_by_its_own_interval(low, name):
    """Its difference to the prevalence is 0.5 whichever subjects there are."""
    families = {"net": "scratch", "prevalence": "prevalence"}
    aurocs = {"net": auroc(1.0, low), "prevalence": auroc(0.5)}
    difference = pair(0.5, None, None) | {"reason": UNVARYING}
    pairs = {"net - prevalence": difference}
    assert recommend(aurocs, pairs, families, ORDER).name == name


def test_each_fold_is_scored_by_the_model_that_the_others_choose():
    """Model a is better in the first fold, b in the others."""
    generator = np.random.default_rng(0)
    n = 90
    folds = np.repeat(["fold 1", "fold 2", "fold 3"], n // 3)
    targets = generator.integers(0, 2, n)
    first = folds == "fold 1"
    shift = {"a": np.where(first, 4, 0), "b": np.where(first, 0, 2)}
    tables = {
        name: pd.DataFrame(
            {
                "uid": [f"u{i:02}" for i in range(n)],
                "subject": [f"s{i // 2:02}" for i in range(n)],
                "label": "low",
                "target": targets.astype(float),
                "logit": (logits := generator.normal(size=n) + targets * own),
                "probability": expit(logits),
            }
        )
        for name, own in shift.items()
    }
    of_uid = pd.Series(folds, index=tables["a"]["uid"])
    result = pick_the_best([(tables, of_uid)], ["low"])
    inside = {
        name: [
            roc_auc_score(targets[folds == f], table["logit"][folds == f])
            for f in dict.fromkeys(folds)
        ]
        for name, table in tables.items()
    }
    others = {
        fold: max("ab", key=lambda name, f=fold: np.mean(np.delete(inside[name], f)))
        for fold in range(3)
    }
    assert [each["chosen"] for each in result["chosen"]] == list(others.values())
    assert others[0] == "b"  # though a is better there
    expected = np.mean([inside[name][fold] for fold, name in others.items()])
    assert result["auroc"]["value"] == pytest.approx(expected)
    assert result["auroc"]["low"] < expected < result["auroc"]["high"]
    twice = pick_the_best([(tables, of_uid)] * 2, ["low"])
    assert twice["auroc"]["low"] == pytest.approx(result["auroc"]["low"])
    assert [each["repeat"] for each in twice["chosen"]] == [1, 1, 1, 2, 2, 2]
