"""What a report says of the results: by label, beside baselines, by who counts."""

from local.metrics.split_metrics import SMALL_SAMPLE, few_subjects
from local.metrics.thresholds import FIXED
from local.report.tables import Cell, Table, word
from local.utils.number_format import listed, number, three_digits

#: Columns of the tables, by the names of metrics.json.
RANKING = {"auroc": "AUROC", "auprc": "average precision"}
LOSSES = {
    "log_loss": "log loss",
    "log_loss_skill": "its skill",
    "brier": "Brier score",
    "brier_skill": "its skill",
}
CALIBRATION = {
    "calibration_intercept": "calibration intercept",
    "calibration_slope": "calibration slope",
}
ECE = "calibration error (ECE)"
DECISIONS = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
}
SCORES = {
    "mae": "mean absolute error",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "icc": "ICC(A,1)",
    "quadratic_kappa": "quadratic kappa",
}
BASELINE_MEASURES = RANKING | {"log_loss": "log loss", "brier": "Brier score"}
COUNTED_MEASURES = BASELINE_MEASURES | {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}

NOT_ORDINAL = "not all of it is on an ordinal scale"


def binary_labels(labels):
    """Those of metrics.json that are 0 or 1, {label: its measures}."""
    return {label: entry for label, entry in labels.items() if "mae" not in entry}


def score_labels(labels):
    """Those of metrics.json that are scores, {label: its measures}."""
    return {label: entry for label, entry in labels.items() if "mae" in entry}


def form_of(name):
    """How numbers of a measure are written: errors of a scale have its units."""
    return three_digits if name == "mae" else number


def headline(evidence):
    """What the labels that are 0 or 1 come to; None where there are none."""
    metrics = evidence.metrics
    labels = binary_labels(metrics["labels"])
    if not labels:
        return None
    return {
        "ranking": _ranking(labels, metrics["macro"]),
        "probabilities": _probabilities(labels, metrics["macro"]),
        "small": _small(labels),
        "small_means": SMALL_SAMPLE,
        "heads": [
            entry
            for entry in metrics["heads"]
            if entry["top1_accuracy"]["value"] is not None
        ],
    }


def decisions(evidence):
    """Thresholds, and what they come to; None where no label is 0 or 1."""
    metrics = evidence.metrics
    labels = binary_labels(metrics["labels"])
    if not labels:
        return None
    return {
        "thresholds": _thresholds(labels),
        "decisions": _decisions(labels, metrics["macro"]),
    }


def _small(labels):
    """The labels of few people, by how few: {"only …": "label and label"}."""
    groups = {}
    for label, measures in labels.items():
        if "small_sample" in measures:
            counts = ("n_subjects", "n_positive_subjects", "n_negative_subjects")
            few = few_subjects(*map(measures.get, counts))
            groups.setdefault(f"only {few}", []).append(label)
    return {few: listed(names) for few, names in groups.items()}


def _mean_name(macro, labels):
    return f"mean of {macro['n_labels']} of {len(labels)} labels"


def _ranking(labels, macro):
    # the results first: on a phone the others are beyond the edge
    columns = [*RANKING.values(), "prevalence", "recordings", "of them positive"]
    columns += ["subjects", "with a positive"]
    table = Table("How well the model ranks recordings", ["label", *columns])
    for label, item in labels.items():
        counts = [
            item[n] for n in ("n", "n_positive", "n_subjects", "n_positive_subjects")
        ]
        measures = [table.entry(item[name]) for name in RANKING]
        prevalence = table.number(item["prevalence"], "no recording is rated")
        table.add(label, *measures, prevalence, *counts)
    measures = [table.entry(macro[name]) for name in RANKING]
    table.add(_mean_name(macro, labels), *measures, *[""] * 5)
    return table


def _probabilities(labels, macro):
    columns = ["label", *LOSSES.values(), *CALIBRATION.values(), ECE]
    table = Table("How good the probabilities are", columns)
    for label, item in labels.items():
        losses = [table.entry(item[name]) for name in LOSSES]
        calibration = [table.entry(item[name]) for name in CALIBRATION]
        error = table.number(item["ece"], item.get("ece_reason"))
        table.add(label, *losses, *calibration, error)
    losses = [table.entry(macro[name]) for name in LOSSES]
    table.add(_mean_name(macro, labels), *losses, *[""] * (len(CALIBRATION) + 1))
    return table


def rule_in_words(rule):
    """A rule of a threshold as a reader knows it.

    >>> rule_in_words("youden"), rule_in_words({"sensitivity": 0.9})
    ('largest sensitivity + specificity (Youden)', 'sensitivity of at least 0.9')
    """
    if isinstance(rule, dict):
        return f"sensitivity of at least {rule['sensitivity']:g}"
    known = {"youden": "largest sensitivity + specificity (Youden)"}
    known |= {FIXED: "fixed in advance"}
    return known.get(rule, str(rule))


