"""Cross-validated metrics: within folds and averaged, never over pooled outputs.

The networks of two folds are two networks: their logits have no common scale, and one
ROC curve over all of them would measure that too. So AUROC and average precision are
computed inside each fold, and threshold metrics from counts at each fold's own
threshold.

What the intervals cover is the choice of the subjects that were scored: they are about
these trained networks, on average, on further subjects, and not about networks that
were trained on other subjects.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from local.data.labels import why_one_class
from local.data.predictions_table import scores_in
from local.metrics.cases import Rated, rated_rows
from local.metrics.estimate import measure, too_few_subjects, wilson_interval
from local.metrics.fold_auroc import (
    auroc_within_folds,
    macro_auroc_interval,
    mean_auroc_interval,
)
from local.metrics.intervals import MIN_SUBJECTS
from local.metrics.split_metrics import SCORE_MEASURES, score_metrics

THRESHOLD_METRICS = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "balanced_accuracy",
    "f1",
)

NO_AUPRC_INTERVAL = "folds are too small for an interval of average precision"
NO_SCORE_INTERVAL = "no interval is computed for scores of a cross-validation"


def cross_validated_metrics(
    repeats: list[list[pd.DataFrame]],
    labels: list[str],
    thresholds: list[list[dict[str, float | None]]] | None = None,
) -> dict:
    """Computes the metrics of a cross-validation.

    With repeats each value is the mean over them, but their intervals are as wide as
    those of one repeat: other folds show how much the draw of the folds matters, and
    bring no further subjects.

    repeats: For each repeat the table of predictions of each fold (see
        `local.data.predictions_table`), of the recordings that its network never met.
    thresholds: For each of these tables label → threshold on the probability: predicted
        is a label whose probability is at least that.

    Returns: {"n_folds", "n_repeats", "n_recordings", "n_subjects", "labels", "macro"}.
        A label has its counts, "auroc" and "auprc", the threshold metrics, and
        "left_out" and "without_threshold": the folds that are not in these, with the
        reason. A score has the measures of scores. Folds and repeats are counted from
        1.
    """
    everything = pd.concat(repeats[0])
    scores = scores_in(everything)
    aurocs, of_labels = {}, {}
    for label in labels:
        folds = [[rated_rows(table, label) for table in tables] for tables in repeats]
        if label in scores:
            of_labels[label] = _counts(folds[0], True) | _score_metrics(folds)
            continue
        chosen = [
            [(fold or {}).get(label) for fold in row]
            for row in thresholds or [[None] * len(tables) for tables in repeats]
        ]
        aurocs[label] = [auroc_within_folds(rows) for rows in folds]
        of_labels[label] = (
            _counts(folds[0], False)
            | _ranking_metrics(folds, aurocs[label])
            | threshold_metrics(folds, chosen)
        )
    return {
        "n_folds": len(repeats[0]),
        "n_repeats": len(repeats),
        "n_recordings": int(everything["uid"].nunique()),
        "n_subjects": int(everything["subject"].nunique()),
        "labels": of_labels,
        "macro": _macro(aurocs, of_labels),
    }


def _counts(folds, is_score):
    targets = np.concatenate([fold.targets for fold in folds])
    subjects = np.concatenate([fold.subjects for fold in folds])
    counts = {"n": len(targets), "n_subjects": len(set(subjects))}
    if not is_score:
        n = int(targets.sum())
        counts["n_positive"] = n
        counts["n_positive_subjects"] = len(set(subjects[targets == 1]))
        counts["prevalence"] = n / len(targets) if len(targets) else None
    return counts


def _ranking_metrics(folds, aurocs):
    """AUROC, average precision, and the folds that neither can be computed in."""
    left_out, precisions = [], []
    for repeat, row in enumerate(folds, start=1):
        of_repeat = []
        for number, fold in enumerate(row, start=1):
            reason = why_one_class(fold.targets)
            if reason:
                entry = {"repeat": repeat, "fold": number, "reason": reason}
                left_out.append(entry)
            else:
                of_repeat.append(
                    average_precision_score(fold.targets, fold.predictions)
                )
        precisions += [np.mean(of_repeat)] if of_repeat else []
    if precisions:
        auprc = measure(np.mean(precisions), reason=NO_AUPRC_INTERVAL)
    else:
        auprc = measure(None, reason="no fold has both classes")
    return {"auroc": mean_auroc_interval(aurocs), "auprc": auprc, "left_out": left_out}


def threshold_metrics(
    folds: list[list[Rated]], thresholds: list[list[float | None]]
) -> dict:
    """Computes sensitivity and the like, from counts summed over folds.

    Sensitivity, specificity, PPV and NPV have Wilson's interval, with n the subjects
    among the recordings in question: the positive ones, or those predicted positive,
    and so on. Balanced accuracy, a mean of two shares, gets its own from theirs (the
    MOVER method: Zou and Donner 2008, Statistics in Medicine 27:1693-1702). F1 is a
    function of one share, J of the true positives among all that are positive or
    predicted so, F1 = 2 J / (1 + J), and takes Wilson's interval over from J.

    folds: By repeat and fold.
    thresholds: Likewise; None where a fold has none, which leaves it out.

    Returns: The measures `THRESHOLD_METRICS`, and "without_threshold": [{"repeat",
        "fold"}]. With repeats values are means over them, n the smallest.
    """
    without = [
        {"repeat": repeat, "fold": number}
        for repeat, row in enumerate(thresholds, start=1)
        for number, threshold in enumerate(row, start=1)
        if threshold is None
    ]
    per_repeat = [
        _decisions(row, chosen)
        for row, chosen in zip(folds, thresholds, strict=True)
        if any(threshold is not None for threshold in chosen)
    ]
    result = {"without_threshold": without}
    if not per_repeat:
        empty = measure(None, reason="no fold has a threshold")
        return dict.fromkeys(THRESHOLD_METRICS, empty) | result
    too_few = None
    for positive, _, subjects in per_repeat:
        counts = (len(set(subjects[of_class])) for of_class in (positive, ~positive))
        too_few = too_few or too_few_subjects(*counts, MIN_SUBJECTS)
    shares = [_shares(*decisions) for decisions in per_repeat]
    outcome = {
        name: _mean_share([of_repeat[name] for of_repeat in shares], name, too_few)
        for name in ("sensitivity", "specificity", "ppv", "npv", "f1")
    }
    outcome["balanced_accuracy"] = _mean_of_two(
        outcome["sensitivity"], outcome["specificity"]
    )
    return {name: outcome[name] for name in THRESHOLD_METRICS} | result


def _decisions(folds, thresholds):
    """Positive, predicted and subject of all recordings of folds with a threshold."""
    parts = [
        (fold.targets == 1, fold.predictions >= threshold, fold.subjects)
        for fold, threshold in zip(folds, thresholds, strict=True)
        if threshold is not None
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


#: Name of a share → why there may be no recording to compute it from.
EMPTY = {
    "sensitivity": "no recording is positive",
    "specificity": "no recording is negative",
    "ppv": "no recording is predicted positive",
    "npv": "no recording is predicted negative",
    "f1": "no recording is positive or predicted positive",
}


def _shares(positive, predicted, subjects):
    """Share and number of subjects by name, (None, 0) of no recordings.

    Under f1 it is the share J (see `threshold_metrics`).
    """
    among = {
        "sensitivity": (predicted, positive),
        "specificity": (~predicted, ~positive),
        "ppv": (positive, predicted),
        "npv": (~positive, ~predicted),
        "f1": (positive & predicted, positive | predicted),
    }
    return {
        name: (hits[rows].mean(), len(set(subjects[rows]))) if rows.any() else (None, 0)
        for name, (hits, rows) in among.items()
    }


def _mean_share(shares, name, too_few):
    """Mean over repeats of (share, n), with the interval of the smallest n."""
    shares = [(share, n) for share, n in shares if share is not None]
    if not shares:
        return measure(None, reason=EMPTY[name])
    values = np.array([share for share, _ in shares])
    if name == "f1":
        values = 2 * values / (1 + values)
    value = values.mean()
    if too_few:
        return measure(value, reason=too_few)
    n = min(n for _, n in shares)
    if name != "f1":
        return measure(value, wilson_interval(value, n))
    bounds = np.array(wilson_interval(value / (2 - value), n))
    return measure(value, 2 * bounds / (1 + bounds))


def _mean_of_two(first, second):
    """The mean of two independent measures, its interval from theirs (MOVER)."""
    for estimate in (first, second):
        if estimate["value"] is None:
            return measure(None, reason=estimate["reason"])
    value = (first["value"] + second["value"]) / 2
    for estimate in (first, second):
        if estimate["low"] is None:
            return measure(value, reason=estimate["reason"])
    low, high = (
        np.hypot(first["value"] - first[bound], second["value"] - second[bound]) / 2
        for bound in ("low", "high")
    )
    return measure(value, (value - low, value + high))


def _score_metrics(folds):
    """Means over folds and repeats of each measure of scores, where it exists."""
    of_folds = [
        [score_metrics(*fold) for fold in row if len(fold.targets)] for row in folds
    ]
    estimates = {}
    for name in SCORE_MEASURES:
        values = [[metrics[name]["value"] for metrics in row] for row in of_folds]
        kept = [[value for value in row if value is not None] for row in values]
        means = [np.mean(row) for row in kept if row]
        estimates[name] = (
            measure(np.mean(means), reason=NO_SCORE_INTERVAL)
            if means
            else measure(None, reason="it can't be computed in any fold")
        )
        estimates[name]["n_folds"] = sum(map(len, kept))
    return estimates


def _macro(aurocs, of_labels):
    """Means over the labels that have an AUROC, in every repeat the same labels."""
    left_out = {
        label: of_labels[label]["auroc"]["reason"]
        for label in aurocs
        if of_labels[label]["auroc"]["value"] is None
    }
    kept = {label: auroc for label, auroc in aurocs.items() if label not in left_out}
    counts = {"n_labels": len(kept), "left_out": left_out}
    if not kept:
        reason = "no label has a fold with both classes"
        empty = measure(None, reason=reason)
        return {"auroc": empty, "auprc": empty} | counts
    auprc = np.mean([of_labels[label]["auprc"]["value"] for label in kept])
    estimates = {label: of_labels[label]["auroc"] for label in kept}
    return {
        "auroc": macro_auroc_interval(kept, estimates),
        "auprc": measure(auprc, reason=NO_AUPRC_INTERVAL),
    } | counts
