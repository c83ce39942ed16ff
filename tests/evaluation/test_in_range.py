"""What is out of range: false alarms on new people, the file, and who is left out."""

import functools
import json

import numpy as np
import pandas as pd
import pytest

from local.evaluation.in_range import (
    UNKNOWN,
    _limit,
    fit_range,
    read_range,
    save_range,
    selective,
    with_deviations,
)
from local.model.training_range import MEASURES, Heard, TrainingRange
from local.storage.experiment_files import TRAINING_RANGE
from local.utils.errors import UserError


def people(n, rng, n_each=3, group="p"):
    """Recordings of people who differ more than their recordings do."""
    subjects = np.array([f"{group}{i // n_each}" for i in range(n * n_each)], object)
    own = rng.normal(size=(n, 6 + 8)).repeat(n_each, axis=0)
    values = own + 0.3 * rng.normal(size=own.shape)
    scale = [0.2, 4, 6, 0.1, 0.05, 1]
    measures = np.array([5, -20, -60, 8, 0.8, 4]) + values[:, :6] * scale
    return Heard(measures, values[:, 6:]), subjects


@pytest.mark.parametrize("n_valid", [0, 8, 60])
def test_few_new_people_are_out_of_range_and_all_that_is_odd(n_valid):
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        valid = people(n_valid, rng, group="v") if n_valid else ()
        values = fit_range(*people(80, rng), *valid, seed=seed)
        known, (new, _) = TrainingRange(values), people(300, rng)
        shares.append((known.deviations(new) > 1).mean())
        for column, value in ((1, -60.0), (3, 4.0), (5, 15.0)):
            odd = Heard(new.measures.copy(), new.embeddings)
            odd.measures[:, column] = value
            assert (known.deviations(odd) > 1).mean() > 0.95
        far = Heard(new.measures, new.embeddings + 8)
        assert (known.deviations(far) > 1).mean() > 0.95
    assert np.mean(shares) < 0.1
    assert values["source"] == ("validation" if n_valid == 60 else "out-of-fold")
    assert values["n_subjects"] == 80 + n_valid


def test_a_network_that_knows_its_training_people_alarms_no_more_often():
    """Their embeddings lie close together, those of all others do not."""
    shares = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        (train, subjects), valid = people(60, rng), people(30, rng, group="v")
        train = Heard(train.measures, 0.3 * train.embeddings)
        known = TrainingRange(fit_range(train, subjects, *valid))
        shares.append((known.deviations(people(300, rng)[0]) > 1).mean())
    assert np.mean(shares) < 0.1


def test_few_people_have_a_wide_limit_and_too_few_none():
    rng = np.random.default_rng(0)
    assert fit_range(*people(5, rng)) is None
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        known = TrainingRange(fit_range(*people(8, rng)))
        shares.append((known.deviations(people(50, rng)[0]) > 1).mean())
    assert np.mean(shares) < 0.15


def test_the_limit_is_the_quantile_of_people_by_hand():
    scores, subjects = np.arange(1.0, 41.0), np.arange(40).astype(str)
    # 0.95 * 41 = 38.95 of 40 people: the 39th
    assert _limit(scores, subjects, np.ones(40)) == 39
    assert _limit(scores / 100, subjects, np.ones(40)) == 1  # never inside the range
    # 10 people, logarithms 0 and 1 by turns: mean 0.5, variance 0.25 * 10 / 9,
    # t of 9 degrees of freedom 1.8331: 0.5 + 1.8331 * (0.27778 * 1.1) ** 0.5
    scores = np.exp(np.arange(10) % 2)
    limit = _limit(scores, np.arange(10).astype(str), np.ones(10))
    assert np.log(limit) == pytest.approx(0.5 + 1.8331 * 0.55277, abs=1e-3)


def test_what_has_no_audio_is_compared_by_embeddings(tmp_path):
    heard, subjects = people(40, np.random.default_rng(0))
    heard = Heard(np.full_like(heard.measures, np.nan), heard.embeddings)
    values = fit_range(heard, subjects)
    assert values["measures"] == {}
    save_range(values, tmp_path)
    assert read_range(tmp_path) == values
    table = pd.DataFrame({"uid": ["a", "a", "b"]})
    rows = {"a": heard.rows([0]), "b": Heard(heard.measures[:1], np.full((1, 8), 30.0))}
    table, notes = with_deviations(table, pd.Series(rows), values)
    assert table["in_range"].tolist() == [1, 1, 0]
    assert notes == [
        "1 of 2 recordings are out of the range of the training recordings, most of "
        "all by: embedding 1"
    ]


