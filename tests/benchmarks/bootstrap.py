"""How long the intervals of a large evaluation take.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/bootstrap.py

2,000 draws of 1,000 subjects with 10 recordings each and 10 labels: all measures of
each label with its interval, and all means over labels with theirs.
"""

import time

import numpy as np
from scipy.special import expit

from local.metrics.intervals import (
    N_DRAWS,
    auroc_interval,
    bootstrap_intervals,
    macro_intervals,
)
from local.metrics.measures import PROBABILITY_MEASURES, threshold_measures

N_LABELS, N_SUBJECTS, N_RECORDINGS = 10, 1_000, 10


def made_labels():
    """Random labels of 10,000 recordings, as `macro_intervals` takes them."""
    generator = np.random.default_rng(1)
    subjects = np.repeat(np.arange(N_SUBJECTS), N_RECORDINGS)
    n = len(subjects)
    labels = {}
    for i in range(N_LABELS):
        targets = generator.random(n) < 0.1 + 0.05 * i
        logits = generator.normal(size=N_SUBJECTS)[subjects] + generator.normal(size=n)
        labels[f"label {i}"] = {
            "functions": PROBABILITY_MEASURES | threshold_measures(0.5),
            "targets": targets,
            "scores": expit(logits + targets),
            "subjects": subjects,
        }
    return labels


def main():
    """Compute all intervals and print how long it took."""
    labels = made_labels()
    begin = time.perf_counter()
    for label in labels.values():
        auroc_interval(label["targets"], label["scores"], label["subjects"])
        functions = {k: of for k, of in label["functions"].items() if k != "auroc"}
        bootstrap_intervals(**label | {"functions": functions}, seed=1)
    of_labels = time.perf_counter()
    macro_intervals(labels, seed=1)
    end = time.perf_counter()
    print(
        f"{N_LABELS} labels, {N_SUBJECTS * N_RECORDINGS} recordings, {N_DRAWS} draws, "
        f"{len(labels['label 0']['functions'])} measures: {end - begin:.1f} s "
        f"(labels {of_labels - begin:.1f} s, means {end - of_labels:.1f} s)"
    )


if __name__ == "__main__":
    main()
