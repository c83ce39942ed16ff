"""The report: what it says, that it says nothing else, and how a browser shows it."""

import dataclasses
import html
import html.parser
import itertools
import json
import re
import shutil
import struct
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_results import result_of, types_of

from local.data.labels import LabelType, flatten
from local.data.predictions_table import predictions_table
from local.evaluation.baselines import ACOUSTIC
from local.evaluation.result import Excerpt
from local.metrics.cases import PERSON_RULES
from local.metrics.comparison import verdict
from local.metrics.rater_agreement import agreement, raters_on_roc
from local.metrics.split_metrics import SMALL_SAMPLE, evaluate_predictions
from local.metrics.subgroups import corrected, subgroup_report
from local.report import figures, results, validation
from local.report.html import render_html
from local.report.sections import SECTIONS
from local.report.tables import Table
from local.report.writing import write_report
from local.training.evaluation_settings import EvaluationSettings

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

RATERS = ["anna", "bo", "cy"]

#: A report that may name recordings.
NAMED = EvaluationSettings(show_uids=True)

HOSTILE = '<script>alert("x")</script> & "quoted"'


def make_table(labels, n_subjects=24, n_each=3, scores=(), seed=1):
    """A table of predictions of synthetic subjects; unseen noise, fixed seed."""
    generator = np.random.default_rng(seed)
    n = n_subjects * n_each
    subjects = np.repeat([f"person{i:02d}" for i in range(n_subjects)], n_each)
    recordings = pd.DataFrame(
        {
            "uid": [f"take{i:03d}" for i in range(n)],
            "subject": subjects,
            "session": np.tile(["1", "1", "2"], n)[:n],
        }
    )
    of_subject = np.repeat(generator.random((n_subjects, len(labels))) < 0.5, n_each, 0)
    targets = of_subject.astype(float)
    targets[::n_each] = 1 - targets[::n_each]  # varies inside every subject
    logits = 2 * targets - 1 + generator.normal(0, 1.5, targets.shape)
    ranges = [[0, 4] if label in scores else None for label in labels]
    return predictions_table(
        recordings, labels, targets, logits, np.zeros(len(labels)), "test", ranges
    )


def audit_of(labels, flagged=()):
    """audit.json of labels, some of them flagged by how they were recorded."""

    def entry(value, status, p=None):
        bounds = {"low": None, "high": None, "reason": "no interval"}
        tested = {"status": status, "p": p, "p_holm": p, "within": {"device": 0.5}}
        return {"value": value} | bounds | tested

    found = {}
    for label in labels:
        status = "flagged" if label in flagged else "clear"
        found[label] = {
            "capture_probe_auroc": entry(
                *((0.81, status, 0.004) if label in flagged else (0.52, status))
            ),
            "silence_probe_auroc": entry(0.55, "clear"),
            "silence_auroc": entry(None, "not_computable"),
            "behaviour_probe_auroc": entry(0.93, None),
            "auroc": entry(0.87, None),
            "status": status,
            "reasons": [f"What the audit found for it ({status})."],
        }
    share = {label: {"n": 10, "n_positive": 4, "share": 0.4} for label in labels}
    return {
        "labels": found,
        "shared_subjects": [],
        "shared_audio": [],
        "measured": {split: heard_of(10, 10) for split in ("train", "test")},
        "label_shares": {"train": share, "test": share},
    }


def heard_of(n, n_measured):
    """How many recordings of a split were measured, as audit.json has it."""
    counts = {"n_recordings": n, "n_measured": n_measured}
    return counts | {"n_subjects": n, "n_subjects_measured": n_measured}


