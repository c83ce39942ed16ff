"""ROC and precision-recall curves, one panel per head."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from local.data.predictions_table import rows_of_label, scores_in
from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    LINE,
    LINE_STYLES,
    SMALL,
    Sketch,
    n_lines,
    panel_grid,
    rated_labels,
    save,
    shown,
    value_of,
    with_interval,
)
from local.utils.number_format import number

#: Characters in a line of a legend below one of two panels, or below a single one.
NARROW, WIDE = 28, 50

AT_THRESHOLD = "at the threshold"

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
    labels = rated_labels(evidence)
    if not labels:
        return None
    of_labels = evidence.metrics["labels"]
    figure = _roc(evidence.table, evidence.label_groups, of_labels)
    said = [f"{label} {with_interval(of_labels[label]['auroc'])}" for label in labels]
    alt = f"ROC curves with the area under each: {'; '.join(said)}."
    for label in labels:
        point = [value_of(of_labels[label], n) for n in ("sensitivity", "specificity")]
        if None not in point:
            alt += (
                f" At the threshold {label} has sensitivity {number(point[0])} and "
                f"specificity {number(point[1])}."
            )
    return Sketch(figure, "ROC curves", alt)


def draw_pr(evidence: EvaluationResult) -> Sketch | None:
    """The precision-recall curves, each with its prevalence as a dashed line."""
    labels = rated_labels(evidence)
    if not labels:
        return None
    of_labels = evidence.metrics["labels"]
    heads = _heads(evidence.label_groups, scores_in(evidence.table))
    figure, panels = _panels(heads)
    for panel, (index, group) in zip(panels, heads.items(), strict=True):
        for position, label in enumerate(group):
            rows = rows_of_label(evidence.table, label)[:2]
            _pr_curve(panel, *rows, label, position, _wrap(heads))
            point = [
                value_of(of_labels[label], name) for name in ("sensitivity", "ppv")
            ]
            _operating_point(panel, point, position)
        title = _title("Precision-recall", index, evidence.label_groups)
        panel.set_title(title, fontsize=11)
        panel.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")
        _finish(panel)
    said = [
        f"{label} {with_interval(of_labels[label]['auprc'])} with prevalence "
        f"{number(of_labels[label]['prevalence'])}"
        for label in labels
    ]
    alt = (
        "Precision-recall curves; average precision, beside the prevalence that "
        f"guessing would reach: {'; '.join(said)}."
    )
    return Sketch(figure, "Precision and recall", alt)


def roc_figure(
    table: pd.DataFrame, label_groups: list[list[str]], path: str | Path
) -> Figure | None:
    """Draws the ROC curves of the labels that are 0 or 1, one panel per head.

    The legend gives each label's AUROC and how many recordings are positive and
    negative; a label that has one class is listed as not computable. Scores have no
    such curve: a head of scores only has no panel.

    table: A table of predictions (see `local.data.predictions_table`).
    label_groups: The labels of each head.
    path: The PNG file to write.

    Returns: None, and no file, where all labels are scores.
    """
    figure = _roc(table, label_groups, {})
    if figure is not None:
        save(figure, path)
    return figure


def _roc(table, label_groups, of_labels):
    """Draws the curves; of_labels has the operating points, as metrics.json does."""
    heads = _heads(label_groups, scores_in(table))
    if not heads:
        return None
    figure, panels = _panels(heads)
    for panel, (index, group) in zip(panels, heads.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="chance")
        for position, label in enumerate(group):
            rows = rows_of_label(table, label)[:2]
            _roc_curve(panel, *rows, label, position, _wrap(heads))
            own = of_labels.get(label, {})
            sensitivity, specificity = (
                value_of(own, name) for name in ("sensitivity", "specificity")
            )
            false_rate = None if specificity is None else 1 - specificity
            _operating_point(panel, (false_rate, sensitivity), position)
        panel.set_title(_title("ROC", index, label_groups), fontsize=11)
        panel.set(xlabel="1 − specificity", ylabel="sensitivity")
        _finish(panel)
    return figure


def _heads(label_groups, scores):
    """Of each head, by its index, the labels that are no scores, if it has any."""
    return {
        index: [label for label in group if label not in scores]
        for index, group in enumerate(label_groups)
        if not scores.issuperset(group)
    }


def _wrap(heads):
    return WIDE if len(heads) == 1 else NARROW


def _panels(heads):
    """A figure with a panel for each head and room for their legends below them."""
    wrap = _wrap(heads)
    # what stands in an entry beside the label is about 40 characters
    lines = [
        2 + sum(n_lines(shown("x" * 40 + label, wrap)) for label in group)
        for group in heads.values()
    ]
    height = 3.0 if len(heads) > 1 else 4.3
    return panel_grid(len(heads), height=height + LINE * max(lines))


def _title(name, index, label_groups):
    return f"{name}, head {index + 1}" if len(label_groups) > 1 else name


def _finish(panel):
    """Axes, grid and the legend, which lies below: in a corner it hides curves."""
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", anchor="N")
    panel.grid(color="0.9")
    handles, names = panel.get_legend_handles_labels()
    # the operating points have one entry together, of no label's colour
    curves = [x for x, name in zip(handles, names, strict=True) if name != AT_THRESHOLD]
    if len(curves) < len(handles):
        curves.append(Line2D([], [], label=AT_THRESHOLD, **POINT))
    panel.legend(
        handles=curves,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        fontsize=SMALL,
        frameon=False,
    )


def _operating_point(panel, point, position):
    """Marks where a label's threshold is, if it has one; point : (x, y)"""
    if None in point:
        return
    style = POINT | {"color": COLOURS[position % len(COLOURS)]}
    panel.plot(*point, label=AT_THRESHOLD, zorder=3, **style)


