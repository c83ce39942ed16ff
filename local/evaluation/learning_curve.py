"""How much more subjects would bring: AUROC of a cheap model from parts of them.

The cheap model is the acoustic baseline. Where its curve still rises at all subjects,
more of them are worth recording; a network's curve rises for longer.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from local.data.folds import make_folds
from local.evaluation.baselines import predict_folds
from local.metrics.cases import Rated
from local.metrics.comparison import auroc_of

#: Parts of the subjects, and draws of each.
SHARES, N_DRAWS = (0.25, 0.5, 0.75, 1.0), 5

N_FOLDS = 5

NOT_ALL = "in some draws of subjects no fold has both classes"


def learning_curve(
    features: ArrayLike,
    manifest: pd.DataFrame,
    names: list[str],
    seed: int = 0,
) -> list[dict]:
    """Cross-validates the acoustic baseline with parts of the subjects.

    Subjects are drawn without replacement; in a draw the smaller parts are in the
    larger ones. AUROC is computed within folds over subjects and averaged.

    features: [n, n_features], NaN where something could not be measured.
    manifest: [n rows], With `subject` and the labels (0, 1, NaN).
    names: The labels that are 0 or 1.
    seed: Of the draws and folds.

    Returns: For each part {"share", "n_subjects", "n_draws", "auroc", "labels"}:
        "auroc" is {"mean", "sd"} over the draws, of the mean over the labels that have
        an AUROC in all draws of all parts; in "labels" each label has its own. Both are
        None, with a "reason", where it could not be computed.
    """
    features = np.asarray(features, dtype=float)
    subjects = manifest["subject"].unique()
    sizes = [round(share * len(subjects)) for share in SHARES]
    values = np.full((len(SHARES), N_DRAWS, len(names)), np.nan)
    for draw in range(N_DRAWS):
        order = np.random.default_rng([seed, draw]).permutation(subjects)
        for step, size in enumerate(sizes):
            rows = manifest["subject"].isin(order[:size]).to_numpy()
            part = manifest[rows].reset_index(drop=True)
            values[step, draw] = _aurocs(features[rows], part, names, seed + draw)
    whole = ~np.isnan(values).any(axis=(0, 1))
    return [
        {
            "share": share,
            "n_subjects": size,
            "n_draws": N_DRAWS,
            "auroc": _spread(of_step[:, whole].mean(axis=1) if whole.any() else None),
            "labels": {
                name: {"auroc": _spread(of_step[:, i])} for i, name in enumerate(names)
            },
        }
        for share, size, of_step in zip(SHARES, sizes, values, strict=True)
    ]


def _aurocs(features, manifest, names, seed):
    """AUROC of each label by cross-validation, [n_labels], NaN where there is none."""
    n_folds = min(N_FOLDS, manifest["subject"].nunique())
    values = np.full(len(names), np.nan)
    if n_folds < 2:
        return values
    folds = make_folds(manifest[["subject"]], manifest[names], n_folds, seed)
    probabilities, _ = predict_folds(manifest, folds, names, features, seed=seed)
    subjects = manifest["subject"].to_numpy(dtype=object)
    for i, name in enumerate(names):
        targets = manifest[name].to_numpy(dtype=float)
        known = ~np.isnan(targets) & ~np.isnan(probabilities[:, i])
        rated = Rated(targets[known], probabilities[known, i], subjects[known])
        value = auroc_of(rated, folds[known]).value
        values[i] = np.nan if value is None else value
    return values


def _spread(values):
    if values is None or np.isnan(values).any():
        return {"mean": None, "sd": None, "reason": NOT_ALL}
    return {"mean": float(values.mean()), "sd": float(values.std(ddof=1))}
