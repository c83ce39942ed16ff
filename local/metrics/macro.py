"""Means over labels: of the labels whose every measure could be computed."""

from local.metrics.estimate import measure, nothing
from local.metrics.label_cases import DECISION_MEASURES, NONE
from local.metrics.linearised import mean_over_labels
from local.metrics.measures import PROBABILITY_MEASURES, SCORE_MEASURES


def macro_metrics(labels, estimates, weighted=False):
    """Means over the labels whose every measure could be computed.

    labels : dict of str to LabelCases; estimates : dict of str to dict of Linearised
    """
    binary = {name: label for name, label in labels.items() if not label.is_score}
    kept, left_out = _separate(binary, estimates, "auroc")
    if kept:
        macro = _means(PROBABILITY_MEASURES, kept, estimates)
        macro |= _decisions(kept, estimates)
    else:
        reason = "no label has both classes"
        if labels and not binary:
            reason = "no label has two classes: all are scores"
        macro = nothing((*PROBABILITY_MEASURES, *DECISION_MEASURES), reason)
    macro |= {"n_labels": len(kept), "left_out": left_out}
    scores = {name: label for name, label in labels.items() if label.is_score}
    return macro | (_scores(scores, estimates) if scores else {})


def _means(names, kept, estimates):
    return {
        name: mean_over_labels({k: estimates[k][name] for k in kept}).interval()
        for name in names
    }


def _separate(labels, estimates, needed):
    """Labels that have a measure, and the reasons why the others don't."""
    missing = {
        name: estimates[name][needed].reason
        for name in labels
        if estimates[name][needed].value is None
    }
    return {
        name: label for name, label in labels.items() if name not in missing
    }, missing


def _decisions(kept, estimates):
    """Means of decisions, if they are made for all labels that are kept."""
    without = [name for name, label in kept.items() if label.decided_on is None]
    if without:
        return nothing(DECISION_MEASURES, f"{NONE}none for {', '.join(without)}")
    return _means(DECISION_MEASURES, kept, estimates)


def _scores(labels, estimates):
    """Means over the scores that have all measures."""
    # Where there is no Pearson correlation the others may be: it needs the most.
    kept, left_out = _separate(labels, estimates, "pearson")
    macro = nothing(SCORE_MEASURES, "no score has all measures")
    if kept:
        # a mean of kappas only where all are on ordinal scales
        names = [
            name
            for name in estimates[next(iter(kept))]
            if all(name in estimates[label] for label in kept)
        ]
        macro = _means(names, kept, estimates)
    ranges = {label.type and label.type.range for label in kept.values()}
    if len(kept) > 1 and None in ranges:
        macro["mae"] = measure(None, reason="the ranges of the scores are not known")
    elif len(ranges) > 1:
        macro["mae"] = measure(None, reason="the scores have different ranges")
    return macro | {"n_scores": len(kept), "scores_left_out": left_out}
