"""ROC and precision-recall curves, one panel per head."""

from matplotlib.lines import Line2D
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

from local.data.predictions_table import rows_of_label
from local.evaluation.result import EvaluationResult
from local.report.figures import drawing
from local.report.figures.drawing import COLOURS, Sketch, shown, value_of
from local.report.tables import with_interval
from local.utils.number_format import number

#: Characters in a line of a legend below one of two panels, or below a single one.
NARROW, WIDE = 28, 50

AT_THRESHOLD = "at the threshold"
OF_FOLDS = "at each fold's own threshold: not on the curve of all folds"

#: How an operating point looks.
POINT = {
    "marker": "o",
    "markersize": 8,
    "markerfacecolor": "white",
    "markeredgewidth": 2,
    "linestyle": "",
    "color": "black",
}


def draw_roc(evidence: EvaluationResult) -> Sketch | None:
    """The ROC curves of the labels that are 0 or 1, with their operating points."""
    labels = drawing.rated_labels(evidence)
    if not labels:
        return None
    figure, panels, wrap = _head_panels(evidence, "ROC")
    for panel, group in panels:
        panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="chance")
        for position, (label, entries) in enumerate(group.items()):
            n, n_positive = entries["n"], entries["n_positive"]
            said = (
                f"AUROC {_three_digits(entries['auroc'])}: {label} "
                f"({n_positive} pos., {n - n_positive} neg.)"
            )
            line = _curve(panel, RocCurveDisplay, evidence, label, position)
            line.set_label(shown(said, wrap))
            specificity = value_of(entries, "specificity")
            false_rate = None if specificity is None else 1 - specificity
            _operating_point(panel, false_rate, value_of(entries, "sensitivity"), line)
        _finish_panel(panel, "1 − specificity", "sensitivity", evidence, wrap)
    return Sketch(figure, "ROC curves", _roc_alt(evidence.metrics["labels"], labels))


def draw_pr(evidence: EvaluationResult) -> Sketch | None:
    """The precision-recall curves, each with its prevalence as a dashed line."""
    labels = drawing.rated_labels(evidence)
    if not labels:
        return None
    figure, panels, wrap = _head_panels(evidence, "Precision-recall")
    for panel, group in panels:
        for position, (label, entries) in enumerate(group.items()):
            said = f"AP {_three_digits(entries['auprc'])}: {label}"
            if entries["auprc"]["value"] is not None:
                said += f" (prevalence {entries['prevalence']:.3f})"
            prevalence = {
                "color": COLOURS[position % len(COLOURS)],
                "linestyle": (0, (4, 4)),
                "linewidth": 1,
                "label": "_in the legend of the curve",
            }
            line = _curve(
                *(panel, PrecisionRecallDisplay, evidence, label, position),
                plot_chance_level=True,
                chance_level_kw=prevalence,
            )
            line.set_label(shown(said, wrap))
            values = (value_of(entries, name) for name in ("sensitivity", "ppv"))
            _operating_point(panel, *values, line)
        _finish_panel(panel, "recall (sensitivity)", "precision (PPV)", evidence, wrap)
    entries = evidence.metrics["labels"]
    said = [
        f"{label} {with_interval(entries[label]['auprc'])} with prevalence "
        f"{number(entries[label]['prevalence'])}"
        for label in labels
    ]
    alt = (
        "Precision-recall curves; average precision, beside the prevalence that "
        f"guessing would reach: {'; '.join(said)}."
    )
    return Sketch(figure, "Precision and recall", alt)


def _finish_panel(panel, x: str, y: str, evidence, wrap: int):
    """Axes from 0 to 1, and the legend, which lies below: in a corner it hides curves.

    panel: matplotlib.axes.Axes
    x, y: What the axes show.
    wrap: Characters in a line of the legend.
    """
    panel.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    panel.set(aspect="equal", anchor="N")
    panel.grid(color="0.9")
    handles, names = panel.get_legend_handles_labels()
    # the operating points have one entry together, of no label's colour
    curves = [x for x, name in zip(handles, names, strict=True) if name != AT_THRESHOLD]
    if len(curves) < len(handles):
        told = OF_FOLDS if evidence.metrics.get("n_folds", 1) > 1 else AT_THRESHOLD
        curves.append(Line2D([], [], label=shown(told, wrap), **POINT))
    panel.legend(
        handles=curves,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        fontsize=drawing.SMALL,
        frameon=False,
    )


def _head_panels(evidence, title):
    """A panel per head that has other labels than scores, and room for its legend.

    Returns figure.
    Returns panels: Each with its labels and their entries in metrics.json.
    Returns wrap: Characters in a line of a legend.
    """
    labels = evidence.metrics["labels"]
    heads = {
        f"{title}, head {i}" if len(evidence.label_groups) > 1 else title: {
            label: labels[label] for label in group if "auroc" in labels[label]
        }
        for i, group in enumerate(evidence.label_groups, start=1)
    }
    heads = {title: group for title, group in heads.items() if group}
    wrap, height = (WIDE, 4.3) if len(heads) == 1 else (NARROW, 3.0)
    # what stands in an entry beside the label is about 40 characters
    lines = [
        2 + sum(drawing.n_lines(shown("x" * 40 + label, wrap)) for label in group)
        for group in heads.values()
    ]
    figure, panels = drawing.panel_grid(
        len(heads), height=height + drawing.LINE * max(lines)
    )
    for panel, title in zip(panels, heads, strict=True):
        panel.set_title(title, fontsize=11)
    return figure, list(zip(panels, heads.values(), strict=True)), wrap


def _curve(panel, display, evidence, label, position, **options):
    """Draws the curve of a label with a display of scikit-learn's; returns the line.

    A label that does not have both classes has no curve, but a line in the legend.
    """
    rows = evidence.table[evidence.table["label"] == label].dropna(subset=["target"])
    if rows["target"].nunique() == 2:
        targets, probabilities, _ = rows_of_label(rows, label)
        drawn = display.from_predictions(targets, probabilities, ax=panel, **options)
        line = drawn.line_
    else:
        (line,) = panel.plot([], [])
    line.set(
        color=COLOURS[position % len(COLOURS)],
        linestyle=drawing.LINE_STYLES[position % len(drawing.LINE_STYLES)],
        linewidth=1.8,
    )
    return line


def _three_digits(entry):
    """The value of an entry, if it has one."""
    return "not computable" if entry["value"] is None else f"{entry['value']:.3f}"


def _operating_point(panel, x, y, line):
    """Marks where a label's threshold is, if it has one, in the colour of its curve."""
    if x is not None and y is not None:
        style = POINT | {"color": line.get_color()}
        panel.plot(x, y, label=AT_THRESHOLD, zorder=3, **style)


def _roc_alt(entries, labels):
    """Each label's AUROC and operating point, in words."""
    said = [f"{label} {with_interval(entries[label]['auroc'])}" for label in labels]
    alt = f"ROC curves with the area under each: {'; '.join(said)}."
    for label in labels:
        point = [value_of(entries[label], n) for n in ("sensitivity", "specificity")]
        if None not in point:
            alt += (
                f" At the threshold {label} has sensitivity {number(point[0])} and "
                f"specificity {number(point[1])}."
            )
    return alt
