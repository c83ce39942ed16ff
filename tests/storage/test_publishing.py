"""Results in a bucket: all of them, in an order that no reader trips over."""

import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from local.storage import gcs as buckets
from local.storage import publishing
from local.storage.gcs import Address
from local.storage.gcs.mirror import Mirror
from local.storage.publishing import ExperimentPublication, publish_files
from local.training.checkpoints import PARTIAL
from local.utils.errors import UserError

pytest_plugins = ["gcs_server"]

ROOT = Path(__file__).parents[2]
PLACE = "gs://results/runs/one"
FIRST, SECOND = "CKPT+2026-01-01+10-00-00+00", "CKPT+2026-01-01+11-00-00+00"
PARTS = ("brain.ckpt", "model.ckpt", "CKPT.yaml")

#: In the order in which they may arrive; within one line in any order.
BEFORE = {"log.txt", "failed.csv", "save/manifests/train.csv"}
WEIGHTS = {f"save/{FIRST}/{part}" for part in PARTS[:-1]}
MARK = {f"save/{FIRST}/CKPT.yaml"}
RESULTS = {"predictions.csv", "metrics.json", "figures/roc.png"}
CLAIM = {"save/upload.json"}


def write(folder, name, content):
    """A file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def add_checkpoint(folder, name, n_bytes=100):
    """A whole checkpoint; its model is the one large file."""
    generator = random.Random(name)
    for part in PARTS:
        size = n_bytes if part == "model.ckpt" else 100
        write(folder, f"save/{name}/{part}", generator.randbytes(size))


@pytest.fixture
def folder(gcs, tmp_path):
    """What a finished run leaves, and a bucket to put it in."""
    gcs.create_bucket("results")
    folder = tmp_path / "experiment"
    for name in BEFORE | RESULTS:
        write(folder, name, f"this is {name}".encode())
    write(folder, "metrics.json", FIRST.encode())
    add_checkpoint(folder, FIRST)
    return folder


def begun(folder, place=PLACE):
    """A publication whose place is claimed."""
    publication = ExperimentPublication(folder, place)
    publication.begin()
    return publication


def remote(gcs, place=PLACE):
    """Content by name of what is in the place."""
    prefix = Address.parse(place).name + "/"
    objects = gcs.objects("results")
    return {
        name.removeprefix(prefix): objects[name]
        for name in objects
        if name.startswith(prefix)
    }


def local(folder):
    """Content by name of everything in a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def swap_checkpoint(folder, n_bytes=100):
    """A better checkpoint takes the place of the first one, as training does it."""
    add_checkpoint(folder, SECOND, n_bytes)
    shutil.rmtree(folder / "save" / FIRST)
    write(folder, "metrics.json", SECOND.encode())


def check_whole(objects):
    """Fail if something points to a checkpoint that is not there to the last byte."""
    wholes = {}
    for name in (FIRST, SECOND):
        generator = random.Random(name)
        found = {p: objects.get(f"save/{name}/{p}") for p in PARTS}
        sizes = {p: len(found[p] or b"") for p in PARTS}
        right = {p: generator.randbytes(sizes[p]) for p in PARTS}
        wholes[name] = found == right
        assert wholes[name] or f"save/{name}/CKPT.yaml" not in objects
    pointer = objects.get("metrics.json", b"").decode()
    assert wholes.get(pointer, True), f"metrics.json points to half of {pointer}"


def deleted(gcs):
    """Names of deleted objects below the place, in order."""
    found = [
        re.search(r"/o/runs%2Fone%2F([^?]+)\?ifGenerationMatch", path)
        for path in gcs.proxy.paths
    ]
    return [
        match[1].replace("%2F", "/").replace("%2B", "+") for match in found if match
    ]


def arrival(gcs):
    """Names below the place, in the order of their last write."""
    found = buckets.list_objects(Address.parse(PLACE))
    found.sort(key=lambda listed: listed.generation)
    return [listed.below(Address.parse(PLACE)) for listed in found]


# What arrives


def test_the_whole_folder_arrives(gcs, folder):
    publication = begun(folder)
    assert set(remote(gcs)) == CLAIM
    assert publication.update() == []
    assert remote(gcs) == local(folder)
    assert set(remote(gcs)) == CLAIM | BEFORE | WEIGHTS | MARK | RESULTS


