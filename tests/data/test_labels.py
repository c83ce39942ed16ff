"""data.labels: labels.txt, label types and the targets in a table, by hand."""

import math
import shlex

import pandas as pd
import pytest
from conftest import user_error

from local.data import labels
from local.data.label_cells import CellCodes, targets_from_table
from local.utils.problems import lines
from local.utils.yaml_files import parse_value

NAN = math.nan


def targets(
    columns,
    names,
    label_types=None,
    derived=None,
    missing=(),
    loss="bce",
    values=None,
):
    """Targets and problems of a table given by its columns."""
    types = labels.parse_label_types(label_types, names, loss)
    table = pd.DataFrame(columns, dtype=str)
    table.index += 2  # as a spreadsheet counts, row 1 being the header
    settings = {
        "label_types": label_types,
        "missing_values": list(missing),
        "label_values": values,
    }
    found, problems = targets_from_table(
        table, types, derived, CellCodes.of(settings), "train.csv"
    )
    if found is not None:
        found = found.reset_index(drop=True)
    return found, lines(problems)


# labels.txt


@pytest.mark.parametrize(
    "content",
    [
        b"slow rate,breakdowns\nstrained\n",
        b"\xef\xbb\xbfslow rate,breakdowns\nstrained",
        b"slow rate,breakdowns\r\nstrained\r\n",
        b"\n  \nslow rate, breakdowns \n\n\tstrained\n\n",
    ],
    ids=["plain", "byte order mark", "CRLF", "blank lines and spaces"],
)
def test_each_line_of_labels_txt_is_a_head(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    groups = labels.read_label_groups(tmp_path / "labels.txt")
    assert groups == [["slow rate", "breakdowns"], ["strained"]]
    assert labels.flatten(groups) == ["slow rate", "breakdowns", "strained"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\nc,a\n", "'a' is named twice"),
        (b"a,a\n", "'a' is named twice"),
        (b"a,,b\n", "a name is empty"),
        (b"a,b,\n", "a name is empty"),
        (b"\n \n", "it names no label"),
        (b"", "it names no label"),
        (b"fl\xfcstern\n", "is not UTF-8"),
    ],
)
def test_labels_txt_that_cannot_be_used(tmp_path, content, expected):
    (tmp_path / "labels.txt").write_bytes(content)
    assert expected in user_error(labels.read_label_groups, tmp_path / "labels.txt")


def test_a_missing_labels_txt_is_named(tmp_path):
    message = user_error(labels.read_label_groups, tmp_path / "labels.txt")
    assert f"no label file {tmp_path / 'labels.txt'}" in message


# Label types


def test_a_label_without_a_type_is_binary():
    found, problems = targets({"low": ["0", "1", "1.0", " 0 ", "1e0"]}, ["low"])
    assert problems == []
    assert found["low"].tolist() == [0, 1, 1, 0, 1]


def test_an_ordinal_label_is_positive_from_a_value_on():
    kind = {"strained": {"type": "ordinal", "range": [0, 4], "positive_from": 2}}
    found, problems = targets(
        {"strained": ["0", "1", "1.9", "2", "3.5", "4", ""]}, ["strained"], kind
    )
    assert problems == []
    assert found["strained"].tolist()[:-1] == [0, 0, 0, 1, 1, 1]
    assert math.isnan(found["strained"].iloc[-1])


