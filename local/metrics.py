"""How good probabilities and scores are: the content of metrics.json, and its tables.

A number that can't be computed is None with a reason beside it, never a made-up
value. All numbers are plain Python ones, as JSON wants them.
"""

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)

from local.entries import measure, why_one_class
from local.errors import RunError
from local.labels import flatten, score_labels
from local.predictions import rows_of_label, scores_in

#: The measures of one label that have an interval, in the order of metrics.json.
MEASURES = ("auroc", "auprc", "log_loss", "brier")

#: The same of a label that is a score.
SCORE_MEASURES = ("mae", "pearson", "spearman", "icc")

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
        metrics["reason"] = why_one_class(targets)
    functions = {
        "auroc": roc_auc_score,
        "auprc": average_precision_score,
        "log_loss": lambda y, p: log_loss(y, p, labels=[0, 1]),
        "brier": lambda y, p: brier_score_loss(y, p, labels=[0, 1]),
    }
    for name in MEASURES:
        needs_both = name in ("auroc", "auprc")
        reason = why_one_class(targets) if needs_both or not n else None
        value = None if reason else float(functions[name](targets, probabilities))
        metrics[name] = _measure(value, reason)
    return metrics


def score_metrics(ratings, predictions, subjects):
    """Computes the metrics of one score over its rated recordings.

    The mean absolute error is in the score's own units. The correlations of Pearson
    and Spearman and the intraclass correlation, ICC(A,1) between rating and prediction
    (see `icc_agreement`), need three recordings and different ratings; the first two
    also different predictions. An ICC of predictions that are all the same is 0.

    Arguments
    ---------
    ratings : array-like [n]
        Any number, NaN for "not rated".
    predictions : array-like [n]
        In the units of the ratings.
    subjects : array-like [n] of str
        The subject of each recording.

    Returns
    -------
    dict
        As metrics.json has it under "labels".

    Example
    -------
    >>> metrics = score_metrics([1, 2, 6], [2, 3, 7], ["a", "a", "b"])
    >>> metrics["mae"]["value"], round(metrics["pearson"]["value"], 6)
    (1.0, 1.0)
    """
    ratings = np.asarray(ratings, dtype=float)
    rated = ~np.isnan(ratings)
    ratings, predictions = ratings[rated], np.asarray(predictions, dtype=float)[rated]
    subjects = np.asarray(subjects, dtype=object)[rated]
    metrics = {"n": len(ratings), "n_subjects": len(set(subjects))}
    no_error = None if len(ratings) else "no recording is rated"
    if no_error:
        metrics["reason"] = no_error
    no_agreement = _why_not_correlated(ratings, "ratings")
    no_correlation = no_agreement or _why_not_correlated(predictions, "predictions")
    both = np.stack([ratings, predictions], axis=1)
    functions = {
        "mae": (lambda: np.abs(ratings - predictions).mean(), no_error),
        "pearson": (lambda: pearsonr(ratings, predictions).statistic, no_correlation),
        "spearman": (lambda: spearmanr(ratings, predictions).statistic, no_correlation),
        "icc": (lambda: icc_agreement(both), no_agreement),
    }
    for name in SCORE_MEASURES:
        function, reason = functions[name]
        metrics[name] = _measure(None if reason else float(function()), reason)
    return metrics


def _why_not_correlated(numbers, name):
    """Why numbers [n] have no correlation with any others; None if they may."""
    if not len(numbers):
        return "no recording is rated"
    if len(numbers) < 3:
        return f"fewer than 3 recordings are rated: {len(numbers)}"
    if np.ptp(numbers) == 0:
        return f"all {len(numbers)} {name} are the same"
    return None


def icc_agreement(ratings):
    """The intraclass correlation ICC(A,1): how far single ratings agree.

    Of a two-way model, for absolute agreement: a rater who is always two points above
    the other one agrees less with him. McGraw and Wong (1996), Psychological Methods
    1:30-46, table 4; the same number as ICC(2,1) of Shrout and Fleiss (1979).

    Arguments
    ---------
    ratings : array-like [n, k]
        n recordings by k raters, both 2 or more, without gaps and not all the same.

    Returns
    -------
    float

    Example
    -------
    >>> icc_agreement([[1, 1], [2, 2], [3, 3]])
    1.0
    """
    ratings = np.asarray(ratings, dtype=float)
    n, k = ratings.shape
    mean = ratings.mean()
    of_rows, of_columns = ratings.mean(axis=1), ratings.mean(axis=0)
    rest = ratings - of_rows[:, None] - of_columns + mean
    ms_rows = k * ((of_rows - mean) ** 2).sum() / (n - 1)
    ms_columns = n * ((of_columns - mean) ** 2).sum() / (k - 1)
    ms_error = (rest**2).sum() / ((n - 1) * (k - 1))
    total = ms_rows + (k - 1) * ms_error + k / n * (ms_columns - ms_error)
    return float((ms_rows - ms_error) / total)


def _measure(value, reason=None):
    """A value with its interval and, as something is always missing, the reason."""
    return measure(value, reason=reason or NO_INTERVAL)