def _thresholds(labels):
    columns = ["label", "threshold", "rule", "chosen on", "positive subjects there"]
    table = Table("The thresholds and where they are from", columns)
    for label, entry in labels.items():
        threshold = entry["threshold"]
        value = table.number(threshold["value"], threshold.get("reason"))
        n = threshold["n_positive_subjects"]
        table.add(
            label,
            value,
            _rule(table, threshold),
            word(threshold["source"] or "nothing"),
            table.number(n, "not known", "{:,}".format),
        )
    return table


def _rule(table, threshold):
    if threshold["rule"] is None:
        return table.number(None, threshold["reason"])
    return word(rule_in_words(threshold["rule"]))


def _decisions(labels, macro):
    table = Table("Decisions at the threshold", ["label", *DECISIONS.values()])
    for label, item in (*labels.items(), (_mean_name(macro, labels), macro)):
        table.add(label, *(table.entry(item[name]) for name in DECISIONS))
    return table


def baselines(evidence):
    """The model beside plain baselines; None where there are none."""
    metrics = evidence.metrics
    labels, result = binary_labels(metrics["labels"]), metrics.get("baselines", {})
    if not result or not labels:
        return None
    table = Table("The model beside baselines", ["", *BASELINE_MEASURES.values()])
    for label, item in labels.items():
        table.heading(label)
        table.add(
            "this model", *(table.entry(item[name]) for name in BASELINE_MEASURES)
        )
        for name, baseline in result.items():
            own = baseline["labels"].get(label, {"reason": "not computed"})
            nothing = {"value": None, "reason": own.get("reason")}
            cells = [table.entry(own.get(key, nothing)) for key in BASELINE_MEASURES]
            table.add(name, *cells)
    described = {name: item["description"] for name, item in result.items()}
    return {"table": table, "described": described}


#: What weighs the same in each part of metrics.json, in the order of a table.
WAYS = {
    None: "each recording",
    "subject_weighted": "each subject, by its recordings",
    "per_visit": "each visit, as one case",
    "per_subject": "each subject, as one case",
}


def counting(evidence):
    """The same results with each recording, visit or subject weighing the same."""
    metrics = evidence.metrics
    ways = {key: metrics if key is None else metrics.get(key) for key in WAYS}
    ways = {key: entry for key, entry in ways.items() if entry}
    binary, numbers = (
        entry(metrics["labels"]) for entry in (binary_labels, score_labels)
    )
    tables = []
    if binary:
        caption = "Results, counted in several ways"
        tables.append(_counting_table(caption, ways, binary, COUNTED_MEASURES))
    if numbers:
        caption = "Results of scores, counted in several ways"
        tables.append(_counting_table(caption, ways, numbers, _score_columns(numbers)))
    return {
        "tables": tables,
        "varying": _varying(ways, binary) if binary else None,
        "has_visits": "per_visit" in ways,
    }


def _counting_table(caption, ways, labels, measures):
    table = Table(caption, ["what weighs the same", "cases", *measures.values()])
    for label in labels:
        table.heading(label)
        for way, entry in ways.items():
            own = entry["labels"][label]
            table.add(WAYS[way], own.get("n", ""), *_cells(table, own, measures))
    table.heading("mean over labels")
    for way, entry in ways.items():
        table.add(WAYS[way], "", *_cells(table, entry["macro"], measures))
    return table


def _cells(table, own, measures):
    """The cells of some measures; only a kappa may not be there."""
    nothing = {"value": None, "reason": NOT_ORDINAL}
    return [table.entry(own.get(name, nothing), form_of(name)) for name in measures]


def _varying(ways, labels):
    """How many visits and subjects have both ratings of a label."""
    columns = {"per_visit": "visits", "per_subject": "subjects"}
    columns = {way: name for way, name in columns.items() if way in ways}
    names = [f"{name} with both" for name in columns.values()]
    table = Table("Labels that vary within a visit or subject", ["label", *names])
    for label in labels:
        of_ways = [ways[way] for way in columns]
        table.add(
            label,
            *(
                Cell(f"{entry['n_varying'][label]:,} of {entry['n_cases']:,}")
                for entry in of_ways
            ),
        )
    return table


def _score_columns(labels):
    """The measures of scores that any of these labels has."""
    return {
        k: name for k, name in SCORES.items() if any(k in labels[n] for n in labels)
    }


def scores(evidence):
    """The table of the labels that are scores; None where there are none."""
    metrics = evidence.metrics
    labels, macro = score_labels(metrics["labels"]), metrics["macro"]
    if not labels:
        return None
    measures = _score_columns(labels)
    columns = ["score", "recordings", "subjects", *measures.values()]
    table = Table("Predicted against rated scores", columns)
    for label, entry in labels.items():
        table.add(
            label, entry["n"], entry["n_subjects"], *_cells(table, entry, measures)
        )
    name = f"mean of {macro['n_scores']} of {len(labels)} scores"
    table.add(name, "", "", *_cells(table, macro, measures))
    said = bool(binary_labels(metrics["labels"]))  # in the section on these
    means = None if said else SMALL_SAMPLE
    return {"table": table, "small": _small(labels), "small_means": means}
