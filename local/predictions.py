"""The table of predictions: what predictions.csv holds.

It is a DataFrame with one row per recording and label and these columns:

    uid, subject, label   str
    target                Int8: 0, 1, or empty for "not rated"
    logit                 float: the network's own output
    probability           float, 0 to 1: without the class weight used in training
    session               str: the visit, "" where there is none
    split                 str: train, valid, test, …
    predicted             Int8: 0 or 1 at the threshold; always empty in this
                          version, as thresholds are not chosen yet
"""

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from local.errors import RunError, UserError
from local.files import atomic_write

#: The columns of the table, in the order of the file.
COLUMNS = (
    "uid",
    "subject",
    "label",
    "target",
    "logit",
    "probability",
    "session",
    "split",
    "predicted",
)

#: What a file from elsewhere may leave out; the others it must have.
OPTIONAL_COLUMNS = ("session", "split", "predicted")


def predictions_table(recordings, labels, targets, logits, log_positive_weights, split):
    """Makes the table of predictions out of a network's outputs.

    Arguments
    ---------
    recordings : pandas.DataFrame
        One row per recording with the columns uid, subject and session.
    labels : list of str
        The labels, in the order of the columns of `targets` and `logits`.
    targets : numpy.ndarray [n_recordings, n_labels]
        0, 1, or NaN for "not rated".
    logits : numpy.ndarray [n_recordings, n_labels]
        The network's outputs.
    log_positive_weights : numpy.ndarray [n_labels]
        Natural logarithm of the weight that positives had in the loss; 0 for none.
    split : str
        The split that the recordings are from.

    Returns
    -------
    pandas.DataFrame [n_recordings * n_labels rows]
        Recordings in their order, and for each the labels in theirs.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    local.errors.RunError
        If a logit is not a finite number; names the recordings.

    Example
    -------
    >>> recordings = pd.DataFrame({"uid": ["a"], "subject": ["s"], "session": ["1"]})
    >>> table = predictions_table(
    ...     recordings, ["slow", "loud"], [[1, np.nan]], [[0.0, 0.0]], [0, 0], "test"
    ... )
    >>> table[["uid", "label", "target", "probability"]].values.tolist()
    [['a', 'slow', 1, 0.5], ['a', 'loud', <NA>, 0.5]]
    """
    targets, logits = np.asarray(targets, dtype=float), np.asarray(logits)
    shape = (len(recordings), len(labels))
    if not targets.shape == logits.shape == shape:
        raise ValueError(
            f"targets {targets.shape} and logits {logits.shape} must both be "
            f"(recordings, labels) = {shape}"
        )
    _refuse_not_finite(logits, recordings["uid"], split)
    # A weight w on the positives of binary cross-entropy multiplies their odds by
    # w, so the best logit is log(w p / (1 - p)): log w above the one of the true
    # probability p. In float64, where a probability is rounded to 1 much later.
    log_weights = np.asarray(log_positive_weights, dtype=float).reshape(shape[1])
    probabilities = expit(logits.astype(float) - log_weights)

    def per_label(column):
        return recordings[column].astype("str").fillna("").repeat(shape[1]).array

    return pd.DataFrame(
        {
            "uid": per_label("uid"),
            "subject": per_label("subject"),
            "label": np.tile(np.asarray(labels, dtype=object), shape[0]),
            "target": pd.array(targets.ravel(), dtype="Int8"),
            "logit": logits.ravel(),
            "probability": probabilities.ravel(),
            "session": per_label("session"),
            "split": split,
            "predicted": pd.array([None] * logits.size, dtype="Int8"),
        }
    )


def _refuse_not_finite(logits, uids, split):
    """Raises RunError if any of the logits [n_recordings, n_labels] is not finite."""
    broken = ~np.isfinite(logits).all(axis=1)
    if broken.any():
        raise RunError(
            f"The network's output is not a finite number for {broken.sum()} of "
            f"{len(logits)} recordings of the split {split}, the first of them: "
            + ", ".join(uids[broken].astype(str)[:5])
        )


