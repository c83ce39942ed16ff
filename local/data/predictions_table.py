"""The table of predictions: what predictions.csv holds.

It is a DataFrame with one row per recording and label and these columns:

    uid, subject, label   str
    target                float: 0, 1, of a score any number; NaN for "not rated"
    logit                 float: the network's own output; of a score the predicted
                          score, in its own units
    probability           float, 0 to 1: without the class weight used in training;
                          NaN in all rows of a label that is a score
    session               str: the visit, "" where there is none
    split                 str: train, valid, test, …
    predicted             Int8: 0 or 1 at the threshold, empty where there is none
    in_range, deviation   Int8 and float, where known: see `local.evaluation.in_range`
"""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from local.data.label_cells import WORDS
from local.data.labels import NOT_RATED, score_labels
from local.utils.errors import RunError, UserError
from local.utils.files import atomic_write
from local.utils.problems import Place, Problem, listed
from local.utils.text_io import read_cells

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

#: A further column, of a cross-validation with several repeats.
REPEAT = "repeat"

#: Further columns, of whether recordings are like those of training.
IN_RANGE, DEVIATION = RANGE_COLUMNS = "in_range", "deviation"
READ = (*COLUMNS, *RANGE_COLUMNS)

#: What a file from elsewhere must have, beside one of logit and probability.
NEEDED_COLUMNS = ("uid", "subject", "label", "target")
OUTPUT_COLUMNS = ("logit", "probability")

NUMBER_COLUMNS = ("target", *OUTPUT_COLUMNS, "predicted", *RANGE_COLUMNS)

#: Those of them that may be words, as yes and no.
FLAGS = ("target", "predicted", IN_RANGE)

#: Probabilities of 0 and 1 are this far from them in the logits that are made of them.
SMALLEST_PROBABILITY = float(np.finfo(float).epsneg)


def predictions_table(
    recordings: pd.DataFrame,
    labels: list[str],
    targets: np.ndarray,
    logits: np.ndarray,
    log_positive_weights: np.ndarray,
    split: str,
    label_ranges: list[list[float] | None] | None = None,
) -> pd.DataFrame:
    """Makes the table of predictions out of a network's outputs.

    recordings: One row per recording with the columns uid, subject and session.
    labels: The labels, in the order of the columns of `targets` and `logits`.
    targets: [n_recordings, n_labels], 0, 1, of a score any number; NaN for "not rated".
    logits: [n_recordings, n_labels], Outputs; of a score the predicted score.
    log_positive_weights: [n_labels], Natural logarithm of the weight of positives in
        the loss; 0 for none. A score's is not used.
    split: The split that the recordings are from.
    label_ranges: [low, high] of each label that is a score, None of the others; None
        alone: there are no scores.

    Returns: [n_recordings * n_labels rows], Recordings in their order, and for each the
        labels in theirs.
    Raises ValueError: if the shapes do not fit together.
    Raises RunError: if a logit is not a finite number; names the recordings.

    >>> recordings = pd.DataFrame({"uid": ["a"], "subject": ["s"], "session": ["1"]})
    >>> outputs = [[1, np.nan]], [[0.0, 0.0]], [0, 0]
    >>> table = predictions_table(recordings, ["slow", "loud"], *outputs, "test")
    >>> table[["uid", "label", "target", "probability"]].values.tolist()
    [['a', 'slow', 1.0, 0.5], ['a', 'loud', nan, 0.5]]
    """
    targets, logits = np.asarray(targets), np.asarray(logits)
    shape = (len(recordings), len(labels))
    if not targets.shape == logits.shape == shape:
        raise ValueError(
            f"targets {targets.shape} and logits {logits.shape} must both be "
            f"(recordings, labels) = {shape}"
        )
    _refuse_not_finite(logits, recordings["uid"], split)
    probabilities = _probabilities(logits, log_positive_weights)
    is_score = np.isin(np.array(labels, object), score_labels(labels, label_ranges))
    probabilities[:, is_score] = np.nan

    def per_label(column):
        return recordings[column].astype("str").fillna("").repeat(shape[1]).array

    return pd.DataFrame(
        {
            "uid": per_label("uid"),
            "subject": per_label("subject"),
            "label": np.tile(np.asarray(labels, dtype=object), shape[0]),
            "target": _shortest(targets.ravel()),
            "logit": _shortest(logits.ravel()),
            "probability": probabilities.ravel(),
            "session": per_label("session"),
            "split": split,
            "predicted": pd.array([None] * logits.size, dtype="Int8"),
        }
    )


def _probabilities(logits, log_positive_weights):
    """Probabilities without the class weight, [n_recordings, n_labels].

    A weight w on the positives of binary cross-entropy multiplies their odds by w, so
    the best logit is log(w p / (1 - p)): log w above the one of the true probability p.
    In float64, where a probability is rounded to 1 much later.
    """
    log_weights = np.asarray(log_positive_weights, dtype=float)
    return expit(logits.astype(float) - log_weights.reshape(logits.shape[1]))


