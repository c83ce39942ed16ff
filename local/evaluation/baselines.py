"""Plain baselines beside a model: the prevalence, and logistic regression on features.

All learn from the training split alone and are measured on the split that is scored; of
a cross-validation from the other folds, and on each fold. A network that is no better
than they are is not worth its trouble.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from local.data.labels import why_one_class
from local.metrics import measures
from local.metrics.estimate import measure
from local.metrics.intervals import measure_intervals
from local.model.kernel_fitting import Fitting
from local.model.kernel_heads import LINEAR, RobustStandardisation

#: The baselines that every evaluation has.
PREVALENCE, ACOUSTIC = "prevalence", "acoustic statistics"

DESCRIPTIONS = {
    PREVALENCE: "The share of positives in the training split, for every recording",
    ACOUSTIC: "Logistic regression on acoustic statistics of the same recordings "
    "(cepstrum, level, spectrum, F0, jitter, shimmer, harmonicity, duration, pauses)",
}

MEASURES = {
    "auroc": measures.auroc,
    "auprc": measures.auprc,
    "log_loss": measures.log_loss,
    "brier": measures.brier,
}

IS_SCORE = "the label is a score: baselines are of labels that are 0 or 1"
CONSTANT = "0.5 by definition: all recordings have the same probability"

NO_FEATURES = "no recording has features"


def baseline_results(
    train: pd.DataFrame,
    scored: pd.DataFrame,
    names: list[str],
    features: dict[str, tuple | str],
    scores: Collection[str] = (),
    seed: int = 0,
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """What metrics.json has under "baselines", but for differences.

    train, scored: Manifests [n_train rows], [n rows] of the training split and of the
        one that is scored, with `subject` and the labels (0, 1, NaN).
    names: The labels.
    features: By the baseline's name those of the recordings of both manifests,
        array-like [n_train, n_features] and [n, n_features], rows of NaN where they are
        not known; or the reason why there are none.
    scores: Labels that are scores: they have no baselines.
    seed: Of the folds in which strength is chosen.

    Returns results: {"description", "labels": {label: {measure: entry} or {"reason"}}}
        of `PREVALENCE` and of each name in `features`; the description tells how many
        recordings have features, if not all.
    Returns probabilities: [n, n_labels], Those of the scored recordings, NaN where
        there is a reason.
    """
    predicted = {
        baseline: _predict(train, len(scored), names, given, scores, seed)
        for baseline, given in {PREVALENCE: None, **features}.items()
    }
    return _results(scored, names, predicted, features)


def out_of_fold(
    manifest: pd.DataFrame,
    folds: np.ndarray,
    names: list[str],
    features: dict[str, ArrayLike | str],
    scores: Collection[str] = (),
    seed: int = 0,
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """The same for a cross-validation: each fold is predicted from the others.

    AUROC is computed within folds and averaged, as that of the networks is.

    manifest: [n rows], Of all recordings.
    folds: [n], The fold of each.
    features: By the baseline's name [n, n_features], rows of NaN where they are not
        known; or the reason why there are none.

    Returns results, probabilities: As `baseline_results`; a label that some folds only
        can't learn has no probabilities there.
    """
    predicted = {
        baseline: predict_folds(manifest, folds, names, own, scores, seed)
        for baseline, own in {PREVALENCE: None, **features}.items()
    }
    # each recording is learned from, and is measured
    twice = {k: v if isinstance(v, str) else (v, v) for k, v in features.items()}
    return _results(manifest, names, predicted, twice, folds)


def predict_folds(
    manifest: pd.DataFrame,
    folds: np.ndarray,
    names: list[str],
    features: ArrayLike | str | None,
    scores: Collection[str] = (),
    seed: int = 0,
) -> tuple[np.ndarray, dict[str, str]]:
    """What one baseline says of each fold, after learning from the others.

    features: As those of a baseline in `out_of_fold`; None: the prevalence.

    Returns probabilities: [n, n_labels]
    Returns reasons: Of the labels that have none in any fold.
    """
    probabilities, reasons = np.full((len(manifest), len(names)), np.nan), {}
    is_given = features is not None and not isinstance(features, str)
    rows = np.asarray(features) if is_given else None
    for fold in pd.unique(folds):
        out = folds == fold
        used = (rows[~out], rows[out]) if is_given else features
        n = int(out.sum())
        probabilities[out], own = _predict(manifest[~out], n, names, used, scores, seed)
        reasons |= own
    nowhere = np.isnan(probabilities).all(axis=0)
    lacking = [name for name, none in zip(names, nowhere, strict=True) if none]
    return probabilities, {name: reasons.get(name, NO_FEATURES) for name in lacking}


def _results(scored, names, predicted, features, folds=None):
    """Results and probabilities, as `baseline_results` gives them.

    predicted : by baseline (probabilities [n, n_labels], {label: reason})
    """
    results = {}
    for baseline, (probabilities, reasons) in predicted.items():
        labels = {
            name: {"reason": reasons[name]}
            if name in reasons
            else _measured(
                scored[name],
                probabilities[:, i],
                scored["subject"],
                folds,
                baseline == PREVALENCE,
            )
            for i, name in enumerate(names)
        }
        description = f"Logistic regression on the features {baseline}"
        description = DESCRIPTIONS.get(baseline, description)
        description += _of_a_part(features.get(baseline))
        results[baseline] = {"description": description, "labels": labels}
    return results, {name: values for name, (values, _) in predicted.items()}


def _predict(train, n, names, features, scores, seed):
    """A baseline's probabilities [n, n_labels], and by label why they are NaN.

    features : as those of a baseline in `baseline_results`; None for the prevalence
    """
    probabilities, reasons = np.full((n, len(names)), np.nan), {}
    subjects = train["subject"].astype(str).to_numpy(dtype=object)
    for i, name in enumerate(names):
        if name in scores or isinstance(features, str):
            reasons[name] = IS_SCORE if name in scores else features
            continue
        targets = train[name].to_numpy(dtype=float)
        if features is None:
            probabilities[:, i], reason = prevalence_baseline(targets, n)
        else:
            learned, scored = (np.asarray(split, dtype=float) for split in features)
            probabilities[:, i], reason = logistic_baseline(
                learned, targets, subjects, scored, seed
            )
        if reason:
            reasons[name] = reason
    return probabilities, reasons


def _of_a_part(features):
    """How many recordings have features, where not all have; for a description.

    features : as those of a baseline in `baseline_results`; None for the prevalence
    """
    if features is None or isinstance(features, str):
        return ""
    counts = [(int(_known(split).sum()), len(split)) for split in features]
    if all(known == n for known, n in counts):
        return ""
    learned, measured = (f"{known:,} of {n:,}" for known, n in counts)
    return f"; known of {learned} training recordings and of {measured} of this split"


def _known(features):
    """Which rows of features [n, n_features] are not NaN throughout, [n]."""
    return ~np.isnan(np.asarray(features, dtype=float)).all(axis=1)


def _measured(targets, probabilities, subjects, folds, is_prevalence):
    """The measures of one label's baseline, as metrics.json has them."""
    there = ~np.isnan(probabilities)
    targets, subjects = targets.to_numpy(dtype=float), subjects.astype(str).to_numpy()
    given = targets[there], probabilities[there], subjects[there]
    within = None if folds is None else folds[there]
    entries = measure_intervals(MEASURES, *given, folds=within)
    if entries["auroc"]["value"] is not None and is_prevalence:
        entries["auroc"] = measure(0.5, reason=CONSTANT)
    return entries


