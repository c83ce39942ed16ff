"""The commands with every input in a bucket, and results copied to one."""

import contextlib
import json
import os
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import read_csv, user_error, write_csv
from running import (
    FAST,
    ROOT,
    SMALL,
    Started,
    evaluate,
    extract,
    failed,
    run_script,
    succeeded,
    train,
)
from speechbrain.utils.run_opts import RunOptions

import export
from local.data.saved_preparations import save_preparation
from local.inference.classifier import ClinicalClassifier
from local.inference.export import folder as export_folder
from local.storage.experiment_files import MANIFESTS
from local.training.experiment import open_experiment
from local.training.planning import plan_training
from local.utils import cli

pytest_plugins = ["gcs_server"]

BUCKET = "hospital"
CORPUS = f"gs://{BUCKET}/study A/corpus"
N_RECORDINGS = 30
N_OBJECTS = 2 * N_RECORDINGS


@pytest.fixture
def local_run(shared_experiment):
    """An experiment trained on local files."""
    return shared_experiment


@pytest.fixture
def bucket(gcs, shared_corpus):
    """The bucket server with the corpus in it."""
    gcs.put(BUCKET, shared_corpus, "study A/corpus")
    return gcs


@pytest.fixture
def cache(tmp_path):
    """An empty cache's option."""
    return f"--audio_cache={tmp_path / 'cache'}"


def evaluate_into(output_folder, experiment, *options):
    """Run evaluate.py on an experiment, without what takes longest."""
    place = f"--output_folder={output_folder}"
    return evaluate(experiment, place, *FAST, *options)


def planned(corpus, folder, *options):
    """What train.py does before it builds a model, in this process."""
    arguments = [str(ROOT / "hparams/train.yaml"), f"--output_folder={folder}"]
    arguments += [f"--corpus_folder={corpus}", *SMALL, *options]
    return plan_training(cli.parse_arguments(arguments))


def opened(experiment, cache):
    """What evaluate.py does first, in this process."""
    options = {"experiment_folder": experiment, "audio_cache": cache.partition("=")[2]}
    return open_experiment(options, RunOptions(device="cpu"))


