"""How far raters agree, and the model beside each of them.

Ratings are tables as in `local.data.raters`.
"""

from itertools import combinations

import krippendorff
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import cohen_kappa_score, roc_curve

from local.data.labels import LabelType
from local.data.raters import majority, positive
from local.metrics.estimate import measure
from local.metrics.measures import icc_agreement
from local.utils.ranking import plain_auroc

#: Fewer recordings that two raters have in common say nothing of their agreement.
MIN_COMMON = 3

#: The coefficient of a pair of raters, by the label's level of measurement.
PAIR_MEASURES = {"nominal": "kappa", "ordinal": "weighted_kappa", "interval": "icc"}

NO_INTERVAL = "no interval is computed for raters"


def agreement(ratings: pd.DataFrame, label_type: LabelType) -> dict:
    """How far the raters of one label agree.

    Krippendorff's alpha is nominal for labels that are 0 or 1, ordinal for scales and
    interval for scores; it uses every recording that two raters or more rated. Each
    pair of raters has Cohen's kappa, of scales with quadratic weights, or of scores
    ICC(A,1), on the recordings that both rated. Scales are taken as they were given,
    not as 0 and 1.

    ratings: [n_recordings, n_raters], Codes as given, NaN where not rated.

    Returns: {"raters", "n" (recordings with two ratings or more), "alpha": {"value", …,
        "level"}, "pairs": [{"raters", "n", "measure", "value", …}, …]}.

    >>> from local.data.labels import LabelType
    >>> import pandas as pd
    >>> ratings = pd.DataFrame({"anna": [0, 1, 1, 0.0], "bo": [0, 1, 0, 1.0]})
    >>> agreement(ratings, LabelType())["pairs"][0]["value"]
    0.0
    """
    several = ratings[ratings.notna().sum(axis=1) >= 2]
    level = label_type.level
    pairs = []
    for first, second in combinations(ratings.columns, 2):
        both = ratings[[first, second]].dropna().to_numpy(dtype=float)
        value, reason = _pair_agreement(both, level)
        pair = {"raters": [first, second], "n": len(both)}
        pair["measure"] = PAIR_MEASURES[level]
        pairs.append(pair | _measure(value, reason))
    value, reason = _alpha(several.to_numpy(dtype=float), level)
    return {
        "raters": list(ratings.columns),
        "n": len(several),
        "alpha": _measure(value, reason) | {"level": level},
        "pairs": pairs,
    }


def _measure(value, reason=None):
    return measure(value, reason=reason or NO_INTERVAL)


def _not_computable(values, n):
    """Why ratings (of n recordings, NaN for none) have no agreement; None if any."""
    if n < MIN_COMMON:
        return f"fewer than {MIN_COMMON} recordings are rated by both or more: {n}"
    if np.nanmin(values) == np.nanmax(values):
        return f"all ratings of the {n} recordings are the same"
    return None


def _alpha(ratings, level):
    """Krippendorff's alpha of [n, n_raters], each row with two ratings or more."""
    reason = _not_computable(ratings, len(ratings))
    if reason:
        return None, reason
    if level != "interval":
        return float(krippendorff.alpha(ratings.T, level_of_measurement=level)), None
    # The package needs memory for recordings x values x values: too much of scores.
    # With squared distances both disagreements are variances: those inside the
    # recordings, each with the weight of its number of ratings, and that of all.
    counts = (~np.isnan(ratings)).sum(axis=1)
    inside = (counts * np.nanvar(ratings, axis=1, ddof=1)).sum() / counts.sum()
    return float(1 - inside / np.nanvar(ratings, ddof=1)), None


def _pair_agreement(both, level):
    """Kappa or ICC of [n, 2] ratings without gaps."""
    reason = _not_computable(both, len(both)) if len(both) else "no common recording"
    if reason:
        return None, reason
    if level == "interval":
        return float(icc_agreement(*both.T, np.ones((1, len(both))))[0]), None
    # Quadratic weights are by place on the scale: also the places nobody used count.
    scale = np.union1d(np.arange(both.min(), both.max() + 1), both)
    places = np.searchsorted(scale, both)
    weights = "quadratic" if level == "ordinal" else None
    kappa = cohen_kappa_score(*places.T, labels=np.arange(len(scale)), weights=weights)
    return float(kappa), None


def raters_on_roc(
    ratings: pd.DataFrame, label_type: LabelType, predictions: ArrayLike
) -> list[dict]:
    """Each rater against the majority of the others, beside the model.

    The reference is what most of the other raters say (ties: none), so each rater has
    one of their own. The model is scored on exactly the recordings that the rater
    rated and that have this reference: a point above its ROC curve is a rater who does
    better than the model there.

    ratings: [n_recordings, n_raters], Codes as given, NaN where not rated.
    predictions: [n_recordings], The model's logits or probabilities; NaN for a
        recording without any.

    Returns: Per rater {"rater", "n", "n_positive", "sensitivity", "specificity",
        "model_auroc", "model_sensitivity"}; the last is the model's largest sensitivity
        where its specificity is at least the rater's. Each is None with a reason where
        it can't be computed.
    """
    predictions = np.asarray(predictions, dtype=float)
    names = ("sensitivity", "specificity", "model_auroc", "model_sensitivity")
    points = []
    for rater in ratings.columns:
        point = {"rater": rater, "n": 0, "n_positive": 0}
        if label_type.positive_from is None:
            reason = "a score has no positive class"
            points.append(point | {name: _measure(None, reason) for name in names})
            continue
        reference = majority(ratings.drop(columns=rater), label_type)
        said = positive(ratings[rater], label_type).to_numpy()
        used = ~np.isnan(reference) & ~np.isnan(said) & ~np.isnan(predictions)
        reference, said = reference[used] == 1, said[used] == 1
        point |= {"n": int(used.sum()), "n_positive": int(reference.sum())}
        values = _rater_and_model(reference, said, predictions[used])
        points.append(point | dict(zip(names, values, strict=True)))
    return points


def _rater_and_model(reference, said, predictions):
    """The four measures of `raters_on_roc`; all of them are [n], without gaps."""
    if not len(reference):
        reason = "no recording is rated by this rater and decided by the others"
        return [_measure(None, reason)] * 4
    sensitivity = _share(said[reference], "the others call no recording positive")
    specificity = _share(~said[~reference], "the others call all recordings positive")
    if None in (sensitivity["value"], specificity["value"]):
        reason = sensitivity["reason"] if not reference.any() else specificity["reason"]
        return [
            sensitivity,
            specificity,
            _measure(None, reason),
            _measure(None, reason),
        ]
    fpr, tpr, _ = roc_curve(reference, predictions, drop_intermediate=False)
    # 1e-9: the same share of the negatives, calculated otherwise
    reached = tpr[1 - fpr >= specificity["value"] - 1e-9].max()
    auroc = plain_auroc(reference, predictions)
    return [sensitivity, specificity, _measure(auroc), _measure(float(reached))]


def _share(hits, reason):
    return _measure(float(hits.mean())) if len(hits) else _measure(None, reason)
