"""A measure, how far each subject moves it, and the interval that follows.

The influence of a subject is the change of the measure if the subject counted a little
more: any smooth measure of many subjects is nearly its expectation plus the sum of
their influences. So the sum of their squares is its variance, however many recordings
a subject has; and the influence on a mean over labels is the mean of the influences.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t

from local.metrics.estimate import exact_interval, measure

LEVEL = 0.95

#: A smaller standard error is due to rounding.
ROUNDING = 1e-7

#: Scale → there, back, and its slope at a value: intervals are symmetric on the scale.
SCALES = {
    "plain": (np.asarray, np.asarray, np.ones_like),
    "logit": (logit, expit, lambda value: 1 / (value * (1 - value))),
    "log": (np.log, np.exp, lambda value: 1 / value),
    "correlation": (np.arctanh, np.tanh, lambda value: 1 / (1 - value**2)),
    # 1 less a ratio of two losses
    "skill": (
        lambda value: -np.log1p(-value),
        lambda value: -np.expm1(-value),
        lambda value: 1 / (1 - value),
    ),
}


class Linearised(NamedTuple):
    """A measure with all that its interval needs.

    value: None if it can't be computed.
    reason: Why there is no value, or no interval.
    influence: By subject; enlarged so that the sum of squares has no bias.
    freedom: Degrees of freedom of the variance.
    n: The subjects that it is a share of, for an exact interval where nothing varies; 0
        if it is no such share.
    scale: One of `SCALES`.
    variance: None: the sum of squared influences.
    """

    value: float | None
    reason: str | None = None
    influence: pd.Series | None = None
    freedom: int = 0
    n: int = 0
    scale: str = "plain"
    variance: float | None = None

    def interval(self) -> dict:
        """The value and its 95 % interval, as `estimate.measure` has them.

        Student's t on the scale of the measure. Where nothing varies between subjects,
        or the value is at the end of the scale, the exact interval of a share.
        """
        if self.value is None or self.reason:
            return measure(self.value, reason=self.reason)
        variance = self.variance
        if variance is None:
            variance = (self.influence**2).sum()
        there, back, slope = SCALES[self.scale]
        value = np.float64(self.value)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.sqrt(variance) * slope(value)
        if np.sqrt(variance) <= ROUNDING or not np.isfinite(error):
            if self.n:
                return measure(value, exact_interval(value, self.n))
            return measure(value, reason="it does not vary between subjects")
        if self.freedom < 1:
            reason = "too few subjects for their variance: no degree of freedom"
            return measure(value, reason=reason)
        half_width = t.ppf((1 + LEVEL) / 2, self.freedom) * error
        return measure(value, back(there(value) + half_width * np.array([-1, 1])))


def mean_over_labels(labels: dict[str, Linearised]) -> Linearised:
    """The mean of a measure over labels; of a single label it is that label's.

    The degrees of freedom, and the subjects of an exact interval, are the fewest of any
    label.

    labels: The measure by label, at least one.

    Returns: Without a value where one label has none, without an interval where one
        label has none, with the reason.

    >>> one = Linearised(0.5, influence=pd.Series({"ann": 0.1, "bo": -0.1}))
    >>> mean = mean_over_labels({"x": one, "y": one._replace(value=0.7)})
    >>> mean.value, mean.influence.to_dict()
    (0.6, {'ann': 0.1, 'bo': -0.1})
    """
    if len(labels) == 1:
        return next(iter(labels.values()))
    undefined = [name for name, each in labels.items() if each.value is None]
    if undefined:
        reason = labels[undefined[0]].reason
        return Linearised(None, f"{', '.join(undefined)}: {reason}")
    value = float(np.mean([each.value for each in labels.values()]))
    for name, each in labels.items():
        if each.reason:
            return Linearised(value, f"{name}: {each.reason}")
    influence = pd.concat([each.influence for each in labels.values()])
    return Linearised(
        value,
        influence=influence.groupby(level=0).sum() / len(labels),
        freedom=min(each.freedom for each in labels.values()),
        n=min(each.n for each in labels.values()),
        scale=next(iter(labels.values())).scale,
    )
