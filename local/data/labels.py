"""Labels: which there are, in which heads, and what a cell of a CSV says of them."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd

from local.utils.errors import UserError
from local.utils.text_io import read_text

#: Cells that mean "not rated"; further codes only where `missing_values` lists them.
NOT_RATED = ("", "NA", "N/A", "nan", ".")

EXAMPLE = (
    "label_types: {strained: {type: ordinal, range: [0, 4], positive_from: 2}, "
    "severity: {type: score, range: [0, 100]}}"
)


def read_label_groups(labels_file: Path) -> list[list[str]]:
    """Read labels.txt: one line per classifier head, names separated by commas.

    Returns: The labels of each head, in the order of the file.
    Raises UserError: for a missing or empty file, an empty name or a label named twice.

    >>> file = getfixture("tmp_path") / "labels.txt"
    >>> _ = file.write_text("slow rate,breakdowns\\nrapid rate, strained\\n")
    >>> read_label_groups(file)
    [['slow rate', 'breakdowns'], ['rapid rate', 'strained']]
    """
    try:
        text = read_text(labels_file)
    except FileNotFoundError as error:
        raise UserError(
            f"There is no label file {labels_file}: expected one line per classifier "
            "head, label names separated by commas."
        ) from error
    groups = [
        [name.strip() for name in line.split(",")]
        for line in text.splitlines()
        if line.strip()
    ]
    labels = flatten(groups)
    problems = [f"{name!r} is named twice" for name in _repeated(labels)]
    if "" in labels:
        problems.append("a name is empty (two commas in a row, or one at an end)")
    if not labels:
        problems.append("it names no label")
    if problems:
        raise UserError(f"{labels_file} can't be used:", problems)
    return groups


def flatten(groups: list[list[str]]) -> list[str]:
    """The labels of all heads in one list, in the order of the logits.

    >>> flatten([["a", "b"], ["c"]])
    ['a', 'b', 'c']
    """
    return [label for group in groups for label in group]


def _repeated(values):
    return sorted({value for value in values if values.count(value) > 1})


#: The types of labels, each with its level of measurement (Stevens, 1946), by which
#: the agreement of raters and of predictions is measured.
LEVELS = {"binary": "nominal", "ordinal": "ordinal", "score": "interval"}


@dataclasses.dataclass(frozen=True)
class LabelType:
    """What the cells of a label's column may hold, and what is learned of them.

    All that differs between types is said here; other modules ask for it and compare
    no names of types. To add one: `LEVELS`, the methods below and `_label_type`.

    type: ``binary`` (0 or 1), ``ordinal`` (a scale, positive from a value on) or
        ``score`` (a number).
    range: Lowest and highest value allowed.
    positive_from: The lowest value that counts as positive; None where nothing does.
    is_score: Whether the value itself is learned, and not whether it is positive.
    """

    type: str = "binary"
    range: tuple[float, ...] = (0.0, 1.0)
    positive_from: float | None = 1.0
    is_score: bool = False

    @property
    def level(self):
        """Level of measurement of the cells: nominal, ordinal or interval."""
        return LEVELS[self.type]

    @property
    def is_scale(self):
        """Whether cells are numbers on a scale of their own, and not 0, 1, yes, no."""
        return self.type != "binary"

    @property
    def width(self):
        """Highest less lowest value: what errors of a score are measured by."""
        return self.range[1] - self.range[0]

    def target(self, value: float) -> float:
        """The training target of a rating.

        Returns: 0 or 1, or of a score the value itself.
        Raises ValueError: if the value is outside what this type allows.

        >>> LabelType("ordinal", (0.0, 4.0), 2.0).target(3)
        1.0
        >>> LabelType("score", (0.0, 100.0), None, is_score=True).target(37.5)
        37.5
        """
        low, high = self.range
        allowed = low <= value <= high if self.is_scale else value in (0, 1)
        if not allowed:
            raise ValueError(f"outside {self.describe()}")
        return float(value if self.is_score else value >= self.positive_from)

    def describe(self):
        """What is allowed, for a message."""
        if not self.is_scale:
            return "0 and 1"
        return f"the range {self.range[0]:g} to {self.range[1]:g}"

    def definition(self, has_known_range: bool = True) -> str:
        """What a rating is and what is learned of it, for a reader.

        has_known_range: False where the range is only that of the numbers there are.

        >>> LabelType("ordinal", (0.0, 4.0), 2.0).definition()
        'scale from 0 to 4, positive from 2'
        """
        text = "0 or 1"
        if self.is_scale:
            low, high = self.range
            text = f"scale from {low:g} to {high:g}"
            text = text if has_known_range else "unknown scale"
            text += "" if self.is_score else f", positive from {self.positive_from:g}"
        return text + (", learned as a number" if self.is_score else "")


def parse_label_types(
    label_types: dict[str, dict], labels: list[str], loss: str = "bce"
) -> dict[str, LabelType]:
    """Check the yaml key ``label_types``.

    label_types: As `EXAMPLE` shows; labels that it does not name are binary.
    labels: All labels.
    loss: As in the yaml: with ``mse`` every label is learned as a score.

    Raises UserError: naming every entry that can't be used.
    """
    all_scores = loss == "mse"
    types = {label: LabelType(is_score=all_scores) for label in labels}
    problems = []
    for label, entry in (label_types or {}).items():
        if label not in types:
            problems.append(f"{label!r} is not a label: {', '.join(labels)}")
            continue
        try:
            types[label] = _label_type(entry, all_scores)
        except (ValueError, TypeError, KeyError) as error:
            problems.append(f"{label!r}: {error}")
    if problems:
        raise UserError(f"label_types can't be used; expected e.g. {EXAMPLE}", problems)
    return types


def _label_type(entry, all_scores):
    if not isinstance(entry, dict):
        raise ValueError(f"expected {{type: …, range: [low, high]}}, found {entry!r}")
    unknown = set(entry) - {"type", "range", "positive_from"}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    kind = entry.get("type")
    if kind == "binary":
        return LabelType(is_score=all_scores)
    if kind not in LEVELS:
        raise ValueError(f"type {kind!r} is none of {', '.join(LEVELS)}")
    low, high = _range(entry.get("range"))
    is_score = all_scores or kind == "score"
    # The loss divides by the width of a score's range.
    if is_score and not -math.inf < low < high < math.inf:
        raise ValueError(f"range must be two numbers, low and high, not {low}, {high}")
    if kind == "score":
        if "positive_from" in entry:
            raise ValueError(
                "scores have no positive class; for one give `type: ordinal`"
            )
        return LabelType("score", (low, high), None, is_score)
    if all_scores and "positive_from" not in entry:
        return LabelType("ordinal", (low, high), None, is_score)
    if "positive_from" not in entry:
        raise ValueError("an ordinal label needs positive_from unless loss is mse")
    positive_from = float(entry["positive_from"])
    if not low < positive_from <= high:
        raise ValueError("positive_from must lie inside range, above its lower end")
    return LabelType("ordinal", (low, high), positive_from, is_score)


def _range(bounds):
    """Low and high as float; the error of a wrong form says which form is right."""
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        raise ValueError(f"range must be [low, high], found {bounds!r}")
    try:
        return float(bounds[0]), float(bounds[1])
    except (TypeError, ValueError) as error:
        raise ValueError(f"range must be two numbers, found {bounds!r}") from error


def label_ranges(
    types: dict[str, LabelType], labels: list[str]
) -> list[list[float] | None]:
    """The range of each label that is learned as a score.

    labels: All labels, in the order of the logits.

    Returns: [low, high] of a score, None of a label that is 0 or 1.

    >>> types = parse_label_types({"b": {"type": "score", "range": [0, 9]}}, ["a", "b"])
    >>> label_ranges(types, ["a", "b"])
    [None, [0.0, 9.0]]
    """
    return [
        list(types[label].range) if types[label].is_score else None for label in labels
    ]


def score_labels(
    labels: list[str], label_ranges: list[list[float] | None] | None
) -> list[str]:
    """The labels that are learned as scores.

    labels: All labels, in the order of the logits.
    label_ranges: As the function of this name gives it; None: there are no scores.

    >>> score_labels(["a", "b"], [None, [0.0, 9.0]])
    ['b']
    """
    ranges = label_ranges or [None] * len(labels)
    return [name for name, bounds in zip(labels, ranges, strict=True) if bounds]


def scale_targets(
    targets: pd.DataFrame, label_ranges: list[list[float] | None]
) -> pd.DataFrame:
    """Scores by their place in their range, so that labels can be compared.

    targets: [n_recordings, n_labels] of float
    label_ranges: [low, high] of each label that is a score, None of the others.

    Returns: Each score as 0 to 1 of its range; other labels as they are.

    >>> import pandas as pd
    >>> targets = pd.DataFrame({"a": [1.0, 0.0], "b": [3.0, None]})
    >>> scale_targets(targets, [None, [1.0, 5.0]]).to_numpy().tolist()
    [[1.0, 0.5], [0.0, nan]]
    """
    scaled = targets.copy()
    for label, bounds in zip(targets.columns, label_ranges, strict=True):
        if bounds is not None:
            scaled[label] = (targets[label] - bounds[0]) / (bounds[1] - bounds[0])
    return scaled


def why_one_class(targets: np.ndarray):
    """Why classes can't be told apart in rated targets; None if they can.

    targets: [n], 0 or 1.

    >>> from numpy import array
    >>> why_one_class(array([1, 1]))
    'only one class: all 2 rated recordings are positive'
    """
    if not len(targets):
        return "no recording is rated"
    if (targets == targets[0]).all():
        name = "positive" if targets[0] == 1 else "negative"
        return f"only one class: all {len(targets)} rated recordings are {name}"
    return None
