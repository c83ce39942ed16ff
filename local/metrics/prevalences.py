"""PPV and NPV where the label is as frequent as a reader says.

Those of a split hold for its own prevalence, which in a corpus is seldom that of the
place where a model would be used. Sensitivity and specificity carry over, as long as
the positives, and the negatives, are of the same kind there; Bayes' rule does the rest:

    odds of a positive among those called positive = prevalence odds * LR+
    odds of a negative among those called negative = odds of a negative * LR-inverse

with the likelihood ratios LR+ = sensitivity / (1 - specificity) and specificity / (1 -
sensitivity).
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from local.metrics.estimate import measure

#: Of what each of the two values is a ratio is 0 / 0.
UNDEFINED = {
    "ppv": "no recording is predicted positive",
    "npv": "no recording is predicted negative",
}


def at_prevalences(
    sensitivity: dict, specificity: dict, prevalences: Sequence[float]
) -> list[dict]:
    """Computes PPV and NPV at some prevalences.

    Their intervals follow from those of sensitivity and specificity: the distances to
    the bounds of the two logarithms, squared, are added (MOVER: Donner and Zou 2012,
    Statistical Methods in Medical Research 21:347-359). Where one of the four shares is
    0, so that its logarithm has no distance, the bounds are those of both at their
    worst and at their best, which is wider.

    sensitivity, specificity: Entries, {"value", "low", "high"}.
    prevalences: Between 0 and 1.

    Returns: As metrics.json has it, of each prevalence {"prevalence", "ppv": {"value",
        "low", "high"}, "npv": {…}}.

    >>> shares = [{"value": 0.8, "low": 0.6, "high": 0.9}] * 2
    >>> (entry,) = at_prevalences(*shares, [0.2])
    >>> [round(entry["ppv"][key], 3) for key in ("value", "low", "high")]
    [0.5, 0.321, 0.669]
    """
    missing = [e for e in (sensitivity, specificity) if e["value"] is None]
    ratios = {"ppv": (sensitivity, specificity), "npv": (specificity, sensitivity)}
    entries = []
    for prevalence in prevalences:
        entry = {"prevalence": float(prevalence)}
        for name, (own, other) in ratios.items():
            share = prevalence if name == "ppv" else 1 - prevalence
            if missing:
                entry[name] = measure(None, reason=missing[0]["reason"])
            else:
                entry[name] = _predictive_value(name, own, _complement(other), share)
        entries.append(entry)
    return entries


def _complement(entry):
    """The share of those that are not among a share."""
    names = {"value": "value", "low": "high", "high": "low"}
    return entry | {
        name: None if entry[other] is None else 1 - entry[other]
        for name, other in names.items()
    }


def _predictive_value(name, right, wrong, share):
    """The share of right ones among all calls.

    right, wrong : entries, of those that are `share` of all, and of the others, the
        shares that are called
    """
    if right["value"] == wrong["value"] == 0:
        return measure(None, reason=UNDEFINED[name])
    with np.errstate(divide="ignore"):
        numbers = [
            np.log(
                [
                    np.nan if entry[key] is None else entry[key]
                    for entry in (right, wrong)
                ]
            )
            for key in ("value", "low", "high")
        ]
    (value, low, high), (other, other_low, other_high) = np.transpose(numbers)
    reasons = [e["reason"] for e in (right, wrong) if None in (e["low"], e["high"])]
    ratio = value - other
    if reasons:
        return measure(_moved(ratio, share), reason=reasons[0])
    if np.isfinite(ratio):
        below = np.hypot(value - low, other_high - other)
        above = np.hypot(high - value, other - other_low)
        bounds = ratio - below, ratio + above
    else:
        bounds = low - other_high, high - other_low
    return measure(_moved(ratio, share), [_moved(bound, share) for bound in bounds])


def _moved(log_ratio, share):
    """The predictive value of a likelihood ratio where so many are positive."""
    return expit(logit(share) + log_ratio)