def test_an_ordinal_value_outside_its_range_is_a_problem():
    kind = {"strained": {"type": "ordinal", "range": [0, 4], "positive_from": 2}}
    _, problems = targets({"strained": ["4", "5", "-1"]}, ["strained"], kind)
    assert problems == [
        "2 cells in column 'strained' with something else than the range 0 to 4: '5' "
        "(train.csv row 3), '-1' (train.csv row 4); if they mean 'not rated': "
        "--missing_values='[-1]'; if it is a scale, with its own ends: --label_types="
        "'{strained: {type: ordinal, range: [0, 5], positive_from: 2}}'"
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"type": "nominal"}, "type 'nominal' is none of binary, ordinal, score"),
        (
            {"type": "score", "range": [0, 100], "positive_from": 50},
            "scores have no positive class",
        ),
        ({"type": "score"}, "range must be [low, high], found None"),
        ({"type": "score", "range": [0, 50, 100]}, "range must be [low, high]"),
        ({"type": "score", "range": [100, 0]}, "low and high, not 100.0, 0.0"),
        ({"type": "score", "range": [5, 5]}, "low and high"),
        ({"type": "score", "range": [0, float("inf")]}, "low and high"),
        ({"type": "score", "range": [float("nan"), 1]}, "low and high"),
        ({"type": "binary", "rang": [0, 1]}, "unknown keys ['rang']"),
        ({"type": "ordinal", "positive_from": 2}, "'a':"),
        ({"type": "ordinal", "range": [0, 4]}, "positive_from"),
        ({"type": "ordinal", "range": [0, 4], "positive_from": 0}, "inside range"),
        ({"type": "ordinal", "range": [0, 4], "positive_from": 5}, "inside range"),
        ({"type": "ordinal", "range": [4, 0], "positive_from": 2}, "inside range"),
        ({"type": "ordinal", "range": "high", "positive_from": 2}, "'a':"),
        (None, "'a':"),
    ],
)
def test_wrong_label_types(entry, expected):
    message = user_error(labels.parse_label_types, {"a": entry}, ["a"])
    assert expected in message
    assert labels.EXAMPLE in message


def test_all_wrong_label_types_are_told_at_once():
    entries = {"a": {"type": "x"}, "b": {"type": "binary"}, "d": {"type": "binary"}}
    message = user_error(labels.parse_label_types, entries, ["a", "b"])
    assert "'a': type 'x'" in message
    assert "'d' is not a label: a, b" in message


# Scores


def test_a_score_is_its_own_target():
    kind = {"severity": {"type": "score", "range": [-10, 100]}}
    cells = ["-10", "37.5", "1e2", " 0 ", "NA"]
    found, problems = targets({"severity": cells}, ["severity"], kind)
    assert problems == []
    assert found["severity"].tolist()[:-1] == [-10, 37.5, 100, 0]
    assert math.isnan(found["severity"].iloc[-1])


@pytest.mark.parametrize("cell", ["100.1", "-0.1", "inf", "-inf"])
def test_a_score_outside_its_range_is_a_problem(cell):
    kind = {"severity": {"type": "score", "range": [0, 100]}}
    _, problems = targets({"severity": ["3", cell]}, ["severity"], kind)
    assert len(problems) == 1
    assert f"else than the range 0 to 100: {cell!r} (train.csv row 3)" in problems[0]


def test_with_mse_every_label_is_a_score():
    kinds = {
        "strained": {"type": "ordinal", "range": [0, 4], "positive_from": 2},
        "rough": {"type": "ordinal", "range": [1, 3]},
        "severity": {"type": "score", "range": [0, 100]},
    }
    names = ["low", "strained", "rough", "severity"]
    columns = {
        "low": ["0", "1"],
        "strained": ["1", "2.5"],
        "rough": ["1", "3"],
        "severity": ["12.5", ""],
    }
    found, problems = targets(columns, names, kinds, loss="mse")
    assert problems == []
    assert found.iloc[0].tolist() == [0, 1, 1, 12.5]
    assert found.iloc[1].tolist()[:3] == [1, 2.5, 3]
    types = labels.parse_label_types(kinds, names, "mse")
    assert [types[name].type for name in names] == [
        "binary",
        "ordinal",
        "ordinal",
        "score",
    ]
    ranges = [[0, 1], [0, 4], [1, 3], [0, 100]]
    assert labels.label_ranges(types, names) == ranges


def test_with_bce_only_scores_have_ranges():
    kinds = {
        "strained": {"type": "ordinal", "range": [0, 4], "positive_from": 2},
        "severity": {"type": "score", "range": [0, 100]},
    }
    names = ["severity", "low", "strained"]
    types = labels.parse_label_types(kinds, names)
    assert labels.label_ranges(types, names) == [[0, 100], None, None]
    assert [types[name].is_score for name in names] == [True, False, False]