def make_evidence(groups, scores=(), flagged=(), n_subjects=24, bare=False, **changes):
    """The evidence of a synthetic evaluation; bare: only its table is known."""
    labels = flatten(groups)
    table = make_table(labels, n_subjects, scores=scores)
    types = types_of(labels, scores)
    threshold = {"value": 0.5, "rule": "youden", "source": "validation"}
    threshold |= {"n_positive_subjects": 11}
    binary = [label for label in labels if label not in scores]
    points = {k: {"threshold": threshold, "calibration": None} for k in binary}
    metrics = evaluate_predictions(
        table, groups, None if bare else "CKPT+1", types, points, 1
    )
    wide = table.pivot(index="uid", columns="label", values="target").reset_index()
    people = table.drop_duplicates("uid")[["uid", "subject"]]
    manifest = people.merge(wide, on="uid").rename(columns={"uid": "ID"})
    manifest["sex"] = np.where(
        manifest["subject"].str[-1].isin(list("02468")), "f", "m"
    )
    for label in binary:  # all agree, but for the first recording
        for rater in RATERS:
            said = manifest[label].copy()
            said[0] = 1 - said[0] if rater == "bo" else said[0]
            manifest[f"{label}@{rater}"] = said.astype(int).astype(str)
    others = manifest.assign(subject="other " + manifest["subject"])
    if not bare:
        metrics["subgroups"] = {k: groups_of(table, manifest, k) for k in binary}
        metrics["raters"] = {k: raters_of(manifest, table, k) for k in binary}
    waveform = np.random.default_rng(3).normal(0, 0.1, 16000)
    row = table.iloc[0]
    error = Excerpt(2, row["uid"], row["label"], row["target"], 0.1, waveform, 16000)
    nothing = {"labels": {}, "shared_subjects": [], "shared_audio": []}
    known = {
        "audit": nothing | {"reason": "the recordings are not known"},
        "provenance": {"command": "python evaluate.py x.yaml", "versions": {}},
        "unprepared": frozenset({"train"}),
    }
    if not bare:
        known |= {
            "audit": audit_of(labels, flagged),
            "manifests": {"train": others, "test": manifest},
            "failed": [
                {"uid": "take900", "reason": "x is silent: 0", "kind": "silent"}
            ],
            "errors": [error],
            "settings": {"dataset_name": "clinic", "seed": 1986, "lr": 0.003},
        }
    return result_of(table, groups, types, metrics, **(known | changes))


def groups_of(table, manifest, label):
    rows = table[table["label"] == label]
    sex = manifest.set_index("ID").loc[rows["uid"], ["sex"]]
    columns = ("target", "logit", "probability", "subject")
    known = (rows[column] for column in columns)
    of_label = subgroup_report(*known, sex, rows["probability"] >= 0.5, seed=1)
    return corrected({label: of_label})[label]


def raters_of(manifest, table, label):
    """Of three raters, as their columns of the manifest say."""
    ratings = manifest[[f"{label}@{rater}" for rater in RATERS]].astype(float)
    ratings.columns = RATERS
    rows, subjects = table[table["label"] == label], manifest["subject"]
    return {
        "agreement": agreement(ratings, LabelType(), subjects, 1),
        "on_roc": raters_on_roc(ratings, LabelType(), rows["probability"], subjects, 1),
    }


@pytest.fixture(scope="module")
def evidence():
    groups = [["slow rate"], ["loud", "severity"]]
    return make_evidence(groups, scores=("severity",), flagged=("loud",))


@pytest.fixture(scope="module")
def written(evidence, tmp_path_factory):
    """The folder of a whole report."""
    folder = tmp_path_factory.mktemp("report")
    write_report(evidence, folder)
    return folder


