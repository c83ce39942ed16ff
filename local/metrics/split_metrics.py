"""How good probabilities and scores are: the content of metrics.json.

A number that can't be computed is None with a reason beside it, never a made-up
value. All numbers are plain Python ones, as JSON wants them.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from local.data.labels import LabelType, flatten
from local.metrics.calibration import calibration_metrics
from local.metrics.cases import per_subject, per_visit
from local.metrics.decision_curve import decision_curve
from local.metrics.estimate import nothing, subjects_by_class
from local.metrics.intervals import auroc_interval, bootstrap_intervals
from local.metrics.label_cases import DECISION_MEASURES, read_labels
from local.metrics.macro import macro_metrics
from local.metrics.measures import SCORE_MEASURES, WHY_UNDEFINED
from local.metrics.prevalences import at_prevalences

#: What a small sample means, said of each label in metrics.json and once in a report.
SMALL_SAMPLE = (
    "95 % intervals then hold the true value less often than that, mostly because they "
    "are too optimistic, and all but those of AUROC are too narrow."
)

#: With fewer subjects, or fewer of a class, `docs/intervals.md` has seen intervals
#: miss the truth more often than they say.
ENOUGH_SUBJECTS = 40
ENOUGH_OF_A_CLASS = 20

#: Of fewer recordings any correlation is 1 or -1.
MIN_FOR_CORRELATION = 3

WEIGHTING = (
    "In labels and macro each recording weighs the same, in subject_weighted each "
    "subject does, whose recordings share its weight. In per_visit and per_subject "
    "each visit or subject is a single case with the mean of its logits; where a "
    "reason or count there speaks of recordings, it means these cases."
)


def evaluate_predictions(
    table: pd.DataFrame,
    label_groups: list[list[str]],
    checkpoint: str | None,
    types: dict[str, LabelType] | None = None,
    operating_points: dict[str, dict] | None = None,
    seed: int = 0,
    decision_thresholds: Sequence[float] = (),
    prevalences: Sequence[float] = (),
) -> dict:
    """Computes the content of metrics.json.

    The macro values are means over the labels that have both classes, the same
    labels for each measure; the others are listed in "left_out". Where there are
    scores, theirs are means over the scores that have all measures, and that of the
    mean absolute error needs scores of one range.

    Decisions are those at the threshold. A label without one, whose rated recordings
    all have `predicted`, is judged by that.

    table: A table of predictions (see `local.data.predictions_table`), `probability`
        calibrated.
    label_groups: The labels of each head.
    checkpoint: Name of the checkpoint that made the predictions.
    types: Of each label. Which labels are scores the table itself says, if it has any
        rows of them; without types the scores' ranges are not known.
    operating_points: {label: {"threshold": …, …}}, see
        `local.evaluation.operating_points`.
    decision_thresholds: Of the decision curves.
    prevalences: At which there are PPV and NPV.

    Returns: {"checkpoint", "n_recordings", "n_subjects", "labels", "macro", "heads",
        "weighting", "subject_weighted", "per_subject"}, and "per_visit" where any
        recording has a session.
    """
    names, points = flatten(label_groups), operating_points or {}
    read = partial(read_labels, names=names, types=types or {}, points=points)
    labels = read(table)
    scores = {name for name, label in labels.items() if label.is_score}
    # One seed for all: each use makes its own generator, and measures that are set
    # beside each other are then of the same draws of subjects.
    evaluated = partial(
        _evaluate, seed=seed, thresholds=decision_thresholds, prevalences=prevalences
    )
    result = {
        "checkpoint": checkpoint,
        "n_recordings": int(table["uid"].nunique()),
        "n_subjects": int(table["subject"].nunique()),
        **evaluated(labels),
        "heads": [_head_metrics(table, group, scores) for group in label_groups],
        "weighting": WEIGHTING,
        "subject_weighted": _evaluate_weighted(labels, seed),
    }
    if (table["session"] != "").any():
        result["per_visit"] = _evaluate_cases(*per_visit(table), read, evaluated)
    result["per_subject"] = _evaluate_cases(*per_subject(table), read, evaluated)
    return result


def _evaluate(labels, seed, thresholds, prevalences):
    """All about labels, whose cases weigh the same: {"labels", "macro"}."""
    result = {}
    for name, label in labels.items():
        result[name] = _counts(label) | _prediction_entries(label, seed)
        if not label.is_score:
            result[name] |= calibration_metrics(
                label.targets, label.predictions, label.subjects
            )
            result[name] |= {"threshold": label.threshold}
            result[name] |= _decision_entries(label, seed)
            shares = (result[name][key] for key in ("sensitivity", "specificity"))
            result[name]["at_prevalences"] = at_prevalences(*shares, prevalences)
            cases = label.targets, label.predictions, label.subjects
            result[name]["decision_curve"] = decision_curve(*cases, thresholds, seed)
        result[name] |= _small_sample(label)
    return {"labels": result, "macro": macro_metrics(labels, result, seed)}


def _evaluate_cases(cases, n_varying, read, evaluated):
    """All about the visits or subjects of an aggregated table."""
    labels = read(cases)
    return {
        "n_cases": int(cases["uid"].nunique()),
        **evaluated(labels),
        "n_varying": {name: n_varying.get(name, 0) for name in labels},
    }


def _evaluate_weighted(labels, seed):
    """What there is of it where the subjects weigh the same."""
    result = {}
    for name, label in labels.items():
        result[name] = _prediction_entries(label, seed, weighted=True)
        if not label.is_score:
            result[name] |= _decision_entries(label, seed, weighted=True)
    return {
        "labels": result,
        "macro": macro_metrics(labels, result, seed, weighted=True),
    }


def _counts(label):
    n, n_subjects = len(label.targets), len(set(label.subjects))
    if label.is_score:
        counts = {"n": n, "n_subjects": n_subjects}
    else:
        n_positive = int(label.targets.sum())
        with_positive, with_negative = subjects_by_class(label.targets, label.subjects)
        counts = {
            "n": n,
            "n_positive": n_positive,
            "n_subjects": n_subjects,
            "n_positive_subjects": with_positive,
            "n_negative_subjects": with_negative,
            "prevalence": n_positive / n if n else None,
        }
    return counts if n else counts | {"reason": "no recording is rated"}


def _small_sample(label):
    """{"small_sample": a warning}, where there are rated subjects, but few of them."""
    n, counts = len(set(label.subjects)), ()
    if not label.is_score:
        counts = subjects_by_class(label.targets, label.subjects)
    if not n or (n >= ENOUGH_SUBJECTS and min(counts, default=n) >= ENOUGH_OF_A_CLASS):
        return {}
    return {"small_sample": f"Only {few_subjects(n, *counts)}: {SMALL_SAMPLE}"}


def few_subjects(n: int, n_positive: int | None = None, n_negative: int | None = None):
    """How many subjects there are, of a label that is 0 or 1 also of each class.

    >>> few_subjects(12, 5, 9)
    '12 subjects (5 with a positive, 9 with a negative)'
    """
    classes = f" ({n_positive} with a positive, {n_negative} with a negative)"
    return f"{n} subjects{classes if n_positive is not None else ''}"


def _prediction_entries(label, seed, weighted=False):
    """Entries of what needs no threshold."""
    asked = label.question(weighted)
    if label.is_score:
        entries = bootstrap_intervals(**asked, seed=seed, two_classes=False)
        too_few = _why_too_few(asked["targets"], asked["weights"])
        if too_few:
            entries |= nothing(set(entries) - {"mae"}, too_few)
        return entries
    functions = dict(asked.pop("functions"))
    del functions["auroc"]
    return {
        "auroc": auroc_interval(**asked),
        **bootstrap_intervals(functions, **asked, seed=seed),
    }


def _why_too_few(ratings, weights):
    """Why ratings [n] with weights [n] have no correlation with any others, or None."""
    n = len(ratings)
    if not n:
        return "no recording is rated"
    if n < MIN_FOR_CORRELATION:
        return f"fewer than {MIN_FOR_CORRELATION} recordings are rated: {n}"
    # each subject weighs 1, or no recording less than that
    return "all recordings are of one subject" if weights.sum() < 1.5 else None


def _decision_entries(label, seed, weighted=False):
    """Entries of decisions."""
    if label.decided_on is None:
        return nothing(DECISION_MEASURES, label.threshold["reason"])
    return bootstrap_intervals(**label.decision_question(weighted), seed=seed)


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


def score_metrics(
    ratings: ArrayLike, predictions: ArrayLike, subjects: ArrayLike
) -> dict:
    """Computes the measures of one score over its rated recordings, no intervals.

    The mean absolute error is in the score's own units. The correlations of Pearson
    and Spearman and the intraclass correlation, ICC(A,1) between rating and prediction
    (see `measures.icc_agreement`), need three recordings and different ratings; the
    first two also different predictions. An ICC of predictions that are all the same is
    0.

    ratings: [n], Any number, NaN for "not rated".
    predictions: [n], In the units of the ratings.
    subjects: [n] of str, The subject of each recording.

    Returns: {"n", "n_subjects"} and of each measure {"value"}, which is None, with a
        "reason", where it can't be computed.

    >>> metrics = score_metrics([1, 2, 6], [2, 3, 7], ["a", "a", "b"])
    >>> metrics["mae"]["value"], round(metrics["pearson"]["value"], 6)
    (1.0, 1.0)
    """
    ratings = np.asarray(ratings, dtype=float)
    rated = ~np.isnan(ratings)
    ratings, predictions = ratings[rated], np.asarray(predictions, dtype=float)[rated]
    subjects = np.asarray(subjects, dtype=object)[rated]
    weights = np.ones(len(ratings))
    result = {"n": len(ratings), "n_subjects": len(set(subjects))}
    too_few = _why_too_few(ratings, weights)
    for name, function in SCORE_MEASURES.items():
        value = function(ratings, predictions, weights[None])[0]
        reason = too_few if name != "mae" or not len(ratings) else None
        if reason is None and np.isnan(value):
            reason = WHY_UNDEFINED[name]
        result[name] = (
            {"value": None, "reason": reason} if reason else {"value": float(value)}
        )
    return result
