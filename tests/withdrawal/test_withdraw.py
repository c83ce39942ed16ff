"""After a withdrawal nothing of a person is left, and results are without them."""

import json
import math
import re
import shutil
import signal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, make_corpus, read_csv, write_csv
from running import (
    FAST,
    FULL,
    ROOT,
    evaluate,
    extract,
    failed,
    run_script,
    succeeded,
    train,
)

from local.data.feature_cache import FeatureCache
from local.data.predictions_table import read_predictions, write_predictions
from local.data.pseudonyms import Pseudonyms
from local.evaluation.in_range import selective
from local.evaluation.operating_points import read_operating_points
from local.evaluation.out_of_fold import evaluate_repeats, out_of_fold
from local.inference.extraction import embeddings_table
from local.metrics import split_metrics
from local.report import writing
from local.storage.gcs import Address, Cache, RemoteObject
from local.training.evaluation_settings import EvaluationSettings
from local.utils.errors import UserError
from local.utils.keys import KEYS
from local.utils.yaml_files import plain_values
from local.withdrawal import rebuild
from local.withdrawal import withdraw as withdrawal
from local.withdrawal.data_subject import Person
from local.withdrawal.result_folders import LEARNED_FROM, ResultFolder, Trained
from local.withdrawal.under_way import under_way

#: Of the training split, of validation, of test.
TRAINED, VALIDATED, TESTED = "s00", "s09", "s12"