def test_the_bucket_itself_may_be_the_place(gcs, folder):
    publication = begun(folder, "gs://results")
    assert publication.finish() == []
    assert publication.finish() == []
    assert gcs.objects("results") == local(folder)


def test_they_arrive_in_order(gcs, folder):
    before = BEFORE | {"hyperparams.yaml", "save/run_options.json"}
    before |= {"train_log.txt", "train_log.jsonl"}
    results = RESULTS | {"audit.json", "report.html", "model_card.md"}
    results |= {"evaluation/b/figures/roc.png"}
    for name in (before - BEFORE) | (results - RESULTS):
        write(folder, name, b"one more")
    for name in ("notes.txt", "audio_cache/objects/x/waveform.wav", "save/x/a.wav"):
        write(folder, name, b"not of this run")
    begun(folder).update()
    order = arrival(gcs)
    for stage in (CLAIM, before, WEIGHTS, MARK, results):
        arrived, order = set(order[: len(stage)]), order[len(stage) :]
        assert arrived == stage
    assert order == []


def test_nothing_is_uploaded_twice(gcs, folder):
    publication = begun(folder)
    publication.update()
    gcs.proxy.requests.clear()
    assert publication.update() == publication.finish() == []
    assert gcs.proxy.requests == {"list": 2}


def test_only_what_has_changed_is_uploaded(gcs, folder):
    publication = begun(folder)
    publication.update()
    write(folder, "log.txt", b"longer")
    write(folder, "predictions.csv", b"that is predictions.csv")  # as long as before
    gcs.proxy.requests.clear()
    assert publication.update() == []
    assert gcs.proxy.requests == {"list": 1, "upload": 2}
    assert arrival(gcs)[-2:] == ["log.txt", "predictions.csv"]
    assert remote(gcs) == local(folder)


def test_stored_compressed_is_not_the_same(gcs, folder):
    publication = begun(folder)
    publication.update()
    name = "runs/one/log.txt"
    content = (folder / "log.txt").read_bytes()
    gcs.put_bytes("results", name, content, encoding="gzip")
    assert begun(folder).update() == []
    (found,) = [o for o in buckets.list_objects(Address("results")) if o.name == name]
    assert found.encoding is None


def test_what_is_no_result_is_left_out(gcs, folder, tmp_path):
    expected = local(folder)
    write(tmp_path, "private/secret.txt", b"secret")
    for name in (
        ".0123456789abcdef.tmp",
        "save/.0123456789abcdef.tmp",
        ".git/config",
        f"save/{PARTIAL}{SECOND}/model.ckpt",
        "debug/save/log.txt",
        "evaluation/b/debug/metrics.json",
    ):
        write(folder, name, b"no result")
    (folder / "link.txt").symlink_to(tmp_path / "private" / "secret.txt")
    (folder / "figures" / "link").symlink_to(tmp_path / "private")
    os.mkfifo(folder / "pipe")
    assert begun(folder).update() == []
    assert remote(gcs).keys() == expected.keys() | CLAIM


def test_an_evaluation_may_be_called_debug(gcs, folder):
    write(folder, "evaluation/debug/metrics.json", b"{}")
    begun(folder).update()
    assert remote(gcs)["evaluation/debug/metrics.json"] == b"{}"


# What disappears


def test_an_old_checkpoint_disappears_last_and_its_mark_first(gcs, folder):
    publication = begun(folder)
    publication.update()
    swap_checkpoint(folder)
    (folder / "failed.csv").unlink()
    assert publication.update() == []
    assert remote(gcs) == local(folder)
    first, *rest = deleted(gcs)
    assert {first} == MARK
    assert set(rest) == WEIGHTS | {"failed.csv"}
    is_write = [("/upload/" in p, "ifGenerationMatch" in p) for p in gcs.proxy.paths]
    assert is_write[-4:] == [(False, True)] * 4  # all deletions are at the end
    assert sum(upload for upload, _ in is_write) == 2 + 9 + 4
    write(folder, "failed.csv", b"again")
    assert publication.update() == []
    assert remote(gcs) == local(folder)


