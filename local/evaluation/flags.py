"""What the confound audit flags, told beside the numbers that it is about."""

from pathlib import Path

from local.data.split import Split
from local.storage.experiment_files import AUDIT
from local.utils.errors import told_if_damaged
from local.utils.files import read_json
from local.utils.number_format import counted

#: Of results that are not audited.
NOTHING = {
    "labels": {},
    "shared_subjects": [],
    "shared_audio": [],
    "reason": f"there is no {AUDIT}",
}

#: Stands beside what is flagged, in a table for the terminal.
MARK = "!"

MEANING = (
    f"{MARK} flagged by the confound audit: the label can be told without the speech, "
    f"and so may the model have done ({AUDIT})"
)


def read_audit(folder: Path) -> dict:
    """The audit that an experiment or an evaluation has left.

    Returns: Content of audit.json; `NOTHING` where there is none.
    Raises UserError: if the file is damaged.
    """
    path = Path(folder) / AUDIT
    if not path.is_file():
        return NOTHING
    expected = "what train.py and evaluate.py write. The same command writes it anew."
    with told_if_damaged(path, expected):
        audit = read_json(path)
        audit_notes(audit)
    return audit


def flagged(audit: dict) -> dict[str, list[str]]:
    """The labels that an audit flags, and why.

    audit: Content of audit.json.

    >>> loud = {"status": "flagged", "reasons": ["The noise tells the label."]}
    >>> flagged({"labels": {"loud": loud, "low": {"status": "clear", "reasons": []}}})
    {'loud': ['The noise tells the label.']}
    """
    return {
        name: list(verdict["reasons"])
        for name, verdict in audit["labels"].items()
        if verdict["status"] == "flagged"
    }


def known_flags(audit):
    """As `flagged`; None where no label was audited, so that nobody takes it for none.

    >>> known_flags(NOTHING), known_flags({"labels": {"low": {"status": "clear"}}})
    (None, {})
    """
    return flagged(audit) if audit["labels"] else None


def flag_notes(labels: dict[str, list[str]]) -> list[str]:
    """Lines for the foot of a table in which `MARK` stands beside flagged labels.

    labels: As `flagged` gives them; the first reason is what flags a label.
    """
    lines = [
        f"{MARK} {' '.join([f'{name}:', *why[:1]])}" for name, why in labels.items()
    ]
    return [MEANING, *lines] if lines else []


def leak_notes(audit: dict) -> list[str]:
    """Lines on what the split that was scored shares with another one.

    audit: Content of audit.json.
    """
    notes = []
    if n := len(audit["shared_subjects"]):
        notes.append(
            f"{counted(n, 'subject is', 'subjects are')} in more than one split: "
            "results on people whom the model knows are too good."
        )
    if n := len(audit["shared_audio"]):
        notes.append(
            f"{counted(n, 'recording is', 'recordings are')} in more than one split, "
            "under the same name or another."
        )
    return notes


def seen_notes(split: Split) -> list[str]:
    """What a reader must know if subjects of a split were learned from."""
    n_seen = split.n_seen
    return [seen_note(n_seen, len(split.subjects))] if n_seen else []


def seen_note(n_seen: int, n_subjects: int) -> str:
    """The same in a sentence.

    n_seen: Of so many subjects, those that the model has learned from.
    """
    return (
        f"{n_seen} of {n_subjects} subjects of this split were trained or validated "
        "on: these results are not of unseen subjects."
    )


def audit_notes(audit: dict) -> list[str]:
    """All that belongs to the foot of a table of results.

    audit: Content of audit.json.

    >>> nothing = {"labels": {}, "shared_subjects": ["p1"], "shared_audio": []}
    >>> for line in audit_notes(nothing | {"reason": "it was switched off"}):
    ...     print(line)
    1 subject is in more than one split: results on people whom the model knows are ...
    Not audited for confounds: it was switched off
    """
    return flag_notes(flagged(audit)) + leak_notes(audit) + why_not_notes(audit)


def why_not_notes(audit: dict):
    """A line on why labels were not audited, list of str; empty if they were.

    audit: Content of audit.json.
    """
    reason = audit.get("reason")
    return [f"Not audited for confounds: {reason}"] if reason else []
