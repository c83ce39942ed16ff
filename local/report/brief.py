"""The box at the top of a report: the main result, and what to be careful about."""

from local.evaluation.baselines import ACOUSTIC
from local.evaluation.flags import leak_notes, seen_note
from local.metrics.comparison import WORSE, against_guessing
from local.report.results import binary_labels, score_labels
from local.utils.number_format import counted, interval, listed, number


def brief(evidence):
    """Sentences of three kinds: results, what is shown in red, and warnings."""
    return {
        "results": _results(evidence.metrics),
        "flags": _flags(evidence),
        "warnings": _warnings(evidence),
    }


def _results(metrics):
    """Sentences on the means over labels."""
    macro, sentences = metrics["macro"], []
    binary, scores = (item(metrics["labels"]) for item in (binary_labels, score_labels))
    if binary:
        name = f"Mean AUROC over {macro['n_labels']} of {len(binary)} labels"
        sentences.append(_auroc(name, macro["auroc"]))
    if scores:
        entry = macro["spearman"]
        name = f"Mean rank correlation over {macro['n_scores']} of {len(scores)} scores"
        sentences.append(
            f"{name}: {_spoken(entry)}. At 1 predictions and ratings are in the same "
            "order, at 0 they have nothing in common."
        )
    left_out = macro.get("left_out", {}) | macro.get("scores_left_out", {})
    return sentences + [
        f"{label} is not in the mean: {reason}." for label, reason in left_out.items()
    ]


def _auroc(name, entry):
    sentence = f"{name}: {_spoken(entry)}."
    if entry["value"] is None:
        return sentence
    return sentence + (
        " Of two recordings, one with the feature and one without, the one with it "
        f"gets the higher probability in {100 * entry['value']:.0f} of 100 cases; by "
        "guessing it would in 50."
    )


def _spoken(entry):
    """A value and its interval in a sentence."""
    if entry["value"] is None:
        return f"not computable, {entry['reason']}"
    if None in (entry["low"], entry["high"]):
        return f"{number(entry['value'])} (no interval: {entry['reason']})"
    bounds = interval(entry["low"], entry["high"]).strip("()")
    return f"{number(entry['value'])} (95 % interval {bounds})"


#: What is said of labels by how their AUROC stands beside that of acoustic statistics.
BESIDE_ACOUSTICS = {
    "about the same": (
        "For {labels} plain acoustic statistics do about as well as this model: the "
        "interval of the difference of AUROC is {bounds}. The model is not worth its "
        "trouble there."
    ),
    "not distinguishable": (
        "For {labels} it can't be told whether this model is better than plain "
        "acoustic statistics: with so few people the interval of the difference of "
        "AUROC is wide ({bounds})."
    ),
    "below": (
        "For {labels} this model is worse than plain acoustic statistics (interval of "
        "the difference of AUROC: {bounds})."
    ),
    "far below": (
        "For {labels} this model is far worse than plain acoustic statistics (interval "
        "of the difference of AUROC: {bounds})."
    ),
}


def _beside_acoustics(metrics):
    """Sentences on labels where the model is not above plain acoustic statistics."""
    baseline = metrics.get("baselines", {}).get(ACOUSTIC, {"labels": {}})["labels"]
    bounds = {}
    for label in binary_labels(metrics["labels"]):
        entry = baseline.get(label, {})
        if entry.get("verdict") in BESIDE_ACOUSTICS:
            ends = (entry["difference"][bound] for bound in ("low", "high"))
            said = " to ".join(f"{end:+.2f}".replace("-", "−") for end in ends)
            bounds.setdefault(entry["verdict"], {})[label] = said
    return [
        sentence.format(
            labels=listed(bounds[verdict]), bounds=", ".join(bounds[verdict].values())
        )
        for verdict, sentence in BESIDE_ACOUSTICS.items()
        if verdict in bounds
    ]


def _worse_than_guessing(metrics):
    return [
        label
        for label, entry in binary_labels(metrics["labels"]).items()
        if against_guessing(entry["auroc"]) == WORSE
    ]


def _with_status(audit, status):
    return [
        label for label, entry in audit["labels"].items() if entry["status"] == status
    ]


def _flags(evidence):
    """What is shown in red: labels that more than speech tells, and leakage."""
    audit, flags = evidence.audit, []
    if flagged := _with_status(audit, "flagged"):
        flags.append(
            f"{listed(flagged)} can be told without the speech, from how recordings "
            "were made or from their silence. That the model hears speech there has "
            "not been shown (see the confound audit)."
        )
    flags += leak_notes(audit)
    if evidence.n_seen:
        flags.append(seen_note(evidence.n_seen, evidence.metrics["n_subjects"]))
    return flags


def _warnings(evidence):
    """What else a reader should be careful about."""
    warnings, labels = [], evidence.metrics["labels"]
    if small := [label for label, entry in labels.items() if entry.get("small_sample")]:
        warnings.append(
            f"Small sample for {listed(small)}: with so few people the numbers are "
            "uncertain, and intervals may be too narrow."
        )
    if worse := _worse_than_guessing(evidence.metrics):
        warnings.append(
            f"For {listed(worse)} the model is worse than guessing: its interval of "
            "AUROC is below 0.5."
        )
    warnings += _beside_acoustics(evidence.metrics)
    if unclear := _with_status(evidence.audit, "inconclusive"):
        warnings.append(f"The confound audit is inconclusive for {listed(unclear)}.")
    if reason := evidence.audit.get("reason"):
        warnings.append(f"There was no confound audit: {reason}.")
    if failed := list(evidence.failures.reasons):
        warnings.append(f"Parts of this evaluation failed: {listed(failed)}.")
    if n := len(evidence.failed):
        warnings.append(
            f"{counted(n, 'recording')} could not be used and "
            f"{'is' if n == 1 else 'are'} not in the results."
        )
    return warnings
