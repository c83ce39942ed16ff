"""What may flag a label, and when."""

from typing import NamedTuple

#: An AUROC that is this far from 0.5 is flagged if it is no chance.
LARGE, ALPHA = 0.15, 0.05


class Tested(NamedTuple):
    """A measure that may flag a label.

    name: In short.
    cause: What it is that tells the label then.
    two_sided: Whether values below 0.5 show something, too. Those of a trained model
        do: it may have learned the opposite. A cross-validated probe's tend to be below
        0.5 where there is nothing to find.
    """

    name: str
    cause: str
    two_sided: bool = False


#: Duration and pauses are shown and never flagged: slow rate is a matter of pauses.
TESTED = {
    "capture_probe_auroc": Tested(
        "capture probe",
        "How the recordings were made (level, noise, bandwidth, rate, format, "
        "channels)",
    ),
    "silence_probe_auroc": Tested(
        "silence probe", "The sound of moments in which nobody speaks"
    ),
    "silence_auroc": Tested(
        "model on silence",
        "The trained model, given only moments in which nobody speaks,",
        two_sided=True,
    ),
}


def excess(kind: str, measure: dict) -> float:
    """How far an AUROC is on the side of 0.5, or on either, that shows something.

    kind: Of the measure.

    >>> round(excess("capture_probe_auroc", {"value": 0.3}), 6)
    -0.2
    >>> round(excess("silence_auroc", {"value": 0.3}), 6)
    0.2
    """
    distance = measure["value"] - 0.5
    both = kind in TESTED and TESTED[kind].two_sided
    return abs(distance) if both else distance
