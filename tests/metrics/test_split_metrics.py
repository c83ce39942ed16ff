"""The content of metrics.json against values counted by hand and by scikit-learn."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from local.data.predictions_table import predictions_table
from local.metrics.cases import finite_logits
from local.metrics.intervals import linearised, measure_intervals
from local.metrics.linearised import mean_over_labels
from local.metrics.measures import PROBABILITY_MEASURES, threshold_measures
from local.metrics.split_metrics import evaluate_predictions
from local.training.selection import macro_auroc
from local.utils.errors import RunError

NAN = np.nan
RANKING = ["auroc", "auprc", "log_loss", "log_loss_skill", "brier", "brier_skill"]
CALIBRATION = ["ece", "calibration_intercept", "calibration_slope"]
DECISIONS = [
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "balanced_accuracy",
    "f1",
]


def table_of(targets, probabilities, labels, subjects=None, sessions=""):
    probabilities = np.asarray(probabilities, dtype=float)
    n = len(probabilities)
    recordings = pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(n)],
            "subject": subjects or [f"s{i}" for i in range(n)],
            "session": sessions,
        }
    )
    logits = np.log(probabilities / (1 - probabilities))
    weights = np.zeros(len(labels))
    return predictions_table(recordings, labels, targets, logits, weights, "test")


def evaluated(targets, probabilities, subjects=None, **given):
    """The evaluation of one label, a."""
    columns = (
        np.array(each, dtype=float)[:, None] for each in (targets, probabilities)
    )
    table = table_of(*columns, ["a"], subjects and list(subjects))
    return evaluate_predictions(table, [["a"]], "CKPT", **given)


def points(**thresholds):
    """Operating points of labels, or None and the reason why there is no threshold."""
    return {
        name: {
            "threshold": {
                "value": value if isinstance(value, float) else None,
                "rule": "youden",
                "source": "validation",
                "n_positive_subjects": 11,
            }
            | ({"reason": value} if isinstance(value, str) else {}),
            "calibration": None,
        }
        for name, value in thresholds.items()
    }


def cohort(n_subjects=30, n_labels=2, n_each=4, seed=0):
    """A study with gaps; the first subjects have more recordings."""
    rng = np.random.default_rng(seed)
    subjects = [f"s{i}" for i in range(n_subjects) for _ in range(n_each + (i < 5))]
    n = len(subjects)
    targets = rng.integers(0, 2, size=(n, n_labels)).astype(float)
    logits = rng.normal(size=(n, n_labels)) + targets
    targets[rng.random(targets.shape) < 0.1] = NAN
    probabilities = np.round(1 / (1 + np.exp(-logits)), 3)
    labels = list("abcdef")[:n_labels]
    sessions = [f"v{i % 2}" for i in range(n)]
    return table_of(targets, probabilities, labels, subjects, sessions)


def without_reasons(found, path=""):
    """Where in the dict there is a None and no reason beside it, or an empty one."""
    if isinstance(found, list):
        return [p for each in found for p in without_reasons(each, f"{path}[]")]
    if not isinstance(found, dict):
        return []
    wrong = [
        f"{path}.{key}"
        for key, value in found.items()
        if value is None and not (found.get("reason") or found.get(f"{key}_reason"))
    ]
    inside = (without_reasons(value, f"{path}.{key}") for key, value in found.items())
    return wrong + [each for some in inside for each in some]


def is_entry(found):
    return (
        {"value", "low", "high"}
        <= set(found)
        <= {
            *("value", "low", "high"),
            "reason",
        }
    )


# Values


def test_values_by_hand():
    found = evaluated([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], "aabc")
    label = found["labels"]["a"]
    # 0.9 is above both negatives, 0.7 above one: 3 of 4 pairs.
    assert label["auroc"]["value"] == pytest.approx(3 / 4)
    # The precision is 1/1 at the first positive and 2/3 at the second.
    assert label["auprc"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    brier = (0.01 + 0.64 + 0.09 + 0.01) / 4
    assert label["brier"]["value"] == pytest.approx(brier)
    assert label["brier_skill"]["value"] == pytest.approx(1 - brier / 0.25)
    log_loss = -math.log(0.9 * 0.2 * 0.7 * 0.9) / 4
    assert label["log_loss"]["value"] == pytest.approx(log_loss)
    skill = 1 - log_loss / math.log(2)
    assert label["log_loss_skill"]["value"] == pytest.approx(skill)
    # each in a bin of its own
    assert label["ece"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.1) / 4)


def test_decisions_by_hand():
    """At 0.7: two of three positives, one of three negatives."""
    targets, probabilities = [1, 1, 1, 0, 0, 0], [0.9, 0.7, 0.2, 0.8, 0.6, 0.1]
    found = evaluated(targets, probabilities, operating_points=points(a=0.7))
    label = found["labels"]["a"]
    assert label["threshold"] == points(a=0.7)["a"]["threshold"]
    expected = {
        "sensitivity": 2 / 3,
        "specificity": 2 / 3,
        "ppv": 2 / 3,
        "npv": 2 / 3,
        "balanced_accuracy": 2 / 3,
        "f1": 2 / 3,
    }
    values = {name: label[name]["value"] for name in DECISIONS}
    assert values == pytest.approx(expected)


def test_decision_curve_by_hand():
    """At 0.2 a false alarm costs a quarter, at 0.5 one: two of five are positive."""
    targets, probabilities = [1, 0, 1, 0, 0], [0.9, 0.3, 0.1, 0.1, 0.1]
    found = evaluated(targets, probabilities, "ppqrs", decision_thresholds=[0.2, 0.5])
    for view in (found, found["per_subject"]):
        curve = view["labels"]["a"]["decision_curve"]
        assert [entry["threshold"] for entry in curve] == [0.2, 0.5]
    low, high = found["labels"]["a"]["decision_curve"]
    assert low["net_benefit"]["value"] == pytest.approx((1 - 1 / 4) / 5)
    assert low["treat_all"] == pytest.approx((2 - 3 / 4) / 5)
    # missed the positive with 0.1, but left two negatives alone
    difference = low["difference_to_treat_all"]["value"]
    assert difference == pytest.approx((-1 + 2 / 4) / 5)
    assert high["net_benefit"]["value"] == pytest.approx(1 / 5)
    assert high["difference_to_treat_all"]["value"] == pytest.approx((-1 + 3) / 5)
    assert "fewer than 5 subjects" in low["net_benefit"]["reason"]
    assert (
        evaluated([NAN], [0.5], decision_thresholds=[0.2])["labels"]["a"][
            "decision_curve"
        ]
        == []
    )
    assert "net_benefit" not in {*found["labels"]["a"], *found["macro"]}


def test_decision_curve_has_intervals_by_subject():
    table = cohort()
    found = evaluate_predictions(table, [["a"]], "x", decision_thresholds=[0.3])
    (entry,) = found["labels"]["a"]["decision_curve"]
    for name in ("net_benefit", "difference_to_treat_all"):
        assert is_entry(entry[name])
        assert entry[name]["low"] < entry[name]["value"] < entry[name]["high"]
    rows = table[(table["label"] == "a") & table["target"].notna()]
    twice = pd.concat([rows, rows.assign(uid=rows["uid"] + " again")])
    again = evaluate_predictions(twice, [["a"]], "x", decision_thresholds=[0.3])
    # recordings that say the same again make nothing surer
    (again,) = again["labels"]["a"]["decision_curve"]
    assert again["net_benefit"] == pytest.approx(entry["net_benefit"])


def test_predictive_values_at_a_prevalence_by_hand():
    """Sensitivity 2/3, specificity 2/3: the odds of 1 in 5 double, and halve."""
    targets, probabilities = [1, 1, 1, 0, 0, 0], [0.9, 0.7, 0.2, 0.8, 0.6, 0.1]
    given = {"operating_points": points(a=0.7), "prevalences": [0.2, 0.5]}
    label = evaluated(targets, probabilities, **given)["labels"]["a"]
    low, even = label["at_prevalences"]
    assert (low["prevalence"], even["prevalence"]) == (0.2, 0.5)
    assert low["ppv"]["value"] == pytest.approx(1 / 3)  # odds 2 / 4
    assert low["npv"]["value"] == pytest.approx(8 / 9)  # odds 4 * 2
    assert even["ppv"]["value"] == pytest.approx(label["ppv"]["value"])  # as it is here
    assert "fewer than 5 subjects" in even["ppv"]["reason"]
    without = evaluated(targets, probabilities, prevalences=[0.2])["labels"]["a"]
    reason = without["sensitivity"]["reason"]
    assert without["at_prevalences"][0]["npv"]["reason"] == reason


def test_against_scikit_learn():
    table = cohort()
    found = evaluate_predictions(
        table, [["a", "b"]], "x", operating_points=points(a=0.4, b=0.6)
    )
    values = {name: [] for name in (*RANKING, *DECISIONS)}
    for name, threshold in (("a", 0.4), ("b", 0.6)):
        label, rows = found["labels"][name], table[table["label"] == name]
        rows = rows[rows["target"].notna()]
        y, p = rows["target"].astype(int), rows["probability"]
        for weighting, entries in (
            (np.ones(len(rows)), label),
            (
                1 / rows["subject"].map(rows["subject"].value_counts()),
                found["subject_weighted"]["labels"][name],
            ),
        ):
            expected = {
                "auroc": sklearn_metrics.roc_auc_score,
                "auprc": sklearn_metrics.average_precision_score,
                "log_loss": sklearn_metrics.log_loss,
                "brier": sklearn_metrics.brier_score_loss,
            }
            for key, function in expected.items():
                value = function(y, p, sample_weight=weighting)
                assert entries[key]["value"] == pytest.approx(value)
            decided = p >= threshold
            for key, function, positive in (
                ("sensitivity", sklearn_metrics.recall_score, 1),
                ("specificity", sklearn_metrics.recall_score, 0),
                ("ppv", sklearn_metrics.precision_score, 1),
                ("npv", sklearn_metrics.precision_score, 0),
                ("f1", sklearn_metrics.f1_score, 1),
            ):
                value = function(
                    y, decided, pos_label=positive, sample_weight=weighting
                )
                assert entries[key]["value"] == pytest.approx(value)
            value = sklearn_metrics.balanced_accuracy_score(
                y, decided, sample_weight=weighting
            )
            assert entries["balanced_accuracy"]["value"] == pytest.approx(value)
        for key in values:
            values[key].append(label[key]["value"])
    means = {key: np.mean(each) for key, each in values.items()}
    assert {k: found["macro"][k]["value"] for k in means} == pytest.approx(means)


# Intervals


def test_intervals_are_those_of_the_module():
    table, given = cohort(), {"operating_points": points(a=0.4, b=0.6)}
    found = evaluate_predictions(table, [["a", "b"]], "x", **given)
    estimates = {}
    for name, threshold in (("a", 0.4), ("b", 0.6)):
        rows = table[table["label"] == name]
        columns = {
            "targets": rows["target"].to_numpy(),
            "scores": rows["probability"].to_numpy(),
            "subjects": rows["subject"].to_numpy(),
        }
        functions = PROBABILITY_MEASURES | threshold_measures(threshold)
        expected = measure_intervals(functions, **columns)
        estimates[name] = linearised(functions, **columns)
        label = found["labels"][name]
        assert {key: label[key] for key in expected} == expected
    for key in expected:
        mean = mean_over_labels({name: of[key] for name, of in estimates.items()})
        assert found["macro"][key] == mean.interval()


@pytest.mark.parametrize(
    ("n_positive", "n_negative", "warned"),
    [(20, 20, False), (19, 30, True), (20, 19, True), (60, 19, True)],
)
def test_small_samples(n_positive, n_negative, warned):
    targets = [1] * n_positive + [0] * n_negative
    probabilities = np.linspace(0.1, 0.9, len(targets))
    label = evaluated(targets, probabilities)["labels"]["a"]
    assert ("small_sample" in label) == warned
    if warned:
        n = n_positive + n_negative
        counts = f"Only {n} subjects ({n_positive} with a positive, {n_negative} with"
        assert label["small_sample"].startswith(counts)


def test_few_recordings_or_few_subjects():
    """Subjects count for a small sample, and whoever has both counts in both."""
    label = evaluated([0, 1] * 25, [0.4, 0.6] * 25, [f"s{i // 2}" for i in range(50)])
    assert (
        "Only 25 subjects (25 with a positive, 25 with a negative)"
        in (label["labels"]["a"]["small_sample"])
    )


# What is in it


def test_keys_of_the_contract():
    found = evaluate_predictions(
        cohort(), [["a", "b"]], "CKPT+x", operating_points=points(a=0.4, b=0.6)
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found) == [
        "checkpoint",
        "n_recordings",
        "n_subjects",
        "study_design",
        "intervals",
        "labels",
        "macro",
        "heads",
        "weighting",
        "subject_weighted",
        "per_visit",
        "per_subject",
    ]
    assert (found["checkpoint"], found["n_recordings"]) == ("CKPT+x", 125)
    assert found["n_subjects"] == 30
    counts = ["n", "n_positive", "n_subjects", "n_positive_subjects"]
    counts += ["n_negative_subjects", "prevalence"]
    again = [f"{name}_if_chosen_again" for name in ("sensitivity", "specificity")]
    keys = [*counts, *RANKING, *CALIBRATION, "threshold", *again]
    keys += ["at_prevalences", "decision_curve", *DECISIONS, "small_sample"]
    for view in (found, found["per_visit"], found["per_subject"]):
        assert list(view["labels"]) == ["a", "b"]
        for label in view["labels"].values():
            assert list(label) == keys
            entries = *RANKING, *CALIBRATION[1:], *DECISIONS
            assert all(is_entry(label[name]) for name in entries)
            assert type(label["ece"]) is float
        macro = view["macro"]
        assert list(macro) == [*RANKING, *DECISIONS, "n_labels", "left_out"]
        assert all(is_entry(macro[name]) for name in (*RANKING, *DECISIONS))
    for name, more in (("per_visit", []), ("per_subject", ["rules"])):
        keys = ["n_cases", "labels", "macro", "n_varying", *more]
        assert list(found[name]) == keys
    assert [found[f"per_{case}"]["n_cases"] for case in ("visit", "subject")] == [
        60,
        30,
    ]
    weighted = found["subject_weighted"]
    assert list(weighted) == ["labels", "macro"]
    for label in weighted["labels"].values():
        assert list(label) == [*RANKING, *DECISIONS]
        assert all(is_entry(label[name]) for name in (*RANKING, *DECISIONS))
    assert set(weighted["macro"]) == set(found["macro"])
    assert without_reasons(found) == []


def test_counts():
    found = evaluated([1, 0, NAN, 0, 1], [0.9, 0.8, 0.7, 0.1, 0.2], "aabca")
    label = found["labels"]["a"]
    assert list(label.values())[:6] == [4, 2, 2, 1, 2, 0.5]
    assert (found["n_recordings"], found["n_subjects"]) == (5, 3)


def test_unrated_recordings_change_nothing():
    rated = evaluated([1, 0, 0], [0.7, 0.8, 0.1], "abc")
    with_unrated = evaluated([NAN, 1, 0, NAN, 0], [0.99, 0.7, 0.8, 0.01, 0.1], "xabyc")
    for key in ("labels", "macro", "subject_weighted"):
        assert with_unrated[key] == rated[key]
    assert with_unrated["per_subject"]["labels"] == rated["per_subject"]["labels"]


@pytest.mark.parametrize("target", [0, 1])
def test_one_class(target):
    found = evaluated([target] * 6, [0.5] * 6, operating_points=points(a=0.3))
    label = found["labels"]["a"]
    for name in ("auroc", "auprc", "log_loss_skill", "brier_skill"):
        assert label[name]["value"] is None
        assert "of one class" in label[name]["reason"]
    # These need no second class.
    assert label["brier"]["value"] == pytest.approx(0.25)
    assert label["log_loss"]["value"] == pytest.approx(math.log(2))
    assert "fewer than 5 subjects have" in label["brier"]["reason"]
    assert label["sensitivity"]["value"] == (1 if target else None)
    assert label["specificity"]["value"] == (None if target else 0)
    assert "only one class" in label["calibration_slope"]["reason"]
    assert found["macro"]["left_out"] == {"a": label["auroc"]["reason"]}
    assert found["macro"]["brier"]["value"] is None
    assert without_reasons(found) == []


@pytest.mark.parametrize("targets", [[NAN, NAN], []])
def test_nothing_rated(targets):
    found = evaluated(targets, [0.5] * len(targets), operating_points=points(a=0.3))
    label = found["labels"]["a"]
    assert (label["n"], label["n_subjects"], label["prevalence"]) == (0, 0, None)
    assert label["reason"] == "no recording is rated"
    for name in (*RANKING, *DECISIONS):
        assert label[name]["value"] is None
        assert label[name]["reason"] == "no recording is rated"
    assert "small_sample" not in label
    assert without_reasons(found) == []
    json.dumps(found, allow_nan=False)


def test_an_empty_table():
    table = cohort()[:0]
    found = evaluate_predictions(table, [["a"], ["b", "c"]], None)
    assert (found["n_recordings"], found["n_subjects"]) == (0, 0)
    assert found["checkpoint"] is None
    assert "per_visit" not in found
    assert found["per_subject"]["n_cases"] == 0
    assert found["per_subject"]["n_varying"] == {"a": 0, "b": 0, "c": 0}
    assert found["macro"]["auroc"]["reason"] == "no label has both classes"
    assert found["labels"]["a"]["threshold"]["source"] is None
    assert without_reasons({k: found[k] for k in found if k != "checkpoint"}) == []


def test_certain_and_wrong_is_finite():
    table = table_of([[1], [0]], [[0.5], [0.5]], ["a"])
    table["probability"] = [0.0, 1.0]
    label = evaluate_predictions(table, [["a"]], "x")["labels"]["a"]
    assert label["brier"]["value"] == 1
    assert math.isfinite(label["log_loss"]["value"])


@pytest.mark.parametrize("seed", range(6))
def test_every_missing_number_has_a_reason(seed):
    """Tables of few subjects, rare labels, and thresholds that all or none pass."""
    rng = np.random.default_rng(seed)
    table = cohort(int(rng.integers(1, 9)), 3, int(rng.integers(1, 4)), seed)
    table.loc[table["label"] == "b", "target"] *= 0
    table.loc[table["label"] == "c", "predicted"] = 1
    thresholds = points(a=[0.0, 0.5, 1.0][seed % 3], b="validation: too few")
    found = evaluate_predictions(table, [["a", "b"], ["c"]], "x", None, thresholds)
    assert without_reasons(found) == []
    json.dumps(found, allow_nan=False)


# Means over labels


def test_means_are_over_the_labels_with_both_classes():
    targets = [[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, NAN, 0]]
    probabilities = [[0.9, 0.6, 0.5], [0.2, 0.7, 0.5], [0.3, 0.8, 0.5], [0.8, 0.5, 0.5]]
    table = table_of(targets, probabilities, ["a", "b", "c"], list("ppqq"))
    macro = evaluate_predictions(table, [["a", "b"], ["c"]], "CKPT+x")["macro"]
    # a: 4 of 4 pairs; b: 0.6 < 0.7 < 0.8, 1 of 2 pairs; c: one class.
    assert macro["auroc"]["value"] == pytest.approx((1 + 0.5) / 2)
    brier_a = (0.01 + 0.04 + 0.09 + 0.04) / 4
    brier_b = (0.16 + 0.49 + 0.04) / 3
    assert macro["brier"]["value"] == pytest.approx((brier_a + brier_b) / 2)
    assert macro["n_labels"] == 2
    assert list(macro["left_out"]) == ["c"]


def test_no_label_has_two_classes():
    table = table_of([[NAN]], [[0.5]], ["a"])
    found = evaluate_predictions(table, [["a", "absent"]], "x")
    assert found["macro"]["auroc"]["value"] is None
    assert found["macro"]["n_labels"] == 0
    assert set(found["macro"]["left_out"]) == {"a", "absent"}
    assert found["heads"][0]["top1_accuracy"]["value"] is None


def test_means_of_decisions_need_all_thresholds():
    table = cohort(n_labels=3)
    table.loc[table["label"] == "c", "target"] = 0  # not in the means
    given = points(a=0.4, b="validation: too few", c="validation: too few")
    found = evaluate_predictions(table, [["a", "b", "c"]], "x", None, given)
    label = found["labels"]["b"]
    assert label["threshold"]["reason"] == "there is no threshold: validation: too few"
    assert label["threshold"]["source"] == "validation"
    for name in DECISIONS:
        assert label[name]["reason"] == label["threshold"]["reason"]
        assert found["labels"]["a"][name]["value"] is not None
        assert found["macro"][name]["value"] is None
        assert found["macro"][name]["reason"] == "there is no threshold: none for b"
    assert found["macro"]["brier"]["value"] is not None
    found = evaluate_predictions(table, [["a", "c"]], "x", None, given)
    for name in DECISIONS:
        value = found["labels"]["a"][name]["value"]
        assert found["macro"][name]["value"] == pytest.approx(value)


def test_means_are_no_surer_than_the_least_sure_label():
    """b has four positive subjects: a value, but no bounds; so has the mean."""
    rng = np.random.default_rng(5)
    targets = np.stack([np.arange(30) % 2, np.arange(30) < 4], axis=1).astype(float)
    probabilities = np.clip(0.3 * targets + rng.uniform(0.1, 0.6, (30, 2)), 0.01, 0.99)
    table = table_of(targets, probabilities, ["a", "b"])
    given = {"operating_points": points(a=0.5, b=0.5)}
    found = evaluate_predictions(table, [["a", "b"]], "x", **given)
    for view in (found, found["subject_weighted"], found["per_subject"]):
        a, b, macro = *view["labels"].values(), view["macro"]
        assert "low" in a["auroc"] and b["auroc"]["low"] is None
        few = f"b: {b['auroc']['reason']}"
        assert few == "b: fewer than 5 subjects have positives: 4"
        assert (macro["n_labels"], macro["left_out"]) == (2, {})
        for name in (*RANKING, *DECISIONS):
            mean = (a[name]["value"] + b[name]["value"]) / 2
            assert a[name]["low"] <= a[name]["value"] <= a[name]["high"]
            assert macro[name]["value"] == pytest.approx(mean)
            bounds = {"low": None, "high": None, "reason": few}
            assert {key: macro[name][key] for key in bounds} == bounds
    alone = evaluate_predictions(table, [["a"]], "x", **given)
    for name in (*RANKING, *DECISIONS):  # b apart there is nothing to be unsure of
        assert alone["macro"][name] == alone["labels"]["a"][name]


def test_no_operating_points():
    label = evaluated([0, 1], [0.4, 0.6])["labels"]["a"]
    assert label["threshold"]["value"] is None
    assert label["threshold"]["reason"].startswith("there is no threshold: none was")
    for name in DECISIONS:
        assert label[name] == {
            "value": None,
            "low": None,
            "high": None,
            "reason": label["threshold"]["reason"],
        }


# Decisions from elsewhere


def test_decisions_of_the_predictions_themselves():
    targets, probabilities = [1, 1, 1, 0, 0, NAN], [0.9, 0.1, 0.8, 0.7, 0.2, 0.5]
    table = table_of(np.c_[targets], np.c_[probabilities], ["a"])
    # not in the order of the probabilities; nothing for whom is not rated
    table["predicted"] = pd.array([0, 1, 1, 1, 0, None], dtype="Int8")
    found = evaluate_predictions(table, [["a"]], None)
    label = found["labels"]["a"]
    values = {name: label[name]["value"] for name in DECISIONS}
    assert values == pytest.approx(
        {
            "sensitivity": 2 / 3,
            "specificity": 1 / 2,
            "ppv": 2 / 3,
            "npv": 1 / 2,
            "balanced_accuracy": 7 / 12,
            "f1": 2 / 3,
        }
    )
    assert label["threshold"]["value"] is None
    assert label["threshold"]["source"] == "the predictions themselves"
    assert "decisions of their own" in label["threshold"]["reason"]
    assert label["auroc"]["value"] == pytest.approx(4 / 6)
    assert found["macro"]["sensitivity"]["value"] == pytest.approx(2 / 3)
    weighted = found["subject_weighted"]["labels"]["a"]
    assert weighted["sensitivity"]["value"] == pytest.approx(2 / 3)
    # what a subject's mean is decided to be, they don't say
    subject = found["per_subject"]["labels"]["a"]
    assert subject["sensitivity"]["value"] is None
    assert subject["threshold"]["source"] is None
    assert without_reasons(found["labels"]) == []


def test_decisions_with_gaps_are_none():
    table = table_of([[1], [0], [1]], [[0.9], [0.1], [0.7]], ["a"])
    table["predicted"] = pd.array([1, 0, None], dtype="Int8")
    label = evaluate_predictions(table, [["a"]], None)["labels"]["a"]
    assert label["sensitivity"]["value"] is None
    assert label["threshold"]["source"] is None


def test_a_threshold_goes_before_decisions_from_elsewhere():
    table = table_of([[1], [0], [1]], [[0.9], [0.1], [0.7]], ["a"])
    table["predicted"] = pd.array([0, 1, 0], dtype="Int8")
    found = evaluate_predictions(table, [["a"]], None, None, points(a=0.5))
    assert found["labels"]["a"]["sensitivity"]["value"] == 1
    # the same in the macro, in spite of a label with decisions of its own
    other = table.assign(label="b")
    both = pd.concat([table, other], ignore_index=True)
    found = evaluate_predictions(both, [["a", "b"]], None, None, points(a=0.5))
    assert found["macro"]["sensitivity"]["value"] == pytest.approx((1 + 0) / 2)


# Visits and subjects


def odds(x):
    return x / (1 + x)


#: Of p three recordings in two visits, of q two in one, of r one. Odds of 3 are a
#: probability of 0.75; the mean of logits is the geometric mean of odds.
VISITS = {
    "targets": np.c_[[1, 1, 0, 0, 0, 1]],
    "probabilities": np.c_[[odds(x) for x in (1, 4, 1 / 2, 1 / 9, 1, 3)]],
    "labels": ["a"],
    "subjects": list("pppqqr"),
    "sessions": ["v1", "v1", "v2", "v1", "v1", "v1"],
}


def test_subjects_weigh_the_same():
    """p's recordings weigh 1/3, q's 1/2; at 0.5 the positive decisions are those of
    odds 1, 4, 1 and 3."""
    found = evaluate_predictions(
        table_of(**VISITS), [["a"]], "x", operating_points=points(a=0.5)
    )
    weighted = found["subject_weighted"]["labels"]["a"]
    assert weighted["sensitivity"]["value"] == 1
    # negatives: 1/3 and 1/2 right, 1/2 wrong
    assert weighted["specificity"]["value"] == pytest.approx((5 / 6) / (8 / 6))
    assert weighted["ppv"]["value"] == pytest.approx((5 / 3) / (5 / 3 + 1 / 2))
    squares = [0.25, 0.04, 1 / 9, 0.01, 0.25, 1 / 16]
    p, q, r = np.mean(squares[:3]), np.mean(squares[3:5]), squares[5]
    assert weighted["brier"]["value"] == pytest.approx((p + q + r) / 3)
    # positives of odds 1, 4 and 3 weigh 1/3, 1/3 and 1; negatives of 1/2, 1/9 and 1
    # weigh 1/3, 1/2 and 1/2; all pairs are in order but for the tie at odds 1
    tied = 1 / 3 * 1 / 2 / 2
    auroc = 1 - tied / (5 / 3 * 4 / 3)
    assert weighted["auroc"]["value"] == pytest.approx(auroc)
    macro = found["subject_weighted"]["macro"]
    assert macro["auroc"]["value"] == pytest.approx(auroc)
    assert (macro["n_labels"], macro["left_out"]) == (1, {})
    # each recording the same
    assert found["labels"]["a"]["specificity"]["value"] == pytest.approx(2 / 3)
    assert found["labels"]["a"]["brier"]["value"] == pytest.approx(np.mean(squares))
    assert "in subject_weighted each subject does" in found["weighting"]


def test_visits_and_subjects_are_cases():
    """Visits: p v1 at odds √4, p v2 at 1/2, q at 1/3, r at 3. p varies as a whole."""
    found = evaluate_predictions(
        table_of(**VISITS), [["a"]], "x", operating_points=points(a=0.5)
    )
    visits = found["per_visit"]
    assert (visits["n_cases"], visits["n_varying"]) == (4, {"a": 0})
    label = visits["labels"]["a"]
    assert (label["n"], label["n_positive"], label["n_subjects"]) == (4, 2, 3)
    brier = np.mean([(1 / 3) ** 2, (1 / 3) ** 2, (1 / 4) ** 2, (1 / 4) ** 2])
    assert label["brier"]["value"] == pytest.approx(brier)
    assert visits["macro"]["brier"]["value"] == pytest.approx(brier)
    # the same threshold; q's second recording was called positive alone
    assert label["specificity"]["value"] == 1
    assert label["threshold"]["value"] == 0.5
    subjects = found["per_subject"]
    assert (subjects["n_cases"], subjects["n_varying"]) == (3, {"a": 1})
    label = subjects["labels"]["a"]
    assert (label["n"], label["n_positive"]) == (2, 1)
    assert label["brier"]["value"] == pytest.approx(1 / 16)
    assert label["auroc"]["value"] == 1


def test_visits_are_there_only_with_sessions():
    sessions = VISITS["sessions"]
    some = table_of(**VISITS | {"sessions": ["", "v1", *sessions[2:]]})
    assert evaluate_predictions(some, [["a"]], "x")["per_visit"]["n_cases"] == 5
    none = table_of(**VISITS | {"sessions": ""})
    found = evaluate_predictions(none, [["a"]], "x")
    assert "per_visit" not in found
    assert found["per_subject"]["n_cases"] == 3


def test_one_recording_each_is_the_same_in_all_ways():
    rng = np.random.default_rng(4)
    targets, probabilities = rng.integers(0, 2, (24, 1)), rng.uniform(0.1, 0.9, (24, 1))
    table = table_of(targets, probabilities, ["a"])
    found = evaluate_predictions(table, [["a"]], "x", None, points(a=0.5))
    assert found["per_subject"]["n_varying"] == {"a": 0}
    for way in ("per_subject", "subject_weighted"):
        for part in ("labels", "macro"):
            expected = found[part] if part == "macro" else found[part]["a"]
            own = found[way][part] if part == "macro" else found[way][part]["a"]
            for name in (*RANKING, *DECISIONS):
                assert own[name] == pytest.approx(expected[name])


# Heads


def test_top1_accuracy_of_mutually_exclusive_labels():
    targets = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, NAN, 1], [0, 0, 1]]
    probabilities = [
        [0.5, 0.2, 0.1],
        [0.6, 0.5, 0.1],  # wrong
        [0.1, 0.2, 0.3],
        [0.9, 0.2, 0.3],  # not counted: not rated for one label
        [0.1, 0.2, 0.9],
    ]
    table = table_of(targets, probabilities, ["z", "y", "x"])
    (head,) = evaluate_predictions(table, [["z", "y", "x"]], "c")["heads"]
    assert head == {
        "labels": ["z", "y", "x"],
        "top1_accuracy": {"value": 3 / 4},
        "n": 4,
    }


@pytest.mark.parametrize(
    ("targets", "group", "reason"),
    [
        ([[1, 0], [1, 1]], ["a", "b"], "1 of 2"),
        ([[1, 0], [0, 0]], ["a", "b"], "not mutually exclusive"),
        ([[1, 0], [0, 1]], ["a"], "single label"),
        ([[1, NAN], [NAN, 1]], ["a", "b"], "no recording is rated for all"),
    ],
)
def test_top1_accuracy_elsewhere_is_null(targets, group, reason):
    table = table_of(targets, [[0.5, 0.4], [0.3, 0.6]], ["a", "b"])
    accuracy = evaluate_predictions(table, [group], "c")["heads"][0]["top1_accuracy"]
    assert accuracy["value"] is None
    assert reason in accuracy["reason"]


# During training


def test_macro_auroc():
    targets = [[1, 0, NAN, 1], [0, 0, NAN, NAN], [1, 0, NAN, 0], [0, 0, NAN, 1]]
    scores = [[2.0, 1, 1, 5], [-1, 1, 1, 9], [0, 1, 1, 3], [1, 1, 1, 2]]
    macro, per_label = macro_auroc(targets, scores)
    # First: 2 above both, 0 above one; last: of 5 and 2, one is above 3.
    assert per_label == [0.75, None, None, 0.5]
    assert macro == 0.625
    assert all(type(value) in (float, type(None)) for value in [macro, *per_label])


def test_macro_auroc_of_nothing():
    assert macro_auroc([[1], [1]], [[0.1], [0.2]]) == (None, [None])


def test_macro_auroc_of_a_diverged_network():
    with pytest.raises(RunError, match="1 of 2 recordings"):
        macro_auroc([[1, 1], [0, 0]], [[NAN, NAN], [0.2, 0.1]])


# Folds


def test_folds_of_a_cross_validation():
    """Fold 2 lacks a decision, fold 3 has one class; fold 1 ranks alone with fold 2."""
    table = cohort(n_subjects=30, n_labels=1)
    numbers = table["subject"].str[1:].astype(int)
    table["split"] = "fold " + (numbers // 10 + 1).astype(str)
    table.loc[table["split"] == "fold 3", "target"] = 0
    # each network has a scale of its own
    table["probability"] = table["probability"] / 4 + numbers // 10 / 4
    table["predicted"] = (table["probability"] >= 0.3).astype("Int8")
    first = table["target"].notna() & (table["split"] == "fold 2")
    table.loc[first.idxmax(), "predicted"] = None
    found = evaluate_predictions(table, [["a"]], None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    label, n = found["labels"]["a"], (table["split"] == "fold 3").sum()
    assert found["n_folds"] == 3
    assert label["left_out"] == [
        {
            "fold": "fold 3",
            "reason": f"only one class: all {n} rated recordings are negative",
        }
    ]
    assert label["without_decisions"] == [
        {"fold": "fold 2", "reason": "a recording has no decision"}
    ]
    rated = table[table["target"].notna()]
    folds = [rated[rated["split"] == f"fold {k}"] for k in (1, 2)]
    for name, function in (
        ("auroc", sklearn_metrics.roc_auc_score),
        ("auprc", sklearn_metrics.average_precision_score),
    ):
        expected = [function(of["target"], of["probability"]) for of in folds]
        assert label[name]["value"] == pytest.approx(np.mean(expected))
    brier = ((rated["probability"] - rated["target"]) ** 2).mean()
    assert label["brier"]["value"] == pytest.approx(brier)
    decided = rated[rated["split"] != "fold 2"]
    hits = decided["predicted"][decided["target"] == 1]
    assert label["sensitivity"]["value"] == pytest.approx(hits.mean())
    assert "these models, on average," in found["intervals"]
    for view in ("subject_weighted", "per_subject", "per_visit"):
        assert found[view]["labels"]["a"]["auroc"]["value"] is not None


def test_one_split_has_no_folds():
    found = evaluate_predictions(cohort(), [["a", "b"]], None)
    assert "n_folds" not in found
    assert not {"left_out", "without_decisions"} & set(found["labels"]["a"])


def test_numbers_of_cases_that_the_design_fixes():
    given = {"operating_points": points(a=0.4)}
    table = cohort(60, n_labels=1, n_each=1)
    designs = ("cohort", "case_control")
    found = [
        evaluate_predictions(table, [["a"]], None, study_design=design, **given)
        for design in designs
    ]
    assert [of["study_design"] for of in found] == list(designs)
    assert "from a population" in found[0]["intervals"]
    assert "the design has fixed" in found[1]["intervals"]
    widths = [
        of["labels"]["a"]["ppv"]["high"] - of["labels"]["a"]["ppv"]["low"]
        for of in found
    ]
    assert widths[1] < widths[0]
    assert found[0]["labels"]["a"]["auroc"] == found[1]["labels"]["a"]["auroc"]


def test_persons_are_decided_by_three_rules_each_at_its_own_threshold():
    """Three recordings of each of six people; the last one has both targets."""
    probabilities = [
        *([0.9, 0.2, 0.2], [0.6, 0.7, 0.1], [0.4, 0.4, 0.4]),
        *([0.1, 0.1, 0.8], [0.2, 0.1, 0.3], [0.7, 0.6, 0.2]),
    ]
    targets = [[1] * 3, [1] * 3, [1] * 3, [0] * 3, [0] * 3, [0, 1, 0]]
    n = 3 * len(targets)
    table = pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(n)],
            "subject": np.repeat(list("abcdef"), 3),
            "label": "x",
            "target": np.ravel(targets).astype(float),
            "logit": finite_logits(np.ravel(probabilities)),
            "probability": np.ravel(probabilities),
            "session": "",
            "split": "test",
            "predicted": pd.array([None] * n, dtype="Int8"),
        }
    )
    entry = {"rule": "youden", "source": "validation", "n_positive_subjects": 10}
    rules = {"mean": 0.35, "any": 0.65, "majority": 0.5}
    rules = {rule: {"value": value} | entry for rule, value in rules.items()}
    nothing = {"value": None, "reason": "too few"} | entry
    point = {"threshold": nothing, "per_subject": rules, "calibration": None}
    rules["any"] |= {"low": 0.35, "high": 0.85}
    found = evaluate_predictions(table, [["x"]], None, operating_points={"x": point})
    # a b c f are positive, d e are not
    expected = {"mean": (4 / 4, 2 / 2), "any": (3 / 4, 1 / 2), "majority": (2 / 4, 1)}
    for rule, (sensitivity, specificity) in expected.items():
        persons = found["per_subject"]["rules"][rule]["labels"]["x"]
        assert persons["threshold"] == rules[rule]
        assert persons["sensitivity"]["value"] == sensitivity, rule
        assert persons["specificity"]["value"] == specificity, rule
        assert (persons["n_subjects"], persons["n_positive_subjects"]) == (6, 4)
        assert (persons["n_varying"], persons["n_undecided"]) == (1, 0)
    anyone = found["per_subject"]["rules"]["any"]["labels"]["x"]
    # at 0.35 all four are found, at 0.85 only a; d is called positive at 0.35 only
    assert anyone["sensitivity_if_chosen_again"] == {"low": 0.25, "high": 1.0}
    assert anyone["specificity_if_chosen_again"] == {"low": 0.5, "high": 1.0}
    again = found["labels"]["x"]["sensitivity_if_chosen_again"]
    assert again["low"] is None and again["reason"]
    found = evaluate_predictions(table, [["x"]], None)
    persons = found["per_subject"]["rules"]["any"]["labels"]["x"]
    assert persons["n_undecided"] == 6 and persons["sensitivity"]["value"] is None
    assert "there is no threshold" in persons["sensitivity"]["reason"]


def test_visits_and_persons_of_folds_are_decided_at_their_fold_s_threshold():
    """Persons with 0.5 and 0.8 in each fold, cut at 0.4 in one, at 0.6 in the other."""
    n = 8
    probabilities = np.tile([0.5, 0.5, 0.8, 0.8], 2)
    table = pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(n)],
            "subject": np.repeat(list("abcd"), 2),
            "label": "x",
            "target": [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0],
            "logit": finite_logits(probabilities),
            "probability": probabilities,
            "session": "1",
            "split": np.repeat(["fold 1", "fold 2"], 4),
            "predicted": pd.array([None] * n, dtype="Int8"),
        }
    )
    cuts = {"fold 1": 0.4, "fold 2": 0.6}
    folds = {fold: {"x": {"threshold": {"value": cut}}} for fold, cut in cuts.items()}
    found = evaluate_predictions(table, [["x"]], None, fold_points=folds)
    for way in ("per_visit", "per_subject"):
        # a and b are called positive in the first fold, d in the second
        label = found[way]["labels"]["x"]
        assert label["sensitivity"]["value"] == 1
        assert label["specificity"]["value"] == 0.5
        assert found[way]["macro"]["sensitivity"]["value"] == 1
