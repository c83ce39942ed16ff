"""Thresholds of a cross-validation whose folds have too few subjects to choose them.

Each fold's threshold is then chosen on the predictions of the other folds, whose
subjects its network was not tested on:

    points = fold_operating_points(table, points_by_fold, names)
    decided, choices = decide_with_choice(table, points, names)
    choices.points, choices.entries
"""

import dataclasses

import numpy as np
import pandas as pd

from local.data.predictions_table import scores_in
from local.evaluation.operating_points import apply_operating_points, fit_points
from local.metrics.estimate import measure, subjects_by_class, too_few_subjects
from local.metrics.intervals import MIN_SUBJECTS
from local.metrics.measures import WHY_UNDEFINED
from local.metrics.resampling import draw_subjects
from local.metrics.thresholds import LEVEL, OTHER_FOLDS, best_threshold

#: Draws of subjects, and what of them is left out at either end.
N_DRAWS = 500
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2

NO_THRESHOLD = "no fold has a threshold"


@dataclasses.dataclass(frozen=True)
class FoldChoices:
    """The thresholds of a cross-validation, and what follows from their choice.

    points: By fold its operating points.
    entries: By label what metrics.json has in the place of its "threshold" and, where a
        threshold is from other folds, of "sensitivity" and "specificity".
    """

    points: dict[str, dict]
    entries: dict[str, dict]


def decide_with_choice(
    table: pd.DataFrame,
    points: dict[str, dict],
    names: list[str],
    rule: str | dict = "youden",
    seed: int = 0,
) -> tuple[pd.DataFrame, FoldChoices]:
    """Calibrate and decide the predictions of all folds.

    All arguments: As `fold_operating_points` takes and, of `points`, gives them.
    """
    entries = {name: {"threshold": _summary(points, name)} for name in names}
    borrowed = [
        name
        for name, entry in entries.items()
        if any(f["source"] == OTHER_FOLDS for f in entry["threshold"]["folds"])
    ]
    shares = intervals_with_choice(table, points, borrowed, rule, seed)
    for name, own in shares.items():
        entries[name] |= own
    return decide_folds(table, points), FoldChoices(points, entries)


def _summary(points, name):
    """The thresholds of a label in all folds, as metrics.json has them."""
    thresholds = {
        fold: own[name]["threshold"] for fold, own in points.items() if name in own
    }
    folds = [
        {"fold": fold, "value": own["value"], "source": own["source"]}
        for fold, own in thresholds.items()
    ]
    first = next(iter(thresholds.values()), {})
    reason = "each fold has its own"
    if not any(fold["value"] is not None for fold in folds):
        reason = first.get("reason", NO_THRESHOLD)
    sources = dict.fromkeys(fold["source"] for fold in folds if fold["source"])
    return {
        "value": None,
        "rule": first.get("rule"),
        "source": " and ".join(sources) or None,
        "n_positive_subjects": None,
        "folds": folds,
        "reason": reason,
    }


def fold_operating_points(
    table: pd.DataFrame,
    points_by_fold: dict[str, dict],
    names: list[str],
    rule: str | dict = "youden",
    calibration: str = "none",
    seed: int = 0,
) -> dict[str, dict]:
    """The operating points of each fold, from the other folds where it has none.

    A label whose own threshold was given, or could be chosen on enough subjects, keeps
    it, and its calibration. (Also if no threshold was any good there.)

    table: Table of predictions of all folds of one repeat, not calibrated; `split`
        names the fold.
    points_by_fold: Those of each fold, as `read_operating_points` gives them.
    names: The labels.
    rule, calibration, seed: As for `fit_operating_points`.
    """
    points = {}
    for fold, own in points_by_fold.items():
        kept = {
            name: point
            for name, point in own.items()
            if point["threshold"]["source"] is not None
        }
        others = {OTHER_FOLDS: table[table["split"] != fold]}
        absent = [name for name in names if name not in kept]
        points[fold] = kept | fit_points(others, absent, rule, calibration, seed)
    return points


