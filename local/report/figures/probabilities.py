"""Figures of the probabilities of labels that are 0 or 1, a panel for each label."""

from functools import partial

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from local.data.predictions_table import rows_of_label
from local.evaluation.result import EvaluationResult
from local.metrics.calibration import calibration_curve
from local.metrics.measures import net_benefit, net_benefit_treat_all
from local.report.figures import drawing
from local.report.figures.drawing import COLOURS, Sketch
from local.report.tables import with_interval
from local.utils.number_format import counted, number

#: Bars of a histogram of probabilities.
N_BARS = 20

#: How far beyond the last threshold the lines of net benefit go, in how many places.
BEYOND, N_POINTS = 0.1, 200

#: Positive recordings are orange, negative ones a light blue: dark and light in grey.
POSITIVE, NEGATIVE = COLOURS[1], COLOURS[5]
THRESHOLD = {"color": "black", "linestyle": "--"}


def draw_calibration(evidence: EvaluationResult) -> Sketch | None:
    """Observed shares of positives against probabilities.

    Points are the bins of `calibration.calibration_curve` with their intervals; the
    line with its band and the flexible curve are its own, where there are some. Below
    is how often each probability was given.
    """

    def draw(panel, label):
        targets, probabilities, subjects = rows_of_label(evidence.table, label)
        curve = calibration_curve(targets, probabilities, subjects)
        panel, strip = _with_strip(panel)
        _bins_and_curve(panel, curve)
        rated = probabilities[~np.isnan(targets)]
        strip.hist(rated, bins=N_BARS, range=(0, 1), color="0.5")
        strip.set(xlabel="probability", ylabel="n", yticks=[])
        entry = evidence.metrics["labels"][label]["calibration_slope"]
        slope = f"slope {with_interval(entry)}"
        panel.set_title(f"{drawing.shown(label)}\n{slope}", fontsize=10)
        return f"{slope}; {_ends(curve['bins'])}"

    alt = (
        "Share of positive recordings against their probability, in bins with 95 % "
        "intervals; on the diagonal both are the same."
    )
    labels = drawing.rated_labels(evidence)
    return drawing.label_panels(labels, 3.4, draw, "Calibration", alt)


def _ends(bins):
    """The lowest and the highest bin, in words."""
    ends = [bins[0], bins[-1]] if len(bins) > 1 else bins
    said = [
        f"{number(part['observed'])} of the recordings with a mean probability of "
        f"{number(part['probability'])}"
        for part in ends
    ]
    return f"positive are {' and '.join(said)}"


def _with_strip(panel):
    """The panel parted into one for the points and a strip below it."""
    parts = panel.get_subplotspec().subgridspec(2, 1, height_ratios=(5, 1))
    figure = panel.figure
    panel.remove()
    upper = figure.add_subplot(parts[0])
    strip = figure.add_subplot(parts[1], sharex=upper)
    upper.tick_params(labelbottom=False)
    return upper, strip


def _bins_and_curve(panel, calibration):
    panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
    if line := calibration["line"]:
        places, colour = line["probability"], COLOURS[2]
        style = {"color": colour, "linewidth": 1.8}
        panel.plot(places, line["observed"], label="logistic line", **style)
        band = {"color": colour, "alpha": 0.2, "linewidth": 0}
        panel.fill_between(
            places, line["low"], line["high"], label="its 95 % band", **band
        )
    if curve := calibration["curve"]:
        style = {"color": COLOURS[1], "linestyle": "--", "linewidth": 1.8}
        panel.plot(
            curve["probability"], curve["observed"], label="flexible curve", **style
        )
    bins = calibration["bins"]
    places = [part["probability"] for part in bins]
    entries = [part | {"value": part["observed"]} for part in bins]
    _points(panel, places, entries, "bins, 95 % interval")
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed share")
    panel.grid(color="0.9")


def _points(panel, places, entries, label):
    """A point at each place, with its interval where it has one."""
    values, low, high = (
        np.array([entry[key] for entry in entries], dtype=float)
        for key in ("value", "low", "high")
    )
    # rounding may put a bound a hair inside
    bars = [(values - low).clip(0), (high - values).clip(0)]
    style = {"fmt": "o", "color": COLOURS[0], "markersize": 5, "capsize": 2}
    panel.errorbar(places, values, yerr=bars, label=label, **style)