class Page(html.parser.HTMLParser):
    """A page's tags, and its text by section and by row of a table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.text = [], [], {}
        self.section, self.inside = "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "section":
            self.section = attributes["id"]
        if tag == "tr":
            self.rows.append([self.section])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in ("meta", "img"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag  # what is opened is closed, in order

    def handle_data(self, data):
        self.text[self.section] = self.text.get(self.section, "") + data
        if {"th", "td"} & set(self.inside):
            self.rows[-1][-1] += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, section, name):
        """The cells of the first such row."""
        return next(row[2:] for row in self.rows if row[:2] == [section, name])

    def words(self, section):
        return " ".join(self.text[section].split())


def test_every_figure_has_its_place():
    placed = {section for section, _ in figures.FIGURES.values()}
    assert placed <= {section.name for section in SECTIONS}


def test_files(written, evidence):
    assert (written / "model_card.md").is_file()
    drawn = {path.stem for path in (written / "figures").iterdir()}
    assert {"forest", "roc"} <= drawn <= set(figures.NAMES)
    page = Page((written / "report.html").read_text(encoding="utf-8"))
    assert len(page.of("img")) == len(drawn)


def test_page_needs_nothing_else(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    used = {tag for tag, _ in page.tags}
    assert not used & {"script", "link", "iframe", "object", "base", "form"}
    assert "url(" not in text
    assert "@import" not in text
    names = {of["id"] for _, of in page.tags if "id" in of}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name == "src":
                assert value.startswith("data:image/png;base64,")
            if name == "href":
                assert value.removeprefix("#") in names


def test_page_can_be_read_aloud(written):
    page = Page((written / "report.html").read_text(encoding="utf-8"))
    assert page.of("html") == [{"lang": "en"}]
    assert all(of["scope"] in ("row", "col", "rowgroup") for of in page.of("th"))
    assert all(len(of["alt"]) > 20 for of in page.of("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    contents = {of["href"][1:] for of in page.of("a")}
    sections = [of["id"] for of in page.of("section")]
    assert {"headline", "audit"} <= contents <= set(sections)
    assert sections[:2] == ["brief", "headline"]
    assert len(page.of("details")) == len(sections) - 2  # all others are folded


def test_headline_numbers(evidence):
    """Rounded by hand, as the reader has nothing else to compare with."""
    metrics = json.loads(json.dumps(evidence.metrics))
    slow = metrics["labels"]["slow rate"]
    slow["auroc"] = {"value": 0.8349, "low": 0.7051, "high": 0.99962}
    slow["auprc"] = {"value": 0.7, "low": None, "high": None, "reason": "too few"}
    slow["log_loss_skill"] = {"value": -0.104, "low": -0.2, "high": 0.051}
    slow["ppv"] = {"value": 0.5, "low": 0.25, "high": 0.75}
    page = Page(render_html(dataclasses.replace(evidence, metrics=metrics), []))
    row = page.row("headline", "slow rate")
    assert row[0] == "0.83 (0.71 to >0.999)"
    assert row[3] == f"{slow['n_positive_subjects']} of {slow['n_subjects']}"
    row = page.row("measures", "slow rate")
    assert row[:2] == ["0.83 (0.71 to >0.999)", "0.70a (–)"]
    assert row[3:6] == ["72", str(slow["n_positive"]), "24"]
    assert "a too few" in page.words("measures")
    assert any("−0.10 (−0.20 to 0.05)" in row for row in page.rows)
    assert any("0.50 (0.25–0.75)" in row for row in page.rows)


def test_a_gap_has_its_reason_below():
    table = Table("x", ["label", "one", "two", "three"])
    nothing = {"value": None, "low": None, "high": None}
    table.add(
        "slow",
        table.entry(nothing | {"reason": "first"}),
        table.entry(nothing | {"reason": "second"}),
        table.entry(nothing | {"reason": "first"}),
    )
    assert [cell.text + cell.mark for cell in table.rows[0].cells] == ["–a", "–b", "–a"]
    assert table.notes == {"first": "a", "second": "b"}
    assert [table.mark(str(i)) for i in range(26)][-3:] == ["z", "aa", "ab"]


def test_what_is_flagged_is_red_and_in_words(evidence):
    page = Page(render_html(evidence, []))
    brief = page.words("brief")
    assert "Not shown to hear speech: loud " in brief
    assert "loud: What the audit found for it (flagged)." in brief
    assert "loud" not in brief.split("Works:")[1].split(" means:")[0]
    assert page.row("audit", "loud")[:2] == ["FLAGGED", "0.81 (p = 0.004)"]
    assert page.row("audit", "slow rate")[:2] == ["clear", "0.52"]
    red = [of for of in page.of("td") if "flagged" in of.get("class", "")]
    assert len(red) == 3  # with the AUROC among the results
    assert page.row("audit", "loud")[4] == "0.93"  # shown, not flagged
    clear = dataclasses.replace(evidence, audit=audit_of(evidence.metrics["labels"]))
    text = render_html(clear, [])
    assert 'class="flag' not in text
    assert "FLAGGED" not in text
    assert "What the audit found" not in text  # a table says it of all labels


def test_leakage_is_told_without_names(evidence):
    shared = [{"splits": ["train", "test"], "uids": ["take001", "take002"]}]
    leaking = {"shared_subjects": ["person07"], "shared_audio": shared}
    leaking = dataclasses.replace(evidence, audit=evidence.audit | leaking)
    text = render_html(leaking, [])
    assert "1 subject is in more than one split" in Page(text).words("brief")
    assert "1 recording is in more than one split" in Page(text).words("audit")
    assert "person07" not in text
    assert "take00" not in text
    named = render_html(dataclasses.replace(leaking, evaluation=NAMED), [])
    assert "person07" in named
    assert "take001, take002" in named


def test_what_was_not_looked_for_is_not_absent(evidence):
    checked = Page(render_html(evidence, [])).words("audit")
    assert "No subject is in more than one split" in checked
    assert "No recording is in more than one split" in checked
    shares = {"test": evidence.audit["label_shares"]["test"]}
    alone = dataclasses.replace(
        evidence, audit=evidence.audit | {"label_shares": shares}
    )
    words = Page(render_html(alone, [])).words("audit")
    assert "Not checked for subjects" in words
    assert "Not checked for recordings" in words
    assert "No subject is" not in words
    silent = {"train": heard_of(10, 0), "test": heard_of(10, 0)}
    silent = evidence.audit | {"measured": silent, "shared_audio_reason": "not heard"}
    silent |= {"labels": {}, "reason": "it was switched off"}
    words = Page(render_html(dataclasses.replace(evidence, audit=silent), [])).text
    assert "No subject is in more than one split" in words["audit"]
    assert "Not checked for recordings in two splits: not heard." in words["audit"]
    assert "No confound audit: it was switched off." in words["brief"]


def test_a_sample_that_was_heard_is_told(evidence):
    part = {"train": heard_of(9000, 5000), "test": heard_of(80, 80)}
    part = dataclasses.replace(evidence, audit=evidence.audit | {"measured": part})
    said = "5,000 of 9,000 recordings of train were measured"
    words = Page(render_html(part, [])).words("audit")
    assert f"Not all recordings were listened to: {said}" in words
    assert "No recording that was listened to is in more than one split" in words
    assert "listened to" not in Page(render_html(evidence, [])).words("audit")


def test_people_the_model_knows_are_told_at_the_top(evidence):
    seen = dataclasses.replace(evidence, n_seen=3)
    said = "3 of 24 subjects of this split were trained or validated on: these results"
    assert f"Not unseen: {said} are not" in Page(render_html(seen, [])).words("brief")
    assert said not in Page(render_html(evidence, [])).words("brief")


def test_what_another_command_left_out_is_not_known(evidence):
    """24 subjects of 3 recordings, and one of the test split that can't be used."""
    listed = Page(render_html(evidence, [])).row("cohort", "listed")
    assert listed == ["–a", "73"]  # of whom the one is, is not known
    training = dataclasses.replace(evidence, unprepared=frozenset())
    listed = Page(render_html(training, [])).row("cohort", "listed")
    assert listed == ["72 (24 subjects)", "73"]


