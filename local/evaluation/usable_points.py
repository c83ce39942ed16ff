"""Which of an experiment's operating points may decide about other recordings.

A threshold is withheld from those that it was chosen on, and from recordings that are
cut into other windows than those that it was chosen on; and so is a calibration.
"""

from pathlib import Path

import pandas as pd

from local.data.split import Split
from local.data.windows import LongRecordings
from local.evaluation.operating_points import read_operating_points
from local.utils.spelling import among

#: What an entry has while it decides.
NUMBERS = ("value", "low", "high", "slope", "intercept")


def points_for(
    folder: Path, seen: dict[str, Split], subjects: set[str]
) -> dict[str, dict]:
    """The operating points of an experiment, for some subjects.

    folder: The experiment's.
    seen: The splits that its model has learned from.

    Returns: As `without_own_choices`.
    """
    chosen_on = {
        "validation": seen["valid"].subjects if "valid" in seen else set(),
        "cross-fitted training": set().union(
            *(split.subjects for split in seen.values())
        ),
    }
    return without_own_choices(read_operating_points(folder), chosen_on, subjects)


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

    def reason(source, done):
        own = among(scored, chosen_on.get(source, ()))
        return f"it was {done} on {len(own)} of these subjects" if own else None

    return {
        name: _withheld(
            point,
            reason(point["threshold"]["source"], "chosen"),
            reason("validation", "fitted"),
        )
        for name, point in points.items()
    }


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
    usable = {name: _withheld(point, why, why) for name, point in points.items()}
    note = f"thresholds and calibration are not applied: {why}"
    return usable, [note] * (usable != points)


def _withheld(point, why_threshold, why_calibration):
    """An operating point without its threshold, its calibration, or both.

    Without its calibration a threshold is one on other probabilities.
    """
    calibration = point["calibration"]
    left = calibration and _emptied(calibration, why_calibration)
    why = why_threshold or (why_calibration if left != calibration else None)
    threshold = _emptied(point["threshold"], why)
    return point | {"threshold": threshold, "calibration": left}


def _emptied(entry, why):
    """An entry without its numbers, if there are any and a reason to."""
    numbers = [name for name in NUMBERS if entry.get(name) is not None]
    if not (why and numbers):
        return entry
    return entry | dict.fromkeys(numbers) | {"reason": why}
