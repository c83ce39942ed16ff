"""Means over labels: of the labels whose every measure could be computed."""

from local.metrics.estimate import measure, nothing
from local.metrics.intervals import macro_intervals
from local.metrics.label_cases import DECISION_MEASURES, NONE, treat_all
from local.metrics.measures import PROBABILITY_MEASURES, SCORE_MEASURES


def macro_metrics(labels, result, seed, weighted=False):
    """Means over the labels whose every measure could be computed.

    labels : dict of str to LabelCases; found : dict of str to dict, their entries
    """
    binary = {name: entry for name, entry in labels.items() if not entry.is_score}
    kept, left_out = _separate(binary, result, "auroc")
    if kept:
        asked = {name: entry.question(weighted) for name, entry in kept.items()}
        macro = macro_intervals(asked, seed) | _decisions(kept, seed, weighted)
        macro = _no_surer_than_labels(macro, kept, result)
    else:
        reason = "no label has both classes"
        if labels and not binary:
            reason = "no label has two classes: all are scores"
        macro = nothing((*PROBABILITY_MEASURES, *DECISION_MEASURES), reason)
    asked = [(entry, weighted) for entry in kept.values()]
    macro |= treat_all(asked, macro["net_benefit"])
    macro |= {"n_labels": len(kept), "left_out": left_out}
    scores = {name: entry for name, entry in labels.items() if entry.is_score}
    return macro | (_scores(scores, result, seed, weighted) if scores else {})


def _no_surer_than_labels(macro, kept, result):
    """Means over labels without bounds have none; that of a single label is its own."""
    if len(kept) == 1:
        (only,) = kept
        return {name: result[only].get(name, entry) for name, entry in macro.items()}
    few = [name for name in kept if result[name]["auroc"]["low"] is None]
    if not few:
        return macro
    reason = f"{few[0]}: {result[few[0]]['auroc']['reason']}"
    return {
        name: entry if entry["low"] is None else measure(entry["value"], reason=reason)
        for name, entry in macro.items()
    }


def _separate(labels, result, needed):
    """Labels that have a measure, and the reasons why the others don't."""
    missing = {
        name: result[name][needed]["reason"]
        for name in labels
        if result[name][needed]["value"] is None
    }
    return {
        name: entry for name, entry in labels.items() if name not in missing
    }, missing


def _decisions(kept, seed, weighted):
    """Means of decisions, if they are made for all labels that are kept."""
    without = [name for name, entry in kept.items() if entry.decided_on is None]
    if without:
        return nothing(DECISION_MEASURES, f"{NONE}none for {', '.join(without)}")
    asked = {name: entry.decision_question(weighted) for name, entry in kept.items()}
    macro = macro_intervals(asked, seed)
    own = [name for name, entry in kept.items() if entry.threshold["value"] is None]
    if own:
        macro |= nothing(["net_benefit"], f"{NONE}none for {', '.join(own)}")
    return macro


def _scores(labels, result, seed, weighted):
    """Means over the scores that have all measures."""
    # Where there is no Pearson correlation the others may be: it needs the most.
    kept, left_out = _separate(labels, result, "pearson")
    macro = nothing(SCORE_MEASURES, "no score has all measures")
    if kept:
        asked = {name: entry.question(weighted) for name, entry in kept.items()}
        # a mean of kappas only where all are on ordinal scales
        common = set.intersection(*(set(each["functions"]) for each in asked.values()))
        for each in asked.values():
            functions = each["functions"].items()
            each["functions"] = {k: entry for k, entry in functions if k in common}
        macro = macro_intervals(asked, seed)
    ranges = {entry.type and entry.type.range for entry in kept.values()}
    if len(kept) > 1 and None in ranges:
        macro["mae"] = measure(None, reason="the ranges of the scores are not known")
    elif len(ranges) > 1:
        macro["mae"] = measure(None, reason="the scores have different ranges")
    return macro | {"n_scores": len(kept), "scores_left_out": left_out}