def test_small_samples_are_explained_once(evidence):
    page = Page(render_html(evidence, []))
    assert " ".join(page.text.values()).count(SMALL_SAMPLE) == 1
    said = "slow rate and loud: only 24 subjects (24 with a positive, 24"
    assert said in page.words("measures")
    assert "Few people: all labels" in page.words("brief")


def test_the_brief_begins_with_who_took_part(evidence):
    """24 people of 3 recordings each, in both splits."""
    words = Page(render_html(evidence, [])).words("brief")
    both = "trained on 24 people (72 recordings); tested on 24 people (72 recordings)"
    assert words.startswith(f"In brief People: {both}")
    elsewhere = Page(render_html(make_evidence([["slow rate"]], bare=True), []))
    assert "who the model learned from is not known" in elsewhere.words("brief")


def with_aurocs(evidence, **aurocs):
    """The same with other AUROCs: label, with _ for spaces → (value, low, high)."""
    metrics = json.loads(json.dumps(evidence.metrics))
    for label, bounds in aurocs.items():
        entry = dict(zip(("value", "low", "high"), bounds, strict=True))
        entry["reason"] = "too few people"
        metrics["labels"][label.replace("_", " ")]["auroc"] = entry
    return dataclasses.replace(
        evidence, metrics=metrics, audit=audit_of(metrics["labels"])
    )


@pytest.mark.parametrize(
    "bounds, said",
    [
        ((0.95, 0.82, 0.99), "; well or better: slow rate 0.95."),
        (
            (0.95, 0.52, 0.99),
            "; better than guessing, how much is open: slow rate 0.95.",
        ),
        ((0.6, 0.4, 0.8), "Not shown to work: slow rate 0.60 (0.40–0.80)"),
        ((0.3, 0.2, 0.45), "Worse than guessing: slow rate 0.30 (0.20–0.45)"),
        ((0.95, None, None), "Not known: slow rate: too few people."),
    ],
)
def test_labels_are_told_by_their_interval(evidence, bounds, said):
    other = with_aurocs(evidence, slow_rate=bounds, loud=(0.99, 0.95, 0.999))
    words = Page(render_html(other, [])).words("brief")
    assert said in words
    assert "very well: loud 0.99" in words
    assert f"Weakest label: slow rate, AUROC {bounds[0]:.2f}" in words