def withdraw(*options, **kwargs):
    return run_script("withdraw.py", *options, **kwargs)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All that commands leave: an experiment with reports, embeddings."""
    folder = tmp_path_factory.mktemp("withdrawal")
    corpus = make_corpus(folder / "corpus")
    (corpus / "audio/s12_1/waveform.wav").write_bytes(b"")
    experiment = folder / "experiment"
    succeeded(train(corpus, experiment, *FULL), status=3)
    valid = f"--split_csv={experiment / 'save/manifests/valid.csv'}"
    succeeded(evaluate(experiment, valid, *FAST))
    csv = f"--split_csv={corpus / 'splits/test.csv'}"
    succeeded(extract(experiment, experiment / "embeddings.parquet", csv), status=3)
    return folder


@pytest.fixture
def own(made, tmp_path):
    """A copy of all that, to be changed."""
    shutil.copytree(made, tmp_path / "own")
    folder = tmp_path / "own"
    for name in ("hyperparams.yaml", "save/manifests/preparation.json"):
        file = folder / "experiment" / name
        file.write_text(file.read_text().replace(str(made), str(folder)))
    return folder


@pytest.fixture
def plain(own):
    """The same without what takes longest to be made again: audit and report."""
    experiment = own / "experiment"
    (experiment / "audit.json").write_text('{"reason": "audit: False"}')
    (experiment / "report.html").unlink()
    return own


def everything(folder, *others):
    return (
        f"--corpus_folder={folder / 'corpus'}",
        f"--experiment_folder={folder / 'experiment'}",
        *others,
    )


def files_naming(folder, names):
    """Files below a folder that hold one of these names, whole words outside base64."""
    words = "|".join(map(re.escape, names))
    pattern = re.compile(rf"(?<![A-Za-z0-9+/])(?:{words})(?![A-Za-z0-9+/])")
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and pattern.search(text_of(file))
    }


def text_of(file):
    if file.suffix == ".parquet":  # compressed
        return str(pq.read_table(file).to_pylist())
    return file.read_bytes().decode("utf-8", "replace")


def content(folder):
    return {
        file.relative_to(folder): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_tested_person_leaves_nothing_and_results_are_without_them(own):
    experiment, names = own / "experiment", (TESTED, f"{TESTED}_0", f"{TESTED}_1")
    before = read_predictions(experiment / "predictions.csv")
    held = files_naming(experiment, names)
    assert {"predictions.csv", "failed.csv", "report.html"} <= held
    assert {"embeddings.parquet", "save/measurements/test.parquet"} <= held
    assert "baselines/prevalence.csv" in held
    shutil.rmtree(own / "corpus/audio/s12_0")  # its owner was faster
    known_range = (experiment / "save/training_range.json").read_bytes()
    features = FeatureCache(experiment / "save/features")
    n_kept = len([*features.folder.glob("*.npz")])
    assert features.keeps(names) == 1  # the other one is damaged

    result = succeeded(withdraw(f"--subject={TESTED}", *everything(own)))

    assert files_naming(experiment, names) == set()
    assert features.keeps(names) == 0
    assert len([*features.folder.glob("*.npz")]) == n_kept - 1
    assert f"{features.folder}: features of 1 recording" in result.stdout
    assert "No checkpoint in these folders learned from them." in result.stdout
    assert "added" in result.stdout and "spelt" not in result.stdout
    excluded = own / "corpus/excluded_subjects.txt"
    assert excluded.read_text() == f"{TESTED}\n"
    assert (own / "corpus/audio/s12_1").is_dir()  # recordings are left to people
    assert f"{own / 'corpus/audio/s12_1'}: the recording itself" in result.stdout

    after = read_predictions(experiment / "predictions.csv")
    kept = before[before["subject"] != TESTED].reset_index(drop=True)
    pd.testing.assert_frame_equal(after, kept)
    found = json.loads((experiment / "metrics.json").read_text())
    again = split_metrics.evaluate_predictions(
        kept,
        LABELS,
        found["checkpoint"],
        operating_points=read_operating_points(experiment),
        decision_thresholds=[0.05, 0.1, 0.2, 0.3, 0.5],
        prevalences=[0.05, 0.2],
    )
    assert found["n_test_evaluations"] == 1
    assert found["selective"]["n"] == 6 and found["selective"] == selective(kept)
    # which nobody of the test split has a part in
    assert (experiment / "save/training_range.json").read_bytes() == known_range
    assert [of.pop("n_divided") for of in found["labels"].values()] == [None] * 3
    for key in ("n_recordings", "n_subjects", "labels", "macro", "per_subject"):
        assert found[key] == json.loads(json.dumps(again[key])), key
    audit = json.loads((experiment / "audit.json").read_text())
    assert audit["label_shares"]["test"]["low"]["n"] == 6  # of s11, s13 and s14
    assert audit["labels"]["low"]["status"]  # by what was measured of the others
    assert audit["measured"]["test"]["n_measured"] == 6
    assert audit["shared_subjects"] == []
    assert found["baselines"]["prevalence"]["labels"]["low"]["auroc"]["value"] == 0.5
    beside = read_predictions(experiment / "baselines/prevalence.csv")
    assert beside["uid"].tolist() == kept["uid"].tolist()
    page = (experiment / "report.html").read_text()
    assert len(page) > 10_000 and "were made again from their predictions" in page
    assert not (experiment / "figures/errors.png").exists()
    assert "withdraw.py" in page


def test_those_that_were_learned_from_are_listed_and_training_does_not_go_on(plain):
    experiment = plain / "experiment"
    (checkpoint,) = (experiment / "save").glob("CKPT*")
    weights = content(checkpoint)
    result = succeeded(
        withdraw(f"--subject={TRAINED},{VALIDATED}", *everything(plain))
    ).stdout
    assert f"{checkpoint}: trained on them" in result
    assert f"{checkpoint}: not trained on them, but its best epoch" in result
    assert "save/operating_points.json (thresholds), save/training_range.json" in result
    assert content(checkpoint) == weights
    names = [f"{of}_{take}" for of in (TRAINED, VALIDATED) for take in (0, 1)]
    # they are still listed when the next one withdraws
    told = succeeded(withdraw(f"--subject={TESTED}", *everything(plain), "--dry_run"))
    assert f"{checkpoint}: trained on people who were withdrawn" in told.stdout
    assert files_naming(experiment, names) == set()
    rows = read_csv(experiment / "evaluation/valid/predictions.csv")
    assert {row["subject"] for row in rows} == {"s08", "s10"}
    csv = json.loads((experiment / "evaluation/valid/scored_csv.json").read_text())
    assert csv["name"] == "valid.csv"
    assert not (experiment / "evaluation/valid/report.html").exists()
    # the split that is scored was not theirs, and is what it was
    assert {row["subject"] for row in read_csv(experiment / "predictions.csv")} == {
        *("s11", "s12", "s13", "s14")
    }
    # what is left of the experiment still works
    succeeded(evaluate(experiment, *FAST), status=3)  # s12_1 is empty
    message = failed(train(plain / "corpus", experiment, *FULL))
    assert "Consent was withdrawn" in message and "--output_folder" in message


def test_a_dry_run_changes_nothing_and_a_second_run_finds_nothing(plain):
    before = content(plain)
    options = (f"--subject={TESTED}", *everything(plain))
    told = succeeded(withdraw(*options, "--dry_run")).stdout
    assert content(plain) == before
    assert "Nothing was changed" in told and "predictions.csv: 3 rows" in told
    succeeded(withdraw(*options))
    after = content(plain)
    again = succeeded(withdraw(*options)).stdout
    assert content(plain) == after and "rebuilt" not in again


#: withdraw.py, killed while it writes new results, before they replace the old.
KILLED = """
import os, signal, sys
import withdraw
from local.report import writing

