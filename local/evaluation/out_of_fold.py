"""A cross-validation is evaluated as a split is: as predictions out of fold.

Each recording is scored by the model that never met its subject. All recordings
together are then one split, whose table of predictions says in the column `split` by
which fold's network a row was made. Recordings are measured once, for the audit and for
the acoustic baseline, whatever the number of folds and repeats.
"""

import dataclasses

import numpy as np
import pandas as pd
from scipy.special import expit

from local.audio.loading import AudioFormat
from local.data import corpus, labels
from local.data.feature_cache import FeatureCache
from local.data.loaders import ScoreBatches
from local.data.manifests import read_manifest
from local.data.predictions_table import read_predictions
from local.data.prepare import fetched
from local.data.pseudonyms import read_pseudonyms
from local.evaluation.evaluate import evaluate, metrics_of, rows_to_measure
from local.evaluation.fold_points import decide_with_choice, fold_operating_points
from local.evaluation.measurements import measure_split, save_measurements
from local.evaluation.operating_points import read_operating_points
from local.evaluation.parts import MEASURING
from local.evaluation.result import EvaluationResult
from local.evaluation.scored_split import ScoredSplit
from local.evaluation.scoring import scored_rows
from local.evaluation.weights import models_weights
from local.evaluation.worst_errors import Silences
from local.metrics.repeats import over_repeats
from local.metrics.thresholds import threshold_rule
from local.storage.experiment_files import (
    FAILED,
    HPARAMS,
    MANIFESTS,
    MEASUREMENTS,
    METRICS,
    PREDICTIONS,
)
from local.storage.inputs import Storage
from local.training.cross_validation import CrossValidation, FoldRun
from local.training.evaluation_settings import EvaluationSettings
from local.training.experiment import open_experiment
from local.training.family import FEATURES, STATISTICS, family_of
from local.utils.errors import UserError
from local.utils.files import read_json
from local.utils.yaml_files import saved_values

#: What the evaluation of all folds together is called.
NAME = "out-of-fold"

#: Where their measurements are kept.
MEASURED = MEASUREMENTS / f"{NAME}.parquet"


def evaluate_folds(plan: CrossValidation, command: list[str]) -> EvaluationResult:
    """Evaluate the folds of a cross-validation together, all of them finished.

    With repeats the audit, the baselines and the subgroups are of the first one; each
    measure is the mean over them (see `over_repeats`).

    command: The command line.
    """
    evaluation = EvaluationSettings.of(plan.values)
    repeats = [out_of_fold(runs, evaluation, command, plan.notes) for runs in plan.runs]
    repeats[0] = _measured(_with_recordings(repeats[0]), plan.runs[0], plan.run_opts)
    if family_of(repeats[0].settings) in (STATISTICS, FEATURES):
        runs = [run for repeat in plan.runs for run in repeat]
        brains = (_opened(run, repeats[0], plan.run_opts) for run in runs)
        repeats[0] = repeats[0].changed(weights=models_weights(brains))
    if repeats[0].measurements is not None:
        save_measurements(repeats[0].measurements, plan.folder / MEASURED)
    return evaluate_repeats(repeats, plan.runs)


def evaluate_repeats(
    repeats: list[ScoredSplit], runs: list[list[FoldRun]]
) -> EvaluationResult:
    """Evaluate the out-of-fold predictions of each repeat.

    repeats: The first one measured, if it is to be audited.
    runs: By repeat the folds that they are of.
    """
    result = evaluate(repeats[0])
    metrics = over_repeats([result.metrics, *map(metrics_of, repeats[1:])])
    table = _all_repeats(result.table, repeats[1:])
    return dataclasses.replace(
        result, table=table, metrics=metrics | fold_entries(runs)
    )


def out_of_fold(
    runs: list[FoldRun],
    evaluation: EvaluationSettings,
    command: list[str],
    notes: list[str],
) -> ScoredSplit:
    """The predictions of a repeat's folds as one split.

    runs: The folds, all of them finished.
    notes: What a reader should know.

    Returns: Its recordings not at hand yet.
    """
    values = saved_values(runs[0].folder / HPARAMS)
    names = labels.flatten(values["label_groups"])
    pseudonyms = read_pseudonyms(values["pseudonymise_key"])
    manifests = [
        read_manifest(run.folder / MANIFESTS / "test.csv", names) for run in runs
    ]
    manifest = pd.concat(manifests, ignore_index=True)
    table = pd.concat([_predictions(run) for run in runs], ignore_index=True)
    if pseudonyms:
        table = pseudonyms.restored(table, manifest["ID"], manifest["subject"])
    rule, seed = threshold_rule(evaluation.threshold_sensitivity), evaluation.seed
    by_fold = {run.split: read_operating_points(run.folder) for run in runs}
    points = fold_operating_points(
        table, by_fold, names, rule, evaluation.calibration, seed
    )
    table, choices = decide_with_choice(table, points, names, rule, seed)
    return ScoredSplit(
        name=NAME,
        manifest=scored_rows(manifest, table),
        failed=failed_recordings(runs),
        notes=[*notes, _who(table)],
        is_own=True,
        pseudonyms=pseudonyms,
        table=table,
        points={},
        evaluation=evaluation,
        command=command,
        audio=AudioFormat.of(values),
        batches=ScoreBatches.of(values),
        cache=FeatureCache.of(values),
        settings=values,
        fold_choices=choices,
    )


