"""requirements.lock: all that is asked for, at one version with hashes."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"


def lines(path):
    """A requirements file's lines, continued ones joined, without comments."""
    text = re.sub(r"(^|\s)#.*", "", path.read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def pins():
    """What the lock has for this platform: name → requirement."""
    found = [Requirement(line.split(" --hash=")[0].strip()) for line in lines(LOCK)]
    here = [of for of in found if of.marker is None or of.marker.evaluate()]
    by_name = {canonicalize_name(of.name): of for of in here}
    assert len(by_name) == len(here), "a package is pinned twice for one platform"
    return by_name


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_what_is_asked_for_is_pinned_to_a_version_that_will_do(name):
    asked = [Requirement(of) for of in lines(ROOT / name) if not of.startswith("-r")]
    assert asked
    pinned = pins()
    for requirement in asked:
        (pin,) = pinned[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), requirement


def test_all_packages_have_one_version_and_hashes_and_no_address():
    assert "://" not in LOCK.read_text()
    digest = r"--hash=sha256:[0-9a-f]{64}"
    line = re.compile(rf"[a-z0-9-]+==[\w.+!]+( ; [^-]*?)?(\s+{digest})+\s*")
    wrong = [of[:80] for of in lines(LOCK) if not line.fullmatch(of)]
    assert not wrong


def make(*options):
    """Run make as from a shell: `make test` hands its own options down."""
    inherited = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "PYTHON", "CPU"}
    environment = {k: v for k, v in os.environ.items() if k not in inherited}
    return subprocess.run(
        ["make", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_environment_of_another_python_or_build_is_made_anew(tmp_path):
    ours = ("--dry-run", "install", f"VENV={tmp_path}", f"PYTHON={sys.executable}")
    said = make(*ours).stdout
    assert "--require-hashes" in said
    marker = Path(said.splitlines()[-1].removeprefix("touch "))
    assert marker.parent == tmp_path
    marker.touch()
    assert "Nothing to be done" in make(*ours).stdout
    assert "touch" in make(*ours, "CPU=1", "CPU_INDEX=index").stdout
    other = marker.rename(marker.with_name("installed-3.0"))
    assert "touch" in make(*ours).stdout
    assert "Nothing to be done" in make(*ours[:3]).stdout  # nothing else is asked for
    os.utime(other, (0, 0))
    outdated = make(*ours[:3])
    assert outdated.returncode and "give the PYTHON and CPU again" in outdated.stderr


def test_cpu_builds_are_of_the_locked_versions_and_the_rest_of_the_lock(tmp_path):
    cpu = ("install", f"VENV={tmp_path}", "PYTHON=true", "PY=true", "CPU=1")
    refused = make(*cpu)
    assert refused.returncode and "CPU_INDEX=URL" in refused.stderr
    assert make(*cpu, "CPU_INDEX=index").returncode == 0
    pinned = [f"{name}=={version(name)}" for name in ("torch", "torchaudio")]
    assert (tmp_path / "torch.txt").read_text().split() == pinned
    everything, left = lines(LOCK), lines(tmp_path / "others.lock")
    assert set(left) < set(everything)
    gone = {of.split("==")[0] for of in set(everything) - set(left)}
    of_cuda = {of for of in gone if of.startswith(("nvidia-", "cuda-"))}
    assert gone - of_cuda == {"torch", "torchaudio", "triton"}
    assert not [of for of in left if of.startswith(("nvidia-", "cuda-"))]
