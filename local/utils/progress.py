"""How far long work has come: a bar in a terminal, lines in a log.

    with progress(len(rows), "measuring test", "rec") as step:
        for row in rows:
            ...
            step()    # or step(n)

In a terminal it is tqdm's bar, with the speed and the time left. Without one, as in a
job's log, each tenth is told: "measuring test: 83 of 832".
"""

import contextlib
import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

#: Parts after which a log is told, and seconds from one line to the next at least:
#: what is done in less is not worth a line.
N_LINES, PAUSE_S = 10, 1.0


@contextlib.contextmanager
def progress(total: int, title: str, unit: str, done: int = 0, hidden: bool = False):
    """Shows how far a loop has come.

    total: How much there is to do.
    title: What is done.
    unit: Of what; "B" for bytes, which are told in kB, MB, …
    done: What an earlier run has done of it.
    hidden: Whether nothing is to be shown, as in all processes of a run but the first.

    Yields callable: Takes how much was done since its last call, 1 unless given.
    """
    if hidden:
        yield lambda n=1: None
    elif sys.stderr.isatty():
        shown = {"desc": title, "unit": unit, "unit_scale": unit == "B"}
        with tqdm(total=total, initial=done, **shown) as bar:
            yield lambda n=1: bar.update(n)
    else:
        yield _Lines(total, title, unit, done).step


class _Lines:
    """A line in the log at each tenth."""

    def __init__(self, total, title, unit, done):
        self.total, self.title, self.unit, self.done = total, title, unit, done
        self._told, self._time = self._tenth(), time.monotonic()

    def step(self, n=1):
        """So many more are done."""
        self.done += n
        now = time.monotonic()
        if self._tenth() > self._told and now - self._time >= PAUSE_S:
            self._told, self._time = self._tenth(), now
            done, total = map(self._shown, (self.done, self.total))
            logger.info("%s: %s of %s", self.title, done, total)

    def _tenth(self):
        return N_LINES * self.done // max(self.total, 1)

    def _shown(self, n):
        if self.unit == "B":
            return tqdm.format_sizeof(n, "B")
        return f"{n:,}"
