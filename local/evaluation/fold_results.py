"""The results of a cross-validation, out of those of its folds."""

from pathlib import Path

import pandas as pd

from local.data.manifests import write_failed
from local.data.predictions_table import read_predictions, write_predictions
from local.metrics.split_metrics import evaluate_predictions
from local.storage.experiment_files import FAILED, METRICS, PREDICTIONS
from local.training.cross_validation import FoldRun
from local.utils.files import write_json

TEXT = (
    "AUROC and average precision are computed within folds and averaged, everything "
    "else over all recordings, decided at each fold's own threshold."
)


def collect_results(runs: list[list[FoldRun]], labels: list[str], folder: Path) -> dict:
    """Compute the metrics of a cross-validation, and write all that belongs to it.

    runs: By repeat, all of them finished.
    folder: Gets metrics.json, predictions.csv (a recording once per repeat), for each
        repeat a predictions.csv of its own and, if recordings could not be used,
        failed.csv.

    Returns: The content of metrics.json: that of `evaluate_predictions` for the first
        repeat, for the others the same in "repeats", "n_repeats", "text", and "folds",
        a list of {"repeat", "fold", "n_recordings", "n_subjects", "one_class":
        {label: reason}}; "failed_parts", by the fold's name.
    """
    repeats = [[_predictions(run) for run in of_repeat] for of_repeat in runs]
    merged = [pd.concat(tables) for tables in repeats]
    first, *others = [evaluate_predictions(table, [labels], None) for table in merged]
    result = first | {"repeats": others, "n_repeats": len(runs), "text": TEXT}
    result["folds"] = [
        _fold_counts(run, table, [first, *others][run.repeat - 1]["labels"])
        for row in zip(runs, repeats, strict=True)
        for run, table in zip(*row, strict=True)
    ]
    result["failed_parts"] = {
        run.name: failed
        for of_repeat in runs
        for run in of_repeat
        if (failed := run.failed_parts())
    }
    for number, table in enumerate(merged, start=1):
        write_predictions(table, folder / f"repeat_{number}" / PREDICTIONS)
    write_predictions(pd.concat(merged), folder / PREDICTIONS)
    write_failed(failed_recordings(runs), folder / FAILED)
    write_json(folder / METRICS, result)
    return result


def _predictions(run):
    table = read_predictions(run.folder / PREDICTIONS)
    return table.assign(split=run.name)


def _fold_counts(run, table, of_labels):
    one_class = {
        label: fold["reason"]
        for label, item in of_labels.items()
        for fold in item.get("left_out", [])
        if fold["fold"] == run.name
    }
    return {
        "repeat": run.repeat,
        "fold": run.fold,
        "n_recordings": int(table["uid"].nunique()),
        "n_subjects": int(table["subject"].nunique()),
        "one_class": one_class,
    }


def failed_recordings(runs: list[list[FoldRun]]) -> list[dict]:
    """Recordings that a fold could not use, each once.

    Returns: `uid` and `reason`.
    """
    files = [run.folder / FAILED for repeat in runs for run in repeat]
    reasons = {}
    for file in files:
        if file.exists():
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            reasons |= dict(zip(table["uid"], table["reason"], strict=True))
    return [{"uid": uid, "reason": reason} for uid, reason in reasons.items()]
