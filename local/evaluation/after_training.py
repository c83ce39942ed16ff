"""What a trained model is worth on its test split, at the end of `train.py`."""

import logging
from pathlib import Path

import pandas as pd

from local.data import labels
from local.data.manifests import group_columns
from local.data.prepare import Preparation
from local.evaluation.evaluate import Scored, evaluate
from local.evaluation.failures import Failures, names_in
from local.evaluation.measurements import (
    SEEN,
    MeasuredSplit,
    measure_split,
    sample_subjects,
    save_measurements,
)
from local.evaluation.operating_points import (
    apply_operating_points,
    fit_operating_points,
    save_operating_points,
)
from local.evaluation.parts import MEASURING
from local.evaluation.result import EvaluationResult
from local.evaluation.scoring import score_split, scored_rows
from local.evaluation.worst_errors import Silences
from local.metrics.thresholds import threshold_rule
from local.storage.experiment_files import MEASUREMENTS
from local.training.brain import ClinicalBrain
from local.training.planning import TrainingPlan

logger = logging.getLogger(__name__)


def score_splits(
    brain: ClinicalBrain, hparams: dict, preparation: Preparation
) -> dict[str, pd.DataFrame]:
    """Score validation, if there is one, and test with the best checkpoint.

    Returns: By split its table of predictions, not calibrated.
    """
    manifests, recordings = preparation.manifests, preparation.recordings
    return {
        split: score_split(brain, hparams, manifests[split], recordings, split)
        for split in ("valid", "test")
        if split in manifests
    }


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
    names, manifests = preparation.labels, preparation.manifests
    output_folder = Path(values["output_folder"])
    points = fit_operating_points(
        tables.get("valid"),
        names,
        threshold_rule(values["threshold_sensitivity"]),
        values["calibration"],
        plan.cross_fitted,
    )
    save_operating_points(points, output_folder)
    failures = Failures(names_in(*manifests.values()))
    silences, measured = None, None
    if values["audit"]:
        decided = apply_operating_points(tables["test"], points)
        silences = Silences(decided, hparams["sample_rate"], brain)
    if values["audit"] or values["acoustic_baseline"]:
        measured = failures.attempt(
            MEASURING,
            lambda: measure_splits(preparation, hparams, silences, output_folder),
        )
    if measured is None:
        silences, measured = None, dict.fromkeys(manifests)
    scored = Scored(
        split="test",
        table=tables["test"],
        label_groups=preparation.label_groups,
        types=labels.parse_label_types(values["label_types"], names, values["loss"]),
        points=points,
        command=command,
        seed=values["seed"],
        checkpoint=brain.checkpoint.path.name,
        manifest=scored_rows(manifests["test"], tables["test"]),
        recordings=preparation.recordings,
        audio_settings=hparams,
        measurements=measured["test"],
        silences=silences,
        seen={
            split: MeasuredSplit(manifests[split], measured[split])
            for split in SEEN
            if split in manifests
        },
        of_the_corpus=True,
        subgroups=group_columns(manifests["test"].columns, values["subgroups"]),
        failed=preparation.failed,
        notes=plan.notes,
        settings=values,
        train_log=Path(hparams["train_log"]),
        report=values["report"],
        show_uids=values["show_uids"],
        pseudonyms=plan.pseudonyms,
        audit=values["audit"],
        acoustic_baseline=values["acoustic_baseline"],
        failures=failures,
    )
    return evaluate(scored)


def measure_splits(
    preparation: Preparation,
    hparams: dict,
    silences: Silences | None,
    output_folder: Path,
) -> dict[str, pd.DataFrame]:
    """Measure the recordings of all splits, or samples, and keep that.

    silences: Hears those of the test split.
    """
    manifests = {
        split: sample_subjects(
            manifest, hparams["measured_recordings"], hparams["seed"]
        )
        for split, manifest in preparation.manifests.items()
    }
    n_recordings = sum(map(len, manifests.values()))
    logger.info("Measuring %s recordings for the evaluation", n_recordings)
    measured = {}
    for split, manifest in manifests.items():
        measured[split] = measure_split(
            manifest,
            preparation.recordings,
            hparams,
            f"measuring {split}",
            silences if split == "test" else None,
        )
        path = output_folder / MEASUREMENTS / f"{split}.parquet"
        save_measurements(measured[split], path)
    return measured
