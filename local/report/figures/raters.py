"""The model and each rater, both against what the other raters say."""

import numpy as np
import pandas as pd
from sklearn.metrics import RocCurveDisplay

from local.data.label_cells import CellCodes
from local.data.labels import flatten
from local.data.predictions_table import rows_of_label
from local.data.raters import majority, read_ratings
from local.evaluation.result import EvaluationResult
from local.report.figures.curves import finish_panel
from local.report.figures.drawing import (
    COLOURS,
    LINE,
    LINE_STYLES,
    MARKERS,
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
            rated = _reference(evidence, ratings[label], label, point["rater"])
            _rater(panel, rated, point, position)
        panel.set_title(shown(label), fontsize=10)
        finish_panel(panel, "1 − specificity", "sensitivity")
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


def _reference(evidence, ratings, label, rater):
    """What most of the others say, and what the model does: [n] each.

    Of the recordings that the rater has rated, too: those of the rater's point.
    """
    uids = evidence.table["uid"][evidence.table["label"] == label]
    predictions = pd.Series(rows_of_label(evidence.table, label)[1], index=uids)
    manifest = evidence.manifests[evidence.split]
    predictions = predictions.reindex(manifest["ID"]).to_numpy()
    reference = majority(ratings.drop(columns=rater), evidence.types[label])
    rated = ratings[rater].notna().to_numpy()
    used = rated & ~np.isnan(reference) & ~np.isnan(predictions)
    return reference[used], predictions[used]


def _rater(panel, reference, point, position):
    """One rater: the model's curve as a thin line, the rater as a marker."""
    line = RocCurveDisplay.from_predictions(*reference, ax=panel).line_
    style = {
        "color": COLOURS[position % len(COLOURS)],
        "linestyle": LINE_STYLES[position % len(LINE_STYLES)],
        "linewidth": 1,
    }
    line.set(label="_the model's", **style)
    panel.plot(
        1 - point["specificity"]["value"],
        point["sensitivity"]["value"],
        marker=MARKERS[position % len(MARKERS)],
        markersize=8,
        markeredgecolor="black",
        label=shown(f"{point['rater']} (n = {point['n']})", 28),
        zorder=3,
        **style,
    )


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