def test_with_mse_a_binary_cell_is_still_0_or_1():
    _, problems = targets({"low": ["0.5"]}, ["low"], loss="mse")
    assert "something else than 0 and 1: '0.5' (train.csv row 2)" in problems[0]


def test_with_mse_a_wrong_positive_from_is_still_wrong():
    entry = {"type": "ordinal", "range": [0, 4], "positive_from": 9}
    message = user_error(labels.parse_label_types, {"a": entry}, ["a"], "mse")
    assert "inside range" in message


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_a_derived_label_is_binary(loss):
    kind = {"x": {"type": "score", "range": [0, 9]}}
    columns, derived = {"source": ["3", "0"]}, {"x": ["source"]}
    _, problems = targets(columns, ["x"], kind, derived, loss=loss)
    assert problems == [
        "train.csv: 'x' is derived and so 0 or 1, but label_types calls it score: "
        "leave it out there"
    ]
    found, problems = targets(columns, ["x"], None, derived, loss=loss)
    assert (found["x"].tolist(), problems) == ([1, 0], [])


def test_scores_are_scaled_to_their_range():
    found = labels.scale_targets(
        pd.DataFrame({"a": [1.0, NAN], "b": [-10.0, 30.0], "c": [1.0, 5.0]}),
        [None, [-10, 40], [1, 5]],
    )
    assert found["a"].tolist() == pytest.approx([1, NAN], nan_ok=True)
    assert found["b"].tolist() == pytest.approx([0, 0.8])
    assert found["c"].tolist() == [0, 1]


# Cells


def test_words_for_0_and_1():
    cells = ["yes", "No", "Y", "n", "TRUE", "false", "t", "F", "1.0", "0.0"]
    found, problems = targets({"low": cells}, ["low"])
    assert (problems, found["low"].tolist()) == ([], [1, 0] * 5)
    kind = {"low": {"type": "score", "range": [0, 4]}}
    _, problems = targets({"low": cells}, ["low"], kind)
    assert problems[0].startswith("8 cells in column 'low' with")


def test_other_words_and_codes_by_label_values():
    cells = ["Present", "absent", "2", "1.0", "9", "yes"]
    values = {"low": {"present": 1, "ABSENT": 0, 1: 1, "2": 0, 9: None}}
    found, problems = targets({"low": cells}, ["low"], values=values)
    assert problems == []
    expected = [1, 0, 0, 1, NAN, 1]
    assert found["low"].tolist() == pytest.approx(expected, nan_ok=True)
    kind = {"low": {"type": "ordinal", "range": [0, 3], "positive_from": 2}}
    words = {"low": {"none": 0, "mild": 1, "severe": 3}}
    found, problems = targets({"low": ["mild", "Severe"]}, ["low"], kind, values=words)
    assert (problems, found["low"].tolist()) == ([], [0, 1])


@pytest.mark.parametrize("entry", [{"present": "yes"}, ["present"], {"a": [1]}, None])
def test_label_values_that_are_none(entry):
    message = user_error(CellCodes.of, {"label_values": {"low": entry}})
    assert message.startswith("label_values can't be used; expected e.g. label_values")
    assert "- low: " in message


def of_command_line(line, key):
    """What `--key=…` in a line sets, after a shell and the recipe have read it."""
    words = shlex.split(line.replace(";", " ").replace(" --", "\n--").split("\n", 1)[1])
    text = next(word for word in words if word.startswith(f"--{key}="))
    return parse_value(text.partition("=")[2])


SCALE = ("label_types", {"x": {"type": "score", "range": [0, 120]}})


