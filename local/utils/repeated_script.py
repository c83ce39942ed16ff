"""A script that is run many times, by processes that have its libraries loaded."""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import reduction

import torch

from local.utils import signals
from local.utils.errors import RunError

FORK = multiprocessing.get_context("fork")


@contextlib.contextmanager
def runner(script: str) -> Iterator[Callable[[list[str], list[int]], int]]:
    """Lends what runs a script to its end, which gets the signals that would stop this.

    A process stays as this one is now: it has loaded what the script needs, and has
    done nothing. Each run is a fork of it, unless forks can't work, as with a GPU that
    is looked at when PyTorch is loaded: then a new process loads all again.

    Yields run: Takes the script's arguments, and descriptors that are to stay open
        while it runs. Returns its exit status, as a shell tells it: 130 after SIGINT,
        143 after SIGTERM.
    """
    if sys.platform != "linux" or torch.cuda.is_available():
        yield lambda arguments, kept: _by_itself([script, *arguments], kept)
        return
    ours, its = FORK.Pipe()
    server = FORK.Process(target=_serve, args=(its, ours, script))
    server.start()
    its.close()
    try:
        with ours:
            yield lambda arguments, kept: _by_server(ours, server.pid, arguments, kept)
    finally:
        server.join()


def _by_itself(command, kept):
    # In a process group of its own: Ctrl-C would reach it twice, and the second one
    # interrupt what the first one made it do.
    child = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        process_group=0,
        pass_fds=kept,
    )
    with _forwarded(child.pid):
        return _as_shell(child.wait())


def _by_server(connection, server, arguments, kept):
    try:
        connection.send((arguments, len(kept)))
        for descriptor in kept:
            reduction.send_handle(connection, descriptor, server)
        with _forwarded(connection.recv()):
            return _as_shell(connection.recv())
    except (EOFError, OSError) as error:
        raise RunError("The process that starts the others was ended.") from error


def _as_shell(status):
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _forwarded(pid):
    """Let another process have the signals that would stop this one."""
    ours = {
        number: signal.signal(number, lambda number, _: _send(pid, number))
        for number in signals.SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup
    }
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


def _send(pid, number):
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, number)


def _serve(connection, other_end, script):
    """Run the script for whoever is at the other end, until nobody is."""
    other_end.close()
    os.setpgid(0, 0)  # as in `_by_itself`
    with contextlib.suppress(EOFError, OSError):
        while True:
            arguments, n_kept = connection.recv()
            kept = [reduction.recv_handle(connection) for _ in range(n_kept)]
            child = FORK.Process(target=_be, args=(connection, script, arguments))
            child.start()
            for descriptor in kept:
                os.close(descriptor)
            connection.send(child.pid)
            child.join()
            connection.send(child.exitcode)


def _be(connection, script, arguments):
    """Become the script, as if it had been started by itself."""
    connection.close()
    os.setpgid(0, 0)
    for number in signals.SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    multiprocessing.set_start_method(None, force=True)  # for workers: as it is here
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
