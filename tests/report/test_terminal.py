"""Tables of results for the terminal, against cells by hand."""

import pytest

from local.evaluation.flags import read_audit
from local.report.terminal import format_results, pipe_table
from local.utils.errors import UserError


def entry(value, low=None, high=None, reason="no reason"):
    found = {"value": value, "low": low, "high": high}
    return found | ({"reason": reason} if None in found.values() else {})


def binary(auroc=0.75, decided=True):
    """What metrics.json says of a label or mean, as far as it is shown."""
    nothing = entry(None, reason="there is no threshold: too few")
    return {
        "auroc": entry(auroc, 0.5, 0.91234) if auroc else entry(None),
        "auprc": entry(0.8333 if auroc else None, 0.1, 0.9),
        "brier": entry(0.195, 0.1, 0.2),
        "sensitivity": entry(0.9, 0.8, 0.95) if decided else nothing,
        "specificity": entry(0.8) if decided else nothing,
    }


def counted(found, n=4, n_positive=2):
    counts = {"n": n, "n_positive": n_positive, "prevalence": n_positive / n}
    return counts | found


def metrics_of(labels, macro=None, heads=(), left_out=None):
    found = macro or binary(0.75)
    n_labels = len(labels) - len(left_out or {})
    return {
        "labels": labels,
        "macro": found | {"n_labels": n_labels, "left_out": left_out or {}},
        "heads": list(heads),
    }


def cells_of(text):
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
    ]


HEADER = ["label", "n", "pos.", "AUROC", "AUPRC (prev.)", "Brier", "sens.", "spec."]


def test_results_as_a_markdown_table():
    labels = {
        "slow|rate": counted(binary(0.75)),
        "b": counted(binary(None), n_positive=0),
    }
    metrics = metrics_of(labels, left_out={"b": "only one class"})
    text = format_results(metrics, {"ceiling": {"slow|rate": 1.0, "macro": 0.9}})
    table, interval, left_out = text.split("\n\n")
    rows = cells_of(table)
    assert rows[0] == [*HEADER, "ceiling"]
    shown = ["0.750 [0.500, 0.912]", "0.833 (0.500)", "0.195", "0.900", "0.800"]
    assert rows[2] == ["slow\\|rate", "4", "2", *shown, "1.000"]
    shown = ["n/a", "n/a (0.000)", "0.195", "0.900", "0.800"]
    assert rows[3] == ["b", "4", "0", *shown, "n/a"]
    shown = ["0.750 [0.500, 0.912]", "0.833", "0.195", "0.900", "0.800", "0.900"]
    assert rows[4] == ["macro (1 of 2 labels)", "", "", *shown]
    assert "95 %" in interval
    assert left_out == "b: not in the mean, only one class"


def test_no_wider_than_a_terminal():
    label = counted(binary(0.75), 9999, 1234)
    text = format_results(metrics_of({"x" * 25: label, "y": label}))
    assert max(map(len, text.splitlines())) <= 110
    assert len({len(line) for line in text.split("\n\n")[0].splitlines()}) == 1


def test_a_value_without_an_interval():
    label = counted(binary() | {"auroc": entry(1.0)})
    rows = cells_of(format_results(metrics_of({"a": label})))
    assert rows[2][3] == "1.000"


def test_labels_without_decisions_are_named_once_per_reason():
    labels = {name: counted(binary(decided=name == "c")) for name in "abc"}
    text = format_results(metrics_of(labels, binary(decided=False)))
    assert [row[6:] for row in cells_of(text)[2:6]] == [
        ["n/a", "n/a"],
        ["n/a", "n/a"],
        ["0.900", "0.800"],
        ["n/a", "n/a"],
    ]
    assert text.split("\n\n")[2:] == ["a, b: there is no threshold: too few"]


def test_a_label_without_positives_has_a_threshold():
    nothing = entry(None, reason="no recording is positive")
    label = counted(binary() | {"sensitivity": nothing})
    text = format_results(metrics_of({"a": label}))
    assert cells_of(text)[2][6:] == ["n/a", "0.800"]
    assert "no recording is positive" not in text


def test_results_name_the_top1_accuracy():
    heads = [
        {"labels": ["a"], "top1_accuracy": {"value": None, "reason": "…"}, "n": 2},
        {"labels": ["b", "c"], "top1_accuracy": {"value": 0.5}, "n": 2},
    ]
    text = format_results(metrics_of({"a": counted(binary())}, heads=heads))
    assert text.endswith("\n\nhead 2: top-1 accuracy 0.500 (n = 2)")
    assert "head 1" not in text


def score():
    return {
        "n": 3,
        "n_subjects": 2,
        "mae": entry(2.9333, 1, 4),
        "pearson": entry(0.1),
        "spearman": entry(0.2),
        "icc": entry(0.5, 0.25, 0.75),
    }