def _who(table):
    n, n_subjects = table["uid"].nunique(), table["subject"].nunique()
    return (
        f"{n} recordings of {n_subjects} subjects of train.csv and val.csv took part, "
        "each scored by a model that never met its subject; nobody of test.csv did"
    )


def _predictions(run):
    """The table of a fold's predictions, not calibrated.

    Raises UserError: if the file was damaged.
    """
    values = saved_values(run.folder / HPARAMS)
    names = labels.flatten(values["label_groups"])
    weights = values["positive_weights"] or [1.0] * len(names)
    try:
        table = read_predictions(run.folder / PREDICTIONS)
    except UserError as error:
        again = f"Delete {run.folder}: the same command then trains this fold again."
        raise UserError(f"{error}\n{again}") from error
    log_weight = table["label"].map(dict(zip(names, np.log(weights), strict=True)))
    probability = expit(table["logit"] - log_weight).where(table["probability"].notna())
    return table.assign(split=run.split, probability=probability)


def _with_recordings(scored):
    """The same with its recordings at hand."""
    storage = Storage.of(scored.settings)
    names = scored.manifest["recording"].unique().tolist()
    excluded = corpus.find_exclusions(scored.settings, storage, [])
    recordings = fetched(names, scored.settings, storage, excluded, [])
    return scored.changed(recordings=recordings)


def _measured(scored, runs, run_opts):
    """The same with measurements; each fold's network hears its own silences."""
    if not scored.to_be_measured:
        return scored
    silences = None
    if scored.evaluation.audit:
        silences = Silences(scored.table, scored.audio.sample_rate)

    def measure(run):
        if silences:
            silences.brain = _opened(run, scored, run_opts)
        own = scored.table["uid"][scored.table["split"] == run.split]
        return measure_split(
            rows[rows["ID"].isin(set(own))],
            scored.recordings,
            scored.audio,
            scored.batches,
            f"measuring {run.split}",
            silences,
            scored.cache,
        )

    rows = rows_to_measure(scored, scored.evaluation)
    frame = scored.failures.attempt(
        MEASURING, lambda: pd.concat(map(measure, runs), ignore_index=True)
    )
    if frame is None:
        return scored
    return scored.changed(measurements=frame, silences=silences)


def _opened(run, scored, run_opts):
    """The Brain of a fold."""
    options = {"experiment_folder": str(run.folder), "trust_experiment": True}
    return open_experiment(scored.settings | options, run_opts).brain


def _all_repeats(table, others):
    """The tables of all repeats in one; where there are several with `repeat`."""
    if not others:
        return table
    hidden = [
        each.pseudonyms.hidden_table(each.table) if each.pseudonyms else each.table
        for each in others
    ]
    tables = enumerate([table, *hidden], start=1)
    numbered = [own.assign(repeat=n) for n, own in tables]
    return pd.concat(numbered, ignore_index=True)


def fold_entries(runs: list[list[FoldRun]]) -> dict:
    """What metrics.json says of the folds.

    Returns: "n_folds", "n_repeats", and "folds", a list of {"repeat", "fold",
        "n_recordings", "n_subjects", "auroc" (label → value), "macro_auroc"}, and
        "left_out" where folds are those of a column's values.
    """
    return {
        "n_folds": len(runs[0]),
        "n_repeats": len(runs),
        "folds": [_fold_entry(run) for repeat in runs for run in repeat],
    }


def _fold_entry(run):
    metrics = read_json(run.folder / METRICS)
    aurocs = {
        name: entry["auroc"]["value"]
        for name, entry in metrics["labels"].items()
        if "auroc" in entry
    }
    return {
        "repeat": run.repeat,
        "fold": run.fold,
        **({"left_out": run.left_out} if run.left_out else {}),
        "n_recordings": metrics["n_recordings"],
        "n_subjects": metrics["n_subjects"],
        "auroc": aurocs,
        "macro_auroc": metrics["macro"]["auroc"]["value"],
    }


def failed_recordings(runs: list[FoldRun]) -> list[dict]:
    """Recordings that a fold could not use, each once.

    Returns: `uid` and `reason`.
    """
    reasons = {}
    for run in runs:
        file = run.folder / FAILED
        if file.exists():
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            reasons |= dict(zip(table["uid"], table["reason"], strict=True))
    return [{"uid": uid, "reason": reason} for uid, reason in reasons.items()]
