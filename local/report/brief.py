"""The box at the top of a report: what a reader with two minutes takes away."""

from typing import NamedTuple

from local.evaluation.baselines import ACOUSTIC
from local.evaluation.flags import flagged, leak_notes, seen_note
from local.metrics.comparison import WORSE, against_guessing
from local.metrics.label_cases import NONE
from local.report.checks import divided
from local.report.results import VERDICTS, binary_labels, score_labels
from local.report.tables import signed, with_interval
from local.report.validation import fold_name, spread_over_folds
from local.training.family import STATISTICS, family_of
from local.utils.number_format import counted, interval, listed, number

#: How well recordings are told apart where an interval of AUROC begins here or above.
IN_WORDS = (
    (0.9, "very well"),
    (0.8, "well or better"),
    (0.7, "moderately or better"),
    (0.5, "better than guessing, how much is open"),
)

FLAG, WARNING = "flag", "warning"
OF_ITS_KIND = " This model reads such statistics itself: two of a kind are compared."


class Statement(NamedTuple):
    """One thing to know.

    kind: "" for a result, "flag" for what is shown in red, "warning".
    """

    lead: str
    text: str
    kind: str = ""


def brief(evidence) -> list[Statement]:
    """What there is to know, first things first."""
    parts = (
        *(_people, _labels, _scores, _elsewhere, _decisions, _baseline),
        *(_leaks, _audit, _raters, _missing),
    )
    return [said for part in parts for said in part(evidence)]


def _people(evidence):
    metrics = evidence.metrics
    tested = _so_many(metrics["n_recordings"], metrics["n_subjects"])
    if "folds" in metrics:
        yield Statement("People", _who_was_left_out(evidence, tested))
        return
    known = {
        name: _so_many(len(frame), frame["subject"].nunique())
        for name, frame in evidence.manifests.items()
        if name != evidence.split
    }
    parts = [f"tested on {tested}"]
    if "valid" in known:
        parts.insert(0, f"thresholds and calibration from {known['valid']}")
    if "train" in known:
        parts.insert(0, f"trained on {known['train']}")
    else:
        parts.append("who the model learned from is not known")
    shares = evidence.audit.get("label_shares") or {}
    if len(shares) > 1 and not evidence.audit["shared_subjects"]:
        parts.append("nobody is in two of these")
    yield Statement("People", f"{'; '.join(parts)}.")


def _so_many(n_recordings, n_subjects):
    people = counted(n_subjects, "person", "people")
    return f"{people} ({counted(n_recordings, 'recording')})"


def _who_was_left_out(evidence, tested):
    """Who takes part in a cross-validation, and how."""
    metrics = evidence.metrics
    names = dict.fromkeys(map(fold_name, metrics["folds"]))
    how = f"in {counted(len(names), 'fold')}"
    if "left_out" in metrics["folds"][0]:
        column = evidence.settings.get("leave_one_out") or "a column"
        how = f"one {column} left out at a time: {listed(names)}"
    repeats = metrics["n_repeats"]
    times = f", {repeats} times with other folds and seeds" if repeats > 1 else ""
    return (
        f"{tested} of train.csv and val.csv, each judged by a model that was trained "
        f"without them ({how}{times}). Nobody of test.csv takes part."
    )


