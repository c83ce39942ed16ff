"""report.comparison: several yamls beside each other, in one file."""

import json
import re

import pytest

from local.report.comparison import format_yamls, report_comparison


def entry(value, low, high):
    return {"value": value, "low": low, "high": high, "p": 0.5, "p_holm": 1.0}


@pytest.fixture
def comparison():
    guessing = {"value": 0.5, "low": None, "high": None, "reason": "by definition"}
    aurocs = {
        "train_statistics": {"auroc": entry(0.7, 0.6, 0.8)},
        "train": {"auroc": entry(0.71, 0.6, 0.82)},
        "prevalence": {"auroc": guessing},
    }
    differences = {
        "train_statistics - train": entry(-0.01, -0.07, 0.05),
        "train_statistics - prevalence": entry(0.2, 0.1, 0.3),
        "train - prevalence": entry(0.21, 0.1, 0.32),
    }
    costs = {
        "training_s": 2.0,
        "scoring_s": 1.0,
        "n_parameters": 2000,
        "model_mb": 0.01,
    }
    return {
        "yamls": {
            "train_statistics": {"family": "statistics", **costs, "flagged": ["<b>"]},
            "train": {"family": "from scratch", **costs, "flagged": None},
        },
        "n_recordings": 60,
        "n_subjects": 30,
        "n_folds": 3,
        "n_repeats": 1,
        "labels": {"<b>": aurocs | {"differences": differences}},
        "macro": aurocs | {"n_labels": 1, "differences": differences},
        "left_out": {"severity": "a score: AUROC needs targets that are 0 or 1"},
        "notes": [],
        "recommended": "train_statistics",
        "recommended_yaml": "train_statistics",
        "reason": "train_statistics (statistics): simpler than train",
        "pick_the_best": {
            "auroc": entry(0.69, 0.58, 0.8),
            "chosen": [
                {"repeat": 1, "fold": f"fold {n}", "chosen": name}
                for n, name in enumerate(("train", "train", "train_statistics"), 1)
            ],
        },
        "provenance": {"command": "python cross_validate.py …", "date": "2026-01-31"},
    }


def test_the_page(comparison, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "report.html").touch()
    assert report_comparison(comparison, tmp_path) == "train_statistics"
    assert json.loads((tmp_path / "comparison.json").read_text()) == comparison
    page = (tmp_path / "report.html").read_text()
    # that of the other one was not written
    assert re.findall(r'href="([^"]*)"', page) == ["train/report.html"]
    assert "simpler than train." in page and "<b>" not in page
    assert "train in 2 and train_statistics in 1" in page
    assert "not audited" in page
    assert "severity is left out: a score" in page
    assert set(re.findall(r'src="([^,]*),', page)) == {"data:image/png;base64"}
    assert "Differences from train_statistics: train 0.01 (−0.05 to 0.07)" in page
    assert (tmp_path / "figures" / "differences.png").stat().st_size > 1000


def test_the_table(comparison):
    text = format_yamls(comparison)
    (row,) = [line for line in text.splitlines() if line.startswith("| train ")]
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    aurocs = ["0.71 (0.60–0.82)", "0.01 (−0.05 to 0.07)"]
    assert cells == ["train", "from scratch", *aurocs, "2.0"]
    assert "| train_statistics ! |" in text and "flagged by the confound audit" in text


def test_nothing_better_than_guessing(comparison, tmp_path):
    comparison["recommended"] = "prevalence"
    comparison["recommended_yaml"] = "train"
    assert report_comparison(comparison, tmp_path) == "train"
    page = (tmp_path / "report.html").read_text()
    assert "no yaml is shown to be better than guessing. Of the yamls train is" in page


def test_scores_alone(comparison, tmp_path):
    nothing = {"value": None, "low": None, "high": None, "reason": "no label has both"}
    untested = nothing | {"p": None, "p_holm": None}
    tests = dict.fromkeys(comparison["macro"]["differences"], untested)
    names = [*comparison["yamls"]]
    comparison["labels"] = {}
    comparison["macro"] = {name: {"auroc": nothing} for name in names}
    comparison["macro"] |= {"n_labels": 0, "differences": tests}
    comparison |= {"recommended": None, "recommended_yaml": None, "reason": "no label"}
    comparison["pick_the_best"] = {"auroc": nothing, "chosen": []}
    assert report_comparison(comparison, tmp_path) is None
    assert "Nothing is recommended: no label." in (tmp_path / "report.html").read_text()
