"""Tables of results for the terminal, which are Markdown at the same time."""

from local.evaluation.flags import MARK, audit_notes, flagged
from local.report.validation import spread_over_folds

#: Columns of the table of labels that are 0 or 1, behind AUROC and AUPRC.
BINARY_COLUMNS = {"brier": "Brier", "sensitivity": "sens.", "specificity": "spec."}

#: Columns of the table of scores.
SCORE_COLUMNS = {
    "mae": "MAE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "icc": "ICC",
}


def format_results(
    metrics: dict, references: dict[str, dict] | None = None, audit: dict | None = None
) -> str:
    """Writes the main metrics as a table for the terminal or a Markdown page.

    metrics: What `metrics.evaluate_predictions` returns.
    references: Further columns: {column name: {label: value, …, "macro": value}}, e.g.
        the AUROC of a baseline. A missing value is shown as n/a.
    audit: Content of the audit.json beside them: a mark stands at the AUROC of each
        label that it flags, and at a mean over any of these.

    Returns: A table with a row per label and one for the mean, then one of the scores,
        each where there are such labels; then one line per flagged label, on what is in
        two splits, per label that a mean leaves out, per reason why there is no
        threshold, and per head that has a top-1 accuracy.
    """
    labels, macro = metrics["labels"], metrics["macro"]
    scores = {name: entry for name, entry in labels.items() if "mae" in entry}
    binary = {name: entry for name, entry in labels.items() if name not in scores}
    parts = []
    if binary:
        flags = flagged(audit) if audit else {}
        rows = _binary_rows(binary, macro, references or {}, flags)
        parts.append(pipe_table(rows))
    if scores:
        parts.append(pipe_table(_score_rows(scores, macro)))
    if any(" [" in part for part in parts):
        parts.append("[…]: 95 % intervals, by subject.")
    parts += audit_notes(audit) if audit else []
    left_out = macro["left_out"] | macro.get("scores_left_out", {})
    parts += [f"{name}: not in the mean, {reason}" for name, reason in left_out.items()]
    if macro.get("n_scores") and macro["mae"]["value"] is None:
        parts.append(f"no mean of the MAE: {macro['mae']['reason']}")
    if spread := spread_over_folds(metrics):
        parts.append(f"mean AUROC from fold to fold: {spread}")
    parts += _folds_left_out(binary) + _without_decisions(binary)
    for index, head in enumerate(metrics["heads"], start=1):
        accuracy = head["top1_accuracy"]["value"]
        if accuracy is not None:
            parts.append(
                f"head {index}: top-1 accuracy {accuracy:.3f} (n = {head['n']})"
            )
    # An empty line before each part: Markdown would join lines otherwise.
    return "\n\n".join(parts)


def _binary_rows(labels, macro, references, flags):
    header = ["label", "n", "pos.", "AUROC", "AUPRC (prev.)", *BINARY_COLUMNS.values()]
    rows = [[*header, *references]]
    name = f"macro ({macro['n_labels']} of {len(labels)} labels)"
    marked = {*flags, name} if flags.keys() - macro["left_out"].keys() else flags
    for key, entry in [*labels.items(), (name, macro)]:
        auprc = _number(entry["auprc"]["value"])
        if entry.get("prevalence") is not None:
            auprc += f" ({entry['prevalence']:.3f})"
        others = [entry[each]["value"] for each in BINARY_COLUMNS]
        key_there = "macro" if entry is macro else key
        others += [column.get(key_there) for column in references.values()]
        counts = [str(entry.get(count, "")) for count in ("n", "n_positive")]
        auroc = _with_interval(entry["auroc"])
        if flags:
            auroc += f" {MARK if key in marked else ' '}"
        cells = [auroc, auprc, *map(_number, others)]
        rows.append([key, *counts, *cells])
    return rows


def _score_rows(labels, macro):
    rows = [["label", "n", *SCORE_COLUMNS.values()]]
    name = f"macro ({macro['n_scores']} of {len(labels)} scores)"
    for key, entry in [*labels.items(), (name, macro)]:
        mae, *others, icc = (entry[each] for each in SCORE_COLUMNS)
        values = [_number(each["value"]) for each in others]
        cells = [_with_interval(mae), *values, _with_interval(icc)]
        rows.append([key, str(entry.get("n", "")), *cells])
    return rows


def _folds_left_out(labels):
    """A line per fold of a cross-validation and label that it tells nothing about."""
    notes = [
        f"{name}: {entry['fold']} is not in AUROC and AUPRC, {entry['reason']}"
        for name, item in labels.items()
        for entry in item.get("left_out", [])
    ]
    for name, item in labels.items():
        if without := [entry["fold"] for entry in item.get("without_decisions", [])]:
            notes.append(f"{name}: no threshold in {', '.join(without)}")
    return notes


def _without_decisions(labels):
    """A line per reason why labels have no sensitivity and no specificity."""
    lacking = {}
    for name, entry in labels.items():
        if entry["sensitivity"]["value"] is entry["specificity"]["value"] is None:
            lacking.setdefault(entry["sensitivity"]["reason"], []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in lacking.items()]


def _with_interval(entry):
    """0.912 [0.845, 0.957]; the value alone where it has no interval."""
    if None in (entry["low"], entry["high"]):
        return _number(entry["value"])
    low, high = _number(entry["low"]), _number(entry["high"])
    return f"{_number(entry['value'])} [{low}, {high}]"


def _number(value):
    return "n/a" if value is None else f"{value:.3f}"


def pipe_table(rows):
    """Markdown table of rows of str: first row the header, first column to the left."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    # 2 at least: the rule of a column is a dash and a colon
    widths = [max(2, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (w - 1)}:" for w in widths[1:])]
    lines = [
        [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def format_comparison(comparison: dict) -> str:
    """Writes a comparison as text, for the terminal or a Markdown page.

    comparison: What `compare` returns.

    Returns: What is compared; the AUROC of each system, and the differences of each
        pair, with a row per label and one of the mean; a line per interval that there
        is not and per label that is left out.
    """
    macro, systems = comparison["macro"], comparison["systems"]
    name = f"macro ({macro['n_labels']} labels)"
    entries = comparison["labels"] | ({name: macro} if macro["n_labels"] else {})
    aurocs = [["label", "n", "subjects", *systems]]
    differences = [["label", "difference", "AUROC", "95 %", "p", "Holm"]]
    notes = [] if entries else ["no label has both classes"]
    for name, entry in entries.items():
        counts = [str(entry.get(count, "")) for count in ("n", "n_subjects")]
        aurocs.append([name, *counts, *map(_number, entry["auroc"].values())])
        for pair, each in entry["differences"].items():
            differences.append([name, pair, *_difference_cells(each)])
            if "reason" in each and f"{name}: {each['reason']}" not in notes:
                notes.append(f"{name}: {each['reason']}")
    notes += [
        f"{name}: left out, {why}" for name, why in comparison["left_out"].items()
    ]
    n, n_subjects = comparison["n_recordings"], comparison["n_subjects"]
    title = (
        f"AUROC of {', '.join(systems)}: {n} recordings of {n_subjects} subjects. "
        f"{comparison['text']}"
    )
    tables = [pipe_table(aurocs), pipe_table(differences)] if entries else []
    return "\n\n".join([title, *tables, *notes])


def _difference_cells(entry):
    bounds = entry["low"], entry["high"]
    interval = "n/a" if None in bounds else f"{bounds[0]:+.3f} to {bounds[1]:+.3f}"
    p = ["n/a" if entry[k] is None else f"{entry[k]:.4f}" for k in ("p", "p_holm")]
    return [f"{entry['value']:+.3f}", interval, *p]
