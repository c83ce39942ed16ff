"""What `train.py` does between a plan and its results."""

import logging
import sys
from pathlib import Path

import torch
from speechbrain.utils.distributed import get_rank

from local import dataio, inventory, labels, stopping
from local.batches import BucketedBatches, training_lengths
from local.brain import ClinicalBrain
from local.errors import UserError
from local.evaluation import Scored, evaluate
from local.evaluation_parts import MEASURING
from local.excerpts import Silences
from local.failures import Failures, names_in
from local.features import RecordingFeatures
from local.files import write_json
from local.flags import read_audit
from local.measurements import (
    MEASUREMENTS,
    SEEN,
    MeasuredSplit,
    measure_split,
    sample_subjects,
    save_measurements,
)
from local.memory import keep_freed_memory
from local.operating_points import (
    apply_operating_points,
    fit_operating_points,
    save_operating_points,
)
from local.scoring import score_split, scored_rows
from local.subgroups import group_columns
from local.tables import format_results
from local.thresholds import threshold_rule

logger = logging.getLogger(__name__)


def report_data(preparation, output_folder):
    """Print and save what the data are like (`check_only`).

    Arguments
    ---------
    preparation : prepare.Preparation
    output_folder : Path
        Gets inventory.json.
    """
    found = inventory.take_inventory(preparation)
    print(inventory.format_inventory(found))
    write_json(output_folder / "inventory.json", found)
    print(f"\nSaved in {output_folder / 'inventory.json'}")


def warn_of_contradictions(preparation):
    """Name subjects who may be two people, on standard error: no log names anybody.

    Arguments
    ---------
    preparation : prepare.Preparation
    """
    for found in preparation.contradictions:
        print(f"warning: {found}", file=sys.stderr)


def build_brain(hparams, run_opts):
    """The Brain that the yaml describes, before any weight is trained.

    Arguments
    ---------
    hparams : dict
    run_opts : speechbrain.utils.run_opts.RunOptions

    Returns
    -------
    ClinicalBrain

    Raises
    ------
    UserError
        If the device or the precision is not to be had.
    """
    try:
        return ClinicalBrain(
            modules=hparams["modules"],
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=hparams["checkpointer"],
        )
    except (ValueError, RuntimeError, AssertionError) as error:
        raise UserError(f"This configuration can't be run here: {error}") from error


def fit(brain, hparams, preparation):
    """Train until the last epoch or until validation no longer improves.

    Without a validation split (`val_size: 0`) the last epoch's checkpoint counts.

    Arguments
    ---------
    brain : ClinicalBrain
    hparams : dict
    preparation : prepare.Preparation
    """
    manifests, labels = preparation.manifests, preparation.labels
    valid = None
    if "valid" in manifests:
        valid = dataio.build_dataset(
            manifests["valid"],
            labels,
            preparation.recordings,
            hparams,
            hparams["eval_crop"],
            RecordingFeatures(brain.modules),
        )
    brain.validates = valid is not None
    if brain.device_type == "cpu":
        keep_freed_memory()
    distributed = torch.distributed.is_initialized()
    batches = BucketedBatches(
        training_lengths(manifests["train"]["duration"], hparams["clip_length"]),
        hparams["batch_size"],
        hparams["seed"],
        hparams["bucket_batches"],
        rank=get_rank() if distributed else 0,
        world_size=torch.distributed.get_world_size() if distributed else 1,
    )
    train = dataio.build_dataset(
        manifests["train"],
        labels,
        preparation.recordings,
        hparams,
        hparams["train_crop"],
    )
    with stopping.deferred():
        _fit(brain, hparams, train, valid, batches, manifests)


def _fit(brain, hparams, train, valid, batches, manifests):
    """Train on two datasets."""
    brain.fit(
        hparams["epoch_counter"],
        train,
        valid,
        train_loader_kwargs={"batch_sampler": batches, **dataio.workers(hparams)},
        valid_loader_kwargs=valid
        and dataio.scoring_loader_kwargs(
            manifests["valid"], hparams, brain.device_type
        ),
    )


def score_splits(brain, hparams, preparation):
    """Score validation, if there is one, and test with the best checkpoint.

    Arguments
    ---------
    brain : ClinicalBrain
    hparams : dict
    preparation : prepare.Preparation

    Returns
    -------
    dict of str to pandas.DataFrame
        By split its table of predictions, not calibrated.
    """
    manifests, recordings = preparation.manifests, preparation.recordings
    return {
        split: score_split(brain, hparams, manifests[split], recordings, split)
        for split in ("valid", "test")
        if split in manifests
    }


def evaluate_test_split(brain, hparams, plan, tables, command):
    """Choose thresholds, measure all recordings, evaluate the test split.

    Arguments
    ---------
    brain : ClinicalBrain
    hparams : dict
    plan : planning.TrainingPlan
    tables : dict of str to pandas.DataFrame
        As `score_splits` gives them.
    command : list of str
        The command line.

    Returns
    -------
    dict
        The content of metrics.json.
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
    result = evaluate(scored, output_folder)
    table = format_results(result, audit=read_audit(output_folder))
    logger.info("Test split, %s:\n%s", result["checkpoint"], table)
    print(f"Everything is in {output_folder}")  # no path in log.txt
    return result


def measure_splits(preparation, hparams, silences, output_folder):
    """Measure the recordings of all splits, or samples, and keep that.

    Arguments
    ---------
    preparation : prepare.Preparation
    hparams : dict
    silences : excerpts.Silences or None
        Hears those of the test split.
    output_folder : Path

    Returns
    -------
    dict of str to pandas.DataFrame
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
