"""The losses and the validation's AUROC over the epochs of a training."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    LINE_STYLES,
    WIDTH,
    Sketch,
    legend_below,
)
from local.training.train_log import read_train_log
from local.utils.number_format import measured, number


def draw_training_curves(evidence: EvaluationResult) -> Sketch | None:
    """The curves of the training that the evaluated model comes from, if there are."""
    if evidence.train_log is None:
        return None
    epochs = read_train_log(evidence.train_log)
    if len(epochs) < 2:  # as of a model that learns all at once
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


def _draw(epochs, best_by):
    """Draws what `read_train_log` has read, and marks the best epoch."""
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
                marker="o",
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
    """The epoch that is marked, if any, and how it is called."""
    if best_by == "loss":
        name, merit = "lowest validation loss", -epochs["valid_loss"]
    else:
        name, merit = "highest macro AUROC", epochs["macro_auroc"]
    if merit.isna().all():
        return None, name
    # of equal epochs the last, as the checkpointer has it
    return int(epochs["epoch"][merit[::-1].idxmax()]), name
