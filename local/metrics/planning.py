"""How wide intervals will be, before anything is trained.

The variance of AUROC is that of Hanley and McNeil (1982), Radiology 143:29-36, of
normal scores with one variance (theirs are exponential, which is too wide where the
classes differ in size), with subjects in place of cases: as if each had one recording
of a class. The interval is then made as `intervals.auroc_interval` makes it, on the
logit scale with t.
"""

import numpy as np
import pandas as pd
from scipy.special import expit, logit, owens_t
from scipy.stats import norm
from scipy.stats import t as student_t

from local.data.labels import score_labels
from local.data.prepare import Preparation
from local.metrics.estimate import measure, subjects_by_class, too_few_subjects
from local.metrics.linearised import LEVEL
from local.metrics.resampling import MIN_SUBJECTS

#: True values of AUROC that intervals are foretold for.
AUROCS = (0.75, 0.9)


def planned_interval(auroc: float, n_positive: int, n_negative: int) -> dict:
    """The interval that an AUROC will have.

    auroc: The true one, between 0 and 1.
    n_positive, n_negative: Subjects with a positive, and with a negative recording.

    Returns: {"value", "low", "high"}; no bounds, and a "reason", with too few subjects.

    >>> interval = planned_interval(0.75, 18, 22)
    >>> round(interval["low"], 2), round(interval["high"], 2)
    (0.56, 0.88)
    >>> planned_interval(0.75, 3, 30)["reason"]
    'fewer than 5 subjects have positives: 3'
    """
    if too_few := too_few_subjects(n_positive, n_negative, MIN_SUBJECTS):
        return measure(auroc, reason=too_few)
    # two positives above a negative, which is as likely as one above two negatives
    both_above = auroc - 2 * owens_t(norm.ppf(auroc), 1 / np.sqrt(3))
    variance = auroc * (1 - auroc)
    variance += (n_positive + n_negative - 2) * (both_above - auroc**2)
    deviation = np.sqrt(variance / (n_positive * n_negative)) / (auroc * (1 - auroc))
    freedom = min(n_positive, n_negative) - 1
    half_width = student_t.ppf((1 + LEVEL) / 2, freedom) * deviation
    return measure(auroc, expit(logit(auroc) + half_width * np.array([-1, 1])))


def planned_intervals(preparation: Preparation) -> list[str]:
    """What AUROC will look like with these subjects, as lines of text.

    Returns: Of the test split, and of a cross-validation of all others, a line for each
        label that is 0 or 1.
    """
    scores = score_labels(preparation.labels, preparation.label_ranges)
    binary = [name for name in preparation.labels if name not in scores]
    others = [of for name, of in preparation.manifests.items() if name != "test"]
    parts = {
        "test": preparation.manifests["test"],
        "cross-validation of train and val": pd.concat(others),
    }
    lines = [
        "95 % intervals to expect (several recordings of a person make them narrower):"
    ]
    parts = {name: manifest for name, manifest in parts.items() if len(manifest)}
    for name, manifest in parts.items() if binary else ():
        lines += [f"  {name}", *(f"    {_line(manifest, label)}" for label in binary)]
    return lines if binary and parts else []


def _line(manifest, label):
    """The counts of a label, and its interval at each of `AUROCS`."""
    targets, subjects = manifest[label].to_numpy(), manifest["subject"].to_numpy()
    with_positive, with_negative = subjects_by_class(targets, subjects)
    planned = [planned_interval(of, with_positive, with_negative) for of in AUROCS]
    told = planned[0].get("reason") or "AUROC " + ", ".join(
        f"{of['value']:g} would be {of['low']:.2f} to {of['high']:.2f}"
        for of in planned
    )
    return f"{label}: {with_positive} people with, {with_negative} without: {told}"
