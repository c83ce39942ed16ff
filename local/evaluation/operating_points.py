"""From probabilities to decisions: the calibration and the threshold of each label.

Both are fitted on the validation split or, where that has too few subjects, on
predictions of the training subjects by models that were trained without them. They are
stored in the experiment, and then used on every other split. They are kept as

    {label: {"threshold": {"value", "low", "high", "rule", "source",
                           "n_positive_subjects"},
             "per_subject": {rule: as "threshold", of the person's score},
             "calibration": None or {"kind", "slope", "intercept", "source"}}}

with a "reason" in whichever has no value. The rules are `cases.PERSON_RULES`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from local.data.predictions_table import scores_in
from local.metrics.cases import PERSON_RULES, corrected_logits, person_scores
from local.metrics.decisions import decide
from local.metrics.recalibration import fit_calibration
from local.metrics.thresholds import (
    CROSS_FITTED,
    FIXED,
    GIVEN,
    OUT_OF_FOLD,
    VALIDATION,
    threshold_with_fallback,
)
from local.storage.experiment_files import OPERATING_POINTS
from local.utils.errors import told_if_damaged
from local.utils.files import read_json, write_json

#: Logits that differ by a constant do so within this.
TOLERANCE = 1e-3

NO_VALIDATION = "there is no validation split"


def fit_operating_points(
    validation: pd.DataFrame | None,
    names: list[str],
    rule: str | dict = "youden",
    calibration: str = "none",
    cross_fitted: pd.DataFrame | None = None,
    out_of_fold: pd.DataFrame | None = None,
    seed: int = 0,
) -> dict[str, dict]:
    """Fits the calibration and chooses the threshold of each label.

    The threshold is one on the calibrated probability.

    validation: Table of predictions of the validation split; None without one.
    names: The labels; those of them that are scores have neither.
    rule: See `thresholds.choose_threshold`.
    calibration: "none" or one of `recalibration.KINDS`.
    cross_fitted: Table of predictions of the training subjects, each made by a network
        that was trained without them (`cross_fitted_csv`): for labels that validation
        has too few subjects of.
    out_of_fold: Such predictions that training itself has made. Those of validation
        join them, whose subjects the model was trained without, too.
    seed: Of draws of subjects.

    Returns: As above.

    >>> table = pd.DataFrame({"uid": ["u", "v"], "subject": ["s", "t"], "label": "slow",
    ...     "target": [0.0, 1.0], "logit": [-1.0, 1.0], "probability": [0.27, 0.73],
    ...     "session": "", "split": "valid", "predicted": None})
    >>> fit_operating_points(table, ["slow"])["slow"]["threshold"]["value"] is None
    True
    """
    sources = {VALIDATION: validation}
    if out_of_fold is not None:
        sources[OUT_OF_FOLD] = pd.concat(
            [table for table in (out_of_fold, validation) if table is not None],
            ignore_index=True,
        )
    sources[CROSS_FITTED] = cross_fitted
    return fit_points(sources, names, rule, calibration, seed)


def fit_points(
    sources: dict[str, pd.DataFrame | None],
    names: list[str],
    rule: str | dict,
    calibration: str,
    seed: int,
) -> dict[str, dict]:
    """The same of whatever sources there are, the best one first.

    sources: By name, as for `thresholds.threshold_with_fallback`, tables of
        predictions.
    """
    given = [table for table in sources.values() if table is not None]
    scores = set().union(*map(scores_in, given))
    return {
        name: _fit_label(
            {
                source: None if table is None else table[table["label"] == name]
                for source, table in sources.items()
            },
            rule,
            calibration,
            seed,
        )
        for name in names
        if name not in scores
    }


def _fit_label(tables, rule, kind, seed):
    """The operating point of one label; tables: by source, its rows."""
    calibration = _calibrate(tables, kind)
    if calibration and calibration["slope"] is not None:
        point = {"threshold": {"value": None}, "calibration": calibration}
        tables = {
            # predictions of another run have its own calibration
            source: table.assign(probability=_decide(table, point)[0])
            if table is not None and source != CROSS_FITTED
            else table
            for source, table in tables.items()
        }

    def chosen(scored):
        rows = {
            source: None if table is None else _rows(scored(table))
            for source, table in tables.items()
        }
        return threshold_with_fallback(rows, rule, seed)

    return {
        "threshold": chosen(lambda table: table),
        "per_subject": {
            of_person: chosen(lambda table, by=of_person: person_scores(table, by)[0])
            for of_person in PERSON_RULES
        },
        "calibration": calibration,
    }


def _rows(table):
    """Targets, probabilities and subjects of one label's table, each [n]."""
    columns = ("target", "probability", "subject")
    return tuple(table[column].to_numpy() for column in columns)


