"""An evaluation made again from its own predictions, without some of the recordings.

They are evaluated as predictions from elsewhere are: with the thresholds and the
calibration that they had, and with the manifests and measurements that the experiment
keeps of its own splits. No recording is read and no model is opened.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from local.data.labels import flatten
from local.data.manifests import group_columns, read_manifest
from local.data.predictions_table import read_predictions, write_predictions
from local.data.pseudonyms import are_pseudonyms
from local.data.split import Split
from local.evaluation.baselines import ACOUSTIC
from local.evaluation.evaluate import evaluate
from local.evaluation.external import internal_results
from local.evaluation.flags import seen_notes
from local.evaluation.measurements import (
    read_measurements,
    seen_splits,
)
from local.evaluation.out_of_fold import MEASURED, evaluate_repeats, out_of_fold
from local.evaluation.scored_split import ScoredSplit
from local.evaluation.scoring import scored_rows
from local.evaluation.test_log import COUNT
from local.evaluation.usable_points import points_for
from local.metrics.label_cases import NONE
from local.report.writing import OUTPUTS, write_results
from local.storage.experiment_files import (
    AUDIT,
    FAILED,
    HPARAMS,
    MANIFESTS,
    MEASUREMENTS,
    METRICS,
    PAGE,
    PREDICTIONS,
    PREPARATION,
    SCORED_CSV,
)
from local.training.cross_validation import RECORD, FoldRun
from local.training.evaluation_settings import EvaluationSettings
from local.training.train_log import json_log
from local.utils.errors import RunError, UserError
from local.utils.files import read_json
from local.utils.staging import files_of, finish
from local.utils.yaml_files import saved_values
from local.withdrawal.data_subject import Person

#: How a rebuilding ends.
REBUILT = "rebuilt"
EMPTY = "removed: nobody else is in it"
REMOVED = "removed but predictions.csv, as it can't be rebuilt"
IN_PART = "rebuilt but for parts that failed"

#: Of these, what is to be looked after.
INCOMPLETE = (REMOVED, IN_PART)

#: What may be wrong with what an experiment keeps, or with the disk.
FAILURES = (UserError, RunError, OSError)

#: What a reader of such a report must know.
NOTE = (
    "these results were made again from their predictions, after consent was "
    "withdrawn: what needs the recordings is not in them (the model on silence, "
    "spectrograms, the list of the worst errors); evaluate.py makes a whole report"
)

COMMAND = ("python", "withdraw.py")


def rebuild(folder: Path, experiment: Path | None, person: Person) -> str:
    """Evaluate the predictions of a folder again, without a person's recordings.

    folder: With a predictions.csv, and whatever evaluation wrote beside it.
    experiment: The folder of that whose network made them; None where it is not known.

    Returns: One of `REBUILT`, `EMPTY`, `REMOVED` and `IN_PART`.
    """
    finish(folder, OUTPUTS)  # what a kill interrupted
    table = read_predictions(folder / PREDICTIONS)
    table = table[~person.has(table)].reset_index(drop=True)
    if table.empty:
        remove(folder, OUTPUTS)
        return EMPTY
    try:
        before = _json(folder / METRICS)
        result = evaluate(_scored(folder, table, experiment, person))
        if COUNT in before:  # this is no further look at the test split
            result.metrics[COUNT] = before[COUNT]
        metrics = write_results(result, folder)
    except FAILURES as error:
        print(f"{folder} can't be rebuilt: {error}")
        # where not even that can be written, everything stays for another try
        write_predictions(table, folder / PREDICTIONS)
        remove(folder, [n for n in OUTPUTS if n not in (PREDICTIONS, SCORED_CSV)])
        return REMOVED
    return IN_PART if metrics["failed_parts"] else REBUILT


def rebuild_folds(folder: Path, runs: list[list[FoldRun]]) -> str:
    """Evaluate the folds of a cross-validation together again.

    folder: The cross-validation's.
    runs: By repeat the folds, whose own results are without the person already.

    Returns: One of `REBUILT`, `REMOVED` and `IN_PART`.
    """
    finish(folder, OUTPUTS)
    try:
        asked = read_json(folder / RECORD)["settings"]
        evaluation = EvaluationSettings.of(asked)
        repeats = [out_of_fold(each, evaluation, [*COMMAND], [NOTE]) for each in runs]
        if (folder / MEASURED).is_file():
            measurements = read_measurements(folder / MEASURED)
            repeats[0] = repeats[0].changed(measurements=measurements)
        metrics = write_results(evaluate_repeats(repeats, runs), folder)
    except FAILURES as error:
        print(f"{folder} can't be rebuilt: {error}")
        remove(folder, OUTPUTS)
        return REMOVED
    return IN_PART if metrics["failed_parts"] else REBUILT


def remove(folder: Path, names: Iterable[str]):
    """Remove files of a folder, those that there are."""
    for name in files_of(folder, names):
        (folder / name).unlink()


def _scored(folder: Path, table, experiment: Path | None, person) -> ScoredSplit:
    """The predictions that are left, with what is known of them."""
    metrics, audit = _json(folder / METRICS), _json(folder / AUDIT)
    settings = saved_values(experiment / HPARAMS) if experiment else {}
    split = Split(name=table["split"].iloc[0], failed=_failed(folder, person))
    command = list(COMMAND)
    if experiment:
        split = _known_split(split, table, experiment, settings, person)
        command.append(f"--experiment_folder={experiment}")
    is_own = folder == experiment
    if is_own:
        prepared = _json(experiment / PREPARATION)
        failed = person.left_of(prepared.get("failed", []))
        split = split.changed(failed=failed, notes=prepared.get("notes", []))
    if are_pseudonyms(table["uid"]) and person.pseudonyms:
        split = split.changed(pseudonyms=person.pseudonyms)
        if split.manifest is not None:
            known = split.manifest["ID"], split.manifest["subject"]
            table = person.pseudonyms.restored(table, *known)
    if split.manifest is not None:
        split = split.changed(manifest=scored_rows(split.manifest, table))
    is_external = bool(experiment) and not (is_own or split.is_own)
    points = {}
    if experiment:
        points = points_for(experiment, split.seen, set(table["subject"]))
    points |= _points(metrics)  # some may have been withheld, or given
    scored = ScoredSplit(
        **vars(split.changed(csv=_json(folder / SCORED_CSV) or None)),
        table=table,
        points=points,
        evaluation=_evaluation(folder, metrics, audit, settings, split, is_own),
        command=command,
        settings=settings,
        checkpoint=metrics.get("checkpoint"),
        train_log=experiment and json_log(experiment),
        internal=internal_results(experiment) if is_external else None,
    )
    return scored.changed(notes=[*scored.notes, *seen_notes(scored), NOTE])


def _known_split(split, table, experiment, settings, person):
    """A split with what an experiment knows of it; it may be another corpus's."""
    names = flatten(settings["label_groups"])
    seen = {
        name: person.left_in(part)
        for name, part in seen_splits(experiment, names).items()
    }
    split = split.changed(seen=seen)
    file = experiment / MANIFESTS / f"{split.name}.csv"
    if not file.is_file():
        return split
    manifest = read_manifest(file, names)
    if not set(table["uid"]) <= person.shown(manifest["ID"]):
        return split  # another CSV of the same name
    path = experiment / MEASUREMENTS / f"{split.name}.parquet"
    measurements = read_measurements(path) if path.is_file() else None
    return person.left_in(
        split.changed(manifest=manifest, measurements=measurements, is_own=True)
    )


