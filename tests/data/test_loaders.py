"""data.loaders: the batches that the keys of a yaml mean."""

import pandas as pd
import pytest

from local.data.loaders import ScoreBatches, TrainBatches
from local.data.samplers import BucketedBatches

MANIFEST = pd.DataFrame({"duration": [1.0, 4.0, 2.0, 3.0]})


@pytest.mark.parametrize(
    ("size", "frames", "device", "expected"),
    [
        # frames of 10 ms, padding included
        (None, 10_000, "cpu", [[1], [3], [2], [0]]),
        (None, 10_000, "cuda", [[1, 3, 2, 0]]),
        (3, 10_000, "cpu", [[1, 3, 2], [0]]),
        (None, 800, "cuda", [[1, 3], [2, 0]]),
        (None, 799, "cuda", [[1], [3, 2], [0]]),
        (1, 1, "cuda", [[1], [3], [2], [0]]),
    ],
)
def test_batches_of_scoring_are_the_longest_first(size, frames, device, expected):
    batches = ScoreBatches(size, frames, num_workers=0, seed=1)
    assert batches.longest_first(MANIFEST, device)["batch_sampler"] == expected


@pytest.mark.parametrize(("size", "expected"), [(None, 1), (5, 5)])
def test_batches_in_order_may_be_larger_than_one(size, expected):
    settings = ScoreBatches(size, 1000, num_workers=0, seed=1).in_order()
    assert settings["batch_size"] == expected
    assert "batch_sampler" not in settings


def test_workers_draw_by_the_seed():
    values = {"eval_batch_size": None, "eval_batch_frames": 9, "num_workers": 3}
    values |= {"seed": 7, "mono": "mean"}
    settings = ScoreBatches.of(values).in_order()
    assert settings["num_workers"] == 3
    assert settings["generator"].initial_seed() == 7


def test_batches_of_training_are_of_clips():
    """Clips of 1 s are all as long as each other, whatever their recordings are."""
    options = {"batch_size": 2, "bucket_batches": 2, "num_workers": 0, "seed": 5}
    for clip_length, lengths in ((0.0, [1, 4, 2, 3]), (1.0, [1, 1, 1, 1])):
        batches = TrainBatches(clip_length=clip_length, **options)
        settings = batches.loader_kwargs(MANIFEST)
        assert settings["generator"].initial_seed() == 5
        expected = BucketedBatches(lengths, 2, 5, bucket_batches=2)
        assert list(settings["batch_sampler"]) == list(expected)
    (first,), (second,) = (
        batches.loader_kwargs(MANIFEST, rank, world_size=2)["batch_sampler"]
        for rank in range(2)
    )
    assert sorted(first + second) == [0, 1, 2, 3]
