"""Many small computations at the same time, each on one thread."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch


def in_parallel(function: Callable, inputs: Iterable, n_streams: int) -> Iterator:
    """What a function gives for each input, in order; several are computed at a time.

    A network's many small steps don't keep two threads busy: as many inputs as there
    are threads, one thread each, are done sooner. Inputs are fetched meanwhile.

    n_streams: How many at a time; with 1 PyTorch's threads work on one together.

    >>> list(in_parallel(abs, [-3, 1, -2], n_streams=2))
    [3, 1, 2]
    """
    if n_streams == 1:
        yield from map(function, inputs)
        return
    with _one_thread(), ThreadPoolExecutor(n_streams) as pool:
        waiting = deque()
        for each in inputs:
            waiting.append(pool.submit(function, each))
            if len(waiting) > 2 * n_streams:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextlib.contextmanager
def _one_thread():
    """Let PyTorch use one thread per operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
