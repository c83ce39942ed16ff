"""Whether a recording is like those that a model was trained on.

Compared are what it is like (see `local.audio.description`), each number with the
quantiles of the training recordings, and how far its embedding is from theirs. What is
kept of these are quantiles, means and variances, and no recording's numbers. A copy of
this module is in every export.

    summary = {"limit", "source", "n_subjects",
               "measures": {name: [low, middle, high]},     # of the training recordings
               "distance": [middle, high],                  # of people not trained on
               "embedding": {"center", "axes", "variances", "rest"}}
    known = TrainingRange(summary)
    known.deviations(heard)    # 1 at the limit
    known.reasons(heard)    # [["bandwidth 4 kHz, training 7.5 to 8"]]
"""

import base64
import dataclasses
from typing import NamedTuple

import numpy as np

from local.audio.description import DESCRIBED
from local.utils.errors import UserError

#: What becomes of decisions about recordings that are out of range.
ABSTAIN, DECIDE = "abstain", "decide"


class Measure(NamedTuple):
    """A number that recordings are compared by.

    name, unit: As a reader has them.
    step: From the middle of the training recordings to either end of their range at
        least: who are all alike in a number do not make it narrower. Of a ratio it is
        the factor.
    """

    name: str
    unit: str
    step: float
    is_ratio: bool = False

    def scaled(self, values):
        """Values as they are compared: ratios by their logarithm."""
        return np.log(np.maximum(values, 1e-6)) if self.is_ratio else np.asarray(values)

    @property
    def least(self):
        """The step, scaled."""
        return np.log(self.step) if self.is_ratio else self.step


#: By name in files; the duration, and then what a recording is described by.
MEASURES = {
    "duration_s": Measure("duration", " s", 1.5, is_ratio=True),
    "level_dbfs": Measure("level", " dBFS", 3.0),
    "noise_floor_dbfs": Measure("noise floor", " dBFS", 3.0),
    "bandwidth_khz": Measure("bandwidth", " kHz", 1.25, is_ratio=True),
    "speech_share": Measure("speech share", "", 0.1),
    "rate_per_s": Measure("rate", " sounds per s", 0.5),
}
assert (*MEASURES,)[1:] == DESCRIBED

#: What recordings are compared by, as a reader has it, in the order of `parts`.
NAMES = ("embedding", *(measure.name for measure in MEASURES.values()))


@dataclasses.dataclass(frozen=True)
class Heard:
    """Recordings as a model hears them.

    measures: [n, MEASURES], NaN of what is no audio.
    embeddings: [n, size]
    """

    measures: np.ndarray
    embeddings: np.ndarray

    def __len__(self):
        return len(self.embeddings)

    @classmethod
    def of(cls, duration_s: float, values: np.ndarray) -> "Heard":
        """One recording: its embedding and, behind it, its description, in one."""
        embedding, described = np.split(values, [-len(DESCRIBED)])
        # features in the place of audio have no duration, either
        duration_s = duration_s if np.isfinite(described).all() else np.nan
        return cls(np.array([[duration_s, *described]]), embedding[None])

    @classmethod
    def joined(cls, several: "list[Heard]") -> "Heard":
        """Those of all."""
        return cls(
            np.concatenate([heard.measures for heard in several]),
            np.concatenate([heard.embeddings for heard in several]),
        )

    def rows(self, chosen) -> "Heard":
        """Those of some recordings."""
        return Heard(self.measures[chosen], self.embeddings[chosen])


class TrainingRange:
    """What a model's training recordings were like, to compare others with.

    summary: Plain values, as above; arrays are text (see `as_text`).

    Raises ValueError, KeyError, TypeError, AttributeError: if they are something else.

    >>> summary = {"limit": 2.0, "measures": {"bandwidth_khz": [7.5, 8.0, 8.0]}}
    >>> summary |= {"distance": [1.0, 2.0], "embedding": fit_embedding(np.eye(4))}
    >>> known = TrainingRange(summary)
    >>> row = [5.0, -20, -60, 4.0, 0.8, 4.0]
    >>> heard = Heard(np.array([row]), np.full((1, 4), 0.25))
    >>> known.deviations(heard).round(2).tolist(), known.reasons(heard)
    ([1.55], [['bandwidth 4 kHz, training 7.5 to 8']])
    """

    def __init__(self, summary: dict):
        _, self.limit = _ascending([1, summary["limit"]], 2)  # 1 at least
        self.measures = {
            name: _ascending(bounds, 3)
            for name, bounds in summary["measures"].items()
            if name in MEASURES
        }
        self.distance = _ascending(summary["distance"], 2)
        self._distance_of = Distance(**summary["embedding"])

    def distances(self, heard: Heard) -> np.ndarray:
        """How far the embeddings of recordings are from those of training, [n]."""
        return self._distance_of(heard.embeddings)

    def parts(self, heard: Heard) -> np.ndarray:
        """How far recordings are from the middle of each number: [n, 1 + MEASURES].

        In units of how far the ends of its range are; as `NAMES` has them.
        """
        parts = [embedding_part(self.distances(heard), *self.distance)]
        for i, name in enumerate(MEASURES):
            bounds = self.measures.get(name)
            values = heard.measures[:, i]
            if bounds is None:
                parts.append(np.zeros(len(values)))
            else:
                parts.append(measure_part(name, values, *bounds))
        return np.nan_to_num(np.stack(parts, axis=1), nan=0.0, posinf=1e6)

    def deviations(self, heard: Heard) -> np.ndarray:
        """How far recordings are from those of training: [n], in range up to 1."""
        return self.parts(heard).max(axis=1) / self.limit

    def reasons(self, heard: Heard) -> list[list[str]]:
        """Why each recording is out of range, the strongest first; [] if it is not."""
        rows = zip(
            self.parts(heard), self.distances(heard), heard.measures, strict=True
        )
        return [
            [
                self._reason(i, distance, measures)
                for i in np.argsort(-parts)
                if parts[i] > self.limit
            ]
            for parts, distance, measures in rows
        ]

    def _reason(self, i, distance, measures):
        if i == 0:
            most = self.distance[1]
            return f"embedding at distance {distance:.3g}, training up to {most:.3g}"
        name = (*MEASURES,)[i - 1]
        words, value = MEASURES[name], measures[i - 1]
        low, _, high = self.measures[name]
        return f"{words.name} {value:.3g}{words.unit}, training {low:.3g} to {high:.3g}"


