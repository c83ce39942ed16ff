"""Cross-validations of several yamls beside each other: comparison.json."""

from pathlib import Path

import numpy as np

from local.data.predictions_table import read_predictions, scores_in
from local.evaluation.baselines import ACOUSTIC, CONSTANT, PREVALENCE
from local.evaluation.beside_model import FILE_NAMES
from local.evaluation.flags import known_flags, read_audit
from local.evaluation.provenance import provenance
from local.metrics.choice import by_simplicity, pick_the_best, recommend
from local.metrics.comparison import compare_repeats
from local.metrics.estimate import measure
from local.storage.experiment_files import BASELINES, METRICS, PREDICTIONS
from local.training import family
from local.training.costs import read_costs
from local.utils.files import read_json
from local.utils.number_format import counted, listed

#: What is told of training and scoring, beside the means of `costs`.
COSTS = ("training_s", "scoring_s", "n_parameters", "model_mb")


def compare_yamls(folder: Path, families: dict[str, str], command: list[str]) -> dict:
    """Compare the cross-validations of several yamls, all of them evaluated.

    Differences are by subject, within folds, and the mean over repeats (see
    `comparison.compare_repeats`). The baselines are those beside the first yaml, of its
    first repeat.

    folder: Holds a folder for each yaml, of its name.
    families: Of each yaml (see `local.training.family`).
    command: The command line.

    Returns: The content of comparison.json: {"yamls", "n_recordings", "n_subjects",
        "n_folds", "n_repeats", "labels", "macro", "left_out", "notes", "recommended",
        "recommended_yaml", "reason", "pick_the_best", "provenance"}. A yaml has
        "family", "training_s" and "scoring_s" (means over folds), "n_parameters",
        "model_mb", and "flagged", the labels that its audit flags, None without one.
    Raises UserError: if a file is damaged.
    """
    folders = {name: folder / name for name in families}
    metrics = {name: read_json(path / METRICS) for name, path in folders.items()}
    first = next(iter(metrics.values()))
    repeats, notes = _repeats(folders, first["n_repeats"])
    tables, folds = repeats[0]
    beside = _baselines(next(iter(folders.values())), next(iter(tables.values())))
    compared = compare_repeats([(tables | beside, folds), *repeats[1:]])
    labels, differences = compared["labels"], compared["macro"]["differences"]
    systems = metrics | {name: first["baselines"][name] for name in beside}
    of_labels = {
        label: {n: _auroc(own["labels"].get(label)) for n, own in systems.items()}
        for label in labels
    }
    macro = {name: _auroc(own.get("macro")) for name, own in systems.items()}
    judged = _judged(macro, of_labels, differences, tables | beside, repeats, notes)
    models = {PREVALENCE: family.PREVALENCE} if PREVALENCE in beside else {}
    chosen, of_yamls = (
        recommend(*judged, own, family.FAMILIES)
        for own in (models | families, families)
    )
    simplest = by_simplicity(families, family.FAMILIES)
    ordered = [({n: own[n] for n in simplest}, folds) for own, folds in repeats]
    return {
        "yamls": {name: _told(path, families[name]) for name, path in folders.items()},
        **{key: compared[key] for key in ("n_recordings", "n_subjects")},
        **{key: first[key] for key in ("n_folds", "n_repeats")},
        "labels": {
            label: of_labels[label] | {"differences": entry["differences"]}
            for label, entry in labels.items()
        },
        "macro": macro
        | {"n_labels": compared["macro"]["n_labels"], "differences": differences},
        "left_out": compared["left_out"],
        "notes": notes,
        "recommended": chosen.name,
        "recommended_yaml": of_yamls.name,
        "reason": chosen.reason,
        "pick_the_best": pick_the_best(ordered, list(labels)),
        "provenance": provenance(command),
    }


def _judged(macro, of_labels, differences, tables, repeats, notes):
    """AUROC and differences that the recommendation rests on.

    They are the means over labels; where some of these have too few subjects for an
    interval, so that the means have none either, of the others. A note says so.
    """
    aurocs = {name: entry["auroc"] for name, entry in macro.items()}
    enough = [
        label
        for label, own in of_labels.items()
        if all(own[name]["auroc"]["low"] is not None for name in repeats[0][0])
    ]
    if not enough or len(enough) == len(of_labels):
        return aurocs, differences
    notes.append(
        f"The recommendation is by {listed(enough)}: the other labels have too few "
        "subjects for an interval."
    )
    of_repeats = [(tables, repeats[0][1]), *repeats[1:]]
    some = [
        ({n: own[own["label"].isin(enough)] for n, own in each.items()}, folds)
        for each, folds in of_repeats
    ]
    means = compare_repeats(some)["macro"]
    lows = {n: [of_labels[k][n]["auroc"]["low"] for k in enough] for n in tables}
    judged = {
        name: {"value": value, "low": None if None in lows[name] else min(lows[name])}
        for name, value in means["auroc"].items()
    }
    return judged, means["differences"]


def _repeats(folders, n_repeats):
    """Of each repeat the tables by yaml and the fold of each recording, and notes."""
    repeats, lacking = [], set()
    for repeat in range(1, n_repeats + 1):
        tables = {
            name: read_predictions(folder / PREDICTIONS, repeat)
            for name, folder in folders.items()
        }
        uids = [set(table["uid"]) for table in tables.values()]
        common = set.intersection(*uids)
        lacking |= set.union(*uids) - common
        tables = {n: table[table["uid"].isin(common)] for n, table in tables.items()}
        any_table = next(iter(tables.values()))
        folds = any_table.drop_duplicates("uid").set_index("uid")["split"]
        repeats.append((tables, folds))
    n = counted(len(lacking), "recording")
    note = f"{n} that not all yamls could use: left out of the comparison."
    return repeats, [note] if lacking else []


def _baselines(folder, table):
    """The baselines' tables, of those that have predicted all that the models have."""
    is_score = table["label"].isin(scores_in(table))
    rows = table.loc[~is_score, ["uid", "label"]]
    tables = {}
    for name in (PREVALENCE, ACOUSTIC):
        path = folder / BASELINES / f"{FILE_NAMES.get(name, name)}.csv"
        own = read_predictions(path) if path.is_file() else rows.head(0)
        if len(rows) and len(own.merge(rows, on=["uid", "label"])) == len(rows):
            tables[name] = own[own["uid"].isin(set(rows["uid"]))]
    return tables


def _auroc(entry):
    """The AUROC of a label or of the mean, as a metrics.json has it."""
    constant = measure(0.5, reason=CONSTANT)  # the prevalence has no mean of its own
    return {"auroc": (entry or {}).get("auroc", constant)}


def _told(folder, name):
    """What is told of a yaml, beside its results."""
    flags = known_flags(read_audit(folder))
    costs = [read_costs(fold) for fold in sorted(folder.glob("repeat_*/fold_*"))]
    means = {}
    for key in COSTS:
        known = [own[key] for own in costs if own.get(key) is not None]
        means[key] = round(float(np.mean(known)), 4) if known else None
    flagged = None if flags is None else list(flags)
    return {"family": name, **means, "flagged": flagged}
