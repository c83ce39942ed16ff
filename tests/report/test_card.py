"""The model card: what it says, and that it says nothing else."""

import copy
import dataclasses
import functools
import itertools
import re
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import result_of, types_of

from local.data.labels import LabelType, flatten, label_ranges
from local.data.predictions_table import predictions_table
from local.inference.export.card import write_card as export_card
from local.metrics.split_metrics import evaluate_predictions
from local.report import described, markdown
from local.report.card import render_card, write_model_card
from local.report.tables import Cell, Table
from local.utils.yaml_files import plain_values

HEADINGS = [
    "In brief",
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
    "TRIPOD+AI",
]

#: Of the checklist in Collins and others (2024), counted there.
ITEMS = re.findall(
    r"\S+",
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f "
    "12g 13 14 15 16 17 18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 "
    "27a 27b 27c",
)

HOSTILE = "a|b`c\n# d *e* <img src=x> [f](http://g) \\| _h_ $i$ ~~j~~ &amp;"

YAMLS = ("train", "train_fbank", "train_original")


def predictions(labels, ranges=None, n_subjects=24):
    """Three recordings of each subject; every label varies within subjects."""
    generator = np.random.default_rng(1)
    n = 3 * n_subjects
    recordings = pd.DataFrame(
        {
            "uid": [f"take{i:03d}" for i in range(n)],
            "subject": [f"person{i // 3:02d}" for i in range(n)],
            "session": "",
        }
    )
    targets = (generator.random((n, len(labels))) < 0.5).astype(float)
    logits = 2 * targets - 1 + generator.normal(0, 1.5, targets.shape)
    weights = np.zeros(len(labels))
    return predictions_table(
        recordings, labels, targets, logits, weights, "test", ranges
    )


def points(labels):
    threshold = {"value": 0.4, "rule": "youden", "source": "validation"}
    threshold["n_positive_subjects"] = 12
    return {k: {"threshold": threshold, "calibration": None} for k in labels}


@functools.cache
def computed(groups, scores, with_points):
    """The table and its metrics, which take a second."""
    labels = flatten(groups)
    types = types_of(labels, scores)
    table = predictions(labels, label_ranges(types, labels))
    chosen = points(labels) if with_points else None
    checkpoint = "CKPT+1" if with_points else None
    metrics = evaluate_predictions(table, groups, checkpoint, types, chosen, 1)
    return table, types, metrics


def from_elsewhere(groups=(("slow",),), scores=(), with_points=False, **changes):
    """What is known of predictions in a file, and nothing else."""
    table, types, metrics = copy.deepcopy(computed(groups, scores, with_points))
    groups = [list(group) for group in groups]
    others = {
        "audit": {
            "labels": {},
            "shared_subjects": [],
            "shared_audio": [],
            "reason": "the recordings are not known",
        },
        "provenance": {"command": "python evaluate.py", "date": None, "versions": {}},
    }
    return result_of(table, groups, types, metrics, **(others | changes))


