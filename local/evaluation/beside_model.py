"""A model beside baselines, in pairs: on the same recordings of the same subjects."""

import numpy as np
import pandas as pd

from local.data.predictions_table import COLUMNS
from local.evaluation.baselines import ACOUSTIC, PREVALENCE
from local.metrics.cases import Rated, finite_logits, rated_rows
from local.metrics.comparison import Paired, auroc_of, difference, verdict
from local.metrics.estimate import measure, with_holm
from local.metrics.linearised import mean_over_labels

#: What the file of a baseline's predictions is called, where not as itself.
FILE_NAMES = {ACOUSTIC: "acoustic"}

NO_LABEL = "no label has both classes"


def baseline_tables(
    table: pd.DataFrame,
    uids: pd.Series,
    names: list[str],
    probabilities: dict[str, np.ndarray],
) -> dict[str, pd.DataFrame]:
    """The predictions of baselines, in the columns of a table of predictions.

    table: The model's.
    uids: [n], The recordings in the order of the probabilities.
    names: The labels in that order.
    probabilities: By baseline [n, n_labels], NaN where there are none.

    Returns: By baseline the rows of those that have a probability, if any have.
    """
    tables = {}
    for baseline, values in probabilities.items():
        frame = pd.DataFrame(values, index=uids.to_numpy(), columns=names)
        places = frame.index.get_indexer(table["uid"])
        columns = frame.columns.get_indexer(table["label"])
        own = frame.to_numpy()[places, columns]
        rows = table.assign(
            logit=finite_logits(own),
            probability=own,
            predicted=pd.array([None] * len(table), dtype="Int8"),
        )
        tables[baseline] = rows.loc[~np.isnan(own), list(COLUMNS)]
    return {baseline: own for baseline, own in tables.items() if len(own)}


def with_differences(
    results: dict[str, dict],
    tables: dict[str, pd.DataFrame],
    model: pd.DataFrame,
    folds: pd.Series | None = None,
) -> dict[str, dict]:
    """The results of baselines, with how far the model is above them.

    P-values are corrected by Holm's method over all baselines and labels, those of the
    means over labels over the baselines. The prevalence tells nothing of a recording:
    a model is above it where its AUROC is above 0.5.

    results: As `baselines.baseline_results` gives them.
    tables: Of `baseline_tables`.
    model: The model's table.
    folds: By uid, of a cross-validation.

    Returns: In each label that has an AUROC "difference", {"value", "low", "high", "p",
        "p_holm"}, the model's AUROC less the baseline's, and "verdict" (see
        `comparison.verdict`). In each baseline "macro", {"n_labels", "auroc",
        "difference", "verdict"}.
    """
    pairs = {
        baseline: _pairs(table, model, folds)
        for baseline, table in tables.items()
        if baseline != PREVALENCE
    }
    of_labels = with_holm(
        {
            (baseline, label): difference({label: pair})
            for baseline, labels in pairs.items()
            for label, pair in labels.items()
        }
    )
    means = with_holm(
        {name: difference(labels) for name, labels in pairs.items() if labels}
    )
    told = {}
    for baseline, result in results.items():
        told[baseline] = result
        if baseline not in pairs:
            continue
        labels = {
            label: entry | _told(of_labels.get((baseline, label)))
            for label, entry in result["labels"].items()
        }
        macro = _macro(pairs[baseline]) | _told(means.get(baseline))
        told[baseline] = result | {"labels": labels, "macro": macro}
    return told


def _told(entry):
    return {} if entry is None else {"difference": entry, "verdict": verdict(entry)}


def _pairs(baseline, model, folds):
    """AUROC of the model and of a baseline, by label, where both can be computed."""
    pairs = {}
    for label in dict.fromkeys(baseline["label"]):
        own = baseline[baseline["label"] == label].set_index("uid")
        rows = model[(model["label"] == label) & model["uid"].isin(own.index)]
        rated = rated_rows(rows, label)
        uids = rows["uid"][rows["target"].notna()]
        of_rows = None if folds is None else folds.loc[uids].to_numpy()
        theirs = own["probability"].loc[uids].to_numpy()
        both = rated, Rated(rated.targets, theirs, rated.subjects)
        pair = Paired(*(auroc_of(system, of_rows) for system in both))
        if pair.first.value is not None:
            pairs[label] = pair
    return pairs


def _macro(pairs):
    """The mean of a baseline's AUROC over labels."""
    if not pairs:
        return {"n_labels": 0, "auroc": measure(None, reason=NO_LABEL)}
    auroc = mean_over_labels({label: pair.second for label, pair in pairs.items()})
    return {"n_labels": len(pairs), "auroc": auroc.interval()}
