"""The losses and the validation's AUROC over the epochs of a training."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    LINE_STYLES,
    WIDTH,
    Sketch,
    legend_below,
    save,
)
from local.utils.errors import UserError
from local.utils.number_format import measured, number


def draw_training_curves(evidence: EvaluationResult) -> Sketch | None:
    """The curves of the training that the evaluated model comes from."""
    if evidence.train_log is None:
        return None
    epochs = read_train_log(evidence.train_log)
    if epochs.empty:
        return None
    best_by = evidence.settings.get("best_checkpoint", "loss")
    return Sketch(_draw(epochs, best_by), "Training", _alt(epochs, best_by))


def _alt(epochs, best_by):
    """What the curves show: where they start, where they end, and the best epoch."""
    said = [f"Curves over {len(epochs)} epochs of training"]
    for column, name, form in (
        ("train_loss", "training loss", measured),
        ("valid_loss", "validation loss", measured),
        ("macro_auroc", "macro AUROC of the validation", number),
    ):
        values = epochs[column].dropna()
        if len(values):
            ends = form(values.iloc[0]), form(values.iloc[-1])
            said.append(f"{name} from {ends[0]} to {ends[1]}")
    best, name = _best_epoch(epochs, best_by)
    if best is not None:
        said.append(f"the {name} is that of epoch {best}")
    return f"{'; '.join(said)}."


def read_train_log(path: str | Path) -> pd.DataFrame:
    """Reads the epochs that SpeechBrain's FileTrainLogger has written.

    A line is `epoch: 3, lr: 3.00e-04 - train loss: 6.1e-01 - valid loss: 5.9e-01,
    valid macro_auroc: 7.1e-01`; other lines (the test's) are left out.

    path: train_log.txt of an experiment.

    Returns: [epochs], Columns epoch (int), train_loss, valid_loss and macro_auroc
        (float, NaN where the line has none), in the order of epochs. An epoch that was
        run again after a resumption has the numbers of the last time.
    Raises UserError: if the file can't be read.
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


def training_curves_figure(
    train_log: str | Path, path: str | Path, best_by: str = "loss"
) -> Figure:
    """Draws the losses and the validation's macro AUROC over the epochs.

    The best epoch is marked: the first one, where the log has several that are
    equal. The log rounds its numbers, so the checkpoint kept may be another of them.

    train_log: train_log.txt of an experiment.
    path: The PNG file to write.
    best_by: What makes an epoch the best one, as in the yaml's `best_checkpoint`:
        "loss" (the lowest of the validation) or "macro_auroc" (the highest).

    Raises ValueError: if `best_by` is something else.
    Raises UserError: if the log can't be read.
    """
    if best_by not in ("loss", "macro_auroc"):
        raise ValueError(f"best_by must be loss or macro_auroc, not {best_by!r}")
    figure = _draw(read_train_log(train_log), best_by)
    save(figure, path)
    return figure


def _draw(epochs, best_by):
    """Draws what `read_train_log` has read."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
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
    legend_below(figure)
    return figure


def _finish_curves(panel, epochs):
    """Grid and axis of epochs of a panel; says so where it has no curve."""
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
    if len(epochs):  # room on both sides, so that a single epoch has an axis too
        panel.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if not panel.lines:
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
