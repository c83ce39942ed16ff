"""utils.streams: what becomes of a run's output changes nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SECURE = "import logging, os, subprocess, sys\nfrom local.utils import streams\n"
SECURE += "streams.secure()\n"

#: Prints, logs, and lets a child print, more than a pipe holds.
TALK = """
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
print("begin", flush=True)
sys.stdin.read()
for i in range(20_000):
    print("one of many lines")
    logging.info("one of many messages")
subprocess.run(["echo", "a child's"], check=True)
print("to the other", file=sys.stderr)
unwritten = streams.flush()
print("end", file=open(sys.argv[1], "w"))
sys.exit(7 if unwritten is None else 8)
"""


def start(script, *arguments, **settings):
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    return subprocess.Popen(
        [sys.executable, "-c", SECURE + script, *arguments],
        stdin=subprocess.PIPE,
        cwd=ROOT,
        **settings,
    )


@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stderr, too"])
def test_a_reader_that_goes_away(tmp_path, both):
    """As `| head -1`, or `2>&1 | head -1`."""
    more = {"stderr": subprocess.STDOUT} if both else {}
    process = start(TALK, tmp_path / "end", **more)
    assert process.stdout.readline() == b"begin\n"
    process.stdout.close()
    process.stdin.close()
    said = b"" if both else process.stderr.read()
    assert process.wait(60) == 7
    assert said == (b"" if both else b"to the other\n")
    assert (tmp_path / "end").read_text() == "end\n"


def test_a_full_disk_is_told_once(tmp_path):
    with Path("/dev/full").open("w") as full:
        process = start(
            'print("lost")\nlogging.basicConfig(stream=sys.stdout)\n'
            'logging.error("lost, too")\n'
            "sys.exit(streams.flush().errno)",
            stdout=full,
        )
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (28, b"")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"\\u2026 \\xe4\n"),
        ("latin-1", b"\\u2026 \xe4\n"),
        ("utf-8", "… ä\n".encode()),
    ],
)
def test_letters_that_an_encoding_lacks(encoding, expected):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    script = 'print("… ä")\nprint("… ä", file=sys.stderr)'
    assert start(script, env=environment).communicate(timeout=60) == (expected,) * 2


def test_closed_outputs_do_not_get_into_files(tmp_path):
    """Otherwise the first file that is opened is standard output."""
    script = (
        SECURE + f"file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "print('lost', flush=True)\nos.write(1, b'lost')\nos.write(2, b'lost')\n"
        "print('kept', file=file)\n"
    )
    command = ["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, script]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert (tmp_path / "file").read_text() == "kept\n"
