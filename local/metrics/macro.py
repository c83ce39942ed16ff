"""Means over labels: of the labels whose every measure could be computed."""

from local.metrics.estimate import measure, nothing
from local.metrics.intervals import macro_intervals
from local.metrics.label_cases import DECISION_MEASURES, NONE
from local.metrics.measures import PROBABILITY_MEASURES, SCORE_MEASURES


def macro_metrics(labels, metrics, seed, weighted=False):
    """Means over the labels whose every measure could be computed.

    labels : dict of str to LabelCases; metrics : dict of str to dict, theirs
    """
    binary = {name: label for name, label in labels.items() if not label.is_score}
    kept, left_out = _separate(binary, metrics, "auroc")
    if kept:
        asked = {name: label.question(weighted) for name, label in kept.items()}
        macro = macro_intervals(asked, seed) | _decisions(kept, seed, weighted)
        macro = _no_surer_than_labels(macro, kept, metrics)
    else:
        reason = "no label has both classes"
        if labels and not binary:
            reason = "no label has two classes: all are scores"
        macro = nothing((*PROBABILITY_MEASURES, *DECISION_MEASURES), reason)
    macro |= {"n_labels": len(kept), "left_out": left_out}
    scores = {name: label for name, label in labels.items() if label.is_score}
    return macro | (_scores(scores, metrics, seed, weighted) if scores else {})


def _no_surer_than_labels(macro, kept, metrics):
    """Means over labels without bounds have none; that of a single label is its own."""
    if len(kept) == 1:
        (only,) = kept
        return {name: metrics[only].get(name, mean) for name, mean in macro.items()}
    few = [name for name in kept if metrics[name]["auroc"]["low"] is None]
    if not few:
        return macro
    reason = f"{few[0]}: {metrics[few[0]]['auroc']['reason']}"
    return {
        name: mean if mean["low"] is None else measure(mean["value"], reason=reason)
        for name, mean in macro.items()
    }


def _separate(labels, metrics, needed):
    """Labels that have a measure, and the reasons why the others don't."""
    missing = {
        name: metrics[name][needed]["reason"]
        for name in labels
        if metrics[name][needed]["value"] is None
    }
    return {
        name: label for name, label in labels.items() if name not in missing
    }, missing


def _decisions(kept, seed, weighted):
    """Means of decisions, if they are made for all labels that are kept."""
    without = [name for name, label in kept.items() if label.decided_on is None]
    if without:
        return nothing(DECISION_MEASURES, f"{NONE}none for {', '.join(without)}")
    asked = {name: label.decision_question(weighted) for name, label in kept.items()}
    return macro_intervals(asked, seed)


def _scores(labels, metrics, seed, weighted):
    """Means over the scores that have all measures."""
    # Where there is no Pearson correlation the others may be: it needs the most.
    kept, left_out = _separate(labels, metrics, "pearson")
    macro = nothing(SCORE_MEASURES, "no score has all measures")
    if kept:
        asked = {name: label.question(weighted) for name, label in kept.items()}
        # a mean of kappas only where all are on ordinal scales
        common = set.intersection(*(set(each["functions"]) for each in asked.values()))
        for each in asked.values():
            functions = each["functions"].items()
            each["functions"] = {
                k: function for k, function in functions if k in common
            }
        macro = macro_intervals(asked, seed)
    ranges = {label.type and label.type.range for label in kept.values()}
    if len(kept) > 1 and None in ranges:
        macro["mae"] = measure(None, reason="the ranges of the scores are not known")
    elif len(ranges) > 1:
        macro["mae"] = measure(None, reason="the scores have different ranges")
    return macro | {"n_scores": len(kept), "scores_left_out": left_out}