def test_other_objects_stay(gcs, folder):
    publication = begun(folder)
    gcs.put_bytes("results", "runs/one/evaluation/elsewhere/metrics.json", b"{}")
    gcs.put_bytes("results", "runs/one2/save/CKPT+1/CKPT.yaml", b"{}")
    publication.update()
    (folder / "figures" / "roc.png").unlink()
    assert publication.update() == []
    assert remote(gcs)["evaluation/elsewhere/metrics.json"] == b"{}"
    assert "figures/roc.png" in remote(gcs)
    assert remote(gcs, "gs://results/runs/one2") == {"save/CKPT+1/CKPT.yaml": b"{}"}


def test_lost_checkpoints_are_kept_in_the_bucket(gcs, folder):
    begun(folder).update()
    shutil.rmtree(folder / "save" / FIRST)
    assert begun(folder).update() == []
    assert remote(gcs).keys() >= WEIGHTS | MARK


def test_a_folder_that_can_not_be_read_is_not_taken_for_empty(gcs, folder, monkeypatch):
    publication = begun(folder)
    publication.update()
    add_checkpoint(folder, SECOND)
    scandir = os.scandir

    def failing(path):
        if str(path).endswith(FIRST):
            raise OSError(5, "Input/output error", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    (problem,) = publication.update()
    assert problem == f"{folder}/save/{FIRST}: Input/output error"
    assert remote(gcs).keys() >= WEIGHTS | MARK


def test_a_reader_never_meets_half_a_checkpoint(gcs, folder):
    snapshots = []
    for kind in ("upload", "delete"):
        fault = gcs.proxy.inject(
            "call",
            kind=kind,
            times=10**6,
            callback=lambda: snapshots.append(remote(gcs)),
        )
    publication = begun(folder)
    publication.update()
    swap_checkpoint(folder)
    publication.update()
    for fault in gcs.proxy.faults:
        fault.times = fault.injected
    assert len(snapshots) == 2 + 9 + 4 + 3
    for objects in [*snapshots, remote(gcs)]:
        check_whole(objects)


# Whose place it is


def test_the_same_folder_goes_on(gcs, folder):
    begun(folder).update()
    claim = json.loads((folder / "save" / "upload.json").read_text())
    assert re.fullmatch("[0-9a-f]{32}", claim["run"])
    write(folder, "log.txt", b"resumed")
    assert begun(folder).update() == []
    assert json.loads((folder / "save" / "upload.json").read_text()) == claim
    assert remote(gcs) == local(folder)


def test_a_place_of_another_run_is_refused(gcs, folder, tmp_path):
    begun(folder).update()
    before = remote(gcs)
    other = tmp_path / "other"
    write(other, "log.txt", b"other")
    with pytest.raises(UserError) as caught:
        begun(other)
    assert str(caught.value) == (
        "upload_to gs://results/runs/one holds another run's files: give an empty "
        "place with --upload_to, or empty this one. To continue the run that is there, "
        f"copy all of it to {other} first."
    )
    assert remote(gcs) == before


def test_a_place_with_other_files_is_refused(gcs, folder):
    gcs.put_bytes("results", "runs/one/thesis.pdf", b"thesis")
    with pytest.raises(UserError, match="holds other files: give an empty place"):
        begun(folder)
    assert set(remote(gcs)) == {"thesis.pdf"}


def test_of_two_runs_at_once_one_is_refused(gcs, folder):
    gcs.proxy.inject(
        "call",
        kind="upload",
        callback=lambda: gcs.put_bytes("results", "runs/one/save/upload.json", b"{}"),
    )
    with pytest.raises(UserError, match="another run's"):
        begun(folder)
    assert remote(gcs) == {"save/upload.json": b"{}"}


def test_what_would_fail_after_training_fails_before(gcs, folder):
    with pytest.raises(buckets.Missing):
        begun(folder, "gs://no-such-bucket/runs")
    with pytest.raises(UserError, match="gs://bucket/folder"):
        begun(folder, "/home/results")
    gcs.proxy.inject("status", status=403, kind="list")
    with pytest.raises(buckets.Denied, match=r"storage\.objects\.list"):
        begun(folder)
    # creating is allowed, replacing is not
    gcs.proxy.inject("status", status=403, kind="upload", path="ifGenerationMatch=[^0]")
    with pytest.raises(buckets.Denied, match=r"to replace an object also"):
        begun(folder)
    assert begun(folder).update() == []


def test_a_run_that_was_taken_over_writes_nothing_more(gcs, folder, tmp_path):
    publication = begun(folder)
    publication.update()
    copy = shutil.copytree(folder, tmp_path / "copy")
    begun(copy)
    before = remote(gcs)
    write(folder, "log.txt", b"still running")
    (problem,) = publication.update()
    assert "gs://results/runs/one/save/upload.json is no longer this run's" in problem
    assert remote(gcs) == before


def test_a_place_that_was_not_claimed_is_not_written_to(gcs, folder):
    (problem,) = ExperimentPublication(folder, PLACE).update()
    assert "is no longer this run's" in problem
    assert remote(gcs) == {}


@pytest.mark.parametrize("name", ["log.txt", "env.log"])
def test_a_write_by_somebody_else_is_noticed(gcs, folder, name):
    publication = begun(folder)
    publication.update()
    gcs.put_bytes("results", f"runs/one/{name}", b"somebody else's")
    write(folder, name, b"ours")
    write(folder, "metrics.json", b"ours")
    for _ in range(2):
        (problem,) = publication.update()
        assert problem.startswith(f"{PLACE}/{name} was written by somebody else")
        assert remote(gcs)[name] == b"somebody else's"
        assert remote(gcs)["metrics.json"] == FIRST.encode()


def test_what_somebody_else_replaced_is_not_deleted(gcs, folder):
    publication = begun(folder)
    publication.update()
    swap_checkpoint(folder)
    (mark,) = MARK
    gcs.put_bytes("results", f"runs/one/{mark}", b"somebody else's")
    (problem,) = publication.update()
    assert f"{mark} was written by somebody else" in problem
    assert remote(gcs)[mark] == b"somebody else's"
    assert remote(gcs).keys() >= WEIGHTS


# Faults


@pytest.mark.parametrize("what", ["status", "lost", "cut", "corrupt_request", "stall"])
def test_faults_that_pass(gcs, folder, monkeypatch, what):
    publication = begun(folder)
    if what == "stall":
        monkeypatch.setenv("GCS_TIMEOUT_S", "0.5")
    gcs.proxy.inject(what, kind="upload", times=2, at=10)
    if what != "corrupt_request":
        gcs.proxy.inject(what, kind="list", at=10)
    assert publication.update() == []
    swap_checkpoint(folder)
    if what != "corrupt_request":
        gcs.proxy.inject(what, kind="delete", times=2, at=10)
    (folder / "failed.csv").unlink()
    assert publication.update() == []
    assert remote(gcs) == local(folder)


def test_a_burst_of_refusals_passes(gcs, folder):
    publication = begun(folder)
    gcs.proxy.inject("status", status=503, kind="upload", times=15)
    gcs.proxy.inject("status", status=429, kind="upload", times=5)
    assert publication.update() == []
    assert remote(gcs) == local(folder)


def test_results_wait_for_the_checkpoint(gcs, folder, caplog):
    add_checkpoint(folder, FIRST, n_bytes=9 * 2**20)  # the only one to have a session
    publication = begun(folder)
    gcs.proxy.inject("status", status=403, kind="session")
    before = local(folder)
    (problem,) = publication.update()
    assert problem.startswith(f"{PLACE}/save/{FIRST}/model.ckpt: access denied (403")
    warning = caplog.records[-1]
    assert warning.levelno == logging.WARNING
    assert f"The upload to {PLACE} is not complete" in warning.getMessage()
    assert remote(gcs).keys() == CLAIM | BEFORE | WEIGHTS - {f"save/{FIRST}/model.ckpt"}
    assert publication.update() == []
    assert remote(gcs) == local(folder) == before


def test_a_failed_stage_is_tried_to_its_end(gcs, folder):
    publication = begun(folder)
    gcs.proxy.inject("status", status=403, kind="upload", times=2)
    problems = publication.finish()
    assert len(problems) == 2
    assert len(remote(gcs)) == 1 + len(BEFORE) - 2
    assert publication.finish() == []


def test_files_that_vanish_hold_back_their_checkpoint(gcs, folder):
    publication = begun(folder)
    checkpoint = folder / "save" / FIRST
    away = folder.parent / "away"

    def hide():
        checkpoint.rename(away)
        shutil.copytree(away, checkpoint, ignore=shutil.ignore_patterns("*.ckpt"))

    gcs.proxy.inject("call", kind="upload", callback=hide)
    assert publication.update() == [
        f"{checkpoint}/brain.ckpt: No such file or directory",
        f"{checkpoint}/model.ckpt: No such file or directory",
    ]
    assert not remote(gcs).keys() & (MARK | RESULTS)
    shutil.rmtree(checkpoint)
    away.rename(checkpoint)
    assert publication.update() == []
    assert remote(gcs) == local(folder)


def test_a_log_that_grows_meanwhile(gcs, folder):
    publication = begun(folder)
    log = folder / "log.txt"

    def grow():
        with log.open("ab") as file:
            file.write(b"one more line\n")

    fault = gcs.proxy.inject("call", kind="upload", times=10**6, callback=grow)
    assert publication.update() == []
    fault.times = fault.injected
    assert log.read_bytes().startswith(remote(gcs)["log.txt"])
    assert publication.update() == []
    assert remote(gcs) == local(folder)


def test_a_name_that_no_object_can_have(gcs, folder):
    write(folder, "save/manifests/odd\nname.csv", b"odd")
    (problem,) = begun(folder).update()
    assert "odd\\nname.csv' is no name for an object" in problem
    assert remote(gcs).keys() == CLAIM | BEFORE


def test_an_upload_of_which_nobody_knows_is_no_conflict(gcs, folder, monkeypatch):
    monkeypatch.setenv("GCS_DEADLINE_S", "0.3")
    publication = begun(folder)
    publication.update()
    write(folder, "log.txt", b"arrived, but nobody was told")
    gcs.proxy.inject("lost", kind="upload")
    fault = gcs.proxy.inject("status", kind="stat", times=10**6)
    (problem,) = publication.update()
    assert "log.txt could not be reached" in problem
    assert remote(gcs)["log.txt"] == b"arrived, but nobody was told"
    fault.times = fault.injected
    write(folder, "log.txt", b"later")
    assert publication.update() == []
    assert remote(gcs)["log.txt"] == b"later"


def test_a_dead_bucket_holds_training_up_for_a_bounded_time(gcs, folder, monkeypatch):
    monkeypatch.setattr(publishing, "TRAINING_DEADLINE_S", 0.3)
    for i in range(40):
        write(folder, f"figures/{i}.png", b"figure")
    publication = begun(folder)
    publication.update()
    for i in range(40):
        write(folder, f"figures/{i}.png", b"another figure")
    for kind in ("upload", "list"):
        fault = gcs.proxy.inject("status", kind=kind, times=10**6)
        begin = time.monotonic()
        *problems, last = publication.update()
        assert time.monotonic() - begin < 30  # half of GCS_DEADLINE_S
        assert "could not be reached" in [*problems, last][0]
        if kind == "upload":
            assert len(problems) <= 8 + 8  # each thread gave up once, or met the rest
            assert re.fullmatch(r"\d\d more were not tried", last)
        fault.times = fault.injected
    fault = gcs.proxy.inject("status", kind="list", times=10**6)
    monkeypatch.setenv("GCS_DEADLINE_S", "1.5")
    begin = time.monotonic()
    assert len(publication.finish()) == 1
    assert time.monotonic() - begin > 0.8
    fault.times = fault.injected


def test_a_deletion_that_fails_is_made_up_for(gcs, folder, monkeypatch):
    monkeypatch.setenv("GCS_DEADLINE_S", "0.3")
    publication = begun(folder)
    publication.update()
    swap_checkpoint(folder)
    fault = gcs.proxy.inject("status", kind="delete", times=10**6)
    (problem,) = publication.update()
    assert f"{FIRST}/CKPT.yaml could not be reached" in problem
    fault.times = fault.injected
    assert publication.update() == []
    assert remote(gcs) == local(folder)


def test_uploads_are_parallel(gcs, tmp_path):
    gcs.create_bucket("results")
    names = [f"{i}.png" for i in range(8)]
    for name in names:
        write(tmp_path, name, b"figure")
    mirror = Mirror(tmp_path, Address("results", "figures"))
    mirror.look()
    four = threading.Barrier(4)  # a request waits there until there are four
    gcs.proxy.inject(
        "call", kind="upload", times=8, callback=lambda: four.wait(timeout=20)
    )
    assert mirror.run([(mirror.upload_changed, names)]) == []
    assert not four.broken
    assert len(gcs.objects("results")) == 8


# Processes

PUBLISH = """
import sys
from local.storage.publishing import ExperimentPublication
publication = ExperimentPublication(*sys.argv[1:])
publication.begin()
sys.exit(publication.finish() != [])
"""


def start(folder):
    """A process that publishes a folder."""
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISH, folder, PLACE],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("kind", "n_before"),
    [("upload", 0), ("upload", 2), ("chunk", 1), ("delete", 1)],
)
def test_killed_and_run_again(gcs, folder, kind, n_before):
    if kind != "upload" or n_before:
        begun(folder).update()
        swap_checkpoint(folder, n_bytes=9 * 2**20)

    def kill():
        if fault.injected > n_before:
            os.kill(process.pid, signal.SIGKILL)

    fault = gcs.proxy.inject("call", kind=kind, times=10**6, callback=kill)
    process = start(folder)
    assert process.wait(30) == -signal.SIGKILL
    check_whole(remote(gcs))
    fault.times = fault.injected
    assert start(folder).wait(30) == 0
    assert remote(gcs) == local(folder)


