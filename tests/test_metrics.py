"""Metrics against values counted by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from local.errors import RunError
from local.metrics import (
    evaluate_predictions,
    format_results,
    label_metrics,
    macro_auroc,
)
from local.predictions import predictions_table

NAN = np.nan


def table_of(targets, probabilities, labels, subjects=None):
    probabilities = np.asarray(probabilities, dtype=float)
    n = len(probabilities)
    recordings = pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(n)],
            "subject": subjects or [f"s{i}" for i in range(n)],
            "session": "",
        }
    )
    logits = np.log(probabilities / (1 - probabilities))
    weights = np.zeros(len(labels))
    return predictions_table(recordings, labels, targets, logits, weights, "test")


def test_values_by_hand():
    metrics = label_metrics([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], list("aabc"))
    # 0.9 is above both negatives, 0.7 above one: 3 of 4 pairs.
    assert metrics["auroc"]["value"] == pytest.approx(3 / 4)
    # The precision is 1/1 at the first positive and 2/3 at the second.
    assert metrics["auprc"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["brier"]["value"] == pytest.approx((0.01 + 0.64 + 0.09 + 0.01) / 4)
    log_loss = -math.log(0.9 * 0.2 * 0.7 * 0.9) / 4
    assert metrics["log_loss"]["value"] == pytest.approx(log_loss)


def test_ties_count_half():
    metrics = label_metrics([0, 1, 1, 0], [0.5, 0.5, 0.8, 0.2], list("abcd"))
    assert metrics["auroc"]["value"] == pytest.approx(3.5 / 4)
    # At 0.8: precision 1, recall 1/2; at 0.5, three recordings: 2/3 and 1.
    assert metrics["auprc"]["value"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)


def test_counts_and_order():
    metrics = label_metrics(
        [1, 0, NAN, 0, 1], [0.9, 0.8, 0.7, 0.1, 0.2], ["a", "a", "b", "c", "a"]
    )
    assert list(metrics) == [
        "n",
        "n_positive",
        "n_subjects",
        "n_positive_subjects",
        "prevalence",
        "auroc",
        "auprc",
        "log_loss",
        "brier",
    ]
    assert list(metrics.values())[:5] == [4, 2, 2, 1, 0.5]


def test_unrated_recordings_change_nothing():
    rated = label_metrics([1, 0, 0], [0.7, 0.8, 0.1], list("abc"))
    with_unrated = label_metrics(
        [NAN, 1, 0, NAN, 0], [0.99, 0.7, 0.8, 0.0, 0.1], list("xabyc")
    )
    assert with_unrated == rated


def test_intervals_are_said_to_be_missing():
    measure = label_metrics([1, 0], [0.9, 0.8], list("ab"))["auroc"]
    assert (measure["value"], measure["low"], measure["high"]) == (1, None, None)
    assert "intervals" in measure["reason"]


@pytest.mark.parametrize(("target", "name"), [(0, "negative"), (1, "positive")])
def test_one_class(target, name):
    metrics = label_metrics([target] * 3, [0.5] * 3, list("abc"))
    for measure in ("auroc", "auprc"):
        assert metrics[measure]["value"] is None
        assert f"all 3 rated recordings are {name}" in metrics[measure]["reason"]
    # These need no second class.
    assert metrics["brier"]["value"] == pytest.approx(0.25)
    assert metrics["log_loss"]["value"] == pytest.approx(math.log(2))


@pytest.mark.parametrize("targets", [[NAN, NAN], []])
def test_nothing_rated(targets):
    n = len(targets)
    metrics = label_metrics(targets, [0.5] * n, ["a"] * n)
    assert (metrics["n"], metrics["n_subjects"], metrics["prevalence"]) == (0, 0, None)
    assert metrics["reason"] == "no recording is rated"
    for measure in ("auroc", "auprc", "log_loss", "brier"):
        assert metrics[measure]["value"] is None
        assert metrics[measure]["reason"] == "no recording is rated"


def test_certain_and_wrong_is_finite():
    metrics = label_metrics([1, 0], [0.0, 1.0], list("ab"))
    assert metrics["brier"]["value"] == 1
    assert math.isfinite(metrics["log_loss"]["value"])


def test_evaluation_of_a_table():
    targets = [[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, NAN, 0]]
    probabilities = [[0.9, 0.6, 0.5], [0.2, 0.7, 0.5], [0.3, 0.8, 0.5], [0.8, 0.5, 0.5]]
    table = table_of(targets, probabilities, ["a", "b", "c"], list("ppqq"))
    metrics = evaluate_predictions(table, [["a", "b"], ["c"]], "CKPT+x")
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert list(metrics) == [
        "checkpoint",
        "n_recordings",
        "n_subjects",
        "labels",
        "macro",
        "heads",
    ]
    assert (metrics["checkpoint"], metrics["n_recordings"]) == ("CKPT+x", 4)
    assert metrics["n_subjects"] == 2
    assert list(metrics["labels"]) == ["a", "b", "c"]
    # a: 4 of 4 pairs; b: 0.6 < 0.7 < 0.8, 1 of 2 pairs; c: one class.
    macro = metrics["macro"]
    assert macro["auroc"]["value"] == pytest.approx((1 + 0.5) / 2)
    brier_a = (0.01 + 0.04 + 0.09 + 0.04) / 4
    brier_b = (0.16 + 0.49 + 0.04) / 3
    assert macro["brier"]["value"] == pytest.approx((brier_a + brier_b) / 2)
    assert macro["n_labels"] == 2
    assert list(macro["left_out"]) == ["c"]


def test_evaluation_where_nothing_can_be_computed():
    table = table_of([[NAN]], [[0.5]], ["a"])
    metrics = evaluate_predictions(table, [["a", "absent"]], "x")
    assert metrics["macro"]["auroc"]["value"] is None
    assert metrics["macro"]["n_labels"] == 0
    assert set(metrics["macro"]["left_out"]) == {"a", "absent"}
    assert metrics["heads"][0]["top1_accuracy"]["value"] is None
    assert evaluate_predictions(table[:0], [["a", "b"]], "x")["n_recordings"] == 0


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


def test_results_as_a_markdown_table():
    table = table_of(
        [[1, 0], [0, 0], [0, 0], [1, 0]],
        [[0.9, 0.5], [0.8, 0.5], [0.2, 0.5], [0.7, 0.5]],
        ["slow|rate", "b"],
    )
    metrics = evaluate_predictions(table, [["slow|rate", "b"]], "c")
    text = format_results(metrics, {"ceiling": {"slow|rate": 1.0, "macro": 0.9}})
    lines = text.splitlines()
    cells = [[c.strip() for c in line.strip("|").split(" | ")] for line in lines[:5]]
    assert cells[0] == [
        "label",
        "n",
        "positives",
        "AUROC",
        "AP",
        "prevalence",
        "Brier",
        "ceiling",
    ]
    # AP (1 + 2/3) / 2, Brier (0.01 + 0.64 + 0.04 + 0.09) / 4
    row = ["4", "2", "0.750", "0.833", "0.500", "0.195", "1.000"]
    assert cells[2] == ["slow\\|rate", *row]
    assert cells[3] == ["b", "4", "0", "n/a", "n/a", "0.000", "0.250", "n/a"]
    macro = ["macro (1 of 2 labels)", "", "", "0.750", "0.833", "", "0.195", "0.900"]
    assert cells[4] == macro
    assert len({len(line) for line in lines[:5]}) == 1
    # also of the column `n`, of a single digit
    assert all("-" in rule and rule[-1] == ":" for rule in cells[1][1:])
    assert lines[6].startswith("b: not in the mean, only one class")


def test_results_name_the_top1_accuracy():
    table = table_of([[1, 0], [0, 1]], [[0.9, 0.5], [0.8, 0.5]], ["a", "b"])
    text = format_results(evaluate_predictions(table, [["a", "b"]], "c"))
    assert text.endswith("\n\nhead 1: top-1 accuracy 0.500 (n = 2)")
