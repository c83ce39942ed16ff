"""Whether probabilities are what was observed, a panel for each label."""

import numpy as np

from local.calibration import calibration_curve
from local.figures.drawing import (
    COLOURS,
    SMALL,
    Sketch,
    panel_grid,
    rated_labels,
    shown,
)
from local.predictions import rows_of_label
from local.report.formats import number

#: Bins of the strip that shows which probabilities there are.
N_BARS = 20


def draw_calibration(evidence):
    """Observed shares of positives against probabilities.

    Points are the bins of `calibration.calibration_curve` with their intervals, the
    line is its flexible curve, where there is one. Below is how often each probability
    was given.

    Arguments
    ---------
    evidence : evidence.Evidence

    Returns
    -------
    drawing.Sketch or None
    """
    labels = rated_labels(evidence)
    if not labels:
        return None
    figure, panels = panel_grid(len(labels), height=3.9)
    said = []
    for panel, label in zip(panels, labels, strict=True):
        targets, probabilities, subjects = rows_of_label(evidence.table, label)
        found = calibration_curve(targets, probabilities, subjects)
        _panel(panel, found)
        _strip(panel, probabilities[~np.isnan(targets)])
        error = _error(evidence.metrics["labels"][label])
        panel.set_title(f"{shown(label)}\n{error}", fontsize=10)
        said.append(f"{label}: {error}, {_ends(found['bins'])}")
    _legend(figure, panels)
    alt = (
        "Share of positive recordings against their probability, in bins with 95 % "
        f"intervals; on the diagonal both are the same. {'. '.join(said)}."
    )
    return Sketch(figure, "Calibration", alt)


def _error(of_label):
    """The calibration error beside that of a calibrated model, in words."""
    if of_label.get("ece") is None:
        return "ECE not computable"
    text = f"ECE {number(of_label['ece'])}"
    if of_label.get("ece_if_calibrated") is not None:
        text += f" ({number(of_label['ece_if_calibrated'])} if calibrated)"
    return text


def _ends(bins):
    """The lowest and the highest bin, in words."""
    parts = [
        f"at a mean probability of {number(of['probability'])} {number(of['observed'])}"
        for of in (bins[0], bins[-1])[: len(bins)]
    ]
    return f"observed {' and '.join(parts)}"


def _panel(panel, found):
    bins = {
        name: np.array([of[name] for of in found["bins"]])
        for name in ("probability", "observed", "low", "high")
    }
    panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
    if found["curve"]:
        panel.plot(
            found["curve"]["probability"],
            found["curve"]["observed"],
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
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", anchor="N")
    panel.set_ylabel("observed share")
    panel.tick_params(labelbottom=False)
    panel.grid(color="0.9")


def _strip(panel, probabilities):
    """How often each probability was given, below a panel."""
    strip = panel.inset_axes([0, -0.25, 1, 0.2])
    strip.hist(probabilities, bins=N_BARS, range=(0, 1), color="0.5")
    strip.set(xlim=(-0.02, 1.02), xlabel="probability", yticks=[])
    strip.set_ylabel("n", rotation=0, va="center", labelpad=10)


def _legend(figure, panels):
    """One for all panels, of whichever has the most to show."""
    handles, names = max(
        (panel.get_legend_handles_labels() for panel in panels),
        key=lambda legend: len(legend[0]),
    )
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=3,
        fontsize=SMALL,
        frameon=False,
    )
