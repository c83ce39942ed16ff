"""What a report says of subgroups, confounds and raters."""

from local.evaluation.confound_audit.leakage import not_measured
from local.evaluation.confound_audit.tested import ALPHA, LARGE, TESTED
from local.report.tables import Cell, Table, word
from local.utils.number_format import listed, number, p_value

AUDIT_MEASURES = {
    "capture_probe_auroc": "capture probe",
    "silence_probe_auroc": "silence probe",
    "silence_auroc": "this model on silence",
    "behaviour_probe_auroc": "behaviour probe (never flagged)",
}
STATUSES = {
    "flagged": "FLAGGED",
    "clear": "clear",
    "inconclusive": "inconclusive",
    "not_computable": "not computable",
}
PAIR_MEASURES = {
    "kappa": "Cohen's kappa",
    "weighted_kappa": "quadratic kappa",
    "icc": "ICC(A,1)",
}


def subgroups(evidence):
    """Tables by label; None where no column was compared."""
    result = evidence.metrics.get("subgroups") or {}
    result = {label: entry for label, entry in result.items() if entry["columns"]}
    if not result:
        return None
    tested = [
        column["p"] is not None
        for entry in result.values()
        for column in entry["columns"].values()
    ]
    return {
        "tests": _tests(result) if any(tested) else None,
        "tables": [table for table in map(_groups, result, result.values()) if table],
        "too_small": _too_small(result),
        "n_permutations": next(iter(result.values()))["n_permutations"],
    }


def _tests(result):
    """One row per label and column: is there more than chance?"""
    columns = ["", "groups compared", "largest gap in AUROC", "gap expected by chance"]
    table = Table("Do groups differ?", [*columns, "p", "p after Holm"])
    for label, entry in result.items():
        table.heading(label)
        for column, tested in entry["columns"].items():
            reason = tested.get("reason")
            gaps = [
                table.number(tested[name], reason)
                for name in ("largest_gap", "largest_gap_by_chance")
            ]
            p = [
                table.number(tested[name], reason, p_value) for name in ("p", "p_holm")
            ]
            table.add(column, tested["n_groups"], *gaps, *p)
    return table


def _are_too_small(tested):
    return all("reason" in group for group in tested["groups"])


def _too_small(result):
    """Columns of which no group has numbers: {"column and column": "label, label"}."""
    by_columns = {}
    for label, entry in result.items():
        columns = [
            c for c, tested in entry["columns"].items() if _are_too_small(tested)
        ]
        if columns:
            by_columns.setdefault(listed(columns), []).append(label)
    return {columns: listed(labels) for columns, labels in by_columns.items()}


def _groups(label, item):
    """A label's groups, of the columns that have any large enough; None without."""
    columns = ["recordings", "subjects", "with a positive", "with a negative", "AUROC"]
    columns += ["sensitivity", "specificity"]
    table = Table(label, ["group", *columns])
    for column, tested in item["columns"].items():
        if _are_too_small(tested):
            continue
        table.heading(column)
        for group in tested["groups"]:
            counts = ["n", "n_subjects", "n_positive_subjects", "n_negative_subjects"]
            measures = ["auroc", "sensitivity", "specificity"]
            table.add(
                group["group"],
                *(group[name] for name in counts),
                # the counts beside it say why
                *(
                    Cell("too small") if "reason" in group else table.entry(group[name])
                    for name in measures
                ),
            )
    return table if table.rows else None


def audit(evidence):
    """The confound audit: verdicts, measures, leakage."""
    result = evidence.audit
    labels, shares = result["labels"], result.get("label_shares") or {}
    flagged = {label for label, entry in labels.items() if entry["status"] == "flagged"}
    measured, compared = result.get("measured", {}), len(shares) > 1
    heard = [entry["n_measured"] > 0 for entry in measured.values()]
    unknown = "no other split is known"
    return {
        "reason": result.get("reason"),
        "verdicts": _verdicts(labels) if labels else None,
        "reasons": {label: entry["reasons"] for label, entry in labels.items()},
        "flagged": flagged,
        "within": _within(labels),
        "shares": _shares(shares),
        "shared_subjects": result["shared_subjects"] if compared else None,
        "subjects_reason": result.get("shared_subjects_reason", unknown),
        "shared_audio": result["shared_audio"] if compared and sum(heard) > 1 else None,
        "audio_reason": result.get("shared_audio_reason", unknown),
        "unheard": not_measured(measured) if any(heard) else None,
        "show_uids": evidence.show_uids,
        "large": LARGE,
        "alpha": ALPHA,
    }


