"""Do the newest packages that the requirements allow work? If not, which broke it?

    python tests/newest.py PYTHON

PYTHON is the interpreter of an environment that has the newest versions (`make newest`
makes one). Where `smoke.py` fails there, the packages that differ from
requirements.lock are set back by halves until one is found with which it fails and
without which it works. Status 0: all works; 1: one message says what does not.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(python):
    """Try the newest versions, and look for the one that fails; the exit status."""
    changes = differing(
        installed(python), locked((ROOT / "requirements.lock").read_text())
    )
    for name, (newest, pinned) in changes.items():
        print(f"{name} {newest} (locked: {pinned})")
    if not (said := smoke(python)):
        print(
            f"The newest versions work: {len(changes)} differ from requirements.lock."
        )
        return 0

    def works(names):
        """Whether all is well with the newest of these and the others as locked."""
        install(python, {k: v[k not in names] for k, v in changes.items()})
        return not smoke(python)

    if works([]):
        name = first_to_break(list(changes), works)
        newest, pinned = changes[name]
        print(f"{said}\nBroken by {name} {newest}; {pinned} works.")
    else:
        print(f"{said}\nNot of a package: it fails with the locked versions as well.")
    return 1


def locked(text):
    """The version of each package in the text of a lock file.

    >>> locked("# made\\nnumpy==2.4.6 \\\\\\n    --hash=sha256:0\\nav==1 ; x\\n")
    {'numpy': '2.4.6', 'av': '1'}
    """
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE))


def differing(newest, pinned):
    """[newest, pinned] of each package that the two have in different versions.

    >>> differing({"a": "2", "b": "1", "c": "1"}, {"a": "1", "b": "1"})
    {'a': ['2', '1']}
    """
    both = sorted(newest.keys() & pinned.keys())
    return {k: [newest[k], pinned[k]] for k in both if newest[k] != pinned[k]}


def first_to_break(names: list[str], works: Callable) -> str:
    """The first name with which, after all before it, things no longer work.

    works: Takes some of the names; True of none of them, False of all.

    >>> first_to_break(list("abcde"), lambda names: "c" not in names)
    'c'
    """
    good, bad = 0, len(names)
    while bad - good > 1:
        middle = (good + bad) // 2
        if works(names[:middle]):
            good = middle
        else:
            bad = middle
    return names[bad - 1]


def smoke(python):
    """What failed, in words; nothing if all works."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [python, ROOT / "tests" / "smoke.py"]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return (result.stdout + result.stderr) if result.returncode else ""


def installed(python):
    """The version of each package of an environment, by the name that locks use."""
    listed = _pip(python, "list", "--format=json").stdout
    return {
        re.sub(r"[-_.]+", "-", of["name"]).lower(): of["version"]
        for of in json.loads(listed)
    }


def install(python, versions):
    """Put packages at these versions; what they depend on stays as it is."""
    pins = [f"{name}=={version}" for name, version in versions.items()]
    _pip(python, "install", "--quiet", "--no-deps", *pins)


def _pip(python, *arguments):
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