def deadly(*_):
    os.kill(os.getpid(), signal.SIGKILL)

writing.write_report = deadly
withdraw.main(sys.argv[1:])
"""


def test_a_withdrawal_that_was_killed_goes_on(own, tmp_path):
    options = (f"--subject={TESTED}", *everything(own))
    deadly = tmp_path / "deadly.py"
    deadly.write_text(KILLED)
    result = run_script(deadly, *options)
    assert result.returncode == -signal.SIGKILL
    experiment, names = own / "experiment", (TESTED, f"{TESTED}_0", f"{TESTED}_1")
    assert "save/manifests/test.csv" in files_naming(experiment, names)
    succeeded(withdraw(*options))
    assert files_naming(experiment, names) == set()
    assert (experiment / "metrics.json").exists()
    assert (experiment / "report.html").exists()


def test_a_withdrawal_that_was_stopped_tells_what_it_had_found(plain):
    """All but the mark may have been done."""
    experiment = plain / "experiment"
    options = f"--subject={TRAINED}", f"--experiment_folder={experiment}"
    told = succeeded(withdraw(*options)).stdout
    assert f"'{TRAINED}' was found" in failed(withdraw(*options))
    (checkpoint,) = (experiment / "save").glob("CKPT*")
    found = [Trained(checkpoint, LEARNED_FROM["train"])]
    with pytest.raises(KeyboardInterrupt), under_way([experiment], {TRAINED}, found):
        raise KeyboardInterrupt
    learned = f"{checkpoint}: trained on them"
    assert learned in told and learned in succeeded(withdraw(*options)).stdout
    assert not (experiment / ".withdrawing").exists()

    (experiment / ".withdrawing").write_text("[]")
    assert "withdraw again" in failed(withdraw(*options))


def test_without_the_others_recordings_and_without_the_corpus(own):
    """Recordings and checkpoint are gone: neither is needed."""
    experiment = own / "experiment"
    shutil.rmtree(own / "corpus")
    shutil.rmtree(next((experiment / "save").glob("CKPT*")))
    result = withdraw(f"--subject={TESTED}", f"--experiment_folder={experiment}")
    assert f"{experiment}: rebuilt\n" in succeeded(result).stdout
    assert files_naming(experiment, (TESTED,)) == set()
    found = json.loads((experiment / "metrics.json").read_text())
    assert (found["n_recordings"], found["n_subjects"]) == (6, 3)


def test_whom_nobody_knows(own):
    before = content(own)
    message = failed(withdraw("--subject=s99", *everything(own)))
    assert "'s99' was found" in message and str(own / "experiment") in message
    message = failed(
        withdraw(
            f"--subject={TESTED}",
            *everything(own, str(own / "corpus")),
            f"--embeddings={own / 'none.parquet'}",
        )
    )
    assert f"{own / 'corpus'} is no experiment" in message
    assert f"{own / 'none.parquet'} is no embeddings file" in message
    assert content(own) == before


# Parts


def test_embeddings_lose_rows_and_count_the_others_anew(tmp_path):
    """Of five recordings the second and the last were cut into windows."""
    uids = ["a", "b", "c", "d", "e"]
    vectors = {uid: [i, i] for i, uid in enumerate(uids) if uid != "d"}
    table = embeddings_table(uids, vectors, 2)
    about = {"checkpoint": "CKPT", "windowed": json.dumps({"rows": [1, 4], "x": 5})}
    file = tmp_path / "e.parquet"
    pq.write_table(table.replace_schema_metadata(about), file)
    (tmp_path / "e.parquet.parts").mkdir()
    part = tmp_path / "e.parquet.parts/part-000000.parquet"
    pq.write_table(table, part)
    write_csv(tmp_path / "e.parquet.failed.csv", [{"uid": "d", "reason": "silent"}])
    person = Person({"p"}, uids={"a", "d"})
    found = withdrawal.clean_embeddings(file, person, dry_run=False)
    assert list(found.values()) == [2, 2, 1]
    left = pq.read_table(file)
    assert left["uid"].to_pylist() == ["b", "c", "e"]
    assert left["embedding"].to_pylist() == [[1, 1], [2, 2], [4, 4]]
    assert left.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    assert left.schema.metadata[b"checkpoint"] == b"CKPT"
    assert json.loads(left.schema.metadata[b"windowed"]) == {"rows": [0, 2], "x": 5}
    assert pq.read_table(part)["uid"].to_pylist() == ["b", "c", "e"]
    assert read_csv(tmp_path / "e.parquet.failed.csv") == []


def test_copies_of_a_bucket_go_by_their_folder(tmp_path):
    """Of an object that is in no bucket any more, and of a snapshot of CSVs."""
    cache = Cache(tmp_path / "cache")
    for name in ("r1", "r2"):
        remote = RemoteObject("clinic", f"audio/{name}/waveform.wav", 7, 1, "AAAAAA==")
        cache.path(remote).parent.mkdir(parents=True)
        cache.path(remote).write_bytes(b"x")
    (cache.folder / "snapshots/1").mkdir(parents=True)
    (cache.folder / "snapshots/1/train.csv").write_text("uid,subject\nr1,p1\n")
    person = Person({"p1"}, uids={"u1"}, recordings={"r1", "never copied"})
    places = ["gs://clinic/audio"]
    for dry_run in (True, False):
        n = withdrawal.clean_audio_cache(cache.folder, person, places, dry_run)
        assert n == 1
    audio = Address.parse("gs://clinic/audio")
    assert not cache.keeps(audio / "r1") and cache.keeps(audio / "r2")
    assert files_naming(cache.folder, ("p1",)) == set()


def test_the_subject_decides_where_a_table_names_it():
    """Another corpus may have called somebody else's recording the same."""
    person = Person({"p1"}, uids={"r1"})
    table = pd.DataFrame({"uid": ["r1", "r1", "r2"], "subject": ["p2", "", "p1"]})
    assert person.has(table).tolist() == [False, True, True]
    assert person.has(table[["uid"]]).tolist() == [True, True, False]