def evaluate_predictions(table, label_groups, checkpoint, label_ranges=None):
    """Computes the content of metrics.json.

    The macro values are means over the labels that have both classes, the same
    labels for each measure; the others are listed in "left_out". Where there are
    scores, theirs are means over the scores that have all measures, and that of the
    mean absolute error needs scores of one range.

    Arguments
    ---------
    table : pandas.DataFrame
        A table of predictions (see `local.predictions`).
    label_groups : list of list of str
        The labels of each head.
    checkpoint : str
        Name of the checkpoint that made the predictions.
    label_ranges : list of (list of float or None) or None
        [low, high] of each label that is a score, in the order of the groups; None
        where they are not known. Which labels are scores the table itself says.

    Returns
    -------
    dict
        {"checkpoint", "n_recordings", "n_subjects", "labels", "macro", "heads"}.
    """
    names = flatten(label_groups)
    scores = _scores(table, names, label_ranges)
    labels = {
        label: (score_metrics if label in scores else label_metrics)(
            *rows_of_label(table, label)
        )
        for label in names
    }
    ranges = dict(zip(names, label_ranges or [None] * len(names), strict=True))
    return {
        "checkpoint": checkpoint,
        "n_recordings": int(table["uid"].nunique()),
        "n_subjects": int(table["subject"].nunique()),
        "labels": labels,
        "macro": _macro(labels, ranges),
        "heads": [_head_metrics(table, group, scores) for group in label_groups],
    }


def _scores(table, names, label_ranges):
    """Which labels are scores, also those that an empty table has no rows of."""
    return scores_in(table) | set(score_labels(names, label_ranges))


def _is_score(of_label):
    return "mae" in of_label


def _macro(labels, ranges):
    """Means over the labels whose every measure could be computed.

    ranges : dict of str to (list of float or None), of each label
    """
    binary = {label: of for label, of in labels.items() if not _is_score(of)}
    scores = {label: of for label, of in labels.items() if _is_score(of)}
    kept, left_out = _separate(binary, "auroc")
    reason = "no label has both classes"
    if scores and not binary:
        reason = "no label has two classes: all are scores"
    macro = _means(kept, MEASURES, reason)
    macro |= {"n_labels": len(kept), "left_out": left_out}
    if scores:
        # Where there is no Pearson correlation the others may be: it needs the most.
        kept, left_out = _separate(scores, "pearson")
        macro |= _means(kept, SCORE_MEASURES, "no score has all measures")
        if len(kept) > 1:
            known = {tuple(ranges[label] or ()) for label in kept}
            if () in known:
                macro["mae"] = _measure(None, "the ranges of the scores are not known")
            elif len(known) > 1:
                macro["mae"] = _measure(None, "the scores have different ranges")
        macro |= {"n_scores": len(kept), "scores_left_out": left_out}
    return macro


def _separate(labels, needed):
    """Labels that have a measure, and the reasons why the others don't."""
    missing = {
        label: of[needed]["reason"]
        for label, of in labels.items()
        if of[needed]["value"] is None
    }
    return {k: of for k, of in labels.items() if k not in missing}, missing


def _means(kept, measures, reason):
    """The mean of each measure over labels; the reason where there are none."""
    if not kept:
        return {name: _measure(None, reason) for name in measures}
    return {
        name: _measure(float(np.mean([of[name]["value"] for of in kept.values()])))
        for name in measures
    }


def _head_metrics(table, group, scores):
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
    if scores & set(group):
        accuracy = {"value": None, "reason": "the head has scores"}
    elif len(group) < 2:
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
        0, 1, or NaN for "not rated"; scores are no such labels.
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
        separable = why_one_class(target[rated]) is None
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
        A table with a row per label and one for the mean, then one of the scores, each
        where there are such labels; then one line per label that a mean leaves out
        and per head that has a top-1 accuracy.
    """
    macro = metrics["macro"]
    binary = {k: of for k, of in metrics["labels"].items() if not _is_score(of)}
    scores = {k: of for k, of in metrics["labels"].items() if _is_score(of)}
    parts = []
    if binary:
        parts.append(pipe_table(_binary_rows(binary, macro, references or {})))
    if scores:
        parts.append(pipe_table(_score_rows(scores, macro)))
    left_out = macro["left_out"] | macro.get("scores_left_out", {})
    parts += [
        f"{label}: not in the mean, {reason}" for label, reason in left_out.items()
    ]
    if macro.get("n_scores") and macro["mae"]["value"] is None:
        parts.append(f"no mean of the MAE: {macro['mae']['reason']}")
    for index, head in enumerate(metrics["heads"], start=1):
        accuracy = head["top1_accuracy"]["value"]
        if accuracy is not None:
            parts.append(
                f"head {index}: top-1 accuracy {accuracy:.3f} (n = {head['n']})"
            )
    # An empty line before each part: Markdown would join lines otherwise.
    return "\n\n".join(parts)


def _binary_rows(labels, macro, references):
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
    return rows


def _score_rows(labels, macro):
    def numbers(of):
        return [_number(of[name]["value"]) for name in SCORE_MEASURES]

    rows = [["label", "n", "MAE", "Pearson", "Spearman", "ICC"]]
    rows += [[label, str(of["n"]), *numbers(of)] for label, of in labels.items()]
    name = f"macro ({macro['n_scores']} of {len(labels)} scores)"
    return [*rows, [name, "", *numbers(macro)]]


def _number(value):
    return "n/a" if value is None else f"{value:.3f}"


def pipe_table(rows):
    """Markdown table of rows of str: first row the header, first column to the left."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    # 2 at least: the rule of a column is a dash and a colon
    widths = [max(2, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (w - 1)}:" for w in widths[1:])]
    lines = [
        [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