def _style(position):
    return {
        "color": COLOURS[position % len(COLOURS)],
        "linestyle": LINE_STYLES[position % len(LINE_STYLES)],
        "linewidth": 1.8,
    }


def _rated(targets, probabilities):
    """The rated ones of [n], and whether they have both classes."""
    rated = ~np.isnan(targets)
    targets, probabilities = targets[rated], probabilities[rated]
    return targets, probabilities, 0 < targets.sum() < len(targets)


def _roc_curve(panel, targets, probabilities, label, position, wrap):
    """Adds the curve of one label; targets [n] may hold NaN for "not rated"."""
    targets, probabilities, has_both = _rated(targets, probabilities)
    false_rate, true_rate, score = [], [], "not computable"
    if has_both:
        false_rate, true_rate, _ = roc_curve(targets, probabilities)
        score = f"{roc_auc_score(targets, probabilities):.3f}"
    n_positive = int(targets.sum())
    # The score comes first: matplotlib hides a legend entry that starts with "_".
    entry = (
        f"AUROC {score}: {label} ({n_positive} pos., {len(targets) - n_positive} neg.)"
    )
    panel.plot(false_rate, true_rate, label=shown(entry, wrap), **_style(position))


def _pr_curve(panel, targets, probabilities, label, position, wrap):
    """Adds the curve of one label and its prevalence; as `_roc_curve`."""
    targets, probabilities, has_both = _rated(targets, probabilities)
    precision, recall, score, prevalence = [], [], "not computable", ""
    if has_both:
        # At a threshold between two points recall stays and precision jumps.
        precision, recall, _ = precision_recall_curve(targets, probabilities)
        score = f"{average_precision_score(targets, probabilities):.3f}"
        prevalence = f" (prevalence {targets.mean():.3f})"
        panel.axhline(
            targets.mean(),
            color=COLOURS[position % len(COLOURS)],
            linestyle=(0, (4, 4)),
            linewidth=1,
        )
    panel.plot(
        recall,
        precision,
        drawstyle="steps-post",
        label=shown(f"AP {score}: {label}{prevalence}", wrap),
        **_style(position),
    )
