"""The figures of an evaluation and of a training run, as PNG files."""

import math
import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_auc_score, roc_curve

from local.errors import UserError
from local.files import atomic_write
from local.metrics import score_metrics
from local.predictions import rows_of_label, scores_in

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

DOTS_PER_INCH = 150


def roc_figure(table, label_groups, path):
    """Draws the ROC curves of the labels that are 0 or 1, one panel per head.

    The legend gives each label's AUROC and how many recordings are positive and
    negative; a label that has one class is listed as not computable. Scores have no
    such curve: a head of scores only has no panel.

    Arguments
    ---------
    table : pandas.DataFrame
        A table of predictions (see `local.predictions`).
    label_groups : list of list of str
        The labels of each head.
    path : str or pathlib.Path
        The PNG file to write.

    Returns
    -------
    matplotlib.figure.Figure or None
        None, and no file, where all labels are scores.
    """
    scores = scores_in(table)
    heads = {
        index: [label for label in group if label not in scores]
        for index, group in enumerate(label_groups)
        if not scores.issuperset(group)
    }
    if not heads:
        return None
    figure = Figure(figsize=(5.2 * len(heads), 5))
    panels = figure.subplots(1, len(heads), squeeze=False)[0]
    for panel, (index, group) in zip(panels, heads.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="chance")
        for position, label in enumerate(group):
            _roc_curve(panel, *rows_of_label(table, label)[:2], label, position)
        title = f"ROC, head {index + 1}" if len(label_groups) > 1 else "ROC"
        panel.set(title=title, xlabel="1 - specificity", ylabel="sensitivity")
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        panel.grid(color="0.9")
    # The legends come after the layout and below the axes, outside the figure's
    # own size: in a corner ten labels hide the curves, and in the layout they
    # shrink the axes. Saving takes in what lies outside.
    figure.tight_layout()
    for panel in panels:
        panel.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=9, frameon=False
        )
    _save(figure, path)
    return figure


def _roc_curve(panel, targets, probabilities, label, position):
    """Adds the curve of one label; targets [n] may hold NaN for "not rated"."""
    rated = ~np.isnan(targets)
    targets, probabilities = targets[rated], probabilities[rated]
    n_positive = int(targets.sum())
    n_negative = len(targets) - n_positive
    false_rate, true_rate, score = [], [], "not computable"
    if n_positive and n_negative:
        false_rate, true_rate, _ = roc_curve(targets, probabilities)
        score = f"{roc_auc_score(targets, probabilities):.3f}"
    # The score comes first: matplotlib hides a legend entry that starts with "_",
    # and takes what stands between two "$" for mathematics.
    entry = f"AUROC {score}: {label} ({n_positive} pos., {n_negative} neg.)"
    panel.plot(
        false_rate,
        true_rate,
        color=COLOURS[position % len(COLOURS)],
        linestyle=LINE_STYLES[position % len(LINE_STYLES)],
        linewidth=1.8,
        label=textwrap.fill(entry, 60).replace("$", r"\$"),
    )


