"""How far raters agree, and the model beside each of them.

Ratings are tables as in `local.data.raters`. Intervals are from drawing subjects, with
all their recordings (see `resampling.bootstrap`).
"""

from itertools import combinations

import krippendorff
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from local.data.labels import LabelType
from local.data.raters import majority, positive
from local.metrics.estimate import measure, nothing
from local.metrics.intervals import auroc_interval
from local.metrics.measures import (
    icc_agreement,
    quadratic_kappa,
    ratio,
    sensitivity,
    specificity,
)
from local.metrics.resampling import bootstrap

#: Fewer recordings that two raters have in common say nothing of their agreement.
MIN_COMMON = 3

#: The coefficient of a pair of raters, by the label's level of measurement.
PAIR_MEASURES = {"nominal": "kappa", "ordinal": "weighted_kappa", "interval": "icc"}

#: What `raters_on_roc` says of each rater.
OF_RATER = ("sensitivity", "specificity")
OF_MODEL = ("model_auroc", "model_sensitivity", "sensitivity_difference")


def agreement(
    ratings: pd.DataFrame, label_type: LabelType, subjects: ArrayLike, seed: int
) -> dict:
    """How far the raters of one label agree.

    Krippendorff's alpha is nominal for labels that are 0 or 1, ordinal for scales and
    interval for scores; it uses every recording that two raters or more rated. Each
    pair of raters has Cohen's kappa, of scales with quadratic weights, or of scores
    ICC(A,1), on the recordings that both rated. Scales are taken as they were given,
    not as 0 and 1.

    ratings: [n_recordings, n_raters], Codes as given, NaN where not rated.
    subjects: [n_recordings] of str
    seed: Of the draws of subjects.

    Returns: {"raters", "n" (recordings with two ratings or more), "alpha": {"value",
        "low", "high", "level"}, "pairs": [{"raters", "n", "measure", "value", "low",
        "high"}, …]}, with "reason" where something is None.

    >>> from local.data.labels import LabelType
    >>> import pandas as pd
    >>> ratings = pd.DataFrame({"anna": [0, 1, 1, 0.0], "bo": [0, 1, 0, 1.0]})
    >>> agreement(ratings, LabelType(), list("pqrs"), seed=1)["pairs"][0]["value"]
    0.0
    """
    subjects, level = np.asarray(subjects), label_type.level
    pairs = []
    for first, second in combinations(ratings.columns, 2):
        both = ratings[[first, second]].notna().all(axis=1).to_numpy()
        values = ratings.loc[both, [first, second]].to_numpy(dtype=float)
        pair = {"raters": [first, second], "n": len(values)}
        pair["measure"] = PAIR_MEASURES[level]
        pairs.append(pair | _pair_agreement(values, level, subjects[both], seed))
    several = (ratings.notna().sum(axis=1) >= 2).to_numpy()
    values = ratings[several].to_numpy(dtype=float)
    return {
        "raters": list(ratings.columns),
        "n": len(values),
        "alpha": _alpha(values, level, subjects[several], seed) | {"level": level},
        "pairs": pairs,
    }


def _not_computable(values, n):
    """Why ratings (of n recordings, NaN for none) have no agreement; None if any."""
    if n < MIN_COMMON:
        return f"fewer than {MIN_COMMON} recordings are rated by both or more: {n}"
    if np.nanmin(values) == np.nanmax(values):
        return f"all ratings of the {n} recordings are the same"
    return None


def _alpha(ratings, level, subjects, seed):
    """Krippendorff's alpha of [n, n_raters], each row with two ratings or more."""
    if reason := _not_computable(ratings, len(ratings)):
        return measure(None, reason=reason)
    values = np.unique(ratings[~np.isnan(ratings)])
    counts = (ratings[..., None] == values).sum(axis=1) if level != "interval" else None

    def alpha(drawn):
        if counts is None:
            return _alpha_of_scores(ratings[drawn])
        with np.errstate(invalid="ignore"):  # all ratings of a draw may be the same
            return krippendorff.alpha(
                value_counts=counts[drawn],
                value_domain=values,
                level_of_measurement=level,
            )

    rows = np.arange(len(ratings))

    def alphas(weights):
        return np.array([alpha(rows.repeat(counts)) for counts in weights])

    return bootstrap({"alpha": alphas}, subjects, seed)["alpha"]


def _alpha_of_scores(ratings):
    """The same of numbers, NaN where all of them are the same.

    The package needs memory for recordings x values x values: too much of scores. With
    squared distances both disagreements are variances: those inside the recordings,
    each with the weight of its number of ratings, and that of all.
    """
    counts = (~np.isnan(ratings)).sum(axis=1)
    inside = (counts * np.nanvar(ratings, axis=1, ddof=1)).sum() / counts.sum()
    return 1 - ratio(inside, np.nanvar(ratings, ddof=1))


