"""data.raters: consensus, agreement and raters beside a model."""

import json

import krippendorff
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, roc_curve

from local.data import raters
from local.data.label_cells import CellCodes
from local.data.labels import LabelType
from local.metrics import rater_agreement
from local.utils.errors import UserError
from local.utils.problems import lines

NAN = np.nan
BINARY = LabelType()
SCALE = LabelType("ordinal", (0.0, 4.0), 2.0)
SCORE = LabelType("score", (0.0, 100.0), None, is_score=True)


def ratings(**columns):
    return pd.DataFrame(columns, dtype=float)


def agreement(given, label_type, subjects=None):
    """Of ratings of one subject each, unless subjects are given."""
    subjects = np.arange(len(given)) if subjects is None else subjects
    return rater_agreement.agreement(given, label_type, subjects, seed=1)


def on_roc(given, label_type, predictions, subjects=None):
    subjects = np.arange(len(given)) if subjects is None else subjects
    return rater_agreement.raters_on_roc(
        given, label_type, predictions, subjects, seed=1
    )


def read(columns, types, derived=None, missing=(), values=None):
    table = pd.DataFrame(columns, dtype=str)
    table.index += 2  # as a spreadsheet counts, row 1 being the header
    codes = CellCodes.of({"missing_values": list(missing), "label_values": values})
    targets, problems = raters.targets_with_raters(
        table, types, derived, codes, "train.csv"
    )
    return targets, lines(problems)


# Columns and consensus


def test_columns_of_raters():
    columns = ["uid", "b@r1", "a@b@r1", "a@r2", "a@b", "ab@r1", "a@x@y.org"]
    assert raters.rater_columns(columns, ["a", "b", "a@b"]) == {
        "a": {"r2": "a@r2", "x@y.org": "a@x@y.org"},
        "b": {"r1": "b@r1"},
        "a@b": {"r1": "a@b@r1"},
    }


def test_majority_and_ties():
    given = ratings(a=[1, 1, 0, 0, NAN], b=[1, 0, 0, NAN, NAN], c=[0, NAN, 1, NAN, NAN])
    expected = [1, NAN, 0, 0, NAN]
    np.testing.assert_array_equal(raters.consensus(given, BINARY), expected)


def test_divided_raters_are_counted():
    """Two ties of x, none of the scale, whose 2 and 3 are both positive, nor of s."""
    table = pd.DataFrame(
        {
            **{"x@a": ["1", "1", "0", "", "1"], "x@b": ["0", "1", "1", "", ""]},
            **{"y@a": ["2", "0", "0", "", ""], "y@b": ["3", "1", "1", "", ""]},
            **{"s@a": ["0", "1", "0", "", ""], "s@b": ["99", "0", "1", "", ""]},
        }
    )
    types = {"x": BINARY, "y": SCALE, "s": SCORE, "z": BINARY}
    assert raters.count_divided(table, types, CellCodes()) == {"x": 2, "y": 0, "s": 0}


def test_shares_of_raters():
    manifest = pd.DataFrame(
        {
            **{"x": [NAN, 1, 0, 0], "x@a": ["yes", "1", "0", ""]},
            **{"x@b": ["no", "1", "", "NA"], "x@c": ["", "0", "0", ""]},
            **{"y": [1.0, 1, 0, NAN], "y@a": ["2", "3", "1", ""]},
            **{"y@b": ["4", "1", "0", ""], "y@c": ["0", "2", "", ""]},
            **{"s": [5.5, 1, 2, NAN], "s@a": ["5", "1", "2", ""]},
            **{"s@b": ["6", "1", "2", ""], "alone": [1.0, 0, 1, NAN]},
        }
    )
    scale = {"type": "ordinal", "range": [0, 4], "positive_from": 2}
    types = {"y": scale, "s": {"type": "score", "range": [0, 9]}}
    values = {"label_types": types, "loss": "bce"}
    found = raters.with_shares(manifest, ["x", "y", "s", "alone"], values)
    np.testing.assert_allclose(found["x"], [0.5, 2 / 3, 0, 0])
    np.testing.assert_allclose(found["y"], [2 / 3, 2 / 3, 0, NAN])
    same = manifest.columns.drop(["x", "y"])
    pd.testing.assert_frame_equal(found[same], manifest[same])
    with pytest.raises(UserError, match="no column <label>@<rater> of a label that"):
        raters.with_shares(manifest, ["alone"], values | {"label_types": None})


