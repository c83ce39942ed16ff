"""From probabilities to decisions: the calibration and the threshold of each label.

Both are fitted on the validation split, stored in the experiment, and then used on
every other split. They are kept as

    {label: {"threshold": {"value", "rule", "source", "n_positive_subjects"},
             "calibration": None or {"kind", "slope", "intercept"}}}

with a "reason" in whichever has no value.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from local.data.predictions_table import scores_in
from local.metrics.cases import corrected_logits
from local.metrics.decisions import decide
from local.metrics.recalibration import fit_calibration
from local.metrics.thresholds import threshold_with_fallback
from local.storage.experiment_files import OPERATING_POINTS
from local.utils.errors import UserError
from local.utils.files import read_json, write_json

#: Logits that differ by a constant do so within this.
TOLERANCE = 1e-3


def fit_operating_points(
    validation: pd.DataFrame | None,
    names: list[str],
    rule: str | dict = "youden",
    calibration: str = "none",
    cross_fitted: pd.DataFrame | None = None,
) -> dict[str, dict]:
    """Fits the calibration and chooses the threshold of each label.

    The threshold is one on the calibrated probability.

    validation: Table of predictions of the validation split; None without one.
    names: The labels; those of them that are scores have neither.
    rule: See `thresholds.choose_threshold`.
    calibration: "none" or one of `recalibration.KINDS`.
    cross_fitted: Table of predictions of the training subjects, each made by a network
        that was trained without them: for labels that validation has too few subjects
        of.

    Returns: As above.

    >>> table = pd.DataFrame({"uid": ["u", "v"], "subject": ["s", "t"], "label": "slow",
    ...     "target": [0.0, 1.0], "logit": [-1.0, 1.0], "probability": [0.27, 0.73],
    ...     "session": "", "split": "valid", "predicted": None})
    >>> fit_operating_points(table, ["slow"])["slow"]["threshold"]["value"] is None
    True
    """
    tables = [table for table in (validation, cross_fitted) if table is not None]
    scores = set().union(*map(scores_in, tables))
    points = {}
    for name in names:
        if name in scores:
            continue
        own = None if validation is None else validation[validation["label"] == name]
        fitted = _calibrate(own, calibration)
        if own is not None:
            point = {"threshold": {"value": None}, "calibration": fitted}
            own = own.assign(probability=_decide(own, point)[0])
        other = None
        if cross_fitted is not None:
            other = cross_fitted[cross_fitted["label"] == name]
        threshold = threshold_with_fallback(_rows(own), _rows(other), rule)
        points[name] = {"threshold": threshold, "calibration": fitted}
    return points


def _rows(table):
    """Targets, probabilities and subjects of one label's table, each [n]."""
    if table is None:
        return None
    columns = ("target", "probability", "subject")
    return tuple(table[column].to_numpy() for column in columns)


def _calibrate(table, kind):
    """The calibration of one label by its validation predictions; None for none."""
    if kind == "none":
        return None
    if table is None:
        nothing = {"kind": kind, "slope": None, "intercept": None}
        return nothing | {"reason": "there is no validation split"}
    targets, _, subjects = _rows(table)
    logits = corrected_logits(table).to_numpy()
    log_weight = _log_weight(table["logit"].to_numpy(), logits)
    return fit_calibration(targets, logits, subjects, kind, log_weight)


def _log_weight(logits, corrected):
    """What a class weight has added to the network's logits, [n] each.

    0 where they differ from those of the probabilities in any other way, as those of
    predictions from elsewhere may.
    """
    added = logits - corrected
    if not len(added) or not np.ptp(added) < TOLERANCE:
        return 0.0
    return round(float(np.median(added)), 5)  # 0 but for rounding is 0


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
    try:
        points = read_json(path)["labels"]
        for name, point in points.items():
            _check_point(name, point)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError(
            f"{path} can't be read ({type(error).__name__}: {error}): expected the "
            "thresholds that train.py wrote. Running train.py again with the same "
            "settings writes them anew."
        ) from error
    return points


def _check_point(name, point):
    """Raises ValueError if a label's entry is not what `fit_operating_points` gives."""
    threshold, calibration = point["threshold"], point["calibration"]
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
