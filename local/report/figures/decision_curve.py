"""Net benefit over thresholds, a panel for each label."""

from functools import partial

import numpy as np

from local.data.predictions_table import rows_of_label
from local.evaluation.result import EvaluationResult
from local.metrics.measures import net_benefit, net_benefit_treat_all
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

#: How far beyond the last threshold the lines go, and in how many places.
BEYOND, N_POINTS = 0.1, 200


def draw_decision_curve(evidence: EvaluationResult) -> Sketch | None:
    """Net benefit of the model, of calling nobody and of calling everybody positive.

    Points are the thresholds of metrics.json with their intervals; the line between
    them is the model at all others.
    """
    curves = {
        label: evidence.metrics["labels"][label].get("decision_curve")
        for label in rated_labels(evidence)
    }
    curves = {label: curve for label, curve in curves.items() if curve}
    if not curves:
        return None
    figure, panels = panel_grid(len(curves), height=2.7)
    said = []
    for panel, (label, curve) in zip(panels, curves.items(), strict=True):
        targets, probabilities, _ = rows_of_label(evidence.table, label)
        rated = ~np.isnan(targets)
        _lines(panel, targets[rated], probabilities[rated], curve)
        _points(panel, curve)
        panel.set_title(shown(label), fontsize=10)
        said.append(f"{label}: {_in_words(curve)}")
    legend_below(figure)
    alt = (
        "Net benefit over thresholds, of the model with 95 % intervals and of calling "
        f"everybody positive; calling nobody positive has 0. {'. '.join(said)}."
    )
    return Sketch(figure, "Decision curve", alt)


def _in_words(curve):
    return "; ".join(
        f"at {entry['threshold']:g} the model has {with_interval(entry['net_benefit'])}"
        f", calling everybody positive {number(entry['treat_all'])}"
        for entry in curve
    )


def _lines(panel, targets, probabilities, curve):
    """The model and the two defaults at all thresholds."""
    last = max(entry["threshold"] for entry in curve)
    places = np.linspace(0.005, min(last + BEYOND, 0.99), N_POINTS)
    weights = np.ones((1, len(targets)))
    at = partial(net_benefit, targets, probabilities, weights)
    model = [at(threshold=place)[0] for place in places]
    prevalence = targets.mean()
    everybody = [net_benefit_treat_all(prevalence, place) for place in places]
    panel.plot(places, model, color=COLOURS[0], linewidth=1.2, label="model")
    panel.plot(
        places, everybody, color=COLOURS[1], linestyle="--", label="everybody positive"
    )
    panel.axhline(0, color="0.4", linestyle=":", label="nobody positive")
    bounds = [entry["net_benefit"][key] for entry in curve for key in ("low", "high")]
    known = [0, prevalence, *model, *(bound for bound in bounds if bound is not None)]
    room = 0.06 * (max(known) - min(known))
    panel.set_ylim(min(known) - room, max(known) + room)  # the dashed line may leave it
    panel.set(xlim=(0, places[-1]), xlabel="threshold", ylabel="net benefit")
    panel.grid(color="0.9")


def _points(panel, curve):
    """The thresholds that were named, with intervals where there are some."""
    thresholds = [entry["threshold"] for entry in curve]
    values, low, high = (
        np.array([entry["net_benefit"][key] for entry in curve], dtype=float)
        for key in ("value", "low", "high")
    )
    panel.errorbar(
        thresholds,
        values,
        yerr=[(values - low).clip(0), (high - values).clip(0)],
        fmt="o",
        color=COLOURS[0],
        markersize=5,
        capsize=2,
        label="with 95 % interval",
    )