# Single files, and the last message


def test_single_files(gcs, tmp_path):
    gcs.create_bucket("results")
    place = "gs://results/evaluation"
    names = ["figures/roc.png", "failed.csv", "metrics.json"]
    for name in (*names, "private.txt"):
        write(tmp_path, name, name.encode())
    gcs.put_bytes("results", "evaluation/metrics.json", b"older")
    gcs.put_bytes("results", "evaluation/notes.txt", b"notes")
    assert publish_files(tmp_path, names, place) == []
    stays = {"notes.txt": b"notes"}
    expected = {name: name.encode() for name in names} | stays
    assert remote(gcs, place) == expected
    (tmp_path / "failed.csv").unlink()
    write(tmp_path, "metrics.json", b"newer")
    gcs.proxy.requests.clear()
    assert publish_files(tmp_path, names, place) == []
    assert gcs.proxy.requests == {"stat": 3, "upload": 1, "delete": 2}
    del expected["failed.csv"]
    assert remote(gcs, place) == expected | {"metrics.json": b"newer"}


def test_of_single_files_the_last_one_never_stands_beside_others(gcs, tmp_path):
    gcs.create_bucket("results")
    place, names = "gs://results/evaluation", ["predictions.csv", "metrics.json"]
    for content in (b"one", b"two"):
        for name in names:
            write(tmp_path, name, content)
        if content == b"two":
            gcs.proxy.inject("status", kind="upload", path="predictions", status=403)
        problems = publish_files(tmp_path, names, place)
        assert len(problems) == (content == b"two")
    assert remote(gcs, place) == {"predictions.csv": b"one"}
    assert publish_files(tmp_path, names, place) == []
    assert remote(gcs, place) == dict.fromkeys(names, b"two")


