"""The net benefit of a model over thresholds that are named in advance.

A threshold t stands for a preference: one finding is worth (1 - t) / t false alarms. It
is what a reader brings, not what the scores suggest. The model should have more net
benefit than calling nobody positive (0) and than calling everybody positive: Vickers
and others (2019), Diagnostic and Prognostic Research 3:18.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from local.metrics.intervals import COHORT, measure_intervals
from local.metrics.measures import (
    net_benefit,
    net_benefit_over_all,
    net_benefit_treat_all,
)


def decision_curve(
    targets: np.ndarray,
    probabilities: np.ndarray,
    subjects: np.ndarray,
    thresholds: Sequence[float],
    study_design: str = COHORT,
) -> list[dict]:
    """Computes net benefits and their intervals, by subject.

    targets: [n], 0 or 1.
    probabilities, subjects: [n]
    thresholds: Between 0 and 1.
    study_design: One of `intervals.STUDY_DESIGNS`.

    Returns: As metrics.json has it, for each threshold {"threshold", "net_benefit":
        {"value", "low", "high"}, "treat_all", "difference_to_treat_all": {…}}; empty
        where nothing is rated.

    >>> subjects = list("abcd")
    >>> curve = decision_curve(
    ...     np.array([1, 0, 0, 0]), np.array([0.9, 0.3, 0.1, 0.1]), subjects, [0.2]
    ... )
    >>> curve[0]["net_benefit"]["value"], round(curve[0]["treat_all"], 6)
    (0.1875, 0.0625)
    """
    if not len(targets):
        return []
    functions = {}
    for threshold in thresholds:
        for function in (net_benefit, net_benefit_over_all):
            functions[_name(function, threshold)] = partial(
                function, threshold=threshold
            )
    cases = targets, probabilities, subjects
    entries = measure_intervals(functions, *cases, study_design=study_design)
    prevalence = float(np.mean(targets))
    return [
        {
            "threshold": float(threshold),
            "net_benefit": entries[_name(net_benefit, threshold)],
            "treat_all": net_benefit_treat_all(prevalence, threshold),
            "difference_to_treat_all": entries[_name(net_benefit_over_all, threshold)],
        }
        for threshold in thresholds
    ]


def _name(function, threshold):
    return f"{function.__name__} {threshold}"
