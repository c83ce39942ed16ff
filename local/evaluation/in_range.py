"""Whether recordings are like those of training, and what leaving others out brings.

    values = fit_range(train, subjects, valid, subjects_of_valid)
    save_range(values, folder)
    table = with_deviations(table, heard, read_range(folder))
    metrics["selective"] = selective(table)

`heard` is what `scoring.score_split` gives beside the table. Out of range is what is
farther from training, in any number, than 95 % of people that the model was not trained
on: one limit for the largest of all deviations, so that many numbers do not make many
false alarms.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from local.data.predictions_table import DEVIATION, IN_RANGE, scores_in
from local.model.training_range import (
    MEASURES,
    NAMES,
    Heard,
    TrainingRange,
    fit_embedding,
)
from local.storage.experiment_files import TRAINING_RANGE
from local.utils.errors import told_if_damaged
from local.utils.files import read_json, write_json

#: The share of people who are new that stays in range, and what of the training
#: recordings is left out at either end of a measure's range.
INSIDE, TAILS = 0.95, (0.025, 0.5, 0.975)

#: Of fewer people nothing can be said; fewer of validation are not enough on their own.
MIN_SUBJECTS, MIN_VALID = 6, 10
N_FOLDS = 5

#: Coverages of which the risk is told.
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)

UNKNOWN = (
    "in_range is not known: the experiment keeps nothing of what its training "
    "recordings were like (it is of an earlier version, or of too few people)"
)


# What the training recordings were like


def fit_range(
    train: Heard,
    subjects: np.ndarray,
    valid: Heard | None = None,
    valid_subjects: np.ndarray | None = None,
    seed: int = 0,
) -> dict | None:
    """Describe the training recordings, and how far from them new people may be.

    train, subjects: Of the training recordings, or a sample of whole subjects.
    valid, valid_subjects: Of validation: how far embeddings of new people are, if it
        has 10 of them; a network is too sure of those that it was trained on.
    seed: Of the folds of the training subjects, each of which is held against the
        others: all of these, and validation, set the limit.

    Returns: As `training_range.TrainingRange` takes it; None of fewer than 6 people.
    """
    if len(set(subjects)) < MIN_SUBJECTS:
        return None
    values = _described(train)
    names, owners = np.unique(subjects.astype(str), return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(names))[owners] % N_FOLDS
    held = [  # what describes others, and people that are held against it
        (_described(train.rows(out)), train.rows(~out), subjects[~out])
        for out in (folds != fold for fold in range(N_FOLDS))
    ]
    if valid is not None:
        held.append((values, valid, valid_subjects))
    first = N_FOLDS if len(set(held[-1][2])) >= MIN_VALID and valid is not None else 0
    typical = _quantiles(
        np.concatenate([TrainingRange(k).distances(new) for k, new, _ in held[first:]]),
        _weights(np.concatenate([owners for *_, owners in held[first:]])),
        (0.5, INSIDE),
    )
    scores = [
        TrainingRange(known | {"distance": typical}).parts(new).max(axis=1)
        for known, new, _ in held
    ]
    people = np.concatenate([owners for *_, owners in held])
    return values | {
        "distance": typical,
        "limit": _limit(np.concatenate(scores), people, _weights(people)),
        "source": "validation" if first else "out-of-fold",
        "n_subjects": len(set(people)),
    }


def range_of_training(
    outputs: dict[str, tuple[pd.DataFrame, pd.Series]],
    manifests: dict[str, pd.DataFrame],
    seed: int = 0,
) -> dict | None:
    """`fit_range` of a model that was just trained.

    outputs: What `scoring.score_split` gives of train and, if there is one, valid.
    manifests: By split, of all recordings.
    """
    people = []
    for split in [split for split in ("train", "valid") if split in outputs]:
        heard = outputs[split][1]
        owners = manifests[split].set_index("ID")["subject"].loc[heard.index]
        people += [Heard.joined(heard.tolist()), owners.to_numpy()]
    return fit_range(*people, seed=seed)


def _described(heard):
    """The numbers of some recordings, with no limit yet."""
    columns = zip(MEASURES, heard.measures.T, strict=True)
    return {
        "limit": 1.0,
        "distance": [0.0, 1.0],
        "measures": {
            name: np.quantile(column, TAILS).tolist()
            for name, column in columns
            if np.isfinite(column).all()
        },
        "embedding": fit_embedding(heard.embeddings),
    }


def _weights(subjects):
    """The weight of each recording: each person's are 1 together."""
    return 1 / pd.Series(subjects).groupby(subjects).transform("size").to_numpy()


def _quantiles(values, weights, shares):
    """The smallest values that have so much of the weight up to them."""
    shares = np.array(shares) - 1e-9  # rounding is no step to the next one
    return np.quantile(values, shares, weights=weights, method="inverted_cdf").tolist()


