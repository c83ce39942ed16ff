"""AUROC of each label, with intervals, beside the baselines."""

from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from local.evaluation.baselines import PREVALENCE
from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    LINE,
    MARKERS,
    SMALL,
    WIDTH,
    Sketch,
    legend_below,
    n_lines,
    rated_labels,
    shown,
    value_of,
    with_interval,
)
from local.report.figures.rows import draw_point, lowest, rows_axis
from local.utils.number_format import counted, number


def draw_forest(evidence: EvaluationResult) -> Sketch | None:
    """AUROC of each label and their mean, with intervals, beside the baselines."""
    labels = rated_labels(evidence)
    if not labels:
        return None
    rows = {label: evidence.metrics["labels"][label]["auroc"] for label in labels}
    macro = evidence.metrics["macro"]
    if len(labels) > 1:
        rows[f"mean of {counted(macro['n_labels'], 'label')}"] = macro["auroc"]
    baselines = _baselines(evidence.metrics.get("baselines") or {}, labels)
    names = [shown(name, 24) for name in rows]
    height = max(0.45, LINE * max(map(n_lines, names)) + 0.1)
    figure = Figure(figsize=(WIDTH, height * len(rows) + 1.4), layout="constrained")
    panel = figure.subplots()
    for place, entry in enumerate(rows.values()):
        draw_point(panel, place, entry)
        _beside(panel, place, entry)
    for (name, values), marker in zip(baselines.items(), cycle(MARKERS), strict=False):
        # a little below the model's
        places = [labels.index(label) + 0.25 for label in values]
        style = {"marker": marker, "markersize": 5, "color": "0.35", "linestyle": ""}
        panel.plot(list(values.values()), places, label=shown(name, 40), **style)
    if len(rows) > len(labels):
        panel.axhline(len(labels) - 0.5, color="0.6", linewidth=0.8)
    of_baselines = [value for values in baselines.values() for value in values.values()]
    rows_axis(panel, names, lowest(rows.values(), of_baselines))
    _legend(figure, panel, rows.values())
    return Sketch(figure, "AUROC with 95 % intervals", _alt(rows, baselines))


def _beside(panel, place, entry):
    """Writes the numbers of a row to the right of it."""
    if entry["value"] is not None:
        at = {"transform": panel.get_yaxis_transform(), "va": "center"}
        text = with_interval(entry).replace(" (", "\n(")
        panel.text(1.02, place, text, fontsize=SMALL, **at)


def _baselines(baselines, labels):
    """AUROC by label of each baseline that has any; the prevalence is a line."""
    values = {
        name: {
            label: value
            for label in labels
            if (value := value_of(of_labels["labels"].get(label, {}), "auroc"))
            is not None
        }
        for name, of_labels in baselines.items()
        if name != PREVALENCE
    }
    return {name: aurocs for name, aurocs in values.items() if aurocs}


def _legend(figure, panel, entries):
    style = {"color": COLOURS[0], "marker": "o", "markersize": 7}
    handles = [Line2D([], [], linewidth=2, label="model, 95 % interval", **style)]
    if any(x["value"] is not None and x["low"] is None for x in entries):
        style |= {"markerfacecolor": "white", "linestyle": ""}
        handles.append(Line2D([], [], label="no interval: too few subjects", **style))
    style = {"color": "black", "linestyle": "--", "linewidth": 1}
    handles.append(Line2D([], [], label="prevalence, as chance: 0.5", **style))
    handles += panel.get_legend_handles_labels()[0]
    legend_below(figure, handles)


def _alt(rows, baselines):
    said = "; ".join(f"{name} {with_interval(entry)}" for name, entry in rows.items())
    alt = f"AUROC of the model with 95 % intervals: {said}. Chance is 0.5."
    for name, values in baselines.items():
        said = "; ".join(f"{label} {number(value)}" for label, value in values.items())
        alt += f" The baseline {name}: {said}."
    return alt
