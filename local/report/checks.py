"""What a report says of subgroups, confounds and raters."""

from local.evaluation.confound_audit.leakage import not_measured
from local.evaluation.confound_audit.tested import TESTED
from local.report.tables import Cell, Flag, Table, Warned, word
from local.utils.number_format import counted, listed, number, p_value

#: So many recordings in two splits are named.
MAX_NAMED = 20

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
    "not_applicable": "not applicable",
}
PAIR_MEASURES = {
    "kappa": "Cohen's kappa",
    "weighted_kappa": "quadratic kappa",
    "icc": "ICC(A,1)",
}


def subgroups(evidence):
    """The tests, what is too small, and a table of the groups of each label."""
    result = evidence.metrics.get("subgroups") or {}
    result = {label: entry for label, entry in result.items() if entry["columns"]}
    if not result:
        return None
    columns = [column for e in result.values() for column in e["columns"].values()]
    tests = "No column has two groups that are large enough to be compared."
    if any(column["p"] is not None for column in columns):
        tests = _tests(result)
    too_small = [
        f"All groups by {columns} are too small for {labels}."
        for columns, labels in _too_small(result).items()
    ]
    tables = map(_groups, result, result.values())
    return [tests, *too_small, *tables]


def _tests(result):
    """One row per label and column: is there more than chance?"""
    columns = ["", "groups compared", "largest gap in AUROC", "gap expected by chance"]
    table = Table("Do groups differ?", [*columns, "p", "p after Holm"])
    for _, entry in table.headed(result):
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
    """A label's groups, of the columns that have any large enough."""
    columns = ["recordings", "subjects", "with a positive", "with a negative", "AUROC"]
    columns += ["sensitivity", "specificity"]
    table = Table(label, ["group", *columns])
    known = {k: v for k, v in item["columns"].items() if not _are_too_small(v)}
    for _, tested in table.headed(known):
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
    return table


def audit(evidence):
    """The confound audit: verdicts with their reasons, strata, leakage."""
    result = evidence.audit
    reason, labels = result.get("reason"), result["labels"]
    unheard = not_measured(result["measured"]) if _heard(result) else None
    return [
        Warned(f"Not done: {reason}.") if reason else None,
        result.get("summary"),
        *audit_reasons(result),
        verdicts(evidence),
        f"Not all recordings were listened to: {unheard}, whole subjects drawn by "
        "chance."
        if unheard
        else None,
        _within(labels),
        *leakage(evidence),
        shares(evidence),
    ]


def _heard(audit):
    """In how many splits any recording was measured."""
    return sum(entry["n_measured"] > 0 for entry in audit.get("measured", {}).values())


def audit_reasons(audit):
    """A sentence per label that is not clear; those with the same reasons together."""
    alike = {}
    for label, entry in audit["labels"].items():
        if entry["status"] != "clear":
            key = entry["status"], " ".join(entry["reasons"])
            alike.setdefault(key, []).append(label)
    return [
        (Flag if status == "flagged" else str)(
            f"{listed(names)} ({STATUSES[status]}): {said}"
        )
        for (status, said), names in alike.items()
    ]


def leakage(evidence):
    """Sentences on people and recordings that are in two splits."""
    result, named = evidence.audit, evidence.show_uids
    compared = len(result.get("label_shares") or {}) > 1
    subjects = result["shared_subjects"] if compared else None
    audio = result["shared_audio"] if compared and _heard(result) > 1 else None
    people = f": {', '.join(subjects)}" if subjects and named else ""
    same = " (the same sound, whatever the name)"
    uids = "; ".join(", ".join(each["uids"]) for each in (audio or [])[:MAX_NAMED])
    uids = f"{same}: {uids}" if named and uids else same
    unheard = _heard(result) and not_measured(result["measured"])
    heard = "recording that was listened to" if unheard else "recording"
    return [
        _shared("subjects", subjects, result, "subject", people),
        _shared("audio", audio, result, heard, uids),
    ]


def _shared(what, shared, audit, noun, names):
    """A sentence on what is in two splits: `names` stands behind it."""
    plain = noun.partition(" ")[0]
    if shared is None:
        why = audit.get(f"shared_{what}_reason", "no other split is known")
        return f"Not checked for {plain}s in two splits: {why}."
    if not shared:
        return f"No {noun} is in more than one split{names}."
    n = counted(len(shared), f"{plain} is", f"{plain}s are")
    return Flag(f"{n} in more than one split{names}.")


def verdicts(evidence):
    """The status and the measures of each label."""
    table = Table(
        "AUROC without the speech", ["label", "status", *AUDIT_MEASURES.values()]
    )
    for label, entry in evidence.audit["labels"].items():
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
    for _, entry in table.headed(labels):
        for name, title in measures.items():
            if name in entry and entry[name]["value"] is not None:
                table.add(title, *_strata(table, entry[name], columns))
    return table


def _strata(table, entry, columns):
    reason = "no two recordings of it have different ratings"
    inside = [table.number(entry["within"].get(column), reason) for column in columns]
    return [table.number(entry["value"]), *inside]


def shares(evidence):
    """Positives of each label by split."""
    shares = evidence.audit.get("label_shares")
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
    """How far raters agree, and where they are on the ROC."""
    result = evidence.raters()
    return [
        divided(evidence),
        agreement(evidence, named=True),
        _pairs(result),
        _on_roc(result),
    ]


def divided(evidence):
    """A sentence on recordings about which as many raters said one thing as another."""
    labels = evidence.metrics["labels"].values()
    counts = [n for entry in labels if (n := entry.get("n_divided"))]
    if not counts:
        return None
    least, most = min(counts), max(counts)
    n = f"{least} to {most}" if least < most else f"{most}"
    of_each = " of each label" if len(counts) > 1 else ""
    return (
        f"{n} recordings{of_each}, on whose label the raters are evenly divided, are "
        "not in these numbers. They are the difficult ones: the numbers are too good."
    )


def agreement(evidence, named=False):
    """Krippendorff's alpha of each label."""
    columns = ["label", "raters", "recordings with two ratings or more", "alpha"]
    table = Table("Agreement of raters (Krippendorff's alpha)", columns)
    for label, entry in evidence.raters().items():
        one = entry["agreement"]
        names = word(listed(one["raters"])) if named else len(one["raters"])
        table.add(label, names, one["n"], table.value(one["alpha"]))
    return table


def _pairs(result):
    columns = ["pair", "recordings both rated", "agreement", "measure"]
    table = Table("Agreement of each pair", columns)
    for _, entry in table.headed(result):
        for pair in entry["agreement"]["pairs"]:
            name, measure = listed(pair["raters"]), PAIR_MEASURES[pair["measure"]]
            table.add(name, pair["n"], table.value(pair), word(measure))
    return table


def _on_roc(result):
    columns = ["rater", "recordings", "sensitivity", "specificity"]
    columns += ["model's sensitivity there", "model's AUROC"]
    table = Table("Each rater and the model against the other raters", columns)
    for _, entry in table.headed(result):
        for point in entry["on_roc"]:
            names = ["sensitivity", "specificity", "model_sensitivity", "model_auroc"]
            cells = [table.value(point[name]) for name in names]
            table.add(point["rater"], point["n"], *cells)
    return table
