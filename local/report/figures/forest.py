"""AUROCs or their differences as rows: a point, its interval, words where none is."""

from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from local.evaluation.baselines import PREVALENCE
from local.evaluation.result import EvaluationResult
from local.report.figures import drawing
from local.report.figures.drawing import COLOURS, SMALL, Sketch, shown
from local.report.tables import with_interval
from local.utils.number_format import counted, number


def draw_rows(entries: dict[str, dict], neutral: float, least: float, room: float):
    """Makes a figure with a row for each value and its interval, the first on top.

    entries: Of metrics.json, by the name of the row.
    neutral: Where a line tells that nothing was found.
    least: Inches of a row at least; of several lines it is higher.
    room: Inches for what is not a row.

    Returns figure.
    Returns panel: matplotlib.axes.Axes
    """
    names = [shown(name, 24) for name in entries]
    lines = max(map(drawing.n_lines, names))
    height = max(least, drawing.LINE * lines + 0.1) * len(entries) + room
    figure = Figure(figsize=(drawing.WIDTH, height), layout="constrained")
    panel = figure.subplots()
    panel.axvline(neutral, color="black", linestyle="--", linewidth=1)
    for place, entry in enumerate(entries.values()):
        _draw_point(panel, place, entry)
    panel.set(ylim=(len(entries) - 0.5, -0.5))
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    return figure, panel


def _draw_point(panel, place, entry):
    """A value and its interval, hollow without one; words where there is no value."""
    if entry["value"] is None:
        at = {"transform": panel.get_yaxis_transform(), "ha": "center", "va": "center"}
        # on white, as lines may run behind
        white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
        style = {"fontsize": SMALL, "color": "0.2", "bbox": white}
        panel.text(0.5, place, "not computable", **at, **style)
        return
    colour, bounds = COLOURS[0], (entry["low"], entry["high"])
    inside = "white"
    if None not in bounds:
        panel.plot(bounds, (place, place), color=colour, linewidth=2)
        inside = colour
    style = {"marker": "o", "markersize": 7, "markeredgewidth": 1.5, "zorder": 3}
    panel.plot(entry["value"], place, color=colour, markerfacecolor=inside, **style)


def draw_forest(evidence: EvaluationResult) -> Sketch | None:
    """AUROC of each label and their mean, with intervals, beside the baselines."""
    labels = drawing.rated_labels(evidence)
    if not labels:
        return None
    rows = {label: evidence.metrics["labels"][label]["auroc"] for label in labels}
    macro = evidence.metrics["macro"]
    if len(labels) > 1:
        rows[f"mean of {counted(macro['n_labels'], 'label')}"] = macro["auroc"]
    baselines = _baselines(evidence.metrics.get("baselines") or {}, labels)
    figure, panel = draw_rows(rows, neutral=0.5, least=0.45, room=1.4)
    beside = {"transform": panel.get_yaxis_transform(), "va": "center"}
    for place, entry in enumerate(rows.values()):
        if entry["value"] is not None:
            text = with_interval(entry).replace(" (", "\n(")
            panel.text(1.02, place, text, fontsize=SMALL, **beside)
    for (name, values), marker in zip(
        baselines.items(), cycle(drawing.MARKERS), strict=False
    ):
        # a little below the model's
        places = [labels.index(label) + 0.25 for label in values]
        style = {"marker": marker, "markersize": 5, "color": "0.35", "linestyle": ""}
        panel.plot(list(values.values()), places, label=shown(name, 40), **style)
    if len(rows) > len(labels):
        panel.axhline(len(labels) - 0.5, color="0.6", linewidth=0.8)
    drawn = [entry[key] for entry in rows.values() for key in ("value", "low")]
    drawn += [value for values in baselines.values() for value in values.values()]
    lowest = min([0.5, *(value for value in drawn if value is not None)])
    panel.set(xlim=(max(0, lowest - 0.05), 1.01), xlabel="AUROC")
    _legend(figure, panel, rows.values())
    return Sketch(figure, "AUROC with 95 % intervals", _alt(rows, baselines))


def _baselines(baselines, labels):
    """AUROC by label of each baseline that has any; the prevalence is a line."""
    values = {
        name: {
            label: value
            for label in labels
            if (value := drawing.value_of(result["labels"].get(label, {}), "auroc"))
            is not None
        }
        for name, result in baselines.items()
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
    drawing.legend_below(figure, handles)


def _alt(rows, baselines):
    said = "; ".join(f"{name} {with_interval(entry)}" for name, entry in rows.items())
    alt = f"AUROC of the model with 95 % intervals: {said}. Chance is 0.5."
    for name, values in baselines.items():
        said = "; ".join(f"{label} {number(value)}" for label, value in values.items())
        alt += f" The baseline {name}: {said}."
    return alt
