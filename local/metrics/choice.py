"""Which of several models to take, and what it costs to have chosen.

The simplest model is recommended that the best one does not beat beyond chance: the one
with the highest mean AUROC over labels is the best, and it beats another one where the
interval of their difference lies above 0. That interval is not corrected for the number
of models: a correction would call more differences chance, and recommend a simpler
model though a better one is probably there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from local.metrics.cases import Rated
from local.metrics.comparison import UNVARYING, auroc_of, rated_systems
from local.metrics.estimate import measure
from local.metrics.linearised import mean_over_labels
from local.metrics.repeats import over_repeats
from local.utils.number_format import interval, number

#: Of labels that AUROC can't be computed of.
NO_LABEL = "no label has two classes, so no model can be said to be better"


class Recommendation(NamedTuple):
    """A model, and why; without a name where there is nothing to choose by."""

    name: str | None
    reason: str


def less(differences: dict[str, dict], one: str, other: str) -> dict:
    """The difference of a system less another one, whichever was first in their pair.

    differences: By pair, "A - B".

    >>> pair = {"A - B": {"value": 0.25, "low": 0.125, "high": None}}
    >>> less(pair, "B", "A")
    {'value': -0.25, 'low': None, 'high': -0.125}
    """
    if f"{one} - {other}" in differences:
        return differences[f"{one} - {other}"]
    entry = differences[f"{other} - {one}"]
    signed = {"value": entry["value"], "low": entry["high"], "high": entry["low"]}
    turned = {k: None if v is None else -v for k, v in signed.items()}
    return entry | turned


def by_simplicity(families: dict[str, str], order: Sequence[str]) -> list[str]:
    """Names of models, the simplest first; of one family as they are given.

    families: By name.
    order: Of families.
    """
    return sorted(families, key=lambda name: order.index(families[name]))


def recommend(
    aurocs: dict[str, dict],
    differences: dict[str, dict],
    families: dict[str, str],
    order: Sequence[str],
) -> Recommendation:
    """The simplest model that the best one does not beat.

    Of several of one family the one with the higher AUROC is preferred.

    aurocs: The mean over labels by model, {"value", "low", "high"}.
    differences: By pair, of `comparison.compare`'s "macro".
    families: Of the models, by name.
    order: Of families, the simplest first.

    >>> pair = {"value": -0.01, "low": -0.07, "high": 0.05}
    >>> aurocs = {"a": {"value": 0.7}, "b": {"value": 0.71}}
    >>> families = {"a": "linear", "b": "deep"}
    >>> recommend(aurocs, {"a - b": pair}, families, ["linear", "deep"]).reason
    'a (linear): simpler than b (deep), which is not shown to be better: difference ...'
    """
    values = {name: aurocs[name]["value"] for name in families}
    if None in values.values():
        return Recommendation(None, NO_LABEL)
    names = by_simplicity(families, order)
    best = max(names, key=values.get)
    names.sort(key=lambda name: (order.index(families[name]), -values[name]))
    beaten = {}
    for name in names[: names.index(best)]:
        entry = less(differences, best, name)
        if not _beats(entry, aurocs[best], values[name]):
            return Recommendation(
                name,
                f"{_named(name, families)}: simpler than {_named(best, families)}, "
                f"which is not shown to be better: difference {_in_words(entry)}",
            )
        beaten[name] = entry
    reason = f"{_named(best, families)}: mean AUROC {number(values[best])}"
    if beaten:
        told = [f"{name} by {_in_words(entry)}" for name, entry in beaten.items()]
        what = "and shown to be better than what is simpler"
        return Recommendation(best, f"{reason}, {what}: {'; '.join(told)}")
    return Recommendation(best, f"{reason}, the highest, and nothing is simpler")


def _beats(difference, auroc, other):
    """Whether the best model is above another one beyond chance.

    Of a difference that does not vary between subjects, as that of a perfect model to
    the prevalence, the interval of the model itself decides.
    """
    if difference.get("reason") == UNVARYING:
        return auroc["low"] is not None and auroc["low"] > other
    return difference["low"] is not None and difference["low"] > 0


def _named(name, families):
    family = families[name]
    return name if name == family else f"{name} ({family})"


def _in_words(entry):
    value = number(entry["value"])
    if entry["low"] is None or entry["high"] is None:
        return f"{value} (no interval: {entry['reason']})"
    return f"{value} {interval(entry['low'], entry['high'])}"


def pick_the_best(
    repeats: list[tuple[dict[str, pd.DataFrame], pd.Series]], labels: list[str]
) -> dict:
    """What "take the model with the highest AUROC" is worth, its choice included.

    For each fold the model is taken that has the highest mean AUROC on the other folds,
    and measured on this one, which had no part in the choice.

    repeats: Of each the tables of predictions by name, the simplest model first, which
        is taken where several are equal, and the fold of each recording, by uid.
    labels: Those that have an AUROC.

    Returns: {"auroc", "chosen"}: the mean over labels, and by fold {"repeat", "fold",
        "chosen"}, a name; None where the other folds have no AUROC.
    """
    if not labels:
        return {"auroc": measure(None, reason=NO_LABEL), "chosen": []}
    picked = [_pick(tables, folds, labels) for tables, folds in repeats]
    auroc = over_repeats([{"auroc": auroc} for auroc, _ in picked])["auroc"]
    chosen = [
        {"repeat": repeat, "fold": fold, "chosen": name}
        for repeat, (_, names) in enumerate(picked, start=1)
        for fold, name in names.items()
    ]
    return {"auroc": auroc, "chosen": chosen}


def _pick(tables, folds, labels):
    """The mean AUROC of the models that were chosen, and their names by fold."""
    names = list(tables)
    rated, _ = rated_systems(tables)
    of_folds = {label: folds.loc[rated[label][1]].to_numpy() for label in labels}
    values = _by_fold(rated, of_folds, labels, sorted(folds.unique(), key=_number))
    chosen = {}
    for fold in values.columns:
        # by model the mean over labels of the mean over the other folds
        others = values.drop(columns=fold).mean(axis=1).groupby(level=0).mean()[names]
        chosen[fold] = None if others.isna().all() else str(others.idxmax())
    own = {}
    for label in labels:
        systems, _ = rated[label]
        targets, _, subjects = systems[names[0]]
        predictions = np.select(
            [
                np.array([chosen[fold] == name for fold in of_folds[label]])
                for name in names
            ],
            [systems[name].predictions for name in names],
        )
        own[label] = auroc_of(Rated(targets, predictions, subjects), of_folds[label])
    return mean_over_labels(own).interval(), chosen


def _by_fold(rated, of_folds, labels, folds):
    """AUROC within each fold, [(model, label), fold]; NaN where there is none."""
    values = {
        fold: {
            (name, label): auroc_of(
                Rated(*(column[of_folds[label] == fold] for column in own))
            ).value
            for label in labels
            for name, own in rated[label][0].items()
        }
        for fold in folds
    }
    return pd.DataFrame(values, dtype=float)


def _number(fold):
    return int(fold.rpartition(" ")[2])