def scores_figure(table, labels, path):
    """Draws ratings against predictions, one panel per score.

    A point is a recording; on the grey line rating and prediction are the same. The
    title gives the mean absolute error and the intraclass correlation.

    Arguments
    ---------
    table : pandas.DataFrame
        A table of predictions (see `local.predictions`).
    labels : list of str
        The labels that are scores.
    path : str or pathlib.Path
        The PNG file to write.

    Returns
    -------
    matplotlib.figure.Figure or None
        None, and no file, where there are no scores.
    """
    if not labels:
        return None
    # Not wider than four panels, rows as full as can be: 5 are 3 and 2.
    n_rows = -(-len(labels) // 4)
    n_columns = -(-len(labels) // n_rows)
    figure = Figure(figsize=(3.6 * n_columns, 3.9 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for panel in panels[len(labels) :]:
        panel.remove()
    for panel, label in zip(panels, labels, strict=False):
        _score_panel(panel, label, *rows_of_label(table, label))
    _save(figure, path)
    return figure


def _score_panel(panel, label, ratings, predictions, subjects):
    """Draws one score; ratings [n] may hold NaN for "not rated"."""
    found = score_metrics(ratings, predictions, subjects)
    shown = [
        f"{name} n/a" if value is None else f"{name} {value:{form}}"
        for name, form, value in (
            ("MAE", ".3g", found["mae"]["value"]),  # of any scale
            ("ICC", ".3f", found["icc"]["value"]),
        )
    ]
    name = textwrap.fill(label, 30).replace("$", r"\$")
    title = f"{name}\n{', '.join(shown)} (n = {found['n']})"
    panel.set_title(title, fontsize=10)
    panel.set(xlabel="rated", ylabel="predicted", aspect="equal")
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
    rated = ~np.isnan(ratings)
    if not rated.any():
        panel.text(0.5, 0.5, "no rating", ha="center", transform=panel.transAxes)
        panel.set(xticks=[], yticks=[])
        return
    drawn = np.concatenate([ratings[rated], predictions[rated]])
    margin = 0.05 * np.ptp(drawn) or 0.5  # a single value has an axis too
    limits = drawn.min() - margin, drawn.max() + margin
    panel.plot(limits, limits, color="0.6", linewidth=1)
    panel.scatter(
        ratings[rated],
        predictions[rated],
        s=18,
        color=COLOURS[0],
        alpha=0.5,  # many recordings have the same rating
        linewidths=0,
    )
    panel.set(xlim=limits, ylim=limits)
    # the same numbers along both axes
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(5))


def read_train_log(path):
    """Reads the epochs that SpeechBrain's FileTrainLogger has written.

    A line is `epoch: 3, lr: 3.00e-04 - train loss: 6.1e-01 - valid loss: 5.9e-01,
    valid macro_auroc: 7.1e-01`; other lines (the test's) are left out.

    Arguments
    ---------
    path : str or pathlib.Path
        train_log.txt of an experiment.

    Returns
    -------
    pandas.DataFrame [epochs]
        Columns epoch (int), train_loss, valid_loss and macro_auroc (float, NaN
        where the line has none), in the order of epochs. An epoch that was run
        again after a resumption has the numbers of the last time.

    Raises
    ------
    local.errors.UserError
        If the file can't be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"The training log {path} can't be read: {error}") from error
    epochs = {}
    for line in lines:
        start = re.match(r"epoch: (\d+)\b", line)
        if start:
            epochs[int(start[1])] = {
                "train_loss": _value(line, "train loss"),
                "valid_loss": _value(line, "valid loss"),
                "macro_auroc": _value(line, "valid macro_auroc"),
            }
    columns = ("train_loss", "valid_loss", "macro_auroc")
    table = pd.DataFrame(
        {column: [epochs[e][column] for e in sorted(epochs)] for column in columns},
        dtype=float,
    )
    table.insert(0, "epoch", np.array(sorted(epochs), dtype=int))
    return table


def _value(line, key):
    """The number after `key: ` in a line of the log; NaN if there is none."""
    found = re.search(rf"(?:, | - ){key}: ([^\s,]+)", line)
    try:
        return float(found[1]) if found else math.nan
    except ValueError:  # "None"
        return math.nan


def training_curves_figure(train_log, path, best_by="loss"):
    """Draws the losses and the validation's macro AUROC over the epochs.

    The best epoch is marked: the first one, where the log has several that are
    equal. The log rounds its numbers, so the checkpoint kept may be another of them.

    Arguments
    ---------
    train_log : str or pathlib.Path
        train_log.txt of an experiment.
    path : str or pathlib.Path
        The PNG file to write.
    best_by : str
        What makes an epoch the best one, as in the yaml's `best_checkpoint`:
        "loss" (the lowest of the validation) or "macro_auroc" (the highest).

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `best_by` is something else.
    local.errors.UserError
        If the log can't be read.
    """
    if best_by not in ("loss", "macro_auroc"):
        raise ValueError(f"best_by must be loss or macro_auroc, not {best_by!r}")
    epochs = read_train_log(train_log)
    figure = Figure(figsize=(10, 4.2))
    losses, auroc = figure.subplots(1, 2)
    curves = (
        (losses, "train_loss", "training", 0),
        (losses, "valid_loss", "validation", 1),
        (auroc, "macro_auroc", "validation", 1),
    )
    for panel, column, label, position in curves:
        if epochs[column].notna().any():
            panel.plot(
                epochs["epoch"],
                epochs[column],
                color=COLOURS[position],
                linestyle=LINE_STYLES[position],
                marker="o",  # a line through a single epoch would not be seen
                markersize=3,
                label=label,
            )
    best, best_name = _best_epoch(epochs, best_by)
    losses.set(title="Loss", xlabel="epoch", ylabel="loss")
    auroc.set(title="Macro AUROC", xlabel="epoch", ylabel="macro AUROC")
    for panel in (losses, auroc):
        if panel.lines and best is not None:
            label = f"{best_name} (epoch {best})"
            panel.axvline(best, color="0.4", linestyle=":", label=label)
        _finish_curves(panel, epochs["epoch"])
    figure.tight_layout()
    _save(figure, path)
    return figure


def _finish_curves(panel, epochs):
    """Grid, axis of epochs and legend of a panel; says so where it has no curve."""
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
    if len(epochs):  # room on both sides, so that a single epoch has an axis too
        panel.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if panel.lines:
        panel.legend(fontsize=9)
    else:
        panel.text(0.5, 0.5, "not in the log", ha="center", transform=panel.transAxes)


def _best_epoch(epochs, best_by):
    """The epoch that `training_curves_figure` marks, if any, and how it is called."""
    if best_by == "loss":
        name, merit = "lowest validation loss", -epochs["valid_loss"]
    else:
        name, merit = "highest macro AUROC", epochs["macro_auroc"]
    if merit.isna().all():
        return None, name
    # of equal epochs the last, as the checkpointer has it
    return int(epochs["epoch"][merit[::-1].idxmax()]), name


def _save(figure, path):
    with atomic_write(path, "wb") as stream:
        # "tight" cuts the picture around all that is drawn, legends included.
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")
