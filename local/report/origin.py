"""What a report says of itself: of what, when and with what it was made."""

import json
import shlex

from local.report import described
from local.report.results import score_labels
from local.report.tables import Cell, Table, word
from local.utils.number_format import counted, measured, number


def header(evidence):
    """The title, and the facts in the line below it."""
    metrics = evidence.metrics
    dataset = evidence.settings.get("dataset_name") or "predictions from elsewhere"
    if "folds" in metrics:
        title = f"Cross-validation: {dataset}"
        facts = [
            f"{counted(metrics['n_folds'], 'fold')}, "
            f"{counted(metrics['n_repeats'], 'repeat')}"
        ]
    else:
        title = f"Evaluation: {dataset}, {evidence.split}"
        facts = []
    day = (evidence.provenance.get("date") or "").partition("T")[0]
    return {"title": title, "facts": [*facts, day]}


def errors(evidence):
    """The recordings that are most wrong; None where they could not be read."""
    if "errors" in evidence.failures.reasons:
        return None
    if not evidence.errors:
        return "No recording can be shown: none is wrong, or none is at hand."
    names = ["recording"] if evidence.show_uids else []
    table = Table("The worst errors", ["row", "label", *names, "rated", "predicted"])
    scores = score_labels(evidence.metrics["labels"])
    for error in evidence.errors:
        form = measured if error.label in scores else number
        rated = measured(error.target)
        uid = [word(error.uid)] if evidence.show_uids else []
        table.add(
            str(error.row), word(error.label), *uid, rated, form(error.prediction)
        )
    if evidence.show_uids:
        return table
    return ["Recordings are named by their row in predictions.csv.", table]


def without_folders(value):
    """A value in which paths of the machine are only their last part.

    >>> without_folders({"a": ["/home/ann/corpus/audio", "hparams/train.yaml"]})
    {'a': ['…/audio', 'hparams/train.yaml']}
    """
    if isinstance(value, dict):
        return {key: without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(entry) for entry in value]
    is_path = isinstance(value, str) and (value[:1] in "/~" or "://" in value)
    if not (is_path and value):
        return value
    return f"…/{value.rstrip('/').rpartition('/')[2]}"


def command(evidence):
    """The command line, in a sentence."""
    line = evidence.provenance.get("command") or "not known"
    parts = (part.partition("=") for part in shlex.split(line))
    return "Command: " + " ".join(
        "".join([without_folders(key), equals, without_folders(value)])
        for key, equals, value in parts
    )


def settings(evidence):
    """What is needed to repeat the evaluation."""
    versions = Table("Versions of packages", ["package", "version"])
    for package, version in (evidence.provenance.get("versions") or {}).items():
        versions.add(package, word(version or "not installed"))
    checkpoint = evidence.metrics["checkpoint"]
    made = f"Checkpoint: {checkpoint}" if checkpoint else None
    start = described.starts_from(evidence.settings)
    start = start and f"Weights of the encoder before the training: {start}"
    if not evidence.settings:
        unknown = "The training is not known: these predictions are from elsewhere."
        return [command(evidence), unknown, versions]
    values = Table("Settings of the training", ["key", "value"])
    for key, value in without_folders(evidence.settings).items():
        if not isinstance(value, str):
            value = json.dumps(value, default=str, ensure_ascii=False)
        values.add(key, Cell(value, kind="word"))
    return [command(evidence), made, start, versions, values]


def intervals(evidence):
    """What an interval covers, and what it does not."""
    return evidence.metrics.get("intervals")