def rows_of_label(table, label):
    """What the table says about one label, unrated recordings included.

    Arguments
    ---------
    table : pandas.DataFrame
        A table of predictions.
    label : str
        The label; one that is not in the table has no rows.

    Returns
    -------
    targets : numpy.ndarray [n]
        0, 1, or NaN for "not rated".
    probabilities : numpy.ndarray [n]
    subjects : numpy.ndarray [n] of str
    """
    rows = table[table["label"] == label]
    return (
        rows["target"].to_numpy(dtype=float, na_value=np.nan),
        rows["probability"].to_numpy(dtype=float),
        rows["subject"].to_numpy(dtype=object),
    )


def write_predictions(table, path):
    """Writes the table as CSV, atomically; `read_predictions` reads it back.

    Numbers have all the digits that they need to come back as they were, so that
    metrics computed from the file are the ones computed from the table.

    Arguments
    ---------
    table : pandas.DataFrame
        A table of predictions.
    path : str or pathlib.Path
        The file to write.
    """
    with atomic_write(path) as stream:
        # No float_format: pandas then writes the shortest text that means the
        # same number, in the precision of the column (float32 has 9 digits).
        table.to_csv(stream, columns=list(COLUMNS), index=False, lineterminator="\n")


def read_predictions(path):
    """Reads predictions.csv, written by this recipe or by anything else.

    Arguments
    ---------
    path : str or pathlib.Path
        A CSV file in UTF-8 with the columns of the table; session, split and
        predicted may be missing, other columns are ignored.

    Returns
    -------
    pandas.DataFrame
        The table of predictions, rows in the order of the file.

    Raises
    ------
    local.errors.UserError
        If the file can't be read, columns are missing, or a row is wrong: uid,
        subject or label empty, target or predicted not 0, 1 or empty, logit not a
        finite number or empty, probability not between 0 and 1, or a recording
        and label listed twice. Names all such rows; the header is row 1.
    """
    row_numbers, rows = _read_rows(Path(path))
    problems, seen = [], defaultdict(list)
    for number, row in zip(row_numbers, rows, strict=True):
        problems += [f"row {number}: {problem}" for problem in _parse(row)]
        seen[row["uid"], row["label"]].append(number)
    problems += [
        f"rows {', '.join(map(str, numbers))}: uid {uid!r} and label {label!r} again"
        for (uid, label), numbers in seen.items()
        if len(numbers) > 1
    ]
    if problems:
        raise UserError(
            f"{path} has wrong rows; expected one row per uid and label, with target "
            "and predicted 0, 1 or empty, and probability from 0 to 1:",
            problems,
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    text = ("uid", "subject", "label", "session", "split")
    numbers = {"logit": float, "probability": float}
    flags = {"target": "Int8", "predicted": "Int8"}
    return table.astype(dict.fromkeys(text, "str") | numbers | flags)


def _read_rows(path):
    """The rows of the file as dicts of str, and their numbers in it."""
    try:
        # utf-8-sig: spreadsheet programs put a byte-order mark first.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            found = list(reader.fieldnames or [])
            numbered = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} can't be read as a CSV file in UTF-8: {error}"
        ) from error
    missing = [c for c in COLUMNS if c not in found and c not in OPTIONAL_COLUMNS]
    if missing:
        raise UserError(
            f"{path} lacks the columns {', '.join(missing)}; found: "
            f"{', '.join(found) or 'none'}. Expected: {', '.join(COLUMNS)}."
        )
    rows = [{column: row.get(column, "") for column in COLUMNS} for _, row in numbered]
    return [number for number, _ in numbered], rows


def _parse(row):
    """Turns the numbers of a row from text into numbers; returns what is wrong."""
    problems = [
        f"{column} is empty"
        for column in ("uid", "subject", "label")
        if not row[column]
    ]
    accepted = {
        "target": ("0, 1 or empty", lambda x: x is None or x in (0, 1)),
        "predicted": ("0, 1 or empty", lambda x: x is None or x in (0, 1)),
        "logit": ("a finite number or empty", lambda x: x is None or math.isfinite(x)),
        "probability": ("from 0 to 1", lambda x: x is not None and 0 <= x <= 1),
    }
    for column, (expected, is_right) in accepted.items():
        text = row[column].strip()
        try:
            row[column] = float(text) if text else None
            wrong = not is_right(row[column])
        except ValueError:
            wrong = True
        if wrong:
            problems.append(f"{column} is {text!r}, expected {expected}")
    return problems
