"""Thresholds of folds that have none of their own, from the other folds."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from local.evaluation import fold_points, operating_points
from local.evaluation.fold_points import (
    decide_folds,
    fold_operating_points,
    intervals_with_choice,
)
from local.evaluation.operating_points import fit_operating_points
from local.metrics import thresholds
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
    columns = ["subject", "split", "target", "probability"]
    subjects, folds, targets, probabilities = (rated[c].to_numpy() for c in columns)
    names = np.unique(subjects)
    for _ in range(200):
        drawn = generator.choice(names, len(names))
        rows = np.concatenate([np.flatnonzero(subjects == name) for name in drawn])
        right = np.zeros(len(rows))
        for fold in points:
            inside = folds[rows] == fold
            others = rows[~inside]
            chosen = targets[others], probabilities[others], range(len(others))
            cut = choose_threshold(*chosen, "youden", 1)["value"]
            cut = 0.4 if fold == "fold 1" else cut
            own = rows[inside]
            right[inside] = (probabilities[own] >= cut) == targets[own]
        shares.append([right[targets[rows] == target].mean() for target in (1, 0)])
    entry = intervals_with_choice(table, points, ["x"], seed=2)["x"]
    decided = decide_folds(table, points)[table["target"].notna()]
    expected = np.quantile(shares, [0.025, 0.975], axis=0)
    for place, (name, target) in enumerate((("sensitivity", 1), ("specificity", 0))):
        rows = decided[decided["target"] == target]
        value = (rows["predicted"] == target).mean()
        assert entry[name]["value"] == pytest.approx(value)
        bounds = [entry[name]["low"], entry[name]["high"]]
        assert bounds == pytest.approx(expected[:, place].tolist(), abs=0.06)
    assert intervals_with_choice(table, points, ["x"], seed=2)["x"] == entry


def test_the_interval_holds_the_sensitivity_of_the_procedure(monkeypatch):
    """40 subjects, six recordings, ICC 0.6: 97 % of 300 such studies do."""
    monkeypatch.setattr(fold_points, "N_DRAWS", 100)
    monkeypatch.setattr(thresholds, "N_DRAWS", 1)
    monkeypatch.setattr(operating_points, "PERSON_RULES", ())
    generator, distance = np.random.default_rng(3), 1.47  # AUROC 0.85
    intervals, truths = [], []
    for seed in range(10):
        table = folds_of(n_subjects=40)
        table = pd.concat([table.assign(uid=table["uid"] + f"_{i}") for i in range(3)])
        table = table.reset_index(drop=True)
        own = dict(
            zip(table["subject"].unique(), generator.normal(size=40), strict=True)
        )
        noise = generator.normal(size=len(table))
        scores = 0.6**0.5 * table["subject"].map(own) + 0.4**0.5 * noise
        scores += distance * table["target"]
        logits = distance * (scores - distance / 2)
        table = table.assign(logit=logits, probability=expit(logits))
        points = fold_operating_points(table, nothing_in(table), ["x"])
        values = [point["x"]["threshold"]["value"] for point in points.values()]
        cuts = logit(values) / distance + distance / 2
        truths.append(norm.sf(cuts - distance).mean())
        entry = intervals_with_choice(table, points, ["x"], seed=seed)["x"]
        intervals.append([entry["sensitivity"][bound] for bound in ("low", "high")])
    low, high = np.array(intervals).T
    truth = np.mean(truths)
    assert 0.7 < truth < 0.8
    assert ((low <= truth) & (truth <= high)).sum() >= 9
    assert 0.2 < (high - low).mean() < 0.4
