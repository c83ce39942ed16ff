"""How good probabilities are: the content of metrics.json, and its table.

A number that can't be computed is None with a reason beside it, never a made-up
value. All numbers are plain Python ones, as JSON wants them.
"""

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)

from local.errors import RunError
from local.labels import flatten
from local.predictions import rows_of_label

#: The measures of one label that have an interval, in the order of metrics.json.
MEASURES = ("auroc", "auprc", "log_loss", "brier")

NO_INTERVAL = "intervals are not computed in this version"


def label_metrics(targets, probabilities, subjects):
    """Computes the metrics of one label over its rated recordings.

    `n` counts recordings, `n_subjects` the subjects that they are from, and a
    subject is positive if any recording of theirs is. AUROC and AUPRC (average
    precision) need both classes; log loss (in nats, probabilities kept off 0 and
    1 by the precision of the numbers) and Brier score need any recording.

    Arguments
    ---------
    targets : array-like [n]
        0, 1, or NaN for "not rated".
    probabilities : array-like [n]
        0 to 1.
    subjects : array-like [n] of str
        The subject of each recording.

    Returns
    -------
    dict
        As metrics.json has it under "labels".

    Example
    -------
    >>> metrics = label_metrics([0, 0, 1], [0.1, 0.8, 0.7], ["a", "a", "b"])
    >>> metrics["auroc"]["value"]
    0.5
    """
    targets = np.asarray(targets, dtype=float)
    rated = ~np.isnan(targets)
    targets = targets[rated].astype(int)
    probabilities = np.asarray(probabilities, dtype=float)[rated]
    subjects = np.asarray(subjects, dtype=object)[rated]
    n, n_positive = len(targets), int(targets.sum())
    metrics = {
        "n": n,
        "n_positive": n_positive,
        "n_subjects": len(set(subjects)),
        "n_positive_subjects": len(set(subjects[targets == 1])),
        "prevalence": n_positive / n if n else None,
    }
    if not n:
        metrics["reason"] = _why_not_separable(targets)
    functions = {
        "auroc": roc_auc_score,
        "auprc": average_precision_score,
        "log_loss": lambda y, p: log_loss(y, p, labels=[0, 1]),
        "brier": lambda y, p: brier_score_loss(y, p, labels=[0, 1]),
    }
    for name in MEASURES:
        needs_both = name in ("auroc", "auprc")
        reason = _why_not_separable(targets) if needs_both or not n else None
        value = None if reason else float(functions[name](targets, probabilities))
        metrics[name] = _measure(value, reason)
    return metrics


def _why_not_separable(targets):
    """Why classes can't be told apart in rated targets [n]; None if they can."""
    if not len(targets):
        return "no recording is rated"
    if len(set(targets.tolist())) == 1:
        name = "positive" if targets[0] == 1 else "negative"
        return f"only one class: all {len(targets)} rated recordings are {name}"
    return None


def _measure(value, reason=None):
    """A value with its interval and, as something is always missing, the reason."""
    return {"value": value, "low": None, "high": None, "reason": reason or NO_INTERVAL}


def evaluate_predictions(table, label_groups, checkpoint):
    """Computes the content of metrics.json.

    The macro values are means over the labels that have both classes, the same
    labels for each measure; the others are listed in "left_out".

    Arguments
    ---------
    table : pandas.DataFrame
        A table of predictions (see `local.predictions`).
    label_groups : list of list of str
        The labels of each head.
    checkpoint : str
        Name of the checkpoint that made the predictions.

    Returns
    -------
    dict
        {"checkpoint", "n_recordings", "n_subjects", "labels", "macro", "heads"}.
    """
    names = flatten(label_groups)
    labels = {label: label_metrics(*rows_of_label(table, label)) for label in names}
    return {
        "checkpoint": checkpoint,
        "n_recordings": int(table["uid"].nunique()),
        "n_subjects": int(table["subject"].nunique()),
        "labels": labels,
        "macro": _macro(labels),
        "heads": [_head_metrics(table, group) for group in label_groups],
    }


def _macro(labels):
    """Means over the labels whose every measure could be computed."""
    left_out = {
        label: metrics["auroc"]["reason"]
        for label, metrics in labels.items()
        if metrics["auroc"]["value"] is None
    }
    kept = [metrics for label, metrics in labels.items() if label not in left_out]
    macro = {}
    for name in MEASURES:
        if kept:
            mean = float(np.mean([metrics[name]["value"] for metrics in kept]))
            macro[name] = _measure(mean)
        else:
            macro[name] = _measure(None, "no label has both classes")
    return macro | {"n_labels": len(kept), "left_out": left_out}


