"""Windows of one recording: where they begin, and what they say together."""

import math
from collections.abc import Sequence

import numpy as np

#: How what is said of the windows becomes what is said of the recording.
POOLINGS = ("mean", "max")


def pool_windows(values: list[np.ndarray], pooling: str) -> np.ndarray:
    """What is said of a recording, from what is said of its windows.

    values: [size], Of each window, in any order.
    pooling: One of `POOLINGS`.

    Returns: [size]

    >>> pool_windows([np.array([1.0, 6.0]), np.array([3.0, 2.0])], "max").tolist()
    [3.0, 6.0]
    """
    if len(values) == 1:
        return values[0]
    pool = np.mean if pooling == "mean" else np.max
    # sorted: a mean depends on the order in its last digits
    return pool(np.sort(values, axis=0), axis=0)


def window_starts(duration_s: float, length_s: float, overlap_s: float) -> list[float]:
    """Where the windows of a recording begin.

    duration_s: Of the recording.
    length_s: Of a window; 0 leaves all recordings whole.
    overlap_s: That neighbours share, at least.

    Returns: s from the recording's begin; only 0 where it is one window.

    >>> window_starts(25.0, 10.0, 2.0)
    [0.0, 7.5, 15.0]
    """
    if not 0 < length_s < duration_s:
        return [0.0]
    spare_s = duration_s - length_s
    # less a rounding error, which should not cost a window
    n = 1 + max(1, math.ceil(spare_s / (length_s - overlap_s) - 1e-6))
    return [spare_s * i / (n - 1) for i in range(n)]


def cut_windows(
    waveform: Sequence, rate: int, length_s: float, overlap_s: float, begin_s: float = 0
) -> list[Sequence]:
    """The windows of a waveform, which are parts of it.

    waveform: [time], at `rate` in Hz.
    length_s, overlap_s: As for `window_starts`.
    begin_s: When it begins in its file, from which samples are counted.

    >>> cut_windows(range(9), 1, 4.0, 1.0)
    [range(0, 4), range(2, 6), range(5, 9)]
    """
    starts = window_starts(len(waveform) / rate, length_s, overlap_s)
    if len(starts) == 1:
        return [waveform]
    begin = round(begin_s * rate)
    bounds = [
        (
            round((begin_s + start) * rate) - begin,
            round((begin_s + start + length_s) * rate) - begin,
        )
        for start in starts
    ]
    bounds[-1] = bounds[-1][0], len(waveform)
    return [waveform[first:last] for first, last in bounds]
