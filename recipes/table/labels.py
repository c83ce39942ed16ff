"""Labels of recordings: conditions, scores and raters, and what they say in the end."""

import dataclasses

import numpy as np
import pandas as pd

from local.data.label_cells import CellCodes
from local.data.label_proposals import (
    WrongCells,
    codes_among,
    has_steps,
    proposed_range,
)
from local.data.labels import LabelType
from local.data.splits import RESERVED
from local.utils.errors import UserError
from local.utils.number_format import measured
from local.utils.problems import Problem
from recipes.table.conditions import ANY_NUMBER, Condition, named
from recipes.table.source import Source, read_numbers

#: So many values of a column are shown with what they mean.
MAX_VALUES = 8


@dataclasses.dataclass(frozen=True)
class LabelOptions:
    """What `--label`, `--score`, `--rater`, `--heads` and codes say.

    labels: Name → conditions; of several the first that is known counts.
    scores: Name → columns; the same.
    raters: Name → a condition for each rater; a plain one may be a scale.
    heads: Names of each head.
    """

    labels: dict[str, list[Condition]]
    scores: dict[str, list[str]]
    raters: dict[str, list[Condition]]
    heads: list[list[str]]
    codes: CellCodes

    @classmethod
    def parse(
        cls,
        label: list[str],
        score: list[str],
        rater: list[str],
        heads: str | None = None,
        codes: CellCodes | None = None,
    ) -> "LabelOptions":
        """Read what was given, as `lay_out.add_options` describes it.

        Raises UserError: for what has another form, or names that can't be used.
        """
        labels, scores, raters, problems = {}, {}, {}, []
        for text in label:
            name, rest = named(text, "--label")
            option = f"--label='{name}: …'"
            labels.setdefault(name, []).append(Condition.parse(rest, option))
        for text in score:
            name, rest = named(text, "--score")
            condition = Condition.parse(rest, f"--score='{name}: …'")
            if not condition.is_plain:
                problems.append(f"--score={text!r}: expected one column, as {{VHI}}")
            scores.setdefault(name, []).append(condition.columns[0])
        for text in rater:
            name, rest = named(text, "--rater")
            parts = rest.replace(",{", ", {").split(", {")
            parts = [parts[0], *("{" + part for part in parts[1:])]
            option = f"--rater='{name}: …'"
            if name in raters:
                problems.append(f"--rater names {name!r} twice")
            raters[name] = [Condition.parse(part, option) for part in parts]
        names = [*labels, *(n for n in raters if n not in labels), *scores]
        problems += [
            f"{name!r} is a score and a label at the same time"
            for name in scores
            if name in labels or name in raters
        ]
        problems += [
            f"{name!r} can't be a label's name: it has a meaning of its own, or a comma"
            " or @ in it"
            for name in names
            if name in RESERVED or set(name) & set(",;@\n")
        ]
        if not names:
            problems.append("there is none: give --label, --score or --rater")
        if problems:
            raise UserError("The labels can't be used:", problems)
        groups = _heads(heads, names)
        return cls(labels, scores, raters, groups, codes or CellCodes())

    @property
    def columns(self) -> dict[str, list[str]]:
        """Option → columns that it asks for."""
        asked = {}
        for option, given in (("label", self.labels), ("rater", self.raters)):
            for name, conditions in given.items():
                for one in conditions:
                    asked.setdefault(f"--{option}='{name}: …'", []).extend(one.columns)
        for name, columns in self.scores.items():
            asked[f"--score='{name}: …'"] = columns
        return asked


def _heads(text, names):
    """The labels of each head; all in one if nothing is given."""
    if not text:
        return [names]
    heads = [[n.strip() for n in head.split(",")] for head in text.split(";")]
    given = [name for head in heads for name in head]
    if sorted(given) != sorted(names):
        raise UserError(
            f"--heads={text!r} should name each label once, heads separated by ; and "
            f"labels by commas: the labels are {', '.join(names)}."
        )
    return heads


@dataclasses.dataclass
class Labels:
    """What the recordings' labels are.

    columns: Text, as it is written: a column per label or rater.
    targets: [n_recordings, n_labels] of float from 0 to 1, NaN where not rated, by
        which splits are balanced.
    types: Entries of `label_types` that training needs.
    said, problems: As those of a `Source`.
    """

    columns: dict[str, pd.Series]
    targets: pd.DataFrame
    types: dict[str, dict]
    said: list[str]
    problems: list[str | Problem]


def read_labels(source: Source, given: LabelOptions) -> Labels:
    """What conditions, scores and raters say of each recording."""
    index = source.own.index
    labels = Labels({}, pd.DataFrame(index=index), {}, [], [])
    for name, conditions in given.labels.items():
        _read_label(labels, source, name, conditions, given)
    for name, conditions in given.raters.items():
        _read_raters(labels, source, name, conditions, given.codes)
    for name, columns in given.scores.items():
        values, problems = _read_scale(source, columns, given.codes)
        labels.problems += problems
        first = _first_known(labels, source, name, values)
        _add_scale(labels, name, first[:, None], {name: 0}, index)
    order = [name for head in given.heads for name in head if name in labels.targets]
    labels.targets = labels.targets[order]
    return labels


def _first_known(labels, source, name, values):
    """The first of several numbers, [n, several], that is known; all must agree."""
    known = pd.DataFrame(values, index=source.own.index)
    differ = known.min(axis=1) < known.max(axis=1)
    if differ.any():
        what = f"of which what is given for {name!r} says different things"
        advice = "let each say something of its own rows only, or leave one out"
        places = source.places("file", differ)
        labels.problems.append(Problem("recording", what, places, advice))
    return known.bfill(axis=1)[0].to_numpy()


