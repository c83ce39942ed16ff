"""metrics.cross_validated: within folds, by subject."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import t
from sklearn.metrics import average_precision_score, roc_auc_score

from local.metrics.cases import Rated, rated_rows
from local.metrics.cross_validated import cross_validated_metrics
from local.metrics.estimate import wilson_interval
from local.metrics.fold_auroc import auroc_within_folds, mean_auroc_interval


def table(targets, logits, subjects, label="low"):
    logits = np.asarray(logits, dtype=float)
    return pd.DataFrame(
        {
            "uid": [f"{s}-{i}" for i, s in enumerate(subjects)],
            "subject": subjects,
            "label": label,
            "target": np.asarray(targets, dtype=float),
            "logit": logits,
            "probability": expit(logits),
            "session": "",
            "split": "test",
        }
    )


def folds_of(n_folds=5, n_subjects=8, per_subject=3, signal=1.0, seed=0, icc=0.5):
    """Tables of the folds; a subject's recordings are alike, its label constant."""
    generator = np.random.default_rng(seed)
    tables = []
    for fold in range(n_folds):
        subjects = np.repeat([f"f{fold}s{i}" for i in range(n_subjects)], per_subject)
        targets = np.repeat(np.arange(n_subjects) % 2, per_subject)
        common = np.repeat(generator.normal(size=n_subjects), per_subject)
        noise = generator.normal(size=len(subjects))
        logits = np.sqrt(icc) * common + np.sqrt(1 - icc) * noise + signal * targets
        tables.append(table(targets, logits, subjects))
    return tables


def low(tables, **kwargs):
    repeats = kwargs.pop("repeats", [tables])
    return cross_validated_metrics(repeats, ["low"], **kwargs)["labels"]["low"]


# AUROC


def test_mean_of_the_folds():
    tables = folds_of()
    found = low(tables)
    aurocs = [roc_auc_score(of["target"], of["logit"]) for of in tables]
    precisions = [average_precision_score(of["target"], of["logit"]) for of in tables]
    assert found["auroc"]["value"] == pytest.approx(np.mean(aurocs))
    assert found["auprc"]["value"] == pytest.approx(np.mean(precisions))
    assert found["auroc"]["low"] < found["auroc"]["value"] < found["auroc"]["high"]
    assert found["auprc"]["low"] is None and found["auprc"]["reason"]


def test_offsets_of_folds_change_nothing():
    tables = folds_of()
    moved = []
    for offset, of in zip([-9, 4, 0, 7, 2], tables, strict=True):
        logits = of["logit"] + offset
        moved.append(of.assign(logit=logits, probability=expit(logits)))
    for name in ("auroc", "auprc"):
        expected = low(tables)[name]
        for bound in ("value", "low", "high"):
            assert low(moved)[name][bound] == pytest.approx(expected[bound])
    # one curve over all of them would have changed
    pooled = [pd.concat(of) for of in (tables, moved)]
    aurocs = [roc_auc_score(of["target"], of["logit"]) for of in pooled]
    assert abs(aurocs[0] - aurocs[1]) > 0.05


def test_influence_by_hand():
    """One fold, positives 3 1 (a, b), negatives 2 0 (c, d)."""
    rows = Rated(
        np.array([1, 1, 0, 0]), np.array([3.0, 1, 2, 0]), np.array(list("abcd"))
    )
    of = auroc_within_folds([rows])
    # 3 is above both, 1 above one of two: AUROC 3/4
    assert of.value == 3 / 4
    # a: (1 - 3/4) / 2, b: (1/2 - 3/4) / 2; below the positives: c 1/2 of them, d all
    assert of.influence[0].to_dict() == {"a": 1 / 8, "b": -1 / 8, "c": 0, "d": 0}
    assert of.influence[1].to_dict() == {"a": 0, "b": 0, "c": -1 / 8, "d": 1 / 8}
    # squares: 4 / 64; each class has 2 subjects less 1
    assert (of.influence_of_subjects() ** 2).sum() == pytest.approx(4 / 64 * 2)


