"""The table of predictions: made, written, read back, and refused."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from local.data.predictions_table import (
    COLUMNS,
    predictions_table,
    read_predictions,
    rows_of_label,
    scores_in,
    write_predictions,
)
from local.utils.errors import RunError, UserError

HEADER = "uid,subject,label,target,logit,probability,session,split,predicted\n"


def make_table(n=2, labels=("slow rate", "strained"), log_positive_weights=(0, 0)):
    rng = np.random.default_rng(0)
    recordings = pd.DataFrame(
        {
            "uid": [f"{i:03}" for i in range(n)],
            "subject": ["NA"] * n,
            "session": ["1"] + [None] * (n - 1),
        }
    )
    targets = np.ones((n, len(labels)))
    targets[0, 1], targets[-1, 0] = np.nan, 0
    logits = rng.normal(scale=5, size=targets.shape).astype(np.float32)
    return predictions_table(
        recordings, list(labels), targets, logits, log_positive_weights, "test"
    )


@pytest.fixture
def write(tmp_path):
    def _write(rows, header=HEADER, encoding="utf-8"):
        path = tmp_path / "predictions.csv"
        path.write_text(header + "".join(f"{row}\n" for row in rows), encoding)
        return path

    return _write


def test_columns_and_order_of_rows():
    table = make_table()
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["uid"], table["label"], strict=True)) == [
        ("000", "slow rate"),
        ("000", "strained"),
        ("001", "slow rate"),
        ("001", "strained"),
    ]
    assert table["target"].isna().tolist() == [False, True, False, False]
    assert table["target"].dropna().tolist() == [1, 0, 1]
    assert table["session"].tolist() == ["1", "1", "", ""]
    assert table["split"].tolist() == ["test"] * 4
    assert table["predicted"].isna().all()


def test_probability_is_the_sigmoid_without_the_weight():
    table = make_table(log_positive_weights=[math.log(4), 0])
    weights = [4, 1, 4, 1]
    for logit, weight, probability in zip(
        table["logit"], weights, table["probability"], strict=True
    ):
        odds = math.exp(logit) / weight
        assert probability == pytest.approx(odds / (1 + odds))


def test_weight_of_a_network_trained_with_it_is_taken_out():
    """The constant logit that weighted cross-entropy likes best: the prevalence."""
    targets = torch.zeros(100)
    targets[:20] = 1
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0), reduction="none")
    candidates = torch.arange(-3, 3, 0.001, dtype=torch.float64)[:, None]
    losses = loss(candidates.expand(-1, 100), targets.expand(6000, 100).double())
    logit = candidates[losses.mean(dim=1).argmin()]
    # log(w p / (1 - p)), as near as the candidates lie
    assert logit.item() == pytest.approx(math.log(5 * 0.2 / 0.8), abs=1e-3)
    recordings = pd.DataFrame({"uid": ["a"], "subject": ["s"], "session": [""]})
    table = predictions_table(
        recordings, ["x"], [[1]], [[logit.item()]], [math.log(5)], "valid"
    )
    assert table["probability"][0] == pytest.approx(0.2, abs=1e-3)
    assert table["logit"][0] == pytest.approx(logit.item())


def test_extreme_logits_stay_apart():
    recordings = pd.DataFrame({"uid": list("abcd"), "subject": "s", "session": ""})
    logits = np.array([[-200], [-30], [20], [21]], dtype=np.float32)
    table = predictions_table(recordings, ["x"], np.ones((4, 1)), logits, [0], "test")
    assert table["probability"].is_monotonic_increasing
    assert table["probability"].nunique() == 4
    assert table["probability"].max() < 1


def test_logits_that_are_not_finite_stop_the_run():
    recordings = pd.DataFrame({"uid": ["a", "b"], "subject": "s", "session": ""})
    with pytest.raises(RunError, match=r"1 of 2 recordings.*: b"):
        predictions_table(recordings, ["x"], [[0], [1]], [[0], [np.nan]], [0], "test")


def test_shapes_that_do_not_fit():
    recordings = pd.DataFrame({"uid": ["a"], "subject": ["s"], "session": [""]})
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        predictions_table(recordings, ["x", "y"], [[0]], [[0]], [0, 0], "test")


def test_rows_of_label():
    targets, probabilities, subjects = rows_of_label(make_table(), "strained")
    np.testing.assert_array_equal(targets, [np.nan, 1])
    assert probabilities.shape == (2,)
    assert subjects.tolist() == ["NA", "NA"]
    assert [len(column) for column in rows_of_label(make_table(), "absent")] == [0] * 3


def test_file_comes_back_exactly(tmp_path):
    table = make_table(n=200)
    path = tmp_path / "predictions.csv"
    write_predictions(table, path)
    back = read_predictions(path)
    assert list(tmp_path.iterdir()) == [path]
    pd.testing.assert_frame_equal(back, table, check_exact=True, check_dtype=False)


def test_text_of_the_file(tmp_path):
    path = tmp_path / "predictions.csv"
    recordings = pd.DataFrame({"uid": ["007"], "subject": ["NA"], "session": [None]})
    logits = np.zeros((1, 3), dtype=np.float32)
    targets = [[1, 0, np.nan]]
    write_predictions(
        predictions_table(recordings, list("abc"), targets, logits, [0] * 3, "test"),
        path,
    )
    assert path.read_text() == HEADER + (
        "007,NA,a,1,0.0,0.5,,test,\n"
        "007,NA,b,0,0.0,0.5,,test,\n"
        "007,NA,c,,0.0,0.5,,test,\n"
    )


def test_text_stays_text(write):
    table = read_predictions(write(["007,NA,1,1.0,0.5,0.6,nan,test,1"]))
    row = table.iloc[0]
    assert row[["uid", "subject", "label", "session"]].tolist() == [
        "007",
        "NA",
        "1",
        "nan",
    ]
    assert (row["target"], row["logit"], row["probability"]) == (1, 0.5, 0.6)
    assert row["predicted"] == 1


def test_file_from_elsewhere_needs_six_columns_only(write):
    header = "probability,logit,target,label,subject,uid,site\n"
    table = read_predictions(write(["0.25,,0,x,s,a,here"], header, "utf-8-sig"))
    assert tuple(table.columns) == COLUMNS
    assert table["session"].tolist() == [""]
    assert table["logit"].tolist() == pytest.approx([-np.log(3)])  # of odds 1 : 3


def test_a_logit_or_a_probability_will_do(write):
    logits = read_predictions(
        write(["a,s,x,1,2.0"], "uid,subject,label,target,logit\n")
    )
    assert logits["probability"].tolist() == pytest.approx([1 / (1 + np.exp(-2))])
    header = "uid,subject,label,target,probability\n"
    rows = ["a,s,x,1,0.8", "b,s,x,0,0", "c,s,x,1,1", "d,s,x,1,0.9999999"]
    table = read_predictions(write(rows, header))
    assert table["probability"].tolist() == [0.8, 0, 1, 0.9999999]
    assert table["logit"][0] == pytest.approx(np.log(4))
    # finite, and beyond that of any other probability
    assert table["logit"][1] == pytest.approx(-np.log(2) * 53)
    assert table["logit"][3] < table["logit"][2] == pytest.approx(np.log(2) * 53)


def test_a_score_needs_a_column_of_empty_probabilities(write):
    header = "uid,subject,label,target,logit\n"
    with pytest.raises(UserError, match="column probability with empty cells") as error:
        read_predictions(write(["a,s,x,37,30", "b,s,x,1,"], header))
    assert error.value.problems == [
        "1 cell in column 'target' with something else than 0, 1 or empty: '37' "
        "(predictions.csv row 2)",
        "1 cell in column 'logit' with something else than a finite number, as there "
        "is no probability: predictions.csv row 3",
    ]


def test_words_are_targets_too(write):
    rows = ["a,s,x,yes,0,0.5,,test,TRUE", "b,s,x,No,0,0.5,,test,f"]
    table = read_predictions(write(rows))
    assert table["target"].tolist() == [1, 0]
    assert table["predicted"].tolist() == [1, 0]


@pytest.mark.parametrize("cell", ["NA", "N/A", "nan", ".", ""])
def test_what_is_not_rated_is_empty(write, cell):
    row = f"007,NA,x,{cell},0.5,0.6,NA,test,{cell}"
    table = read_predictions(write([row, f"8,NA,y,{cell},37.5,{cell},,test,"]))
    assert table["target"].isna().all() and table["predicted"].isna().all()
    assert table["subject"].tolist() == ["NA", "NA"]
    assert scores_in(table) == {"y"}


def test_missing_columns_are_named(write):
    path = write(["a,s,x"], "uid,subject,label\n")
    with pytest.raises(
        UserError, match="lacks the columns target, logit or probability; "
    ):
        read_predictions(path)


def test_all_wrong_rows_are_named(write):
    rows = [
        "a,s,x,1,0,0.5,,test,",
        "b,s,x,2,0,0.5,,test,",
        "c,s,x,maybe,0,1.01,,test,",
        ",s,x,0,inf,,,test,",
        "e,s,x,yes,0,-0.1,,test,0.5",
        "a,s,x,1,0,0.5,,test,",
    ]
    with pytest.raises(UserError) as error:
        read_predictions(write(rows))
    assert error.value.problems == [
        "2 cells in column 'target' with something else than 0, 1 or empty: '2' "
        "(predictions.csv row 3), 'maybe' (predictions.csv row 4)",
        "2 cells in column 'probability' with something else than from 0 to 1: '1.01' "
        "(predictions.csv row 4), '-0.1' (predictions.csv row 6)",
        "1 cell in column 'uid' without anything in it: predictions.csv row 5",
        "1 cell in column 'logit' with something else than a finite number, as there "
        "is no probability: 'inf' (predictions.csv row 5)",
        "1 cell in column 'predicted' with something else than 0, 1 or empty: '0.5' "
        "(predictions.csv row 6)",
        "label 'x': probability is empty in row 5 and given in row 2, 3, 4, 6, 7; a "
        "score has it in no row, any other label in all",
        "rows 2, 7: uid 'a' and label 'x' again",
    ]


def test_file_that_is_no_csv(tmp_path):
    path = tmp_path / "predictions.csv"
    with pytest.raises(UserError, match="can't be read"):
        read_predictions(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="can't be read"):
        read_predictions(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="it is empty"):
        read_predictions(path)


def test_a_table_that_is_none_is_refused(write):
    header = "uid,subject,label,target,logit,probability"
    with pytest.raises(UserError, match="column 'target' is there twice"):
        read_predictions(write(["u,s,x,1,0,0.5,0"], f"{header},target\n"))
    with pytest.raises(UserError, match="row 2 has 7 cells, the header 6"):
        read_predictions(write(["u,s,x,1,0,0.5,0"], f"{header}\n"))


def test_a_recording_is_of_one_subject(write):
    header = "uid,subject,label,target,logit,probability\n"
    with pytest.raises(UserError, match="uid 'u' is of several subjects"):
        read_predictions(write(["u,s,x,1,0,0.5", "u,t,y,1,0,0.5"], header))


def test_one_repeat_is_read(write):
    header = HEADER.replace("predicted", "predicted,repeat")
    rows = ["a,s,low,1,2,0.5,,fold 1,,1", "a,s,low,1,3,0.5,,fold 2,,2"]
    path = write(rows, header)
    assert read_predictions(path)["logit"].tolist() == [2]
    assert read_predictions(path, repeat=2)["split"].tolist() == ["fold 2"]
    # of a column that means something else nothing is left out
    path = write([rows[0], rows[1].replace("a,", "b,")], header)
    assert read_predictions(path)["uid"].tolist() == ["a", "b"]
    with pytest.raises(UserError, match="rows 2, 3: uid 'a' and label 'low' again"):
        read_predictions(write([rows[0], rows[0]], header))
