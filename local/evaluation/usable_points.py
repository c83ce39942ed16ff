"""Which of an experiment's operating points may decide about other recordings.

A threshold is withheld from those that it was chosen on, and from recordings that are
cut into other windows than those that it was chosen on; and so is a calibration.
"""

from pathlib import Path

import pandas as pd

from local.data.split import Split
from local.data.windows import LongRecordings
from local.evaluation.operating_points import fixed_points, read_operating_points
from local.metrics.thresholds import CROSS_FITTED, FIXED, OUT_OF_FOLD, VALIDATION
from local.utils.spelling import among

#: What an entry has while it decides.
NUMBERS = ("value", "low", "high", "slope", "intercept")


def points_for(
    folder: Path,
    seen: dict[str, Split],
    subjects: set[str],
    given: dict[str, float] | None = None,
) -> dict[str, dict]:
    """The operating points of an experiment, for some subjects.

    folder: The experiment's.
    seen: The splits that its model has learned from.
    given: Thresholds that now take the place of its own, by label.

    Returns: As `without_own_choices`.
    """
    everybody = set().union(*(split.subjects for split in seen.values()))
    chosen_on = {
        VALIDATION: seen["valid"].subjects if "valid" in seen else set(),
        OUT_OF_FOLD: everybody,
        CROSS_FITTED: everybody,
    }
    points = fixed_points(read_operating_points(folder), given or {})
    return without_own_choices(points, chosen_on, subjects)


def without_own_choices(
    points: dict[str, dict], chosen_on: dict[str, set[str]], scored: set[str]
) -> dict[str, dict]:
    """Operating points for subjects of whom some were those that chose them.

    chosen_on: The subjects of each source of a threshold, as far as they are known.
    scored: The subjects that are to be judged.

    Returns: Without the threshold, and the calibration, that would be judged by those
        that they were chosen on; the reason says so.

    >>> point = {"threshold": {"value": 0.5, "source": "validation"}}
    >>> point["calibration"] = None
    >>> usable = without_own_choices({"x": point}, {"validation": {"s1"}}, {"s1", "s2"})
    >>> usable["x"]["threshold"]["value"], usable["x"]["threshold"]["reason"]
    (None, 'it was chosen on 1 of these subjects')
    """

    n_own = {source: len(among(scored, those)) for source, those in chosen_on.items()}

    def reason(entry, done):
        n = n_own.get(entry.get("source", VALIDATION))
        return f"it was {done} on {n} of these subjects" if n else None

    return {name: _withheld(point, reason) for name, point in points.items()}


def for_windows(
    points: dict[str, dict],
    before: LongRecordings,
    here: LongRecordings,
    manifest: pd.DataFrame,
) -> tuple[dict[str, dict], list[str]]:
    """Operating points for recordings that may be cut into other windows.

    The windows and what is made of them change probabilities, so that thresholds and
    calibration mean something else.

    before: What the thresholds were chosen with.
    here: What the recordings are scored with.
    manifest: Theirs.

    Returns points: None withheld where no recording is cut, before or here.
    Returns notes: Why some are withheld.
    """
    why = before.why_others(here, manifest)
    if why is None:
        return points, []

    def reason(entry, _):
        # one that was fixed in advance depends on no windows
        return None if entry.get("rule") == FIXED else why

    usable = {name: _withheld(point, reason) for name, point in points.items()}
    note = f"thresholds and calibration are not applied: {why}"
    return usable, [note] * (usable != points)


def _withheld(point, reason):
    """An operating point without its thresholds, its calibration, or both.

    Without its calibration a threshold is one on other probabilities.

    reason : function of an entry and of how it was made, "chosen" or "fitted": why it
        is withheld, or None
    """
    calibration = point["calibration"] or {}
    left = _emptied(calibration, reason(calibration, "fitted"))
    why = left["reason"] if left != calibration else None

    def threshold(entry):
        return _emptied(entry, why or reason(entry, "chosen"))

    usable = {"threshold": threshold(point["threshold"]), "calibration": left or None}
    if "per_subject" in point:
        rules = point["per_subject"].items()
        usable["per_subject"] = {rule: threshold(entry) for rule, entry in rules}
    return usable


def _emptied(entry, why):
    """An entry without its numbers, if there are any and a reason to."""
    numbers = [name for name in NUMBERS if entry.get(name) is not None]
    if not (why and numbers):
        return entry
    return entry | dict.fromkeys(numbers) | {"reason": why}