def draw_decision_curve(evidence: EvaluationResult) -> Sketch | None:
    """Net benefit of the model, of calling nobody and of calling everybody positive.

    Points are the thresholds of metrics.json with their intervals; the line between
    them is the model at all others.
    """
    labels = evidence.metrics["labels"]
    asked = [
        label
        for label in drawing.rated_labels(evidence)
        if labels[label].get("decision_curve")
    ]

    def draw(panel, label):
        curve = labels[label]["decision_curve"]
        targets, probabilities, _ = rows_of_label(evidence.table, label)
        rated = ~np.isnan(targets)
        _net_benefits(panel, targets[rated], probabilities[rated], curve)
        places = [entry["threshold"] for entry in curve]
        entries = [entry["net_benefit"] for entry in curve]
        _points(panel, places, entries, "with 95 % interval")
        panel.set_title(drawing.shown(label), fontsize=10)
        return "; ".join(
            f"at {entry['threshold']:g} the model has "
            f"{with_interval(entry['net_benefit'])}, calling everybody positive "
            f"{number(entry['treat_all'])}"
            for entry in curve
        )

    alt = (
        "Net benefit over thresholds, of the model with 95 % intervals and of calling "
        "everybody positive; calling nobody positive has 0."
    )
    return drawing.label_panels(asked, 2.7, draw, "Decision curve", alt)


def _net_benefits(panel, targets, probabilities, curve):
    """Lines of the model and of the two defaults at all thresholds."""
    last = max(entry["threshold"] for entry in curve)
    places = np.linspace(0.005, min(last + BEYOND, 0.99), N_POINTS)
    weights = np.ones((1, len(targets)))
    at = partial(net_benefit, targets, probabilities, weights)
    model = [at(threshold=place)[0] for place in places]
    prevalence = targets.mean()
    everybody = [net_benefit_treat_all(prevalence, place) for place in places]
    panel.plot(places, model, color=COLOURS[0], linewidth=1.2, label="model")
    panel.plot(
        places, everybody, color=COLOURS[1], linestyle="--", label="everybody positive"
    )
    panel.axhline(0, color="0.4", linestyle=":", label="nobody positive")
    bounds = [entry["net_benefit"][key] for entry in curve for key in ("low", "high")]
    known = [0, prevalence, *model, *(bound for bound in bounds if bound is not None)]
    room = 0.06 * (max(known) - min(known))
    panel.set_ylim(min(known) - room, max(known) + room)  # the dashed line may leave it
    panel.set(xlim=(0, places[-1]), xlabel="threshold", ylabel="net benefit")
    panel.grid(color="0.9")


def draw_score_distributions(evidence: EvaluationResult) -> Sketch | None:
    """How many positive and negative recordings have which probability.

    Bars of positive recordings go up, those of negative ones down; the dashed line is
    the threshold, where there is one.
    """
    labels, measures = drawing.rated_labels(evidence), evidence.metrics["labels"]
    thresholds = {
        label: drawing.value_of(measures[label], "threshold") for label in labels
    }

    def draw(panel, label):
        targets, probabilities, _ = rows_of_label(evidence.table, label)
        classes = probabilities[targets == 1], probabilities[targets == 0]
        _distribution(panel, *classes, thresholds[label])
        panel.set_title(drawing.shown(label), fontsize=10)
        return _medians(*classes, thresholds[label])

    handles = [
        Patch(facecolor=POSITIVE, edgecolor="0.2", label="rated positive (up)"),
        Patch(facecolor=NEGATIVE, edgecolor="0.2", label="rated negative (down)"),
    ]
    if set(thresholds.values()) != {None}:
        handles.append(Line2D([], [], label="threshold", **THRESHOLD))
    title = "Probabilities of positive and negative recordings"
    alt = (
        "How many recordings have which probability, positive ones upwards and "
        "negative ones downwards."
    )
    return drawing.label_panels(labels, 2.5, draw, title, alt, handles)


def _medians(positive, negative, threshold):
    """What a distribution shows, in words."""
    parts = [
        f"median {number(np.median(values))} of "
        f"{counted(len(values), f'{name} recording')}"
        if len(values)
        else f"no {name} recording"
        for values, name in ((positive, "positive"), (negative, "negative"))
    ]
    at = "no threshold" if threshold is None else f"threshold {number(threshold)}"
    return ", ".join([*parts, at])


def _distribution(panel, positive, negative, threshold):
    bars = {"bins": N_BARS, "range": (0, 1), "edgecolor": "0.2", "linewidth": 0.6}
    for values, sign, colour in ((positive, 1, POSITIVE), (negative, -1, NEGATIVE)):
        weights = np.full(len(values), sign)
        panel.hist(values, weights=weights, color=colour, **bars)
    panel.axhline(0, color="0.2", linewidth=0.8)
    if threshold is not None:
        panel.axvline(threshold, **THRESHOLD)
    panel.set(xlim=(-0.02, 1.02), xlabel="probability", ylabel="recordings")
    panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    # downwards is no negative number of recordings
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{abs(y):.0f}"))
