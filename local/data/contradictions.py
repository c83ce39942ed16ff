"""One code, two people? Subjects whose rows say what no one person can be.

- More than one sex, in columns called sex or gender.
- Ages, in a column called age, more than `MAX_YEARS` apart within one visit (all
  rows of a subject are one where there is no `session`), or that fall by more from one
  visit to a later one, where the names of all visits have numbers to tell which is
  later. How much they rise from visit to visit is left alone.
- Both 0 and 1 of a label that is one and the same for `CONSTANT_SHARE` of the subjects
  that have several ratings of it, as a diagnosis is, where `MIN_SUBJECTS` have.
"""

import dataclasses
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from local.data.labels import NOT_RATED
from local.utils.number_format import counted, printable

MAX_YEARS = 2
MIN_SUBJECTS, CONSTANT_SHARE = 20, 0.95

#: So many subjects are named in a line.
MAX_NAMED = 20

#: What sexes are called, by the first letter that is left of it.
SEXES = {"female": "f", "woman": "f", "w": "f", "male": "m", "man": "m"}


@dataclasses.dataclass(frozen=True)
class Contradiction:
    """Subjects who contradict themselves in the same way."""

    what: str
    subjects: list[str]

    @property
    def counted(self):
        """What there is, without the subjects' names."""
        n = counted(len(self.subjects), "subject")
        return f"{n} with {self.what}: one code for two people?"

    def __str__(self):
        return f"{self.counted} {named(self.subjects)}"


def named(subjects):
    """The first `MAX_NAMED` names, in one line."""
    more = ["…"] * (len(subjects) > MAX_NAMED)
    return ", ".join([*map(printable, subjects[:MAX_NAMED]), *more])


def contradictions(
    manifests: Iterable[pd.DataFrame], labels: list[str]
) -> list[Contradiction]:
    """Subjects who may be two people.

    manifests: With `subject`, and maybe `session`, sex, gender and age in any case.
    labels: Columns that hold 0, 1 or NaN.

    >>> manifest = pd.DataFrame({"subject": ["p", "p", "q"], "Sex": ["F", "male", ""]})
    >>> print(*contradictions([manifest], []))
    1 subject with several values of 'Sex': one code for two people? p
    """
    rows = pd.concat(manifests, ignore_index=True)
    if rows.empty:  # no recording can be used: there are no columns either
        return []
    rows = rows[rows["subject"] != ""]
    kinds = []
    for column in rows.columns.difference(labels, sort=False):
        if column.casefold() in ("sex", "gender"):
            kinds.append((f"several values of {column!r}", _several(rows, column)))
        elif column.casefold() == "age":
            what = f"values of {column!r} more than {MAX_YEARS} years apart"
            kinds.append((what, _ages(rows, column)))
    for label in labels:
        what = f"both 0 and 1 of {label!r}, which hardly anybody has"
        kinds.append((what, _changing(rows, label)))
    return [Contradiction(what, subjects) for what, subjects in kinds if subjects]


def _several(rows, column):
    """Subjects of several sexes."""
    cells = rows[column].fillna("").astype(str).str.strip()
    given = cells.where(~cells.isin(NOT_RATED)).str.casefold()
    n_values = given.replace(SEXES).groupby(rows["subject"]).nunique()
    return n_values.index[n_values > 1].tolist()


def _ages(rows, column):
    """Subjects of ages that are too far apart."""
    ages = pd.to_numeric(rows[column], errors="coerce")
    visits = rows["session"] if "session" in rows else pd.Series("", rows.index)
    spans = ages.groupby([rows["subject"], visits.fillna("")]).agg(["min", "max"])
    spans = spans.dropna()
    subjects = []
    for subject, own in spans.groupby(level=0, sort=False):
        apart = (own["max"] - own["min"]).max()
        names = [str(name) for _, name in own.index]
        numbers = [[int(n) for n in re.findall(r"\d+", name)] for name in names]
        if all(numbers):  # which visit is later
            order = sorted(range(len(own)), key=numbers.__getitem__)
            low, high = own["min"].to_numpy()[order], own["max"].to_numpy()[order]
            apart = max(apart, (np.maximum.accumulate(high) - low).max())
        if apart > MAX_YEARS:
            subjects.append(subject)
    return subjects


def _changing(rows, label):
    """Subjects who have both values of a label that nearly nobody has both of."""
    ratings = rows[label].groupby(rows["subject"]).agg(["count", "nunique"])
    several = ratings[ratings["count"] > 1]
    changing = several["nunique"] > 1
    if len(several) < MIN_SUBJECTS or changing.mean() > 1 - CONSTANT_SHARE:
        return []
    return several.index[changing].tolist()
