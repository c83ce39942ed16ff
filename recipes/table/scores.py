"""Labels that are numbers: scores, and the scales of raters."""

import numpy as np
import pandas as pd

from local.data.label_proposals import (
    WrongCells,
    codes_among,
    has_steps,
    proposed_range,
)
from local.data.labels import LabelType
from local.utils.number_format import measured
from recipes.table.conditions import ANY_NUMBER
from recipes.table.source import read_numbers


def mean_of(values):
    """Mean of each row's numbers, NaN where there is none."""
    n = (~np.isnan(values)).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def read_scale(source, columns, codes):
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


def add_scale(labels, name, values, columns, index):
    """A label that is a number: columns, the range, and what is said of it."""
    for column, i in columns.items():
        labels.columns[column] = cells_of(values[:, i], index)
    mean = mean_of(values)
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


def cells_of(values, index):
    """Numbers as a CSV has them."""
    return pd.Series(
        ["" if np.isnan(value) else f"{value:.10g}" for value in values], index=index
    )
