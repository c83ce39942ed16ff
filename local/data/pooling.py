"""Windows of one recording: where they begin, and what they say together."""

import math

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
