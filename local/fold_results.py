"""The results of a cross-validation, out of those of its folds."""

import pandas as pd

from local.crossvalidation import cross_validated_metrics
from local.files import read_json, write_json
from local.flags import MARK, audit_notes, flagged
from local.manifests import write_failed
from local.predictions import read_predictions, write_predictions
from local.tables import SCORE_COLUMNS, pipe_table

TEXT = (
    "AUROC, AUPRC and the measures of scores are computed within folds and averaged; "
    "sensitivity and specificity are from counts at each fold's own threshold, summed "
    "over folds. The intervals are about these trained networks, on average, on other "
    "subjects like these. They do not tell how networks that are trained on other "
    "subjects would differ."
)

HEADER = ("label", "n", "pos.", "AUROC", "AUPRC (prev.)", "sens.", "spec.")


def collect_results(runs, labels, folder):
    """Compute the metrics of a cross-validation, and write all that belongs to it.

    Arguments
    ---------
    runs : list of (list of fold_runs.FoldRun)
        By repeat, all of them finished.
    labels : list of str
    folder : Path
        Gets metrics.json, predictions.csv (a recording once per repeat), for each
        repeat a predictions.csv of its own and, if recordings could not be used,
        failed.csv.

    Returns
    -------
    dict
        The content of metrics.json: that of `cross_validated_metrics`, "text", and
        "folds", a list of {"repeat", "fold", "n_recordings", "n_subjects",
        "one_class": {label: reason}}; "failed_parts", by the fold's name.
    """
    repeats = [[_predictions(run) for run in of_repeat] for of_repeat in runs]
    thresholds = [[_thresholds(run) for run in of_repeat] for of_repeat in runs]
    result = cross_validated_metrics(repeats, labels, thresholds)
    result["folds"] = [
        _fold_counts(run, table, result["labels"])
        for row in zip(runs, repeats, strict=True)
        for run, table in zip(*row, strict=True)
    ]
    result["text"] = TEXT
    result["failed_parts"] = {
        run.name: failed
        for of_repeat in runs
        for run in of_repeat
        if (failed := run.failed_parts())
    }
    merged = [pd.concat(tables) for tables in repeats]
    for number, table in enumerate(merged, start=1):
        write_predictions(table, folder / f"repeat_{number}" / "predictions.csv")
    write_predictions(pd.concat(merged), folder / "predictions.csv")
    write_failed(failed_recordings(runs), folder / "failed.csv")
    write_json(folder / "metrics.json", result)
    return result


def _predictions(run):
    table = read_predictions(run.folder / "predictions.csv")
    return table.assign(split=run.name)


def _thresholds(run):
    """Label → threshold on the probability, None where the fold has none."""
    path = run.folder / "metrics.json"
    metrics = read_json(path)
    return {
        label: of.get("threshold", {}).get("value")
        for label, of in metrics["labels"].items()
    }


def _fold_counts(run, table, of_labels):
    one_class = {
        label: entry["reason"]
        for label, of in of_labels.items()
        for entry in of.get("left_out", [])
        if (entry["repeat"], entry["fold"]) == (run.repeat, run.fold)
    }
    return {
        "repeat": run.repeat,
        "fold": run.fold,
        "n_recordings": int(table["uid"].nunique()),
        "n_subjects": int(table["subject"].nunique()),
        "one_class": one_class,
    }


def failed_recordings(runs):
    """Recordings that a fold could not use, each once.

    Arguments
    ---------
    runs : list of (list of fold_runs.FoldRun)

    Returns
    -------
    list of dict
        `uid` and `reason`.
    """
    files = [run.folder / "failed.csv" for of_repeat in runs for run in of_repeat]
    found = {}
    for file in files:
        if file.exists():
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            found |= dict(zip(table["uid"], table["reason"], strict=True))
    return [{"uid": uid, "reason": reason} for uid, reason in found.items()]


def format_cross_validation(result, audit):
    """Write the main metrics of a cross-validation as text.

    Arguments
    ---------
    result : dict
        What `collect_results` returns.
    audit : dict
        What the folds' audits say together (see `flags.audit_of_folds`).

    Returns
    -------
    str
        A table with a row per label and one of their mean, one of the scores, what
        these are about, what the folds' audits flag, and what is left out.
    """
    scores = {name: of for name, of in result["labels"].items() if "mae" in of}
    binary = {name: of for name, of in result["labels"].items() if "mae" not in of}
    parts = [
        f"{result['n_recordings']} recordings of {result['n_subjects']} subjects, "
        f"{result['n_folds']} folds, {result['n_repeats']} repeat(s)"
    ]
    if binary:
        rows = _binary_rows(binary, result["macro"], flagged(audit))
        parts.append(pipe_table(rows))
    if scores:
        rows = [
            [name, str(of["n"]), *(_number(of[key]) for key in SCORE_COLUMNS)]
            for name, of in scores.items()
        ]
        parts.append(pipe_table([["label", "n", *SCORE_COLUMNS.values()], *rows]))
    parts += [result["text"], *audit_notes(audit)]
    parts += [note for name, of in binary.items() for note in _notes(name, of)]
    return "\n\n".join(parts)


def _binary_rows(binary, macro, flags):
    rows = [HEADER]
    for name, of in binary.items():
        auprc = _number(of["auprc"])
        if of["prevalence"] is not None:
            auprc += f" ({of['prevalence']:.3f})"
        auroc = _with_interval(of["auroc"])
        if flags:
            auroc += f" {MARK if name in flags else ' '}"
        cells = [auroc, auprc]
        cells += [_number(of[key]) for key in ("sensitivity", "specificity")]
        rows.append([name, str(of["n"]), str(of["n_positive"]), *cells])
    name = f"macro ({macro['n_labels']} of {len(binary)} labels)"
    means = [_with_interval(macro["auroc"]), _number(macro["auprc"])]
    return [*rows, [name, "", "", *means, "", ""]]


def _with_interval(entry):
    """0.912 [0.845, 0.957]; the value alone where it has no interval."""
    if entry["low"] is None:
        return _number(entry)
    return f"{_number(entry)} [{entry['low']:.3f}, {entry['high']:.3f}]"


def _number(entry):
    return "n/a" if entry["value"] is None else f"{entry['value']:.3f}"


def _notes(name, of):
    """Why a label has no number or interval, and the folds that are not in one."""
    notes = [
        f"{name}: repeat {entry['repeat']}, fold {entry['fold']} is not in AUROC and "
        f"AUPRC, {entry['reason']}"
        for entry in of["left_out"]
    ]
    if of["auroc"]["low"] is None:
        notes.append(f"{name}: no interval of AUROC, {of['auroc']['reason']}")
    without = [
        f"repeat {entry['repeat']}, fold {entry['fold']}"
        for entry in of["without_threshold"]
    ]
    if of["sensitivity"]["value"] is None:
        notes.append(f"{name}: no sensitivity, {of['sensitivity']['reason']}")
    elif without:
        notes.append(f"{name}: no threshold in {'; '.join(without)}")
    return notes