def manifest(evidence, prefix=""):
    """The manifest of the recordings that were scored, or of others like them."""
    wide = evidence.table.pivot(index="uid", columns="label", values="target")
    subjects = evidence.table.drop_duplicates("uid")["subject"].to_numpy()
    n = len(wide)
    return wide.reset_index(names="ID").assign(
        ID=[f"{prefix}{uid}" for uid in wide.index],
        subject=[f"{prefix}{subject}" for subject in subjects],
        duration=2.0,
        waveform="waveform.flac",
        format="FLAC",
        sample_rate=16000,
        channels=1,
        level_dbfs=np.linspace(-40, -20, n),
        sex=["f", "f", "f", "m", "m", "m"] * (n // 6),
        session="",
    )


def experiment(groups=(("slow",), ("strained",)), yaml="train", **changes):
    """What is known after a training."""
    known = from_elsewhere(groups, with_points=True)
    settings = plain_values(
        Path("hparams", f"{yaml}.yaml"),
        {
            "output_folder": "out",
            "dataset_name": "ward 7",
            "label_groups": [list(group) for group in groups],
        },
    )
    made = dataclasses.replace(
        known,
        manifests={
            "train": manifest(known, "t"),
            "valid": manifest(known, "v"),
            "test": manifest(known),
        },
        settings=settings,
    )
    return dataclasses.replace(made, **changes)


def section(text, title):
    """The lines below a heading, up to the next one of its kind."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text):
    """Rows of all tables, cells as a reader sees them (GitHub's rules for pipes)."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell.strip()) for cell in cells]
        for cells in (re.findall(r"((?:\\.|[^|\\])*)\|", line[1:]) for line in lines)
    ]


def row(text, name):
    found = [cells for cells in rows(text) if cells[0] == name]
    assert found, f"no row {name}"
    return found[0]


def test_headings_are_there_in_their_order():
    text = render_card(experiment())
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert text.startswith("# Model card: ward 7\n")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


def test_every_item_of_the_checklist_stands_there_once():
    found = rows(section(render_card(experiment()), "TRIPOD+AI"))
    assert [cells[0] for cells in found[2:]] == ITEMS
    answers = {cells[0]: cells[2] for cells in found}
    for item in ("5b", "6b", "17", "18a", "18d", "19"):
        assert answers[item] == "To be filled in by the authors."
    assert answers["1"].startswith("Development and evaluation of a model")
    assert "train 72 recordings of 24 subjects" in answers["12a"]


def test_results_are_those_of_the_metrics():
    evidence = experiment()
    evidence.metrics["labels"]["slow"]["auroc"] = {
        "value": 0.876,
        "low": 0.5649,
        "high": 0.9511,
    }
    text = section(render_card(evidence), "Quantitative analyses")
    assert "0.88 (0.56–0.95)" in row(text, "slow")


def test_training_is_told_from_the_settings():
    changed = {
        "clip_length": 4.5,
        "gain": 0.25,
        "gain_range": [-6.0, 3.0],
        "positive_weight": True,
        "best_checkpoint": "macro_auroc",
        "calibration": "platt",
        "batch_size": 12,
    }
    evidence = experiment()
    text = render_card(
        dataclasses.replace(evidence, settings=evidence.settings | changed)
    )
    training = section(text, "Training data")
    assert "- train: 72 recordings of 24 subjects\n" in training
    assert "- Length in training: at most 4.5 s of each recording\n" in training
    assert "- level changed (-6 to 3 dB), in 25 % of the recordings\n" in training
    assert training.count("of the recordings\n") == 1, "the others are off"
    assert "positives weighted" in training
    assert "the epoch with the highest mean AUROC on validation" in training
    assert "- Batch: 12 recordings\n" in training
    assert "Platt scaling, fitted on validation" in section(text, "Metrics")


def test_without_validation_the_last_epoch_counts():
    evidence = experiment()
    del evidence.manifests["valid"]
    assert "the last epoch, as there is no validation" in render_card(evidence)


@pytest.mark.parametrize("yaml", YAMLS)
def test_the_settings_of_every_yaml_are_known(yaml):
    text = render_card(experiment(yaml=yaml))
    for title in ("Training data", "Metrics"):
        assert "unknown" not in section(text, title)
    assert "ECAPA-TDNN" in section(text, "Model details")


def test_a_model_of_statistics_is_no_network():
    text = render_card(experiment(yaml="train_statistics"))
    for title in ("Training data", "Metrics"):
        assert "unknown" not in section(text, title)
    details = section(text, "Model details")
    assert "logistic regression" in details and "ECAPA-TDNN" not in details
    assert "- Features: acoustic statistics" in section(text, "Training data")
    assert "acoustic statistics, fixed in advance; no predictor was selected" in text


def test_every_share_of_augmentation_is_told():
    """A transform that the yaml gets, and the card does not know, is forgotten."""
    evidence = experiment()
    transforms = evidence.settings["augment"]["transforms"]
    told = [key for key, *_ in described.TRANSFORMS if key != "mixup"]
    assert len(told) == len(transforms)
    assert {key for key, *_ in described.TRANSFORMS} <= set(evidence.settings)


def test_the_original_front_end_is_told():
    text = section(render_card(experiment(yaml="train_original")), "Training data")
    assert "- Features: 80 MFCC\n" in text
    assert "- Length in evaluation: as in training\n" in text


def test_predictions_from_elsewhere_leave_much_unknown():
    text = render_card(from_elsewhere())
    assert "None" not in text and "nan" not in text
    assert "- What the data tell of people and recordings: unknown\n" in text
    assert text.startswith("# Model card: predictions from elsewhere\n")
    assert "- Checkpoint: unknown\n" in text
    assert "The model is unknown" in section(text, "Model details")
    assert section(text, "Training data").strip() == "Unknown."
    assert "Nothing is known of the people" in section(text, "Evaluation data")
    assert "Calibration of probabilities: unknown" in section(text, "Metrics")
    assert "Not done: the recordings are not known." in text
    answers = {cells[0]: cells[-1] for cells in rows(section(text, "TRIPOD+AI"))}
    assert answers["1"].startswith("Evaluation only")
    assert answers["12c"] == "To be filled in by the authors."
    assert "pretrained" not in text


def test_files_that_can_not_be_read_are_no_instruments():
    """As a table joined with what is known of some recordings has them."""
    evidence = experiment()
    frame = evidence.manifests["test"]
    measured = ["waveform", "format", "sample_rate", "channels", "level_dbfs"]
    frame[measured] = frame[measured].astype(object)
    frame.loc[frame.index[1:], measured] = np.nan
    for column in measured[2:]:
        frame[column] = frame[column].astype(float)
    text = section(render_card(evidence), "Factors")
    assert "- Formats of the evaluated files: flac\n" in text
    assert "- Channels of the evaluated files: 1\n" in text
    frame["waveform"] = np.nan
    assert "evaluated files: unknown" in section(render_card(evidence), "Factors")


def test_scores_have_no_thresholds():
    text = render_card(from_elsewhere((("severity",),), ("severity",)))
    assert "unknown scale, learned as a number" in row(text, "severity")
    assert "Spearman" in text
    assert "threshold" not in section(text, "Metrics").lower()
    assert "AUROC" not in section(text, "Quantitative analyses").split("###")[0]


def test_what_is_null_has_its_reason():
    text = render_card(from_elsewhere())  # without operating points
    reason = "there is no threshold: none was chosen"
    assert "– (a)" in row(text.split("**Decisions")[1], "slow")
    assert reason in text


def test_text_of_users_is_text():
    settings = experiment().settings | {"dataset_name": HOSTILE}
    evidence = experiment(((HOSTILE, "slow"),), settings=settings, notes=[HOSTILE])
    text = render_card(evidence)
    assert "<img" not in text.replace("\\<img", "")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    seen = " ".join(HOSTILE.split())
    assert len(row(text, seen)) == 4, "the table of labels"
    assert sum(cells[0] == seen for cells in rows(text)) >= 3


def test_tables_are_rectangular():
    text = render_card(experiment(((HOSTILE, "slow"),)))
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(cells) for cells in rows(block)}) == 1


