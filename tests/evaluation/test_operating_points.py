"""Operating points: fitted on validation, used elsewhere, kept in the experiment."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from local.data.cross_fitted import read_cross_fitted
from local.data.predictions_table import write_predictions
from local.data.windows import LongRecordings
from local.evaluation import operating_points as op
from local.evaluation.usable_points import for_windows, without_own_choices
from local.metrics.calibration import ece
from local.metrics.decisions import apply_calibration, decision
from local.metrics.recalibration import fit_calibration
from local.storage.experiment_files import OPERATING_POINTS
from local.utils.errors import UserError


def make_table(logits, targets, label="slow", subjects=None, offset=0.0):
    """One recording per subject; the class weight has added `offset` to the logits."""
    logits = np.asarray(logits, dtype=float)
    names = subjects or [f"s{i}" for i in range(len(logits))]
    return pd.DataFrame(
        {
            "uid": [f"u{name}" for name in names],
            "subject": names,
            "label": label,
            "target": np.asarray(targets, dtype=float),
            "logit": logits + offset,
            "probability": expit(logits),
            "session": "",
            "split": "valid",
            "predicted": pd.array([None] * len(logits), dtype="Int8"),
        }
    )


def drawn(n=400, slope=0.5, seed=0):
    """Logits that are too extreme by 1 / slope, and targets drawn accordingly."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, n)
    return logits, (generator.random(n) < expit(slope * logits)).astype(float)


def test_threshold_by_hand():
    # the best cut is between logit(0.4) and logit(0.6): the middle, in probability
    table = make_table(
        [logit(0.2), logit(0.4)] * 10 + [logit(0.6)] * 10, [0] * 20 + [1] * 10
    )
    point = op.fit_operating_points(table, ["slow"])["slow"]
    assert point["calibration"] is None
    assert point["threshold"]["value"] == pytest.approx(0.5)
    assert point["threshold"]["source"] == "validation"
    applied = op.apply_operating_points(table, {"slow": point})
    assert applied["predicted"].tolist() == [0] * 20 + [1] * 10
    assert applied["probability"].tolist() == table["probability"].tolist()
    assert table["predicted"].isna().all()  # the given table stays


def test_temperature_makes_probabilities_right_and_the_threshold_follows():
    logits, targets = drawn()
    table = make_table(logits, targets)
    plain = op.fit_operating_points(table, ["slow"])["slow"]
    point = op.fit_operating_points(table, ["slow"], calibration="temperature")["slow"]
    slope = point["calibration"]["slope"]
    assert slope == pytest.approx(0.5, abs=0.08)
    assert point["calibration"]["intercept"] == 0
    applied = op.apply_operating_points(table, {"slow": point})
    assert applied["probability"].to_numpy() == pytest.approx(expit(slope * logits))
    assert applied["logit"].tolist() == table["logit"].tolist()
    # the gap of the best cut is the same one, so the decisions are
    uncalibrated = op.apply_operating_points(table, {"slow": plain})
    assert applied["predicted"].tolist() == uncalibrated["predicted"].tolist()
    assert plain["threshold"]["value"] != point["threshold"]["value"]


def weighted_model(n=2000, weight=6.0, too_extreme=1.6):
    """A network trained with a class weight, whose outputs are too extreme."""
    generator = np.random.default_rng(0)
    true = generator.normal(-2, 1.5, n)
    targets = (generator.random(n) < expit(true)).astype(float)
    outputs = too_extreme * (true + np.log(weight))
    added = np.log(weight)
    return true, outputs, make_table(outputs - added, targets, offset=added)


