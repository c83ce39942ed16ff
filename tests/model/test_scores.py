"""Scores from the network's output to metrics.json, predictions.csv and scores.png.

Expected values are counted by hand, published, or of another implementation.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr
from sklearn.metrics import cohen_kappa_score

from local.data.labels import LabelType
from local.data.predictions_table import (
    predictions_table,
    read_predictions,
    rows_of_label,
    scores_in,
    write_predictions,
)
from local.metrics.intervals import measure_intervals
from local.metrics.measures import SCORE_MEASURES
from local.metrics.score_metrics import score_metrics
from local.metrics.split_metrics import evaluate_predictions
from local.training.selection import macro_auroc
from local.utils.errors import UserError

NAN = np.nan
HEADER = "uid,subject,label,target,logit,probability,session,split,predicted\n"


def table_of(targets, outputs, labels, label_ranges, dtype=np.float32):
    targets, outputs = np.asarray(targets, dtype), np.asarray(outputs, dtype)
    n = len(targets)
    recordings = pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(n)],
            "subject": [f"s{i // 2}" for i in range(n)],
            "session": "",
        }
    )
    weights = np.log(np.full(len(labels), 3.0))
    return predictions_table(
        recordings, labels, targets, outputs, weights, "test", label_ranges
    )


def types_of(labels, label_ranges, kind="score"):
    """The types that these ranges are of; a label without one is binary."""
    return {
        label: LabelType(kind, tuple(of), None, is_score=True) if of else LabelType()
        for label, of in zip(labels, label_ranges, strict=True)
    }


@pytest.fixture
def mixed():
    """A label that is 0 or 1, a score from 0 to 100 and one from 0 to 10."""
    targets = [[1, 37.3, 1], [0, NAN, 2], [1, 50, 3], [0, 20, 6]]
    outputs = [[2, 40.1, 2], [0, 12.5, 3], [1, 50, 4], [-1, 26, 7]]
    ranges = [None, [0, 100], [0, 10]]
    return table_of(targets, outputs, ["slow", "severity", "pain"], ranges), ranges


# Measures of a score


def test_values_by_hand():
    """Ratings 1 2 6 against 3 2 7. About their means −2 −1 3 and −1 −2 3: products
    2 + 2 + 9 of squares 14 and 14; ranks 1 2 3 and 2 1 3."""
    metrics = score_metrics([1, 2, 6], [3, 2, 7], list("aab"))
    assert metrics["mae"]["value"] == pytest.approx((2 + 0 + 1) / 3)
    assert metrics["pearson"]["value"] == pytest.approx(13 / 14)
    # 1 − 6 Σd² / (n (n² − 1))
    assert metrics["spearman"]["value"] == pytest.approx(1 - 6 * 2 / 24)
    # means of rows 2 2 6.5 about 3.5, of columns 3 and 4
    ms_rows = 2 * (1.5**2 + 1.5**2 + 3**2) / 2
    ms_columns = 3 * (0.5**2 + 0.5**2)
    ms_error = 2 * (0.5**2 + 0.5**2 + 0) / 2
    expected = (ms_rows - ms_error) / (ms_rows + ms_error + 2 / 3 * (3 - 1) / 2)
    assert (ms_columns, ms_error) == (1.5, 0.5)
    assert metrics["icc"]["value"] == pytest.approx(expected)


def test_counts_and_order():
    metrics = score_metrics([1, NAN, 2, 6], [3, 9, 2, 7], ["a", "x", "a", "b"])
    assert list(metrics) == ["n", "n_subjects", "mae", "pearson", "spearman", "icc"]
    assert (metrics["n"], metrics["n_subjects"]) == (3, 2)
    assert metrics == score_metrics([1, 2, 6], [3, 2, 7], ["a", "a", "b"])
    assert metrics["mae"] == {"value": 1}


def test_ties_share_their_rank():
    ratings, predictions = [0, 0, 1, 2, 2, 4], [3, 1, 1, 2, 5, 5]
    found = score_metrics(ratings, predictions, list("abcdef"))["spearman"]["value"]
    ranks = rankdata(ratings), rankdata(predictions)
    assert found == pytest.approx(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("n", [1, 2])
def test_two_recordings_have_an_error_and_no_correlation(n):
    metrics = score_metrics([1, 3][:n], [2, 7][:n], list("ab")[:n])
    assert metrics["mae"]["value"] == pytest.approx([1, 2.5][n - 1])
    for name in ("pearson", "spearman", "icc"):
        assert metrics[name]["value"] is None
        assert metrics[name]["reason"] == f"fewer than 3 recordings are rated: {n}"


def test_ratings_that_are_all_the_same():
    metrics = score_metrics([5, 5, 5], [4, 5, 6], list("abc"))
    assert metrics["mae"]["value"] == pytest.approx(2 / 3)
    for name in ("pearson", "spearman", "icc"):
        assert metrics[name]["value"] is None
        assert "all ratings" in metrics[name]["reason"]


def test_predictions_that_are_all_the_same():
    """Nothing of what differs between recordings is in them: an ICC of 0."""
    metrics = score_metrics([1, 2, 3], [2, 2, 2], list("abc"))
    for name in ("pearson", "spearman"):
        assert metrics[name]["value"] is None
        assert metrics[name]["reason"] == "all ratings or all predictions are the same"
    assert metrics["icc"]["value"] == pytest.approx(0)


@pytest.mark.parametrize("ratings", [[NAN, NAN], []])
def test_nothing_rated(ratings):
    n = len(ratings)
    metrics = score_metrics(ratings, [1.0] * n, ["a"] * n)
    assert metrics["n"] == 0
    for name in ("mae", "pearson", "spearman", "icc"):
        assert metrics[name]["value"] is None
        assert metrics[name]["reason"] == "no recording is rated"


# metrics.json


def test_evaluation_of_scores_beside_a_binary_label(mixed):
    table, ranges = mixed
    types = types_of(["slow", "severity", "pain"], ranges)
    metrics = evaluate_predictions(
        table, [["slow", "severity"], ["pain"]], "CKPT+x", types
    )
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    slow, severity, pain = metrics["labels"].values()
    assert slow["auroc"]["value"] == 1
    assert (severity["n"], pain["n"]) == (3, 4)
    assert severity["mae"]["value"] == pytest.approx((2.8 + 0 + 6) / 3)
    assert pain["mae"]["value"] == pytest.approx(1)
    assert pain["pearson"]["value"] == pytest.approx(1)
    assert list(pain) == [
        *("n", "n_subjects", "mae", "pearson", "spearman", "icc", "small_sample")
    ]
    macro = metrics["macro"]
    assert (macro["n_labels"], macro["n_scores"]) == (1, 2)
    assert macro["auroc"]["value"] == 1
    assert macro["mae"]["value"] is None
    assert macro["mae"]["reason"] == "the scores have different ranges"
    for name in ("pearson", "spearman", "icc"):
        mean = (severity[name]["value"] + pain[name]["value"]) / 2
        assert macro[name]["value"] == pytest.approx(mean)
    accuracies = [head["top1_accuracy"] for head in metrics["heads"]]
    assert accuracies == [{"value": None, "reason": "the head has scores"}] * 2


def test_scores_have_the_intervals_of_subjects():
    rng = np.random.default_rng(5)
    ratings = rng.integers(0, 10, size=(30, 1))
    table = table_of(ratings, ratings + rng.normal(size=(30, 1)), ["a"], [[0, 9]])
    types = types_of(["a"], [[0, 9]])
    found = evaluate_predictions(table, [["a"]], "x", types)
    x, y, subjects = rows_of_label(table, "a")
    expected = measure_intervals(SCORE_MEASURES, x, y, subjects, two_classes=False)
    label = found["labels"]["a"]
    assert {name: label[name] for name in expected} == expected
    assert None not in label["icc"].values()
    assert label["small_sample"].startswith("Only 15 subjects: ")
    assert found["macro"]["pearson"]["value"] == pytest.approx(pearsonr(x, y)[0])
    assert found["macro"]["pearson"]["low"] is not None
    assert label["spearman"]["value"] == pytest.approx(spearmanr(x, y)[0])
    # two recordings of each subject: its case is their mean
    means = x.reshape(-1, 2).mean(axis=1), y.reshape(-1, 2).mean(axis=1)
    subject = found["per_subject"]["labels"]["a"]
    assert subject["mae"]["value"] == pytest.approx(np.abs(means[0] - means[1]).mean())
    assert subject["pearson"]["value"] == pytest.approx(pearsonr(*means)[0])
    assert subject["n"] == found["per_subject"]["n_cases"] == 15
    assert found["per_subject"]["n_varying"] == {"a": 0}


def test_scores_where_each_subject_weighs_the_same():
    """s0 has three recordings with errors 0, 3 and 6, s1 one with an error of 1."""
    table = table_of([[1], [2], [3], [4]], [[1], [5], [9], [5]], ["a"], [[0, 9]])
    table["subject"] = ["s0", "s0", "s0", "s1"]
    found = evaluate_predictions(table, [["a"]], "x")
    assert found["labels"]["a"]["mae"]["value"] == pytest.approx(10 / 4)
    weighted = found["subject_weighted"]
    assert weighted["labels"]["a"]["mae"]["value"] == pytest.approx((3 + 1) / 2)
    assert weighted["macro"]["mae"]["value"] == pytest.approx((3 + 1) / 2)
    # the means of s0, 2 and 5, and s1, 4 and 5, are two cases
    subjects = found["per_subject"]["labels"]["a"]
    assert subjects["mae"]["value"] == pytest.approx((3 + 1) / 2)
    assert subjects["pearson"]["reason"] == "fewer than 3 recordings are rated: 2"
    assert found["per_subject"]["macro"]["scores_left_out"] == {
        "a": "fewer than 3 recordings are rated: 2"
    }
    alone = evaluate_predictions(table.assign(subject="s0"), [["a"]], "x")
    weighted = alone["subject_weighted"]["labels"]["a"]
    assert weighted["icc"]["reason"] == "all recordings are of one subject"
    assert weighted["mae"]["value"] == pytest.approx(10 / 4)


def test_kappa_of_an_ordinal_score():
    """Beyond the scale is its end; otherwise the nearest step."""
    ratings = [[0], [1], [2], [3], [4], [4], [1], [0]]
    outputs = [[-1.3], [1.4], [2.6], [2.2], [7.0], [4.2], [0.7], [0.2]]
    table = table_of(ratings, outputs, ["a"], [[0, 4]])
    types = types_of(["a"], [[0, 4]], "ordinal")
    found = evaluate_predictions(table, [["a"]], "x", types)
    steps = [0, 1, 3, 2, 4, 4, 1, 0]
    expected = cohen_kappa_score(np.ravel(ratings), steps, weights="quadratic")
    assert found["labels"]["a"]["quadratic_kappa"]["value"] == pytest.approx(expected)
    assert found["macro"]["quadratic_kappa"]["value"] == pytest.approx(expected)
    # the error is that of the predictions themselves
    errors = [1.3, 0.4, 0.6, 0.8, 3, 0.2, 0.3, 0.2]
    assert found["labels"]["a"]["mae"]["value"] == pytest.approx(np.mean(errors))
    few = evaluate_predictions(table[:2], [["a"]], "x", types)["labels"]["a"]
    assert few["quadratic_kappa"]["reason"] == "fewer than 3 recordings are rated: 2"


def test_no_mean_of_kappas_beside_a_score_without():
    ratings = np.repeat([[0], [1], [2], [3]], 2, axis=1)
    table = table_of(ratings, ratings + 0.3, ["a", "b"], [[0, 4]] * 2)
    types = types_of(["a"], [[0, 4]], "ordinal") | types_of(["b"], [[0, 4]])
    found = evaluate_predictions(table, [["a", "b"]], "x", types)
    assert found["labels"]["a"]["quadratic_kappa"]["value"] == pytest.approx(1)
    assert "quadratic_kappa" not in {*found["labels"]["b"], *found["macro"]}
    assert found["macro"]["mae"]["value"] == pytest.approx(0.3)


def test_the_mean_error_needs_one_range():
    targets, outputs = [[1, 2], [2, 4], [6, 6]], [[2, 2], [3, 5], [7, 8]]
    labels, ranges = ["a", "b"], [[0, 9], [0, 9]]
    table = table_of(targets, outputs, labels, ranges)
    types = types_of(labels, ranges)
    macro = evaluate_predictions(table, [labels], "x", types)["macro"]
    assert macro["mae"]["value"] == pytest.approx((1 + 1) / 2)
    # predictions from elsewhere don't say in which range they are
    macro = evaluate_predictions(table, [labels], "x")["macro"]
    assert macro["mae"]["value"] is None
    assert "not known" in macro["mae"]["reason"]
    macro = evaluate_predictions(table[table["label"] == "a"], [["a"]], "x")["macro"]
    assert macro["mae"]["value"] == pytest.approx(1)


def test_means_without_a_binary_label_and_without_a_score():
    table = table_of([[1, 5]] * 3, [[2, 2], [3, 5], [7, 8]], ["a", "b"], [[0, 9]] * 2)
    macro = evaluate_predictions(table, [["a", "b"]], "x")["macro"]
    for name in ("auroc", "sensitivity"):
        assert macro[name]["value"] is None
        assert macro[name]["reason"] == "no label has two classes: all are scores"
    assert (macro["n_labels"], macro["left_out"], macro["n_scores"]) == (0, {}, 0)
    assert macro["mae"]["reason"] == "no score has all measures"
    reason = "all ratings or all predictions are the same"
    assert macro["scores_left_out"] == dict.fromkeys("ab", reason)
    binary = table_of([[1], [0]], [[1], [0]], ["a"], None)
    macro = evaluate_predictions(binary, [["a"]], "x")["macro"]
    assert not {"mae", "pearson", "spearman", "icc", "n_scores"} & set(macro)


def test_an_empty_table_still_knows_its_scores():
    ranges = [None, [0, 9]]
    table = table_of([[1, 1]], [[1, 1]], ["a", "b"], ranges)[:0]
    types = types_of(["a", "b"], ranges)
    labels = evaluate_predictions(table, [["a", "b"]], "x", types)["labels"]
    assert "auroc" in labels["a"]
    assert "auroc" not in labels["b"]
    assert labels["b"]["mae"]["reason"] == "no recording is rated"
    assert labels["b"]["icc"]["reason"] == "no recording is rated"


def test_macro_auroc_of_no_label():
    assert macro_auroc(np.zeros((3, 0)), np.zeros((3, 0))) == (None, [])


# predictions.csv


def test_a_score_is_its_logit_without_a_probability(mixed):
    table, _ = mixed
    assert scores_in(table) == {"severity", "pain"}
    is_score = table["label"] != "slow"
    assert table.loc[is_score, "probability"].isna().all()
    # the weight of 3 is taken out where there is a probability
    odds = [math.exp(logit) / 3 for logit in (2, 0, 1, -1)]
    expected = [odd / (1 + odd) for odd in odds]
    assert table.loc[~is_score, "probability"].tolist() == pytest.approx(expected)
    ratings, predictions, subjects = rows_of_label(table, "severity")
    np.testing.assert_array_equal(ratings, [37.3, NAN, 50, 20])
    np.testing.assert_array_equal(predictions, [40.1, 12.5, 50, 26])
    assert subjects.tolist() == ["s0", "s0", "s1", "s1"]


def test_text_of_scores(mixed, tmp_path):
    """37.3 and 40.1 were float32, where they are 37.29999924 and 40.09999847."""
    write_predictions(mixed[0], tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert [line for line in lines if "severity" in line] == [
        "u0,s0,severity,37.3,40.1,,,test,",
        "u1,s0,severity,,12.5,,,test,",
        "u2,s1,severity,50,50.0,,,test,",
        "u3,s1,severity,20,26.0,,,test,",
    ]
    assert [line.split(",")[3] for line in lines if "slow" in line] == list("1010")


def test_metrics_of_the_file_are_those_of_the_table(tmp_path):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 1001, size=(40, 2)) / 10
    outputs = rng.normal(50, 20, size=(40, 2))
    labels, ranges = ["a", "b"], [[0, 100], [0, 100]]
    table = table_of(targets, outputs, labels, ranges)
    write_predictions(table, tmp_path / "p.csv")
    back = read_predictions(tmp_path / "p.csv")
    pd.testing.assert_frame_equal(back, table, check_exact=True, check_dtype=False)
    types = types_of(labels, ranges)
    metrics = [evaluate_predictions(t, [labels], "x", types) for t in (table, back)]
    assert metrics[0] == metrics[1]


def write(tmp_path, *rows):
    path = tmp_path / "p.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


def test_scores_from_elsewhere(tmp_path):
    path = write(
        tmp_path, "a,s,x,37.5,40,,,,", "b,s,x,,-3,,,,", "a,s,y,1,,0.5,,,", "b,s,y,,,0.2"
    )
    table = read_predictions(path)
    assert scores_in(table) == {"x"}
    assert table["target"].dtype == float
    np.testing.assert_array_equal(rows_of_label(table, "x")[0], [37.5, NAN])
    np.testing.assert_array_equal(rows_of_label(table, "x")[1], [40, -3])
    np.testing.assert_array_equal(rows_of_label(table, "y")[1], [0.5, 0.2])


def test_wrong_rows_of_scores(tmp_path):
    path = write(
        tmp_path,
        "a,s,x,37.5,,,,,",
        "b,s,x,inf,1,,,,",
        "c,s,x,high,2,,,,",
        "d,s,y,37.5,2,0.5,,,",
        "e,s,z,1,2,0.5,,,",
        "f,s,z,1,2,,,,",
    )
    with pytest.raises(UserError) as error:
        read_predictions(path)
    assert error.value.problems == [
        "1 cell in column 'logit' with something else than a finite number, as there "
        f"is no probability: {path.name} row 2",
        "2 cells in column 'target' with something else than a finite number or empty: "
        f"'inf' ({path.name} row 3), 'high' ({path.name} row 4)",
        "1 cell in column 'target' with something else than 0, 1 or empty: '37.5' "
        f"({path.name} row 5)",
        "label 'z': probability is empty in row 7 and given in row 6; a score has it "
        "in no row, any other label in all",
    ]
