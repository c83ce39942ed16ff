"""Thresholds of folds that have none of their own, from the other folds."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from local.evaluation.fold_points import (
    decide_folds,
    fold_operating_points,
    intervals_with_choice,
)
from local.evaluation.operating_points import fit_operating_points
from local.metrics.thresholds import choose_threshold

NOTHING = {
    "threshold": {
        "value": None,
        "rule": "youden",
        "source": None,
        "n_positive_subjects": 3,
        "reason": "too few",
    },
    "calibration": None,
}


def folds_of(n_subjects=40, n_folds=5, seed=0, label="x"):
    """Two recordings of each subject, whose targets are the subject's."""
    generator = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), 2)
    target = (subject % 2).astype(float)
    own = np.repeat(generator.normal(size=n_subjects), 2)
    logits = own + generator.normal(size=len(subject)) + 2 * target - 1
    return pd.DataFrame(
        {
            "uid": [f"{label}{i}" for i in range(len(subject))],
            "subject": [f"s{number}" for number in subject],
            "label": label,
            "target": target,
            "logit": logits,
            "probability": expit(logits),
            "session": "",
            "split": [f"fold {number // 2 % n_folds + 1}" for number in subject],
            "predicted": pd.array([None] * len(subject), dtype="Int8"),
        }
    )


def nothing_in(table):
    return {fold: {"x": NOTHING} for fold in table["split"].unique()}


def test_a_fold_without_a_threshold_has_that_of_the_others():
    table = folds_of()
    points = fold_operating_points(table, nothing_in(table), ["x"])
    columns = ["target", "probability", "subject"]
    for fold, point in points.items():
        others = table[table["split"] != fold]
        expected = choose_threshold(*(others[column] for column in columns))
        threshold = point["x"]["threshold"]
        assert threshold["value"] == expected["value"]
        assert threshold["source"] == "other folds"
        assert threshold["n_positive_subjects"] == 16
        assert list(point["x"]["per_subject"]) == ["mean", "any", "majority"]
    decided = decide_folds(table.sample(frac=1, random_state=0), points)
    values = decided["split"].map(lambda fold: points[fold]["x"]["threshold"]["value"])
    expected = (decided["probability"] >= values).astype(int)
    assert decided["predicted"].tolist() == expected.tolist()
    again = decided.loc[table.index].drop(columns="predicted")
    assert again.equals(table.drop(columns="predicted"))


def test_calibration_is_that_of_the_others_too():
    table = folds_of(n_subjects=120)
    points = fold_operating_points(table, nothing_in(table), ["x"], calibration="platt")
    others = table[table["split"] != "fold 2"]
    expected = fit_operating_points(others, ["x"], calibration="platt")["x"]
    fitted = points["fold 2"]["x"]["calibration"]
    assert fitted["source"] == "other folds"
    assert fitted["slope"] == expected["calibration"]["slope"]
    assert points["fold 2"]["x"]["threshold"]["value"] == expected["threshold"]["value"]
    decided = decide_folds(table, points)
    own = table["split"] == "fold 2"
    calibrated = expit(fitted["slope"] * table["logit"][own] + fitted["intercept"])
    assert decided["probability"][own].tolist() == pytest.approx(calibrated.tolist())


def test_a_fold_keeps_its_own_threshold_or_that_none_was_any_good():
    table = folds_of()
    given = nothing_in(table)
    own = NOTHING["threshold"] | {"value": 0.3, "source": "validation"}
    bad = NOTHING["threshold"] | {"source": "validation"}
    given["fold 1"] = {"x": NOTHING | {"threshold": own}}
    given["fold 2"] = {"x": NOTHING | {"threshold": bad}}
    points = fold_operating_points(table, given, ["x"])
    assert points["fold 1"] == given["fold 1"]
    assert points["fold 2"] == given["fold 2"]
    assert points["fold 3"]["x"]["threshold"]["source"] == "other folds"
    decided = decide_folds(table, points)
    is_bad = decided["split"] == "fold 2"
    assert (decided["predicted"].isna() == is_bad).all()


def test_too_few_in_the_others_is_a_reason():
    table = folds_of(n_subjects=10)
    points = fold_operating_points(table, nothing_in(table), ["x"])
    threshold = points["fold 1"]["x"]["threshold"]
    assert threshold["value"] is threshold["source"] is None
    assert threshold["reason"].startswith("other folds: fewer than 5 subjects have")
    entry = intervals_with_choice(table, points, ["x"])["x"]["sensitivity"]
    assert entry["value"] is None and entry["reason"] == "no fold has a threshold"


def test_scores_are_left_alone():
    table = folds_of().assign(probability=np.nan)
    points = fold_operating_points(table, {"fold 1": {}}, ["x"])
    assert points == {"fold 1": {}}
    assert intervals_with_choice(table, points, ["x"]) == {}
    assert decide_folds(table, points).equals(table)


def test_the_interval_against_a_plain_implementation():
    """Fold 1 has a threshold of its own, which no draw changes; a row is not rated."""
    table = folds_of(n_subjects=30, seed=4)
    table.loc[7, "target"] = np.nan
    given = nothing_in(table)
    own = NOTHING["threshold"] | {"value": 0.4, "source": "validation"}
    given["fold 1"] = {"x": NOTHING | {"threshold": own}}
    points = fold_operating_points(table, given, ["x"])
    generator, shares = np.random.default_rng(1), []
    rated = table[table["target"].notna()]
    by_subject = dict(list(rated.groupby("subject")))
    for _ in range(400):
        names = generator.choice(list(by_subject), len(by_subject))
        parts = [
            by_subject[name].assign(subject=f"{name} {i}")
            for i, name in enumerate(names)
        ]
        drawn = pd.concat(parts, ignore_index=True)
        predicted = np.zeros(len(drawn))
        for fold in points:
            others, inside = drawn[drawn["split"] != fold], drawn["split"] == fold
            columns = (others[name] for name in ("target", "probability", "subject"))
            cut = choose_threshold(*columns, "youden", 1)["value"]
            cut = 0.4 if fold == "fold 1" else cut
            predicted[inside] = drawn["probability"][inside] >= cut
        is_positive = drawn["target"] == 1
        shares.append(
            (predicted[is_positive].mean(), 1 - predicted[~is_positive].mean())
        )
    entry = intervals_with_choice(table, points, ["x"], seed=2)["x"]
    decided = decide_folds(table, points)[table["target"].notna()]
    expected = np.quantile(shares, [0.025, 0.975], axis=0)
    for place, (name, target) in enumerate((("sensitivity", 1), ("specificity", 0))):
        rows = decided[decided["target"] == target]
        value = (rows["predicted"] == target).mean()
        assert entry[name]["value"] == pytest.approx(value)
        bounds = [entry[name]["low"], entry[name]["high"]]
        assert bounds == pytest.approx(expected[:, place].tolist(), abs=0.04)
    assert intervals_with_choice(table, points, ["x"], seed=2)["x"] == entry
