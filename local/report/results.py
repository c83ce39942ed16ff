"""What a report says of the results, as tables: by label, at thresholds, beside others.

Each function takes the result of an evaluation and returns a table, which has no rows
where there is nothing to show.
"""

from local.metrics.split_metrics import SMALL_SAMPLE, few_subjects
from local.metrics.thresholds import FIXED
from local.report.tables import Cell, Table, percent, signed, word
from local.utils.number_format import (
    DASH,
    counted,
    interval,
    listed,
    number,
    p_value,
    three_digits,
)

#: Columns of the tables, by the names of metrics.json.
RANKING = {"auroc": "AUROC", "auprc": "average precision"}
LOSSES = {
    "log_loss": "log loss",
    "log_loss_skill": "its skill",
    "brier": "Brier score",
    "brier_skill": "its skill",
}
CALIBRATION = {
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
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
SHARES = ("sensitivity", "specificity")
BASELINE_MEASURES = RANKING | {"log_loss": "log loss", "brier": "Brier score"}

#: How a model stands beside another one, by `comparison.verdict`.
VERDICTS = {
    "above": "better",
    "about the same": "about the same",
    "not distinguishable": "can't be told",
    "below": "worse",
    "far below": "far worse",
    "not computable": "not computable",
}

FLAGGED = "the confound audit flags this label: it can be told without the speech"
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


def cells(table, own, measures):
    """The cells of some measures; only a kappa may not be there."""
    nothing = {"value": None, "reason": NOT_ORDINAL}
    return [table.entry(own.get(name, nothing), form_of(name)) for name in measures]


def small_in_words(evidence):
    """A sentence on the labels of few people, by how few, and what that means."""
    groups = {}
    for label, measures in evidence.metrics["labels"].items():
        if "small_sample" in measures:
            counts = ("n_subjects", "n_positive_subjects", "n_negative_subjects")
            few = few_subjects(*map(measures.get, counts))
            groups.setdefault(f"only {few}", []).append(label)
    if not groups:
        return None
    said = "; ".join(f"{listed(labels)}: {few}" for few, labels in groups.items())
    return f"Small samples: {said}. {SMALL_SAMPLE}"


def _mean_name(macro, labels):
    return f"mean of {macro['n_labels']} of {len(labels)} labels"


def _binary(evidence):
    """The labels that are 0 or 1, and the means over them."""
    return binary_labels(evidence.metrics["labels"]), evidence.metrics["macro"]


def headline(evidence):
    """What a reader wants first, as narrow as a phone."""
    labels, macro = _binary(evidence)
    table = Table("By label", ["label", "AUROC", "sens.", "spec.", "people with it"])
    audited = evidence.audit["labels"]
    for label, entry in labels.items():
        auroc = table.entry(entry["auroc"])
        if audited.get(label, {}).get("status") == "flagged":
            auroc = Cell(auroc.text, auroc.detail, table.mark(FLAGGED), "flagged")
        people = f"{entry['n_positive_subjects']:,} of {entry['n_subjects']:,}"
        decided = [table.value(entry[name]) for name in SHARES]
        table.add(label, auroc, *decided, people)
    if len(labels) > 1:
        decided = [table.value(macro[name]) for name in SHARES]
        table.add(_mean_name(macro, labels), table.entry(macro["auroc"]), *decided, "")
    return table


def ranking(evidence):
    """AUROC and average precision, and of how many recordings."""
    labels, macro = _binary(evidence)
    columns = [*RANKING.values(), "prevalence", "recordings", "of them positive"]
    columns += ["subjects", "with a positive"]
    table = Table("How well the model ranks recordings", ["label", *columns])
    for label, item in labels.items():
        names = "n", "n_positive", "n_subjects", "n_positive_subjects"
        prevalence = table.number(item["prevalence"], "no recording is rated")
        counts = [item[name] for name in names]
        table.add(label, *cells(table, item, RANKING), prevalence, *counts)
    if labels:
        table.add(_mean_name(macro, labels), *cells(table, macro, RANKING), *[""] * 5)
    return table


def top1(evidence):
    """A sentence on the heads whose labels exclude each other."""
    said = [
        f"Of the labels {listed(head['labels'])} exactly one is positive: the most "
        f"probable one is right in {number(head['top1_accuracy']['value'])} of "
        f"{counted(head['n'], 'recording')}."
        for head in evidence.metrics["heads"]
        if head["top1_accuracy"]["value"] is not None
    ]
    return " ".join(said) or None


def probabilities(evidence):
    """Losses and calibration."""
    labels, macro = _binary(evidence)
    columns = ["label", *CALIBRATION.values(), *LOSSES.values(), ECE]
    table = Table("How good the probabilities are", columns)
    for label, item in labels.items():
        measured = cells(table, item, CALIBRATION | LOSSES)
        table.add(label, *measured, table.number(item["ece"], item.get("ece_reason")))
    if labels:
        losses = cells(table, macro, LOSSES)
        table.add(_mean_name(macro, labels), *[""] * len(CALIBRATION), *losses, "")
    return table


def recalibrated(evidence):
    """What recalibration on the subjects of another split would reach."""
    labels = {
        label: entry["recalibrated"]
        for label, entry in evidence.metrics["labels"].items()
        if "recalibrated" in entry
    }
    columns = ["slope", "intercept", "Brier score", "log loss"]
    table = Table("If the probabilities were recalibrated here", ["", *columns])
    ways = {"in_the_large": "intercept only", "slope_and_intercept": "both"}
    names = "slope", "intercept", "brier", "log_loss"
    for label, entry in table.headed(labels):
        own = evidence.metrics["labels"][label]
        untouched = (table.value(own[name]) for name in ("brier", "log_loss"))
        table.add("as it is", number(1), number(0), *untouched)
        for way, name in ways.items():
            fit = {"slope": 1.0} | entry[way]
            values = [table.number(fit[key], fit.get("reason")) for key in names]
            table.add(name, *values)
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


def thresholds(evidence):
    """Thresholds, where they are from, and how far other choosers would move them."""
    labels, _ = _binary(evidence)
    columns = ["threshold", "rule", "chosen on", "positive subjects there"]
    columns += [f"{name} if chosen again" for name in SHARES]
    if of_folds := any("folds" in entry["threshold"] for entry in labels.values()):
        columns = ["lowest to highest fold", *columns[1:3]]
    table = Table("Where the thresholds are from", ["label", *columns])
    for label, entry in labels.items():
        chosen = entry["threshold"]
        rule = chosen["rule"]
        cells = [
            _threshold(table, chosen),
            word(rule_in_words(rule) if rule else DASH),
            word(chosen["source"] or "nothing"),
        ]
        if not of_folds:
            n = chosen["n_positive_subjects"]
            cells.append(table.number(n, "not known", "{:,}".format))
            bounds = (entry.get(f"{name}_if_chosen_again") for name in SHARES)
            cells += (_bounds(table, each) for each in bounds)
        table.add(label, *cells)
    return table


def _threshold(table, chosen):
    """A threshold with its interval, or those of folds from the lowest on."""
    folds = [fold["value"] for fold in chosen.get("folds", ())]
    if known := [value for value in folds if value is not None]:
        return Cell(interval(min(known), max(known)).strip("()"))
    return table.entry(chosen) if "low" in chosen else table.value(chosen)


def _bounds(table, entry):
    """Two bounds without a value between them."""
    if entry is None or entry["low"] is None:
        return table.number(None, (entry or {}).get("reason"))
    return Cell(interval(entry["low"], entry["high"]).strip("()"))


def decisions(evidence):
    """What the decisions at the thresholds come to."""
    labels, macro = _binary(evidence)
    table = Table("Decisions at the threshold", ["label", *DECISIONS.values()])
    rows = labels | ({_mean_name(macro, labels): macro} if labels else {})
    for label, item in rows.items():
        table.add(label, *cells(table, item, DECISIONS))
    return table


def at_prevalences(evidence):
    """PPV and NPV where a label is as frequent as the reader says."""
    entries = {k: e.get("at_prevalences") for k, e in _binary(evidence)[0].items()}
    entries = {
        label: entry
        for label, entry in entries.items()
        if entry and any(each["ppv"]["value"] is not None for each in entry)
    }
    caption = "PPV and NPV, if so many recordings had the label"
    table = Table(caption, ["share with the label", "PPV", "NPV"])
    for _, entry in table.headed(entries):
        for each in entry:
            pair = (table.entry(each[name]) for name in ("ppv", "npv"))
            table.add(percent(each["prevalence"]), *pair)
    return table


def decision_curve(evidence):
    """Net benefits at thresholds that were named in advance."""
    curves = {k: e.get("decision_curve") for k, e in _binary(evidence)[0].items()}
    columns = ["model", "model less everybody", "everybody positive"]
    table = Table("Net benefit", ["threshold", *columns])
    for _, curve in table.headed({k: curve for k, curve in curves.items() if curve}):
        for entry in curve:
            table.add(
                percent(entry["threshold"]),
                table.entry(entry["net_benefit"]),
                table.entry(entry["difference_to_treat_all"]),
                number(entry["treat_all"]),
            )
    return table


def baselines(evidence):
    """The model beside plain baselines, and how far above them it is."""
    labels, _ = _binary(evidence)
    result = evidence.metrics.get("baselines", {})
    if not result:
        return None
    first, *others = BASELINE_MEASURES
    columns = [BASELINE_MEASURES[first], "this model's is", "p (Holm)"]
    columns += [BASELINE_MEASURES[name] for name in others]
    table = Table("The model beside baselines", ["", *columns])
    for label, item in table.headed(labels):
        auroc, *rest = cells(table, item, BASELINE_MEASURES)
        table.add("this model", auroc, word(""), "", *rest)
        for name, baseline in result.items():
            other = baseline["labels"].get(label, {"reason": "not computed"})
            nothing = {"value": None, "reason": other.get("reason")}
            auroc, *rest = (
                table.entry(other.get(k, nothing)) for k in BASELINE_MEASURES
            )
            table.add(name, auroc, *_difference(other), *rest)
    return table


def _difference(entry):
    """How far the model is above a baseline, and p."""
    gap = entry.get("difference")
    if gap is None:
        return word(""), ""
    p = gap.get("p_holm")
    said = Cell(VERDICTS[entry["verdict"]], signed(gap), kind="word")
    return said, "" if p is None else p_value(p)


def described_baselines(evidence):
    """What each baseline is, in a sentence."""
    result = evidence.metrics.get("baselines", {})
    if not result:
        return None
    said = "; ".join(f"{name}: {e['description']}" for name, e in result.items())
    return f"Baselines, from the same training recordings: {said}."


def score_columns(labels):
    """The measures of scores that any of these labels has."""
    return {
        k: name for k, name in SCORES.items() if any(k in labels[n] for n in labels)
    }


def scores(evidence):
    """The labels that are scores, first what a phone has room for."""
    labels, macro = score_labels(evidence.metrics["labels"]), evidence.metrics["macro"]
    measures = score_columns(labels)
    columns = ["score", *measures.values(), "recordings", "subjects"]
    table = Table("Predicted against rated scores", columns)
    for label, entry in labels.items():
        counts = entry["n"], entry["n_subjects"]
        table.add(label, *cells(table, entry, measures), *counts)
    if labels:
        name = f"mean of {macro['n_scores']} of {len(labels)} scores"
        table.add(name, *cells(table, macro, measures), "", "")
    return table
