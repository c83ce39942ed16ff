"""How good probabilities and scores are: the content of metrics.json.

A number that can't be computed is None with a reason beside it, never a made-up
value. All numbers are plain Python ones, as JSON wants them.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from local.data.labels import LabelType, flatten, why_one_class
from local.data.predictions_table import scores_in
from local.metrics.calibration import calibration_metrics
from local.metrics.cases import (
    PERSON_RULES,
    decided_in_folds,
    per_subject,
    per_visit,
    person_scores,
)
from local.metrics.decision_curve import decision_curve
from local.metrics.estimate import subjects_by_class
from local.metrics.intervals import CASE_CONTROL, COHORT, linearised
from local.metrics.label_cases import DECISION_MEASURES, read_labels
from local.metrics.linearised import Linearised
from local.metrics.macro import macro_metrics
from local.metrics.measures import (
    PROBABILITY_MEASURES,
)
from local.metrics.prevalences import at_prevalences
from local.metrics.score_metrics import why_too_few

#: What a small sample means, said of each label in metrics.json and once in a report.
SMALL_SAMPLE = (
    "95 % intervals are then wide, and those of values near 1 tend to be too "
    "optimistic: a study without difficult subjects cannot know of them."
)

#: With fewer subjects, or fewer of a class, `docs/intervals.md` has seen intervals
#: miss the truth more often than they say.
ENOUGH_SUBJECTS = 40
ENOUGH_OF_A_CLASS = 20

#: What metrics.json has of decisions about persons.
PERSON_MEASURES = ("sensitivity", "specificity", "ppv", "npv", "balanced_accuracy")

WEIGHTING = (
    "In labels and macro each recording weighs the same, in subject_weighted each "
    "subject does, whose recordings share its weight. In per_visit and per_subject "
    "each visit or subject is a single case with the mean of its logits; where a "
    "reason or count there speaks of recordings, it means these cases. In "
    "per_subject.rules a person is positive if a recording of theirs is."
)


def evaluate_predictions(
    table: pd.DataFrame,
    label_groups: list[list[str]],
    checkpoint: str | None,
    types: dict[str, LabelType] | None = None,
    operating_points: dict[str, dict] | None = None,
    study_design: str = COHORT,
    decision_thresholds: Sequence[float] = (),
    prevalences: Sequence[float] = (),
    fold_points: dict[str, dict] | None = None,
) -> dict:
    """Computes the content of metrics.json.

    With several values of `split` the table is that of a cross-validation: AUROC and
    average precision are computed within folds, all else over all recordings.

    The macro values are means over the labels that have both classes; the others are
    listed in "left_out". Those of scores are over the scores that have all measures,
    and that of the mean absolute error needs scores of one range.

    A label without a threshold is judged by `predicted`, if all recordings have it.

    table: A table of predictions (see `local.data.predictions_table`), `probability`
        calibrated.
    label_groups: The labels of each head.
    checkpoint: That made the predictions.
    types: Of each label; without them the ranges of scores are not known.
    operating_points: {label: {"threshold": …, …}}, see
        `local.evaluation.operating_points`.
    study_design: One of `intervals.STUDY_DESIGNS`.
    decision_thresholds, prevalences: Of the decision curves; of PPV and NPV.
    fold_points: Of a cross-validation by fold, for decisions about visits and persons.

    Returns: {"checkpoint", "n_recordings", "n_subjects", "study_design", "intervals",
        "labels", "macro", "heads", "weighting", "subject_weighted", "per_subject"},
        "per_visit" where any recording has a session, "n_folds" where several are.
    """
    names, points = flatten(label_groups), operating_points or {}
    known = {"names": names, "types": types or {}, "study_design": study_design}
    read = partial(read_labels, points=points, **known)
    labels = read(table)
    scores = {name for name, label in labels.items() if label.is_score}
    evaluated = partial(_evaluate, asked=(decision_thresholds, prevalences))
    result = {
        "checkpoint": checkpoint,
        **_study(table, study_design),
        **evaluated(labels),
        "heads": [_head_metrics(table, group, scores) for group in label_groups],
        "weighting": WEIGHTING,
        "subject_weighted": _evaluate_weighted(labels),
    }
    how = read, evaluated, fold_points
    if (table["session"] != "").any():
        result["per_visit"] = _evaluate_cases(*per_visit(table), *how)
    result["per_subject"] = _evaluate_cases(*per_subject(table), *how)
    result["per_subject"]["rules"] = {
        rule: {"labels": _person_entries(table, rule, points, read, fold_points)}
        for rule in PERSON_RULES
    }
    return result


def _study(table, study_design):
    """What there is, and what an interval says of it."""
    n_folds = table["split"].nunique()
    return {
        "n_recordings": int(table["uid"].nunique()),
        "n_subjects": int(table["subject"].nunique()),
        **({"n_folds": n_folds} if n_folds > 1 else {}),
        "study_design": study_design,
        "intervals": _what_intervals_cover(study_design, n_folds),
    }


def _what_intervals_cover(study_design, n_folds):
    drawn = "drawn from a population, each with all recordings"
    if study_design == CASE_CONTROL:
        drawn = (
            "drawn as so many with a positive recording and so many without one, "
            "numbers that the design has fixed"
        )
    models = "this model" if n_folds < 2 else "these models, on average,"
    return (
        f"Subjects count as {drawn}: 95 % intervals tell how {models} would do on "
        "other such subjects, and not how models would differ that are trained with "
        "another seed or on other subjects."
    )


def _evaluate(labels, asked):
    """All about labels, whose cases weigh the same: {"labels", "macro"}."""
    result, estimates, (thresholds, prevalences) = {}, {}, asked
    for name, label in labels.items():
        estimates[name] = _estimates(label)
        entries, result[name] = _entries(estimates[name]), _counts(label)
        if not label.is_score:
            result[name] |= {key: entries[key] for key in PROBABILITY_MEASURES}
            result[name] |= calibration_metrics(
                label.targets, label.predictions, label.subjects
            )
            result[name] |= {"threshold": label.threshold} | label.if_chosen_again()
            result[name] |= _left_out(label)
            shares = (entries[key] for key in ("sensitivity", "specificity"))
            result[name]["at_prevalences"] = at_prevalences(*shares, prevalences)
            cases = label.targets, label.predictions, label.subjects
            result[name]["decision_curve"] = decision_curve(
                *cases, thresholds, label.study_design
            )
        result[name] |= entries | _small_sample(label)
    return {"labels": result, "macro": macro_metrics(labels, estimates)}


def _evaluate_cases(cases, n_varying, read, evaluated, fold_points):
    """All about the visits or subjects of an aggregated table."""
    if fold_points:
        cases = decided_in_folds(cases, None, fold_points)
    labels = read(cases)
    return {
        "n_cases": int(cases["uid"].nunique()),
        **evaluated(labels),
        "n_varying": {name: n_varying.get(name, 0) for name in labels},
    }


def _person_entries(table, rule, points, read, fold_points):
    """Decisions about persons by one rule, each label's at a threshold of its own."""
    persons, n_varying = person_scores(table, rule)
    if fold_points:
        persons = decided_in_folds(persons, rule, fold_points)
    own = {
        name: {"threshold": point["per_subject"][rule]}
        for name, point in points.items()
        if "per_subject" in point
    }
    result = {}
    for name, label in read(persons, points=own).items():
        if label.is_score or name in scores_in(table):
            continue
        n = len(label.targets)
        entries = _entries(_decisions(label))
        result[name] = {
            "n_subjects": n,
            "n_positive_subjects": int(label.targets.sum()),
            "n_varying": n_varying.get(name, 0),
            "n_undecided": n
            if label.decided_on is None
            else int(np.isnan(label.decided_on).sum()),
            "threshold": label.threshold,
            **label.if_chosen_again(),
            **{measured: entries[measured] for measured in PERSON_MEASURES},
        }
    return result


