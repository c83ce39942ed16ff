"""Which recordings make a batch, and in which order batches come."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from local.utils.keyed_random import keyed_generator

#: Lengths count as up to this share longer when they are sorted, drawn anew in every
#: epoch. Without it a corpus that is sorted as a whole had the same batches in every
#: epoch; with it, of 120 recordings around 4 s in batches of 8, 6 of 10 pairs are new,
#: and padding adds 10 % to the audio instead of 7 % (95 % unsorted).
LENGTH_JITTER = 0.2


def training_lengths(durations: ArrayLike, clip_length: float) -> np.ndarray:
    """How much of each recording training reads.

    durations: Of the recordings, in s.
    clip_length: Longest part that is read, in s; 0: recordings are whole.

    Returns: float64 [recording], in s.

    >>> training_lengths([3.0, 12.0], clip_length=10).tolist()
    [3.0, 10.0]
    """
    durations = np.asarray(durations, dtype="float64")
    return np.minimum(durations, clip_length or np.inf)


class BucketedBatches(torch.utils.data.Sampler):
    """Batches of recordings of similar length, new ones in every epoch, never of one.

    Every epoch, all recordings are shuffled and dealt into pools; a pool is sorted by
    length and cut into batches, which come in random order. So little is padded, and
    still every epoch has other batches.

    ECAPA-TDNN's batch normalisation can't train on one recording, so one that is left
    over joins another batch. Under torchrun every process takes its share of the
    batches, neighbours in length at the same time, so that none waits long for another;
    so that all have as many, a few may come twice.

    lengths: Of the recordings, [recording], in any unit.
    bucket_batches: Batches in a pool; with 1 nothing is sorted.
    rank, world_size: Which process this is, of how many.

    Raises ValueError: if there would be a batch of one.

    >>> batches = BucketedBatches([9, 2, 8, 1], batch_size=2, seed=1)
    >>> sorted(sorted(batch) for batch in batches)
    [[0, 2], [1, 3]]
    """

    def __init__(
        self,
        lengths: ArrayLike,
        batch_size: int,
        seed: int,
        bucket_batches: int = 50,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.lengths = np.asarray(lengths, dtype="float64")
        if batch_size < 2 or len(self.lengths) < 2 or bucket_batches < 1:
            raise ValueError(
                "training needs batches of at least 2 recordings, and pools of at "
                f"least one batch: batch_size is {batch_size}, recordings are "
                f"{len(self.lengths)}, bucket_batches is {bucket_batches}"
            )
        self.batch_size = batch_size
        self.bucket_batches = bucket_batches
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch):
        """The epoch whose order comes next; `Brain.fit` calls this."""
        self.epoch = epoch

    def __iter__(self):
        generator = keyed_generator("order", self.seed, self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).numpy()
        pools = _cut(order, self.bucket_batches * self.batch_size)
        batches = [
            batch.tolist()
            for pool in pools
            for batch in _cut(self._sorted(pool, generator), self.batch_size)
        ]
        # steps: what the processes train on at the same time
        missing = -len(batches) % self.world_size
        batches += [batches[i % len(batches)] for i in range(missing)]
        n_steps = len(batches) // self.world_size
        for step in torch.randperm(n_steps, generator=generator).tolist():
            yield batches[step * self.world_size + self.rank]

    def _sorted(self, pool, generator):
        """A pool, [recording], from short to long; equal lengths in random order."""
        if self.bucket_batches == 1:
            return pool
        drawn = torch.rand(len(pool), generator=generator, dtype=torch.float64).numpy()
        # the pool is shuffled and the sort stable
        return pool[
            np.argsort(self.lengths[pool] * (1 + LENGTH_JITTER * drawn), kind="stable")
        ]

    def __len__(self):
        full, rest = divmod(len(self.lengths), self.batch_size)
        return -(-(full + (rest > 1)) // self.world_size)


def length_sorted_batches(
    lengths: list[float], max_recordings: int, max_padded: float
) -> list[list[int]]:
    """Batches of recordings that are about as long as each other, the longest first.

    The longest first: if memory is too small, that shows at once.

    lengths: Of the recordings, in any unit.
    max_recordings: In a batch.
    max_padded: Length of a batch with its padding; a single recording may be longer.

    Returns: Positions in `lengths`.

    >>> length_sorted_batches([1, 9, 2, 3, 3], max_recordings=3, max_padded=7)
    [[1], [3, 4], [2, 0]]
    """
    batches, longest = [], 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        n = len(batches[-1]) + 1 if batches else 0
        if batches and n <= max_recordings and n * longest <= max_padded:
            batches[-1].append(i)
        else:
            batches.append([i])
            longest = lengths[i]
    return batches


def _cut(order, size):
    """Parts of `size`; a last part of one joins the one before it."""
    parts = [order[i : i + size] for i in range(0, len(order), size)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts
