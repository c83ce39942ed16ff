"""Rated against predicted scores."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from local.data.labels import flatten
from local.data.predictions_table import rows_of_label, scores_in
from local.evaluation.result import EvaluationResult
from local.metrics.score_metrics import score_metrics
from local.report.figures.drawing import COLOURS, Sketch, label_panels, shown


def draw_scores(evidence: EvaluationResult) -> Sketch | None:
    """Ratings against predictions of the labels that are scores."""

    def draw(panel, label):
        return _score_panel(panel, label, *rows_of_label(evidence.table, label))

    scores = scores_in(evidence.table)
    labels = [name for name in flatten(evidence.label_groups) if name in scores]
    alt = (
        "Ratings against predictions, a point for each recording; on the line both are "
        "the same."
    )
    return label_panels(labels, 3.1, draw, "Rated and predicted scores", alt, None)


def _score_panel(panel, label, ratings, predictions, subjects):
    """Draws a score; gives its mean absolute error and intraclass correlation."""
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
        return "no rating"
    drawn = np.concatenate([ratings[rated], predictions[rated]])
    margin = 0.05 * np.ptp(drawn) or 0.5  # a single value has an axis too
    limits = drawn.min() - margin, drawn.max() + margin
    panel.plot(limits, limits, color="0.6", linewidth=1)
    # many recordings have the same rating
    style = {"s": 18, "color": COLOURS[0], "alpha": 0.5, "linewidths": 0}
    panel.scatter(ratings[rated], predictions[rated], **style)
    panel.set(xlim=limits, ylim=limits)
    # the same numbers along both axes
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    return numbers
