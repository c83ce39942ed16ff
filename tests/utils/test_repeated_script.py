"""utils.repeated_script: a script that is run many times."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from running import ROOT

from local.utils.errors import RunError, UserError
from local.utils.repeated_script import runner
from local.utils.run_lock import claimed

SCRIPT = """
import multiprocessing, os, signal, sys
print(__name__, *sys.argv[1:], multiprocessing.get_start_method())
if sys.argv[1].startswith("SIG"):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
sys.exit(int(sys.argv[1]))
"""

#: Whose child says who it is and sleeps.
PARENT = """
import pathlib, sys
from local.utils.repeated_script import runner
from local.utils.run_lock import claimed
with runner(sys.argv[2]) as run, claimed(pathlib.Path(sys.argv[1])) as claim:
    run([], claim)
"""


@pytest.fixture(params=[True, False], ids=["forked", "by itself"])
def can_fork(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: not request.param)
    return request.param


@pytest.mark.parametrize(
    ("argument", "status"), [("0", 0), ("5", 5), ("SIGKILL", 137), ("SIGTERM", 143)]
)
def test_a_script_is_run_as_a_shell_does(can_fork, argument, status, tmp_path, capfd):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    method = torch.multiprocessing.get_start_method()
    with runner(str(script)) as run:
        assert [run([argument, "a b"], []) for _ in range(2)] == [status, status]
    told = capfd.readouterr().out
    assert told in (f"__main__ {argument} a b {method}\n" * 2, "")
    assert told or argument.startswith("SIG")  # nothing is flushed then


def test_a_script_keeps_the_claim_of_a_parent_that_was_killed(tmp_path):
    """Else its run would be started a second time beside it."""
    script, folder = tmp_path / "script.py", tmp_path / "out"
    script.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(20)")
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), str(script)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    with pytest.raises(UserError, match="Another process"), claimed(folder):
        pass
    os.kill(child, signal.SIGKILL)
    process.stdout.read()  # ends when the child and what has started it have
    with claimed(folder):
        pass


def test_a_server_that_is_killed_is_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os, signal; os.kill(os.getppid(), signal.SIGKILL)")
    with pytest.raises(RunError, match="was ended"), runner(str(script)) as run:
        run([], [])
