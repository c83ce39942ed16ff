"""Means over labels: of the labels whose every measure could be computed."""

from local.metrics.estimate import measure, nothing
from local.metrics.intervals import macro_intervals
from local.metrics.label_cases import DECISION_MEASURES, NONE, treat_all
from local.metrics.measures import PROBABILITY_MEASURES, SCORE_MEASURES


def macro_metrics(labels, found, seed, weighted=False):
    """Means over the labels whose every measure could be computed.

    labels : dict of str to LabelCases; found : dict of str to dict, their entries
    """
    binary = {name: of for name, of in labels.items() if not of.is_score}
    kept, left_out = _separate(binary, found, "auroc")
    if kept:
        asked = {name: of.question(weighted) for name, of in kept.items()}
        macro = macro_intervals(asked, seed) | _decisions(kept, seed, weighted)
        macro = _no_surer_than_labels(macro, kept, found)
    else:
        reason = "no label has both classes"
        if labels and not binary:
            reason = "no label has two classes: all are scores"
        macro = nothing((*PROBABILITY_MEASURES, *DECISION_MEASURES), reason)
    asked = [(of, weighted) for of in kept.values()]
    macro |= treat_all(asked, macro["net_benefit"])
    macro |= {"n_labels": len(kept), "left_out": left_out}
    scores = {name: of for name, of in labels.items() if of.is_score}
    return macro | (_scores(scores, found, seed, weighted) if scores else {})


def _no_surer_than_labels(macro, kept, found):
    """Means over labels without bounds have none; that of a single label is its own."""
    if len(kept) == 1:
        (only,) = kept
        return {name: found[only].get(name, entry) for name, entry in macro.items()}
    few = [name for name in kept if found[name]["auroc"]["low"] is None]
    if not few:
        return macro
    reason = f"{few[0]}: {found[few[0]]['auroc']['reason']}"
    return {
        name: entry if entry["low"] is None else measure(entry["value"], reason=reason)
        for name, entry in macro.items()
    }


def _separate(labels, found, needed):
    """Labels that have a measure, and the reasons why the others don't."""
    missing = {
        name: found[name][needed]["reason"]
        for name in labels
        if found[name][needed]["value"] is None
    }
    return {name: of for name, of in labels.items() if name not in missing}, missing


def _decisions(kept, seed, weighted):
    """Means of decisions, if they are made for all labels that are kept."""
    without = [name for name, of in kept.items() if of.decided_on is None]
    if without:
        return nothing(DECISION_MEASURES, f"{NONE}none for {', '.join(without)}")
    asked = {name: of.decision_question(weighted) for name, of in kept.items()}
    macro = macro_intervals(asked, seed)
    own = [name for name, of in kept.items() if of.threshold["value"] is None]
    if own:
        macro |= nothing(["net_benefit"], f"{NONE}none for {', '.join(own)}")
    return macro


def _scores(labels, found, seed, weighted):
    """Means over the scores that have all measures."""
    # Where there is no Pearson correlation the others may be: it needs the most.
    kept, left_out = _separate(labels, found, "pearson")
    macro = nothing(SCORE_MEASURES, "no score has all measures")
    if kept:
        asked = {name: of.question(weighted) for name, of in kept.items()}
        # a mean of kappas only where all are on ordinal scales
        common = set.intersection(*(set(each["functions"]) for each in asked.values()))
        for each in asked.values():
            functions = each["functions"].items()
            each["functions"] = {k: of for k, of in functions if k in common}
        macro = macro_intervals(asked, seed)
    ranges = {of.type and of.type.range for of in kept.values()}
    if len(kept) > 1 and None in ranges:
        macro["mae"] = measure(None, reason="the ranges of the scores are not known")
    elif len(ranges) > 1:
        macro["mae"] = measure(None, reason="the scores have different ranges")
    return macro | {"n_scores": len(kept), "scores_left_out": left_out}