@pytest.mark.parametrize(
    ("cells", "key", "expected"),
    [
        (["0", "117", "14", "22"], *SCALE),
        (["3", "117.5"], *SCALE),
        (
            ["0", "3", "1", "2"],
            "label_types",
            {"x": {"type": "ordinal", "range": [0, 3], "positive_from": 1}},
        ),
        (
            ["1", "5", "2"],
            "label_types",
            {"x": {"type": "ordinal", "range": [1, 5], "positive_from": 2}},
        ),
        (["1", "0", "9"], "missing_values", [9]),
        (["1", "0", "-99", "999", "8"], "missing_values", [-99, 8, 999]),
        (["1", "0", "NULL", "#N/A"], "missing_values", ["NULL", "#N/A"]),
        (["1", "?", "#NULL!", "it's"], "missing_values", ["?", "#NULL!", "it's"]),
        (["present", "absent"], "label_values", {"x": {"present": 1, "absent": 0}}),
        (["+", "-"], "label_values", {"x": {"+": 1, "-": 0}}),
        (["1", "-"], "missing_values", ["-"]),
        (
            ["positive", "negative", "so so"],
            "label_values",
            {"x": {"positive": 1, "negative": 0, "so so": None}},
        ),
    ],
)
def test_the_setting_that_is_proposed_makes_it_right(cells, key, expected):
    """Cells that are all of a kind: what is pasted has them read."""
    _, (problem,) = targets({"x": cells}, ["x"])
    found = of_command_line(problem, key)
    assert found == expected
    settings = {
        {"label_types": "label_types", "label_values": "values"}.get(key, "missing"): (
            found
        )
    }
    assert targets({"x": cells}, ["x"], **settings)[1] == []


@pytest.mark.parametrize(
    ("cells", "meant"),
    [
        (["Yes", "no", "2"], {"Yes": 1, "no": 0}),
        (["mild", "none", "severe"], {"mild": 1, "none": 0, "severe": 1}),
    ],
)
def test_ratings_in_words_are_not_proposed_as_not_rated(cells, meant):
    kind = {"x": {"type": "ordinal", "range": [0, 2], "positive_from": 1}}
    for kinds in (kind, None):
        _, (problem,) = targets({"x": cells}, ["x"], kinds)
        assert "missing_values" not in problem
        if kinds or "2" not in cells:
            assert of_command_line(problem, "label_values") == {"x": meant}


def test_a_decimal_comma_is_told_and_not_proposed_as_not_rated():
    _, (problem,) = targets({"x": ["0", "0,5", "1"]}, ["x"])
    assert problem.endswith("; write numbers with a point, as 0.5")


def test_a_code_is_none_where_the_scale_reaches_it():
    _, (problem,) = targets({"x": ["10", "7", "9", "0"]}, ["x"])
    assert "missing_values" not in problem and "range: [0, 10]" in problem


def test_what_is_given_stays_in_what_is_proposed():
    kinds = {"y": {"type": "score", "range": [0, 9]}}
    _, (problem,) = targets({"x": ["2", "?"]}, ["x", "y"][:1], None, missing=[7])
    assert of_command_line(problem, "missing_values") == [7, "?"]
    columns = {"x": ["0", "3"], "y": ["1", "2"]}
    _, (problem,) = targets(columns, ["x", "y"], kinds)
    assert of_command_line(problem, "label_types").keys() == {"x", "y"}


def test_one_problem_is_one_line_and_several_have_a_common_one():
    columns = {"x": ["2", "3"] * 50, "y": ["present"] * 100, "z": ["?", "1"] * 50}
    _, problems = targets(columns, list(columns))
    assert [problem.partition(" with")[0] for problem in problems[:-1]] == [
        "100 cells in column 'x'",
        "100 cells in column 'y'",
        "50 cells in column 'z'",
    ]
    assert (
        "'2' (train.csv row 2, 4, 6, 8, 10, …), '3' (train.csv row 3, 5"
        in (problems[0])
    )
    last = f"at once: {problems[-1]}"
    assert problems[-1].startswith("all these settings at once: --label_types=")
    settings = {
        name: of_command_line(last, name)
        for name in ("label_types", "label_values", "missing_values")
    }
    found, problems = targets(
        columns,
        list(columns),
        settings["label_types"],
        missing=settings["missing_values"],
        values=settings["label_values"],
    )
    assert problems == [] and found["y"].eq(1).all()


def test_only_five_values_are_shown():
    _, (problem,) = targets({"low": [str(n / 4) for n in range(40)]}, ["low"])
    # 0 and 1 are none of them
    shown = problem.partition("0 and 1: ")[2].partition(";")[0]
    assert problem.startswith("38 cells") and shown.count("train.csv") == 5
    assert shown.endswith(", …")