def test_recordings_of_a_subject_are_summed_first():
    rows = Rated(
        np.array([1, 1, 0, 0]), np.array([3.0, 1, 2, 0]), np.array(list("abab"))
    )
    influence = auroc_within_folds([rows]).influence
    assert influence.to_numpy().tolist() == [[1 / 8, -1 / 8], [-1 / 8, 1 / 8]]
    # b and a have been right and wrong by the same: the AUROC can't vary with them
    assert (influence.sum(axis=1) == 0).all()


def plain_cvauc(tables):
    """ci.cvAUC / ci.pooled.cvAUC of the paper: loops over recordings, no ties.

    Equal folds, so that the share of positives is the same in each as in all.
    """
    n = sum(map(len, tables))
    n_positive = sum(of["target"].sum() for of in tables)
    aucs, by_subject = [], {}
    for of in tables:
        positive = of.loc[of["target"] == 1, "logit"].to_numpy()
        negative = of.loc[of["target"] == 0, "logit"].to_numpy()
        auc = np.mean([p > q for p in positive for q in negative])
        aucs.append(auc)
        for row in of.itertuples():
            if row.target == 1:
                value = (np.mean(negative < row.logit) - auc) / (n_positive / n)
            else:
                value = (np.mean(positive > row.logit) - auc) / (1 - n_positive / n)
            by_subject[row.subject] = by_subject.get(row.subject, 0) + value
    return np.mean(aucs), sum(v**2 for v in by_subject.values()) / n**2


@pytest.mark.parametrize("per_subject", [1, 4])
def test_equals_a_plain_implementation(per_subject):
    tables = folds_of(per_subject=per_subject, seed=3)
    value, variance = plain_cvauc(tables)
    of = auroc_within_folds([rated_rows(each, "low") for each in tables])
    assert of.value == pytest.approx(value)
    assert (of.influence.sum(axis=1) ** 2).sum() == pytest.approx(variance)
    # 20 subjects of each class, 5 folds: the variance by 20 / 15
    error = np.sqrt(variance * 20 / 15) / (value * (1 - value))
    half = t.ppf(0.975, 15) * error
    logit = np.log(value / (1 - value))
    found = mean_auroc_interval([of])
    assert found["low"] == pytest.approx(expit(logit - half))
    assert found["high"] == pytest.approx(expit(logit + half))


def test_one_fold_of_single_recordings_is_delong():
    tables = folds_of(1, 30, 1, seed=4)
    of = auroc_within_folds([rated_rows(tables[0], "low")])
    logits, targets = tables[0]["logit"].to_numpy(), tables[0]["target"].to_numpy()
    wins = logits[targets == 1][:, None] > logits[targets == 0]
    delong = wins.mean(1).var(ddof=1) / 15 + wins.mean(0).var(ddof=1) / 15
    assert (of.influence_of_subjects() ** 2).sum() == pytest.approx(delong)


def test_copies_of_recordings_bring_no_certainty():
    tables = folds_of(per_subject=1)
    copies = [pd.concat([of] * 6) for of in tables]
    for bound in ("value", "low", "high"):
        assert low(copies)["auroc"][bound] == pytest.approx(low(tables)["auroc"][bound])


def test_no_signal_gives_one_half_and_the_interval_holds():
    results = [low(folds_of(signal=0, seed=seed))["auroc"] for seed in range(100)]
    assert np.mean([of["value"] for of in results]) == pytest.approx(0.5, abs=0.02)
    held = np.mean([of["low"] <= 0.5 <= of["high"] for of in results])
    assert 0.90 <= held <= 0.99


def test_folds_with_one_class_are_named_and_left_out():
    tables = folds_of()
    tables[1] = tables[1].assign(target=0.0)
    tables[3] = tables[3].assign(target=np.nan)
    found = low(tables)
    kept = [roc_auc_score(tables[i]["target"], tables[i]["logit"]) for i in (0, 2, 4)]
    assert found["auroc"]["value"] == pytest.approx(np.mean(kept))
    assert found["left_out"] == [
        {
            "repeat": 1,
            "fold": 2,
            "reason": "only one class: all 24 rated recordings are negative",
        },
        {"repeat": 1, "fold": 4, "reason": "no recording is rated"},
    ]