def _head_metrics(table, group):
    """Top-1 accuracy of one head, where exactly one label of each recording is 1.

    Recordings with an unrated label do not count. Where two labels share the
    largest probability, the first one is taken.
    """
    rows = table[table["label"].isin(group)]

    def per_recording(column):  # [n_recordings, n_labels], NaN where there is none
        wide = rows.pivot(index="uid", columns="label", values=column)
        return wide.reindex(columns=group).to_numpy(dtype=float, na_value=np.nan)

    targets, probabilities = per_recording("target"), per_recording("probability")
    complete = ~np.isnan(targets).any(axis=1)
    targets, probabilities = targets[complete], probabilities[complete]
    n, n_single = len(targets), int((targets.sum(axis=1) == 1).sum())
    if len(group) < 2:
        accuracy = {"value": None, "reason": "the head has a single label"}
    elif not n:
        reason = "no recording is rated for all labels of the head"
        accuracy = {"value": None, "reason": reason}
    elif n_single < n:
        reason = (
            f"the labels are not mutually exclusive: {n - n_single} of {n} rated "
            "recordings have none or several"
        )
        accuracy = {"value": None, "reason": reason}
    else:
        hits = probabilities.argmax(axis=1) == targets.argmax(axis=1)
        accuracy = {"value": float(hits.mean())}
    return {"labels": list(group), "top1_accuracy": accuracy, "n": n}


def macro_auroc(targets, scores):
    """Computes AUROC per label and its mean over the labels that have both classes.

    Arguments
    ---------
    targets : array-like [n_recordings, n_labels]
        0, 1, or NaN for "not rated".
    scores : array-like [n_recordings, n_labels]
        Logits or probabilities: AUROC is the same for both.

    Returns
    -------
    macro : float or None
        None if no label has both classes.
    per_label : list of float or None
        None for a label with one class or none.

    Raises
    ------
    local.errors.RunError
        If a score is not a finite number.

    Example
    -------
    >>> macro_auroc([[0, 1], [1, 1]], [[-2.0, 0.0], [3.0, 1.0]])
    (1.0, [1.0, None])
    """
    targets, scores = np.asarray(targets, dtype=float), np.asarray(scores, dtype=float)
    if not np.isfinite(scores).all():
        raise RunError(
            "The network's output is not a finite number for "
            f"{(~np.isfinite(scores)).any(axis=1).sum()} of {len(scores)} recordings: "
            "training has diverged; a lower learning rate may help."
        )
    per_label = []
    for target, score in zip(targets.T, scores.T, strict=True):
        rated = ~np.isnan(target)
        separable = _why_not_separable(target[rated]) is None
        per_label.append(
            float(roc_auc_score(target[rated], score[rated])) if separable else None
        )
    computed = [value for value in per_label if value is not None]
    return (float(np.mean(computed)) if computed else None), per_label


def format_results(metrics, references=None):
    """Writes the main metrics as a table for the terminal or a Markdown page.

    Arguments
    ---------
    metrics : dict
        What `evaluate_predictions` returns.
    references : dict of dict, optional
        Further columns: {column name: {label: value, …, "macro": value}}, e.g. the
        AUROC of a baseline. A missing value is shown as n/a.

    Returns
    -------
    str
        A table with a row per label and one for the mean, then one line per label
        that the mean leaves out and per head that has a top-1 accuracy.
    """
    references = references or {}
    macro, labels = metrics["macro"], metrics["labels"]
    rows = [
        ["label", "n", "positives", "AUROC", "AP", "prevalence", "Brier", *references]
    ]
    for label, of_label in labels.items():
        numbers = [of_label["auroc"]["value"], of_label["auprc"]["value"]]
        numbers += [of_label["prevalence"], of_label["brier"]["value"]]
        numbers += [column.get(label) for column in references.values()]
        counts = [str(of_label["n"]), str(of_label["n_positive"])]
        rows.append([label, *counts, *map(_number, numbers)])
    means = [_number(macro[name]["value"]) for name in ("auroc", "auprc", "brier")]
    others = [_number(column.get("macro")) for column in references.values()]
    name = f"macro ({macro['n_labels']} of {len(labels)} labels)"
    rows.append([name, "", "", means[0], means[1], "", means[2], *others])
    notes = [
        f"{label}: not in the mean, {reason}"
        for label, reason in macro["left_out"].items()
    ]
    for index, head in enumerate(metrics["heads"], start=1):
        accuracy = head["top1_accuracy"]["value"]
        if accuracy is not None:
            notes.append(
                f"head {index}: top-1 accuracy {accuracy:.3f} (n = {head['n']})"
            )
    # An empty line before each note: Markdown would join lines otherwise.
    return "\n\n".join([_pipe_table(rows), *notes])


def _number(value):
    return "n/a" if value is None else f"{value:.3f}"


def _pipe_table(rows):
    """Markdown table of rows of str: first row the header, first column to the left."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (w - 1)}:" for w in widths[1:])]
    lines = [
        [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
