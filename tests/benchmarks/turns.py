"""What the benchmarks share: recordings to run on, and ways that take turns.

Each way has a process of its own, so that none has what another did to its process, and
they take turns, so that a machine that slows down slows down all of them.
"""

import json
import multiprocessing
import os
import resource
import statistics
import time
import unittest.mock
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

RATE = 44100  # Hz


def make_recordings(folder: Path, n_recordings: int) -> pd.DataFrame:
    """Noise with the rhythm of syllables, log-normal lengths; their manifest.

    folder: Gets a folder per recording.

    Returns: As `dataio.build_dataset` takes it: 1 to 15 s, 4 s on average.
    """
    generator, rows = np.random.default_rng(1), []
    for i in range(n_recordings):
        duration_s = np.clip(generator.lognormal(np.log(4) - 0.18, 0.6), 1, 15)
        time_s = np.arange(round(duration_s * RATE)) / RATE
        syllables = np.square(np.sin(2 * np.pi * 2 * time_s))
        samples = 0.1 * generator.standard_normal(len(time_s)) * syllables
        place = folder / f"r{i:04d}"
        place.mkdir(parents=True)
        soundfile.write(place / "waveform.wav", samples, RATE)
        (place / "metadata.json").write_text(json.dumps({"encoding": "WAV"}))
        rows.append({"ID": place.name, "recording": place.name, "duration": duration_s})
    return pd.DataFrame(rows).assign(start_s="", end_s="", channel="")


def take_turns(
    ways: dict[str, Callable],
    n_rounds: int,
    environments: dict[str, dict] | None = None,
) -> dict[str, list[float]]:
    """Run ways in turns, each in a process of its own, and print how long each took.

    ways: Each is called once in its process and gives what is called in every round,
        with the round's number; picklable. The first round warms up.
    environments: What the environment of a way's process has beside what it has here.

    Returns: Seconds of each round.
    """
    pipes = {}
    for name, way in ways.items():
        with unittest.mock.patch.dict(os.environ, (environments or {}).get(name, {})):
            pipes[name] = _start(way)
    taken = {name: [] for name in ways}
    for number in range(n_rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(number)
            taken_s, peak_gb = pipe.recv()
            if number:
                taken[name].append(taken_s)
                print(
                    f"round {number}, {name}: {taken_s:.1f} s, peak {peak_gb:.1f} GB",
                    flush=True,
                )
    for pipe in pipes.values():
        pipe.send(None)
    return taken


def _start(way):
    """A process that waits for its turn; the pipe to it."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    context.Process(target=_serve, args=(way, other), daemon=True).start()
    pipe.recv()
    return pipe


def _serve(way, pipe):
    """Run whenever a number comes; tell the seconds, and GB at most."""
    run = way()
    pipe.send(None)
    while (number := pipe.recv()) is not None:
        begin = time.perf_counter()
        run(number)
        taken_s = time.perf_counter() - begin
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send((taken_s, peak_kb / 1e6))


def print_ratio(taken, ours, other):
    """Print how many times faster one way is than another, round by round."""
    ratios = sorted(b / a for a, b in zip(taken[ours], taken[other], strict=True))
    print(
        f"{ours}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to "
        f"{ratios[-1]:.2f}) times as fast as {other}"
    )