def _verdicts(labels):
    table = Table(
        "AUROC without the speech", ["label", "status", *AUDIT_MEASURES.values()]
    )
    for label, entry in labels.items():
        flagged = "flagged" if entry["status"] == "flagged" else ""
        cells = [_probe(table, entry[name]) for name in AUDIT_MEASURES]
        table.add(label, word(STATUSES[entry["status"]], flagged), *cells)
    return table


def _probe(table, entry):
    """What a probe found: its AUROC, red where that flags the label, and p."""
    if entry["value"] is None:
        return table.number(None, entry["reason"])
    p = "" if entry["p_holm"] is None else f"(p {_compared(entry['p_holm'])})"
    kind = "flagged" if entry["status"] == "flagged" else ""
    return Cell(number(entry["value"]), p, kind=kind)


def _compared(p):
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _within(labels):
    """The model's and the probes' AUROC within a device or site, beside the overall."""
    measures = {"auroc": "this model"} | {k: AUDIT_MEASURES[k] for k in TESTED}
    columns = dict.fromkeys(
        column
        for entry in labels.values()
        for name in measures
        for column in entry.get(name, {}).get("within", {})
    )
    if not columns:
        return None
    heads = ["", "overall", *(f"within {column}" for column in columns)]
    table = Table("AUROC within devices and sites", heads)
    for label, entry in labels.items():
        table.heading(label)
        for name, title in measures.items():
            if name in entry and entry[name]["value"] is not None:
                table.add(title, *_strata(table, entry[name], columns))
    return table


def _strata(table, entry, columns):
    reason = "no two recordings of it have different ratings"
    inside = [table.number(entry["within"].get(column), reason) for column in columns]
    return [table.number(entry["value"]), *inside]


def _shares(shares):
    """Positives of each label by split."""
    if not shares:
        return None
    table = Table("Share of positive recordings by split", ["label", *shares])
    for label in next(iter(shares.values())):
        cells = []
        for split in shares.values():
            entry = split[label]
            if entry["share"] is None:
                cells.append(table.number(None, entry["reason"]))
            else:
                counts = f"({entry['n_positive']:,} of {entry['n']:,})"
                cells.append(Cell(number(entry["share"]), counts))
        table.add(label, *cells)
    return table


def raters(evidence):
    """How far raters agree, and where they are on the ROC; None without raters."""
    result = evidence.raters()
    if not result:
        return None
    return {
        "agreement": _agreement(result),
        "pairs": _pairs(result),
        "on_roc": _on_roc(result),
    }


def _agreement(result):
    columns = ["label", "raters", "recordings with two ratings or more"]
    table = Table("Agreement of all raters", [*columns, "Krippendorff's alpha"])
    for label, entry in result.items():
        one = entry["agreement"]
        table.add(
            label, word(listed(one["raters"])), one["n"], table.value(one["alpha"])
        )
    return table


def _pairs(result):
    columns = ["pair", "recordings both rated", "agreement", "measure"]
    table = Table("Agreement of each pair", columns)
    for label, entry in result.items():
        table.heading(label)
        for pair in entry["agreement"]["pairs"]:
            name, measure = listed(pair["raters"]), PAIR_MEASURES[pair["measure"]]
            table.add(name, pair["n"], table.value(pair), word(measure))
    return table


def _on_roc(result):
    columns = ["rater", "recordings", "sensitivity", "specificity"]
    columns += ["model's sensitivity there", "model's AUROC"]
    table = Table("Each rater and the model against the other raters", columns)
    for label, entry in result.items():
        table.heading(label)
        for point in entry["on_roc"]:
            names = ["sensitivity", "specificity", "model_sensitivity", "model_auroc"]
            cells = [table.value(point[name]) for name in names]
            table.add(point["rater"], point["n"], *cells)
    return table