def _calibrate(tables, kind):
    """The calibration of one label by the first source that has one; None for none."""
    if kind == "none":
        return None
    nothing = {"kind": kind, "slope": None, "intercept": None}
    nothing |= {"reason": NO_VALIDATION}
    of_sources = []
    for source, table in tables.items():
        if table is None or source == CROSS_FITTED:
            continue
        targets, _, subjects = _rows(table)
        logits = corrected_logits(table).to_numpy()
        log_weight = _log_weight(table["logit"].to_numpy(), logits)
        fitted = fit_calibration(targets, logits, subjects, kind, log_weight)
        fitted |= {"source": source}
        if fitted["slope"] is not None:
            return fitted
        of_sources.append(fitted)
    return of_sources[0] if of_sources else nothing


def _log_weight(logits, corrected):
    """What a class weight has added to the network's logits, [n] each.

    0 where they differ from those of the probabilities in any other way, as those of
    predictions from elsewhere may.
    """
    added = logits - corrected
    if not len(added) or not np.ptp(added) < TOLERANCE:
        return 0.0
    return round(float(np.median(added)), 5)  # 0 but for rounding is 0


def fixed_points(points: dict[str, dict], given: dict[str, float]) -> dict[str, dict]:
    """The same with the thresholds that were fixed in advance.

    They are for recordings and persons alike: a person is positive by `any` if a
    recording reaches them.

    given: By label, as `EvaluationSettings.given_thresholds` gives them.
    """
    nothing = {"low": None, "high": None, "rule": FIXED, "source": GIVEN}
    nothing |= {"n_positive_subjects": None}
    fixed = {
        name: {
            "threshold": {"value": value} | nothing,
            "per_subject": {rule: {"value": value} | nothing for rule in PERSON_RULES},
            "calibration": points.get(name, {}).get("calibration"),
        }
        for name, value in given.items()
    }
    return points | fixed


def _decide(table, point):
    """Probabilities and decisions, each [n], of one label's table; see `decide`."""
    return decide(corrected_logits(table), table["probability"], point)


def apply_operating_points(
    table: pd.DataFrame, points: dict[str, dict]
) -> pd.DataFrame:
    """Calibrates the probabilities of a table and decides at the thresholds.

    table: A table of predictions, not calibrated yet.
    points: As `fit_operating_points` gives them; other labels stay as they are.

    Returns: A copy, with `probability` and `predicted` in the place of the table's own.
    """
    table = table.copy()
    predicted = table["predicted"].to_numpy(dtype=object, na_value=None)
    for name, point in points.items():
        inside = (table["label"] == name).to_numpy()
        rows = table[inside]
        table.loc[inside, "probability"], decided = _decide(rows, point)
        if decided is not None:
            predicted[inside] = decided
    table["predicted"] = pd.array(predicted, dtype="Int8")
    return table


def save_operating_points(points, folder):
    """Writes them into an experiment's folder."""
    write_json(Path(folder) / OPERATING_POINTS, {"labels": points})


def read_operating_points(folder: Path) -> dict[str, dict]:
    """Those of an experiment; none, where its training has not come to its end.

    folder: The experiment's.

    Raises UserError: if the file is damaged.
    """
    path = Path(folder) / OPERATING_POINTS
    if not path.is_file():
        return {}
    expected = (
        "the thresholds that train.py wrote. Running train.py again with the same "
        "settings writes them anew."
    )
    with told_if_damaged(path, expected):
        points = read_json(path)["labels"]
        for name, point in points.items():
            _check_point(name, point)
    return points


def _check_point(name, point):
    """Raises ValueError if a label's entry is not what `fit_operating_points` gives."""
    calibration = point["calibration"]
    for threshold in (point["threshold"], *point.get("per_subject", {}).values()):
        value = threshold["value"]
        keys = {"rule", "source", "n_positive_subjects"}
        keys |= {"reason"} if value is None else set()
        if not keys <= threshold.keys() or not _is_none_or(value, 0, 1):
            raise ValueError(f"the threshold of {name} is {threshold}")
    if calibration is None:
        return
    slope, intercept = calibration["slope"], calibration["intercept"]
    fitted = [number is not None for number in (slope, intercept)]
    numbers = all(_is_none_or(number, -np.inf, np.inf) for number in (slope, intercept))
    if any(fitted) != all(fitted) or not numbers:
        raise ValueError(f"the calibration of {name} is {calibration}")


def _is_none_or(value, low, high):
    """Whether a value is None, or a finite number between two others."""
    if value is None:
        return True
    is_number = isinstance(value, int | float) and np.isfinite(value)
    return is_number and low <= value <= high
