"""Drawing subjects with replacement, with all their recordings."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from local.metrics.estimate import measure

#: Weights in a block of draws: memory is bounded by some arrays of this size.
BLOCK_SIZE = 300_000

#: Blocks that are computed at the same time.
N_THREADS = 2


def draw_subjects(n_subjects: int, n_draws: int, seed: int) -> np.ndarray:
    """How often each subject is drawn, with replacement.

    Returns: [n_draws, n_subjects]

    >>> draw_subjects(3, n_draws=4, seed=0).sum(axis=1).tolist()
    [3, 3, 3, 3]
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(
        n_subjects, np.full(n_subjects, 1 / n_subjects), n_draws
    )


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


#: Where fewer draws than this share are defined, they can't stand for all.
MIN_DEFINED_SHARE = 0.5

#: With fewer subjects there is no telling how much they differ.
MIN_SUBJECTS = 5


def bootstrap(
    functions: dict[str, Callable], subjects: np.ndarray, seed: int, n_draws: int = 1000
) -> dict[str, dict]:
    """Measures and their 95 % percentile intervals, from draws of subjects.

    For what is not smooth in the weights of recordings; all else is linearised (see
    `local.metrics.intervals`).

    functions: By name; each takes how often each recording is drawn, [d, n] of int, and
        gives [d], NaN where the measure is undefined.
    subjects: [n] of str

    Returns: {"value", "low", "high"} of each; "reason" where one of them is None.

    >>> shares = {"share": lambda weights: weights[:, 0] / weights.sum(axis=1)}
    >>> bootstrap(shares, np.array(list("abcdefgh")), seed=1)["share"]
    {'value': 0.125, 'low': 0.0, 'high': 0.375}
    """
    names, index = np.unique(subjects, return_inverse=True)
    once = np.ones((1, len(index)), dtype=int)
    values = {name: function(once)[0] for name, function in functions.items()}
    few = f"fewer than {MIN_SUBJECTS} subjects: {len(names)}"
    if len(names) < MIN_SUBJECTS:
        return {name: measure(value, reason=few) for name, value in values.items()}
    draws = draw_subjects(len(names), n_draws, seed)

    def of_block(block):
        return [function(block[:, index]) for function in functions.values()]

    blocks = in_blocks(of_block, draws, len(index))
    drawn = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
    return {
        name: _percentiles(values[name], each)
        for name, each in zip(functions, drawn, strict=True)
    }


def _percentiles(value, drawn):
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < MIN_DEFINED_SHARE * len(drawn):
        return measure(value, reason="it is undefined in most draws of subjects")
    return measure(value, np.quantile(defined, [0.025, 0.975]))
