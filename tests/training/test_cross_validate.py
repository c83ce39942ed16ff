"""cross_validate.py: folds that keep subjects whole, each an experiment of train.py."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import make_corpus, read_csv, write_csv
from conftest import user_error as refusal
from running import ROOT, SMALL, failed, run_script
from sklearn.metrics import average_precision_score, roc_auc_score

import cross_validate
from local.data.predictions_table import COLUMNS, RANGE_COLUMNS
from local.training import cross_validation
from local.training.settings import READ
from local.utils.keys import KEYS
from local.utils.run_lock import claimed
from local.utils.yaml_files import plain_values
from local.withdrawal.compared import rebuild_comparisons, with_parts

pytest_plugins = ["gcs_server"]

TRAIN_YAML = ROOT / "hparams" / "train.yaml"
LABELS = ("low", "loud", "noisy")

#: Without what takes longer than all the rest.
ON_ITS_OWN = ("--audit=False", "--acoustic_baseline=False", "--report=False")

#: In train.py's place: notes how it was called and invents predictions of its fold.
#: $ENDS says which folds end otherwise: {"fold_2": 7} with status 7, nothing done.
#: A yaml that is called good… predicts better than others.
FAKE = """
import csv, json, os, sys, zlib
from pathlib import Path

options = dict(a[2:].split("=", 1) for a in sys.argv[2:] if "=" in a)
folder = Path(options["output_folder"])
splits = options.get("split_folder") or options["corpus_folder"] + "/splits"
splits, is_good = Path(splits), Path(sys.argv[1]).stem.startswith("good")
folder.mkdir(parents=True, exist_ok=True)
with (folder / "calls").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
status = json.loads(os.environ.get("ENDS", "{}")).get(folder.name, 0)
if status == 2:
    sys.exit(2)
(folder / "save").mkdir(exist_ok=True)
if status not in (0, 3):
    sys.exit(status)
with (splits / "test.csv").open() as file:
    rows = list(csv.DictReader(file))
if status == 3:
    (folder / "failed.csv").write_text(f"uid,reason\\n{rows[0]['uid']},broken\\n")
    rows = rows[1:]
values = json.loads(Path(__file__).with_name("values.json").read_text())
own = ("data_folder", "audio_cache", "cross_fitted_csv")
own = {key: options.get(key, values[key]) for key in own}
values |= own | {"label_groups": [["low", "loud"], ["noisy"]]}
(folder / "hyperparams.yaml").write_text(json.dumps(values))
(folder / "save/manifests").mkdir(exist_ok=True)
with (folder / "save/manifests/test.csv").open("w") as file:
    columns = {"ID": "uid", "recording": "uid"} | {k: k for k in rows[0] if k != "uid"}
    out = csv.writer(file)
    out.writerow([*columns, "session", "start_s", "end_s", "channel"])
    out.writerows([[row[c] for c in columns.values()] + [""] * 4 for row in rows])
threshold = 0.25 if folder.name == "fold_1" else 0.75
with (folder / "predictions.csv").open("w") as file:
    out = csv.writer(file)
    columns = "uid,subject,label,target,logit,probability,split,predicted"
    out.writerow([*columns.split(","), "in_range", "deviation"])
    for row in rows:
        for label in ("low", "loud", "noisy"):
            share = zlib.crc32((row["uid"] + label).encode()) % 997 / 997
            if is_good:
                share = (2 * share + float(row[label] or 0)) / 3
            told = (row["uid"], row["subject"], label, row[label], share, share, "test")
            decided = "" if label == "noisy" else int(share >= threshold)
            out.writerow((*told, decided, int(row["uid"][-1] == "0"), 1.25))
chosen = {"rule": "youden", "source": "validation", "n_positive_subjects": 10}
values = {"low": threshold, "loud": threshold, "noisy": None}
labels = {
    name: {"threshold": chosen | {"value": value, "reason": "none is any good"}}
    | {"calibration": None}
    for name, value in values.items()
}
points = json.dumps({"labels": labels})
(folder / "save/operating_points.json").write_text(points)
counts = {"n_recordings": len(rows), "n_subjects": len({r["subject"] for r in rows})}
macro = {"labels": {}, "macro": {"auroc": {"value": 0.5}}}
(folder / "metrics.json").write_text(json.dumps(counts | macro))
sys.exit(status)
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    path = tmp_path_factory.mktemp("fake") / "train.py"
    path.write_text(FAKE)
    values = plain_values(TRAIN_YAML)
    plain = {key: values[key] for key in values if key in {*KEYS, "label_groups"}}
    path.with_name("values.json").write_text(json.dumps(plain))
    return str(path)


@pytest.fixture(scope="module")
def plain_yaml(tmp_path_factory):
    """train.yaml with no references and objects: it is read in no time."""
    values, read = plain_values(TRAIN_YAML), {*KEYS, *READ}
    lines = [f"{key}: {json.dumps(of)}" for key, of in values.items() if key in read]
    path = tmp_path_factory.mktemp("yaml") / "train.yaml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def run(fake, plain_yaml, tmp_path):
    """Cross-validates with the fake training; returns the exit status."""

    def cross_validated(
        corpus, *options, folder=tmp_path / "out", script=fake, yaml=plain_yaml
    ):
        argv = [
            *map(str, yaml if isinstance(yaml, list) else [yaml]),
            f"--corpus_folder={corpus}",
            f"--output_folder={folder}",
            f"--audio_cache={tmp_path / 'cache'}",
            *ON_ITS_OWN,
            *options,
        ]
        return cross_validate.main(argv, script) or 0

    return cross_validated


