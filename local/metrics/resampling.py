"""Drawing subjects with replacement, with all their recordings."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

#: Weights in a block of draws: memory is bounded by some arrays of this size.
BLOCK_SIZE = 300_000

#: Blocks that are computed at the same time.
N_THREADS = 2


def draw_subjects(strata: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """How often each subject is drawn.

    strata: [n_subjects], Of each stratum as many are drawn as it has.

    Returns: [n_draws, n_subjects]

    >>> draws = draw_subjects(np.array([0, 1, 1]), n_draws=4, seed=0)
    >>> draws[:, 1:].sum(axis=1).tolist()
    [2, 2, 2, 2]
    """
    generator = np.random.default_rng(seed)
    n_subjects = len(strata)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    drawn = np.hstack(
        [
            each[generator.integers(len(each), size=(n_draws, len(each)))]
            for each in members
        ]
    )
    drawn += n_subjects * np.arange(n_draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=drawn.size)
    return counts.reshape(n_draws, n_subjects)


def in_blocks(function: Callable, draws: np.ndarray, n_recordings: int) -> list:
    """What a function makes of draws, block by block in their order.

    function: Takes some rows of `draws`; its memory is that of weights of these rows
        times recordings.
    draws: [n_draws, …]
    n_recordings: Of the label that has the most.
    """
    n_rows = max(1, BLOCK_SIZE // max(1, n_recordings))
    blocks = [draws[begin : begin + n_rows] for begin in range(0, len(draws), n_rows)]
    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(function, blocks))
