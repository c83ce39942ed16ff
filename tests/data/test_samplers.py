"""data.samplers: similar lengths together, all recordings, never one alone."""

import itertools

import numpy as np
import pytest
import torch

from local.data.samplers import LENGTH_JITTER, BucketedBatches, training_lengths

#: Number of recordings, size of a batch, batches in a pool.
SIZES = list(
    itertools.product((2, 3, 7, 8, 9, 16, 17, 31, 65), (2, 3, 8, 50), (1, 2, 50))
)


def corpus(n, seed=1):
    """Lengths of n recordings in s, half of them the same as others."""
    generator = np.random.default_rng(seed)
    lengths = generator.lognormal(1.2, 0.6, n)
    lengths[n // 2 :] = generator.choice([1.0, 2.5, 10.0], n - n // 2)
    return lengths


def batches(lengths, size, seed=1, epoch=1, **options):
    sampler = BucketedBatches(lengths, size, seed, **options)
    sampler.set_epoch(epoch)
    return list(sampler)


def padded_s(lengths, found):
    """Seconds of audio and padding that an epoch computes."""
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in found)


# Who is in an epoch


@pytest.mark.parametrize(("n", "size", "pool"), SIZES)
def test_every_recording_comes_once_and_never_alone(n, size, pool):
    lengths = corpus(n)
    found = batches(lengths, size, bucket_batches=pool)
    assert sorted(i for batch in found for i in batch) == list(range(n))
    assert all(2 <= len(batch) <= size + 1 for batch in found)
    assert sum(len(batch) != size for batch in found) <= 1
    assert len(BucketedBatches(lengths, size, 1, bucket_batches=pool)) == len(found)


@pytest.mark.parametrize(("n", "size", "pool"), SIZES)
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_the_batches(n, size, pool, world_size):
    lengths = corpus(n)
    options = {"bucket_batches": pool, "world_size": world_size}
    shares = [
        batches(lengths, size, rank=rank, **options) for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    sampler = BucketedBatches(lengths, size, 1, rank=1, **options)
    assert len(sampler) == len(shares[0])
    everything = {tuple(batch) for share in shares for batch in share}
    alone = batches(lengths, size, bucket_batches=pool)
    assert everything == {tuple(batch) for batch in alone}
    n_extra = sum(map(len, shares)) - len(everything)
    assert 0 <= n_extra < world_size


def test_processes_get_neighbours_in_length_at_the_same_time():
    """64 lengths that even the draw can't reorder: 8 batches, two at a time."""
    lengths = [1.5**i for i in range(64)]
    options = {"bucket_batches": 8, "world_size": 2}
    first, second = (batches(lengths, 8, rank=rank, **options) for rank in (0, 1))
    starts = [(min(a), min(b)) for a, b in zip(first, second, strict=True)]
    assert sorted(starts) == [(0, 8), (16, 24), (32, 40), (48, 56)]


@pytest.mark.parametrize(
    ("n", "size", "pool"), [(5, 1, 1), (5, 0, 1), (1, 8, 1), (0, 8, 1), (5, 2, 0)]
)
def test_batches_of_one_are_refused(n, size, pool):
    with pytest.raises(ValueError, match="at least 2 recordings"):
        BucketedBatches([1.0] * n, size, seed=1, bucket_batches=pool)


# What is padded


def test_sorted_pools_by_hand():
    """Lengths too far apart for the draw: short ones together, long ones together."""
    found = batches([9, 2, 80, 4, 1, 70], size=2, bucket_batches=3)
    assert sorted(sorted(batch) for batch in found) == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("n", "size"), [(4, 2), (12, 3), (64, 8)])
def test_no_other_batches_of_a_pool_are_padded_much_less(n, size, seed):
    """Sorting is best of all for batches of one size; the draw costs its share."""
    lengths = corpus(n, seed)
    bucketed = batches(lengths, size, seed, bucket_batches=70)
    unsorted = batches(lengths, size, seed, bucket_batches=1)
    most = (1 + LENGTH_JITTER) * padded_s(lengths, unsorted)
    assert padded_s(lengths, bucketed) <= most + 1e-9


def test_little_is_padded():
    lengths = np.random.default_rng(1).lognormal(1.2, 0.6, 800)
    padding = {
        pool: padded_s(lengths, batches(lengths, 8, bucket_batches=pool))
        / lengths.sum()
        - 1
        for pool in (1, 50)
    }
    assert padding[1] > 0.8
    assert padding[50] < 0.15


def test_lengths_in_training():
    assert training_lengths([3, 12.5, 10], 10).tolist() == [3, 10, 10]
    assert training_lengths([3, 12.5, 10], 0).tolist() == [3, 12.5, 10]


# The order


@pytest.mark.parametrize("pool", [1, 3, 50])
def test_the_order_is_new_in_every_epoch_and_repeats_with_the_seed(pool):
    lengths = np.linspace(3, 4, 30)

    def order(**which):
        return batches(lengths, 4, bucket_batches=pool, **which)

    assert order() == order()
    orders = [order(epoch=e, seed=s) for e, s in [(1, 1), (2, 1), (1, 2)]]
    assert len({str(order) for order in orders}) == 3
    members = [{frozenset(batch) for batch in order} for order in orders]
    assert members[0] != members[1]  # not the same batches in another order


def test_long_recordings_do_not_come_last():
    lengths = [1.5**i for i in range(64)]
    firsts = {
        min(batches(lengths, 8, epoch=epoch, bucket_batches=50)[0])
        for epoch in range(60)
    }
    assert firsts == {0, 8, 16, 24, 32, 40, 48, 56}


def test_equal_lengths_are_shuffled():
    """Clips of one length: neighbours in the manifest are no likelier together."""
    together = 0
    for epoch in range(50):
        found = batches([10.0] * 40, 4, epoch=epoch, bucket_batches=50)
        together += sum(i + 1 in batch for batch in found for i in batch)
    # 39 pairs of neighbours, of which 3 of 39 are together by chance: 150 in 50 epochs
    assert 100 < together < 200


def test_the_order_does_not_depend_on_the_global_random_state():
    torch.manual_seed(0)
    first = batches(range(1, 31), 4)
    torch.manual_seed(1)
    assert batches(range(1, 31), 4) == first
