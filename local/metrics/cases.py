"""From recordings to visits and subjects: tables of predictions, and counts.

A clinician asks about a person, a study counts persons, and recordings of one person
are alike: what is said of recordings is also said of visits and subjects. The weights
with which each subject weighs the same are `measures.subject_weights`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from local.data.predictions_table import COLUMNS, rows_of_label, scores_in

#: How the recordings of a person decide about the person: by their mean logit, if any
#: is positive, or if more than half of them are.
PERSON_RULES = ("mean", "any", "majority")

#: Logits of probabilities so near to 1 that rounding shows in the eighth digit.
ROUNDED_FROM = 20


def per_visit(table):
    """Averages the predictions of each visit: subject and session, label by label.

    Recordings of a subject without a session count as one visit. See `per_subject`.
    """
    return _aggregate(table, ["split", "subject", "session"])


def per_subject(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Averages the predictions of each subject, label by label.

    Only recordings that are rated for the label count, as the target speaks of no
    others; where none is, all do. `logit` is the mean logit. `probability` belongs to
    it as in the recordings: class weight and calibration change logits by a straight
    line, so it is the expit of the mean of the probabilities' own logits. The target is
    that of the recordings, of a score their mean; NaN where it is 0 in some and 1 in
    others.

    table: A table of predictions (see `local.data.predictions_table`).

    Returns table: A table of predictions with a row per split, subject and label. `uid`
        is that of the subject's first recording, `session` is empty, and so is
        `predicted`.
    Returns n_varying: Of each label how many subjects have both targets.

    >>> table = pd.DataFrame({"uid": ["u", "v"], "subject": "s", "label": "slow",
    ...     "target": [0.0, 1.0], "logit": [0.0, 4.0], "probability": [0.5, 0.982],
    ...     "session": "", "split": "test", "predicted": [0, 1]})
    >>> subjects, n_varying = per_subject(table)
    >>> subjects[["uid", "target", "logit"]].values.tolist(), n_varying
    ([['u', nan, 2.0]], {'slow': 1})
    """
    return _aggregate(table.assign(session=""), ["split", "subject", "session"])


def _aggregate(table, keys):
    table = table.reset_index(drop=True)
    scores = table["label"].isin(scores_in(table))
    rows = table.assign(
        # the same one for all labels, also if some recordings lack one
        uid=table.groupby(keys, sort=False)["uid"].transform("first"),
        corrected=corrected_logits(table),
        score=table["target"].where(scores),
    )
    keys = [*keys, "label"]
    n_rated = rows.groupby(keys, sort=False)["target"].transform("count")
    groups = rows[rows["target"].notna() | (n_rated == 0)].groupby(keys, sort=False)
    means = groups[["logit", "corrected", "score"]].mean()
    # a mean over the recordings that happen to have a logit would be another one
    all_given = groups["logit"].count() == groups.size()
    varies = (groups["target"].nunique() > 1) & means["score"].isna()
    result = pd.DataFrame(
        {
            "uid": groups["uid"].first(),
            "target": means["score"].fillna(groups["target"].first().mask(varies)),
            "logit": means["logit"].where(all_given),
            "probability": expit(means["corrected"]),
        }
    ).reset_index()
    result["predicted"] = pd.array([None] * len(result), dtype="Int8")
    n_varying = varies.groupby("label", sort=False).sum()
    return result[list(COLUMNS)], {name: int(n) for name, n in n_varying.items()}


