"""What all figures have in common: size, colours, names, and how they are written.

Figures are made for a page that is read on a phone or printed on A4, maybe in grey:
narrow, with two columns of panels at most and letters of 9 points or more; what
colours tell, shapes or line styles tell too.
"""

import dataclasses
import textwrap
import warnings

from matplotlib.figure import Figure

from local.data.labels import flatten
from local.utils.files import atomic_write

#: Okabe and Ito's colours, which colour-blind readers can tell apart; without
#: their yellow, which is too pale for a line on white.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)

#: Each line also has a style, for prints without colour. Seven colours and four
#: styles make 28 different pairs.
LINE_STYLES = ("-", "--", ":", "-.")

MARKERS = ("^", "s", "D", "v", "P", "X")

#: Of the whole figure, and of one that is a single panel, in inches.
WIDTH, SINGLE_WIDTH = 5.4, 4.4

DOTS_PER_INCH = 130

#: Points: the smallest letters.
SMALL = 9

#: Inches that a line of text takes.
LINE = 0.19


@dataclasses.dataclass(frozen=True)
class Sketch:
    """A figure that is drawn, and what is to be said of it.

    alt: What is seen, with its numbers, for a reader who can't see it.
    """

    figure: Figure
    title: str
    alt: str


def panel_grid(n: int, height: float):
    """Makes a figure of panels that wrap, at most two in a row.

    n: Panels, one at least.
    height: Of a row of panels, in inches.

    Returns figure.
    Returns panels: list of matplotlib.axes.Axes
    """
    n_columns = min(n, 2)
    n_rows = -(-n // n_columns)
    size = WIDTH if n > 1 else SINGLE_WIDTH, height * n_rows
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for panel in panels[n:]:
        panel.remove()
    return figure, list(panels[:n])


def label_panels(labels, height, draw, title, alt, handles=()) -> Sketch | None:
    """Makes a figure with a panel for each label; None without labels.

    draw: Takes a panel and its label; gives what is seen there, in words.
    alt: What the whole figure shows.
    handles (sequence of matplotlib.artist.Artist or None): See `legend_below`; None: no
        legend.
    """
    if not labels:
        return None
    figure, panels = panel_grid(len(labels), height)
    said = [
        f"{label}: {draw(panel, label)}"
        for panel, label in zip(panels, labels, strict=True)
    ]
    if handles is not None:
        legend_below(figure, handles)
    return Sketch(figure, title, f"{alt} {'. '.join(said)}.")


def shown(text, width=28):
    """A text as matplotlib draws it: in lines, and with "$" as nothing but a letter.

    What stands between two "$" is mathematics otherwise.

    >>> print(shown("slow $rate of speech", width=12))
    slow \\$rate
    of speech
    """
    return textwrap.fill(text, width).replace("$", r"\$")


def legend_below(figure: Figure, handles=()):
    """A legend for all panels below them, where it hides nothing.

    figure: With constrained layout.
    handles (sequence of matplotlib.artist.Artist): What it explains; none: all that has
        a name, each name once.
    """
    if not handles:
        named = {}
        for panel in figure.axes:
            for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
                named.setdefault(name, handle)
        handles = list(named.values())
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        fontsize=SMALL,
        frameon=False,
    )


def n_lines(text):
    """How many lines a text has."""
    return text.count("\n") + 1


def save(figure, path):
    """Writes a figure as PNG, atomically."""
    with warnings.catch_warnings(), atomic_write(path, "wb") as stream:
        # a label in letters that the font lacks: drawn as boxes, told in the page
        warnings.filterwarnings("ignore", r"Glyph \d+")
        # "tight" cuts the picture around all that is drawn, legends included.
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")


def rated_labels(evidence):
    """The labels that are 0 or 1 and of which any recording is rated."""
    of_labels = evidence.metrics["labels"]
    return [
        label
        for label in flatten(evidence.label_groups)
        if "auroc" in of_labels[label] and of_labels[label]["n"]
    ]


def value_of(entries, name):
    """The value of an entry; None where it has none, or where it is not there."""
    return (entries.get(name) or {}).get("value")
