"""utils.threads: how many there are, and that PyTorch is loaded after that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.utils import threads

ROOT = Path(__file__).parents[2]

#: Every script that computes or that starts one that does.
SCRIPTS = [
    *(path.name for path in ROOT.glob("*.py")),
    "recipes/original/import_checkpoint.py",
]

#: Loads the scripts up to where they look for PyTorch; tells how threads wait then.
UNTIL_TORCH = """
import contextlib, importlib.abc, os, runpy, sys

class Found(BaseException):
    pass

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            raise Found

sys.meta_path.insert(0, Finder())
for script in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "local"]:
        del sys.modules[name]
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        os.environ.pop(name, None)
    with contextlib.suppress(Found):
        runpy.run_path(script, run_name="loaded")
    print(script, os.environ.get("OMP_WAIT_POLICY"))
"""


def python(*arguments, **environment):
    """Standard output and error of an interpreter without what the tests have set."""
    ours = {
        key: value
        for key, value in os.environ.items()
        if key not in (*threads.WAITING, "OMP_NUM_THREADS")
    }
    return subprocess.run(
        [sys.executable, *arguments],
        env={**ours, **environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


@pytest.mark.unmeasured
def test_every_script_settles_it_before_torch_is_loaded():
    """OpenMP reads the environment when PyTorch loads it, and never again."""
    said = python("-c", UNTIL_TORCH, *SCRIPTS).stdout.splitlines()
    assert len(SCRIPTS) >= 9
    assert said == [f"{script} PASSIVE" for script in SCRIPTS]


@pytest.mark.unmeasured
def test_openmp_knows():
    """What the library itself tells, in a process that may use one core."""
    done = python(
        "-c",
        "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"
        "import local, torch; print(torch.get_num_threads())",
        OMP_DISPLAY_ENV="VERBOSE",
    )
    assert done.stdout == "1\n"
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


@pytest.fixture
def environment(monkeypatch):
    """One in which nobody has said anything."""
    for name in (*threads.WAITING, "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    return os.environ


@pytest.mark.parametrize(
    ("n_cores", "limit", "expected"),
    [
        (8, None, None),  # OpenMP counts them itself
        (8, 2.5, "2"),
        (8, 0.3, "1"),
        (2, 3.0, None),
        (2, 2.0, None),
    ],
)
def test_no_more_threads_than_a_container_may_use(
    environment, monkeypatch, n_cores, limit, expected
):
    monkeypatch.setattr(threads, "n_cores", lambda: n_cores)
    monkeypatch.setattr(threads, "cpu_limit", lambda: limit)
    threads.settle()
    assert environment.get("OMP_NUM_THREADS") == expected
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("name", threads.WAITING)
def test_what_the_user_says_counts(environment, monkeypatch, name):
    monkeypatch.setattr(threads, "n_cores", lambda: 8)
    monkeypatch.setattr(threads, "cpu_limit", lambda: 2.0)
    monkeypatch.setenv(name, "a")
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    threads.settle()
    found = {key: environment[key] for key in threads.WAITING if key in environment}
    assert found == {name: "a"}
    assert environment["OMP_NUM_THREADS"] == "6"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        # the groups around count, too, and the least of all
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4),
        ("0::/a/b\n", {"a/b/cpu.max": "800000 100000", "cpu.max": "5000 10000"}, 0.5),
        # version 1; in a container the place is one outside
        (
            "3:cpuset:/\n2:cpu,cpuacct:/docker/1\n",
            {
                "cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        (
            "1:cpu:/slurm/7\n0::/\n",
            {
                "cpu/slurm/7/cpu.cfs_quota_us": "-1",
                "cpu/slurm/7/cpu.cfs_period_us": "9",
            },
            None,
        ),
    ],
)
def test_limits_of_control_groups(tmp_path, own, files, expected):
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = threads.cpu_limit(tmp_path / "own", tmp_path / "groups")
    assert found == expected


def test_a_system_without_control_groups(tmp_path):
    assert threads.cpu_limit(tmp_path / "none", tmp_path) is None