def test_scales_are_compared_with_the_threshold_first():
    # the mean of 4, 1, 1 is 2, but two of three say that it is below
    given = ratings(a=[4, 2], b=[1, 1], c=[1, 2])
    np.testing.assert_array_equal(raters.consensus(given, SCALE), [0, 1])


def test_scores_are_means():
    given = ratings(a=[10, 30, NAN], b=[20, NAN, NAN])
    np.testing.assert_array_equal(raters.consensus(given, SCORE), [15, 30, NAN])


def test_a_label_with_raters_needs_no_column():
    columns = {"x@a": ["3", "9", ""], "x@b": ["1", "0", "."], "x@c": ["2", "", "NA"]}
    targets, problems = read(columns | {"y": ["1", "0", ""]}, {"y": BINARY, "x": SCALE})
    # 9 is outside of the scale
    (problem,) = problems
    assert problem.startswith("1 cell in column 'x@a' with something else than the")
    assert "'9' (train.csv row 3); if they mean 'not rated': --missing" in problem
    targets, problems = read(columns, {"x": SCALE}, missing=["9"])
    assert problems == []
    np.testing.assert_array_equal(targets["x"], [1, 0, NAN])


def test_raters_may_use_words_and_those_of_their_label():
    columns = {"x@a": ["Yes", "t", "heard"], "x@b": ["y", "F", "not"]}
    values = {"x": {"Heard": 1, "not": 0, "f": None}}
    targets, problems = read(columns, {"x": BINARY}, values=values)
    assert problems == []
    np.testing.assert_array_equal(targets["x"], [1, 1, NAN])
    _, problems = read({"x@a": ["present", "absent"]}, {"x": BINARY})
    # the label's name, not the column's
    assert "--label_values='{x: {absent: 0, present: 1}}'" in problems[0]


def test_a_label_with_raters_is_not_derived():
    columns = {"x@a": ["1", "0"], "source": ["0", "0"]}
    targets, problems = read(columns, {"x": BINARY}, derived={"x": ["source"]})
    assert problems == [] and targets["x"].tolist() == [1, 0]


def test_own_cells_hold_where_nobody_rated():
    columns = {"x": ["1", "0", ""], "x@a": ["", "0", "1"]}
    targets, problems = read(columns, {"x": BINARY})
    assert problems == [] and targets["x"].tolist() == [1, 0, 1]


def test_disagreement_is_told_by_row():
    columns = {
        "x": ["1", "1", "0", "", "1"],
        "x@a": ["1", "0", "0", "0", ""],
        "x@b": ["1", "0", "1", "0", ""],
    }
    _, problems = read(columns, {"x": BINARY})
    assert len(problems) == 2
    assert problems[0].startswith(
        "1 cell in column 'x' that disagree with its raters: '1' (train.csv row 3); "
    )
    assert (
        "'x' given where its raters are divided: '0' (train.csv row 4)" in problems[1]
    )


def test_a_mean_may_be_rounded():
    columns = {"x": ["34", "36"], "x@a": ["20", "20"], "x@b": ["47", "49"]}
    targets, problems = read(columns, {"x": SCORE})
    assert len(problems) == 1 and "row 3" in problems[0]
    # what is learned is the mean itself
    assert targets["x"].tolist() == [33.5, 34.5]


