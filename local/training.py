"""What `train.py` does between a plan and its results."""

import logging
from pathlib import Path

import torch
from speechbrain.utils.distributed import get_rank, run_on_main

from local import dataio, figures, inventory, metrics
from local.brain import ClinicalBrain
from local.errors import UserError
from local.evaluation import evaluate_split
from local.files import write_json
from local.manifests import write_failed

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
        )
    brain.validates = valid is not None
    distributed = torch.distributed.is_initialized()
    batches = dataio.ShuffledBatches(
        len(manifests["train"]),
        hparams["batch_size"],
        hparams["seed"],
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
    brain.fit(
        hparams["epoch_counter"],
        train,
        valid,
        train_loader_kwargs={
            "batch_sampler": batches,
            "num_workers": hparams["num_workers"],
            # of its own, so that workers don't draw from the global random state
            "generator": torch.Generator().manual_seed(hparams["seed"]),
        },
        valid_loader_kwargs=dataio.loader_kwargs(hparams),
    )


def score_test_split(brain, hparams, preparation, output_folder):
    """Score the test split with the best checkpoint, write and log the results.

    Arguments
    ---------
    brain : ClinicalBrain
    hparams : dict
    preparation : prepare.Preparation
    output_folder : Path
    """
    manifest = preparation.manifests["test"]
    result = evaluate_split(
        brain, hparams, manifest, preparation.recordings, "test", output_folder
    )
    run_on_main(_write_extras, [hparams, preparation, output_folder])
    table = metrics.format_results(result)
    logger.info("Test split, %s:\n%s", result["checkpoint"], table)
    logger.info("Everything is in %s", output_folder)


def _write_extras(hparams, preparation, output_folder):
    """The training curves, and the list of recordings that were left out."""
    figures.training_curves_figure(
        Path(hparams["train_log"]),
        output_folder / "figures" / "training_curves.png",
        best_by=hparams["best_checkpoint"],
    )
    write_failed(preparation.failed, output_folder / "failed.csv")