def test_a_card_and_its_export_have_no_command_with_its_paths(tmp_path):
    command = "python evaluate.py '--data_folder=/home/ann/a b'"
    provenance = {"command": command, "date": None, "versions": {}}
    card = render_card(from_elsewhere(provenance=provenance))
    assert "evaluate.py" not in card and "/home" not in card
    (tmp_path / "model_card.md").write_text(card)
    export_card(types.SimpleNamespace(folder=tmp_path), tmp_path / "exported.md")
    assert (tmp_path / "exported.md").read_text() == card


def leaky():
    """Names of people and recordings wherever there may be some."""
    found = experiment()
    return dataclasses.replace(
        found,
        audit=found.audit
        | {
            "shared_subjects": ["person03"],
            "shared_audio": [{"splits": ["train", "test"], "uids": ["take004"]}],
            "label_shares": {
                split: {"slow": {"n": 10, "n_positive": 4, "share": 0.4}}
                for split in ("train", "test")
            },
        },
        failed=[{"uid": "take999", "reason": "there is no folder /a/take999"}],
        notes=["7 recordings: clipped"],
    )


def test_nobody_is_named():
    text = render_card(leaky())
    assert not re.search(r"person\d|take\d", text)
    assert "- 7 recordings: clipped\n" in text
    assert "1 subject is in more than one split." in text


def test_raters_are_counted_and_not_named():
    evidence = experiment()
    ratings = dict.fromkeys(("slow@anna", "slow@bo"), "1")
    manifests = {k: of.assign(**ratings) for k, of in evidence.manifests.items()}
    alpha = {"value": 0.41, "low": None, "high": None, "reason": "none"}
    agreement = {"raters": ["anna", "bo"], "n": 70, "alpha": alpha, "pairs": []}
    evidence.metrics["raters"] = {"slow": {"agreement": agreement, "on_roc": []}}
    text = render_card(dataclasses.replace(evidence, manifests=manifests))
    assert "by the majority of 2 raters" in row(text, "slow")[3]
    assert row(text.split("### Raters")[1], "slow") == ["slow", "2", "70", "0.41"]
    assert "anna" not in text


