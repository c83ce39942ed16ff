"""Probabilities of the two classes, and the decisions at the threshold."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

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


def draw_confusion(evidence: EvaluationResult) -> Sketch | None:
    """Decisions against ratings of each label that has a threshold, in recordings."""
    counts = {label: _counts(evidence.table, label) for label in rated_labels(evidence)}
    counts = {label: matrix for label, matrix in counts.items() if matrix.any()}
    if not counts:
        return None
    figure, panels = panel_grid(len(counts), height=2.5)
    said = []
    for panel, (label, matrix) in zip(panels, counts.items(), strict=True):
        _table(panel, matrix)
        panel.set_title(shown(label), fontsize=10)
        said.append(f"{label}: {_in_words(matrix)}")
    alt = f"Decisions at the threshold, in recordings. {'. '.join(said)}."
    return Sketch(figure, "Decisions: recordings, and shares of each row", alt)


def _counts(table, label):
    """Recordings by rating (rows) and decision (columns), the positive first: [2, 2]"""
    rows = table[table["label"] == label].dropna(subset=["target", "predicted"])
    decided = rows[["target", "predicted"]].astype(int)
    if decided.empty:
        return np.zeros((2, 2), dtype=int)
    return confusion_matrix(decided["target"], decided["predicted"], labels=[1, 0])


def _in_words(counts):
    (hits, missed), (false, left_alone) = counts
    return (
        f"of {counted(hits + missed, 'positive recording')} {hits} found and "
        f"{missed} missed, of {counted(false + left_alone, 'negative recording')} "
        f"{false} false alarms and {left_alone} rightly left alone"
    )


def _table(panel, counts):
    """Draws [2, 2] counts with their shares of the row; the darker the larger."""
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    display = ConfusionMatrixDisplay(shares, display_labels=["positive", "negative"])
    display.plot(
        ax=panel,
        colorbar=False,
        cmap="gray_r",
        im_kw={"vmin": 0, "vmax": 2},  # light enough for black letters
        text_kw={"color": "black", "fontsize": 12},
    )
    in_row = np.repeat(counts.sum(axis=1), 2)
    cells = zip(display.text_.flat, counts.flat, shares.flat, in_row, strict=True)
    for text, count, share, n in cells:
        text.set_text(f"{count}\n{100 * share:.0f} %" if n else "0")
    panel.set(xlabel="decided", ylabel="rated")
    panel.set_yticks([0, 1], ["positive", "negative"], rotation=90, va="center")
    panel.axhline(0.5, color="black", linewidth=1)
    panel.axvline(0.5, color="black", linewidth=1)
    panel.tick_params(length=0)