def beside(evidence, **differences):
    """The same beside acoustic statistics: label → (value, low, high)."""
    found = {}
    for label, bounds in differences.items():
        gap = dict(zip(("value", "low", "high"), bounds, strict=True))
        entry = {"auroc": {"value": 0.5, "low": 0.3, "high": 0.7}, "difference": gap}
        found[label.replace("_", " ")] = entry | {"verdict": verdict(gap)}
    acoustic = {"description": "x", "labels": found}
    metrics = evidence.metrics | {"baselines": {ACOUSTIC: acoustic}}
    return dataclasses.replace(evidence, metrics=metrics)


@pytest.mark.parametrize(
    "bounds, said",
    [
        ((0.01, -0.02, 0.04), "; about the same: slow rate."),
        ((0.1, -0.1, 0.3), "can't be told: slow rate +0.10 (−0.10 to +0.30)"),
        ((-0.1, -0.2, -0.01), "; worse: slow rate −0.10 (−0.20 to −0.01)"),
        ((-0.3, -0.4, -0.2), "far worse: slow rate −0.30 (−0.40 to −0.20)"),
        ((0.2, 0.01, 0.3), "better: loud +0.30 (+0.20 to +0.40), slow rate +0.20"),
    ],
)
def test_the_brief_says_how_labels_stand_beside_acoustics(evidence, bounds, said):
    other = beside(evidence, loud=(0.3, 0.2, 0.4), slow_rate=bounds)
    words = Page(render_html(other, [])).words("brief")
    assert said in words.split("Beside plain acoustic statistics: ")[1]


def test_a_model_of_statistics_is_said_to_be_of_the_baseline_s_kind(evidence):
    other = beside(evidence, loud=(0.3, 0.2, 0.4))
    said = "This model reads such statistics itself"
    assert said not in Page(render_html(other, [])).words("brief")
    settings = evidence.settings | {"opt_class": None}
    other = dataclasses.replace(other, settings=settings)
    assert said in Page(render_html(other, [])).words("brief")


def test_what_cannot_be_compared_on_average_has_no_number(evidence):
    other = beside(evidence, loud=(0.0, None, None))
    gap = {"value": 0.0, "low": None, "high": None}
    macro = {"difference": gap, "verdict": "not computable"}
    other.metrics["baselines"][ACOUSTIC]["macro"] = macro
    words = Page(render_html(other, [])).words("brief")
    said = words.split("Beside plain acoustic statistics: ")[1]
    assert said.startswith("AUROC on average not computable; not computable: loud.")


def test_a_label_without_a_baseline_is_not_compared(evidence):
    assert "Beside plain" not in Page(render_html(evidence, [])).words("brief")


def test_divided_raters_are_counted(evidence):
    metrics = json.loads(json.dumps(evidence.metrics))
    metrics["labels"]["loud"]["n_divided"] = 7
    words = Page(render_html(dataclasses.replace(evidence, metrics=metrics), [])).words
    said = "7 recordings, on whose label the raters are evenly divided, are not in"
    assert said in words("brief") and said in words("raters")


def test_what_was_looked_at_often_is_told(evidence):
    often = evidence.metrics | {"n_test_evaluations": 4}
    often = dataclasses.replace(evidence, metrics=often)
    said = "this test split has been evaluated 4 times"
    assert said in Page(render_html(often, [])).words("brief")
    once = Page(render_html(evidence, [])).words("brief")
    assert "has been evaluated" not in once
    assert "another seed" in once


def fold(repeat, number, auroc, **more):
    counts = {"n_recordings": 36, "n_subjects": 12}
    entry = {"repeat": repeat, "fold": number, "macro_auroc": auroc, **counts}
    return entry | {"auroc": {"slow rate": auroc, "loud": None}} | more


def cross_validated(evidence, folds, n_repeats):
    metrics = json.loads(json.dumps(evidence.metrics))
    metrics |= {"n_folds": 2, "n_repeats": n_repeats, "folds": folds}
    metrics["labels"]["slow rate"]["auroc"]["sd"] = 0.0123
    return dataclasses.replace(evidence, split="out-of-fold", metrics=metrics)


def test_results_by_person_are_told_where_they_are_others():
    threshold = {"value": 0.5, "rule": "youden", "source": "validation"}
    threshold |= {"n_positive_subjects": 11}
    rules = dict.fromkeys(PERSON_RULES, threshold)
    point = {"threshold": threshold, "per_subject": rules, "calibration": None}
    for n_each in (1, 3):
        table = make_table(["slow rate"], n_each=n_each)
        own = {"operating_points": {"slow rate": point}}
        metrics = evaluate_predictions(table, [["slow rate"]], None, **own)
        of_them = SimpleNamespace(metrics=metrics)
        assert (validation.counting(of_them) == validation.ONE_EACH) == (n_each == 1)
        assert (validation.persons(of_them) is None) == (n_each == 1)


