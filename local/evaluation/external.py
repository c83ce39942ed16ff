"""What is also told of a split that is not the experiment's own: external validation.

Beside the untouched results stand those of the experiment's own test split, and what
recalibration on the new subjects would reach.
"""

from pathlib import Path

from local.data.predictions_table import scores_in
from local.metrics.cases import rated_rows
from local.metrics.recalibration import cross_fitted_recalibration
from local.storage.experiment_files import MANIFESTS, METRICS
from local.utils.files import read_json

#: Of the experiment's own results, what is set beside the new ones.
COMPARED = ("auroc", "calibration_slope", "sensitivity", "specificity")


def internal_results(experiment: Path) -> dict:
    """What an experiment's own metrics.json says of its test split.

    experiment: Its folder.

    Returns: {"csv", "n_subjects", "labels": {label: {"auroc", "calibration_slope",
        "sensitivity", "specificity"}}}, of the labels that are 0 or 1; without labels,
        and with a "reason", where there is no such file.
    """
    csv = (MANIFESTS / "test.csv").as_posix()
    nothing = {"csv": csv, "n_subjects": None, "labels": {}}
    path = experiment / METRICS
    if not path.is_file():
        return nothing | {"reason": f"the experiment has no {METRICS}"}
    try:
        metrics = read_json(path)
        labels = {
            label: {name: entry[name] for name in COMPARED}
            for label, entry in metrics["labels"].items()
            if "auroc" in entry
        }
        return {"csv": csv, "n_subjects": metrics["n_subjects"], "labels": labels}
    except (ValueError, KeyError, TypeError, AttributeError):
        return nothing | {"reason": f"the experiment's {METRICS} can't be read"}


def recalibrated(scored) -> dict:
    """By label that is 0 or 1, what recalibration on this split would reach.

    scored (ScoredSplit): The split.
    """
    table, scores = scored.table, scores_in(scored.table)
    return {
        name: cross_fitted_recalibration(
            *rated_rows(table, name), scored.evaluation.seed
        )
        for name in scored.names
        if name not in scores | scored.scores
    }