def test_single_files_that_can_not_be_uploaded(gcs, tmp_path):
    gcs.create_bucket("results")
    write(tmp_path, "a", b"a")
    gcs.proxy.inject(
        "call",
        kind="upload",
        callback=lambda: gcs.put_bytes("results", "a", b"somebody else's"),
    )
    (problem,) = publish_files(tmp_path, ["a"], "gs://results")
    assert problem.startswith("gs://results/a was written by somebody else")
    assert gcs.objects("results") == {"a": b"somebody else's"}
    (problem,) = publish_files(tmp_path, ["a"], "gs://no-such-bucket")
    assert problem.startswith("gs://no-such-bucket/a does not exist")
    (problem,) = publish_files(tmp_path, ["a"], "nowhere")
    assert "Expected an address such as gs://bucket/folder" in problem


def test_the_user_is_told_how_it_ended(gcs, tmp_path, capsys, caplog):
    names = [f"{i:02d}" for i in range(52)]
    for name in names:
        (tmp_path / name).write_text(name)
    gcs.create_bucket("results")
    assert publish_files(tmp_path, names, PLACE) == []
    assert capsys.readouterr().out == f"Everything is in {PLACE} too\n"
    assert len(publish_files(tmp_path, names, "gs://no-such-bucket")) == 51
    record = caplog.records[-1]
    assert record.levelno == logging.ERROR
    first, *rest = record.getMessage().splitlines()
    assert "The upload to gs://no-such-bucket is not complete" in first
    assert f"The results in {tmp_path} are whole. Run the same command again" in first
    assert rest[0].startswith("  - gs://no-such-bucket/00 does not exist")
    assert rest[-1] == "  … and 1 more"
    assert len(rest) == 51
