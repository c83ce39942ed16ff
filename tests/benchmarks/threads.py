"""What waiting threads cost: a training step while cores are free, and while not.

    PYTHONPATH=. python tests/benchmarks/threads.py

A step of the demo's network (256 channels, 16 recordings of 3 s, optimiser of
hparams/train.yaml) on as many threads as there are cores, which wait for each other
- as OpenMP has them by default (they look for work for some milliseconds),
- as local.utils.threads has them (they look a thousand times, then sleep), or asleep at
once; and on one thread. Each is a process of its own, and they take turns: first while
nothing else runs, then beside two busy processes for every core. Ratios are by rounds;
the load average stands beside them, as on a machine that others use the first part
measures what the second does.
"""

import argparse
import functools
import multiprocessing
import os
import statistics
import tempfile
from pathlib import Path

from turns import print_ratio, take_turns

CHANNELS = [256, 256, 256, 256, 768]
BATCH_SIZE, CLIP_S = 16, 3

#: What the environment of each way says, before anything is loaded.
WAYS = {
    "by default": {"GOMP_SPINCOUNT": "300000"},  # what it is if nobody says anything
    "here": {},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


class Steps:
    """Training steps, on waveforms of noise."""

    def __init__(self, n_steps):
        from local.model import heads  # isort: skip (before torch, as in every script)
        import torch
        from training_epoch import LABELS, new_brain

        from local.utils.memory import keep_freed_memory

        keep_freed_memory()
        with tempfile.TemporaryDirectory() as folder:
            self.brain, hparams = new_brain(Path(folder), {"channels": CHANNELS})
        generator = torch.Generator().manual_seed(1)
        n_samples = CLIP_S * hparams["sample_rate"]
        self.waveforms = torch.randn(BATCH_SIZE, n_samples, generator=generator)
        n_labels = len(LABELS)
        self.targets = torch.randint(2, (BATCH_SIZE, n_labels), generator=generator)
        self.loss, self.models = hparams["compute_loss"], heads
        self.n_steps = n_steps
        print(f"{torch.get_num_threads()} threads", flush=True)

    def __call__(self, number):
        """Train for some steps, all on the same batch."""
        lengths = self.waveforms.new_ones(BATCH_SIZE)
        modules = self.brain.modules
        for _ in range(self.n_steps):
            features = self.models.compute_features(modules, self.waveforms, lengths)
            logits = self.models.classify(modules, *features).logits
            self.loss(logits, self.targets.float()).backward()
            self.brain.optimizers_step()


def count():
    """Keep a core busy."""
    while True:
        pass


def measure(options, n_busy):
    """Let the ways take turns beside so many busy processes; print ratios."""
    busy = [
        multiprocessing.get_context("spawn").Process(target=count, daemon=True)
        for _ in range(n_busy)
    ]
    for process in busy:
        process.start()
    before = os.getloadavg()[0]
    ways = dict.fromkeys(WAYS, functools.partial(Steps, options.steps))
    taken = take_turns(ways, options.rounds, environments=WAYS)
    for process in busy:
        process.kill()
    after = os.getloadavg()[0]
    print(f"beside {n_busy} busy processes, load {before:.1f} to {after:.1f}:")
    for name, seconds in taken.items():
        print(f"  {name}: {statistics.median(seconds) / options.steps:.2f} s a step")
    for other in (way for way in WAYS if way != "here"):
        print_ratio(taken, "here", other)


def main():
    """Time them beside nothing, and beside busy processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of each round")
    options = parser.parse_args()
    n_cores = len(os.sched_getaffinity(0))
    for n_busy in (0, 2 * n_cores):
        measure(options, n_busy)


if __name__ == "__main__":
    main()
