"""Evaluating a split: from its predictions to everything that is written about them."""

import dataclasses
import functools
import logging

import pandas as pd

from local.data.split import Split
from local.evaluation import external, parts
from local.evaluation.in_range import selective
from local.evaluation.measurements import measure_split, sample_subjects
from local.evaluation.provenance import provenance
from local.evaluation.result import EvaluationResult
from local.evaluation.scored_split import ScoredSplit
from local.evaluation.weights import heaviest
from local.evaluation.worst_errors import Silences
from local.metrics import split_metrics
from local.training.brain import ClinicalBrain
from local.training.evaluation_settings import EvaluationSettings

logger = logging.getLogger(__name__)


def evaluate(
    scored: ScoredSplit, brain: ClinicalBrain | None = None
) -> EvaluationResult:
    """Evaluate a split.

    brain: The one model that scored all of it, to show where it hears its errors.

    Returns: Under pseudonyms, if there are any.
    """
    metrics = _metrics(scored)
    errors = scored.failures.attempt(
        "errors", lambda: parts.most_wrong(scored, brain), lambda reason: []
    )
    splits = dict(scored.seen)
    if scored.manifest is not None:
        splits[scored.name] = scored
    result = EvaluationResult(
        split=scored.name,
        table=scored.table,
        baselines=dict(scored.baselines),
        label_groups=scored.label_groups,
        types=scored.types,
        metrics=metrics,
        audit=parts.confound_audit(scored),
        manifests={name: split.manifest for name, split in splits.items()},
        failed=scored.failed,
        notes=scored.notes,
        silences=scored.silences.excerpts if scored.silences else {},
        errors=errors,
        train_log=scored.train_log,
        settings=scored.settings,
        evaluation=scored.evaluation,
        provenance=provenance(scored.command),
        failures=scored.failures,
        csv=scored.csv,
        n_seen=scored.n_seen,
        unprepared=frozenset(
            name
            for name, split in scored.seen.items()
            if split.recordings is None and name != scored.name
        ),
    )
    return scored.pseudonyms.hidden(result) if scored.pseudonyms else result


def metrics_of(scored: ScoredSplit) -> dict:
    """What metrics.json has of predictions alone."""
    choices = scored.fold_choices
    metrics = split_metrics.evaluate_predictions(
        scored.table,
        scored.label_groups,
        scored.checkpoint,
        scored.types,
        scored.points,
        scored.evaluation.study_design,
        scored.evaluation.decision_thresholds or (),
        scored.evaluation.prevalences or (),
        choices and choices.points,
    )
    for name, entries in (choices.entries if choices else {}).items():
        if "auroc" in metrics["labels"][name]:
            metrics["labels"][name] |= entries
    return metrics


def _metrics(scored):
    """The content of metrics.json."""
    metrics = metrics_of(scored)
    for name, point in scored.points.items():
        if point["calibration"]:
            metrics["labels"][name]["calibration"] = point["calibration"]
    for name, n_divided in parts.divided_raters(scored).items():
        metrics["labels"][name]["n_divided"] = n_divided
    if scored.weights:
        for name, entry in heaviest(scored.weights).items():
            metrics["labels"][name] |= entry
    metrics["selective"] = selective(scored.table)
    if scored.internal is not None:
        _add_external(scored, metrics)
    made = dict(parts.OF_METRICS)
    if not scored.evaluation.learning_curve or scored.folds is None:
        made.pop("learning_curve")
    for name, (part, otherwise) in made.items():
        metrics[name] = scored.failures.attempt_json(
            name,
            functools.partial(part, scored),
            functools.partial(otherwise, scored),
        )
    return metrics


def _add_external(scored, metrics):
    """Add what is also told of a split that is not the experiment's own."""
    metrics["internal"] = scored.internal
    mended = scored.failures.attempt_json(
        "recalibrated",
        functools.partial(external.recalibrated, scored),
        lambda reason: {},
    )
    for name, entry in mended.items():
        metrics["labels"][name]["recalibrated"] = entry


def measure_and_evaluate(
    scored: ScoredSplit, brain: ClinicalBrain | None
) -> EvaluationResult:
    """`evaluate` after `measured`, and say what there is to know of the split."""
    scored = measured(scored, brain)
    for note in scored.notes:
        logger.info(note)
    return evaluate(scored, brain)


def measured(scored: ScoredSplit, brain: ClinicalBrain | None = None) -> ScoredSplit:
    """The same with measurements of the recordings that are at hand.

    brain: To score silences; without one they are only kept for the report.
    """
    splits = scored.to_be_measured
    silences = None
    if splits and scored.evaluation.audit:
        silences = Silences(scored.table, scored.audio.sample_rate, brain)
    frames = scored.failures.attempt(
        parts.MEASURING,
        lambda: {
            name: _measure(split, scored, silences) for name, split in splits.items()
        },
    )
    if not frames:
        return scored
    seen = {
        name: dataclasses.replace(split, measurements=frames[name])
        if name in frames and split is splits[name]
        else split
        for name, split in scored.seen.items()
    }
    own = frames[scored.name]
    return dataclasses.replace(scored, measurements=own, seen=seen, silences=silences)


def _measure(split, scored, silences):
    """The measurements of a split, or of a sample of it; silences are of the scored."""
    rows, title = rows_to_measure(split, scored.evaluation), f"measuring {split.name}"
    silences = silences if split is scored else None
    how = scored.audio, scored.batches, title, silences, scored.cache
    return measure_split(rows, split.recordings, *how)


def rows_to_measure(split: Split, evaluation: EvaluationSettings) -> pd.DataFrame:
    """The rows of a split's manifest that are measured: all, or a sample."""
    failed = {recording["uid"] for recording in split.failed}
    manifest = split.manifest[~split.manifest["ID"].isin(failed)]
    return sample_subjects(manifest, evaluation.measured_recordings, evaluation.seed)
