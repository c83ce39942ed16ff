"""Stopping when asked to, by Ctrl-C or by a machine that is taken away (SIGTERM).

Most work stops at once, as if Ctrl-C raised KeyboardInterrupt: what was begun is
removed, and what was finished stays. Training goes on until it has saved a checkpoint.
"""

import contextlib
import multiprocessing.context
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
from collections.abc import Callable

#: What stops a run.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Seconds that a process which decodes recordings goes on after SIGTERM, so that the
#: main process, which may have got it as well, still gets the batch it waits for.
GRACE_S = 20


#: What takes long to load, and is loaded once by a server that forks.
PRELOADED = ("torch", "torchaudio", "pandas", "speechbrain.dataio.dataset")

SAID = (
    b"\nAsked to stop: a checkpoint is saved first. Asked once more, the run stops at "
    b"once, and can go on from the checkpoint before.\n"
)


class Stopped(KeyboardInterrupt):
    """The run was asked to stop.

    number: The signal.
    """

    def __init__(self, number: int):
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class _StoppedWaiting(Stopped):
    """Asked to stop, while nothing was under way but the wait for a batch."""


class _State:
    """Of this process: who it is, whether it may finish something, who asked."""

    main_pid = None
    is_deferred = False
    is_waiting = False
    asked = None


def install():
    """Take over the signals that stop a run, except those that are ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        return
    _State.main_pid = os.getpid()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def _handle(number, _frame):
    if os.getpid() != _State.main_pid:
        if number != signal.SIGINT:  # Ctrl-C reaches the main process too
            signal.alarm(GRACE_S)
        return
    if not _State.is_deferred or _State.asked is not None:
        raise Stopped(number)
    _State.asked = number
    # no logging: the signal may have come in the middle of it
    with contextlib.suppress(OSError):  # nobody reads it any more
        os.write(sys.stderr.fileno(), SAID)
    if _State.is_waiting:
        raise _StoppedWaiting(number)


def keep_working(_worker=None):
    """In a process that decodes: leave stopping to the main process, for a while.

    PyTorch has its workers end at SIGTERM at once; where a whole group of processes
    gets it, the main one could then no longer save.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class _HeldBack:
    """Begins with signals held back: `keep_working` then lets it have them."""

    def start(self):
        """Start it, as any process."""
        if self._start_method != "fork":
            # another that is needed, during whose start Python lets signals through
            multiprocessing.resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Forked(_HeldBack, multiprocessing.context.ForkProcess):
    pass


class _Spawned(_HeldBack, multiprocessing.context.SpawnProcess):
    pass


class _Served(_HeldBack, multiprocessing.context.ForkServerProcess):
    pass


class _Fork(multiprocessing.context.ForkContext):
    Process = _Forked


class _Spawn(multiprocessing.context.SpawnContext):
    Process = _Spawned


class _ForkServer(multiprocessing.context.ForkServerContext):
    Process = _Served


def worker_context():
    """How a DataLoader starts processes that `keep_working`: as Python does here.

    That is by fork on Linux up to Python 3.13, by a server that forks from 3.14 on, and
    by spawn elsewhere, unless `multiprocessing.set_start_method` says otherwise.

    Returns multiprocessing.context.BaseContext
    """
    method = multiprocessing.get_start_method()
    if method == "forkserver":
        multiprocessing.set_forkserver_preload(list(PRELOADED))
    return {"fork": _Fork, "spawn": _Spawn, "forkserver": _ForkServer}[method]()


def asked() -> bool:
    """Whether this process was asked to stop, while that was deferred."""
    return _State.asked is not None


def stop():
    """Stop here: this process, or another one of the same run, was asked to.

    Raises Stopped.
    """
    raise Stopped(_State.asked or signal.SIGTERM)


@contextlib.contextmanager
def deferred():
    """Let the block decide when it stops: it looks at `asked`, and ends.

    A second signal stops it at once.

    Raises Stopped: At the end of the block, if the process was asked to.
    """
    _State.is_deferred = True
    try:
        yield
        if asked():
            stop()
    finally:
        _State.is_deferred, _State.asked = False, None


class Awaited:
    """Batches of a dataloader, each of which may never come.

    A process that decodes may hang, as on a network drive that is gone. Asked to stop
    while it waits for one, the run needn't wait any longer.

    loader: torch.utils.data.DataLoader
    may_stop: Tells whether a checkpoint may be saved before the next batch.
    save: Saves it.
    """

    def __init__(self, loader, may_stop: Callable, save: Callable):
        self.loader, self.may_stop, self.save = loader, may_stop, save

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        batches = iter(self.loader)
        while True:
            n_yielded = batches._num_yielded
            _State.is_waiting = self.may_stop()
            try:
                batch = next(batches, None)
            except _StoppedWaiting:
                # the loader's place is in the checkpoint: no batch may be left out
                if batches._num_yielded == n_yielded:
                    self.save()
                raise
            finally:
                _State.is_waiting = False
            if batch is None:
                return
            yield batch
