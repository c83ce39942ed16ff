"""What a trained model is worth on its test split, at the end of `train.py`."""

from pathlib import Path

import pandas as pd

from local.data import labels
from local.data.prepare import Preparation
from local.data.split import Split
from local.evaluation.evaluate import evaluate, measured
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
) -> dict[str, pd.DataFrame]:
    """Score validation, if there is one, and test with the best checkpoint.

    Returns: By split its table of predictions, not calibrated.
    """
    manifests, recordings = preparation.manifests, preparation.recordings
    folder = Path(hparams["output_folder"])
    with timed(folder, SCORING):
        tables = {
            split: score_split(brain, hparams, manifests[split], recordings, split)
            for split in ("valid", "test")
            if split in manifests
        }
    note_size(brain, folder)
    return tables


def evaluate_test_split(
    brain: ClinicalBrain,
    hparams: dict,
    plan: TrainingPlan,
    tables: dict[str, pd.DataFrame],
    command: list[str],
) -> EvaluationResult:
    """Choose thresholds, measure all recordings, evaluate the test split.

    tables: As `score_splits` gives them.
    command: The command line.
    """
    preparation, values = plan.preparation, plan.values
    evaluation = hparams["evaluation"]
    names, output_folder = preparation.labels, Path(values["output_folder"])
    points = fit_operating_points(
        tables.get("valid"),
        names,
        threshold_rule(evaluation.threshold_sensitivity),
        evaluation.calibration,
        plan.cross_fitted,
        out_of_fold_table(brain, hparams, preparation.manifests["train"]),
        seed=evaluation.seed,
    )
    points = fixed_points(points, evaluation.given_thresholds(list(points)))
    save_operating_points(points, output_folder)
    splits = {
        name: Split(name=name, manifest=manifest, recordings=preparation.recordings)
        for name, manifest in preparation.manifests.items()
    }
    scored = ScoredSplit(
        name="test",
        manifest=scored_rows(splits["test"].manifest, tables["test"]),
        recordings=preparation.recordings,
        failed=preparation.failed,
        notes=plan.notes,
        is_own=True,
        seen={name: splits[name] for name in SEEN if name in splits},
        pseudonyms=plan.pseudonyms,
        table=apply_operating_points(tables["test"], points),
        label_groups=preparation.label_groups,
        types=labels.parse_label_types(values["label_types"], names, values["loss"]),
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