def _pair_agreement(both, level, subjects, seed):
    """Kappa or ICC of [n, 2] ratings without gaps."""
    reason = _not_computable(both, len(both)) if len(both) else "no common recording"
    if reason:
        return measure(None, reason=reason)
    coefficient = icc_agreement
    if level != "interval":
        # Quadratic weights are by place on the scale: also the places nobody used
        # count. Of two places kappa is the same with any weights.
        scale = np.union1d(np.arange(both.min(), both.max() + 1), both)
        both, coefficient = np.searchsorted(scale, both), quadratic_kappa

    agree = {"pair": lambda weights: coefficient(*both.T, weights)}
    return bootstrap(agree, subjects, seed)["pair"]


def raters_on_roc(
    ratings: pd.DataFrame,
    label_type: LabelType,
    predictions: ArrayLike,
    subjects: ArrayLike,
    seed: int,
) -> list[dict]:
    """Each rater against the majority of the others, beside the model.

    The reference is what most of the other raters say (ties: none), so each rater has
    one of their own. The model is scored on exactly the recordings that the rater
    rated and that have this reference: a point above its ROC curve is a rater who does
    better than the model there.

    ratings: [n_recordings, n_raters], Codes as given, NaN where not rated.
    predictions: [n_recordings], The model's logits or probabilities; NaN for a
        recording without any.
    subjects: [n_recordings] of str
    seed: Of the draws of subjects.

    Returns: Per rater {"rater", "n", "n_positive", "sensitivity", "specificity",
        "model_auroc", "model_sensitivity", "sensitivity_difference"}: the last two are
        the model's largest sensitivity where its specificity is at least the rater's,
        and that less the rater's. Each has an interval by subject; of the difference
        both are of the same draws. Each is None with a reason where it can't be
        computed.
    """
    predictions, subjects = np.asarray(predictions, dtype=float), np.asarray(subjects)
    points = []
    for rater in ratings.columns:
        point = {"rater": rater, "n": 0, "n_positive": 0}
        if label_type.positive_from is None:
            reason = "a score has no positive class"
            points.append(point | nothing((*OF_RATER, *OF_MODEL), reason))
            continue
        reference = majority(ratings.drop(columns=rater), label_type)
        said = positive(ratings[rater], label_type).to_numpy()
        used = ~np.isnan(reference) & ~np.isnan(said) & ~np.isnan(predictions)
        reference, said = reference[used], said[used]
        point |= {"n": int(used.sum()), "n_positive": int(reference.sum())}
        values = _rater_and_model(
            reference, said, predictions[used], subjects[used], seed
        )
        points.append(point | values)
    return points


def _rater_and_model(reference, said, predictions, subjects, seed):
    """The measures of `raters_on_roc`; all arguments are [n], without gaps."""
    if not len(reference):
        reason = "no recording is rated by this rater and decided by the others"
        return nothing((*OF_RATER, *OF_MODEL), reason)
    rater = {
        "sensitivity": lambda weights: sensitivity(reference, said, weights, 0.5),
        "specificity": lambda weights: specificity(reference, said, weights, 0.5),
    }
    if (reference == reference[0]).all():
        is_positive = reference[0] == 1
        which = "all recordings" if is_positive else "no recording"
        reason = f"the others call {which} positive"
        undefined = nothing((OF_RATER[int(is_positive)], *OF_MODEL), reason)
        rest = {name: of for name, of in rater.items() if name not in undefined}
        return bootstrap(rest, subjects, seed) | undefined
    order = np.argsort(-predictions, kind="stable")
    cuts = np.append(np.diff(predictions[order]) != 0, True)  # not between equal ones

    def reached(weights):
        """The model's largest sensitivity at the rater's specificity or more, [d]."""
        called, total = {}, {}
        for value in (0, 1):
            own = weights * (reference == value)
            called[value] = own[:, order].cumsum(axis=1)[:, cuts]
            total[value] = own.sum(axis=1)
        # the rest is rounding: the same share, calculated otherwise
        wrong = (1 - rater["specificity"](weights) + 1e-9) * total[0]
        hits = np.where(called[0] <= wrong[:, None], called[1], 0).max(axis=1)
        return ratio(np.where(total[0] > 0, hits, np.nan), total[1])

    model = {
        "model_sensitivity": reached,
        "sensitivity_difference": lambda weights: (
            reached(weights) - rater["sensitivity"](weights)
        ),
    }
    return bootstrap(rater | model, subjects, seed) | {
        "model_auroc": auroc_interval(reference, predictions, subjects)
    }
