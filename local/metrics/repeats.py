"""Means over the repeats of a cross-validation."""

import numpy as np

#: What makes a dict an estimate, see `estimate.measure`.
BOUNDS = ("value", "low", "high")


def over_repeats(results: list[dict]) -> dict:
    """The metrics of all repeats as those of one.

    Each estimate is the mean over repeats, and so are its bounds: other folds and other
    seeds bring no further subjects, so the interval gets no narrower. How much the
    estimate varies with them is its standard deviation. Counts, and all else that is no
    estimate, are those of the first repeat.

    results: By repeat, each as `split_metrics.evaluate_predictions` gives it; the first
        may have more.

    Returns: As the first one, with "sd" in each estimate, if there are several.

    >>> numbers = [{"value": v, "low": v - 0.25, "high": 1} for v in (0.5, 1)]
    >>> repeats = [{"auroc": number} for number in numbers]
    >>> over_repeats(repeats)["auroc"]["low"], over_repeats(repeats[:1])["auroc"]["low"]
    (0.5, 0.25)
    """
    if len(results) == 1:
        return results[0]
    return _together(results)


def _together(entries):
    """Dicts of the same kind as one."""
    first, *_ = entries
    if set(BOUNDS) <= first.keys():
        return _mean(entries)
    return {
        name: _together([first[name], *others])
        if isinstance(first[name], dict) and len(others) == len(entries) - 1
        else first[name]
        for name in first
        for others in [[entry[name] for entry in entries[1:] if name in entry]]
    }


def _mean(estimates):
    lacking = [each for each in estimates if any(each[key] is None for key in BOUNDS)]
    given = [each["value"] for each in estimates if each["value"] is not None]
    mean = dict(lacking[0] if lacking else estimates[0])
    for key in BOUNDS:
        numbers = [each[key] for each in estimates]
        mean[key] = None if None in numbers else float(np.mean(numbers))
    mean["sd"] = float(np.std(given, ddof=1)) if len(given) == len(estimates) else None
    return mean