def test_a_list_of_exclusions_in_another_encoding(tmp_path):
    path = tmp_path / "excluded_subjects.txt"
    path.write_text("p1\n", encoding="utf-16")
    assert withdrawal.exclude(tmp_path, {"p2"}, dry_run=False) == ["p2"]
    assert path.read_text() == "p1\np2\n"


def test_a_list_of_exclusions_keeps_its_lines(tmp_path):
    path = tmp_path / "excluded_subjects.txt"
    path.write_bytes("\ufeffp1\r\np2".encode())
    assert withdrawal.exclude(tmp_path, {"p2", "p3"}, dry_run=True) == ["p3"]
    assert withdrawal.exclude(tmp_path, {"p2", "p3"}, dry_run=False) == ["p3"]
    assert path.read_text() == "p1\np2\np3\n"


# Results of which no experiment is known


def predicted(subjects, split, pseudonyms=None):
    """A table of predictions: two recordings and one label of each subject."""
    rows = [
        {
            "uid": f"{subject}_{take}",
            "subject": subject,
            "label": "slow",
            "target": take,
            "logit": take - 0.25 * n,
            "probability": 1 / (1 + math.exp(0.25 * n - take)),
            "session": "",
            "split": split,
            "predicted": None,
        }
        for n, subject in enumerate(subjects)
        for take in (0, 1)
    ]
    table = pd.DataFrame(rows).astype({"predicted": "Int8", "target": float})
    if pseudonyms:
        table["uid"] = table["uid"].map(pseudonyms.uid)
        table["subject"] = table["subject"].map(pseudonyms.subject)
    return table


