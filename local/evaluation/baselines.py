"""Plain baselines beside a model: the prevalence, and logistic regression on features.

All learn from the training split alone and are measured on the split that is scored. A
network that is no better than they are is not worth its trouble.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import ArrayLike

from local.data.labels import score_labels, why_one_class
from local.data.pseudonyms import Pseudonyms
from local.metrics import measures
from local.metrics.estimate import measure
from local.metrics.intervals import auroc_interval, measure_intervals
from local.model.kernel_heads import LINEAR, Fitting, RobustStandardisation
from local.utils.errors import UserError

#: The baselines that every evaluation has.
PREVALENCE, ACOUSTIC = "prevalence", "acoustic statistics"

DESCRIPTIONS = {
    PREVALENCE: "The share of positives in the training split, for every recording",
    ACOUSTIC: "Logistic regression on acoustic statistics of the same recordings "
    "(cepstrum, level, spectrum, F0, jitter, shimmer, harmonicity, duration, pauses)",
}

#: Measures beside AUROC, which has an interval of another kind.
BOOTSTRAPPED = {
    "auprc": measures.auprc,
    "log_loss": measures.log_loss,
    "brier": measures.brier,
}

IS_SCORE = "the label is a score: baselines are of labels that are 0 or 1"
CONSTANT = "0.5 by definition: all recordings have the same probability"

#: How many uids a message names.
N_NAMED = 5

#: More numbers than these are not read: 8 GB in memory, a million recordings.
MAX_VALUES = 1_000_000_000


def baseline_results(
    train,
    scored,
    names: list[str],
    features: dict[str, tuple | str],
    label_ranges: list[list[float] | None] | None = None,
    seed: int = 0,
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """What metrics.json has under "baselines".

    train, scored (pandas.DataFrame [n_train rows], [n rows]): Manifests of the training
        split and of the one that is scored, with `subject` and the labels (0, 1, NaN).
    names: The labels.
    features: By the baseline's name those of the recordings of both manifests,
        array-like [n_train, n_features] and [n, n_features], rows of NaN where they are
        not known; or the reason why there are none.
    label_ranges: [low, high] of each label that is a score (see `labels.label_ranges`):
        it has no baselines.
    seed: Of the folds and of the draws of subjects.

    Returns results: {"description", "labels": {label: {measure: entry} or {"reason"}}}
        of `PREVALENCE` and of each name in `features`; the description tells how many
        recordings have features, if not all.
    Returns probabilities: [n, n_labels], Those of the scored recordings, NaN where
        there is a reason.
    """
    scores = score_labels(names, label_ranges)
    results, probabilities = {}, {}
    for baseline, given in {PREVALENCE: None, **features}.items():
        labels, columns = {}, []
        for name in names:
            used = IS_SCORE if name in scores else given
            predicted, reason = _predict(train, len(scored), name, used, seed)
            columns.append(predicted)
            labels[name] = (
                {"reason": reason}
                if reason
                else _measured(scored[name], predicted, scored["subject"], seed)
            )
        description = f"Logistic regression on the features {baseline}"
        description = DESCRIPTIONS.get(baseline, description) + _of_a_part(given)
        results[baseline] = {"description": description, "labels": labels}
        probabilities[baseline] = np.stack(columns, axis=1)
    return results, probabilities


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


def _predict(train, n, name, features, seed):
    """A baseline's probabilities [n] of one label, and why they are NaN.

    features : as those of a baseline in `baseline_results`; None for the prevalence
    """
    if isinstance(features, str):
        return np.full(n, np.nan), features
    targets = train[name].to_numpy(dtype=float)
    if features is None:
        return prevalence_baseline(targets, n)
    subjects = train["subject"].astype(str).to_numpy(dtype=object)
    of_training, of_scored = (np.asarray(split, dtype=float) for split in features)
    return logistic_baseline(of_training, targets, subjects, of_scored, seed)


def _measured(targets, probabilities, subjects, seed):
    """The measures of one label's baseline, as metrics.json has them."""
    there = ~np.isnan(probabilities)
    targets, subjects = targets.to_numpy(dtype=float), subjects.astype(str).to_numpy()
    given = targets[there], probabilities[there], subjects[there]
    auroc = auroc_interval(*given)
    if auroc["value"] is not None and np.ptp(given[1]) == 0:
        auroc = measure(0.5, reason=CONSTANT)
    return {"auroc": auroc, **measure_intervals(BOOTSTRAPPED, *given)}


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

    As a linear head of `local.model.kernel_heads`: features are standardised by median
    and interquartile range of the training recordings, gaps get the median, and folds
    over the training subjects choose the strength of the L2 penalty.

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
    if not standardised.scale.any():
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