def _limit(scores, subjects, weights):
    """The largest deviation of people who are new but 5 %; 1 at least.

    As in conformal prediction (Vovk et al. 2005, Algorithmic Learning in a Random
    World) the next person counts as one of them. Fewer than 19 people have no such
    quantile: there it is a prediction limit of the logarithms, taken as normal.
    """
    n = len(set(subjects))
    share = INSIDE * (n + 1) / n
    if share <= 1:
        return max(1.0, _quantiles(scores, weights, (share,))[0])
    logs = np.log(np.maximum(scores, 0.1))
    mean = np.average(logs, weights=weights)
    variance = np.average((logs - mean) ** 2, weights=weights) * n / (n - 1)
    reach = t.ppf(INSIDE, n - 1) * np.sqrt(variance * (1 + 1 / n))
    return max(1.0, float(np.exp(mean + reach)))


# Its file


def save_range(values: dict | None, folder: Path):
    """Write it into an experiment's folder; of None what was there goes."""
    path = Path(folder) / TRAINING_RANGE
    if values is None:
        path.unlink(missing_ok=True)
    else:
        write_json(path, values)


def read_range(folder: Path) -> dict | None:
    """That of an experiment; None where it has none.

    Raises UserError: if the file is damaged.
    """
    path = Path(folder) / TRAINING_RANGE
    if not path.is_file():
        return None
    expected = (
        "what train.py wrote of its training recordings. Running train.py again with "
        "the same settings writes it anew."
    )
    with told_if_damaged(path, expected):
        values = read_json(path)
        TrainingRange(values)
    return values


# Recordings that are scored


def with_deviations(
    table: pd.DataFrame, heard: pd.Series, values: dict | None
) -> tuple[pd.DataFrame, list[str]]:
    """A table of predictions that says whether its recordings are in range.

    heard: By uid, [1] each (see `scoring.score_split`).
    values: As `read_range` gives them.

    Returns table: With `in_range` and `deviation`, or as it was.
    Returns notes: How many are out of range, and why; or that it is not known.
    """
    if values is None:
        return table, [UNKNOWN]
    known, everything = TrainingRange(values), Heard.joined(heard.tolist())
    deviations = pd.Series(known.deviations(everything), index=heard.index)
    own = deviations.loc[table["uid"]].to_numpy()
    table = table.assign(
        **{IN_RANGE: pd.array((own <= 1).astype(int), dtype="Int8"), DEVIATION: own}
    )
    return table, _notes(known.parts(everything)[deviations > 1], len(heard))


def _notes(parts, n):
    """How many of n recordings are out of range, and what is odd about most of them."""
    if not len(parts):
        return []
    kinds = Counter(NAMES[i] for i in parts.argmax(axis=1)).most_common()
    return [
        f"{len(parts)} of {n} recordings are out of the range of the training "
        f"recordings, most of all by: {', '.join(f'{kind} {k}' for kind, k in kinds)}"
    ]


def selective(table: pd.DataFrame) -> dict:
    """What leaving out recordings that are out of range does to the errors.

    table: A table of predictions with decisions.

    Returns: "n", "n_out_of_range", "coverage" (the share of recordings in range), and
        "labels", {label: {"n", "n_in_range", "accuracy": {"all", "in_range"},
        "sensitivity": …, "specificity": …, "risk_coverage": [{"coverage", "risk"}]}},
        of a score "mae" in the place of these three. Risk is the share of wrong
        decisions, or the mean error of a score, in so large a share of the recordings
        as is nearest to training. None where there is nothing to count. Without
        `deviation` in the table only a "reason".
    """
    if DEVIATION not in table:
        return {"reason": UNKNOWN}
    rows = table[table[DEVIATION].notna()]
    inside = rows.drop_duplicates("uid")[IN_RANGE]
    scores = scores_in(rows)
    return {
        "n": len(inside),
        "n_out_of_range": int((inside == 0).sum()),
        "coverage": _mean(inside),
        "labels": {
            label: _selective_label(own[own["target"].notna()], label in scores)
            for label, own in rows.groupby("label", sort=False)
        },
    }


def _selective_label(rows, is_score):
    """The same of one label: its rated rows."""
    inside = (rows[IN_RANGE] == 1).to_numpy()
    targets = rows["target"].to_numpy()
    errors = errors_of(rows, is_score)
    if is_score:
        shares = {"mae": (errors, slice(None))}
    else:
        shares = {
            "accuracy": (1 - errors, slice(None)),
            "sensitivity": (1 - errors, targets == 1),
            "specificity": (1 - errors, targets == 0),
        }
    ordered = errors[np.argsort(rows[DEVIATION].to_numpy(), kind="stable")]
    return {
        "n": len(rows),
        "n_in_range": int(inside.sum()),
        **{
            name: {
                "all": _mean(values[chosen]),
                "in_range": _mean(values[chosen][inside[chosen]]),
            }
            for name, (values, chosen) in shares.items()
        },
        "risk_coverage": [
            {"coverage": share, "risk": _mean(ordered[: round(share * len(ordered))])}
            for share in COVERAGES
        ],
    }


def errors_of(rows: pd.DataFrame, is_score: bool) -> np.ndarray:
    """The error of each row of a label, 1 if it is wrong; NaN without a decision."""
    targets = rows["target"].to_numpy()
    if is_score:
        return np.abs(rows["logit"].to_numpy() - targets)
    predicted = rows["predicted"].to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isnan(predicted), np.nan, predicted != targets)


def _mean(values):
    """The mean; None of nothing, or of what is not known."""
    values = np.asarray(values, dtype=float)
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None