def test_a_cross_validation_is_put_together_again(tmp_path):
    folds = (["ann", "bob"], ["cy", "dee"])
    values = plain_values(ROOT / "hparams" / "train.yaml")
    values = {key: values[key] for key in KEYS if key in values}
    values |= {"label_groups": [["slow"]], "report": False, "audit": False}
    record = json.dumps({"settings": values, "inputs": {}})
    (tmp_path / "cross_validation.json").write_text(record)
    for number, subjects in enumerate(folds, start=1):
        folder = tmp_path / f"repeat_1/fold_{number}"
        folder.mkdir(parents=True)
        table = predicted(subjects, "test")
        write_predictions(table, folder / "predictions.csv")
        counts = {"n_recordings": 4, "n_subjects": 2, "labels": {}}
        macro = {"macro": {"auroc": {"value": None}}}
        (folder / "metrics.json").write_text(json.dumps(counts | macro))
        (folder / "hyperparams.yaml").write_text(json.dumps(values))
        rows = [
            {"ID": row.uid, "subject": row.subject, "session": "", "slow": row.target}
            for row in table.itertuples()
        ]
        write_csv(folder / "save/manifests/test.csv", rows)
        rows = [{"uid": f"{of}_0", "subject": of} for fold in folds for of in fold]
        write_csv(tmp_path / f"splits/repeat_1_fold_{number}/train.csv", rows)
    unit, person = ResultFolder(tmp_path), Person({"bob"})
    evaluation = EvaluationSettings(audit=False, report=False)
    repeats = [out_of_fold(runs, evaluation, [], []) for runs in unit.runs()]
    writing.write_results(evaluate_repeats(repeats, unit.runs()), tmp_path)
    assert withdrawal.learn_experiment(person, tmp_path) > 0
    unit.clean(person, dry_run=False)
    assert files_naming(tmp_path, ("bob", "bob_0", "bob_1")) == set()
    merged = read_predictions(tmp_path / "predictions.csv")
    assert list(dict.fromkeys(merged["subject"])) == ["ann", "cy", "dee"]
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert (found["n_recordings"], found["n_subjects"]) == (6, 3)
    assert [fold["n_subjects"] for fold in found["folds"]] == [1, 2]
    unit.clean(Person({"ann"}, uids={"ann_0", "ann_1"}), dry_run=False)
    assert not (tmp_path / "metrics.json").exists()  # a fold has nobody left


