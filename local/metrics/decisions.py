"""From a logit to a probability to a decision.

Logits are those without the class weight used in training. An operating point of a
label is {"threshold": {"value", …}, "calibration": None or {"slope", "intercept", …}}.
"""

import numpy as np
from scipy.special import expit


def apply_calibration(parameters: dict, logits) -> np.ndarray:
    """Probabilities of logits, calibrated.

    parameters: What `calibration.fit_calibration` returned, with a slope.
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
    >>> [of.tolist() for of in decide([-1.0, 0.0], [0.27, 0.5], point)]
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
