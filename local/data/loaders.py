"""How recordings come in batches: in training, and where a model runs over a split."""

import dataclasses
from collections.abc import Callable

import pandas as pd
import torch
from speechbrain.dataio.batch import PaddedBatch

from local.data import handover
from local.data.samplers import (
    BucketedBatches,
    length_sorted_batches,
    training_lengths,
)
from local.utils import signals
from local.utils.from_keys import FromKeys

#: Recordings of a batch outside training, unless the yaml says otherwise.
GPU_BATCH_SIZE = 64

#: Distance between frames of most front ends, in s.
HOP_S = 0.010


@dataclasses.dataclass(frozen=True)
class TrainBatches(FromKeys):
    """Batches of training, new ones in every epoch (see `BucketedBatches`).

    batch_size: Recordings.
    bucket_batches: Batches whose recordings are sorted by length together.
    clip_length: Longest part of a recording that is read, in s; 0: all of it.
    num_workers: Processes that decode.
    seed: Of the order.
    """

    batch_size: int
    bucket_batches: int
    clip_length: float
    num_workers: int
    seed: int

    def loader_kwargs(
        self, manifest: pd.DataFrame, rank: int = 0, world_size: int = 1
    ) -> dict:
        """DataLoader settings for an epoch.

        manifest: Of the dataset, with `duration` (s).
        rank, world_size: Which process this is, of how many.
        """
        batches = BucketedBatches(
            training_lengths(manifest["duration"], self.clip_length),
            self.batch_size,
            self.seed,
            self.bucket_batches,
            rank,
            world_size,
        )
        return {"batch_sampler": batches, **workers(self.num_workers, self.seed)}


@dataclasses.dataclass(frozen=True)
class ScoreBatches(FromKeys):
    """Batches outside training, where each recording comes once.

    eval_batch_size: Recordings at most; None: 1 on a CPU, where padding costs more than
        it saves, and `GPU_BATCH_SIZE` on a GPU.
    eval_batch_frames: Frames of 10 ms at most, padding included.
    num_workers: Processes that decode.
    seed: Of these processes.
    """

    eval_batch_size: int | None
    eval_batch_frames: int
    num_workers: int
    seed: int

    def longest_first(self, manifest: pd.DataFrame, device_type: str) -> dict:
        """DataLoader settings for running the model over a split.

        manifest: Of the dataset, with `duration` (s).
        device_type: "cpu", "cuda", …
        """
        most = self.eval_batch_size or (1 if device_type == "cpu" else GPU_BATCH_SIZE)
        frames = (manifest["duration"] / HOP_S).tolist()
        batches = length_sorted_batches(frames, most, self.eval_batch_frames)
        return {"batch_sampler": batches, **workers(self.num_workers, self.seed)}

    def in_order(self, collate: Callable = PaddedBatch) -> dict:
        """DataLoader settings for reading a split in the order of its manifest.

        collate: As `workers` takes it.
        """
        return {
            "batch_size": self.eval_batch_size or 1,
            **workers(self.num_workers, self.seed, collate),
        }


def workers(num_workers: int, seed: int, collate: Callable = PaddedBatch) -> dict:
    """DataLoader settings of the processes that decode.

    num_workers: How many there are, unless shared memory is too small for them.
    collate: Takes the items of a batch, gives the batch.
    """
    n_workers = handover.workers_that_fit(num_workers)
    return {
        "collate_fn": handover.Handover(collate),
        "num_workers": n_workers,
        "worker_init_fn": signals.keep_working,
        "multiprocessing_context": signals.worker_context() if n_workers else None,
        # of its own, so that workers don't draw from the global random state
        "generator": torch.Generator().manual_seed(seed),
    }
