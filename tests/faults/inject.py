"""Run a script, and let something go wrong when it changes a folder for the n-th time.

    python tests/faults/inject.py FAULT N FOLDER SCRIPT [ARGUMENT …]

FAULT is kill (SIGKILL), term (SIGTERM), int (SIGINT), full (from then on nothing can be
written: no space left), readonly (nothing can be changed), gone (the folder is removed)
or none. A change is a file opened for writing, renamed or
removed, or a folder made or removed, in the main process, below FOLDER; the fault comes
before it. The number of changes is written to FOLDER.changes.
"""

import errno
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEEDS_ROOM = ("open", "os.mkdir")
CHANGES = {"os.rename": 2, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1}


class Injector:
    """An audit hook that counts changes of a folder and strikes at one of them."""

    def __init__(self, fault, number, folder):
        self.fault, self.number = fault, number
        self.folder = Path(folder).absolute()
        self.pid, self.count, self.is_busy = os.getpid(), 0, False

    def __call__(self, event, args):
        if self.is_busy or os.getpid() != self.pid or not self._is_change(event, args):
            return
        self.count += 1
        if self.fault == "full" and self.count >= self.number and event in NEEDS_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "readonly" and self.count >= self.number:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if self.fault == "gone" and self.count == self.number:
            self.is_busy = True
            shutil.rmtree(self.folder)
            self.is_busy = False
        if self.fault in SIGNALS and self.count == self.number:
            os.kill(self.pid, SIGNALS[self.fault])

    def _is_change(self, event, args):
        if event == "open":
            path, mode, flags = args
            writes = flags & WRITING if mode is None else set(mode or "r") & set("wxa+")
            return bool(writes) and self._is_below(path, -1)
        if event in CHANGES:
            return self._is_below(args[0], args[CHANGES[event]])
        return False

    def _is_below(self, path, folder_descriptor):
        if isinstance(path, int):
            return False
        path = os.fsdecode(path)
        if folder_descriptor not in (-1, None):
            self.is_busy = True  # readlink is audited as well
            path = Path(f"/proc/self/fd/{folder_descriptor}").readlink() / path
            self.is_busy = False
        return Path(path).absolute().is_relative_to(self.folder)


def main(fault, number, folder, script, *arguments):
    """Run the script as if it were called by itself."""
    injector = Injector(fault, int(number), folder)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    sys.addaudithook(injector)
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        injector.is_busy = True
        Path(f"{folder}.changes").write_text(str(injector.count))


if __name__ == "__main__":
    main(*sys.argv[1:])