def test_pseudonymised_results_need_the_key(tmp_path):
    pseudonyms = Pseudonyms(bytes(range(16)))
    table = predicted(["ann", "bob"], "test", pseudonyms)
    write_predictions(table, tmp_path / "predictions.csv")
    unit, person = ResultFolder(tmp_path), Person({"bob"})
    with pytest.raises(UserError, match="--pseudonymise_key"):
        withdrawal.check_readable(person, [tmp_path], [])
    wrong = Person({"bob"}, Pseudonyms(bytes(16)))
    with pytest.raises(UserError, match="Nobody who is known here"):
        withdrawal.check_readable(wrong, [tmp_path], [])
    person = Person({"bob"}, pseudonyms)
    withdrawal.check_readable(person, [tmp_path], [])
    assert withdrawal.learn_experiment(person, tmp_path) == 2
    unit.clean(person, dry_run=False)
    left = read_predictions(tmp_path / "predictions.csv")
    assert left["subject"].unique().tolist() == [pseudonyms.subject("ann")]


def test_other_keys_are_found_out_by_the_manifests(tmp_path):
    """The person is in none of the results."""
    pseudonyms = Pseudonyms(bytes(range(16)))
    write_predictions(
        predicted(["ann", "cy"], "test", pseudonyms), tmp_path / "predictions.csv"
    )
    rows = [{"uid": "ann_0", "subject": "ann"}, {"uid": "bob_0", "subject": "bob"}]
    write_csv(tmp_path / "corpus/splits/train.csv", rows)
    known = [tmp_path], [], str(tmp_path / "corpus")
    withdrawal.check_readable(Person({"bob"}, pseudonyms), *known)
    with pytest.raises(UserError, match=r"predictions\.csv"):
        withdrawal.check_readable(Person({"bob"}, Pseudonyms(bytes(16))), *known)


def test_what_macos_leaves_ends_no_withdrawal(tmp_path):
    left = b"\0\5\x16\7\0\2\0\0Mac OS X \xe9"
    rows = [{"uid": "bob_0", "subject": "bob"}]
    write_csv(tmp_path / "corpus/splits/train.csv", rows)
    experiment = tmp_path / "e"
    manifests = experiment / "save/manifests"
    write_csv(manifests / "train.csv", rows)
    (manifests / "preparation.json").write_text('{"failed": [], "notes": []}')
    table = embeddings_table(["bob_0", "ann_0"], {}, 2)
    pq.write_table(table, experiment / "e.parquet")
    places = ("corpus/splits/._train.csv", "e/save/manifests/._train.csv")
    for name in (*places, "e/._e.parquet", "corpus/splits/notes.csv"):
        (tmp_path / name).write_bytes(left)
    person = Person({"bob"})
    corpus = str(tmp_path / "corpus")
    storage = withdrawal.corpus_storage(tmp_path / "cache")
    assert withdrawal.learn_corpus(person, corpus, storage) == 1
    withdrawal.check_readable(person, [experiment], [], corpus)
    unit = ResultFolder(experiment)
    unit.experiments = [experiment]  # without a yaml
    unit.clean(person, dry_run=False)
    assert read_csv(manifests / "train.csv") == []
    assert pq.read_table(experiment / "e.parquet")["uid"].to_pylist() == ["ann_0"]


def test_other_spellings_are_the_same_person():
    """As for excluded_subjects.txt, which keeps all of them from later runs."""
    person = Person({"s03"})
    cells = {"uid": ["a", "b", "c"], "subject": ["S3", "s03", "s30"]}
    assert person.learn(pd.DataFrame(cells)) == 2
    assert person.uids == {"a", "b"} and person.subjects == {"s03", "S3"}


