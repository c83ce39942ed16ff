"""Baselines: what logistic regression and the prevalence give, files of features."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedGroupKFold

from local.evaluation import baselines
from local.model import kernel_fitting

N_SUBJECTS, N_EACH, N_FEATURES = 40, 5, 6


def make_split(seed, planted=2.0):
    """A manifest of 200 recordings and features; the third one tells the label `x`."""
    generator = np.random.default_rng(seed)
    subjects = np.repeat([f"{seed}-{i}" for i in range(N_SUBJECTS)], N_EACH)
    features = generator.normal([0, 10, 0, 0, 0, 3], size=(len(subjects), N_FEATURES))
    noise = generator.logistic(size=len(subjects))
    rated = (planted * features[:, 2] + noise > 1).astype(float)
    rated[::17] = np.nan
    manifest = pd.DataFrame(
        {
            "ID": [f"{seed}_{i}" for i in range(len(subjects))],
            "subject": subjects,
            "x": rated,
            "severity": generator.uniform(0, 4, len(subjects)),
            "never": 0.0,
        }
    )
    return manifest, features


@pytest.fixture(scope="module")
def train():
    return make_split(1)


@pytest.fixture(scope="module")
def scored():
    return make_split(2)


def of_training(train, label="x"):
    manifest, features = train
    subjects = manifest["subject"].to_numpy(dtype=object)
    return features, manifest[label].to_numpy(), subjects


# Logistic regression


def directly(train, features, seed):
    """The same by scikit-learn, step by step."""
    known, targets, subjects = of_training(train)
    rated = ~np.isnan(targets)
    known, targets, subjects = known[rated], targets[rated], subjects[rated]

    quantiles = np.quantile(known, np.linspace(0, 1, 101), axis=0)
    scores = norm.ppf((np.arange(101) + 0.5) / 101)

    def standardised(rows):
        columns = zip(rows.T, quantiles.T, strict=True)
        return np.stack([np.interp(*column, scores) for column in columns], axis=1)

    inputs, losses = standardised(known), {}
    for c in (1e-3, 1e-2, 1e-1, 1.0):
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        losses[c] = [
            log_loss(
                targets[outside],
                LogisticRegression(C=c)
                .fit(inputs[inside], targets[inside])
                .predict_proba(inputs[outside]),
            )
            for inside, outside in folds.split(known, targets, subjects)
        ]
    best = min(losses, key=lambda c: np.mean(losses[c]))
    fitted = LogisticRegression(C=best).fit(inputs, targets)
    return best, fitted.predict_proba(standardised(features))[:, 1]


@pytest.mark.parametrize("seed", [0, 3])
def test_logistic_baseline_is_scikit_learns(train, scored, seed):
    best, expected = directly(train, scored[1], seed)
    assert best == 1.0
    found, reason = baselines.logistic_baseline(*of_training(train), scored[1], seed)
    assert reason is None
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_penalty_is_chosen_that_fits_the_data():
    """Of pure noise the strongest one: all probabilities are near the prevalence."""
    train = make_split(5, planted=0)
    best, expected = directly(train, train[1], seed=0)
    assert best == 1e-3
    found, _ = baselines.logistic_baseline(*of_training(train), train[1], seed=0)
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.ptp(found) < 0.15


def test_a_planted_feature_is_found_and_noise_is_not():
    values = {}
    for planted in (0.0, 6.0):
        train, scored = make_split(11, planted), make_split(12, planted)
        found, _ = baselines.logistic_baseline(*of_training(train), scored[1], seed=0)
        rated = scored[0]["x"].notna()
        values[planted] = roc_auc_score(scored[0]["x"][rated], found[rated])
    assert values[6.0] > 0.9
    assert 0.38 < values[0.0] < 0.62


def test_gaps_are_usual_values_and_constants_count_for_nothing(train, scored):
    features, targets, subjects = of_training(train)
    features, other = features.copy(), scored[1].copy()
    features[np.isnan(targets), 1] = 1e6  # not rated: of these nothing is learned
    other[0, 1] = np.median(features[~np.isnan(targets), 1])
    expected, _ = baselines.logistic_baseline(
        features, targets, subjects, other, seed=0
    )
    other[0, 1] = np.nan

    def widened(rows, constant):
        return np.column_stack([rows, np.full(len(rows), constant)])

    for constant in (7.0, np.nan):
        found, _ = baselines.logistic_baseline(
            widened(features, constant), targets, subjects, widened(other, 1e9), seed=0
        )
        assert found == pytest.approx(expected, abs=1e-6)
    features[::3, 1] = np.nan
    found, _ = baselines.logistic_baseline(features, targets, subjects, other, seed=0)
    assert found == pytest.approx(expected, abs=0.1)


def test_the_penalty_is_chosen_over_subjects():
    """Features tell whose recording it is, and nothing of another subject's label."""
    generator = np.random.default_rng(0)
    subjects = np.tile(np.arange(40).astype(str).astype(object), 5)
    targets = np.tile(generator.permutation(np.arange(40) % 2), 5).astype(float)
    features = np.tile(generator.normal(size=(40, 30)), (5, 1))
    found, _ = baselines.logistic_baseline(features, targets, subjects, features, 0)
    assert np.ptp(found) < 0.15  # by recording C 1 would be chosen: 0.9