def _evaluate_weighted(labels):
    """What there is of it where the subjects weigh the same."""
    estimates = {name: _estimates(label, True) for name, label in labels.items()}
    return {
        "labels": {name: _entries(estimates[name]) for name, label in labels.items()},
        "macro": macro_metrics(labels, estimates, weighted=True),
    }


def _left_out(label):
    """Of several folds those that are not in AUROC, and those without decisions."""
    folds = label.by_fold()
    if len(folds) < 2:
        return {}
    undecided = {
        name: "a recording has no decision"
        for name, rows in folds.items()
        if label.decided_on is not None and np.isnan(label.decided_on[rows]).any()
    }
    one_class = {
        name: reason
        for name, rows in folds.items()
        if (reason := why_one_class(label.targets[rows]))
    }
    return {
        name: [{"fold": fold, "reason": reason} for fold, reason in folds.items()]
        for name, folds in (("left_out", one_class), ("without_decisions", undecided))
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


def _estimates(label, weighted=False):
    """All measures of a label, linearised."""
    asked = label.question(weighted)
    if label.is_score:
        estimates = linearised(**asked, two_classes=False)
        too_few = why_too_few(asked["targets"], asked["weights"])
        if too_few:
            estimates |= _nothing(set(estimates) - {"mae"}, too_few)
        return estimates
    return linearised(**asked) | _decisions(label, weighted)


def _decisions(label, weighted=False):
    """The measures of its decisions, linearised."""
    if label.decided_on is None:
        return _nothing(DECISION_MEASURES, label.threshold["reason"])
    return linearised(**label.decision_question(weighted))


def _nothing(names, reason):
    return dict.fromkeys(names, Linearised(None, reason))


def _entries(estimates):
    """What metrics.json has of them."""
    return {name: estimate.interval() for name, estimate in estimates.items()}


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
