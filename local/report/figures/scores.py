"""Rated against predicted scores."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from local.data.labels import flatten
from local.data.predictions_table import rows_of_label, scores_in
from local.evaluation.result import EvaluationResult
from local.metrics.score_metrics import score_metrics
from local.report.figures.drawing import COLOURS, Sketch, panel_grid, shown


def draw_scores(evidence: EvaluationResult) -> Sketch | None:
    """Ratings against predictions of the labels that are scores."""
    scores = scores_in(evidence.table)
    labels = [name for name in flatten(evidence.label_groups) if name in scores]
    if not labels:
        return None
    figure, panels = panel_grid(len(labels), height=3.1)
    said = [
        _score_panel(panel, label, *rows_of_label(evidence.table, label))
        for panel, label in zip(panels, labels, strict=True)
    ]
    alt = (
        "Ratings against predictions, a point for each recording; on the line both are "
        f"the same. {'. '.join(said)}."
    )
    return Sketch(figure, "Rated and predicted scores", alt)


def _score_panel(panel, label, ratings, predictions, subjects):
    """Draws one score; ratings [n] may hold NaN for "not rated".

    A point is a recording; on the grey line rating and prediction are the same.

    Returns: The label's mean absolute error and intraclass correlation, in words.
    """
    metrics = score_metrics(ratings, predictions, subjects)
    numbers = ", ".join(
        f"{name} n/a" if value is None else f"{name} {value:{form}}"
        for name, form, value in (
            ("MAE", ".3g", metrics["mae"]["value"]),  # of any scale
            ("ICC", ".3f", metrics["icc"]["value"]),
        )
    )
    numbers += f" (n = {metrics['n']})"
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
