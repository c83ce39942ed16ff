"""What a report says of itself: of what, when and with what it was made."""

import json

from local.metrics import calibration, intervals, thresholds
from local.report.results import score_labels
from local.report.tables import Cell, Table, word
from local.utils.number_format import counted, measured, number


def header(evidence):
    """The title and the facts below it."""
    settings, metrics = evidence.settings, evidence.metrics
    dataset = settings.get("dataset_name") or "predictions from elsewhere"
    recordings = counted(metrics["n_recordings"], "recording")
    facts = {
        "Dataset": dataset,
        "Split": f"{evidence.split} ({recordings} of "
        f"{counted(metrics['n_subjects'], 'subject')})",
        "Labels": ", ".join(metrics["labels"]),
        "Checkpoint": metrics["checkpoint"] or "not known",
        "Date": evidence.provenance.get("date") or "not known",
    }
    return {"title": f"Evaluation: {dataset}, {evidence.split}", "facts": facts}


def errors(evidence):
    """The recordings that are most wrong; None where they could not be read."""
    if "errors" in evidence.failures.reasons:
        return None
    if not evidence.errors:
        return {"table": None, "show_uids": evidence.show_uids}
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
    return {"table": table, "show_uids": evidence.show_uids}


def settings(evidence):
    """What is needed to repeat the evaluation."""
    provenance = evidence.provenance
    versions = Table("Versions of packages", ["package", "version"])
    for package, version in (provenance.get("versions") or {}).items():
        versions.add(package, word(version or "not installed"))
    values = None
    if evidence.settings:
        values = Table("Settings", ["key", "value"])
        for key, value in evidence.settings.items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            values.add(key, Cell(text, kind="word"))
    return {
        "command": provenance.get("command") or "not known",
        "versions": versions,
        "settings": values,
    }


def methods(evidence):
    """The numbers that the notes on methods name."""
    return {
        "interval_from": intervals.MIN_SUBJECTS,
        "threshold_from": thresholds.MIN_TO_CHOOSE,
        "curve_from": calibration.MIN_FOR_CURVE,
    }
