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


def draw_point(panel, place: float, entry: dict):
    """A value and its interval, hollow without one; words where there is no value.

    panel: matplotlib.axes.Axes
    place: The row.
    """
    if entry["value"] is None:
        at = {"transform": panel.get_yaxis_transform(), "ha": "center", "va": "center"}
        # on white, as lines may run behind
        white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
        style = {"fontsize": SMALL, "color": "0.2", "bbox": white}
        panel.text(0.5, place, "not computable", **at, **style)
        return
    colour, bounds = COLOURS[0], (entry["low"], entry["high"])
    has_interval = None not in bounds
    if has_interval:
        panel.plot(bounds, (place, place), color=colour, linewidth=2)
    panel.plot(
        entry["value"],
        place,
        marker="o",
        markersize=7,
        color=colour,
        markerfacecolor=colour if has_interval else "white",
        markeredgewidth=1.5,
        zorder=3,
    )