def _labels(evidence):
    """Which labels work and how well, which don't, the weakest, and the mean."""
    labels = binary_labels(evidence.metrics["labels"])
    flags = flagged(evidence.audit)
    kinds = {}
    for label, entry in labels.items():
        kind = against_guessing(entry["auroc"])
        kinds.setdefault("flagged" if label in flags else kind, []).append(label)
    aurocs = {label: entry["auroc"] for label, entry in labels.items()}
    known = {k: entry["value"] for k, entry in aurocs.items()}
    known = {k: value for k, value in known.items() if value is not None}
    if works := kinds.get("better than guessing"):
        by_words = {}
        for label in sorted(works, key=known.get, reverse=True):
            low = aurocs[label]["low"]
            words = next(name for least, name in IN_WORDS if low >= least)
            by_words.setdefault(words, []).append(f"{label} {number(known[label])}")
        ranks = sorted(by_words, key=[name for _, name in IN_WORDS].index)
        said = "; ".join(f"{name}: {listed(by_words[name])}" for name in ranks)
        yield Statement("Works", f"{said}. {_explained(max(known[k] for k in works))}")
    for kind, lead, text in (
        ("flagged", "Not shown to hear speech", "flagged by the audit, below"),
        ("not distinguishable", "Not shown to work", "guessing is inside the interval"),
        (WORSE, "Worse than guessing", "the whole interval is below 0.5"),
    ):
        if some := kinds.get(kind):
            said = listed(f"{k} {with_interval(aurocs[k])}" for k in some)
            red = FLAG if kind in ("flagged", WORSE) else WARNING
            yield Statement(lead, f"{said}: {text}.", red)
    unknown = kinds.get("not computable", [])
    if unknown:
        said = "; ".join(f"{label}: {aurocs[label]['reason']}" for label in unknown)
        yield Statement("Not known", f"{said}.", WARNING)
    if len(known) > 1:
        worst, macro = min(known, key=known.get), evidence.metrics["macro"]
        mean = f"Mean of {macro['n_labels']} of {len(labels)} labels"
        text = f"{worst}, AUROC {_spoken(aurocs[worst])}. {mean}: "
        text += f"{_spoken(macro['auroc'])}{_spread(evidence)}."
        yield Statement("Weakest label", text)
    left_out = evidence.metrics["macro"].get("left_out", {})
    for label, reason in left_out.items():
        if label not in unknown:
            yield Statement("Not in the mean", f"{label}: {reason}.", WARNING)


def _explained(auroc):
    return (
        f"AUROC {number(auroc)} means: of two recordings, one with the label and one "
        f"without, the one with it gets the higher probability in {100 * auroc:.0f} of "
        "100 cases (by guessing in 50)."
    )


def _spread(evidence):
    """How far folds, and repeats, are apart."""
    between = spread_over_folds(evidence.metrics)
    sd = evidence.metrics["macro"]["auroc"].get("sd")
    said = f"; from fold to fold {between}" if between else ""
    return said + (f", SD of the repeats {sd:.3f}" if sd is not None else "")


def _spoken(entry):
    """A value and its interval in a sentence."""
    if entry["value"] is None:
        return f"not computable ({entry['reason']})"
    if None in (entry["low"], entry["high"]):
        return f"{number(entry['value'])} (no interval: {entry['reason']})"
    bounds = interval(entry["low"], entry["high"]).strip("()")
    return f"{number(entry['value'])} (95 % interval {bounds})"


def _scores(evidence):
    """Rank correlations of the labels that are scores."""
    scores, macro = score_labels(evidence.metrics["labels"]), evidence.metrics["macro"]
    if not scores:
        return
    said = listed(f"{k} {_spoken(e['spearman'])}" for k, e in scores.items())
    yield Statement(
        "Scores",
        f"rank correlation of predicted and rated: {said}. At 1 both are in the same "
        "order, at 0 they have nothing in common.",
    )
    for label, reason in macro.get("scores_left_out", {}).items():
        yield Statement("Not in the mean", f"{label}: {reason}.", WARNING)


def _elsewhere(evidence):
    """The mean AUROC of labels here and on the experiment's own test split."""
    labels = evidence.metrics["labels"]
    internal = evidence.metrics.get("internal") or {}
    pairs = [
        (labels[label]["auroc"]["value"], own["auroc"]["value"])
        for label, own in (internal.get("labels") or {}).items()
        if label in labels and "auroc" in labels[label]
    ]
    pairs = [pair for pair in pairs if None not in pair]
    if pairs:
        here, own = (
            number(sum(side) / len(pairs)) for side in zip(*pairs, strict=True)
        )
        people = counted(internal["n_subjects"], "person", "people")
        said = f"here {here}, on the experiment's own test split ({people}) {own}."
        yield Statement("Mean AUROC", said)


def _decisions(evidence):
    """The range of sensitivity and specificity, and labels without a threshold."""
    labels = binary_labels(evidence.metrics["labels"])
    said, lacking = [], {}
    for name in ("sensitivity", "specificity"):
        if ends := _ends({k: e[name]["value"] for k, e in labels.items()}):
            said.append(f"{name} {ends}")
    for label, entry in labels.items():
        if entry["sensitivity"]["value"] is entry["specificity"]["value"] is None:
            reason = entry["sensitivity"]["reason"].partition(";")[0]
            lacking.setdefault(reason.removeprefix(NONE), []).append(label)
    if said:
        yield Statement("Decisions at the threshold", f"{'; '.join(said)}.")
    for label, entry in labels.items():
        if folds := [fold["fold"] for fold in entry.get("without_decisions", [])]:
            what = f"{label}: none in {listed(folds)}, whose recordings do not count."
            yield Statement("No threshold", what, WARNING)
    for reason, names in lacking.items():
        yield Statement("No threshold", f"{listed(names)}: {reason}.", WARNING)