def test_thresholds_of_folds_are_told_from_the_lowest_to_the_highest(evidence):
    other = cross_validated(evidence, [fold(1, 1, 0.7), fold(1, 2, 0.8)], 1)
    folds = [{"value": 0.71}, {"value": None}, {"value": 0.325}]
    other.metrics["labels"]["slow rate"]["threshold"] |= {"folds": folds}
    table = results.thresholds(other)
    assert table.columns == ["label", "lowest to highest fold", "rule", "chosen on"]
    told = {row.name: row.cells[0].text for row in table.rows}
    assert told["slow rate"] == "0.33–0.71" and told["loud"] == "0.50"
    assert len(results.thresholds(evidence).columns) == 7


def test_folds_are_told_with_their_spread(evidence):
    folds = [fold(r, f, 0.6 + 0.1 * r + 0.05 * f) for r in (1, 2) for f in (1, 2)]
    page = Page(render_html(cross_validated(evidence, folds, 2), []))
    assert page.row("headline", "loud")  # results first, folds below
    rows = [row for row in page.rows if row[:2] == ["headline", "slow rate"]]
    assert rows[1][2:] == ["0.75", "0.90", "0.012"]
    assert page.row("measures", "fold 2, repeat 1")[2:4] == ["0.80", "–a"]
    brief = page.words("brief")
    assert "Nobody of test.csv takes part" in brief
    assert "in 2 folds, 2 times with other folds and seeds" in brief
    assert "from fold to fold 0.75–0.90" in brief
    assert "another seed" not in brief


def test_a_table_of_folds_has_no_note_of_what_it_does_not_show(evidence):
    page = render_html(cross_validated(evidence, [fold(1, 1, 0.7)], 1), [])
    table = page.split("AUROC from fold to fold")[1].split("</table>")[0]
    assert "SD of repeats" not in table
    assert "not computed" not in Page(page).words("headline")


def test_folds_without_a_threshold_are_told(evidence):
    other = cross_validated(evidence, [fold(1, 1, 0.7), fold(1, 2, 0.8)], 1)
    other.metrics["labels"]["loud"]["without_decisions"] = [{"fold": "fold 2"}]
    brief = Page(render_html(other, [])).words("brief")
    assert "No threshold: loud: none in fold 2, whose recordings do not count." in brief


def test_folds_of_sites_have_their_names(evidence):
    folds = [fold(1, 1, 0.7, left_out="north"), fold(1, 2, 0.8, left_out="south")]
    page = Page(render_html(cross_validated(evidence, folds, 1), []))
    assert page.row("headline", "north") == ["12", "0.70"]
    assert "left out at a time: north and south" in page.words("brief")


def test_another_place_stands_beside_the_own_test_split(evidence):
    metrics = json.loads(json.dumps(evidence.metrics))
    metrics["labels"]["slow rate"]["recalibrated"] = {
        "in_the_large": {"intercept": -0.4, "brier": 0.123, "log_loss": 0.5},
        "slope_and_intercept": {
            **dict.fromkeys(("slope", "intercept", "brier", "log_loss")),
            "reason": "no overlap",
        },
    }
    own = {"value": 0.9512, "low": None, "high": None, "reason": "few"}
    names = ("auroc", "calibration_slope", "sensitivity", "specificity")
    labels = {"slow rate": dict.fromkeys(names, own)}
    metrics["internal"] = {"csv": "test.csv", "n_subjects": 31, "labels": labels}
    page = Page(render_html(dataclasses.replace(evidence, metrics=metrics), []))
    assert page.row("headline", "own test")[0] == "0.95"
    here = metrics["labels"]["slow rate"]["auroc"]["value"]
    assert page.row("headline", "here")[0] == f"{here:.2f}"
    said = (
        f"Mean AUROC: here {here:.2f}, on the experiment's own test split (31 people) 0"
    )
    assert said in page.words("brief")
    assert page.row("calibration", "intercept only")[:3] == ["1.00", "−0.40", "0.12"]
    assert "no overlap" in page.words("calibration")


def test_no_path_of_the_machine_is_told(evidence):
    known = {
        "settings": {
            "dataset_name": "clinic",
            "data_folder": "/home/ann/corpus/audio",
            "train_csv": ["/home/ann/a.csv", "gs://bucket/ann/b.csv"],
            "wiener": {"model": "/home/ann/m.pt"},
        },
        "provenance": {
            "command": "python train.py hparams/x.yaml '--out=/home/ann/a b/c'",
        },
    }
    page = Page(render_html(dataclasses.replace(evidence, **known), []))
    words = page.words("settings")
    assert "ann" not in words.replace("channels", "")
    assert "python train.py hparams/x.yaml --out=…/c" in words
    assert page.row("settings", "data_folder") == ["…/audio"]
    assert page.row("settings", "train_csv")[0] == '["\u2026/a.csv", "\u2026/b.csv"]'


