"""Visits and subjects against means and counts by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from local.data.predictions_table import COLUMNS, predictions_table, read_predictions
from local.data.predictions_table import write_predictions as write
from local.metrics.cases import (
    PERSON_RULES,
    finite_logits,
    per_subject,
    per_visit,
    person_scores,
)
from local.metrics.split_metrics import evaluate_predictions

NAN = np.nan
LOG_WEIGHT = np.log(4.0)


def table_of(rows, labels=("slow",), log_weights=None, ranges=None):
    """rows: (uid, subject, session, targets of all labels, logits of all labels)"""
    recordings = pd.DataFrame(
        [row[:3] for row in rows], columns=["uid", "subject", "session"]
    )
    targets, logits = (np.array([row[i] for row in rows], float) for i in (3, 4))
    weights = np.zeros(len(labels)) if log_weights is None else log_weights
    return predictions_table(
        recordings, list(labels), targets, logits, weights, "test", ranges
    )


def values(table, *columns):
    return table.set_index(["subject", "label"])[list(columns)].to_dict("index")


TWO_VISITS = [
    ("u1", "a", "v1", [1], [2.0]),
    ("u2", "a", "v1", [1], [4.0]),
    ("u3", "a", "v2", [0], [-1.0]),
    ("u4", "b", "v1", [0], [-3.0]),
]


def test_visits_by_hand():
    visits, n_varying = per_visit(table_of(TWO_VISITS, log_weights=[LOG_WEIGHT]))
    assert list(visits.columns) == list(COLUMNS)
    assert visits[["uid", "subject", "session"]].to_numpy().tolist() == [
        ["u1", "a", "v1"],
        ["u3", "a", "v2"],
        ["u4", "b", "v1"],
    ]
    assert visits["target"].tolist() == [1, 0, 0]
    assert visits["logit"].tolist() == [3.0, -1.0, -3.0]
    # The odds of the mean logit, less the weight of 4 on positives.
    odds = np.exp([3.0, -1.0, -3.0]) / 4
    assert visits["probability"].to_numpy() == pytest.approx(odds / (1 + odds))
    assert n_varying == {"slow": 0}


def test_a_subject_with_both_targets_has_none_and_is_counted():
    subjects, n_varying = per_subject(table_of(TWO_VISITS))
    assert np.isnan(subjects["target"][0])
    assert subjects["target"][1] == 0
    assert subjects["logit"].tolist() == pytest.approx([5 / 3, -3.0])
    assert subjects["session"].tolist() == ["", ""]
    assert n_varying == {"slow": 1}


def test_only_rated_recordings_count_where_there_are_any():
    rows = [
        ("u1", "a", "", [1, NAN], [2.0, 1.0]),
        ("u2", "a", "", [NAN, NAN], [-9.0, 3.0]),
        ("u3", "b", "", [NAN, 0], [7.0, 0.0]),
    ]
    subjects, _ = per_subject(table_of(rows, labels=["slow", "loud"]))
    found = values(subjects, "target", "logit")
    assert found["a", "slow"] == {"target": 1, "logit": 2.0}
    assert found["a", "loud"]["logit"] == 2.0
    assert found["b", "slow"]["logit"] == 7.0
    assert np.isnan(found["a", "loud"]["target"])
    # One uid of a subject for all labels, as the metrics of heads need it.
    assert subjects.groupby("subject")["uid"].nunique().tolist() == [1, 1]


def test_scores_are_averaged():
    rows = [("u1", "a", "", [10.0], [12.0]), ("u2", "a", "", [30.0], [20.0])]
    subjects, n_varying = per_subject(table_of(rows, ranges=[[0, 100]]))
    assert subjects[["target", "logit"]].to_numpy().tolist() == [[20.0, 16.0]]
    assert subjects["probability"].isna().all()
    assert n_varying == {"slow": 0}


def test_splits_are_not_averaged_together():
    table = table_of(TWO_VISITS)
    table["split"] = ["train", "test", "test", "test"]
    subjects, _ = per_subject(table)
    assert subjects[["split", "subject"]].to_numpy().tolist() == [
        ["train", "a"],
        ["test", "a"],
        ["test", "b"],
    ]


def test_saturated_probabilities_follow_the_logits():
    """A straight line leads on where 1 - probability is lost in float64."""
    logits = np.array([100.0, -40.0, 30.0, -28.0, -2000.0, 2010.0, 1.0, 0.0])
    rows = [(f"u{i}", f"s{i // 2}", "", [1], [x]) for i, x in enumerate(logits)]
    table = table_of(rows)
    table["probability"] = expit(0.5 * logits - 3)
    assert (table["probability"] == 1).any()
    assert (table["probability"] == 0).any()
    subjects, _ = per_subject(table)
    expected = expit(0.5 * logits.reshape(4, 2).mean(axis=1) - 3)
    assert subjects["probability"].to_numpy() == pytest.approx(expected, rel=1e-5)


def test_probabilities_without_logits():
    table = table_of([*TWO_VISITS, ("u5", "c", "v1", [0], [9.0])])
    table.loc[0, "logit"] = NAN
    # Not on one line with the logits: from elsewhere.
    table["probability"] = [0.5, 0.9, 0.1, 1.0, 0.2]
    visits, _ = per_visit(table)
    # The geometric mean of odds 1 and 9 is 3; 1 stays nearly that.
    assert visits["probability"].to_numpy() == pytest.approx([3 / 4, 0.1, 1, 0.2])
    assert visits["logit"].isna().tolist() == [True, False, False, False]


def test_rows_may_have_any_index():
    table = table_of(TWO_VISITS, log_weights=[LOG_WEIGHT])
    again = pd.concat([table[:2], table[2:].set_axis([0, 1])])
    pd.testing.assert_frame_equal(per_visit(again)[0], per_visit(table)[0])


def test_the_result_is_a_table_of_predictions(tmp_path):
    subjects, _ = per_subject(table_of(TWO_VISITS))
    write(subjects, tmp_path / "subjects.csv")
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path / "subjects.csv"), subjects, check_dtype=False
    )
    metrics = evaluate_predictions(subjects, [["slow"]], "CKPT")
    assert metrics["labels"]["slow"]["n"] == 1


def test_no_rows():
    subjects, n_varying = per_subject(table_of(TWO_VISITS)[:0])
    assert list(subjects.columns) == list(COLUMNS)
    assert len(subjects) == 0
    assert n_varying == {}


def test_finite_logits():
    logits = finite_logits([0, 1e-30, 0.25, 1])
    assert logits[1:3] == pytest.approx([np.log(1e-30), -np.log(3)])
    assert np.isfinite(logits).all()
    assert logits[3] > 35


@pytest.mark.parametrize("seed", range(3))
def test_a_person_s_score_reaches_a_threshold_where_the_rule_says_yes(seed):
    """Any: one recording reaches it; majority: more than half do; at all thresholds."""
    generator = np.random.default_rng(seed)
    rows = []
    for person in range(12):
        for take in range(generator.integers(1, 7)):
            target = generator.choice([0, 1, NAN])
            uid, logit = f"p{person}_{take}", generator.normal()
            rows.append((uid, f"p{person}", "", [target], [logit]))
    table = table_of(rows, log_weights=[LOG_WEIGHT])
    rated = table[table["target"].notna()]
    scores = {rule: person_scores(table, rule)[0] for rule in PERSON_RULES}
    for threshold in (0.05, 0.1, 0.2, 0.3, 0.5):
        reach = (rated["probability"] >= threshold).groupby(rated["subject"])
        shares = {"any": reach.any(), "majority": reach.mean() > 0.5}
        for rule, expected in shares.items():
            said = scores[rule].set_index("subject")["probability"] >= threshold
            assert said.to_dict() == expected.to_dict()
    groups = rated.groupby("subject")
    odds = np.exp(groups["logit"].mean()) / 4
    mean = scores["mean"].set_index("subject")["probability"]
    assert mean.to_dict() == pytest.approx((odds / (1 + odds)).to_dict())
    for persons in scores.values():
        assert list(persons.columns) == list(COLUMNS)
        target = persons.set_index("subject")["target"].to_dict()
        assert target == groups["target"].max().to_dict()


def test_a_person_with_both_targets_is_positive_and_counted():
    for rule in PERSON_RULES:
        persons, n_varying = person_scores(table_of(TWO_VISITS), rule)
        assert persons["target"].tolist() == [1, 0]
        assert n_varying == {"slow": 1}
        nobody, n_varying = person_scores(table_of(TWO_VISITS)[:0], rule)
        assert nobody.empty and n_varying == {}
    scored = table_of(TWO_VISITS, ranges=[[0, 100]])
    assert person_scores(scored, "any")[0].empty