def test_an_experiment_of_before_says_so(tmp_path):
    table = pd.DataFrame({"uid": ["a"]})
    (tmp_path / "save").mkdir()
    same, notes = with_deviations(table, pd.Series({"a": None}), read_range(tmp_path))
    assert same is table and notes == [UNKNOWN]
    assert selective(table) == {"reason": UNKNOWN}
    save_range(None, tmp_path)  # there is nothing to remove


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"limit": "x"}'])
def test_a_damaged_file_is_told(tmp_path, text):
    path = tmp_path / TRAINING_RANGE
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=r"training_range\.json can't be read"):
        read_range(tmp_path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("limit",), 0.5),
        (("limit",), None),
        (("distance",), [1.0]),
        (("distance",), 1.0),
        (("measures",), []),
        (("measures", "level_dbfs"), [-30.0, -20.0]),
        (("measures", "level_dbfs"), [-20.0, -30.0, -15.0]),
        (("measures", "level_dbfs"), [-30.0, float("nan"), -15.0]),
        (("embedding",), {"center": "AACAPw=="}),
        (("embedding", "center"), "AACAPw=="),  # of one number
        (("embedding", "variances"), 1.5),
        (("embedding", "axes"), "not base64"),
        (("embedding", "rest"), "much"),
        (("embedding", "rest"), 0),
    ],
)
def test_a_range_that_is_wrong_is_told(tmp_path, place, value):
    values = fit_range(*people(20, np.random.default_rng(0)))
    assert [*values["measures"]] == [*MEASURES]
    path = tmp_path / TRAINING_RANGE
    save_range(values, tmp_path)
    assert read_range(tmp_path) == values
    *outer, name = place
    functools.reduce(dict.get, outer, values)[name] = value
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="the same settings writes it anew"):
        read_range(tmp_path)


def test_the_range_of_another_model_is_told():
    values = fit_range(*people(20, np.random.default_rng(0)))
    heard = Heard(np.zeros((1, len(MEASURES))), np.zeros((1, 5)))
    with pytest.raises(UserError, match=r"embeddings of 5 numbers, .* found 8"):
        TrainingRange(values).deviations(heard)


def test_what_leaving_out_does_by_hand():
    table = pd.DataFrame(
        {
            "uid": [*"abcde"],
            "label": "slow",
            "target": [1.0, 1.0, 0.0, 0.0, np.nan],
            "probability": 0.5,
            "logit": 0.0,
            "predicted": pd.array([1, 0, 0, 1, 1], dtype="Int8"),
            "in_range": pd.array([1, 1, 1, 0, 0], dtype="Int8"),
            "deviation": [0.2, 0.9, 0.5, 3.0, 4.0],
        }
    )
    result = selective(table)
    assert (result["n"], result["n_out_of_range"], result["coverage"]) == (5, 2, 0.6)
    slow = result["labels"]["slow"]
    assert (slow["n"], slow["n_in_range"]) == (4, 3)
    assert slow["accuracy"] == {"all": 0.5, "in_range": pytest.approx(2 / 3)}
    assert slow["sensitivity"] == {"all": 0.5, "in_range": 0.5}
    assert slow["specificity"] == {"all": 0.5, "in_range": 1.0}
    # the nearest first: a and c are right, b and d are not
    assert slow["risk_coverage"][0] == {"coverage": 1.0, "risk": 0.5}
    assert slow["risk_coverage"][-1] == {"coverage": 0.5, "risk": 0.0}
    undecided = table.assign(predicted=pd.array([None] * 5, dtype="Int8"))
    accuracy = selective(undecided)["labels"]["slow"]["accuracy"]
    assert accuracy == {"all": None, "in_range": None}
    scores = table.assign(probability=np.nan, target=[2.0, 3, 1, 5, np.nan])
    assert selective(scores)["labels"]["slow"]["mae"] == {"all": 2.75, "in_range": 2.0}
    assert json.dumps(result)