def test_temperature_scales_what_the_network_puts_out_before_the_weight_goes():
    true, outputs, table = weighted_model()
    point = op.fit_operating_points(table, ["slow"], calibration="temperature")["slow"]
    slope = point["calibration"]["slope"]
    assert slope == pytest.approx(1 / 1.6, abs=0.05)
    applied = op.apply_operating_points(table, {"slow": point})
    expected = expit(slope * outputs - np.log(6))
    assert applied["probability"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert applied["probability"].to_numpy() == pytest.approx(expit(true), abs=0.05)
    before, after = (ece(t["target"], t["probability"]) for t in (table, applied))
    assert before > 0.06 and after < 0.02
    # in the wrong order there is no temperature that helps
    logits = outputs - np.log(6)
    other = fit_calibration(table["target"], logits, table["subject"], "temperature")
    assert ece(table["target"], apply_calibration(other, logits)) > 0.06
    # predict.py and exported folders say the same
    for output, probability in zip(outputs[:20], applied["probability"], strict=False):
        said = decision(output, 6.0, None, point)["probability"]
        assert said == pytest.approx(probability, abs=1e-9)


def test_a_weight_changes_nothing_of_platt_or_of_unrelated_logits():
    _, _, table = weighted_model()
    plain = table.assign(logit=logit(table["probability"]))
    fits = [
        op.fit_operating_points(each, ["slow"], calibration="platt")["slow"]
        for each in (table, plain)
    ]
    assert fits[0] == fits[1]
    # from elsewhere: logits that are no shift of the probabilities' own are not used
    strange = table.assign(logit=table["logit"] ** 3)
    fits = [
        op.fit_operating_points(each, ["slow"], calibration="temperature")["slow"]
        for each in (strange, plain)
    ]
    assert fits[0] == fits[1]
    assert fits[0]["calibration"]["intercept"] == 0


def test_saturated_probabilities_are_calibrated_by_their_logits():
    logits, targets = drawn()
    table = make_table([*logits, 60.0], [*targets, 1])
    assert table["probability"].iloc[-1] == 1
    point = {"threshold": {"value": 0.5}, "calibration": {"slope": 0.1, "intercept": 0}}
    applied = op.apply_operating_points(table, {"slow": point})
    assert applied["probability"].iloc[-1] == pytest.approx(expit(6.0))


def test_what_can_not_be_fitted_leaves_probabilities_and_says_why():
    table = make_table([-1.0, 1.0], [0, 1])
    point = op.fit_operating_points(table, ["slow"], calibration="platt")["slow"]
    assert point["calibration"]["slope"] is None
    assert "10 subjects" in point["calibration"]["reason"]
    assert "10 subjects" in point["threshold"]["reason"]
    applied = op.apply_operating_points(table, {"slow": point})
    assert applied["probability"].tolist() == table["probability"].tolist()
    assert applied["predicted"].isna().all()


def test_without_validation_cross_fitted_predictions_give_the_threshold():
    logits, targets = drawn()
    table = make_table(logits, targets)
    found = op.fit_operating_points(
        None, ["slow"], calibration="platt", cross_fitted=table
    )["slow"]
    assert found["threshold"]["source"] == "cross-fitted training"
    assert (
        found["threshold"]["value"]
        == (op.fit_operating_points(table, ["slow"])["slow"]["threshold"]["value"])
    )
    assert found["calibration"]["reason"] == "there is no validation split"
    nothing = op.fit_operating_points(None, ["slow"])["slow"]["threshold"]
    assert nothing["value"] is None
    assert "there are no such predictions" in nothing["reason"]


def test_scores_have_no_operating_point():
    table = make_table([30.0, 40.0], [31, 39]).assign(probability=np.nan)
    assert op.fit_operating_points(table, ["slow"]) == {}
    assert op.apply_operating_points(table, {}).equals(table)


def test_saved_and_read_back(tmp_path):
    logits, targets = drawn()
    points = op.fit_operating_points(
        make_table(logits, targets), ["slow"], {"sensitivity": 0.9}, "platt"
    )
    op.save_operating_points(points, tmp_path)
    assert op.read_operating_points(tmp_path) == points
    assert op.read_operating_points(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"labels": []}', '{"labels": {"a": {"threshold": 3}}}', "NaN"],
)
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / OPERATING_POINTS
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UserError, match=r"operating_points\.json can't be read"):
        op.read_operating_points(tmp_path)


def test_numbers_that_are_not_finite_are_damage(tmp_path):
    path = tmp_path / OPERATING_POINTS
    path.parent.mkdir()
    point = {"threshold": {"value": float("nan")}, "calibration": None}
    path.write_text(json.dumps({"labels": {"a": point}}))
    with pytest.raises(UserError, match="the threshold of a is"):
        op.read_operating_points(tmp_path)


def test_nobody_is_judged_by_a_threshold_of_their_own():
    logits, targets = drawn()
    points = op.fit_operating_points(
        make_table(logits, targets), ["slow"], calibration="platt"
    )
    chosen_on = {"validation": {"s1", "s2"}}
    assert without_own_choices(points, chosen_on, {"s3"}) == points
    found = without_own_choices(points, chosen_on, {"s2", "s3"})["slow"]
    assert found["threshold"]["value"] is found["calibration"]["slope"] is None
    assert "1 of these subjects" in found["threshold"]["reason"]
    for spelling in ("S2", "s 02", " s2 "):
        judged = without_own_choices(points, chosen_on, {spelling, "s3"})
        assert judged["slow"] == found, spelling
    assert points["slow"]["threshold"]["value"] is not None  # the given ones stay


