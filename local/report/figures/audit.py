"""What the confound audit found."""

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from local.data.labels import flatten
from local.evaluation.confound_audit.tested import LARGE, TESTED
from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    LINE,
    Sketch,
    legend_below,
    panel_grid,
    shown,
    with_interval,
)
from local.report.figures.rows import draw_point, rows_axis

RED = "#A80020"

#: Where a label is flagged, if that is no chance.
FAR = {"facecolor": "0.88", "edgecolor": "none"}

#: What the audit computes of each label, and how it is called here.
AUDITED = {
    "capture_probe_auroc": "capture probe",
    "silence_probe_auroc": "silence probe",
    "silence_auroc": "model on silence",
    "behaviour_probe_auroc": "behaviour probe*",
}

#: How the points of the audit look by status: marker, colour, name.
STATUSES = {
    "clear": ("o", COLOURS[0], "clear"),
    "inconclusive": ("s", COLOURS[4], "inconclusive"),
    "flagged": ("X", RED, "flagged"),
    None: ("D", "0.45", "* shown, never flagged"),
}


def draw_audit(evidence: EvaluationResult) -> Sketch | None:
    """What each label can be told from without the speech, by AUROC.

    Grey is where a label is flagged if it is no chance: above 0.5, and of the model on
    silence below it, too.
    """
    audited = {
        label: result
        for label in flatten(evidence.label_groups)
        if (result := evidence.audit["labels"].get(label))
        and any(result[name]["value"] is not None for name in AUDITED)
    }
    if not audited:
        return None
    height = LINE * 1.5 * len(AUDITED) + 1.1
    figure, panels = panel_grid(len(audited), height, sharex=True, sharey=True)
    for panel, (label, result) in zip(panels, audited.items(), strict=True):
        for place, name in enumerate(AUDITED):
            for low, high in _sides(name):
                panel.barh(place, high - low, height=1, left=low, **FAR, zorder=0)
            marker, colour, _ = STATUSES.get(result[name]["status"], STATUSES[None])
            draw_point(panel, place, result[name], marker, colour, hollow=False)
        is_flagged = result["status"] == "flagged"
        status = result["status"].replace("_", " ")
        panel.set_title(
            shown(f"{label}: {status.upper() if is_flagged else status}"),
            fontsize=10,
            color=RED if is_flagged else "black",
        )
        rows_axis(panel, list(AUDITED.values()), 0)
        panel.set(xlim=(-0.01, 1.01))
        panel.tick_params(labelbottom=True)
    _legend(figure)
    return Sketch(figure, "Confound audit", _alt(audited))


def _sides(name):
    """Where a measure may flag a label, as (from, to)."""
    above, below = (0.5 + LARGE, 1), (0, 0.5 - LARGE)
    if name not in TESTED:
        return ()
    return (below, above) if TESTED[name].two_sided else (above,)


def _numbers(entry):
    # that probes have no interval need not be said each time
    return with_interval(entry).removesuffix(" (no interval)")


def _legend(figure):
    handles = [
        Line2D([], [], marker=marker, color=colour, linestyle="", label=name)
        for marker, colour, name in STATUSES.values()
    ]
    handles.append(Patch(**FAR, label="flagged here if it is no chance"))
    legend_below(figure, handles)


def _alt(audited):
    sentences = []
    for label, result in audited.items():
        said = "; ".join(
            f"{title.rstrip('*')} {_numbers(result[name])}"
            for name, title in AUDITED.items()
        )
        sentences.append(f"{label} is {result['status'].replace('_', ' ')}: {said}.")
    return (
        "AUROC with which each label can be told without the speech; 0.5 is good, "
        f"{0.5 + LARGE:g} or more may be flagged. {' '.join(sentences)}"
    )