def test_what_killed_runs_left_is_finished_or_removed(tmp_path):
    for name in ("exp/evaluation/val/.begun", "exp/evaluation/old/.complete"):
        write_predictions(
            predicted(["ann", "bob"], "val"), tmp_path / name / "predictions.csv"
        )
    complete = tmp_path / "exp/evaluation/old/.complete"
    (complete / "moves.json").write_text('{"move": ["predictions.csv"]}')
    parts = tmp_path / "e.parquet.parts"
    parts.mkdir()
    for folder in (tmp_path / "exp/evaluation/val", parts):
        (folder / ".0123456789abcdef.tmp").write_text("bob")
    unit = ResultFolder(tmp_path / "exp")
    assert {place.name for place in unit.places()} == {"val", "old"}
    unit.clear()
    withdrawal.clean_embeddings(tmp_path / "e.parquet", Person({"bob"}), dry_run=False)
    assert {
        str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()
    } == {"exp/evaluation/old/predictions.csv"}


def test_an_evaluation_of_nobody_else_is_removed(tmp_path):
    write_predictions(predicted(["bob"], "test"), tmp_path / "predictions.csv")
    (tmp_path / "report.html").write_text("bob")
    (tmp_path / "metrics.json").write_text("{}")
    done = ResultFolder(tmp_path).clean(Person({"bob"}), dry_run=False)
    assert list(done.values()) == [rebuild.EMPTY]
    assert list(tmp_path.iterdir()) == []


def test_the_thresholds_and_the_calibration_stay(tmp_path):
    """Of an evaluation whose experiment is not known: they are in its metrics."""
    threshold = {"value": 0.4, "rule": "youden", "source": "validation"}
    threshold["n_positive_subjects"] = 12
    calibration = {"kind": "platt", "slope": 2.0, "intercept": 0.5}
    table = predicted(["ann", "bob", "cy"], "test")
    table["predicted"] = (table["probability"] >= 0.4).astype("Int8")
    write_predictions(table, tmp_path / "predictions.csv")
    measures = {"threshold": threshold, "calibration": calibration}
    before = {"checkpoint": "CKPT+1", "labels": {"slow": measures}}
    (tmp_path / "metrics.json").write_text(json.dumps(before))
    write_csv(tmp_path / "failed.csv", [{"uid": "dee_0", "reason": "x is silent: 0"}])
    done = ResultFolder(tmp_path).clean(Person({"bob"}), dry_run=False)
    assert list(done.values()) == [rebuild.REBUILT]
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["checkpoint"] == "CKPT+1" and found["n_subjects"] == 2
    assert found["labels"]["slow"]["threshold"] == threshold
    assert found["labels"]["slow"]["calibration"] == calibration
    left = table[table["subject"] != "bob"].reset_index(drop=True)
    after = read_predictions(tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(after, left)  # calibrated once, and not again
    assert [row["uid"] for row in read_csv(tmp_path / "failed.csv")] == ["dee_0"]
    assert not (tmp_path / "report.html").exists()  # there was none


def test_a_report_that_can_not_be_rebuilt_is_removed(tmp_path, monkeypatch):
    """The disk is full when the report is written."""

    def fails(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(writing, "write_report", fails)
    write_predictions(predicted(["ann", "bob"], "test"), tmp_path / "predictions.csv")
    (tmp_path / "report.html").write_text("bob")
    (tmp_path / "metrics.json").write_text("{}")
    done = ResultFolder(tmp_path).clean(Person({"bob"}), dry_run=False)
    assert list(done.values()) == [rebuild.REMOVED]
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.csv"]
    assert files_naming(tmp_path, ("bob", "bob_0")) == set()


def test_a_report_of_which_a_part_fails_is_told(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("broken")

    monkeypatch.setattr("local.report.writing.write_model_card", broken)
    write_predictions(predicted(["ann", "bob"], "test"), tmp_path / "predictions.csv")
    (tmp_path / "metrics.json").write_text("{}")
    done = ResultFolder(tmp_path).clean(Person({"bob"}), dry_run=False)
    assert list(done.values()) == [rebuild.IN_PART]
    assert not (tmp_path / "model_card.md").exists()
    assert (tmp_path / "report.html").exists()
    assert files_naming(tmp_path, ("bob", "bob_0")) == set()