def person_scores(
    table: pd.DataFrame, rule: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """One number per person and label, at or above a threshold where a rule says yes.

    Of `mean` it is the probability of the mean logit, of `any` the largest probability
    of the recordings, of `majority` the one that more than half of them have at least.
    Only rated recordings count. A person is positive if any of them is, so that those
    who have both targets are judged too.

    table: A table of predictions; its scores are left out.
    rule: One of `PERSON_RULES`.

    Returns table: Like `per_subject`.
    Returns n_varying: Of each label how many persons have both targets.

    >>> table = pd.DataFrame({"uid": list("uvw"), "subject": "s", "label": "slow",
    ...     "target": [0.0, 1.0, 0.0], "logit": [0.0, 4.0, -1.0], "session": "",
    ...     "probability": [0.5, 0.982, 0.269], "split": "test", "predicted": None})
    >>> {rule: float(person_scores(table, rule)[0]["probability"][0].round(2))
    ...     for rule in PERSON_RULES}
    {'mean': 0.73, 'any': 0.98, 'majority': 0.5}
    """
    is_used = table["target"].notna() & ~table["label"].isin(scores_in(table))
    rows = table[is_used].reset_index(drop=True)
    rows = rows.assign(corrected=corrected_logits(rows))
    groups = rows.groupby(["split", "subject", "label"], sort=False)
    probability = {
        "mean": lambda: expit(groups["corrected"].mean()),
        "any": lambda: groups["probability"].max(),
        # of an even number the lower one of the middle two
        "majority": lambda: groups["probability"].quantile(0.5, interpolation="lower"),
    }[rule]()
    persons = pd.DataFrame(
        {
            "uid": groups["uid"].first(),
            "target": groups["target"].max(),
            "logit": finite_logits(probability),
            "probability": probability,
            "session": "",
        }
    ).reset_index()
    persons["predicted"] = pd.array([None] * len(persons), dtype="Int8")
    n_varying = (groups["target"].nunique() > 1).groupby("label", sort=False).sum()
    return persons[list(COLUMNS)], {name: int(n) for name, n in n_varying.items()}


def decided_in_folds(
    cases: pd.DataFrame, rule: str | None, fold_points: dict[str, dict]
) -> pd.DataFrame:
    """Visits or persons of a cross-validation, decided at thresholds of their fold.

    cases: As `per_visit`, `per_subject` and `person_scores` give them.
    rule: Of the thresholds for persons; None for those of recordings.
    fold_points: By fold and label operating points with "per_subject".
    """

    def cut(fold, label):
        point = fold_points.get(fold, {}).get(label, {})
        own = point.get("per_subject", {}).get(rule) if rule else point.get("threshold")
        return (own or {}).get("value")

    pairs = zip(cases["split"], cases["label"], strict=True)
    cuts = pd.Series([cut(*pair) for pair in pairs], cases.index, dtype=float)
    predicted = (cases["probability"] >= cuts).astype("Int8").mask(cuts.isna())
    return cases.assign(predicted=predicted)


def corrected_logits(table: pd.DataFrame) -> pd.Series:
    """The logits that belong to the probabilities of a table: no class weight in them.

    A probability that is nearly 1 has lost its digits, and that of a confident network
    is 1 or 0. There the network's logit tells, along the straight line that leads from
    the logits of a label to those of its probabilities; if there is such a line, as
    there need not be in predictions from elsewhere.

    table: A table of predictions.

    Returns: [n], NaN for scores.
    """
    corrected = pd.Series(np.nan, index=table.index)
    for label in set(table["label"]) - scores_in(table):
        rows = table[table["label"] == label]
        logits, probabilities = rows["logit"].to_numpy(), rows["probability"].to_numpy()
        own, given = finite_logits(probabilities), np.isfinite(logits)
        exact = given & (np.abs(own) <= ROUNDED_FROM)
        rounded = given & ((own > ROUNDED_FROM) | (probabilities == 0))
        if rounded.any() and exact.any() and np.ptp(logits[exact]) > 0:
            line = np.polynomial.Polynomial.fit(logits[exact], own[exact], 1)
            if np.allclose(line(logits[exact]), own[exact], atol=1e-3):
                own[rounded] = line(logits[rounded])
        corrected[rows.index] = own
    return corrected


def finite_logits(probabilities: ArrayLike) -> np.ndarray:
    """Logits of probabilities, of which 0 and 1 count as 2e-16 away from that.

    probabilities: [n], 0 to 1; NaN stays NaN.

    Returns: [n]

    >>> finite_logits([0.0, 0.5, 1.0]).round(1).tolist()
    [-36.0, 0.0, 36.0]
    """
    smallest = np.finfo(float).eps
    given = np.asarray(probabilities, dtype=float)
    # only what would be infinite: a probability of 1e-30 is exact
    inside = np.where(given == 0, smallest, np.where(given == 1, 1 - smallest, given))
    return logit(inside)


class Rated(NamedTuple):
    """The rated recordings of one label each an array [n]."""

    targets: np.ndarray  # 0 or 1, of a score any number
    predictions: np.ndarray  # probabilities, of a score the predicted score
    subjects: np.ndarray  # of str


def rated_rows(table: pd.DataFrame, label: str) -> Rated:
    """The rated recordings of a label in a table of predictions."""
    rows = rows_of_label(table, label)
    rated = ~np.isnan(rows[0])
    return Rated(*(column[rated] for column in rows))
