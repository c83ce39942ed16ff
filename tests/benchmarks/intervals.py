"""How long the intervals of a large evaluation take.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/intervals.py

1,000 subjects with 10 recordings each and 10 labels: all measures of each label with
its interval, and all means over labels with theirs.
"""

import time

import numpy as np
from scipy.special import expit

from local.metrics.intervals import linearised
from local.metrics.linearised import mean_over_labels
from local.metrics.measures import PROBABILITY_MEASURES, threshold_measures

N_LABELS, N_SUBJECTS, N_RECORDINGS = 10, 1_000, 10
MEASURES = PROBABILITY_MEASURES | threshold_measures(0.5)


def made_labels():
    """Targets, probabilities and subjects of random labels."""
    generator = np.random.default_rng(1)
    subjects = np.repeat(np.arange(N_SUBJECTS), N_RECORDINGS)
    n = len(subjects)
    for i in range(N_LABELS):
        targets = generator.random(n) < 0.1 + 0.05 * i
        logits = generator.normal(size=N_SUBJECTS)[subjects] + generator.normal(size=n)
        yield targets, expit(logits + targets), subjects


def main():
    """Compute all intervals and print how long it took."""
    labels = list(made_labels())
    begin = time.perf_counter()
    estimates = {str(i): linearised(MEASURES, *rows) for i, rows in enumerate(labels)}
    of_labels = time.perf_counter()
    for name in MEASURES:
        mean_over_labels({k: each[name] for k, each in estimates.items()}).interval()
    end = time.perf_counter()
    print(
        f"{N_LABELS} labels, {N_SUBJECTS * N_RECORDINGS} recordings, "
        f"{len(MEASURES)} measures: {end - begin:.1f} s "
        f"(labels {of_labels - begin:.1f} s, means {end - of_labels:.1f} s)"
    )


if __name__ == "__main__":
    main()
