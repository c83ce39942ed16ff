"""What a trained model is worth on its test split, at the end of `train.py`."""

from pathlib import Path

import pandas as pd

from local.data.prepare import Preparation
from local.data.split import Split
from local.evaluation.evaluate import evaluate, measured, rows_to_measure
from local.evaluation.in_range import range_of_training, save_range, with_deviations
from local.evaluation.measurements import SEEN, save_measurements
from local.evaluation.operating_points import (
    apply_operating_points,
    fit_operating_points,
    fixed_points,
    save_operating_points,
)
from local.evaluation.result import EvaluationResult
from local.evaluation.scored_split import ScoredSplit
from local.evaluation.scoring import out_of_fold_table, score_split, scored_rows
from local.evaluation.weights import models_weights
from local.metrics.thresholds import threshold_rule
from local.storage.experiment_files import MEASUREMENTS
from local.training.brain import ClinicalBrain
from local.training.costs import SCORING, note_size, timed
from local.training.planning import TrainingPlan
from local.training.train_log import json_log


def score_splits(
    brain: ClinicalBrain, hparams: dict, preparation: Preparation
) -> dict[str, tuple[pd.DataFrame, pd.Series]]:
    """Score validation, if there is one, and test with the best checkpoint.

    Training, too, or a sample of its subjects: what the model hears there is the range
    that other recordings are compared with.

    Returns: As `score_split` by split.
    """
    manifests, recordings = preparation.manifests, preparation.recordings
    folder = Path(hparams["output_folder"])
    sample = rows_to_measure(
        Split(name="train", manifest=manifests["train"]), hparams["evaluation"]
    )
    with timed(folder, SCORING):
        scored = {
            split: score_split(brain, hparams, manifests[split], recordings, split)
            for split in ("valid", "test")
            if split in manifests
        }
    scored["train"] = score_split(brain, hparams, sample, recordings, "train")
    note_size(brain, folder)
    return scored


def evaluate_test_split(
    brain: ClinicalBrain,
    hparams: dict,
    plan: TrainingPlan,
    outputs: dict[str, tuple[pd.DataFrame, pd.Series]],
    command: list[str],
) -> EvaluationResult:
    """Choose thresholds, measure all recordings, evaluate the test split.

    outputs: As `score_splits` gives them.
    command: The command line.
    """
    preparation, values = plan.preparation, plan.values
    evaluation = hparams["evaluation"]
    names, output_folder = preparation.labels, Path(values["output_folder"])
    points = fit_operating_points(
        outputs.get("valid", (None,))[0],
        names,
        threshold_rule(evaluation.threshold_sensitivity),
        evaluation.calibration,
        plan.cross_fitted,
        out_of_fold_table(brain, hparams, preparation.manifests["train"]),
        seed=evaluation.seed,
    )
    points = fixed_points(points, evaluation.given_thresholds(list(points)))
    save_operating_points(points, output_folder)
    table, odd = _ranged(outputs, points, preparation.manifests, hparams)
    splits = {
        name: Split(name=name, manifest=manifest, recordings=preparation.recordings)
        for name, manifest in preparation.manifests.items()
    }
    scored = ScoredSplit(
        name="test",
        manifest=scored_rows(splits["test"].manifest, table),
        recordings=preparation.recordings,
        failed=preparation.failed,
        notes=[*plan.notes, *odd],
        is_own=True,
        seen={name: splits[name] for name in SEEN if name in splits},
        pseudonyms=plan.pseudonyms,
        table=table,
        points=points,
        evaluation=evaluation,
        command=command,
        audio=hparams["audio"],
        batches=hparams["score_batches"],
        cache=brain.feature_cache,
        weights=models_weights([brain]),
        checkpoint=brain.checkpoint.path.name,
        settings=values,
        train_log=json_log(output_folder),
    )
    scored = measured(scored, brain)
    for name, split in {**scored.seen, scored.name: scored}.items():
        if split.measurements is not None:
            path = output_folder / MEASUREMENTS / f"{name}.parquet"
            save_measurements(split.measurements, path)
    return evaluate(scored, brain)


def _ranged(outputs, points, manifests, hparams):
    """As `with_deviations`, of the test split, decided; the range is kept."""
    values = range_of_training(outputs, manifests, hparams["evaluation"].seed)
    save_range(values, Path(hparams["output_folder"]))
    table, heard = outputs["test"]
    return with_deviations(apply_operating_points(table, points), heard, values)