def prevalence_baseline(targets: ArrayLike, n: int) -> tuple[np.ndarray, str | None]:
    """Gives each recording the share of positives among the rated training recordings.

    targets: [n_train], 0, 1, or NaN for "not rated".
    n: How many recordings are scored.

    Returns probabilities: [n]
    Returns reason: Why they are NaN: the training has one class only, and no network
        learns it.

    >>> prevalence_baseline([0, 1, np.nan], n=2)
    (array([0.5, 0.5]), None)
    """
    targets = np.asarray(targets, dtype=float)
    targets = targets[~np.isnan(targets)]
    if reason := why_one_class(targets):
        return np.full(n, np.nan), f"in training: {reason}"
    return np.full(n, targets.mean()), None


def logistic_baseline(
    train_features: np.ndarray,
    targets: np.ndarray,
    subjects: np.ndarray,
    features: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, str | None]:
    """Gives each recording the probability of a logistic regression on features.

    As a linear head of `local.model.kernel_heads`: features become normal scores of the
    training recordings, gaps get the median, and folds over the training subjects
    choose the strength of the L2 penalty.

    train_features: [n_train, n_features], NaN where something could not be measured;
        rows of NaN are left out.
    targets: [n_train], 0, 1, or NaN for "not rated".
    subjects: [n_train] of str
    features: [n, n_features], Of the recordings that are scored; rows of NaN get none.
    seed: Of the folds.

    Returns probabilities: [n]
    Returns reason: Why they are NaN.
    """
    rated, known = ~np.isnan(targets) & _known(train_features), _known(features)
    predicted = np.full(len(features), np.nan)
    if reason := why_one_class(targets[rated]):
        return predicted, f"in training: {reason}"
    standardised = RobustStandardisation()
    standardised.fit(train_features[rated])
    if not standardised.varies.any():
        return predicted, "the features are the same for all training recordings"
    inputs, scored = (
        standardised(torch.as_tensor(rows, dtype=torch.float32)).numpy()
        for rows in (train_features[rated], features[known])
    )
    fitting = Fitting(targets[rated], subjects[rated], seed=seed)
    _, strength, reason = fitting.choose({LINEAR: inputs}, (LINEAR,))
    if reason:
        return predicted, f"in training: {reason}"
    if known.any():
        model = fitting.model(inputs, strength)
        predicted[known] = model.predict_proba(scored)[:, 1]
    return predicted, None
