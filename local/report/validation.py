"""What a report says of results beside others of the same kind, as tables.

Of the folds of a cross-validation, of an experiment's own test split beside another
one, of recordings, visits and people that count, of fewer people to learn from, and
without recordings that are unlike those of the training.
"""

from local.metrics.split_metrics import PERSON_MEASURES
from local.report.results import (
    RANKING,
    binary_labels,
    cells,
    score_columns,
    score_labels,
)
from local.report.tables import Cell, Table, percent, signed
from local.utils.number_format import DASH, counted, interval, measured, number

#: What weighs the same in each part of metrics.json, in the order of a table.
WAYS = {
    None: "each recording",
    "subject_weighted": "each subject, by its recordings",
    "per_visit": "each visit, as one case",
    "per_subject": "each subject, as one case",
}
COUNTED_MEASURES = RANKING | {
    "log_loss": "log loss",
    "brier": "Brier score",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
RULES = {
    "mean": "mean of the recordings",
    "any": "any recording",
    "majority": "most recordings",
}
ENDS = ("all", "in_range")
ONE_EACH = "Each person has one recording: what is counted makes no difference."
NOT_DECIDED = "not all of them were decided about, or there are none"
BESIDE = {
    "auroc": "AUROC",
    "calibration_slope": "slope",
    "sensitivity": "sens.",
    "specificity": "spec.",
}


def fold_name(fold):
    """What a fold leaves out, or its number.

    >>> fold_name({"repeat": 1, "fold": 2}), fold_name({"left_out": "A", "fold": 1})
    ('fold 2', 'A')
    """
    return fold.get("left_out") or f"fold {fold['fold']}"


def folds(evidence):
    """Folds of a cross-validation: those of sites, or their range for each label."""
    metrics = evidence.metrics
    every = metrics.get("folds")
    if not every:
        return None
    if "left_out" in every[0]:
        table = Table("Each left out of the training", ["", "people", "mean AUROC"])
        for fold in every:
            auroc = table.number(fold["macro_auroc"], "no label has both classes")
            table.add(_with_repeat(fold, metrics), fold["n_subjects"], auroc)
        return table
    columns = ["label", "lowest fold", "highest fold", "SD of repeats"]
    if metrics["n_repeats"] == 1:
        columns.pop()
    table = Table("AUROC from fold to fold", columns)
    rows = {k: [fold["auroc"].get(k) for fold in every] for k in every[0]["auroc"]}
    rows |= {"mean over labels": [fold["macro_auroc"] for fold in every]}
    for label, values in rows.items():
        known = [value for value in values if value is not None]
        reason = "no fold has both classes"
        ends = (table.number(f(known) if known else None, reason) for f in (min, max))
        spread = []
        if metrics["n_repeats"] > 1:
            entry = metrics["labels"].get(label, metrics["macro"])["auroc"]
            spread = [table.number(entry.get("sd"), entry.get("reason"), _three)]
        table.add(label, *ends, *spread)
    return table


def _three(value):
    return f"{value:.3f}"


def _with_repeat(fold, metrics):
    repeat = f", repeat {fold['repeat']}" if metrics["n_repeats"] > 1 else ""
    return f"{fold_name(fold)}{repeat}"


def every_fold(evidence):
    """AUROC of each label in each fold."""
    metrics = evidence.metrics
    every = metrics.get("folds")
    if not every:
        return None
    labels = list(every[0]["auroc"])
    columns = ["", "people", "recordings", *labels, "mean"]
    table = Table("AUROC of every fold", columns)
    for fold in every:
        values = [*(fold["auroc"].get(label) for label in labels), fold["macro_auroc"]]
        aurocs = [table.number(value, "it lacks a class") for value in values]
        counts = fold["n_subjects"], fold["n_recordings"]
        table.add(_with_repeat(fold, metrics), *counts, *aurocs)
    return table


def external(evidence):
    """Another split's results beside those of the experiment's own test split."""
    internal = evidence.metrics.get("internal") or {}
    if not internal.get("labels"):
        return None
    here, own = evidence.metrics["n_subjects"], internal["n_subjects"]
    caption = (
        f"Here ({counted(here, 'person', 'people')}) and on the experiment's own test "
        f"split ({own:,})"
    )
    table = Table(caption, ["", *BESIDE.values()])
    labels = binary_labels(evidence.metrics["labels"])
    for label, entry in table.headed(labels):
        sides = {"here": entry, "own test": internal["labels"].get(label)}
        for name, side in sides.items():
            if side:
                table.add(name, *(table.value(side[key]) for key in BESIDE))
    return table


def weights(evidence):
    """The statistics that weigh most in linear heads, each label's own."""
    labels = evidence.metrics["labels"]
    known = {label: entry for label, entry in labels.items() if "weights" in entry}
    columns = ["statistic", "weight", "usual range"]
    table = Table("What weighs most in each label", columns)
    for _, entry in table.headed(known):
        for each in entry["weights"]:
            usual = interval(*each["usual"], measured).strip("()")
            weight = Cell(signed(each | {"value": each["weight"]}))
            table.add(each["words"], weight, f"{usual} {each['unit']}".strip())
        if not entry["weights"]:
            table.add("none", table.number(None, entry["weights_reason"]), "")
    return table


def learning_curve(evidence):
    """What the acoustic baseline would reach with parts of the people."""
    table = Table("Acoustic statistics, by how many people", ["people", "AUROC", "SD"])
    for step in evidence.metrics.get("learning_curve", ()):
        entry = step["auroc"]
        values = (table.number(entry[k], entry.get("reason")) for k in ("mean", "sd"))
        table.add(f"{step['n_subjects']:,}", *values)
    return table


def counting(evidence):
    """The same results with each recording, visit or subject weighing the same."""
    metrics = evidence.metrics
    if metrics["n_recordings"] == metrics["n_subjects"]:
        return ONE_EACH
    ways = {key: metrics if key is None else metrics.get(key) for key in WAYS}
    ways = {key: entry for key, entry in ways.items() if entry}
    binary, scores = binary_labels(metrics["labels"]), score_labels(metrics["labels"])
    measures = score_columns(scores)
    return [
        _counting_table("Results", ways, binary, COUNTED_MEASURES),
        _counting_table("Results of scores", ways, scores, measures),
        _varying(ways, binary),
    ]


def _counting_table(what, ways, labels, measures):
    caption = f"{what}, counted in several ways"
    table = Table(caption, ["what weighs the same", "cases", *measures.values()])
    for label, _ in table.headed(labels):
        for way, entry in ways.items():
            own = entry["labels"][label]
            table.add(WAYS[way], own.get("n", ""), *cells(table, own, measures))
    if labels:
        table.heading("mean over labels")
        for way, entry in ways.items():
            table.add(WAYS[way], "", *cells(table, entry["macro"], measures))
    return table


def _varying(ways, labels):
    """How many visits and subjects have both ratings of a label."""
    columns = {"per_visit": "visits", "per_subject": "subjects"}
    columns = {way: name for way, name in columns.items() if way in ways}
    names = [f"{name} with both" for name in columns.values()]
    table = Table("Labels that vary within a visit or subject", ["label", *names])
    for label in labels:
        shares = (
            f"{ways[way]['n_varying'][label]:,} of {ways[way]['n_cases']:,}"
            for way in columns
        )
        table.add(label, *map(Cell, shares))
    return table


def persons(evidence):
    """Decisions about people, by what is made of their recordings."""
    metrics = evidence.metrics
    rules = metrics["per_subject"].get("rules") or {}
    labels = next(iter(rules.values()), {}).get("labels") or {}
    if metrics["n_recordings"] == metrics["n_subjects"] or not any(
        rules[rule]["labels"][label][name]["value"] is not None
        for rule in rules
        for label in labels
        for name in PERSON_MEASURES
    ):
        return None
    names = [name for name in PERSON_MEASURES if name != "balanced_accuracy"]
    columns = [name.upper() if name in ("ppv", "npv") else name for name in names]
    table = Table("Decisions about people", ["by", *columns, "undecided"])
    for label, _ in table.headed(labels):
        for rule, entry in rules.items():
            own = entry["labels"][label]
            n = f"{own['n_undecided']:,} of {own['n_subjects']:,}"
            table.add(RULES[rule], *(table.entry(own[k]) for k in names), n)
    return table


def spread_over_folds(metrics):
    """The lowest and the highest mean AUROC of a fold, in words; None without folds."""
    folds = metrics.get("folds") or ()
    known = [f["macro_auroc"] for f in folds if f["macro_auroc"] is not None]
    if not known:
        return None
    ends = min(known), max(known)
    return f"{DASH}".join(map(number, ends))


def in_range(evidence):
    """What leaving out recordings that are unlike those of the training does."""
    selective = evidence.metrics.get("selective", {})
    if not selective.get("n"):
        return None
    n, n_out = selective["n"], selective["n_out_of_range"]
    said = (
        f"{n_out:,} of {counted(n, 'recording')} ({percent(round(n_out / n, 3))}) "
        "are out of the range of the training recordings."
    )
    shares = ("accuracy", "sensitivity", "specificity", "mae")
    columns = ["recordings", "of them in range", "of all", "of those in range"]
    table = Table("With and without recordings out of range", ["", *columns])
    for _, entry in table.headed(selective["labels"]):
        for name in (share for share in shares if share in entry):
            both = (table.number(entry[name][k], NOT_DECIDED) for k in ENDS)
            table.add(name, entry["n"], entry["n_in_range"], *both)
    return [said, table]
