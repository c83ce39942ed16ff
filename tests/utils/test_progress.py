"""How far long work has come, with a terminal and without."""

import contextlib
import logging
import os
import sys
import termios
from functools import partial

import pytest
from tqdm import tqdm

from local.utils import progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when told."""
    time_s = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time_s[0])
    return time_s


def lines(caplog, clock, total, steps, seconds, unit="rec", **options):
    """What a log says of so many steps, each of so many units and seconds."""
    caplog.set_level(logging.INFO)
    with progress.progress(total, "measuring test", unit, **options) as step:
        for n in steps:
            clock[0] += seconds
            step(n)
    return caplog.messages


def test_a_log_has_a_line_at_each_tenth(caplog, clock):
    told = lines(caplog, clock, 832, [1] * 832, seconds=0.1)
    assert told[0] == "measuring test: 84 of 832"  # the first beyond a tenth
    assert told[-1] == "measuring test: 832 of 832"
    assert len(told) == 10


def test_large_steps_and_those_of_an_earlier_run_count(caplog, clock):
    told = lines(caplog, clock, 2000, [500, 499, 1], seconds=9, done=1000)
    assert [line.split(": ")[1] for line in told] == [
        "1,500 of 2,000",
        "1,999 of 2,000",
        "2,000 of 2,000",
    ]


def test_what_is_done_at_once_is_not_worth_a_line(caplog, clock):
    assert lines(caplog, clock, 100, [1] * 100, seconds=0.009) == []
    # and there is at most one in a second
    assert len(lines(caplog, clock, 100, [1] * 100, seconds=0.035)) == 3


def test_bytes_have_a_unit(caplog, clock):
    told = lines(caplog, clock, 2e9, [5e8, 15e8], seconds=2, unit="B")
    assert told == [
        "measuring test: 500MB of 2.00GB",
        "measuring test: 2.00GB of 2.00GB",
    ]


def test_hidden_work_and_no_work_say_nothing(caplog, clock):
    assert lines(caplog, clock, 10, [1] * 10, seconds=9, hidden=True) == []
    assert lines(caplog, clock, 0, [], seconds=9) == []


def _all_of(terminal):
    """What a closed terminal was sent: one read may return a part of it only."""
    with contextlib.suppress(OSError):  # EIO: there is no more
        while sent := os.read(terminal, 2**16):
            yield sent.decode()


def test_a_terminal_has_a_bar(caplog, monkeypatch, clock):
    terminal, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    monkeypatch.setattr(progress, "tqdm", partial(tqdm, mininterval=0))
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        assert lines(caplog, clock, 8, [2, 2], seconds=9, done=1) == []
    shown = "".join(_all_of(terminal))
    os.close(terminal)
    assert "measuring test" in shown and "5/8" in shown