def test_scores_have_a_table_of_their_own():
    labels = {"slow": counted(binary()), "severity": score(), "pain": score()}
    means = binary() | score() | {"n_scores": 2, "scores_left_out": {}}
    del means["n"]
    means["mae"] = entry(None, reason="the scores have different ranges")
    metrics = metrics_of(labels, means)
    metrics["macro"]["n_labels"] = 1
    first, second, _, note = format_results(metrics, {"x": {"slow": 1}}).split("\n\n")
    names = [row[0] for row in cells_of(first)[2:]]
    assert names == ["slow", "macro (1 of 1 labels)"]
    rows = cells_of(second)
    assert rows[0] == ["label", "n", "MAE", "Pearson", "Spearman", "ICC"]
    shown = ["2.933 [1.000, 4.000]", "0.100", "0.200", "0.500 [0.250, 0.750]"]
    assert rows[2] == ["severity", "3", *shown]
    assert rows[4] == ["macro (2 of 2 scores)", "", "n/a", *shown[1:]]
    assert note == "no mean of the MAE: the scores have different ranges"


def test_scores_only_and_none_in_the_mean():
    means = {name: entry(None) for name in ("mae", "pearson", "spearman", "icc")}
    means |= {"n_scores": 0, "scores_left_out": {"a": "too few"}}
    metrics = {"labels": {"a": score()}, "heads": []}
    metrics["macro"] = means | {"n_labels": 0, "left_out": {}}
    table, _, note = format_results(metrics).split("\n\n")
    assert cells_of(table)[3] == ["macro (0 of 1 scores)", "", *["n/a"] * 4]
    assert note == "a: not in the mean, too few"


AUDIT = {
    "labels": {
        "a": {"status": "flagged", "reasons": ["The noise tells it.", "No silence."]},
        "b": {"status": "clear", "reasons": ["Clear is no proof."]},
    },
    "shared_subjects": ["p1", "p2"],
    "shared_audio": [{"splits": ["train", "test"], "uids": ["r1", "r2", "r3"]}],
}


def test_folds_are_told_by_their_range():
    metrics = metrics_of({"a": counted(binary())})
    folds = [{"macro_auroc": value} for value in (0.71, None, 0.93, 0.8)]
    text = format_results(metrics | {"folds": folds})
    assert "mean AUROC from fold to fold: 0.71–0.93" in text.split("\n\n")
    assert "fold" not in format_results(metrics)


def test_what_the_audit_flags_stands_beside_the_number():
    labels = {"a": counted(binary(1.0)), "b": counted(binary(0.75))}
    table, _, *notes = format_results(metrics_of(labels), audit=AUDIT).split("\n\n")
    assert [row[3] for row in cells_of(table)[2:]] == [
        "1.000 [0.500, 0.912] !",
        "0.750 [0.500, 0.912]",
        "0.750 [0.500, 0.912] !",  # the mean is over both
    ]
    assert len({len(line) for line in table.splitlines()}) == 1
    assert notes[0].startswith("! flagged by the confound audit")
    assert notes[1] == "! a: The noise tells it."
    assert notes[2].startswith("2 subjects are in more than one split")
    assert notes[3].startswith("1 recording is in more than one split")
    assert len(notes) == 4


def test_a_mean_that_leaves_flagged_labels_out_is_not_marked():
    labels = {"a": counted(binary(None)), "b": counted(binary(0.75))}
    metrics = metrics_of(labels, left_out={"a": "only one class"})
    rows = cells_of(format_results(metrics, audit=AUDIT).split("\n\n")[0])
    assert [row[3][-1] for row in rows[2:]] == ["!", "]", "]"]


def test_an_audit_that_was_not_made_is_told(tmp_path):
    metrics = metrics_of({"a": counted(binary())})
    text = format_results(metrics, audit=read_audit(tmp_path))
    assert "!" not in text
    assert text.endswith("\n\nNot audited for confounds: there is no audit.json")


@pytest.mark.parametrize("content", ["[]", '{"labels": {"a": {}}}', "{"])
def test_a_damaged_audit_is_one_message(tmp_path, content):
    (tmp_path / "audit.json").write_text(content)
    with pytest.raises(UserError, match=r"audit\.json can't be read"):
        read_audit(tmp_path)


@pytest.mark.parametrize("cell", ["1", "12345"])
def test_columns_line_up(cell):
    lines = pipe_table([["a|b", "n"], ["c", cell]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].startswith("| a\\|b | ")
    # a column is never narrower than its rule
    assert [rule.strip() for rule in lines[1].strip("|").split("|")] == [
        ":---",
        "-" * (max(2, len(cell)) - 1) + ":",
    ]
