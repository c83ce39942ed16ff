"""What the audit says of a label and of a corpus, in words."""

from local.evaluation.confound_audit.power import in_words
from local.evaluation.confound_audit.tested import LARGE, TESTED, excess
from local.utils.number_format import listed

#: A label is clear if a microphone that tells it with this AUROC would be found in this
#: share of studies; where it would not, finding nothing says nothing.
CLEAR_AUROC, CLEAR_POWER = "0.85", 0.5


def label_verdict(measures: dict) -> dict:
    """The status of a label, the reasons for it, and what could have been found.

    measures: The label's, by kind.

    Returns: "status"; "reasons", sentences, what flags the label first; "power", that
        of the measure that finds most, empty where nothing was tested.
    """
    tested = {kind: measures[kind] for kind in TESTED}
    by_status = {}
    for kind, entry in tested.items():
        by_status.setdefault(entry["status"], []).append(kind)
    powers = [entry["power"] for entry in tested.values() if entry["power"]]
    power = max(powers, key=lambda shares: shares[CLEAR_AUROC], default={})
    if "flagged" in by_status:
        status = "flagged"
    elif not powers:
        status = "not_computable"
    elif "inconclusive" in by_status or power[CLEAR_AUROC] < CLEAR_POWER:
        status = "inconclusive"
    else:
        status = "clear"
    flagged, unsettled, clear = (
        by_status.get(kind, []) for kind in ("flagged", "inconclusive", "clear")
    )
    reasons = [_tells(kind, tested[kind]) for kind in flagged]
    if too_few := [kind for kind in unsettled if not tested[kind]["testable"]]:
        reasons.append(
            f"{_people(tested[too_few[0]])} are too few to test for chance (AUROC: "
            f"{_values(tested, too_few)})."
        )
    reasons += [_tells(k, tested[k]) for k in unsettled if k not in too_few]
    if clear:
        reasons.append(f"Nothing found by AUROC: {_values(tested, clear)}.")
    if power and status != "flagged":
        largest = max(tested.values(), key=lambda entry: entry.get("n_subjects", 0))
        reasons.append(
            f"With {_people(largest)} a microphone that tells the label "
            f"{_would_be_found(power[CLEAR_AUROC])}"
        )
    reasons += _not_examined(tested)
    behaviour = measures["behaviour_probe_auroc"]
    tells = behaviour["value"] and excess("behaviour_probe_auroc", behaviour) >= LARGE
    if status == "flagged" and tells:
        reasons.append(
            "Duration and pauses tell the label as well (AUROC "
            f"{behaviour['value']:.2f}): what is heard in pauses may differ because "
            "the pauses do."
        )
    return {"status": status, "reasons": reasons, "power": power}


def _tells(kind, entry):
    """What a test has found, or what it can't tell from chance."""
    by_chance = "" if entry["status"] == "flagged" else ", or by chance"
    return (
        f"{TESTED[kind].cause} {'may tell' if by_chance else 'tells'} the label"
        f"{by_chance} (AUROC {entry['value']:.2f}, p = {entry['p_holm']:.3f} after "
        "Holm's correction)."
    )


def _values(tested, kinds):
    return ", ".join(f"{TESTED[k].name} {tested[k]['value']:.2f}" for k in kinds)


def _people(entry):
    return (
        f"{entry['n_subjects']} people ({entry['n_positive_subjects']} with the label)"
    )


def _would_be_found(share):
    only = "only " if 0.05 <= share < CLEAR_POWER else ""
    return f"with AUROC {CLEAR_AUROC} would be found in {only}{in_words(share)}."


def _not_examined(tested):
    """One sentence for each reason; what concerns the corpus is said of it once."""
    kinds = {}
    for kind, entry in tested.items():
        if entry["status"] == "not_computable":
            kinds.setdefault(entry["reason"], []).append(TESTED[kind].name)
    return [f"Not examined: {listed(kind)} ({why})." for why, kind in kinds.items()]


def summary(labels: dict) -> str:
    """What the audit says of all labels together, in a few words.

    labels: As `audit_labels` gives them.

    >>> summary({})
    'No label was audited.'
    """
    audited = {k: e for k, e in labels.items() if e["status"] != "not_computable"}
    if not audited:
        return "No label was audited."
    nothing, open_ones, flagged = [], [], []
    for name, entry in audited.items():
        if entry["status"] == "flagged":
            flagged.append(name)
        elif any(entry[kind]["status"] == "inconclusive" for kind in TESTED):
            open_ones.append(name)
        else:
            nothing.append(name)
    said = []
    if flagged:
        said.append(f"Flagged: {listed(flagged)}.")
    if open_ones:
        said.append(f"Open, by chance or too few people: {listed(open_ones)}.")
    if nothing:
        share = min(audited[name]["power"][CLEAR_AUROC] for name in nothing)
        said.append(
            f"Nothing found for {len(nothing)} of {len(labels)} labels; a microphone "
            f"that tells a label {_would_be_found(share)}"
        )
    silence = next(iter(audited.values()))["silence_probe_auroc"]
    if silence["status"] == "not_applicable":
        said.append(f"Silence is not applicable: {silence['reason']}.")
    return " ".join(said)