def test_a_column_without_a_rater():
    _, problems = read({"x@": ["1"]}, {"x": BINARY})
    assert problems == [
        "train.csv: the column 'x@' lacks the rater's name; expected x@<rater>"
    ]


# Agreement

#: The example of Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, parts
#: C and D: 4 observers, 12 units; nominal .743, ordinal .815, interval .849.
OBSERVERS = ratings(
    a=[1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    b=[1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    c=[NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    d=[1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
)


@pytest.mark.parametrize(
    ("label_type", "level", "alpha"),
    [(BINARY, "nominal", 0.743), (SCALE, "ordinal", 0.815), (SCORE, "interval", 0.849)],
)
def test_published_alpha(label_type, level, alpha):
    found = agreement(OBSERVERS, label_type)
    assert found["n"] == 11
    assert found["alpha"]["level"] == level
    assert found["alpha"]["value"] == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_scores_is_the_package_s():
    generator = np.random.default_rng(3)
    given = generator.normal(size=(30, 1)) + generator.normal(size=(30, 4))
    given = pd.DataFrame(np.where(generator.random((30, 4)) < 0.3, NAN, given))
    expected = krippendorff.alpha(given.T.to_numpy(), level_of_measurement="interval")
    assert agreement(given, SCORE)["alpha"]["value"] == pytest.approx(expected)


def test_kappa_by_hand():
    given = ratings(a=[1, 1, 1, 0, 0, 0, 1], b=[1, 1, 0, 0, 0, 0, NAN])
    pair = agreement(given, BINARY)["pairs"][0]
    assert pair["raters"] == ["a", "b"] and pair["measure"] == "kappa"
    assert pair["n"] == 6
    # observed 5/6; by chance 1/2 · 1/3 + 1/2 · 2/3 = 1/2
    assert pair["value"] == pytest.approx((5 / 6 - 1 / 2) / (1 - 1 / 2))


def test_weighted_kappa_counts_places_that_nobody_used():
    a, b = np.array([0, 0, 3, 4, 4]), np.array([0, 3, 3, 4, 0])
    pair = agreement(ratings(a=a, b=b), SCALE)["pairs"][0]
    # quadratic weights: mean squared difference by that of all 25 combinations
    apart = np.mean((a - b) ** 2) / np.mean((a[:, None] - b) ** 2)
    assert pair["value"] == pytest.approx(1 - apart)
    assert pair["measure"] == "weighted_kappa"


def test_half_steps_are_places_of_the_scale():
    # 0, 0.5, 1, 2 as of a dementia rating are four places
    steps, whole = [0, 0.5, 1, 2, 0.5], [0, 1, 2, 3, 1]
    other_steps, other_whole = [0, 1, 1, 2, 2], [0, 2, 2, 3, 3]
    half = agreement(ratings(a=steps, b=other_steps), SCALE)
    full = agreement(ratings(a=whole, b=other_whole), SCALE)
    assert half["pairs"][0]["value"] == pytest.approx(full["pairs"][0]["value"])


def test_icc_of_scores():
    # sums of squares 24.75 of rows, 18.75 of columns, 4.75 of the rest; df 5, 1, 5
    given = ratings(a=[2, 1, 4, 1, 5, 2], b=[6, 2, 7, 5, 6, 4])
    rows, columns, error = 4.95, 18.75, 0.95
    total = rows + error + 2 / 6 * (columns - error)
    pair = agreement(given, SCORE)["pairs"][0]
    assert pair["measure"] == "icc"
    assert pair["value"] == pytest.approx((rows - error) / total)


def test_what_can_not_be_computed_says_why():
    given = ratings(a=[1, 1, 1, NAN], b=[1, 1, 1, NAN], c=[1, 0, NAN, 1], d=[NAN] * 4)
    found = agreement(given, BINARY)
    reasons = {tuple(p["raters"]): (p["value"], p["reason"]) for p in found["pairs"]}
    assert reasons["a", "b"] == (None, "all ratings of the 3 recordings are the same")
    assert reasons["a", "c"][1].startswith("fewer than 3 recordings are rated by both")
    assert reasons["a", "d"] == (None, "no common recording")
    assert found["alpha"]["value"] is not None
    alone = agreement(ratings(a=[1, 0]), BINARY)
    assert alone["pairs"] == [] and alone["alpha"]["value"] is None
    json.dumps([found, alone], allow_nan=False)


# Beside the model


def test_a_rater_and_the_model_by_hand():
    given = ratings(
        a=[1, 0, 1, 0, 0, NAN, 1, 1],
        b=[1, 1, 0, 0, 0, 1, 1, 0],
        c=[1, 1, 0, 0, NAN, 1, 0, 0],
    )
    predictions = [0.9, 0.4, 0.6, 0.3, 0.5, 0.1, 0.2, NAN]
    point = on_roc(given, BINARY, predictions)[0]
    # b and c: 1 1 0 0 0; then a did not rate, b and c differ, there is no prediction
    assert (point["rater"], point["n"], point["n_positive"]) == ("a", 5, 2)
    assert point["sensitivity"]["value"] == 1 / 2
    assert point["specificity"]["value"] == 2 / 3
    # positives .9 .4, negatives .6 .3 .5: 3 + 1 of 6 pairs
    assert point["model_auroc"]["value"] == pytest.approx(4 / 6)
    # one negative may be called positive: the threshold is above .5
    assert point["model_sensitivity"]["value"] == 1 / 2
    json.dumps(point, allow_nan=False)


def test_ties_are_not_split_for_the_model():
    given = ratings(a=[1, 0, 0, 0], b=[1, 0, 0, 0])
    point = on_roc(given, BINARY, [0.5, 0.5, 0.1, 0.2])[0]
    assert point["specificity"]["value"] == 1
    assert point["model_sensitivity"]["value"] == 0


def test_scales_beside_the_model_are_positive_from_the_threshold():
    for label_type in (SCALE, LabelType("ordinal", (0.0, 4.0), 2.0, is_score=True)):
        given = ratings(a=[4, 1, 0], b=[2, 2, 1])
        point = on_roc(given, label_type, [3.0, 2.0, 1.0])[0]
        assert point["n_positive"] == 2
        assert point["sensitivity"]["value"] == 1 / 2
        assert point["specificity"]["value"] == 1


def test_no_point_says_why():
    def reasons(given, label_type=BINARY):
        point = on_roc(given, label_type, [0.1, 0.2])[0]
        return {k: v["reason"] for k, v in point.items() if isinstance(v, dict)}

    assert set(reasons(ratings(a=[1, 0])).values()) == {
        "no recording is rated by this rater and decided by the others"
    }
    assert reasons(ratings(a=[1, 0], b=[0, 0]))["model_auroc"] == (
        "the others call no recording positive"
    )
    assert reasons(ratings(a=[1, 0], b=[1, 1]))["specificity"] == (
        "the others call all recordings positive"
    )
    assert set(reasons(ratings(a=[1, 0], b=[1, 1]), SCORE).values()) == {
        "a score has no positive class"
    }


# Intervals by subject


def panel(n_subjects=40, seed=0):
    """Three raters and a model of 3 recordings of each subject, alike in a subject."""
    generator = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(n_subjects), 3)
    severity = generator.normal(size=n_subjects)[subjects]
    said = severity[:, None] + generator.normal(size=(len(subjects), 3)) > 0
    given = pd.DataFrame(said.astype(float), columns=list("abc"))
    given.iloc[::7, 1] = NAN
    return given, severity + generator.normal(size=len(subjects)), subjects


def by_hand(measured, subjects, n_draws=400):
    """Percentiles of what is measured of the rows of drawn subjects."""
    generator = np.random.default_rng(5)
    names = np.unique(subjects)
    values = []
    for _ in range(n_draws):
        drawn = generator.choice(names, len(names))
        rows = np.concatenate([np.flatnonzero(subjects == name) for name in drawn])
        values.append(measured(rows))
    return np.quantile(values, [0.025, 0.975])


def bounds(entry):
    assert entry["low"] < entry["value"] < entry["high"]
    return [entry["low"], entry["high"]]


def test_intervals_of_agreement_are_those_of_drawn_subjects():
    given, _, subjects = panel()
    values, used = given.to_numpy(), given.notna().sum(axis=1) >= 2
    found = agreement(given, BINARY, subjects)
    expected = by_hand(
        lambda rows: krippendorff.alpha(
            values[rows][used[rows]].T, level_of_measurement="nominal"
        ),
        subjects,
    )
    np.testing.assert_allclose(bounds(found["alpha"]), expected, atol=0.03)

    def kappa(rows):
        return cohen_kappa_score(values[rows, 0], values[rows, 2])

    pair = next(pair for pair in found["pairs"] if pair["raters"] == ["a", "c"])
    assert pair["value"] == pytest.approx(kappa(slice(None)))
    np.testing.assert_allclose(bounds(pair), by_hand(kappa, subjects), atol=0.03)
    # where a subject's recordings say the same, three of them tell no more than one
    same = given.iloc[np.repeat(np.arange(0, len(given), 3), 3)]
    widths = [
        np.ptp(bounds(agreement(same, BINARY, of)["alpha"])) for of in (subjects, None)
    ]
    assert widths[0] / widths[1] == pytest.approx(3**0.5, rel=0.1)


def test_scores_have_intervals_of_agreement_too():
    generator = np.random.default_rng(2)
    given = generator.normal(size=(30, 1)) + generator.normal(size=(30, 3))
    found = agreement(pd.DataFrame(given, columns=list("abc")), SCORE)
    expected = by_hand(
        lambda rows: krippendorff.alpha(given[rows].T, level_of_measurement="interval"),
        np.arange(30),
    )
    np.testing.assert_allclose(bounds(found["alpha"]), expected, atol=0.04)
    assert all(bounds(pair) for pair in found["pairs"])


def test_the_model_beside_a_rater_has_intervals_of_the_same_draws():
    given, predictions, subjects = panel()
    point = on_roc(given, BINARY, predictions, subjects)[0]
    reference = raters.majority(given[["b", "c"]], BINARY)
    used = np.flatnonzero(~np.isnan(reference))
    truth, own, score = reference[used], given["a"].to_numpy()[used], predictions[used]

    def difference(rows):
        positive = truth[rows] == 1
        hits, false = own[rows][positive].mean(), own[rows][~positive].mean()
        fpr, tpr, _ = roc_curve(positive, score[rows], drop_intermediate=False)
        return tpr[fpr <= false + 1e-9].max() - hits

    entry = point["sensitivity_difference"]
    assert entry["value"] == pytest.approx(difference(slice(None)))
    expected = by_hand(difference, subjects[used])
    np.testing.assert_allclose(bounds(entry), expected, atol=0.05)
    values = {
        name: point[name]["value"] for name in point if isinstance(point[name], dict)
    }
    assert values["model_sensitivity"] - values["sensitivity"] == pytest.approx(
        values["sensitivity_difference"]
    )
    for name in ("sensitivity", "specificity", "model_auroc", "model_sensitivity"):
        bounds(point[name])


def test_too_few_subjects_have_no_interval():
    given, predictions, _ = panel(4)
    subjects = np.repeat(["p", "q", "r", "s"], 3)
    found = agreement(given, BINARY, subjects)["alpha"]
    assert found["value"] is not None and found["low"] is None
    assert found["reason"] == "fewer than 5 subjects: 4"
    for name, entry in on_roc(given, BINARY, predictions, subjects)[0].items():
        if isinstance(entry, dict) and entry["value"] is not None:
            assert entry["low"] is None, name
            assert entry["reason"].startswith("fewer than 5 subjects"), name
