"""From a logit to a probability to a decision.

Logits are those without the class weight used in training. An operating point of a
label is {"threshold": {"value", …}, "calibration": None or {"slope", "intercept", …}}.
"""

import numpy as np
from scipy.special import expit


def apply_calibration(parameters: dict, logits) -> np.ndarray:
    """Probabilities of logits, calibrated.

    parameters: What `recalibration.fit_calibration` returned, with a slope.
    logits (array-like of any shape): The same kind that was fitted.

    Returns: In the shape of `logits`.
    Raises ValueError: if nothing could be fitted.

    >>> apply_calibration({"kind": "platt", "slope": 2.0, "intercept": -2.0}, [1.0])
    array([0.5])
    """
    if parameters["slope"] is None:
        raise ValueError(f"there is no calibration: {parameters['reason']}")
    logits = np.asarray(logits, dtype=float)
    return expit(parameters["slope"] * logits + parameters["intercept"])


def decide(logits, probabilities, point: dict | None) -> tuple:
    """Calibrate probabilities and decide, as far as there is an operating point.

    logits, probabilities (array-like of any shape): They belong to each other.

    Returns probabilities: Calibrated, if that was fitted.
    Returns predicted: 1 from the threshold on; None where there is none.

    >>> point = {"threshold": {"value": 0.5}, "calibration": None}
    >>> [array.tolist() for array in decide([-1.0, 0.0], [0.27, 0.5], point)]
    [[0.27, 0.5], [0, 1]]
    """
    calibration = point and point["calibration"]
    if calibration and calibration["slope"] is not None:
        probabilities = apply_calibration(calibration, logits)
    probabilities = np.asarray(probabilities, dtype=float)
    threshold = point and point["threshold"]["value"]
    if threshold is None:
        return probabilities, None
    return probabilities, (probabilities >= threshold).astype(int)


def decisions(
    logits: np.ndarray,
    labels: list[str],
    positive_weights: list[float] | None,
    label_ranges: list[list[float] | None] | None,
    points: dict[str, dict],
) -> dict[str, dict]:
    """What is made of all outputs of the network for a recording.

    logits: [label]
    positive_weights: See `decision`; None: there are none.
    label_ranges: See `decision`; None: there are no scores.
    points: Threshold and calibration of the labels that have them.

    Returns: By label, as `decision` gives it.
    """
    weights = positive_weights or [1.0] * len(labels)
    ranges = label_ranges or [None] * len(labels)
    rows = zip(labels, logits.tolist(), weights, ranges, strict=True)
    return {
        label: decision(logit, weight, bounds, points.get(label))
        for label, logit, weight, bounds in rows
    }


def decision(
    logit: float, positive_weight: float, bounds: list[float] | None, point: dict | None
) -> dict:
    """What is made of one output of the network.

    logit: The output; of a score the predicted score.
    positive_weight: The weight that positives had in the loss; 1 for none.
    bounds: Lowest and highest value of a score, None of any other label.
    point: The label's `threshold` and `calibration`, as `operating_points` has them.

    Returns: `logit`, `probability`, `score`, `threshold`, `predicted`.

    >>> decision(0.0, 1.0, None, None)["probability"]
    0.5
    >>> decision(37.5, 1.0, [0, 100], None)["score"]
    37.5
    """
    nothing = {"logit": logit, "probability": None, "score": None}
    nothing |= {"threshold": None, "predicted": None}
    if bounds:
        return nothing | {"score": logit}
    # a weight w on the positives multiplies their odds by w
    corrected = logit - float(np.log(positive_weight))
    probability, predicted = decide(corrected, expit(corrected), point)
    return nothing | {
        "probability": float(probability),
        "threshold": point["threshold"]["value"] if point else None,
        "predicted": None if predicted is None else int(predicted),
    }
