"""AUROC in groups of subjects."""

from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    LINE,
    Sketch,
    n_lines,
    panel_grid,
    rated_labels,
    shown,
    with_interval,
)
from local.report.figures.rows import draw_point, draw_words, lowest, rows_axis
from local.utils.number_format import p_value


def draw_subgroups(evidence: EvaluationResult) -> Sketch | None:
    """AUROC of each label in the groups of subjects, with intervals."""
    reports = evidence.metrics.get("subgroups") or {}
    reports = {
        label: reports[label]["columns"]
        for label in rated_labels(evidence)
        if reports.get(label, {}).get("columns")
    }
    if not any(_has_a_value(columns) for columns in reports.values()):
        return None  # words only: the report's tables have them
    rows = [
        (name, group) for name, groups in _groups(reports) for group in (None, *groups)
    ]
    names = [shown(column if group is None else group, 18) for column, group in rows]
    height = LINE * sum(max(1.25, n_lines(name)) for name in names) + 1.1
    figure, panels = panel_grid(len(reports), height, sharex=True, sharey=True)
    begin = 0.5
    for panel, (label, columns) in zip(panels, reports.items(), strict=True):
        entries = _group_rows(panel, columns, rows)
        begin = min(begin, lowest(entries))
        panel.set_title(shown(label), fontsize=10)
    for panel in panels:
        rows_axis(panel, names, begin)
        panel.tick_params(labelbottom=True)
        # only panels on the left have names
        for (_, group), name in zip(rows, panel.get_yticklabels(), strict=False):
            name.set_fontweight("bold" if group is None else "normal")
    return Sketch(figure, "AUROC in subgroups; p: any difference (Holm)", _alt(reports))


def _has_a_value(columns):
    """Whether any group is large enough for a number."""
    return any(
        entry["auroc"]["value"] is not None
        for report in columns.values()
        for entry in report["groups"]
    )


def _groups(reports):
    """Each column with its groups, also those that some labels have no recording of."""
    groups = {}
    for columns in reports.values():
        for column, report in columns.items():
            names = [entry["group"] for entry in report["groups"]]
            groups.setdefault(column, {}).update(dict.fromkeys(names))
    return groups.items()


def _group_rows(panel, columns, rows):
    """Draws the groups of one label; returns the entries that are drawn."""
    entries = {
        (column, entry["group"]): entry
        for column, report in columns.items()
        for entry in report["groups"]
    }
    drawn = []
    for place, (column, group) in enumerate(rows):
        if group is None:
            p = columns.get(column, {}).get("p_holm")
            if p is not None:
                draw_words(panel, place, _p(p))
        elif (column, group) in entries:
            entry = entries[column, group]
            if entry["auroc"]["value"] is None:
                draw_words(panel, place, f"too small (n = {entry['n']})")
            else:
                draw_point(panel, place, entry["auroc"])
                drawn.append(entry["auroc"])
    return drawn


def _p(p):
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _alt(reports):
    """Each label's groups, in words."""
    sentences = []
    for label, columns in reports.items():
        parts = []
        for column, report in columns.items():
            groups = "; ".join(
                f"{entry['group']} too small"
                if entry["auroc"]["value"] is None
                else f"{entry['group']} {with_interval(entry['auroc'])}"
                for entry in report["groups"]
            )
            p = "" if report.get("p_holm") is None else f" ({_p(report['p_holm'])})"
            parts.append(f"by {column}{p}: {groups}")
        sentences.append(f"{label}, {', '.join(parts)}.")
    return f"AUROC in groups, with 95 % intervals. {' '.join(sentences)}"