def experiments(folder):
    return sorted(folder.glob("repeat_*/fold_*"))


def calls(folder):
    """How often each fold's training was started, and the last command line."""
    lines = [(of / "calls").read_text().splitlines() for of in experiments(folder)]
    return [len(of) for of in lines], [json.loads(of[-1]) for of in lines]


def pooled(corpus):
    """The recordings of train.csv and val.csv by uid."""
    rows = [row for n in ("train", "val") for row in read_csv(csv_of(corpus, n))]
    return {row["uid"]: row for row in rows}


def csv_of(corpus, name):
    return corpus / "splits" / f"{name}.csv"


def folds_of(folder, repeat=1):
    """train.csv and test.csv of each fold of a repeat."""
    return [
        (read_csv(split / "train.csv"), read_csv(split / "test.csv"))
        for split in sorted((folder / "splits").glob(f"repeat_{repeat}_fold_*"))
    ]


def snapshot(folder):
    return {
        path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


# Folds


def test_each_recording_is_in_one_fold_and_no_subject_in_two(
    run, shared_corpus, tmp_path
):
    assert run(shared_corpus, "--n_folds=4", "--n_repeats=2") == 0
    expected = pooled(shared_corpus)
    draws = []
    for repeat in (1, 2):
        folds = folds_of(tmp_path / "out", repeat)
        assert len(folds) == 4
        tested = [row["uid"] for _, test in folds for row in test]
        assert sorted(tested) == sorted(expected)  # once each, nothing of test.csv
        for train, test in folds:
            assert {row["uid"] for row in train + test} == set(expected)
            assert not {r["subject"] for r in train} & {r["subject"] for r in test}
        draws.append([{row["subject"] for row in test} for _, test in folds])
        assert sum(map(len, draws[-1])) == len(
            {r["subject"] for r in expected.values()}
        )
    assert draws[0] != draws[1]


def test_cells_stay_the_text_that_they_were(run, corpus, tmp_path):
    for name in ("train", "val"):
        rows = read_csv(csv_of(corpus, name))
        extra = {"site": "007", "dose": "1e5", "note": 'a, "b"', "dialect": "NA"}
        write_csv(csv_of(corpus, name), [row | extra for row in rows])
    assert run(corpus, "--n_folds=2") == 0
    expected = pooled(corpus)
    for train, test in folds_of(tmp_path / "out"):
        for row in train + test:
            assert expected[row["uid"]].items() <= row.items()


def test_without_test_csv_and_val_csv(run, corpus, tmp_path):
    csv_of(corpus, "test").unlink()
    csv_of(corpus, "val").unlink()
    assert run(corpus, "--n_folds=2") == 0
    tested = [row["uid"] for _, test in folds_of(tmp_path / "out") for row in test]
    assert sorted(tested) == sorted(r["uid"] for r in read_csv(csv_of(corpus, "train")))


def test_excluded_subjects_are_nowhere(run, corpus, tmp_path):
    (corpus / "excluded_subjects.txt").write_text("s03\n")
    assert run(corpus, "--n_folds=2") == 0
    for path, content in snapshot(tmp_path / "out").items():
        assert b"s03" not in content, path


def test_each_site_is_left_out_once(run, corpus, tmp_path):
    sites = ["Ulm", "Berlin", "Bonn"]
    for name in ("train", "val"):
        rows = read_csv(csv_of(corpus, name))
        rows = [row | {"site": sites[int(row["subject"][1:]) % 3]} for row in rows]
        write_csv(csv_of(corpus, name), rows)
    assert run(corpus, "--leave_one_out=site") == 0
    tested = [{row["site"] for row in test} for _, test in folds_of(tmp_path / "out")]
    assert tested == [{"Berlin"}, {"Bonn"}, {"Ulm"}]
    record = json.loads((tmp_path / "out" / "cross_validation.json").read_text())
    assert record["left_out"] == ["Berlin", "Bonn", "Ulm"]
    folds = json.loads((tmp_path / "out" / "metrics.json").read_text())["folds"]
    assert [fold["left_out"] for fold in folds] == ["Berlin", "Bonn", "Ulm"]
    # in the folds' own command lines it changes nothing
    assert calls(tmp_path / "out")[0] == [1, 1, 1]
    message = refusal(run, corpus, "--leave_one_out=site", "--n_repeats=2")
    assert "n_repeats 2: with leave_one_out the folds are always the same" in message


def test_a_damaged_fold_says_how_to_go_on(run, shared_corpus, tmp_path):
    assert run(shared_corpus, "--n_folds=2") == 0
    fold = experiments(tmp_path / "out")[0]
    (fold / "predictions.csv").write_text("uid,subject\n")
    (tmp_path / "out" / "metrics.json").unlink()
    message = refusal(run, shared_corpus, "--n_folds=2")
    assert f"Delete {fold}: the same command then trains this fold" in message


def test_sites_stay_whole_if_disjoint_by_says_so(run, corpus, tmp_path):
    for name in ("train", "val"):
        rows = read_csv(csv_of(corpus, name))
        rows = [row | {"site": str(int(row["subject"][1:]) % 3)} for row in rows]
        write_csv(csv_of(corpus, name), rows)
    assert run(corpus, "--n_folds=3", "--disjoint_by=[site]") == 0
    for _, test in folds_of(tmp_path / "out"):
        assert len({row["site"] for row in test}) == 1
    message = refusal(run, corpus, "--n_folds=4", "--disjoint_by=[site]")
    assert "n_folds to 3 or less" in message


def test_what_a_fold_is_called_with(run, shared_corpus, tmp_path):
    options = ("--n_folds=2", "--n_repeats=2", "--seed=5", "--lr", "1e-3")
    assert run(shared_corpus, *options, "--precision=bf16") == 0
    n_calls, lines = calls(tmp_path / "out")
    assert n_calls == [1, 1, 1, 1]
    for folder, line in zip(experiments(tmp_path / "out"), lines, strict=True):
        assert line[0].endswith("train.yaml")
        given = dict(a[2:].split("=", 1) for a in line if "=" in a)  # the last counts
        repeat, fold = folder.parent.name, folder.name
        assert given["output_folder"] == str(folder)
        assert given["split_folder"] == str(
            tmp_path / "out" / "splits" / f"{repeat}_{fold}"
        )
        assert given["data_folder"] == str(shared_corpus / "audio")
        assert given["labels_file"] == str(shared_corpus / "labels.txt")
        assert given["corpus_folder"] == "null"
        assert given["dataset_name"] == "corpus"
        assert given["seed"] == {"repeat_1": "5", "repeat_2": "6"}[repeat]
        assert given["precision"] == "bf16"
        assert line[line.index("--lr") + 1] == "1e-3"


def test_a_corpus_in_a_bucket(run, gcs, shared_corpus, tmp_path):
    gcs.put("hospital", shared_corpus, "study/corpus")
    assert run("gs://hospital/study/corpus", "--n_folds=2") == 0
    tested = [row["uid"] for _, test in folds_of(tmp_path / "out") for row in test]
    assert sorted(tested) == sorted(pooled(shared_corpus))
    _, lines = calls(tmp_path / "out")
    for line in lines:
        assert "--data_folder=gs://hospital/study/corpus/audio" in line
        assert "--labels_file=gs://hospital/study/corpus/labels.txt" in line


def test_debug_has_a_place_of_its_own(run, shared_corpus, tmp_path):
    assert run(shared_corpus, "--n_folds=2", "--debug") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["debug"]
    _, lines = calls(tmp_path / "out" / "debug")
    # or train.py would open a folder debug in each fold's folder
    assert all({"--debug", "--debug_persistently"} <= set(line) for line in lines)


# Results


def fold_tables(folder):
    return [pd.read_csv(of / "predictions.csv") for of in experiments(folder)]


def results(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_metrics_are_those_within_folds(run, corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("train", "val"):
        rows = [
            row | {"noisy": 0 if row["subject"] == "s01" else row["noisy"]}
            for row in read_csv(csv_of(corpus, name))
        ]
        write_csv(csv_of(corpus, name), rows)
    assert run(corpus, "--n_folds=2") == 0
    found = results(tmp_path / "out")
    tables = fold_tables(tmp_path / "out")
    for label in LABELS:
        rated = [of[of["label"] == label].dropna(subset="target") for of in tables]
        aurocs = [roc_auc_score(of["target"], of["logit"]) for of in rated]
        precisions = [
            average_precision_score(of["target"], of["logit"]) for of in rated
        ]
        of_label = found["labels"][label]
        assert of_label["auroc"]["value"] == pytest.approx(np.mean(aurocs))
        assert of_label["auprc"]["value"] == pytest.approx(np.mean(precisions))
        assert of_label["n"] == sum(map(len, rated))
    # counts at 0.25 in the first fold and at 0.75 in the second
    rated = pd.concat(
        of[of["label"] == "low"].assign(hit=lambda x, at=at: x["probability"] >= at)
        for of, at in zip(tables, (0.25, 0.75), strict=True)
    )
    hits = rated["hit"][rated["target"] == 1]
    assert found["labels"]["low"]["sensitivity"]["value"] == pytest.approx(hits.mean())
    sensitivity = found["labels"]["noisy"]["sensitivity"]
    assert sensitivity["value"] is None
    assert sensitivity["reason"].startswith("there is no threshold")
    assert [(of["fold"], of["n_recordings"]) for of in found["folds"]] == [
        (1, tables[0]["uid"].nunique()),
        (2, tables[1]["uid"].nunique()),
    ]
    printed = caplog.text
    auroc = found["labels"]["low"]["auroc"]
    row = next(line for line in printed.splitlines() if line.startswith("| low"))
    low, high = (f"{auroc[bound]:.3f}" for bound in ("low", "high"))
    assert f"{auroc['value']:.3f} [{low}, {high}]" in row
    assert f"{hits.mean():.3f}" in row
    assert "noisy: there is no threshold" in printed


def test_a_fold_with_one_class_is_named(run, corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("train", "val"):
        rows = [
            row | {"noisy": int(row["subject"] == "s03")}
            for row in read_csv(csv_of(corpus, name))
        ]
        write_csv(csv_of(corpus, name), rows)
    assert run(corpus, "--n_folds=2") == 0
    (_, first), (_, second) = folds_of(tmp_path / "out")
    without, n = (1, len(first)) if "s03" in str(second) else (2, len(second))
    reason = f"only one class: all {n} rated recordings are negative"
    found = results(tmp_path / "out")
    left_out = {name: entry["left_out"] for name, entry in found["labels"].items()}
    one_class = [{"fold": f"fold {without}", "reason": reason}]
    assert left_out == {"low": [], "loud": [], "noisy": one_class}
    note = f"noisy: in repeat 1 there are no two classes in fold {without}"
    assert note in caplog.messages  # before the training
    note = f"noisy: fold {without} is not in AUROC and AUPRC, {reason}"
    assert note in caplog.text


def test_predictions_of_all_folds(run, shared_corpus, tmp_path):
    assert run(shared_corpus, "--n_folds=2", "--n_repeats=2") == 0
    out = tmp_path / "out"
    table = pd.read_csv(out / "predictions.csv")
    assert list(table) == [*COLUMNS, "repeat", *RANGE_COLUMNS]
    uids = sorted(uid for uid in pooled(shared_corpus) for _ in LABELS)
    for repeat, own in table.groupby("repeat"):
        assert sorted(own["uid"]) == uids
        for fold in (1, 2):
            folder = out / f"repeat_{repeat}" / f"fold_{fold}"
            expected = pd.read_csv(folder / "predictions.csv")
            scored = own[own["split"] == f"fold {fold}"]
            assert scored["uid"].tolist() == expected["uid"].tolist()
            for column in ("logit", "deviation"):
                assert scored[column].tolist() == expected[column].tolist()
    assert len(table) == 2 * len(uids)
    assert results(out)["n_repeats"] == 2
    assert (table["in_range"] == table["uid"].str.endswith("0")).all()
    selective = results(out)["selective"]
    assert (selective["n"], selective["coverage"]) == (len(uids) / 3, 0.5)


def test_repeats_are_averaged(run, shared_corpus, tmp_path):
    assert run(shared_corpus, "--n_folds=2", "--n_repeats=2") == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    own = table[(table["label"] == "low") & table["target"].notna()]
    aurocs = [
        np.mean([roc_auc_score(f["target"], f["logit"]) for _, f in r.groupby("split")])
        for _, r in own.groupby("repeat")
    ]
    auroc = results(tmp_path / "out")["labels"]["low"]["auroc"]
    assert auroc["value"] == pytest.approx(np.mean(aurocs))
    assert auroc["sd"] == pytest.approx(np.std(aurocs, ddof=1))


def test_offsets_of_folds_change_no_ranking(run, shared_corpus, tmp_path):
    assert run(shared_corpus, "--n_folds=3") == 0
    before = results(tmp_path / "out")
    for offset, folder in zip(
        (0.2, 0.5, 0), experiments(tmp_path / "out"), strict=True
    ):
        table = pd.read_csv(folder / "predictions.csv", dtype={"target": "Int64"})
        table["logit"] += 10 * offset
        table["probability"] = table["probability"] / 2 + offset
        table.to_csv(folder / "predictions.csv", index=False)
    assert run(shared_corpus, "--n_folds=3") == 0
    after = results(tmp_path / "out")
    for label in LABELS:
        for name in ("auroc", "auprc"):
            expected = pytest.approx(before["labels"][label][name], rel=1e-6)
            assert after["labels"][label][name] == expected
    assert after["macro"]["auroc"] == pytest.approx(before["macro"]["auroc"])
    assert read_csv(tmp_path / "out" / "predictions.csv")[0]["logit"] != "0"


# Going on


def test_finished_folds_are_not_run_again(run, shared_corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDS", '{"fold_2": 7}')
    assert run(shared_corpus, "--n_folds=3") == 7
    assert not (tmp_path / "out" / "metrics.json").exists()
    first = snapshot(tmp_path / "out" / "repeat_1" / "fold_1")
    monkeypatch.delenv("ENDS")
    assert run(shared_corpus, "--n_folds=3", "--num_workers=2") == 0
    assert calls(tmp_path / "out")[0] == [1, 2, 1]
    assert snapshot(tmp_path / "out" / "repeat_1" / "fold_1") == first
    end = snapshot(tmp_path / "out")
    for name in ("splits/repeat_1_fold_2", "repeat_1"):  # a killed run's
        (tmp_path / "out" / name / ".0123456789abcdef.tmp").touch()
    assert run(shared_corpus, "--n_folds=3") == 0
    assert snapshot(tmp_path / "out") == end


def test_a_fold_that_fails_is_named(run, shared_corpus, monkeypatch, capsys):
    monkeypatch.setenv("ENDS", '{"fold_2": 1}')
    assert run(shared_corpus, "--n_folds=2") == 1
    message = capsys.readouterr().err
    assert "train.py ended with status 1 in repeat 1, fold 2" in message


def test_skipped_recordings_end_with_3(run, shared_corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDS", '{"fold_2": 3}')
    assert run(shared_corpus, "--n_folds=2") == 3
    (_, (_, test)) = folds_of(tmp_path / "out")
    expected = [{"uid": test[0]["uid"], "reason": "broken"}]
    assert read_csv(tmp_path / "out" / "failed.csv") == expected
    assert results(tmp_path / "out")["n_recordings"] == len(pooled(shared_corpus)) - 1
    assert run(shared_corpus, "--n_folds=2") == 3
    assert calls(tmp_path / "out")[0] == [1, 1]


def test_a_fold_whose_evaluation_failed_in_part_is_tried_again(
    run, shared_corpus, tmp_path, monkeypatch
):
    assert run(shared_corpus, "--n_folds=2") == 0
    assert results(tmp_path / "out")["failed_parts"] == {}
    (_, fold) = experiments(tmp_path / "out")
    reasons = {"raters": "it failed: ValueError: broken"}
    found = json.loads((fold / "metrics.json").read_text())
    (fold / "metrics.json").write_text(json.dumps(found | {"failed_parts": reasons}))
    failing = tmp_path / "failing.py"  # its evaluation fails once more
    failing.write_text("import sys; sys.exit(3)")
    assert run(shared_corpus, "--n_folds=2", script=str(failing)) == 3
    assert run(shared_corpus, "--n_folds=2") == 0
    assert calls(tmp_path / "out")[0] == [1, 2]
    assert results(tmp_path / "out")["failed_parts"] == {}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--lr=0.1"], "lr: 0.0003 there, 0.1 here"),
        (["--number_of_epochs=40"], "number_of_epochs: 30 there, 40 here"),
        (["--n_folds=3"], "the draw of folds has changed"),
        (["--n_repeats=2"], "n_repeats: 1 there, 2 here"),
        (["--precision=bf16"], "precision: 'fp32' there, 'bf16' here"),
        (["--val_size=3"], "val_size: 50 there, 3 here"),
    ],
)
def test_other_settings_are_refused(run, shared_corpus, tmp_path, options, expected):
    assert run(shared_corpus, "--n_folds=2") == 0
    before = snapshot(tmp_path / "out")
    message = refusal(run, shared_corpus, "--n_folds=2", *options)
    assert expected in message and "--output_folder" in message
    assert "__" not in message  # nothing that no command line takes
    assert snapshot(tmp_path / "out") == before


def test_other_data_are_refused(run, corpus, tmp_path):
    assert run(corpus, "--n_folds=2") == 0
    rows = read_csv(csv_of(corpus, "val"))
    rows[0]["low"] = {"0": "1", "1": "0"}[rows[0]["low"]]
    write_csv(csv_of(corpus, "val"), rows)
    message = refusal(run, corpus, "--n_folds=2")
    assert "val.csv has changed" in message and "train.csv has" not in message
    (corpus / "excluded_subjects.txt").write_text("s03\n")
    assert "excluded_subjects.txt has changed" in refusal(run, corpus, "--n_folds=2")


def test_a_yaml_with_another_model_is_refused(run, shared_corpus, tmp_path):
    assert run(shared_corpus, "--n_folds=2", yaml=TRAIN_YAML) == 0
    yaml = tmp_path / "train.yaml"
    text = TRAIN_YAML.read_text()
    yaml.write_text(text.replace("drop_freq_count_high: 3", "drop_freq_count_high: 4"))
    assert "augment: " in refusal(run, shared_corpus, "--n_folds=2", yaml=yaml)


def test_a_first_try_that_was_refused_binds_nothing(
    run, shared_corpus, tmp_path, monkeypatch
):
    monkeypatch.setenv("ENDS", '{"fold_1": 2}')
    assert run(shared_corpus, "--n_folds=2", "--lr=0.1") == 2
    monkeypatch.delenv("ENDS")
    assert run(shared_corpus, "--n_folds=2") == 0
    record = json.loads((tmp_path / "out" / "cross_validation.json").read_text())
    assert record["settings"]["lr"] == 0.0003


# What is refused


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--n_folds=1"], "n_folds must be 2 or more"),
        (["--n_folds=2.5"], "n_folds must be a whole number"),
        (["--n_repeats=0"], "n_repeats must be 1 or more"),
        (["--n_folds=12"], "set n_folds to 11 or less"),
        (["--upload_to=gs://clinic/results"], "upload_to: copy the output folder"),
        (["--cross_fitted_csv=p.csv"], "cross_fitted_csv: a fold's threshold"),
        (["--check_only=True"], "check_only: python train.py"),
        (["--folds=3"], "--folds is neither a key of"),
        (["--disjoint_by=[ward]"], "disjoint_by names 'ward'"),
        (["--leave_one_out=ward"], "leave_one_out names 'ward'"),
        (["--threshold={stiff: 0.3}"], "threshold names stiff"),
        (["--soft_targets=True"], "no column <label>@<rater>"),
        (["--feature_cache=train.py"], "train.py is a file: name a folder"),
        (["--subgroups=[ward]"], "subgroups names ward, of which the split has no"),
    ],
)
def test_refused_options(run, shared_corpus, tmp_path, options, expected):
    assert expected in refusal(run, shared_corpus, *options)
    assert not (tmp_path / "out").exists()


def test_torchrun_is_refused(run, shared_corpus, monkeypatch):
    launched = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    address = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in (launched | address).items():
        monkeypatch.setenv(name, value)
    assert "torchrun: each fold is trained by one" in refusal(run, shared_corpus)


def test_an_experiment_s_folder_is_refused(run, shared_corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.csv").write_text("mine")
    assert "not of a cross-validation" in refusal(run, shared_corpus)


def test_wrong_csvs_are_refused(run, corpus):
    rows = read_csv(csv_of(corpus, "val"))
    rows[0]["uid"] = "s00_0"
    rows[1]["low"] = "2"
    write_csv(csv_of(corpus, "val"), rows)
    message = refusal(run, corpus)
    assert "val.csv" in message and "label_types" in message
    rows[1]["low"] = "1"
    write_csv(csv_of(corpus, "val"), rows)
    assert "1 uid in both: 's00_0'" in refusal(run, corpus)
    csv_of(corpus, "train").unlink()
    assert f"There is no {csv_of(corpus, 'train')}" in refusal(run, corpus)


def test_a_label_may_not_be_told_in_two_ways(run, corpus):
    """low would be empty in the rows of train.csv once both are one file."""
    rows = read_csv(csv_of(corpus, "train"))
    rows = [row | {"deep": row["low"]} for row in rows]
    for row in rows:
        del row["low"]
    write_csv(csv_of(corpus, "train"), rows)
    message = refusal(run, corpus, "--derived_labels={low: [deep]}")
    assert "give both files the same columns" in message


def test_weights_that_no_fold_could_start_from_are_refused(run, corpus, tmp_path):
    message = refusal(run, corpus, f"--pretrained={tmp_path / 'none'}")
    assert "none: there is no such folder" in message
    assert not (tmp_path / "out").exists()


def test_folds_that_go_on_need_no_weights_to_start_from(
    run, shared_corpus, tmp_path, monkeypatch
):
    weights = f"--pretrained={tmp_path / 'gone'}"
    with monkeypatch.context() as there:
        source = SimpleNamespace(check_fits=lambda *_: None)
        there.setattr(cross_validation, "find_source", lambda _: source)
        assert run(shared_corpus, weights) == 0
    assert run(shared_corpus, weights) == 0


def test_the_script_tells_what_is_wrong(tmp_path):
    result = run_script(
        "cross_validate.py", "hparams/train.yaml", "--n_folds=1", f"--study={tmp_path}"
    )
    assert "n_folds must be 2 or more, found 1" in failed(result)


# Signals, and two at once


@pytest.fixture
def stoppable():
    """Signals as in a terminal; a shell lets what it runs with & ignore SIGINT."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, of) for number, of in handlers.items()}
    yield handlers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_signals_reach_the_fold(
    run, shared_corpus, tmp_path, stoppable, number, status, capfd
):
    ready = tmp_path / "ready"
    script = tmp_path / "sleeping.py"
    script.write_text(
        f"open({str(ready)!r}, 'w').close(); import time; time.sleep(20); 1 / 0"
    )

    def interrupt():
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run(shared_corpus, script=str(script)) == status
    thread.join()
    assert signal.getsignal(number) == stoppable[number]
    assert f"status {status} in repeat 1, fold 1" in capfd.readouterr().err


def test_a_folder_is_claimed_by_one(run, shared_corpus, tmp_path):
    with claimed(tmp_path / "out"):
        assert "Another process works in" in refusal(run, shared_corpus)
    assert run(shared_corpus) == 0


# Several yamls


@pytest.fixture
def yamls(plain_yaml, tmp_path):
    """Makes yamls of these names; that of statistics learns nothing by gradients."""

    def make(*names, **changes):
        values = json.loads(json.dumps(plain_values(plain_yaml)))
        paths = []
        for name in names:
            own = values | ({"opt_class": None} if "statistics" in name else {})
            own |= changes.get(name, {})
            path = tmp_path / "yamls" / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            lines = [f"{k}: {json.dumps(v)}" for k, v in own.items() if v is not ...]
            path.write_text("\n".join(lines))
            paths.append(path)
        return paths

    return make


def comparison(folder):
    return json.loads((folder / "comparison.json").read_text())


def test_yamls_are_compared_on_the_same_folds(run, yamls, shared_corpus, tmp_path):
    files = yamls("statistics", "good")
    assert run(shared_corpus, "--n_folds=3", "--n_repeats=2", yaml=files) == 0
    out = tmp_path / "out"
    assert folds_of(out / "statistics", 2) == folds_of(out / "good", 2)
    found = comparison(out)
    assert list(found["labels"]) == list(LABELS)
    for label in LABELS:
        entry = found["labels"][label]
        for name in ("statistics", "good"):
            own = results(out / name)["labels"][label]["auroc"]
            assert entry[name] == {"auroc": own}
        difference = entry["differences"]["statistics - good"]
        values = [entry[name]["auroc"]["value"] for name in ("statistics", "good")]
        assert difference["value"] == pytest.approx(values[0] - values[1])
        assert difference["p_holm"] >= difference["p"]
        guessing = entry["differences"]["statistics - prevalence"]["value"]
        first = compared_within_folds(out / "statistics", label, 1)
        assert guessing == pytest.approx(first - 0.5)  # baselines: the first repeat's
    macro = found["macro"]
    assert macro["good"] == {"auroc": results(out / "good")["macro"]["auroc"]}
    families = {name: told["family"] for name, told in found["yamls"].items()}
    assert families == {"statistics": "statistics", "good": "from scratch"}
    assert found["recommended"] == "good"  # the others are not better than guessing
    assert found["reason"].startswith("good (from scratch): mean AUROC")
    chosen = found["pick_the_best"]["chosen"]
    assert [(c["repeat"], c["fold"]) for c in chosen[2:4]] == [
        (1, "fold 3"),
        (2, "fold 1"),
    ]
    assert {c["chosen"] for c in chosen} == {"good"}
    picked = found["pick_the_best"]["auroc"]
    assert picked == pytest.approx(macro["good"]["auroc"])
    assert (out / "report.html").is_file() and (
        out / "figures/differences.png"
    ).exists()


def test_a_withdrawal_makes_a_comparison_again(run, yamls, shared_corpus, tmp_path):
    out, names = tmp_path / "out", ("statistics", "good")
    assert run(shared_corpus, "--n_folds=2", yaml=yamls(*names)) == 0
    other = tmp_path / "other"
    assert with_parts([other, out]) == [other, *(out / name for name in names)]
    before = comparison(out)
    file = out / "comparison.json"
    file.write_text(json.dumps(before | {"n_subjects": 0}))
    folders = [out / name for name in names]
    to_be_done = {str(file): "to be rebuilt"}
    assert rebuild_comparisons(folders, dry_run=True) == to_be_done
    assert rebuild_comparisons(folders, dry_run=False) == {str(file): "rebuilt"}
    changed = comparison(out) | {"provenance": before["provenance"]}
    assert changed == before
    (out / "good" / "metrics.json").unlink()  # a fold has nobody left
    (how,) = rebuild_comparisons(folders, dry_run=False).values()
    assert how.startswith("removed") and not file.exists()
    assert not (out / "report.html").exists()


def test_a_rare_label_does_not_decide(run, yamls, corpus, tmp_path):
    """noisy has too few subjects for an interval, and so has the mean of all labels."""
    for name in ("train", "val"):
        rows = [
            row | {"noisy": int(row["subject"] in ("s02", "s05"))}
            for row in read_csv(csv_of(corpus, name))
        ]
        write_csv(csv_of(corpus, name), rows)
    assert run(corpus, "--n_folds=2", yaml=yamls("statistics", "good")) == 0
    found = comparison(tmp_path / "out")
    assert found["labels"]["noisy"]["good"]["auroc"]["low"] is None
    assert found["macro"]["good"]["auroc"]["low"] is None
    assert found["recommended"] == "good"
    (note,) = found["notes"]
    assert note.startswith("The recommendation is by low and loud: the other labels")


def compared_within_folds(folder, label, repeat):
    table = pd.read_csv(folder / "predictions.csv")
    own = table[(table["label"] == label) & table["target"].notna()]
    folds = own[own["repeat"] == repeat].groupby("split")
    return np.mean([roc_auc_score(f["target"], f["logit"]) for _, f in folds])


def test_options_go_to_the_yamls_that_have_the_key(
    run, yamls, shared_corpus, tmp_path, caplog
):
    caplog.set_level("INFO")
    files = yamls("statistics", "other", statistics={"lr": ...})
    assert run(shared_corpus, "--n_folds=2", "--lr", "0.1", yaml=files) == 0
    assert "--lr is a key of other.yaml only: the others do not" in caplog.text
    has = {n: calls(tmp_path / "out" / n)[1][0] for n in ("statistics", "other")}
    assert "--lr=0.1" in has["other"] and "--lr=0.1" not in has["statistics"]
    message = refusal(run, shared_corpus, "--lrr=0.1", yaml=files)
    assert "--lrr is neither a key" in message


def test_several_yamls_go_on(run, yamls, shared_corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDS", '{"fold_2": 7}')
    files, out = yamls("statistics", "good"), tmp_path / "out"
    assert run(shared_corpus, "--n_folds=2", yaml=files) == 7
    assert not (out / "good" / "repeat_1").exists()
    monkeypatch.delenv("ENDS")
    assert run(shared_corpus, "--n_folds=2", yaml=files) == 0
    assert calls(out / "statistics")[0] == [1, 2] and calls(out / "good")[0] == [1, 1]
    before = {name: snapshot(out / name) for name in ("statistics", "good")}
    times = [(out / n / "metrics.json").stat().st_mtime_ns for n in before]
    third = yamls("third")
    assert run(shared_corpus, "--n_folds=2", yaml=files + third) == 0
    assert {name: snapshot(out / name) for name in before} == before
    assert [(out / n / "metrics.json").stat().st_mtime_ns for n in before] == times
    assert list(comparison(out)["yamls"]) == ["statistics", "good", "third"]


def test_a_recording_that_one_yaml_could_not_use(
    run, yamls, shared_corpus, tmp_path, monkeypatch
):
    files, out = yamls("a", "b"), tmp_path / "out"
    assert run(shared_corpus, "--n_folds=2", yaml=files) == 0
    for path in (out / "b" / "repeat_1" / "fold_1").rglob("*.csv"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    (out / "b" / "metrics.json").unlink()
    manifest = out / "b/repeat_1/fold_1/save/manifests/test.csv"
    table = fold_tables(out / "a")[0]
    lines = manifest.read_text().splitlines(keepends=True)
    assert len(lines) == table["uid"].nunique() + 1 - 3
    predictions = out / "b/repeat_1/fold_1/predictions.csv"
    left = table[table["uid"].isin({line.split(",")[0] for line in lines})]
    left.to_csv(predictions, index=False)
    assert run(shared_corpus, "--n_folds=2", yaml=files) == 0
    found = comparison(out)
    note = "3 recordings that not all yamls could use: left out of the comparison."
    assert found["notes"][0] == note
    assert found["n_recordings"] == len(pooled(shared_corpus)) - 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 5}, "seed: 1986 in a, 5 in b"),
        ({"n_folds": 3}, "n_folds: 5 in a, 3 in b"),
        ({"disjoint_by": ["sex"]}, "disjoint_by: ['subject'] in a, ['sex'] in b"),
    ],
)
def test_yamls_that_would_have_other_folds_are_refused(
    run, yamls, shared_corpus, tmp_path, changes, expected
):
    message = refusal(run, shared_corpus, yaml=yamls("a", "b", b=changes))
    assert "can't be compared" in message and expected in message
    assert not (tmp_path / "out").exists()


def test_yamls_that_can_have_no_folders_are_refused(
    run, yamls, shared_corpus, tmp_path
):
    (a, b, taken) = yamls("a", "b", "recommended")
    again = tmp_path / "a.yaml"
    shutil.copy(a, again)
    assert "another one is called a, too" in refusal(
        run, shared_corpus, yaml=[a, again]
    )
    assert "recommended" in refusal(run, shared_corpus, yaml=[a, taken])
    assert "there is no nowhere.yaml" in refusal(
        run, shared_corpus, yaml=[a, "nowhere.yaml"]
    )
    message = refusal(cross_validate.main, [str(a), str(b), "--corpus_folder=x"])
    assert "Several yamls need --output_folder=DIR" in message
    assert run(shared_corpus, "--n_folds=2", yaml=a) == 0
    assert "holds results of one yaml" in refusal(run, shared_corpus, yaml=[a, b])


@pytest.mark.parametrize("names", [["statistics", "good"], ["good"]])
def test_the_recommended_yaml_is_trained_on_all(
    run, yamls, shared_corpus, tmp_path, names
):
    out, options = tmp_path / "out", ("--n_folds=2", "--fit_recommended=True")
    files = yamls(*names)
    assert run(shared_corpus, *options, yaml=files) == 0
    (line,) = (out / "recommended" / "calls").read_text().splitlines()
    line = json.loads(line)
    assert Path(line[0]) == files[-1]
    given = dict(a[2:].split("=", 1) for a in line if "=" in a)
    assert given["corpus_folder"] == str(shared_corpus)
    own = out / "good" if len(names) > 1 else out
    assert given["cross_fitted_csv"] == str(own / "predictions.csv")
    assert run(shared_corpus, *options, yaml=files) == 0
    assert len((out / "recommended" / "calls").read_text().splitlines()) == 1


def test_without_test_csv_nothing_can_be_fitted(run, yamls, corpus, tmp_path):
    csv_of(corpus, "test").unlink()
    message = refusal(run, corpus, "--fit_recommended=True", yaml=yamls("a", "b"))
    assert "fit_recommended: there is no" in message and "test.csv" in message
    assert not (tmp_path / "out").exists()


# With train.py itself

#: train.py, but in fold 2 the process is killed without warning in the first epoch.
DEADLY = """
import os, signal, sys
import train
from local.utils import cli
from local.training.brain import ClinicalBrain

fit_batch = ClinicalBrain.fit_batch

def deadly_fit_batch(self, batch):
    if self.step == 2 and sys.argv[-1].endswith("fold_2"):
        os.kill(os.getpid(), signal.SIGKILL)
    return fit_batch(self, batch)

ClinicalBrain.fit_batch = deadly_fit_batch
cli.run(train.main)
"""


@pytest.mark.unmeasured
def test_a_killed_run_ends_like_an_undisturbed_one(run, tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    csv_of(corpus, "test").unlink()
    deadly = tmp_path / "deadly.py"
    deadly.write_text(DEADLY)

    options = ("--n_folds=2", *SMALL, "--number_of_epochs=1", "--audit=False")
    real = {"script": str(ROOT / "train.py"), "yaml": TRAIN_YAML}
    kill = real | {"script": str(deadly)}
    assert run(corpus, *options, **kill) == 137
    repeat = tmp_path / "out" / "repeat_1"
    first = snapshot(repeat / "fold_1")
    assert first and not (repeat / "fold_2" / "metrics.json").exists()
    assert run(corpus, *options, **real) == 0
    names = ("predictions.csv", "metrics.json", "repeat_1/fold_2/predictions.csv")
    killed = [(tmp_path / "out" / name).read_bytes() for name in names]
    shutil.rmtree(repeat / "fold_2")
    assert run(corpus, *options, **real) == 0
    assert [(tmp_path / "out" / name).read_bytes() for name in names] == killed
    assert snapshot(repeat / "fold_1") == first
    uids = [row["uid"] for row in read_csv(tmp_path / "out" / "predictions.csv")]
    assert sorted(uids) == sorted(uid for uid in pooled(corpus) for _ in LABELS)
