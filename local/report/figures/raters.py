"""The model and each rater, both against what the other raters say."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from local.data.label_cells import CellCodes
from local.data.labels import flatten
from local.data.predictions_table import rows_of_label
from local.data.raters import majority, read_ratings
from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    LINE,
    LINE_STYLES,
    MARKERS,
    SMALL,
    Sketch,
    panel_grid,
    shown,
)
from local.utils.number_format import number


def draw_raters(evidence: EvaluationResult) -> Sketch | None:
    """Each rater as a point, and the ROC curve of the model on the same reference.

    The reference is what most of the other raters say, so each rater has a curve of
    the model of their own: a rater above it does better than the model there.
    """
    points = {
        label: drawn
        for label in flatten(evidence.label_groups)
        if (drawn := _points(evidence.raters(), label))
    }
    if not points or evidence.split not in evidence.manifests:
        return None
    ratings, _ = read_ratings(
        evidence.manifests[evidence.split],
        list(points),
        evidence.types,
        CellCodes.of(evidence.settings),
        evidence.split,
    )
    height = (3.0 if len(points) > 1 else 4.1) + LINE * max(map(len, points.values()))
    figure, panels = panel_grid(len(points), height)
    for panel, (label, of_raters) in zip(panels, points.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        for position, point in enumerate(of_raters):
            curve = _model_curve(evidence, ratings[label], label, point["rater"])
            _rater(panel, curve, point, position)
        _finish(panel, label)
    return Sketch(
        figure,
        "Model and raters against the majority of the other raters",
        _alt(points),
    )


def _points(raters, label):
    """The raters of a label that have a point."""
    return [
        point
        for point in raters.get(label, {}).get("on_roc", [])
        if None not in (point["sensitivity"]["value"], point["specificity"]["value"])
    ]


def _model_curve(evidence, ratings, label, rater):
    """The model's ROC curve on what most of the others say, as (x, y).

    Of the recordings that the rater has rated, too: those of the rater's point.
    """
    uids = evidence.table["uid"][evidence.table["label"] == label]
    predictions = pd.Series(rows_of_label(evidence.table, label)[1], index=uids)
    manifest = evidence.manifests[evidence.split]
    predictions = predictions.reindex(manifest["ID"]).to_numpy()
    reference = majority(ratings.drop(columns=rater), evidence.types[label])
    rated = ratings[rater].notna().to_numpy()
    used = rated & ~np.isnan(reference) & ~np.isnan(predictions)
    return roc_curve(reference[used], predictions[used])[:2]


def _rater(panel, curve, point, position):
    """One rater: the model's curve as a thin line, the rater as a marker."""
    colour = COLOURS[position % len(COLOURS)]
    style = LINE_STYLES[position % len(LINE_STYLES)]
    panel.plot(*curve, color=colour, linestyle=style, linewidth=1)
    panel.plot(
        1 - point["specificity"]["value"],
        point["sensitivity"]["value"],
        marker=MARKERS[position % len(MARKERS)],
        markersize=8,
        color=colour,
        markeredgecolor="black",
        linestyle=style,
        linewidth=1,
        label=shown(f"{point['rater']} (n = {point['n']})", 28),
        zorder=3,
    )


def _finish(panel, label):
    panel.set_title(shown(label), fontsize=10)
    panel.set(xlabel="1 − specificity", ylabel="sensitivity", aspect="equal")
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), anchor="N")
    panel.grid(color="0.9")
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "frameon": False}
    panel.legend(fontsize=SMALL, **below)


def _alt(points):
    sentences = []
    for label, of_raters in points.items():
        said = "; ".join(
            f"{point['rater']} has sensitivity {number(point['sensitivity']['value'])} "
            f"and specificity {number(point['specificity']['value'])}, the model an "
            f"AUROC of {number(point['model_auroc']['value'])} there"
            for point in of_raters
        )
        sentences.append(f"{label}: {said}.")
    return (
        "Each rater against the majority of the others, as a point, and the model's "
        f"ROC curve on the same reference, as a thin line. {' '.join(sentences)}"
    )