def _failed(folder, person):
    """The recordings that an evaluation could not use, but theirs."""
    if not (folder / FAILED).exists():
        return []
    rows = pd.read_csv(folder / FAILED, dtype=str, keep_default_na=False)
    return rows[~person.has(rows)].to_dict("records")


def _points(metrics):
    """The operating points that metrics.json tells."""
    rules = metrics.get("per_subject", {}).get("rules", {})
    points = {}
    for name, measures in metrics.get("labels", {}).items():
        if "threshold" not in measures:
            continue
        points[name] = {
            "threshold": _without_prefix(measures["threshold"]),
            "calibration": measures.get("calibration"),
        }
        if rules:
            points[name]["per_subject"] = {
                rule: _without_prefix(persons["labels"][name]["threshold"])
                for rule, persons in rules.items()
            }
    return points


def _without_prefix(threshold):
    """A threshold as it was before an evaluation said that it is none."""
    if "reason" not in threshold:
        return threshold
    return threshold | {"reason": threshold["reason"].removeprefix(NONE)}


def _asked(metrics, key, name, otherwise):
    """The thresholds or prevalences that results have, of any label."""
    labels = metrics.get("labels", {}).values()
    lists = [measures[key] for measures in labels if key in measures]
    return [entry[name] for entry in max(lists, key=len)] if lists else otherwise


def _evaluation(folder, metrics, audit, settings, split, is_own):
    """What was asked for, as its results tell; all of it where they are not whole."""
    baseline = metrics.get("baselines", {}).get(ACOUSTIC, {}).get("labels", {})
    compared = {
        column
        for groups in (metrics.get("subgroups") or {}).values()
        for column in groups["columns"]
    }
    columns = [] if split.manifest is None else split.manifest.columns
    wanted = sorted(compared) if compared and split.manifest is not None else None
    has_baseline = any("auroc" in measures for measures in baseline.values())
    whole = EvaluationSettings()
    return EvaluationSettings(
        study_design=metrics.get("study_design", "cohort"),
        decision_thresholds=_asked(
            metrics, "decision_curve", "threshold", whole.decision_thresholds
        ),
        prevalences=_asked(metrics, "at_prevalences", "prevalence", whole.prevalences),
        subgroups=group_columns(columns, wanted),
        audit="reason" not in audit,
        acoustic_baseline=has_baseline or not metrics,
        report=(folder / PAGE).exists() or not metrics,
        show_uids=is_own and bool(settings.get("show_uids")),
        seed=settings.get("seed", 0),
    )


def _json(path):
    """The content of a file, nothing if it is not there or damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}