def test_a_threshold_fixed_in_advance():
    """It needs nobody to choose it, so nobody is kept from being judged by it."""
    logits, targets = drawn()
    table = make_table(logits, targets)
    chosen = op.fit_operating_points(table, ["slow"], calibration="platt")
    points = op.fixed_points(chosen, {"slow": 0.3, "loud": 0.4})
    expected = {
        "value": 0.3,
        "low": None,
        "high": None,
        "rule": "fixed",
        "source": "given",
        "n_positive_subjects": None,
    }
    assert points["slow"]["threshold"] == expected
    assert points["slow"]["per_subject"]["any"] == expected
    assert points["slow"]["calibration"] == chosen["slow"]["calibration"]
    assert points["loud"]["threshold"]["value"] == 0.4
    assert op.fixed_points(chosen, {}) == chosen
    del points["slow"]["calibration"], points["loud"]["calibration"]
    plain = {name: {**point, "calibration": None} for name, point in points.items()}
    assert without_own_choices(plain, {"validation": {"s1"}}, {"s1"}) == plain
    windows = LongRecordings(10.0, 2.0), LongRecordings(5.0, 2.0)
    manifest = pd.DataFrame({"duration": [25.0]})
    assert for_windows(plain, *windows, manifest) == (plain, [])
    # one on a calibrated probability is none on another
    fitted = {"slow": plain["slow"] | {"calibration": chosen["slow"]["calibration"]}}
    usable, _ = for_windows(fitted, *windows, manifest)
    assert usable["slow"]["threshold"]["value"] is None
    applied = op.apply_operating_points(table, plain)
    assert applied["predicted"].tolist() == (expit(logits) >= 0.3).astype(int).tolist()


@pytest.mark.parametrize(
    ("here", "durations", "why"),
    [
        (LongRecordings(10.0, 2.0), [25.0], None),
        (LongRecordings(10.0, 2.0, "max"), [10.0], None),
        (LongRecordings(30.0, 2.0), [8.0, 9.0], None),
        (LongRecordings(10.0, 2.0, "max"), [5.0, 11.0], "window_pooling is max here"),
        (LongRecordings(0, 2.0), [11.0], "max_duration is 0 here, 10.0 when the"),
        (LongRecordings(5.0, 2.0), [6.0], "max_duration is 5.0 here, 10.0 when"),
        (LongRecordings(10.0, 3.0), [11.0], "window_overlap is 3.0 here, 2.0 when"),
    ],
)
def test_other_windows_void_thresholds_and_calibration(here, durations, why):
    """But not where no recording is cut, so that the scores are the same."""
    logits, targets = drawn()
    points = op.fit_operating_points(
        make_table(logits, targets), ["slow"], calibration="platt"
    )
    manifest = pd.DataFrame({"duration": durations})
    usable, notes = for_windows(points, LongRecordings(10.0, 2.0), here, manifest)
    if why is None:
        assert (usable, notes) == (points, [])
        return
    (note,) = notes
    assert why in note and "not applied" in note
    rules = usable["slow"].pop("per_subject")
    assert list(rules) == ["mean", "any", "majority"]
    for entry in (*usable["slow"].values(), *rules.values()):
        assert why in entry["reason"]
    assert usable["slow"]["threshold"]["value"] is None
    assert usable["slow"]["calibration"]["slope"] is None
    assert usable["slow"]["calibration"]["intercept"] is None
    table = make_table(logits, targets)
    applied = op.apply_operating_points(table, usable)
    assert applied["probability"].tolist() == table["probability"].tolist()
    assert applied["predicted"].isna().all()


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": {"value": 7.5}},
        {"threshold": {"value": "0.5"}},
        {"threshold": {"value": None}},
        {"calibration": {"slope": 1.0, "intercept": None}},
        {"calibration": {"slope": "1", "intercept": 0.0}},
    ],
)
def test_a_point_that_can_not_be_is_damage(tmp_path, change):
    logits, targets = drawn()
    points = op.fit_operating_points(
        make_table(logits, targets), ["slow"], calibration="platt"
    )
    for part, values in change.items():
        points["slow"][part] |= values
    op.save_operating_points(points, tmp_path)
    with pytest.raises(UserError, match="of slow is"):
        op.read_operating_points(tmp_path)


def test_cross_fitted_predictions_must_be_of_training_subjects(tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions(make_table([0.5, 1.0, 2.0], [0, 1, 1]), path)
    given = read_cross_fitted(path, ["slow"], {"s0", "s1", "s2", "s3"}, {"t"})
    assert given["subject"].tolist() == ["s0", "s1", "s2"]
    with pytest.raises(UserError) as error:
        read_cross_fitted(path, ["slow", "loud"], {"S0"}, {"s01"})
    assert "no rows of loud" in str(error.value)
    assert "1 of its subjects are in the test split" in str(error.value)
    assert "1 of its subjects are in no split" in str(error.value)
    with pytest.raises(UserError, match="2 of its subjects are in the test split"):
        read_cross_fitted(path, ["slow"], {"s0"}, {"S 1", " s02"})