def test_few_subjects_have_no_interval():
    reason = low(folds_of(2, 4))["auroc"]["reason"]
    assert reason.startswith("fewer than 5 subjects have positives: 4;")

    assert low(folds_of(6, 2))["auroc"]["reason"] == (
        "in 6 folds only 6 subjects have positives"
    )
    nothing = low([of.assign(target=0.0) for of in folds_of()])
    assert nothing["auroc"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "no fold has both classes",
    }


def test_all_right_has_wilson_s_interval():
    found = low(folds_of(signal=50))["auroc"]
    assert found["value"] == 1 and found["high"] == 1
    assert found["low"] == pytest.approx(40 / (40 + 1.959964**2))  # of 40 subjects


# Repeats


def test_repeats_are_averaged_and_bring_no_certainty():
    first, second = folds_of(seed=1), folds_of(seed=2)
    one, other = low(first)["auroc"], low(second)["auroc"]
    both = low(first, repeats=[first, second])["auroc"]
    assert both["value"] == pytest.approx((one["value"] + other["value"]) / 2)
    same = low(first, repeats=[first, first, first])["auroc"]
    assert same == pytest.approx(one)
    widths = [of["high"] - of["low"] for of in (one, other, both)]
    assert widths[2] > 0.9 * min(widths[:2])


# Threshold metrics


def test_counts_are_summed_at_each_fold_s_threshold():
    tables = [
        table([1, 1, 0, 0], [3, 1, 2, 0], ["a", "a", "b", "c"]),
        table([1, 0, 0, 1], [-1, -3, -2, np.log(3)], ["d", "e", "e", "f"]),
    ]
    # 3 and 2 reach the first; -1 and log 3 the second, log 3 as its threshold's equal
    thresholds = [[{"low": expit(1.5)}, {"low": expit(-1.5)}]]
    found = low(tables, thresholds=thresholds)
    # TP 1 + 2, FN 1, FP 1, TN 1 + 2
    values = {
        "sensitivity": 3 / 4,
        "specificity": 3 / 4,
        "ppv": 3 / 4,
        "npv": 3 / 4,
        "balanced_accuracy": 3 / 4,
        "f1": 6 / 8,
    }
    for name, value in values.items():
        assert found[name]["value"] == pytest.approx(value), name
        assert "fewer than 5 subjects have positives: 3" in found[name]["reason"]
    reached = low(
        tables, thresholds=[[{"low": expit(9)}, {"low": float(expit(np.log(3)))}]]
    )
    assert reached["sensitivity"]["value"] == 1 / 4


def test_intervals_of_shares_count_subjects():
    tables = folds_of(n_subjects=8, per_subject=3)
    found = low(tables, thresholds=[[{"low": 0.5}] * 5])
    everything = pd.concat(tables)
    predicted = everything["probability"] >= 0.5
    positive = everything["target"] == 1
    n_predicted = everything["subject"][predicted].nunique()
    assert n_predicted not in (20, 40)

    def wilson_by_hand(p, n, z=1.959964):
        centre, half = p + z**2 / 2 / n, z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
        return (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)

    sensitivity = predicted[positive].mean()
    specificity = (~predicted)[~positive].mean()
    ppv = positive[predicted].mean()
    for name, share, n in (
        ("sensitivity", sensitivity, 20),
        ("specificity", specificity, 20),
        ("ppv", ppv, n_predicted),
    ):
        assert found[name]["value"] == pytest.approx(share)
        bounds = found[name]["low"], found[name]["high"]
        assert bounds == pytest.approx(wilson_by_hand(share, n), rel=1e-5)
    ends = [wilson_by_hand(share, 20)[0] for share in (sensitivity, specificity)]
    away = np.hypot(sensitivity - ends[0], specificity - ends[1]) / 2
    accuracy = found["balanced_accuracy"]
    assert accuracy["low"] == pytest.approx(accuracy["value"] - away, rel=1e-5)
    jaccard = (positive & predicted).sum() / (positive | predicted).sum()
    n = everything["subject"][positive | predicted].nunique()
    assert found["f1"]["value"] == pytest.approx(2 * jaccard / (1 + jaccard))
    end = wilson_by_hand(jaccard, n)[1]
    assert found["f1"]["high"] == pytest.approx(2 * end / (1 + end), rel=1e-5)


