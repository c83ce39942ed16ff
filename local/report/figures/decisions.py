"""Probabilities of the two classes, and the threshold between them."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from local.data.predictions_table import rows_of_label
from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    Sketch,
    legend_below,
    panel_grid,
    rated_labels,
    shown,
    value_of,
)
from local.utils.number_format import counted, number

N_BARS = 20

#: Positive recordings are orange, negative ones a light blue: dark and light in grey.
POSITIVE, NEGATIVE = COLOURS[1], COLOURS[5]
THRESHOLD = {"color": "black", "linestyle": "--"}


def draw_score_distributions(evidence: EvaluationResult) -> Sketch | None:
    """How many positive and negative recordings have which probability.

    Bars of positive recordings go up, those of negative ones down; the dashed line is
    the threshold.
    """
    labels = rated_labels(evidence)
    if not labels:
        return None
    figure, panels = panel_grid(len(labels), height=2.5)
    said = []
    for panel, label in zip(panels, labels, strict=True):
        targets, probabilities, _ = rows_of_label(evidence.table, label)
        threshold = value_of(evidence.metrics["labels"][label], "threshold")
        classes = probabilities[targets == 1], probabilities[targets == 0]
        _distribution(panel, *classes, threshold)
        panel.set_title(shown(label), fontsize=10)
        said.append(f"{label}: {_medians(*classes, threshold)}")
    handles = [
        Patch(facecolor=POSITIVE, edgecolor="0.2", label="rated positive (up)"),
        Patch(facecolor=NEGATIVE, edgecolor="0.2", label="rated negative (down)"),
        Line2D([], [], label="threshold", **THRESHOLD),
    ]
    legend_below(figure, handles)
    alt = (
        "How many recordings have which probability, positive ones upwards and "
        f"negative ones downwards. {'. '.join(said)}."
    )
    return Sketch(figure, "Probabilities of positive and negative recordings", alt)


def _medians(positive, negative, threshold):
    """What a distribution shows, in words."""
    parts = [
        f"median {number(np.median(values))} of "
        f"{counted(len(values), f'{name} recording')}"
        if len(values)
        else f"no {name} recording"
        for values, name in ((positive, "positive"), (negative, "negative"))
    ]
    at = "no threshold" if threshold is None else f"threshold {number(threshold)}"
    return ", ".join([*parts, at])


def _distribution(panel, positive, negative, threshold):
    for values, sign, colour in ((positive, 1, POSITIVE), (negative, -1, NEGATIVE)):
        panel.hist(
            values,
            bins=N_BARS,
            range=(0, 1),
            weights=np.full(len(values), sign),
            color=colour,
            edgecolor="0.2",
            linewidth=0.6,
        )
    panel.axhline(0, color="0.2", linewidth=0.8)
    if threshold is not None:
        panel.axvline(threshold, **THRESHOLD)
    panel.set(xlim=(-0.02, 1.02), xlabel="probability", ylabel="recordings")
    panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    # downwards is no negative number of recordings
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{abs(y):.0f}"))
