"""Rows of AUROCs: a point, its interval, and words where there is none."""

from local.report.figures.drawing import COLOURS, SMALL


def lowest(entries, others=()):
    """Where an axis of AUROCs begins: below all that is drawn, and below chance."""
    numbers = [x for entry in entries for x in (entry["value"], entry["low"])]
    drawn = [x for x in (*numbers, *others) if x is not None]
    return max(0, min([0.5, *drawn]) - 0.05)


def rows_axis(panel, names, lowest):
    """An axis of AUROCs from `lowest` on, and a row for each name, the first on top."""
    panel.axvline(0.5, color="black", linestyle="--", linewidth=1)
    panel.set(xlim=(lowest, 1.01), ylim=(len(names) - 0.5, -0.5))
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel("AUROC")
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)


def draw_point(
    panel,
    place: float,
    entry: dict,
    marker: str = "o",
    colour: str = COLOURS[0],
    hollow: bool = True,
):
    """A value and its interval; words where there is no value.

    panel: matplotlib.axes.Axes
    place: The row.
    hollow: Whether a value without an interval is drawn as an outline.
    """
    if entry["value"] is None:
        draw_words(panel, place, "not computable")
        return
    has_interval = entry["low"] is not None and entry["high"] is not None
    if has_interval:
        bounds = entry["low"], entry["high"]
        panel.plot(bounds, (place, place), color=colour, linewidth=2)
    panel.plot(
        entry["value"],
        place,
        marker=marker,
        markersize=7,
        color=colour,
        markerfacecolor=colour if has_interval or not hollow else "white",
        markeredgewidth=1.5,
        zorder=3,
    )


def draw_words(panel, place, words):
    """Writes into a row what stands there instead of a point."""
    at = {"transform": panel.get_yaxis_transform(), "ha": "center", "va": "center"}
    # on white, as lines may run behind
    at["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
    panel.text(0.5, place, words, fontsize=SMALL, color="0.2", **at)
