"""What a trained model says of recordings that nobody has rated."""

import pandas as pd

from local.data.labels import flatten
from local.data.recordings import FolderRecordings
from local.evaluation.flags import MARK, flag_notes, flagged, read_audit, why_not_notes
from local.evaluation.operating_points import read_operating_points
from local.inference.engine import Engine
from local.metrics.decisions import decisions
from local.report.terminal import pipe_table
from local.training.experiment import Experiment
from local.utils.number_format import number, printable


def predict_manifest(
    engine: Engine,
    experiment: Experiment,
    manifest: pd.DataFrame,
    recordings: FolderRecordings,
    hparams: dict,
) -> dict:
    """Predict all labels of the recordings of a manifest.

    engine: Of the experiment's brain.
    manifest: As `manifests.build_manifest` gives it.
    recordings: Or anything like it.
    hparams: Of the experiment, for this run.

    Returns: {"experiment_folder", "checkpoint", "flagged": {label: [reason]},
        "recordings": [{"file", "duration_s", "n_windows", "labels": {label: {"logit",
        "probability", "threshold", "predicted"}}}]}. Of a score there is "score" only;
        "threshold" and "predicted" are None where training found no threshold.
    """
    windows = hparams["windows"].cut(manifest)
    computed = engine.values(
        windows.manifest, recordings, hparams, lambda outputs: outputs.logits
    )
    logits = windows.pool(*computed)
    points = read_operating_points(experiment.folder)
    return {
        "experiment_folder": experiment.address,
        "checkpoint": experiment.checkpoint,
        "flagged": flagged(read_audit(experiment.folder)),
        "recordings": [
            {
                "file": row["ID"],
                "duration_s": round(row["duration"], 3),
                "n_windows": windows.counts.get(row["ID"], 1),
                "labels": _said(logits[row["ID"]], hparams, points),
            }
            for row in manifest.to_dict("records")
        ],
    }


def _said(logits, hparams, points):
    """One recording's entries by label: logits [label] → dict."""
    said = decisions(
        logits,
        flatten(hparams["label_groups"]),
        hparams["positive_weights"],
        hparams["label_ranges"],
        points,
    )
    keys = ("logit", "probability", "threshold", "predicted")
    return {
        label: {"score": entry["score"]}
        if entry["score"] is not None
        else {key: entry[key] for key in keys}
        for label, entry in said.items()
    }


def format_predictions(predicted: dict, audit: dict) -> str:
    """A table to read: a row per file, a column per label.

    A star stands where a probability reaches its label's threshold, a mark at labels
    that the experiment's audit flags.

    predicted: As `predict_manifest` gives it.
    audit: The experiment's.

    >>> slow = {"logit": 1.0, "probability": 0.73, "threshold": 0.5, "predicted": 1}
    >>> one = {"file": "a.wav", "labels": {"slow": slow, "severity": {"score": 37.5}}}
    >>> flags = {"slow": {"status": "flagged", "reasons": ["The noise tells it."]}}
    >>> print(format_predictions({"recordings": [one]}, {"labels": flags}))
    | file  | slow ! | severity |
    | :---- | -----: | -------: |
    | a.wav |  0.73* |    37.50 |
    <BLANKLINE>
    * the label's threshold or above
    ! flagged by the confound audit: the label can be told without the speech, and ...
    ! slow: The noise tells it.
    """
    labels = list(predicted["recordings"][0]["labels"])
    flags = flagged(audit)
    rows = [
        ["file", *(f"{label} {MARK}" if label in flags else label for label in labels)]
    ]
    for recording in predicted["recordings"]:
        cells = (_cell(recording["labels"][label]) for label in labels)
        rows.append([printable(recording["file"]), *cells])
    notes = ["", "* the label's threshold or above"]
    entries = predicted["recordings"][0]["labels"]
    without = [
        name for name, entry in entries.items() if entry.get("threshold", 0) is None
    ]
    if without:
        notes.append(f"Without a threshold: {', '.join(without)}")
    notes += flag_notes(flags) + why_not_notes(audit)
    return "\n".join([pipe_table(rows), *notes])


def _cell(entry):
    if "score" in entry:
        return number(entry["score"])
    mark = "*" if entry["predicted"] else ""
    return number(entry["probability"]) + mark


def predictions_csv(predicted: dict) -> pd.DataFrame:
    """A row per file and label.

    predicted: As `predict_manifest` gives it.

    Returns: `file`, `label`, `logit`, `probability`, `threshold`, `predicted`, `score`.
    """
    columns = ("logit", "probability", "threshold", "predicted", "score")
    return pd.DataFrame(
        [
            {"file": recording["file"], "label": label}
            | {column: entry.get(column) for column in columns}
            for recording in predicted["recordings"]
            for label, entry in recording["labels"].items()
        ]
    ).astype({"predicted": "Int8"})