def _ends(values):
    """The lowest and the highest value with their labels; None where there is none."""
    known = {label: value for label, value in values.items() if value is not None}
    if not known:
        return None
    ends = dict.fromkeys(choose(known, key=known.get) for choose in (min, max))
    return " to ".join(f"{number(known[label])} ({label})" for label in ends)


def _baseline(evidence):
    """How the model stands beside plain acoustic statistics."""
    result = evidence.metrics.get("baselines", {}).get(ACOUSTIC, {"labels": {}})
    verdicts = {}
    for label, entry in result["labels"].items():
        if "verdict" in entry and entry["verdict"] in VERDICTS:
            gap = f" {signed(entry['difference'])}"
            no_gap = entry["verdict"] in ("about the same", "not computable")
            said = f"{label}{'' if no_gap else gap}"
            verdicts.setdefault(entry["verdict"], []).append(said)
    if not verdicts:
        return
    parts = [
        f"{word}: {', '.join(verdicts[kind])}"
        for kind, word in VERDICTS.items()
        if kind in verdicts
    ]
    if "difference" in (macro := result.get("macro", {})):
        word = VERDICTS[macro["verdict"]]
        gap = f", {signed(macro['difference'])}"
        if macro["verdict"] == "not computable":
            gap = ""
        parts.insert(0, f"on average {word}{gap}")
    own = OF_ITS_KIND if family_of(evidence.settings) == STATISTICS else ""
    doubtful = set(verdicts) & {"about the same", "below", "far below"}
    yield Statement(
        "Beside plain acoustic statistics",
        f"AUROC {'; '.join(parts)}.{own}",
        WARNING if doubtful else "",
    )


def _leaks(evidence):
    for note in leak_notes(evidence.audit):
        yield Statement("Leakage", note, FLAG)
    if evidence.n_seen:
        note = seen_note(evidence.n_seen, evidence.metrics["n_subjects"])
        yield Statement("Not unseen", note, FLAG)


def _audit(evidence):
    """What the confound audit says of all labels, and why it flags some."""
    audit = evidence.audit
    if reason := audit.get("reason"):
        yield Statement("No confound audit", f"{reason}.", WARNING)
    flags = flagged(audit)
    why = [f"{label}: {reasons[0]}" for label, reasons in flags.items() if reasons]
    said = " ".join([audit.get("summary") or "", *why]).strip()
    if flags:
        said += " That the model hears speech there has not been shown."
    if said:
        yield Statement("Confound audit", said, FLAG if flags else "")


def _raters(evidence):
    """How far raters agree, and recordings that divide them."""
    result = evidence.raters()
    alphas = {k: e["agreement"]["alpha"]["value"] for k, e in result.items()}
    if ends := _ends(alphas):
        said = f"agree with alpha {ends}; 1 is always, 0 is by chance."
        yield Statement("Raters", said)
    if said := divided(evidence):
        yield Statement("Divided raters", said, WARNING)


def _missing(evidence):
    """What is not there, or not in the numbers."""
    metrics = evidence.metrics
    if few := [k for k, e in metrics["labels"].items() if e.get("small_sample")]:
        which = "all labels" if len(few) == len(metrics["labels"]) > 1 else listed(few)
        said = f"{which}: the numbers are uncertain, and intervals may be too narrow."
        yield Statement("Few people", said, WARNING)
    if failed := list(evidence.failures.reasons):
        yield Statement("Failed parts", f"{listed(failed)}.", WARNING)
    if n := len(evidence.failed):
        said = f"{counted(n, 'recording')} could not be used."
        yield Statement("Left out", said, WARNING)
    if (n := metrics.get("n_test_evaluations") or 1) > 1:
        said = (
            f"this test split has been evaluated {n} times: results that were looked "
            "at many times are optimistic."
        )
        yield Statement("Looked at before", said, WARNING)
    if evidence.settings and metrics.get("n_repeats", 1) == 1:
        said = (
            "a model that is trained with another seed would have other numbers; this "
            "spread is not in the intervals."
        )
        yield Statement("One training", said)
