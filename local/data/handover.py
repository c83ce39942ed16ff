"""How batches come from the processes that decode: in shared memory, or by pipes.

PyTorch hands tensors over in /dev/shm, of which a container has 64 MB unless it is told
otherwise. Where that is full, a worker dies, or waits for ever.
"""

import functools
import logging
import os
import pickle
from collections.abc import Callable

import torch

logger = logging.getLogger(__name__)

SHARED_MEMORY = "/dev/shm"

#: Below so many bytes in all it is worth a message, with what a user can do.
SMALL, MORE = 1 << 29, "Docker has --shm-size=2g for more"

#: What the locks of a worker's queues take there, with a reserve.
WORKER_BYTES = 1 << 16

#: What the smallest batch takes, in bytes: a page or two for every tensor.
LEAST = 1 << 16

#: Batches that each worker may have on their way, with a reserve: PyTorch lets it
#: prepare two, and others' may be larger.
ON_THEIR_WAY = 4


class Handover:
    """A dataloader's `collate_fn`, whose batches go by a pipe where memory is scarce.

    collate: Takes the items of a batch, a list of dict, and gives the batch; picklable.

    >>> Handover(len)([{"waveform": torch.zeros(3)}])
    1
    """

    def __init__(self, collate: Callable):
        self.collate = collate

    def __call__(self, items):
        """Make a batch, in a worker or where it is used."""
        batch = self.collate(items)
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            return batch
        n_bytes = max(LEAST, len(items) * max(map(_tensor_bytes, items)))
        _, free = _shared_memory()
        fits = ON_THEIR_WAY * worker.num_workers * n_bytes < free
        return batch if fits else _ByPipe(batch)


class _ByPipe:
    """A batch that the other end of a pipe gets as it is, no memory being shared."""

    def __init__(self, batch):
        self.batch = batch

    def __reduce__(self):
        return pickle.loads, (pickle.dumps(self.batch),)


def _tensor_bytes(value):
    """Bytes of the tensors in an item, which may be nested."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return 0
    return sum(map(_tensor_bytes, value))


def _shared_memory():
    """Bytes of shared memory, in all and free; without limits where it is no folder."""
    try:
        status = os.statvfs(SHARED_MEMORY)
    except FileNotFoundError:  # macOS
        return float("inf"), float("inf")
    return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


def workers_that_fit(n_workers: int) -> int:
    """As many workers as there is shared memory for, with a warning if that is little.

    n_workers: Processes that are to decode.

    Returns: As many or fewer; 0: none but the one that asks.
    """
    total, free = _shared_memory()
    n_fit = int(min(n_workers, free // WORKER_BYTES))
    size = f"{SHARED_MEMORY} has {total / 1e6:.2f} MB"
    if n_fit < n_workers:
        _warn(f"{size}, {free / 1e6:.2f} free: num_workers is {n_fit} ({MORE})")
    elif n_workers and total < SMALL:
        _warn(f"{size}: batches that it is too small for take longer ({MORE})")
    return n_fit


@functools.cache  # each once
def _warn(message):
    logger.warning(message)