# Features from a file


def read_features(
    path: str | Path,
    uids: dict[str, Sequence[str]],
    pseudonyms: Pseudonyms | None = None,
) -> dict[str, np.ndarray]:
    """Reads embeddings of recordings, from a file as `extract_embeddings.py` writes it.

    path: Parquet with the columns `uid` and `embedding` (lists of numbers, all of one
        length). Rows of other recordings are left alone.
    uids: By split those of its recordings.
    pseudonyms: By which the file may name recordings.

    Returns: [n, n_features], By split, float64, in the order of its uids.
    Raises UserError: if it is no such file, or a recording has no embedding in it,
        several, or one that is not of finite numbers.
    """
    wanted = {uid for of_split in uids.values() for uid in of_split}
    table = _read_table(path)
    if pseudonyms:
        names = pseudonyms.uids_restored(table["uid"].to_pylist(), wanted)
        table = table.set_column(0, "uid", pa.array(names, pa.string()))
    table = table.filter(pc.is_in(table["uid"], pa.array(wanted, pa.string())))
    given = table.filter(pc.is_valid(table["embedding"]))
    names = given["uid"].to_pandas()
    values = _values(given["embedding"], path)
    problems = [
        _named(f"{split}: no embedding", [u for u in of_split if u not in known])
        for known in [set(names)]
        for split, of_split in uids.items()
    ]
    problems += [
        _named("more than one embedding", names[names.duplicated()].unique()),
        _named("numbers that are not finite", names[~np.isfinite(values).all(axis=1)]),
    ]
    if problems := [problem for problem in problems if problem]:
        raise UserError(
            f"features {path} must hold one embedding for every recording of "
            f"{' and '.join(uids)}; extract them with a CSV that lists all of these:",
            problems,
        )
    rows = pd.Series(range(len(names)), index=names)
    return {split: values[rows[list(of_split)]] for split, of_split in uids.items()}


def _read_table(path):
    """The columns `uid`, as text, and `embedding` of a file."""
    try:
        schema = pq.read_schema(path)
        n_values = _n_values(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"features {path} can't be read as parquet: {' '.join(str(error).split())}"
        ) from error
    if n_values > MAX_VALUES:
        raise UserError(
            f"features {path} holds {n_values:.3g} numbers, and more than "
            f"{MAX_VALUES:.0e} are not read: take fewer recordings."
        )
    types = {field.name: field.type for field in schema}
    numbers = getattr(types.get("embedding"), "value_type", None)
    if "uid" not in types or not (
        numbers and (pa.types.is_floating(numbers) or pa.types.is_integer(numbers))
    ):
        columns = ", ".join(f"{name} ({kind})" for name, kind in types.items())
        raise UserError(
            f"features {path} must have the columns uid and embedding (a list of "
            f"numbers), as extract_embeddings.py writes them; found: {columns}"
        )
    table = pq.read_table(path, columns=["uid", "embedding"])
    return table.set_column(0, "uid", table["uid"].cast(pa.string()))


def _n_values(path):
    """How many values a parquet file unpacks to: a small one may hold many."""
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return sum(
        group.column(i).num_values for group in groups for i in range(group.num_columns)
    )


def _values(embeddings, path):
    """Embeddings, none of them null, as numbers [n, n_features]."""
    sizes = pc.unique(pc.list_value_length(embeddings)).to_pylist()
    if len(sizes) > 1 or 0 in sizes:
        raise UserError(
            f"features {path} must hold embeddings of one length, found "
            f"{', '.join(map(str, sorted(sizes)))}"
        )
    flat = pc.list_flatten(embeddings).to_numpy().astype(float)
    return flat.reshape(len(embeddings), -1) if sizes else flat.reshape(0, 1)


def _named(what, uids):
    """How many uids have a problem, and the first of them; None without one."""
    uids = list(uids)
    if not uids:
        return None
    more = ", …" if len(uids) > N_NAMED else ""
    return f"{what} of {len(uids)} recordings: {', '.join(uids[:N_NAMED])}{more}"