def tree(folder):
    """Content by name of the files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def below(gcs, bucket, prefix):
    """Content by name of the objects below a prefix."""
    found = gcs.objects(bucket)
    return {
        name.removeprefix(f"{prefix}/"): content
        for name, content in found.items()
        if name.startswith(f"{prefix}/")
    }


# From end to end


def test_an_experiment_in_a_bucket_is_exported(gcs, local_run, tmp_path, monkeypatch):
    """All but model.onnx, which takes half a minute, and the first look at the rest."""
    monkeypatch.setattr(export_folder, "write_and_check_onnx", lambda *_: None)
    monkeypatch.setattr(export_folder, "check_folder", lambda *_: 0.0)
    gcs.put("results", local_run, "runs/1")
    place = "gs://results/runs/1"
    options = [f"--experiment_folder={place}", f"--audio_cache={tmp_path / 'cache'}"]
    export.main([*options, f"--output_folder={tmp_path / 'out'}"])
    assert place not in (tmp_path / "out" / "hyperparams.yaml").read_text()
    options = {"run_opts": {"device": "cpu"}}
    theirs, ours = (
        ClinicalClassifier.from_hparams(folder, **options)
        for folder in (tmp_path / "out", local_run)
    )
    waveform = torch.randn(8000, generator=torch.Generator().manual_seed(1))
    found, expected = (of.encode_batch(waveform) for of in (theirs, ours))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_everything_in_buckets_gives_what_local_files_give(
    bucket, local_run, shared_corpus, tmp_path, cache
):
    bucket.create_bucket("results")
    folder, uploaded = tmp_path / "out", "gs://results/runs/1"
    succeeded(
        train(CORPUS, folder, cache, f"--upload_to={uploaded}", "--num_workers=1")
    )
    scores = (folder / "predictions.csv").read_bytes()
    assert scores == (local_run / "predictions.csv").read_bytes()
    assert len(read_csv(folder / "predictions.csv")) == 8 * 3
    # the CSVs and labels.txt; nothing is asked one by one but for labels.txt and two
    # places of excluded_subjects.txt, which is one here; listings are of recordings,
    # CSVs and, of `upload_to`, before preparation, before training and at each upload
    assert bucket.proxy.requests["download"] == N_OBJECTS + 3 + 1
    assert bucket.proxy.requests["stat"] == 2
    data = [path for path in bucket.proxy.paths if "hospital/o?" in path]
    assert sum("prefix=" in path for path in data) == 2
    assert below(bucket, "results", "runs/1") == tree(folder)

    evaluated = ["--split_csv={}/splits/val.csv", "--data_folder={}/audio/"]
    for experiment, corpus, name in (
        (folder, shared_corpus, "there"),
        (uploaded, CORPUS, "here"),
    ):
        options = [option.format(corpus) for option in evaluated]
        upload = f"--upload_to=gs://results/{name}"
        succeeded(evaluate_into(tmp_path / name, experiment, cache, upload, *options))
        file = tmp_path / f"{name}.parquet"
        succeeded(extract(experiment, file, cache, upload, *options))
    names = ["predictions.csv", "metrics.json"]
    for name in names:
        here = (tmp_path / "here" / name).read_bytes()
        assert here == (tmp_path / "there" / name).read_bytes()
    # the range of the training came with the experiment
    metrics = json.loads((tmp_path / "here/metrics.json").read_text())
    assert metrics["selective"]["n"] == 6
    here = (tmp_path / "here.parquet").read_bytes()
    assert here == (tmp_path / "there.parquet").read_bytes()
    assert pq.read_table(tmp_path / "here.parquet").num_rows == 6

    copied = below(bucket, "results", "here")
    assert copied.pop("here.parquet") == here
    assert copied == tree(tmp_path / "here")


def test_an_experiments_own_test_split_comes_from_its_bucket(
    bucket, local_run, tmp_path
):
    bucket.put("results", local_run, "mine")
    script = (ROOT / "evaluate.py", ROOT / "hparams/evaluate.yaml", *FAST)
    place = "--experiment_folder=gs://results/mine/"
    succeeded(run_script(*script, place, folder=tmp_path))
    # where nothing is said: below the working folder, by bucket and name
    scored = tmp_path / "results" / "results" / "mine" / "evaluation" / "test"
    assert (scored / "predictions.csv").read_bytes() == (
        local_run / "predictions.csv"
    ).read_bytes()
    cache = tmp_path / "audio_cache"
    assert cache.stat().st_mode & 0o777 == 0o700
    # what evaluation does not need stays where it is
    names = {path.name for path in (cache / "snapshots").rglob("*") if path.is_file()}
    assert "hyperparams.yaml" in names and "CKPT.yaml" in names
    assert not names & {"log.txt", "predictions.csv", "roc.png"}


# The cache


def test_a_second_run_downloads_what_changed(bucket, tmp_path, cache):
    def peaks():
        manifest = planned(CORPUS, tmp_path / "out", cache).preparation.manifests
        return manifest["test"].set_index("ID")["peak"]

    first = peaks()
    n = bucket.proxy.requests["download"]
    assert n == N_OBJECTS + 3 + 1
    assert peaks().equals(first)
    assert bucket.proxy.requests["download"] == n
    other = bucket.objects(BUCKET)["study A/corpus/audio/s12_0/waveform.wav"]
    bucket.put_bytes(BUCKET, "study A/corpus/audio/s11_0/waveform.wav", other)
    changed = peaks()
    assert bucket.proxy.requests["download"] == n + 1
    assert set(changed.index[changed != first]) == {"s11_0"}
    assert changed["s11_0"] == first["s12_0"]


def test_missing_objects_are_told_by_uid(bucket, tmp_path, cache):
    bucket.delete(BUCKET, "study A/corpus/audio/s03_0/waveform.wav")
    for name in ("metadata.json", "waveform.wav"):
        bucket.delete(BUCKET, f"study A/corpus/audio/s12_1/{name}")
    message = user_error(planned, CORPUS, tmp_path / "out", cache)
    assert "2 recordings can't be used" in message
    assert "s03_0: waveform.wav is missing" in message
    assert f"s12_1: there is no folder {CORPUS}/audio/s12_1" in message
    assert not (tmp_path / "out").exists()


def test_metadata_may_be_missing_and_costs_no_request(bucket, tmp_path, cache):
    gone = ("s00_0", "s03_0", "s12_1")
    for uid in gone:
        bucket.delete(BUCKET, f"study A/corpus/audio/{uid}/metadata.json")
    plan = planned(CORPUS, tmp_path / "out", cache)
    assert bucket.proxy.requests["download"] == N_OBJECTS - len(gone) + 3 + 1
    (note,) = (note for note in plan.notes if "metadata" in note)
    assert note.startswith("3 recordings without metadata.json")


def test_an_object_that_goes_after_the_listing_is_told_by_uid(
    bucket, local_run, tmp_path, cache
):
    name = "study A/corpus/audio/s12_1/waveform.wav"
    bucket.proxy.inject(
        "call",
        kind="download",
        path="s12_1/waveform",
        callback=lambda: bucket.delete(BUCKET, name),
    )
    result = evaluate_into(
        tmp_path / "out", local_run, cache, f"--data_folder={CORPUS}/audio"
    )
    assert result.returncode == 3, result.stderr
    (row,) = read_csv(tmp_path / "out" / "failed.csv")
    assert row["uid"] == "s12_1"
    assert "it left the bucket after it was listed" in row["reason"]


def test_excluded_subjects_are_not_downloaded(bucket, local_run, tmp_path, cache):
    bucket.put_bytes(BUCKET, "study A/corpus/excluded_subjects.txt", b"s12\n")
    write_csv(tmp_path / "any.csv", [{"uid": "s12_1"}, {"uid": "s03_0"}])
    file = tmp_path / "embeddings.parquet"
    options = [cache, f"--split_csv={tmp_path / 'any.csv'}"]
    # by the experiment's own corpus folder, which is a bucket's here
    text = (local_run / "hyperparams.yaml").read_text()
    experiment = tmp_path / "experiment"
    (experiment / "save").mkdir(parents=True)
    (experiment / "hyperparams.yaml").write_text(text)
    for checkpoint in (local_run / "save").glob("CKPT*"):
        (experiment / "save" / checkpoint.name).symlink_to(checkpoint)
    options += [f"--data_folder={CORPUS}/audio"]
    succeeded(extract(experiment, file, *options))
    assert pq.read_table(file)["uid"].to_pylist() == ["s03_0"]
    read = [path for path in bucket.proxy.paths if "alt=media" in path]
    assert any("s03_0" in path for path in read)
    assert not any("s12" in path for path in read)


def test_a_list_of_the_excluded_that_may_not_be_read_stops_the_run(
    bucket, local_run, tmp_path, cache
):
    bucket.put_bytes(BUCKET, "study A/corpus/excluded_subjects.txt", b"s12\n")
    bucket.proxy.inject("status", status=403, kind="stat", path="excluded", times=2)
    message = user_error(planned, CORPUS, tmp_path / "out", cache)
    assert "corpus/excluded_subjects.txt: access denied" in message
    options = [cache, f"--data_folder={CORPUS}/audio"]
    message = failed(evaluate_into(tmp_path / "out", local_run, *options))
    assert "corpus/excluded_subjects.txt: access denied" in message
    assert not (tmp_path / "out").exists()


def test_who_withdraws_leaves_the_cache(bucket, tmp_path, cache):
    planned(CORPUS, tmp_path / "1", cache)
    objects = tmp_path / "cache" / "objects"
    assert len(tree(objects)) == N_OBJECTS
    gone = {
        content
        for name, content in below(bucket, BUCKET, "study A/corpus/audio").items()
        if name.startswith("s12_") and name.endswith(".wav")
    }
    assert gone <= set(tree(objects).values())
    bucket.put_bytes(BUCKET, "study A/corpus/excluded_subjects.txt", b"s12\n")
    planned(CORPUS, tmp_path / "2", cache)
    assert len(tree(objects)) == N_OBJECTS - 4
    assert not gone & set(tree(objects).values())


def test_a_recording_that_is_gone_stops_a_resumed_run(bucket, tmp_path, cache):
    folder = tmp_path / "out"
    first = planned(CORPUS, folder, cache).preparation
    save_preparation(first, folder / MANIFESTS)
    again = planned(CORPUS, folder, cache).preparation
    assert again.fingerprint == first.fingerprint
    bucket.delete(BUCKET, "study A/corpus/audio/s12_1/waveform.wav")
    message = user_error(planned, CORPUS, folder, cache)
    assert "1 recordings that this experiment was prepared with" in message
    assert "s12_1: there is no waveform.*" in message


@pytest.mark.parametrize("kind", ["labels", "csv", "yaml"])
def test_messages_speak_of_the_bucket_not_of_its_copy(
    bucket, local_run, tmp_path, cache, kind
):
    if kind == "yaml":
        bucket.put("results", local_run, "mine")
        text = (local_run / "hyperparams.yaml").read_bytes()
        text = text.replace(b"ecapa.ECAPA_TDNN", b"ecapa.Nothing")
        bucket.put_bytes("results", "mine/hyperparams.yaml", text)
        message = user_error(opened, "gs://results/mine", cache)
        assert "gs://results/mine/hyperparams.yaml" in message
    else:
        name = "labels.txt" if kind == "labels" else "splits/train.csv"
        bucket.put_bytes(BUCKET, f"study A/corpus/{name}", b"\xff\xfe\x00")
        message = user_error(planned, CORPUS, tmp_path / "out", cache)
        assert f"{CORPUS}/{name}" in message
    assert "snapshots" not in message


def test_labels_and_splits_may_be_named_each(bucket, local_run, tmp_path, cache):
    bucket.put_bytes(BUCKET, "other/labels.txt", b"low,loud\nnoisy\n")
    options = [f"--data_folder={CORPUS}/audio/", f"--split_folder={CORPUS}/splits/"]
    labels = f"--labels_file=gs://{BUCKET}/other/labels.txt"
    named = planned("", tmp_path / "a", cache, labels, "--gcs_project=x", *options)
    whole = planned(CORPUS, tmp_path / "b", cache)
    for split, manifest in whole.preparation.manifests.items():
        assert named.preparation.manifests[split].equals(manifest)
    succeeded(evaluate_into(tmp_path / "again", local_run, cache, *options))
    scores = (tmp_path / "again" / "predictions.csv").read_bytes()
    assert scores == (local_run / "predictions.csv").read_bytes()


def test_a_corpus_larger_than_the_cache_streams_through_it(
    bucket, local_run, shared_corpus, tmp_path
):
    n_bytes = sum(len(content) for content in tree(shared_corpus / "audio").values())
    limit = n_bytes // 4
    folder = tmp_path / "out"
    cache = tmp_path / "cache"
    training = Started(
        "train.py",
        "hparams/train.yaml",
        f"--corpus_folder={CORPUS}",
        f"--output_folder={folder}",
        f"--audio_cache={cache}",
        f"--audio_cache_gb={limit / 1e9}",
        "--num_workers=2",
        *SMALL,
    )
    largest = 0
    while training.process.is_alive():
        largest = max(largest, held(cache))
        time.sleep(0.02)
    result = succeeded(training.wait())
    assert 0 < largest <= limit
    assert "stream through a cache" in result.stdout + result.stderr
    scores = (folder / "predictions.csv").read_bytes()
    assert scores == (local_run / "predictions.csv").read_bytes()
    # inspected once, two epochs of training and validation, the test split twice
    assert bucket.proxy.requests["download"] > 2 * N_OBJECTS


def held(cache):
    """Bytes of recordings in a cache, those just being downloaded included."""
    n_bytes = 0
    for part in ("objects", "partial"):
        for folder, _, names in os.walk(cache / part):  # goes on where folders vanish
            for name in set(names) - {"claim"}:
                with contextlib.suppress(FileNotFoundError):
                    n_bytes += (Path(folder) / name).stat().st_size
    return n_bytes


def test_a_cache_that_holds_no_recording_is_too_small(bucket, tmp_path, cache):
    message = user_error(
        planned, CORPUS, tmp_path / "out", cache, "--audio_cache_gb=0.000001"
    )
    assert "audio_cache_gb" in message


# What goes wrong


def test_faults_on_the_way_change_nothing(bucket, local_run, tmp_path, cache):
    for what, options in (
        ("cut", {"times": 3, "at": 100}),
        ("status", {"times": 5, "status": 503}),
        ("status", {"times": 1, "status": 429, "retry_after": "0.1"}),
        ("corrupt", {"times": 1, "path": "waveform"}),
        ("stall", {"times": 1, "seconds": 1}),
    ):
        bucket.proxy.inject(what, kind="download", **options)
    bucket.proxy.inject("status", kind="list", status=500)
    options = [cache, f"--data_folder={CORPUS}/audio"]
    succeeded(evaluate_into(tmp_path / "out", local_run, *options))
    scores = (tmp_path / "out" / "predictions.csv").read_bytes()
    assert scores == (local_run / "predictions.csv").read_bytes()


@pytest.mark.parametrize("kind", ["list", "download"])
def test_access_denied_is_one_message(bucket, tmp_path, cache, kind):
    fault = bucket.proxy.inject(
        "status", status=403, kind=kind, path="audio", times=10**6
    )
    message = user_error(planned, CORPUS, tmp_path / "out", cache)
    fault.times = fault.injected
    assert fault.injected > 0
    assert f"storage.objects.{'get' if kind == 'download' else kind}" in message
    assert CORPUS in message and "roles/storage.objectViewer" in message
    assert len(message.splitlines()) <= 3


def test_inputs_that_are_not_there_are_named(bucket, tmp_path, cache):
    bucket.delete(BUCKET, "study A/corpus/splits/test.csv")
    message = user_error(planned, CORPUS, tmp_path / "out", cache)
    assert f"- {CORPUS}/splits/test.csv" in message
    message = user_error(opened, f"gs://{BUCKET}/nothing", cache)
    assert (
        f"experiment_folder gs://{BUCKET}/nothing holds no hyperparams.yaml" in message
    )
    message = user_error(opened, "gs://nowhere/x", cache)
    assert "gs://nowhere/x does not exist" in message


def test_untrusted_names_are_refused(bucket, local_run, tmp_path, cache):
    evil = "study A/corpus/audio/s03_1/waveform.evil\nwav"
    bucket.put_bytes(BUCKET, evil, b"x")
    options = [cache, f"--data_folder={CORPUS}/audio"]
    options += [f"--split_csv={tmp_path / 'any.csv'}"]
    write_csv(tmp_path / "any.csv", [{"uid": "s03_0"}, {"uid": "s03_1"}])
    result = extract(local_run, tmp_path / "x.parquet", *options)
    assert result.returncode == 3, result.stderr
    (row,) = read_csv(tmp_path / "x.parquet.failed.csv")
    assert row["uid"] == "s03_1" and "control character" in row["reason"]
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
    # nobody asks for it
    bucket.put_bytes(BUCKET, evil.replace("s03_1", "elsewhere"), b"x")
    bucket.delete(BUCKET, evil)
    planned(CORPUS, tmp_path / "out", cache)
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


def killed(command, when, seconds=200):
    """Start a script, kill it by SIGKILL as soon as `when` says so."""
    script = Started(*command)
    begin = time.monotonic()
    try:
        while not when():
            assert script.process.is_alive(), "it ended before it could be killed"
            assert time.monotonic() - begin < seconds
            time.sleep(0.01)
    finally:
        script.process.kill()
        script.wait()


def test_killed_in_the_download_and_run_again(bucket, local_run, tmp_path, cache):
    options = [cache, f"--data_folder={CORPUS}/audio"]
    options += ["--audit=False", "--report=False"]
    command = ["evaluate.py", "hparams/evaluate.yaml", *options]
    command += [f"--experiment_folder={local_run}", f"--output_folder={tmp_path / 'o'}"]
    fault = bucket.proxy.inject("stall", kind="download", path="s13", seconds=10)
    objects = tmp_path / "cache" / "objects"
    killed(command, lambda: fault.injected and tree(objects))
    whole = len(tree(tmp_path / "cache" / "objects"))
    n_before = bucket.proxy.requests["download"]
    succeeded(evaluate_into(tmp_path / "out", local_run, *options))
    scores = (tmp_path / "out" / "predictions.csv").read_bytes()
    assert scores == (local_run / "predictions.csv").read_bytes()
    assert bucket.proxy.requests["download"] - n_before == 16 - whole


def test_killed_in_the_upload_and_run_again(bucket, shared_corpus, tmp_path):
    bucket.create_bucket("results")
    folder = tmp_path / "out"
    options = ["--upload_to=gs://results/1", "--number_of_epochs=1"]
    command = ["train.py", "hparams/train.yaml", f"--corpus_folder={shared_corpus}"]
    command += [f"--output_folder={folder}", *SMALL, *options]
    bucket.proxy.inject("stall", method="POST", path="classifier.ckpt", seconds=10)
    fault = bucket.proxy.faults[0]
    killed(command, lambda: fault.injected)
    assert not any("CKPT.yaml" in name for name in bucket.objects("results"))
    succeeded(train(shared_corpus, folder, *options))
    assert below(bucket, "results", "1") == tree(folder)


def test_a_failed_upload_is_status_3_and_loses_nothing(
    bucket, shared_corpus, local_run, tmp_path
):
    bucket.create_bucket("results")
    folder = tmp_path / "out"
    options = ["--upload_to=gs://results/1"]
    bucket.proxy.inject(
        "status",
        status=403,
        method="POST",
        path="/classifier.ckpt$",
        times=3,
    )
    result = train(shared_corpus, folder, *options)
    assert result.returncode == 3, result.stderr
    assert "storage.objects.create" in result.stdout + result.stderr
    assert str(folder) in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert (folder / "predictions.csv").exists()
    assert "metrics.json" not in below(bucket, "results", "1")
    bucket.proxy.assert_all_injected()
    succeeded(train(shared_corpus, folder, *options))
    assert below(bucket, "results", "1") == tree(folder)


def test_two_runs_do_not_share_a_place(bucket, shared_corpus, tmp_path):
    bucket.create_bucket("results")
    bucket.put_bytes("results", "1/notes.txt", b"mine")
    message = failed(train(shared_corpus, tmp_path / "a", "--upload_to=gs://results/1"))
    assert "gs://results/1 holds other files" in message
    assert bucket.objects("results") == {"1/notes.txt": b"mine"}


def test_an_experiments_place_is_no_place_for_other_results(
    bucket, local_run, tmp_path, cache
):
    bucket.put("results", local_run, "mine")
    before = bucket.objects("results")
    upload = "--upload_to=gs://results/mine/"
    message = failed(
        evaluate_into(tmp_path / "out", "gs://results/mine", cache, upload)
    )
    assert "gs://results/mine is the place of an experiment" in message
    assert bucket.objects("results") == before


def test_debug_uploads_nothing(bucket, shared_corpus, tmp_path):
    option = "--upload_to=gs://results/1"
    bucket.create_bucket("results")
    found = planned(shared_corpus, tmp_path / "out", option)
    assert found.upload_to == "gs://results/1"
    found = planned(shared_corpus, tmp_path / "out", option, "--debug")
    assert found.upload_to is None


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--upload_to=/tmp/x", "upload_to must be gs://bucket/folder"),
        ("--upload_to=gs://B", "upload_to: Expected an address"),
        ("--audio_cache=gs://bucket/x", "audio_cache is gs://bucket/x"),
        ("--audio_cache_gb=0", "audio_cache_gb must be a number above 0"),
        ("--output_folder=gs://bucket/x", "output_folder is gs://bucket/x"),
    ],
)
def test_settings_that_can_not_be(shared_corpus, tmp_path, option, words):
    assert words in user_error(planned, shared_corpus, tmp_path / "out", option)