def _read_label(labels, source, name, conditions, given):
    """A label of 0 and 1."""
    of_conditions = np.stack(
        [one.holds(source, given.codes, labels.problems) for one in conditions], axis=1
    )
    values = _first_known(labels, source, name, of_conditions)
    labels.targets[name] = values
    labels.columns[name] = _cells_of(values, source.own.index)
    labels.said.append(_counts(name, values))
    columns = dict.fromkeys(c for one in conditions for c in one.columns)
    if len(columns) == 1:
        labels.said += _meanings(source.cells(next(iter(columns))), values)


def _meanings(cells, values):
    """Which values of a column are 1, 0 and not rated, in lines."""
    lines = []
    for value, said in ((1, "1"), (0, "0"), (None, "not rated")):
        where = np.isnan(values) if value is None else values == value
        counts = cells[where].value_counts()
        shown = [f"{cell!r} {n:,}" for cell, n in counts.head(MAX_VALUES).items()]
        more = ["…"] * (len(counts) > MAX_VALUES)
        if shown:
            lines.append(f"    {said}: {', '.join([*shown, *more])}")
    return lines


def _counts(name, values, by=""):
    """How many recordings have which value of a label, in a line."""
    n_unrated = int(np.isnan(values).sum())
    n_positive, n_negative = int((values == 1).sum()), int((values == 0).sum())
    return (
        f"{name}: {n_positive:,} are 1, {n_negative:,} are 0, {n_unrated:,} not rated"
        f"{by}" + "; no model learns it from one value" * (not n_positive * n_negative)
    )


def _read_raters(labels, source, name, conditions, codes):
    """A label of several raters: 0 and 1, or a scale."""
    index = source.own.index
    columns = [one.columns[0] for one in conditions]
    raters = _rater_names(conditions)
    wrong = []
    values = np.stack([one.holds(source, codes, wrong) for one in conditions], axis=1)
    if wrong and all(one.is_plain for one in conditions):
        values, not_numbers = _read_scale(source, columns, codes)
        if not not_numbers:
            columns = {f"{name}@{rater}": i for i, rater in enumerate(raters)}
            _add_scale(labels, name, values, columns, index)
            return
        wrong = not_numbers if np.isfinite(values).any() else wrong
    labels.problems += wrong
    for i, rater in enumerate(raters):
        labels.columns[f"{name}@{rater}"] = _cells_of(values[:, i], index)
    with np.errstate(invalid="ignore"):
        share = _mean_of(values)
        majority = np.where(share == 0.5, np.nan, np.round(share))
    if name in labels.targets:  # a column of its own, for what no rater rated
        majority = np.where(np.isnan(share), labels.targets[name], majority)
    labels.targets[name] = majority
    labels.said.append(_counts(name, majority, f" by {len(raters)} raters"))


def _rater_names(conditions):
    """What raters are called: their columns, else numbers."""
    names = [one.columns[0].replace("@", " ").replace(",", " ") for one in conditions]
    if len(set(names)) == len(names) and all(len(c.columns) == 1 for c in conditions):
        return names
    return [str(i) for i in range(1, len(conditions) + 1)]


def _mean_of(values):
    """Mean of each row's numbers, NaN where there is none."""
    n = (~np.isnan(values)).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def _read_scale(source, columns, codes):
    """Numbers of columns, [n, column], and what is wrong with them.

    A number that looks like a code for "not rated" is a problem, too.
    """
    values, problems = [], []
    for column in columns:
        numbers, wrong = read_numbers(source, column, ANY_NUMBER, codes)
        values.append(numbers)
        problems += wrong
    values = np.stack(values, axis=1)
    given = set(values[np.isfinite(values)].tolist())
    unlikely = codes_among(given, given)
    for i, column in enumerate(columns):
        where = np.isin(values[:, i], sorted(unlikely))
        if where.any():
            places = source.places(column, pd.Series(where, source.own.index))
            likely = given - unlikely
            bounds = (min(likely, default=0.0), max(likely, default=1.0))
            allowed = LabelType("score", bounds, None, is_score=True)
            problems.append(
                WrongCells(
                    "cell",
                    f"in column {column!r} far from all others",
                    places,
                    column=column,
                    allowed=allowed,
                    given=codes.given,
                    fine=frozenset(likely),
                    may_be_scale=False,
                )
            )
    return values, problems


def _add_scale(labels, name, values, columns, index):
    """A label that is a number: columns, the range, and what is said of it."""
    for column, i in columns.items():
        labels.columns[column] = _cells_of(values[:, i], index)
    mean = _mean_of(values)
    rated = values[np.isfinite(values)]
    if not len(rated):
        labels.targets[name] = np.nan
        labels.said.append(f"{name}: no recording is rated")
        return
    low, high = proposed_range(set(rated.tolist()))
    high = high if high > low else low + 1
    labels.types[name] = {"type": "score", "range": [low, high]}
    labels.targets[name] = (mean - low) / (high - low)
    of_raters = f" by {len(columns)} raters" if len(columns) > 1 else ""
    steps = (
        f"; to learn 0 and 1 of it: {{type: ordinal, range: [{low}, {high}], "
        f"positive_from: {low + 1}}}"
        if has_steps(set(rated.tolist()))
        else ""
    )
    labels.said.append(
        f"{name}: {int(np.isfinite(mean).sum()):,} rated{of_raters}, from "
        f"{measured(rated.min())} to {measured(rated.max())}, "
        f"{int(np.isnan(mean).sum()):,} not rated; range taken: {low} to {high}{steps}"
    )


def _cells_of(values, index):
    """Numbers as a CSV has them."""
    return pd.Series(
        ["" if np.isnan(value) else f"{value:.10g}" for value in values], index=index
    )
