"""Whether probabilities are what was observed, a panel for each label."""

import numpy as np
import pandas as pd

from local.data.predictions_table import rows_of_label
from local.evaluation.result import EvaluationResult
from local.metrics.calibration import calibration_curve
from local.report.figures.drawing import (
    COLOURS,
    Sketch,
    legend_below,
    panel_grid,
    rated_labels,
    shown,
    with_interval,
)
from local.utils.number_format import number

#: Bins of the strip that shows which probabilities there are.
N_BARS = 20


def draw_calibration(evidence: EvaluationResult) -> Sketch | None:
    """Observed shares of positives against probabilities.

    Points are the bins of `calibration.calibration_curve` with their intervals; the
    line with its band and the flexible curve are its own, where there are some. Below
    is how often each probability was given.
    """
    labels = rated_labels(evidence)
    if not labels:
        return None
    figure, panels = panel_grid(len(labels), height=3.4)
    said = []
    for panel, label in zip(panels, labels, strict=True):
        targets, probabilities, subjects = rows_of_label(evidence.table, label)
        curve = calibration_curve(targets, probabilities, subjects)
        panel, strip = _with_strip(panel)
        _bins_and_curve(panel, curve)
        strip.hist(
            probabilities[~np.isnan(targets)], bins=N_BARS, range=(0, 1), color="0.5"
        )
        strip.set(xlabel="probability", ylabel="n", yticks=[])
        slope = _slope(evidence.metrics["labels"][label])
        panel.set_title(f"{shown(label)}\n{slope}", fontsize=10)
        said.append(f"{label}: {slope}; {_ends(curve['bins'])}")
    legend_below(figure)
    alt = (
        "Share of positive recordings against their probability, in bins with 95 % "
        f"intervals; on the diagonal both are the same. {'. '.join(said)}."
    )
    return Sketch(figure, "Calibration", alt)


def _slope(of_label):
    """The slope, in words."""
    return f"slope {with_interval(of_label['calibration_slope'])}"


def _ends(bins):
    """The lowest and the highest bin, in words."""
    ends = [bins[0], bins[-1]] if len(bins) > 1 else bins
    said = [
        f"{number(part['observed'])} of the recordings with a mean probability of "
        f"{number(part['probability'])}"
        for part in ends
    ]
    return f"positive are {' and '.join(said)}"


def _with_strip(panel):
    """The panel parted into one for the points and a strip below it."""
    parts = panel.get_subplotspec().subgridspec(2, 1, height_ratios=(5, 1))
    figure = panel.figure
    panel.remove()
    upper = figure.add_subplot(parts[0])
    strip = figure.add_subplot(parts[1], sharex=upper)
    upper.tick_params(labelbottom=False)
    return upper, strip


def _bins_and_curve(panel, calibration):
    bins = pd.DataFrame(calibration["bins"])
    panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
    if line := calibration["line"]:
        panel.plot(
            line["probability"],
            line["observed"],
            color=COLOURS[2],
            linewidth=1.8,
            label="logistic line",
        )
        panel.fill_between(
            line["probability"],
            line["low"],
            line["high"],
            color=COLOURS[2],
            alpha=0.2,
            linewidth=0,
            label="its 95 % band",
        )
    if calibration["curve"]:
        panel.plot(
            calibration["curve"]["probability"],
            calibration["curve"]["observed"],
            color=COLOURS[1],
            linestyle="--",
            linewidth=1.8,
            label="flexible curve",
        )
    # Rounding may put a bound a hair inside.
    below = (bins["observed"] - bins["low"]).clip(0)
    above = (bins["high"] - bins["observed"]).clip(0)
    panel.errorbar(
        bins["probability"],
        bins["observed"],
        yerr=[below, above],
        fmt="o",
        color=COLOURS[0],
        markersize=5,
        capsize=2,
        label="bins, 95 % interval",
    )
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed share")
    panel.grid(color="0.9")