def decide_folds(table: pd.DataFrame, points_by_fold: dict[str, dict]) -> pd.DataFrame:
    """The table with each fold calibrated and decided by its operating points.

    table, points_by_fold: As `fold_operating_points` takes and gives them.
    """
    parts = [
        apply_operating_points(rows, points_by_fold.get(fold, {}))
        for fold, rows in table.groupby("split", sort=False)
    ]
    return pd.concat(parts).loc[table.index]


def intervals_with_choice(
    table: pd.DataFrame,
    points_by_fold: dict[str, dict],
    names: list[str],
    rule: str | dict = "youden",
    seed: int = 0,
) -> dict[str, dict]:
    """Sensitivity and specificity over all folds, of a choice that could be another.

    Subjects are drawn with replacement, with all their recordings. The thresholds that
    are from other folds are chosen again on those who were drawn there, and decide
    about those who were drawn here; thresholds of a fold's own stay. Calibrations stay.

    In simulations of 40 subjects with six recordings (five folds, prevalence 0.5, ICC
    0.6, AUROC 0.75 to 0.95, 200 or 300 studies each) 94 to 98 % of these intervals held
    what the procedure reaches on average; with thresholds taken as certain 76 to 89 %.

    table, points_by_fold: As `decide_folds` takes them; the index has no value twice.

    Returns: By label that is 0 or 1 {"sensitivity", "specificity"}, each {"value",
        "low", "high"}; "reason" where one is None.
    """
    decided = decide_folds(table, points_by_fold)
    scores = scores_in(table)
    return {
        name: _label_intervals(
            table[(table["label"] == name) & table["target"].notna()],
            decided["predicted"],
            {fold: points.get(name) for fold, points in points_by_fold.items()},
            rule,
            seed,
        )
        for name in names
        if name not in scores
    }


def _label_intervals(rows, predicted, points, rule, seed):
    """The same of one label: its rated rows, decisions by row, points by fold."""
    targets = rows["target"].to_numpy()
    subjects = rows["subject"].to_numpy(dtype=object)
    predicted = predicted[rows.index].to_numpy(dtype=float, na_value=np.nan)
    values = _shares(targets, predicted)
    why_none = NO_THRESHOLD if np.isnan(predicted).all() else None
    too_few = too_few_subjects(*subjects_by_class(targets, subjects), MIN_SUBJECTS)
    draws = []
    if not (why_none or too_few):
        choices = [
            _choice(rows, fold, point)
            for fold, point in points.items()
            if point and point["threshold"]["source"] == OTHER_FOLDS
        ]
        index = np.unique(subjects.astype(str), return_inverse=True)[1]
        for counts in draw_subjects(index.max() + 1, N_DRAWS, seed):
            draws.append(_drawn(targets, predicted, counts[index], choices, rule))
    return {
        name: measure(None, reason=why_none or WHY_UNDEFINED[name])
        if np.isnan(value)
        else measure(value, reason=too_few)
        if too_few
        else measure(value, np.nanquantile([draw[name] for draw in draws], TAILS))
        for name, value in values.items()
    }


def _choice(rows, fold, point):
    """Which recordings are a fold's [n], and all probabilities by its calibration."""
    calibrated = apply_operating_points(rows, {rows["label"].iloc[0]: point})
    return (rows["split"] == fold).to_numpy(), calibrated["probability"].to_numpy()


def _drawn(targets, predicted, counts, choices, rule):
    """The shares of a draw, each recording so many times; thresholds chosen anew."""
    predicted = predicted.copy()
    for inside, probabilities in choices:
        others = np.repeat(np.arange(len(targets)), counts * ~inside)
        cut = best_threshold(targets[others], probabilities[others], rule)
        predicted[inside] = np.nan if cut is None else probabilities[inside] >= cut
    return _shares(np.repeat(targets, counts), np.repeat(predicted, counts))


def _shares(targets, predicted):
    """Sensitivity and specificity of decisions [n], NaN where there are none."""
    decided = ~np.isnan(predicted)
    sides = {
        "sensitivity": predicted[decided & (targets == 1)],
        "specificity": 1 - predicted[decided & (targets == 0)],
    }
    return {name: own.mean() if len(own) else np.nan for name, own in sides.items()}
