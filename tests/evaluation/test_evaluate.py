"""An evaluation of which one part fails: everything else is made and written."""

import dataclasses
import errno
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import read_csv
from scipy.special import expit

from local.audio.loading import AudioFormat
from local.data.labels import LabelType
from local.data.loaders import ScoreBatches
from local.data.manifests import build_manifest
from local.data.recordings import FolderRecordings
from local.data.split import Split
from local.evaluation import measurements, parts
from local.evaluation.confound_audit import verdict
from local.evaluation.evaluate import evaluate, measured
from local.evaluation.external import internal_results
from local.evaluation.failures import Failures, names_in
from local.evaluation.scored_split import ScoredSplit
from local.model import kernel_fitting
from local.report import figures, html
from local.report.writing import write_results
from local.training.evaluation_settings import EvaluationSettings
from local.utils.errors import RunError, UserError

NAMES = ["low", "loud"]
AUDIO = AudioFormat(8000)
BATCHES = ScoreBatches(None, eval_batch_frames=1000, num_workers=0, seed=1)
REASON = "it failed: LinAlgError: Singular matrix"
BASELINES = ("baselines/acoustic.csv", "baselines/prevalence.csv")
KINDS = ("predictions.csv", "audit.json", "metrics.json")

#: What each part of an evaluation calls, and nothing else does.
PARTS = {
    "measuring": "local.evaluation.evaluate.measure_split",
    "baselines": "local.evaluation.baselines.baseline_results",
    "subgroups": "local.evaluation.parts.subgroup_report",
    "raters": "local.metrics.rater_agreement.agreement",
    "errors": "local.evaluation.parts.read_excerpts",
    "leakage": "local.evaluation.parts.leakage",
    "audit": "local.evaluation.measurements.confound_audit.audit_labels",
}


def split_of(corpus, name):
    """Manifest of a split, with two raters of a label, and its recordings."""
    rows = read_csv(corpus / "splits" / f"{name}.csv")
    table = pd.DataFrame(rows).assign(audio=[row["uid"] for row in rows], session="")
    table = table.assign(start_s="", end_s="", channel="")
    table["low@ann"], table["low@bo"] = table["low"], table["low"][::-1].to_list()
    targets = table[NAMES].apply(pd.to_numeric)
    recordings = FolderRecordings(corpus / "audio")
    table = table.drop(columns=[*NAMES, "noisy"])
    manifest, _ = build_manifest(table, targets, recordings, AUDIO, [], name)
    return manifest, recordings


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Few draws and fits: numbers don't matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdict, "MIN_PERMUTATIONS", 9)
        patch.setattr(verdict, "PERMUTATIONS_PER_TEST", 1)
        patch.setattr(kernel_fitting, "STRENGTHS", (0.1,))
        yield


@pytest.fixture(scope="module")
def whole(shared_corpus):
    """The test split with everything that an evaluation may have, but measurements."""
    manifest, recordings = split_of(shared_corpus, "test")
    train, _ = split_of(shared_corpus, "train")
    frame = measurements.measure_split(train, recordings, AUDIO, BATCHES, "measuring")
    logits = np.random.default_rng(0).normal(size=(len(manifest), len(NAMES)))
    table = pd.DataFrame(
        {
            "uid": np.repeat(manifest["ID"], 2).to_list(),
            "subject": np.repeat(manifest["subject"], 2).to_list(),
            "label": NAMES * len(manifest),
            "target": manifest[NAMES].to_numpy().ravel(),
            "logit": logits.ravel(),
            "probability": expit(logits.ravel()),
            "session": "",
            "split": "test",
            "predicted": pd.array([None] * logits.size, dtype="Int8"),
        }
    )
    asked = {"measured_recordings": 0, "subgroups": ["sex"], "report": False}
    return ScoredSplit(
        name="test",
        table=table,
        label_groups=[NAMES],
        types={name: LabelType() for name in NAMES},
        points={},
        command=["python", "evaluate.py"],
        evaluation=EvaluationSettings(**asked, seed=1),
        audio=AUDIO,
        batches=BATCHES,
        manifest=manifest,
        recordings=recordings,
        seen={"train": Split(name="train", manifest=train, measurements=frame)},
        is_own=True,
    )


