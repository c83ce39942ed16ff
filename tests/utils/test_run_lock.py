"""utils.run_lock: one run at a time in a folder."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from running import ROOT, evaluate, extract, failed, train
from speechbrain.utils import distributed

from local.utils.errors import UserError
from local.utils.run_lock import CLAIM, claimed, claimed_by_main

HOLDER = """
import pathlib, sys, time
from local.utils.run_lock import claimed
with claimed(pathlib.Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""

#: As a dataloader's workers are: forked, and alive for a while after their parent.
FORKER = """
import os, pathlib, sys, time
from local.utils.run_lock import claimed
with claimed(pathlib.Path(sys.argv[1])):
    if os.fork() == 0:
        print("claimed", flush=True)
        time.sleep(20)
        os._exit(0)
    time.sleep(60)
"""


#: Two processes of a launch, of which the main one is late.
LAUNCH = """
import pathlib, sys, time
import torch
from local.utils.run_lock import claimed_by_main
folder, rank = pathlib.Path(sys.argv[1]), int(sys.argv[2])
store = torch.distributed.FileStore(sys.argv[3], 2)
torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
if rank == 0:
    time.sleep(1)
with claimed_by_main(folder):
    if rank == 1:
        (folder / ".0123456789abcdef.tmp").touch()
    torch.distributed.barrier()
    assert (folder / ".0123456789abcdef.tmp").exists()
"""


def holder(folder, script=HOLDER):
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout.readline() == "claimed\n"
    return process


def test_a_second_claim_is_refused_until_the_first_ends(tmp_path):
    again = claimed(tmp_path)
    with claimed(tmp_path), pytest.raises(UserError, match="Another process works in"):
        again.__enter__()
    with claimed(tmp_path):
        pass


def test_the_main_process_claims_for_all_of_a_launch(tmp_path, monkeypatch):
    with claimed_by_main(tmp_path):
        with pytest.raises(UserError), claimed(tmp_path):
            pass
        monkeypatch.setattr(distributed, "if_main_process", lambda: False)
        with claimed_by_main(tmp_path):
            pass
        assert (tmp_path / CLAIM).exists()


def test_a_late_main_process_removes_nothing_of_the_others(tmp_path):
    (tmp_path / "out").mkdir()
    arguments = [(tmp_path / "out", rank, tmp_path / "store") for rank in range(2)]
    commands = [(sys.executable, "-c", LAUNCH, *map(str, own)) for own in arguments]
    launched = [
        subprocess.Popen(
            own, cwd=ROOT, env=os.environ | {"RANK": own[-2], "LOCAL_RANK": own[-2]}
        )
        for own in commands
    ]
    assert [process.wait(60) for process in launched] == [0, 0]


@pytest.mark.parametrize("script", [HOLDER, FORKER], ids=["alone", "with workers"])
def test_a_killed_process_leaves_no_claim(tmp_path, script):
    process = holder(tmp_path, script)
    with pytest.raises(UserError), claimed(tmp_path):
        pass
    process.kill()
    process.wait()
    with claimed(tmp_path):
        pass
    if script is FORKER:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("code", ["ENOLCK", "ENOTSUP", "ENOSYS"])
def test_a_drive_without_locks_is_told(tmp_path, monkeypatch, caplog, code):
    def refuse(*_):
        raise OSError(getattr(errno, code), "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claimed(tmp_path) as descriptors:
        assert descriptors == []
    assert "This drive has no locks (no locks here)" in caplog.text
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_behind(tmp_path):
    with claimed(tmp_path / "new" / "folder"):
        assert (tmp_path / "new" / "folder" / CLAIM).exists()
    assert not list(tmp_path.iterdir())
    with claimed(tmp_path / "new" / "folder"):
        (tmp_path / "new" / "folder" / "result").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "folder", "result"]


def test_what_killed_runs_were_writing_is_removed(tmp_path):
    unfinished, other = f".{'0' * 16}.tmp", (".notes.tmp", f"other/.{'0' * 16}.tmp")
    ours = [tmp_path / name for name in (unfinished, f"save/manifests/{unfinished}")]
    theirs = [tmp_path / name for name in other]
    for path in (*ours, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with claimed(tmp_path):
        assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in theirs)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CLAIM).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), claimed(tmp_path / "out"):
        pass
    assert (tmp_path / "precious").read_text() == "data"


@pytest.mark.parametrize("name", ["save", "save/manifests", "figures", "log.txt"])
def test_nothing_is_written_through_links_out_of_the_folder(tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "save").mkdir(parents=True)
    path = tmp_path / "out" / name
    if path.exists():
        path.rmdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{name} leads to"), claimed(tmp_path / "out"):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "out")
    path.unlink()
    with claimed(tmp_path / "link"):
        pass


def test_whoever_waited_for_a_removed_file_does_not_hold_it(tmp_path):
    """A hundred claims one after the other, by two processes at once."""
    script = """
import pathlib, sys
from local.utils.run_lock import claimed
from local.utils.errors import UserError
folder, held = pathlib.Path(sys.argv[1]), 0
while held < 100:
    try:
        with claimed(folder):
            (folder / "inside").mkdir()
            (folder / "inside").rmdir()
            held += 1
    except UserError:
        pass
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]


def test_two_trainings_in_one_folder(shared_experiment, shared_corpus):
    experiment = shared_experiment
    before = {p: p.read_bytes() for p in experiment.rglob("*") if p.is_file()}
    with claimed(experiment):
        message = failed(train(shared_corpus, experiment))
    assert f"Another process works in {experiment}" in message
    assert {p: p.read_bytes() for p in experiment.rglob("*") if p.is_file()} == before


def test_two_evaluations_in_one_folder(shared_experiment, tmp_path):
    place = f"--output_folder={tmp_path / 'out'}"
    with claimed(tmp_path / "out"):
        evaluation = evaluate(shared_experiment, place, "--device=cpu")
        assert "Another process works in" in failed(evaluation)
    assert not list(tmp_path.iterdir())


def test_two_extractions_to_one_file(shared_experiment, shared_corpus, tmp_path):
    options = (
        *("--device=cpu", "--embedding_type=pt"),
        f"--split_csv={shared_corpus}/splits/test.csv",
        f"--data_folder={shared_corpus}/audio",
    )
    with claimed(tmp_path / "e.parquet.parts"):
        extraction = extract(shared_experiment, tmp_path / "e.parquet", *options)
        assert "Another process works in" in failed(extraction)
    assert not list(tmp_path.iterdir())