def test_groups_that_are_all_too_small_take_a_line(evidence):
    """Of 24 subjects all have both ratings: sexes of 12 have numbers, thirds none."""
    found = json.loads(json.dumps(evidence.metrics["subgroups"]))
    small = {"group": "north", "n": 9, "n_subjects": 3, "n_positive_subjects": 3}
    small |= {"n_negative_subjects": 3, "reason": "too small"}
    nothing = dict.fromkeys(("largest_gap", "largest_gap_by_chance", "p", "p_holm"))
    site = nothing | {"groups": [small, small], "n_groups": 0, "reason": "too small"}
    for of in found.values():
        of["columns"]["site"] = of["columns"]["device"] = site
    found["loud"]["columns"]["sex"] = site
    metrics = evidence.metrics | {"subgroups": found}
    page = Page(render_html(dataclasses.replace(evidence, metrics=metrics), []))
    words = page.words("subgroups")
    assert "All groups by site and device are too small for slow rate." in words
    assert "All groups by sex, site and device are too small for loud." in words
    assert page.row("subgroups", "f")[0] == "36"
    assert not any(row[:2] == ["subgroups", "north"] for row in page.rows)


def test_recordings_are_named_only_if_wanted(written, evidence):
    for name in ("report.html", "model_card.md"):
        text = (written / name).read_text(encoding="utf-8")
        assert not re.search(r"take\d|person\d", text)
    named = render_html(dataclasses.replace(evidence, evaluation=NAMED), [])
    assert Page(named).row("errors", "2")[1] == evidence.errors[0].uid


def test_text_of_users_never_becomes_markup(tmp_path):
    hostile = make_evidence(
        [[HOSTILE, "loud"]],
        flagged=[HOSTILE],
        settings={"dataset_name": HOSTILE, HOSTILE: [HOSTILE], "seed": 1},
        split=HOSTILE,
        notes=[HOSTILE],
        n_seen=3,
        evaluation=NAMED,
        provenance={
            "command": HOSTILE.replace('"', ""),
            "date": HOSTILE,
            "versions": {HOSTILE: HOSTILE},
        },
    )
    path = tmp_path / "forest.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", 640, 480))
    drawn = [figures.Drawn("forest", path, HOSTILE, HOSTILE, "headline")]
    page = Page(render_html(hostile, drawn))
    assert not page.of("script")
    for section in ("", "brief", "headline", "audit", "settings"):
        assert HOSTILE in page.words(section)
    [image] = page.of("img")
    assert (image["alt"], image["width"], image["height"]) == (HOSTILE, "640", "480")


VARIANTS = {
    "elsewhere": {"groups": [["slow rate", "loud"]], "bare": True},
    "scores only": {
        "groups": [["severity", "effort"]],
        "scores": ["severity", "effort"],
    },
    "one label": {"groups": [["slow rate"]]},
    "too few subjects": {"groups": [["slow rate", "loud"]], "n_subjects": 4},
    "twelve labels": {
        "groups": [
            [f"label {i}" for i in range(6)],
            [f"other label {i}" for i in range(6)],
        ],
        "n_subjects": 8,
    },
    "long names": {
        "groups": [
            [
                "irregular articulatory breakdowns in the reading of a passage",
                "Dysdiadochokinesekoordinationsstoerung" * 2,
            ]
        ]
    },
}