@pytest.mark.parametrize("cell", ["", " ", "NA", "N/A", "nan", "."])
def test_cells_that_mean_not_rated(cell):
    found, problems = targets({"low": [cell, "1"]}, ["low"])
    assert problems == []
    assert math.isnan(found["low"][0])
    assert found["low"][1] == 1


@pytest.mark.parametrize("code", ["-9", "999", "unsure", "inf", "NaN"])
def test_other_codes_need_missing_values(code):
    _, (problem,) = targets({"low": [code]}, ["low"])
    listed = of_command_line(problem, "missing_values")
    found, problems = targets({"low": [code]}, ["low"], missing=listed)
    assert problems == []
    assert found["low"].isna().all()


def test_missing_values_may_be_numbers_in_the_yaml():
    found, problems = targets({"low": ["-9", "1"]}, ["low"], missing=[-9])
    assert problems == []
    assert found["low"].isna().tolist() == [True, False]


def test_a_null_of_yaml_means_the_word():
    """`missing_values: [NULL]` without quotes is [None]."""
    cells = ["NULL", "null", "None", "~", "1"]
    found, problems = targets({"low": cells}, ["low"], missing=[None])
    assert problems == [] and found["low"].isna().tolist() == [True] * 4 + [False]
    found, problems = targets({"low": ["-9.0", "1"]}, ["low"], missing=[-9])
    assert problems == [] and found["low"].isna().tolist() == [True, False]


# Derived labels


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("0", "0", 0),
        ("0", "1", 1),
        ("3", "0", 1),
        ("0.5", "0", 1),
        ("1", "", 1),
        ("", "2", 1),
        ("0", "", NAN),
        ("NA", "0", NAN),
        ("", ".", NAN),
    ],
)
def test_truth_table_of_a_derived_label(first, second, expected):
    found, problems = targets(
        {"Cs": [first], "V": [second]},
        ["distortions"],
        derived={"distortions": ["Cs", "V"]},
    )
    assert problems == []
    assert found["distortions"].tolist() == pytest.approx([expected], nan_ok=True)


def test_a_label_that_is_a_column_is_not_derived():
    found, problems = targets(
        {"x": ["1"], "source": ["0"]}, ["x"], derived={"x": ["source"]}
    )
    assert (found["x"].tolist(), problems) == ([1], [])


def test_sources_that_are_not_there_or_hold_nonsense():
    derived = {"distortions": ["Cs", "V", "W"]}
    _, problems = targets({"Cs": ["1"]}, ["distortions"], derived=derived)
    assert problems == [
        "2 sources of 'distortions' without a column: 'V' (train.csv), 'W' (train.csv)"
        "; there are the columns Cs"
    ]
    derived = {"distortions": ["Cs"]}
    _, problems = targets({"Cs": ["-1", "?"]}, ["distortions"], derived=derived)
    assert problems[0].startswith("2 cells in column 'Cs' with something else than a")
    assert "'-1' (train.csv row 2), '?' (train.csv row 3)" in problems[0]
    found, problems = targets(
        {"Cs": ["Yes", "no", "heard"]},
        ["distortions"],
        derived=derived,
        values={"Cs": {"heard": 1}},
    )
    assert (problems, found["distortions"].tolist()) == ([], [1, 0, 1])


# Labels that are no columns


def test_a_label_that_is_no_column_suggests_a_near_one():
    _, problems = targets({"uid": ["a"], "Strained": ["1"]}, ["straind", "loud"])
    assert problems == [
        "2 labels without a column: 'straind', did you mean 'Strained'? (train.csv), "
        "'loud' (train.csv); there are the columns uid, Strained; derived_labels can "
        "make a label of others"
    ]


def test_targets_keep_the_order_of_the_labels():
    found, _ = targets({"b": ["1"], "a": ["0"], "other": ["x"]}, ["a", "b"])
    assert found.columns.tolist() == ["a", "b"]
    assert found.iloc[0].tolist() == [0, 1]