def test_groups_that_are_too_small_have_no_numbers():
    def group(name, reason=None):
        entry = {"value": 0.87, "low": 0.7, "high": 0.95}
        measures = dict.fromkeys(("auroc", "sensitivity", "specificity"), entry)
        counts = {"n": 40, "n_subjects": 13}
        counts |= {"n_positive_subjects": 11, "n_negative_subjects": 12}
        return {"group": name, **counts, **measures} | (
            {"reason": reason} if reason else {}
        )

    def column(*groups, n, p):
        tested = dict.fromkeys(
            ("largest_gap", "largest_gap_by_chance", "p", "p_holm"), p
        )
        return {"groups": list(groups), "n_groups": n, **tested}

    few = "too small: fewer than 10 subjects have positives: 3"
    evidence = experiment()
    evidence.metrics["subgroups"] = {
        "slow": {
            "threshold": 0.4,
            "n_permutations": 1000,
            "columns": {
                "sex": column(group("f"), group("m"), group("x", few), n=2, p=0.25),
                "site": column(group("A"), group("B", few), n=1, p=None),
            },
        }
    }
    text = render_card(evidence)
    groups = text.split("### Subgroups")[1]
    assert row(groups, "f")[5] == row(groups, "m")[5] == "0.87 (0.70–0.95)"
    assert row(groups, "x")[5:] == ["too small"] * 3
    factors = section(text, "Factors")
    assert "compared by: sex; too small to be compared: those by site" in factors
    answers = {cells[0]: cells[-1] for cells in rows(section(text, "TRIPOD+AI"))}
    assert "compared by sex" in answers["14"]
    assert answers["23b"] == "Not examined: groups by site are too small."


def test_a_flag_is_seen_at_the_top():
    evidence = leaky()
    brief = section(render_card(evidence), "In brief")
    assert "**Leakage:** 1 subject is in more than one split" in brief


def test_voices_and_limits_are_told_in_every_card():
    for evidence in (experiment(), from_elsewhere()):
        text = render_card(evidence)
        assert "Voices identify people" in section(text, "Ethical considerations")
        assert "It makes no clinical claim" in text
        assert "diagnosis" in section(text, "Intended use").split("**Not for:**")[1]


def test_the_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "model_card.md"
    path.write_text("x" * 10**6)
    write_model_card(experiment(), path)
    assert path.read_text(encoding="utf-8") == render_card(experiment())
    assert list(tmp_path.iterdir()) == [path]


def test_paragraphs_and_tables_are_apart():
    text = render_card(experiment())
    assert "\n\n\n" not in text
    lines = text.splitlines()
    for before, line in itertools.pairwise(lines):
        if line.startswith("|") and not before.startswith("|"):
            assert before == ""
        if before.startswith("|") and not line.startswith("|"):
            assert line == ""


def test_escaped_text_is_one_line_that_starts_nothing():
    assert markdown.escaped("- a\n\n# b") == "\\- a \\# b"
    assert markdown.escaped("3) a") == "3\\) a"
    assert markdown.escaped("3.5 s") == "3.5 s"
    assert markdown.escaped("a\u202eb\u200b") == "ab"
    assert markdown.escaped(markdown.Markdown("*a*")) == "*a*"


def test_a_table_in_markdown():
    table = Table("Title", ["label", "n", "what"])
    table.heading("group")
    table.add("a|b", 1200, Cell("x", kind="word"))
    table.add("c", table.number(None, "no *data*"), Cell("y", kind="word flagged"))
    assert markdown.pipe_table(table).splitlines() == [
        "**Title**",
        "",
        "| label | n | what |",
        "| :-- | --: | :-- |",
        "| **group** |  |  |",
        "| a\\|b | 1,200 | x |",
        "| c | – (a) | **y** |",
        "",
        "- (a) no \\*data\\*",
    ]


@pytest.mark.parametrize(
    ("label_type", "coded"),
    [
        (LabelType("score", (0.0, 100.0), None, True), "scale from 0 to 100, learned"),
        (LabelType("ordinal", (0.0, 4.0), 2.0), "scale from 0 to 4, positive from 2"),
        (LabelType("ordinal", (0.0, 4.0), None, True), "scale from 0 to 4, learned"),
        (LabelType(is_score=True), "0 or 1, learned as a number"),
        (
            LabelType(),
            "0 or 1; 1 if any of these is above 0: a and b, unless",
        ),
    ],
)
def test_how_labels_are_coded(label_type, coded):
    derived = {"x": ["a", "b"]} if label_type == LabelType() else {}
    settings = {"derived_labels": derived}
    found = described.label_definition("x", label_type, settings, 0)
    assert found.startswith(coded)