def test_nothing_predicted_positive():
    found = low(folds_of(), thresholds=[[{"low": 1.0}] * 5])
    assert found["ppv"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "no recording is predicted positive",
    }
    # no variance: Wilson's bound, not 0
    assert found["sensitivity"]["value"] == 0
    assert found["sensitivity"]["high"] == pytest.approx(wilson_interval(0.0, 20)[1])
    assert found["sensitivity"]["high"] > 0.1
    assert found["f1"]["value"] == 0


def test_folds_without_a_threshold_are_named():
    tables = folds_of()
    given = [[{"low": 0.6}, {"low": None}, {}, {"low": 0.6}, {"low": 0.6}]]
    found = low(tables, thresholds=given)
    assert found["without_threshold"] == [
        {"repeat": 1, "fold": 2},
        {"repeat": 1, "fold": 3},
    ]
    used = pd.concat([tables[i] for i in (0, 3, 4)])
    positive = used[used["target"] == 1]
    expected = (positive["probability"] >= 0.6).mean()
    assert found["sensitivity"]["value"] == pytest.approx(expected)
    without = low(tables)
    assert without["f1"]["reason"] == "no fold has a threshold"


# Several labels


def two_labels():
    """By fold a table of two labels of the same recordings, and one of a score."""
    tables = []
    for one, other in zip(folds_of(seed=5), folds_of(seed=6), strict=True):
        score = one.assign(
            label="score", target=one["logit"] * 2 + 1, probability=np.nan
        )
        tables.append(pd.concat([one, other.assign(label="fast"), score]))
    return tables


def test_macro_is_the_mean_with_the_variance_of_a_mean():
    tables = two_labels()
    result = cross_validated_metrics([tables], ["low", "fast", "score"])
    labels, macro = result["labels"], result["macro"]
    values = [labels[name]["auroc"]["value"] for name in ("low", "fast")]
    assert macro["auroc"]["value"] == pytest.approx(np.mean(values))
    assert macro["n_labels"] == 2 and macro["left_out"] == {}
    rows = [[rated_rows(of, name) for of in tables] for name in ("low", "fast")]
    influence = [auroc_within_folds(of).influence_of_subjects() for of in rows]
    error = np.sqrt((((influence[0] + influence[1]) / 2) ** 2).sum())
    value = np.mean(values)
    half = t.ppf(0.975, 15) * error / (value * (1 - value))
    low_bound = expit(np.log(value / (1 - value)) - half)
    assert macro["auroc"]["low"] == pytest.approx(low_bound)
    json.dumps(result, allow_nan=False)


def test_the_same_label_twice_is_no_more_certain():
    tables = folds_of()
    twice = [pd.concat([of, of.assign(label="fast")]) for of in tables]
    result = cross_validated_metrics([twice], ["low", "fast"])
    assert result["macro"]["auroc"] == pytest.approx(result["labels"]["low"]["auroc"])


def test_scores_are_averaged_over_folds():
    tables = two_labels()
    result = cross_validated_metrics([tables], ["low", "score"])
    found = result["labels"]["score"]
    # the target is twice the prediction and 1: |x + 1| away
    expected = np.mean(
        [np.abs(of["logit"][of["label"] == "score"] + 1).mean() for of in tables]
    )
    assert found["mae"]["value"] == pytest.approx(expected)
    assert found["pearson"]["value"] == pytest.approx(1)
    assert found["mae"]["n_folds"] == 5 and found["mae"]["reason"]
    assert "auroc" not in found and result["macro"]["n_labels"] == 1


def test_a_label_without_auroc_is_left_out_of_the_mean():
    tables = [pd.concat([of, of.assign(label="none", target=0.0)]) for of in folds_of()]
    result = cross_validated_metrics([tables], ["low", "none"])
    assert result["macro"]["left_out"] == {"none": "no fold has both classes"}
    assert result["macro"]["auroc"] == result["labels"]["low"]["auroc"]
    alone = cross_validated_metrics([tables], ["none"])
    assert alone["macro"]["auroc"]["value"] is None
    json.dumps([result, alone], allow_nan=False)