def _shortest(numbers):
    """Float64 of the shortest text that means the same number in its own precision.

    A rating of 37.3 is 37.29999924 where a network's float32 becomes float64. What is
    written is 37.3, and what is measured in memory must be what is written.

    numbers : numpy.ndarray [n]
    """
    return numbers.astype(str).astype(float)


def _refuse_not_finite(logits, uids, split):
    """Raises RunError if any of the logits [n_recordings, n_labels] is not finite."""
    broken = ~np.isfinite(logits).all(axis=1)
    if broken.any():
        raise RunError(
            f"The network's output is not a finite number for {broken.sum()} of "
            f"{len(logits)} recordings of the split {split}, the first of them: "
            + ", ".join(uids[broken].astype(str)[:5])
        )


def rows_of_label(
    table: pd.DataFrame, label: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the table says about one label, unrated recordings included.

    table: A table of predictions.
    label: The label; one that is not in the table has no rows.

    Returns targets: [n], 0, 1, of a score any number; NaN for "not rated".
    Returns predictions: [n], Probabilities; of a score the predicted scores.
    Returns subjects: [n] of str
    """
    rows = table[table["label"] == label]
    column = "logit" if rows["probability"].isna().any() else "probability"
    return (
        rows["target"].to_numpy(dtype=float),
        rows[column].to_numpy(dtype=float),
        rows["subject"].to_numpy(dtype=object),
    )


def scores_in(table: pd.DataFrame) -> set[str]:
    """The labels of a table that are scores: those without probabilities.

    table: A table of predictions.
    """
    return set(table.loc[table["probability"].isna(), "label"])


def write_predictions(table: pd.DataFrame, path: str | Path):
    """Writes the table as CSV, atomically; `read_predictions` reads it back.

    Numbers have all the digits that they need to come back as they were, so that
    metrics computed from the file are the ones computed from the table.

    table: A table of predictions.
    path: The file to write.
    """
    with atomic_write(path) as stream:
        write_rows(table, stream)


def write_rows(table: pd.DataFrame, stream, header: bool = True):
    """Writes a table, or the next rows of one, as `write_predictions` does.

    stream: Open for writing text.
    """
    # No float_format: pandas then writes the shortest text that means the same number.
    written = table.assign(target=table["target"].map(_target_text))
    columns = [name for name in (*COLUMNS, REPEAT, *RANGE_COLUMNS) if name in table]
    layout = {"columns": columns, "index": False, "lineterminator": "\n"}
    written.to_csv(stream, header=header, **layout)


def _target_text(target):
    """1 for 1.0, as a CSV of ratings has it; 37.5 for 37.5; nothing for NaN."""
    if math.isnan(target):
        return ""
    return str(int(target)) if target == int(target) else repr(float(target))


def read_predictions(path: str | Path, repeat: int = 1) -> pd.DataFrame:
    """Reads predictions.csv, written by this recipe or by anything else.

    path: A CSV file in UTF-8 with the columns of the table; session, split and
        predicted may be missing, and one of logit and probability, which is then
        computed from the other one. Other columns are ignored.
    repeat: Of a cross-validation with several repeats, which have a row each of a
        recording and label: the one that is read.

    Returns: The table of predictions, rows in the order of the file.
    Raises UserError:
        if the file can't be read, columns are missing, or a row is wrong: uid,
        subject or label empty, target or predicted not 0, 1 or empty, logit not a
        finite number or empty, probability not between 0 and 1, or a recording
        and label listed twice. Names all such rows; the header is row 1. Of numbers
        `labels.NOT_RATED` are as good as empty.

        Where there is a column probability that is empty the label is a score: logit
        must be given, target may be any finite number, and no row of the label may
        have a probability.
    """
    path = Path(path)
    row_numbers, rows, columns = _read_rows(path, repeat)
    may_be_score = "probability" in columns
    problems, seen = [], defaultdict(list)
    for number, row in zip(row_numbers, rows, strict=True):
        problems += [
            Problem("cell", what, (Place(value or None, path.name, number),))
            for what, value in _parse(row, may_be_score)
        ]
        seen[row["uid"], row["label"]].append(number)
    problems += _mixed_labels(row_numbers, rows) + _two_subjects(rows)
    problems += [
        f"rows {', '.join(map(str, numbers))}: uid {uid!r} and label {label!r} again"
        for (uid, label), numbers in seen.items()
        if len(numbers) > 1
    ]
    if problems:
        raise UserError(
            f"{path} has wrong rows; expected one row per uid and label, with target "
            "and predicted 0, 1 or empty, and probability from 0 to 1; or for a score, "
            "a column probability with empty cells, logit the predicted score and "
            "target any number:",
            problems,
        )
    kinds = dict.fromkeys(("uid", "subject", "label", "session", "split"), "str")
    kinds |= dict.fromkeys(("target", "logit", "probability", DEVIATION), float)
    kinds |= dict.fromkeys(("predicted", IN_RANGE), "Int8")
    further = [column for column in RANGE_COLUMNS if column in columns]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *further])
    table = table.astype({name: kinds[name] for name in table})
    if not may_be_score:
        table["probability"] = expit(table["logit"])
    inside = table["probability"].clip(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return table.assign(logit=table["logit"].fillna(logit(inside)))


def _mixed_labels(row_numbers, rows):
    """Labels that are a score in some rows only; `rows` are parsed."""
    kinds = defaultdict(lambda: ([], []))  # rows with a probability, and without
    for number, row in zip(row_numbers, rows, strict=True):
        kinds[row["label"]][row["probability"] is None].append(number)
    return [
        f"label {label!r}: probability is empty in row {listed(without)} and given in "
        f"row {listed(given)}; a score has it in no row, any other label in all"
        for label, (given, without) in kinds.items()
        if given and without
    ]


def _two_subjects(rows):
    """Recordings that are of two subjects or visits."""
    visits = defaultdict(set)
    for row in rows:
        visits[row["uid"]].add((row["subject"], row["session"]))
    return [
        f"uid {uid!r} is of several subjects or sessions: "
        + ", ".join(f"{subject!r} {session!r}" for subject, session in sorted(pairs))
        for uid, pairs in visits.items()
        if len(pairs) > 1
    ]


def _read_rows(path, repeat):
    """Numbers of the rows in the file, they as dicts of str, and its columns."""
    try:
        header, *rows = read_cells(path, "uid")
    except FileNotFoundError as error:
        raise UserError(f"{path} can't be read: there is no such file.") from error
    numbered = _of_repeat(list(enumerate(rows, start=2)), header, repeat)
    missing = [column for column in NEEDED_COLUMNS if column not in header]
    if not {*OUTPUT_COLUMNS} & {*header}:
        missing.append(" or ".join(OUTPUT_COLUMNS))
    if missing:
        raise UserError(
            f"{path} lacks the columns {', '.join(missing)}; found: "
            f"{', '.join(header) or 'none'}. Expected: {', '.join(COLUMNS)}."
        )
    problems = [
        f"column {column!r} is there twice"
        for column in READ
        if header.count(column) > 1
    ]
    problems += [
        f"row {number} has {len(cells)} cells, the header {len(header)}"
        for number, cells in numbered
        if len(cells) > len(header)
    ]
    if problems:
        raise UserError(f"{path} is no table:", problems)
    blank = dict.fromkeys(READ, "")  # spreadsheets leave empty cells at the end away
    rows = [blank | dict(zip(header, cells, strict=False)) for _, cells in numbered]
    return [number for number, _ in numbered], rows, set(header)


def _of_repeat(numbered, header, repeat):
    """The rows of a repeat, where repeats have a row each of a recording and label."""
    if not {REPEAT, "uid", "label"} <= {*header}:
        return numbered
    uid, label, place = (header.index(name) for name in ("uid", "label", REPEAT))
    full = [row for row in numbered if len(row[1]) > max(uid, label, place)]
    if len({(cells[uid], cells[label]) for _, cells in full}) == len(full):
        return numbered  # a column of that name that means something else
    return [row for row in full if row[1][place].strip() == str(repeat)]


def _parse(row, may_be_score) -> list[tuple[str, str]]:
    """Turns the numbers of a row from text into numbers; returns what is wrong.

    Returns: What is wrong, and the cell that it is wrong of.
    """
    row |= {name: "" for name in NUMBER_COLUMNS if row[name].strip() in NOT_RATED}
    problems = [
        (f"in column {column!r} without anything in it", "")
        for column in ("uid", "subject", "label")
        if not row[column]
    ]
    flag = ("0, 1 or empty", lambda x: x is None or x in (0, 1))
    finite = ("a finite number or empty", lambda x: x is None or math.isfinite(x))
    accepted = {
        "target": flag,
        "predicted": flag,
        IN_RANGE: flag,
        DEVIATION: finite,
        "logit": finite,
        "probability": ("from 0 to 1", lambda x: 0 <= x <= 1),
    }
    if not row["probability"]:
        if may_be_score:
            accepted["target"] = finite
        accepted["logit"] = (
            "a finite number, as there is no probability",
            lambda x: x is not None and math.isfinite(x),
        )
        accepted["probability"] = ("from 0 to 1 or empty", lambda x: x is None)
    for column, (expected, is_right) in accepted.items():
        text = row[column].strip()
        try:
            if column in FLAGS:
                text = WORDS.get(text.lower(), text)
            row[column] = None if text == "" else float(text)
            wrong = not is_right(row[column])
        except ValueError:
            wrong = True
        if wrong:
            problems.append(
                (f"in column {column!r} with something else than {expected}", str(text))
            )
    return problems
