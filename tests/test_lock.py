"""requirements.lock: all that is asked for, at one version with hashes."""

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
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


def is_up_to_date(folder, *options):
    """Whether `make install` finds nothing to do."""
    command = ["make", "--question", "install", f"VENV={folder}", *options]
    status = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert status.returncode in (0, 1), status.stderr
    return status.returncode == 0


def test_make_knows_which_of_the_two_is_installed(tmp_path):
    assert not is_up_to_date(tmp_path) and not is_up_to_date(tmp_path, "LOCKED=1")
    (tmp_path / "installed").touch()
    assert is_up_to_date(tmp_path) and not is_up_to_date(tmp_path, "LOCKED=1")
    (tmp_path / "installed").rename(tmp_path / "installed-locked")
    assert not is_up_to_date(tmp_path) and is_up_to_date(tmp_path, "LOCKED=1")