def changed(scored, **options):
    """The same with other options, and without anything that has failed."""
    asked = dataclasses.replace(scored.evaluation, **options)
    return dataclasses.replace(scored, failures=Failures(), evaluation=asked)


def run(scored, folder, **options):
    """Measure and evaluate; what is in the folder, JSON as objects."""
    write_results(evaluate(measured(changed(scored, **options))), folder)
    names = [
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    ]
    return {
        name: json.loads((folder / name).read_text())
        if name.endswith(".json")
        else (folder / name).read_bytes()
        for name in names
    }


@pytest.fixture(scope="module")
def expected(whole, tmp_path_factory):
    """What an evaluation without any failure writes."""
    found = run(whole, tmp_path_factory.mktemp("whole"))
    assert found["metrics.json"]["failed_parts"] == {}
    assert sorted(found) == sorted([*KINDS, *BASELINES])
    return found


def broken(*_args, **_kwargs):
    np.linalg.inv(np.zeros((2, 2)))


def traceback_of(message):
    """The traceback that a warning tells of."""
    file = Path(message.split()[-1])
    text = file.read_text()
    file.unlink()
    return text


def without(found, *names):
    return {name: of for name, of in found.items() if name not in names}


# only a report has errors: below
@pytest.mark.parametrize("part", [part for part in PARTS if part != "errors"])
def test_a_part_that_fails_takes_nothing_with_it(
    part, whole, expected, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(PARTS[part], broken)
    found = run(whole, tmp_path)
    (message,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert message.startswith(f"{part}: {REASON}. ")
    assert "in broken\n" in traceback_of(message)
    lost = {"measuring": BASELINES[:1], "baselines": BASELINES}.get(part, ())
    assert sorted(found) == sorted(without(expected, *lost))
    assert found["predictions.csv"] == expected["predictions.csv"]
    metrics, audit = found["metrics.json"], found["audit.json"]
    assert metrics["failed_parts"] == {part: REASON}
    changed = {"measuring": ["baselines"]}.get(part, [part])
    same = without(metrics, "failed_parts", *changed)
    assert same == without(expected["metrics.json"], "failed_parts", *changed)
    about_labels = ("labels", "summary", "reason")
    about_audio = ("shared_audio_reason", "measured")
    changed = {
        "measuring": (*about_labels, *about_audio),
        "audit": about_labels,
        "leakage": (*about_audio, "shared_subjects_reason", "label_shares"),
    }.get(part, ())
    assert without(audit, *changed) == without(expected["audit.json"], *changed)


def test_divided_raters_are_counted(whole, expected):
    """One rater says the label, the other the same backwards; of loud there is none."""
    low = whole.manifest["low@ann"].to_numpy()
    n = int((low != low[::-1]).sum())
    found = expected["metrics.json"]["labels"]
    assert n > 0
    assert {name: of["n_divided"] for name, of in found.items()} == {
        "low": n,
        **dict.fromkeys(without(found, "low")),
    }


def test_a_part_that_json_can_not_hold_has_failed(
    whole, expected, tmp_path, monkeypatch
):
    not_finite = {"columns": {}, "auroc": float("nan")}
    monkeypatch.setattr(PARTS["subgroups"], lambda *_: not_finite)
    verdicts = expected["audit.json"]["labels"]
    verdicts = verdicts | {"low": verdicts["low"] | {"n": np.int64(1)}}
    monkeypatch.setattr(PARTS["audit"], lambda *_, **__: verdicts)
    found = run(whole, tmp_path)
    assert sorted(found) == sorted(expected)
    reasons = found["metrics.json"]["failed_parts"]
    assert list(reasons) == ["subgroups", "audit"]
    assert "ValueError: Out of range float" in reasons["subgroups"]
    assert "TypeError: Object of type int64" in reasons["audit"]


def test_the_reason_stands_in_the_place_of_what_is_missing(
    whole, expected, tmp_path, monkeypatch
):
    """All of these fail at the same time; the report tells all of it."""
    for part, called in PARTS.items():
        if part != "measuring":
            monkeypatch.setattr(called, broken)
    drawn = {"roc": figures.FIGURES["roc"], "forest": ("headline", broken)}
    monkeypatch.setattr(figures, "FIGURES", drawn)
    monkeypatch.setattr(html, "FIGURES", drawn)
    sections = [
        dataclasses.replace(of, builders=(broken,)) if of.name == "cohort" else of
        for of in html.SECTIONS
    ]
    monkeypatch.setattr(html, "SECTIONS", sections)
    monkeypatch.setattr("local.report.writing.write_model_card", broken)
    found = run(whole, tmp_path, report=True)
    names = {"predictions.csv", "audit.json", "metrics.json", "report.html"}
    assert set(found) == names | {"figures/roc.png"}
    metrics, audit = found["metrics.json"], found["audit.json"]
    assert metrics["failed_parts"] == dict.fromkeys(
        [
            *without(PARTS, "measuring"),
            *("figures/forest.png", "report.html: Subjects and recordings"),
            "model_card.md",
        ],
        REASON,
    )
    assert metrics["labels"] == expected["metrics.json"]["labels"]
    for of in metrics["baselines"].values():
        assert of["labels"] == {name: {"reason": REASON} for name in NAMES}
    assert metrics["subgroups"]["loud"] == {"columns": {}, "reason": REASON}
    assert metrics["raters"] == {"reason": REASON}
    assert audit == {
        **{"labels": {}, "shared_subjects": [], "shared_audio": [], "reason": REASON},
        **{"shared_subjects_reason": REASON, "shared_audio_reason": REASON},
    }
    page = found["report.html"].decode()
    assert page.count(f"Missing: what belongs here; {REASON}.") == 4
    for text in (
        f"Missing: this section; {REASON}.",
        f"Missing: the figure forest; {REASON}.",
        f"Not done: {REASON}.",
        f"Not checked for subjects in two splits: {REASON}.",
        f"Not checked for recordings in two splits: {REASON}.",
        "Failed parts:</strong> baselines, subgroups, raters, errors,",
    ):
        assert text in page
    assert "the recordings are not at hand" not in page


def test_a_report_that_can_not_be_made_is_not_there(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", {})
    monkeypatch.setattr(html, "FIGURES", {})
    monkeypatch.setattr(html, "brief", broken)
    (tmp_path / "report.html").write_text("of an earlier run")
    found = run(whole, tmp_path, report=True)
    assert set(found) == {*KINDS, *BASELINES, "model_card.md"}
    assert found["metrics.json"]["failed_parts"] == {"report.html": REASON}


@pytest.mark.parametrize(
    "error",
    [
        UserError("wrong input"),
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
        KeyboardInterrupt(),
    ],
)
def test_what_is_about_the_whole_run_ends_it(error, whole, tmp_path, monkeypatch):
    def fatal(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(parts, "subgroup_report", fatal)
    with pytest.raises(type(error)):
        run(whole, tmp_path)
    assert list(tmp_path.iterdir()) == []


# What is told of a failure


def reason_of(error, names=()):
    failures = Failures(names)

    def fail():
        raise error

    failures.attempt("a part", fail)
    return failures.reasons["a part"]


def test_reasons_name_nobody():
    names = names_in(
        pd.DataFrame({"uid": ["rec/01"], "subject": ["p7"], "site": ["north"]}),
        pd.DataFrame({"ID": ["rec_02"], "subject": ["Singular"]}),
    )
    assert names == {"rec/01", "p7", "rec_02", "Singular"}
    assert reason_of(KeyError("rec_02"), names) == "it failed: KeyError"
    assert reason_of(ValueError("row of p7"), names) == "it failed: ValueError"
    assert reason_of(ValueError("no p79"), names) == "it failed: ValueError: no p79"
    assert reason_of(ValueError("of /home/p"), names) == "it failed: ValueError"
    assert reason_of(np.linalg.LinAlgError("Singular matrix")) == REASON


def test_reasons_are_one_line():
    assert reason_of(RuntimeError()) == "it failed: RuntimeError"
    assert (
        reason_of(RunError("the bucket\n is gone.")) == "it failed: the bucket is gone"
    )
    told = reason_of(ValueError("word " * 1000))
    assert len(told) < 330 and told.endswith("word …")


# What is measured for which part


def test_external_splits_stand_beside_internal_results(whole, expected, tmp_path):
    """Of an experiment whose metrics.json is that of another evaluation."""
    assert "internal" not in expected["metrics.json"]
    run(whole, tmp_path / "experiment")
    internal = internal_results(tmp_path / "experiment")
    own = expected["metrics.json"]
    assert internal["csv"] == "save/manifests/test.csv"
    assert internal["n_subjects"] == own["n_subjects"]
    for name in NAMES:
        assert internal["labels"][name]["auroc"] == own["labels"][name]["auroc"]
        keys = ["auroc", "calibration_slope", "sensitivity", "specificity"]
        assert list(internal["labels"][name]) == keys
    other = whole.changed(is_own=False, internal=internal)
    found = run(other, tmp_path / "other")["metrics.json"]
    assert found["internal"] == internal
    for name in NAMES:
        recalibrated = found["labels"][name].pop("recalibrated")
        assert set(recalibrated) == {"text", "in_the_large", "slope_and_intercept"}
        assert found["labels"][name] == own["labels"][name]  # as it is


@pytest.mark.parametrize("text", [None, "{", "[]", '{"labels": {"a": {"auroc": 1}}}'])
def test_internal_results_that_are_not_there_or_damaged(text, tmp_path):
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    internal = internal_results(tmp_path)
    assert internal["labels"] == {} and internal["n_subjects"] is None
    assert "metrics.json" in internal["reason"]


def test_measuring_is_for_the_audit_or_the_acoustic_baseline(whole):
    def heard(scored=whole, **options):
        """The splits whose recordings are measured."""
        return list(changed(scored, **options).to_be_measured)

    alone = dataclasses.replace(whole, seen={})
    train = dataclasses.replace(whole.seen["train"], measurements=None)
    unheard = dataclasses.replace(whole, seen={"train": train})
    at_hand = dataclasses.replace(train, recordings=whole.recordings)
    at_hand = dataclasses.replace(whole, seen={"train": at_hand})
    assert heard(audit=False) == heard(acoustic_baseline=False) == ["test"]
    assert heard(audit=False, acoustic_baseline=False) == []
    assert heard(alone) == heard(unheard) == ["test"]
    assert heard(alone, audit=False) == heard(unheard, audit=False) == []
    assert heard(at_hand, audit=False) == heard(at_hand) == ["train", "test"]
    assert heard(dataclasses.replace(whole, recordings=None)) == []


def test_the_others_are_measured_with_it_where_they_are_at_hand(whole):
    train = whole.seen["train"]
    frame, others = train.measurements, {"measurements": None}
    others["recordings"] = whole.recordings
    at_hand = {"train": dataclasses.replace(train, **others)}
    scored = measured(dataclasses.replace(changed(whole), seen=at_hand))
    pd.testing.assert_frame_equal(scored.seen["train"].measurements, frame)
    assert scored.measurements["ID"].tolist() == whole.manifest["ID"].tolist()
    assert scored.failures.reasons == {} and scored.silences.logits is None


def test_without_an_audit_the_acoustic_baseline_stays(whole, expected, tmp_path):
    found = run(whole, tmp_path / "a", audit=False)
    assert found["metrics.json"] == expected["metrics.json"]
    assert found["audit.json"]["reason"] == "it was switched off (audit: False)"
    same = without(found["audit.json"], "labels", "reason")
    assert same == without(expected["audit.json"], "labels", "summary")
    found = run(whole, tmp_path / "b", acoustic_baseline=False)
    assert found["audit.json"] == expected["audit.json"]
    plain, before = (of["metrics.json"]["baselines"] for of in (found, expected))
    assert plain["prevalence"] == before["prevalence"]
    reason = "it was switched off (acoustic_baseline: False)"
    of_acoustics = plain["acoustic statistics"]["labels"]
    assert of_acoustics == {name: {"reason": reason} for name in NAMES}


def test_of_a_large_split_a_sample_is_measured(whole, tmp_path):
    found = run(whole, tmp_path, measured_recordings=5)
    counts = {"n_recordings": 8, "n_measured": 4}
    counts |= {"n_subjects": 4, "n_subjects_measured": 2}
    assert found["audit.json"]["measured"]["test"] == counts
    said = found["metrics.json"]["baselines"]["acoustic statistics"]["description"]
    assert said.endswith(
        "known of 16 of 16 training recordings and of 4 of 8 of this split"
    )


def test_the_study_design_reaches_the_metrics(whole):
    asked = {"audit": False, "acoustic_baseline": False}
    for design in ("cohort", "case_control"):
        result = evaluate(changed(whole, study_design=design, **asked))
        assert result.metrics["study_design"] == design