@pytest.fixture(scope="module")
def variants():
    """The page of each kind of evaluation, without figures."""
    return {
        name: render_html(make_evidence(**options), [])
        for name, options in VARIANTS.items()
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(variants, name):
    page = Page(variants[name])
    sections = set(page.text)
    assert {"brief", "errors", "settings", "methods"} <= sections
    assert ("cohort" in sections) == (name != "elsewhere")
    scores = name == "scores only"
    assert page.row("headline", "severity" if scores else page.rows[1][1])
    assert ("calibration" in sections) == (not scores)
    assert "None" not in " ".join(page.text.values())
    assert "nan" not in {cell for row in page.rows for cell in row}


#: Shows pages in frames as wide as a phone or a laptop, and asks of each the same.
WRAPPER = """<!DOCTYPE html><body>{frames}<pre id="answers"></pre><script>
onload = () => {{
  const frames = [...document.querySelectorAll("iframe")];
  const answers = frames.map((frame) => {{
    const inner = frame.contentDocument;
    const entries = frame.contentWindow.performance.getEntriesByType("resource");
    return {{
      width: inner.documentElement.clientWidth,
      scroll_width: inner.documentElement.scrollWidth,
      results: [...inner.querySelectorAll("#headline td")].map(
        (cell) => cell.getBoundingClientRect().right),
      height: inner.documentElement.scrollHeight,
      images: [...inner.images].map((image) => image.naturalWidth),
      requests: entries.map((entry) => entry.name),
    }};
  }});
  document.querySelector("#answers").textContent = JSON.stringify(answers);
}};
</script></body>"""

FRAME = '<iframe srcdoc="{}" style="border:0;width:{}px;height:800px"></iframe>'

#: What the browser asks for in any case: the file, and its maker for the time of day.
OWN_REQUESTS = re.compile(r"^file://|[./](google|gvt1|googleapis|gstatic)\.com$")

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="needs chromium or google-chrome"
)


def ask_browser(pages, folder):
    """Shows pages, each of (HTML, width in pixels), in headless Chromium.

    Returns
    -------
    answers : list of dict
        To what `WRAPPER` asks of each.
    console : list of str
    requests : set of str
        The hosts in the browser's network log.
    """
    wrapper, log = folder / "wrapper.html", folder / "network.json"
    frames = "".join(FRAME.format(html.escape(page), width) for page, width in pages)
    wrapper.write_text(WRAPPER.format(frames=frames), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update"]
    options += ["--disable-dev-shm-usage", "--enable-logging=stderr", "--dump-dom"]
    options += ["--hide-scrollbars", "--virtual-time-budget=5000"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    shown = subprocess.run(
        [BROWSER, *options, wrapper.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="answers">(.*?)</pre>', shown.stdout, re.DOTALL)
    console = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    requests = set(re.findall(r'"url":"([a-z]+://[^/"]*)', log.read_text()))
    requests = {url for url in requests if not OWN_REQUESTS.search(url)}
    return json.loads(html.unescape(found[1])), console, requests


@needs_browser
def test_browser(written, variants, tmp_path):
    page = (written / "report.html").read_text(encoding="utf-8")
    pages = [(page, 390), (page, 1280)]
    pages += [(page, 390) for page in variants.values()]
    answers, console, requests = ask_browser(pages, tmp_path)
    assert console == []
    assert requests == set()
    for answer, (_, width) in zip(answers, pages, strict=True):
        assert answer["width"] == answer["scroll_width"] == width
        assert answer["requests"] == []
    # all results are seen without scrolling sideways, and soon
    assert max(answers[0]["results"][:12]) <= 390
    assert answers[0]["height"] < 10 * 844
    for answer in answers[:2]:
        assert len(answer["images"]) == 7
        assert min(answer["images"]) > 0


@needs_browser
def test_browser_would_tell(tmp_path):
    """The checks above fail where they have to."""
    page = (
        '<img src="data:image/png;base64,AAAA"><div style="width:900px">wide</div>'
        '<img src="http://localhost:9/x.png"><script>console.error("no")</script>'
    )
    [answer], console, requests = ask_browser([(page, 360)], tmp_path)
    assert answer["images"] == [0, 0]
    assert answer["width"] == 360
    assert answer["scroll_width"] > 360
    assert answer["requests"] == ["http://localhost:9/x.png"]
    assert any("no" in line for line in console)
    assert requests == {"http://localhost:9"}


def test_weights_of_statistics_are_told_in_words():
    entry = {"words": "jitter (mean)", "weight": 0.25, "low": 0.1, "high": 0.4}
    entry |= {"unit": "dB", "usual": [-30.25, -4.0]}
    none = {"weights": [], "weights_reason": "the head compares recordings"}
    labels = {"slow": {"weights": [entry]}, "fast": none}
    table = validation.weights(SimpleNamespace(metrics={"labels": labels}))
    told = [(row.name, *(cell.text for cell in row.cells)) for row in table.rows]
    assert told == [
        ("slow",),
        ("jitter (mean)", "+0.25 (+0.10 to +0.40)", "−30.2 to −4 dB"),
        ("fast",),
        ("none", "–", ""),
    ]
    assert "the head compares recordings" in table.notes
    nothing = SimpleNamespace(metrics={"labels": {"slow": {"auroc": None}}})
    assert not validation.weights(nothing)