def _ascending(values, n):
    """n numbers of a summary."""
    values = [*map(float, values)]
    if len(values) != n or not np.isfinite(values).all() or values != sorted(values):
        raise ValueError(f"expected {n} numbers in ascending order, found {values}")
    return values


def known_range(summary: dict | None) -> TrainingRange | None:
    """Of the summary that an experiment or an export has, if it has any."""
    return None if summary is None else TrainingRange(summary)


def judged(known: TrainingRange | None, duration_s: float, heard: np.ndarray) -> dict:
    """What is said of a recording's range.

    known: None where nothing is known of the training recordings.
    heard: As `Heard.of` takes it.

    Returns: "in_range", "out_of_range": the reasons.

    >>> judged(None, 1.0, np.zeros(9))
    {'in_range': None, 'out_of_range': []}
    """
    if known is None:
        return {"in_range": None, "out_of_range": []}
    (reasons,) = known.reasons(Heard.of(duration_s, heard))
    return {"in_range": not reasons, "out_of_range": reasons}


def measure_part(name, values, low, middle, high):
    """How far values [n] of a measure are from the middle, 1 at either end."""
    measure = MEASURES[name]
    values, low, middle, high = map(measure.scaled, (values, low, middle, high))
    above = (values - middle) / max(high - middle, measure.least)
    below = (middle - values) / max(middle - low, measure.least)
    return np.maximum(above, below)


def embedding_part(distances, middle, high):
    """The same of distances [n], of which only large ones are odd."""
    return (distances - middle) / max(high - middle, 1e-6 * max(high, 1e-6))


# The distance of embeddings

#: Axes of the covariance that are told apart, at most, and recordings for each.
N_AXES, ROWS_PER_AXIS = 32, 4


def fit_embedding(embeddings: np.ndarray) -> dict:
    """The mean and the covariance of embeddings, as `Distance` takes them.

    The covariance is its leading axes, and one variance of all others: Tipping and
    Bishop (1999), Neural Computation 11:443-482.

    embeddings: [n, size]
    """
    embeddings = np.asarray(embeddings, dtype=np.float64)
    n, size = embeddings.shape
    center = embeddings.mean(axis=0)
    _, lengths, axes = np.linalg.svd(embeddings - center, full_matrices=False)
    variances = lengths**2 / n
    n_axes = min(N_AXES, n // ROWS_PER_AXIS, size - 1)
    smallest = max(1e-4 * variances.sum() / size, 1e-12)
    rest = max(variances[n_axes:].sum() / (size - n_axes), smallest)
    kept = np.maximum(variances[:n_axes], rest)
    return {
        "center": as_text(center),
        "axes": as_text(axes[:n_axes] / np.sqrt(kept)[:, None]),
        "variances": as_text(kept),
        "rest": float(rest),
    }


class Distance:
    """The Mahalanobis distance of embeddings from those of training.

    center, axes, variances, rest: As `fit_embedding` gives them.

    >>> distance = Distance(**fit_embedding([[-3.0, 0], [3, 0], [-3, 0], [3, 0]]))
    >>> distance(np.array([[0.0, 0.0], [6.0, 0.0]])).round(3).tolist()
    [0.0, 2.0]
    """

    def __init__(self, center: str, axes: str, variances: str, rest: float):
        self.center, self.variances = as_array(center), as_array(variances)
        shape = len(self.variances), len(self.center)
        self.axes = as_array(axes).reshape(shape)
        self.rest = float(rest)
        if not 0 < self.rest < np.inf:
            raise ValueError(f"expected a variance above 0, found {rest}")

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """[n, size] → [n]

        Raises UserError: for embeddings of another size.
        """
        size, expected = np.shape(embeddings)[1], len(self.center)
        if size != expected:
            raise UserError(
                "save/training_range.json is another model's: expected embeddings of "
                f"{size} numbers, as this model has, found {expected}. Running "
                "train.py again with the same settings writes it anew."
            )
        away = np.asarray(embeddings, dtype=np.float64) - self.center
        along = away @ self.axes.T
        others = (away**2).sum(axis=1) - along**2 @ self.variances
        squares = (along**2).sum(axis=1) + np.maximum(others, 0) / self.rest
        return np.sqrt(squares)


def as_text(array: np.ndarray) -> str:
    """An array as text for JSON and yaml: float32, little-endian, in base64.

    >>> as_array(as_text(np.array([1.5, -2.0]))).tolist()
    [1.5, -2.0]
    """
    return base64.b64encode(np.asarray(array).astype("<f4").tobytes()).decode("ascii")


def as_array(text: str) -> np.ndarray:
    """What `as_text` wrote: float64 [n]."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)
