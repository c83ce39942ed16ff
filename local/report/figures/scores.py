"""Rated against predicted scores."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from local.data.labels import flatten
from local.data.predictions_table import rows_of_label, scores_in
from local.evaluation.result import EvaluationResult
from local.metrics.split_metrics import score_metrics
from local.report.figures.drawing import COLOURS, Sketch, panel_grid, save, shown


def draw_scores(evidence: EvaluationResult) -> Sketch | None:
    """Ratings against predictions of the labels that are scores."""
    found = scores_in(evidence.table)
    labels = [name for name in flatten(evidence.label_groups) if name in found]
    if not labels:
        return None
    figure, said = _draw(evidence.table, labels)
    alt = (
        "Ratings against predictions, a point for each recording; on the line both are "
        f"the same. {'. '.join(said)}."
    )
    return Sketch(figure, "Rated and predicted scores", alt)


def scores_figure(
    table: pd.DataFrame, labels: list[str], path: str | Path
) -> Figure | None:
    """Draws ratings against predictions, one panel per score.

    A point is a recording; on the grey line rating and prediction are the same. The
    title gives the mean absolute error and the intraclass correlation.

    table: A table of predictions (see `local.data.predictions_table`).
    labels: The labels that are scores.
    path: The PNG file to write.

    Returns: None, and no file, where there are no scores.
    """
    if not labels:
        return None
    figure, _ = _draw(table, labels)
    save(figure, path)
    return figure


def _draw(table, labels):
    """The figure, and a sentence on each label."""
    figure, panels = panel_grid(len(labels), height=3.1)
    said = [
        _score_panel(panel, label, *rows_of_label(table, label))
        for panel, label in zip(panels, labels, strict=True)
    ]
    return figure, said


def _score_panel(panel, label, ratings, predictions, subjects):
    """Draws one score; ratings [n] may hold NaN for "not rated"."""
    found = score_metrics(ratings, predictions, subjects)
    numbers = ", ".join(
        f"{name} n/a" if value is None else f"{name} {value:{form}}"
        for name, form, value in (
            ("MAE", ".3g", found["mae"]["value"]),  # of any scale
            ("ICC", ".3f", found["icc"]["value"]),
        )
    )
    numbers += f" (n = {found['n']})"
    panel.set_title(f"{shown(label)}\n{numbers}", fontsize=10)
    panel.set(xlabel="rated", ylabel="predicted", aspect="equal")
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
    rated = ~np.isnan(ratings)
    if not rated.any():
        panel.text(0.5, 0.5, "no rating", ha="center", transform=panel.transAxes)
        panel.set(xticks=[], yticks=[])
        return f"{label}: no rating"
    drawn = np.concatenate([ratings[rated], predictions[rated]])
    margin = 0.05 * np.ptp(drawn) or 0.5  # a single value has an axis too
    limits = drawn.min() - margin, drawn.max() + margin
    panel.plot(limits, limits, color="0.6", linewidth=1)
    panel.scatter(
        ratings[rated],
        predictions[rated],
        s=18,
        color=COLOURS[0],
        alpha=0.5,  # many recordings have the same rating
        linewidths=0,
    )
    panel.set(xlim=limits, ylim=limits)
    # the same numbers along both axes
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    return f"{label}: {numbers}"
