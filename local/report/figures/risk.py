"""Risk against coverage: errors among the recordings that are nearest to training."""

import numpy as np
from matplotlib.ticker import PercentFormatter

from local.data.predictions_table import DEVIATION
from local.evaluation.in_range import errors_of
from local.evaluation.result import EvaluationResult
from local.report.figures import drawing
from local.utils.number_format import number

#: Of fewer recordings there is no share of errors worth drawing.
MIN_RECORDINGS = 20

#: Orders of people at random, which the line is held against, and their middle 95 %.
N_ORDERS, MIDDLE = 400, (0.025, 0.975)


def draw_risk(evidence: EvaluationResult) -> drawing.Sketch | None:
    """Errors of each label, if only those nearest to training are decided about."""
    labels = evidence.metrics.get("selective", {}).get("labels", {})
    known = {
        label: entry
        for label, entry in labels.items()
        if entry["n"] > MIN_RECORDINGS and entry["risk_coverage"][0]["risk"] is not None
    }
    if not known:
        return None
    figure, panels = drawing.panel_grid(len(known), height=2.6)
    for panel, (label, entry) in zip(panels, known.items(), strict=True):
        rows = evidence.table[evidence.table["label"] == label]
        rows = rows[rows["target"].notna() & rows[DEVIATION].notna()]
        is_score = evidence.types[label].is_score
        _lines(panel, errors_of(rows, is_score), rows)
        end = entry["n_in_range"] / entry["n"]
        panel.axvline(end, color="black", ls=":", label="end of the range")
        panel.set(xlabel="decided about", xlim=(0, 1.02), ylim=(0, None))
        panel.set_title(drawing.shown(label), fontsize=10)
        panel.set_ylabel("mean error" if is_score else "wrong decisions")
        for axis in [panel.xaxis, *([] if is_score else [panel.yaxis])]:
            axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    drawing.legend_below(figure)
    said = [
        f"{label} {number(point['risk'])} of {100 * point['coverage']:.0f} %"
        for label, entry in known.items()
        for point in entry["risk_coverage"]
    ]
    alt = f"Wrong decisions (of a score: mean error), nearest first: {', '.join(said)}."
    return drawing.Sketch(figure, "Errors among those nearest to training", alt)


def _lines(panel, errors, rows):
    """The errors of a label over the share of recordings, in two orders."""
    n = np.arange(1, len(errors) + 1)
    people = np.unique(rows["subject"].astype(str), return_inverse=True)[1]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(people.max() + 1)[people] for _ in range(N_ORDERS)]
    nearest, *at_random = [
        (errors[np.argsort(order, kind="stable")].cumsum() / n)[MIN_RECORDINGS - 1 :]
        for order in (rows[DEVIATION].to_numpy(), *orders)
    ]
    shares, bounds = n[MIN_RECORDINGS - 1 :] / n[-1], np.quantile(at_random, MIDDLE, 0)
    panel.fill_between(shares, *bounds, color="0.85", label="95 % of random orders")
    panel.plot(shares, nearest, label="nearest to training first")