@pytest.mark.filterwarnings("error")
def test_folds_of_one_class_are_no_obstacle(train, scored, monkeypatch):
    features, targets, subjects = of_training(train)
    positives = targets[~np.isnan(targets)] == 1
    negatives = np.flatnonzero(~positives)

    def fold_of_positives(targets, _subjects, _seed):
        folds = np.zeros(len(targets), dtype=int)
        folds[negatives[::2]] = 1
        return folds

    monkeypatch.setattr(kernel_fitting, "draw_folds", fold_of_positives)
    found, reason = baselines.logistic_baseline(
        features, targets, subjects, scored[1], seed=0
    )
    assert reason is None and np.isfinite(found).all()


def test_only_training_is_learned_from(train, scored):
    """A recording's probability does not depend on the others that are scored."""
    whole, _ = baselines.logistic_baseline(*of_training(train), scored[1], seed=0)
    few, _ = baselines.logistic_baseline(*of_training(train), scored[1][:3], seed=0)
    assert few == pytest.approx(whole[:3], abs=1e-12)


def test_what_can_not_be_learned_has_a_reason(train, scored):
    features, targets, subjects = of_training(train)

    def reason(targets=targets, features=features):
        found, why = baselines.logistic_baseline(
            features, targets, subjects, scored[1], seed=0
        )
        assert np.isnan(found).all() and len(found) == len(scored[1])
        return why

    assert "all 200 rated recordings are negative" in reason(np.zeros(200))
    assert "no recording is rated" in reason(np.full(200, np.nan))
    assert "too few training subjects" in reason((np.arange(200) < 3).astype(float))
    assert "the same for all" in reason(features=np.ones((200, 4)))


# The prevalence


def test_prevalence_is_that_of_the_rated_training_recordings():
    found, reason = baselines.prevalence_baseline([1, 0, 0, 0, np.nan], n=3)
    assert found.tolist() == [0.25] * 3 and reason is None
    found, reason = baselines.prevalence_baseline([1, 1, np.nan], n=3)
    assert np.isnan(found).all() and "all 2 rated recordings are positive" in reason


# What goes into metrics.json

NAMES = ["x", "severity", "never"]
SCORES = ["severity"]


@pytest.fixture(scope="module")
def results(train, scored):
    features = {
        baselines.ACOUSTIC: (pd.DataFrame(train[1]), pd.DataFrame(scored[1])),
        "mine": "the file was not given",
    }
    return baselines.baseline_results(train[0], scored[0], NAMES, features, SCORES)


def test_results_are_the_measures_of_the_probabilities(results, scored):
    found, probabilities = results
    targets = scored[0]["x"]
    rated = targets.notna()
    functions = {
        "auroc": roc_auc_score,
        "auprc": average_precision_score,
        "log_loss": log_loss,
        "brier": brier_score_loss,
    }
    for name in (baselines.PREVALENCE, baselines.ACOUSTIC):
        label = found[name]["labels"]["x"]
        predicted = probabilities[name][rated, 0]
        assert list(label) == list(functions)
        for measure, function in functions.items():
            expected = function(targets[rated], predicted)
            assert label[measure]["value"] == pytest.approx(expected)
        for measure in ("auprc", "log_loss", "brier"):
            entry = label[measure]
            assert entry["low"] < entry["value"] < entry["high"]
        assert found[name]["description"]


def test_the_prevalence_has_no_auroc_but_a_half(results, train):
    found, probabilities = results
    auroc = found[baselines.PREVALENCE]["labels"]["x"]["auroc"]
    assert auroc["value"] == 0.5 and auroc["low"] is None and auroc["reason"]
    assert found[baselines.ACOUSTIC]["labels"]["x"]["auroc"]["low"] > 0.5
    share = train[0]["x"].mean()
    assert np.all(probabilities[baselines.PREVALENCE][:, 0] == share)


def test_what_has_no_baseline_has_a_reason(results):
    found, probabilities = results
    assert list(found) == [baselines.PREVALENCE, baselines.ACOUSTIC, "mine"]
    for name, of in found.items():
        assert list(of["labels"]) == NAMES
        assert "score" in of["labels"]["severity"]["reason"]
        if name != "mine":
            assert "all 200 rated" in of["labels"]["never"]["reason"]
        assert probabilities[name].shape == (200, 3)
        assert np.isnan(probabilities[name][:, 1:]).all()
    assert found["mine"]["labels"]["x"] == {"reason": "the file was not given"}
    assert "mine" in found["mine"]["description"]
    json.dumps(found, allow_nan=False)


def test_a_scored_split_of_one_class_has_losses_only(train, scored):
    manifest = scored[0].assign(x=0.0)
    found, _ = baselines.baseline_results(train[0], manifest, ["x"], {})
    label = found[baselines.PREVALENCE]["labels"]["x"]
    assert label["auroc"]["value"] is None and label["auroc"]["reason"]
    share = train[0]["x"].mean()
    assert label["log_loss"]["value"] == pytest.approx(-np.log(1 - share))
