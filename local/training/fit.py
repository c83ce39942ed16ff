"""What `train.py` does between a plan and its results."""

import logging
import sys
from pathlib import Path

import torch
from speechbrain.utils.distributed import get_rank
from speechbrain.utils.run_opts import RunOptions

from local.data import dataset, summary
from local.data.prepare import Preparation
from local.storage.experiment_files import INVENTORY
from local.training.brain import ClinicalBrain
from local.utils import signals
from local.utils.errors import UserError
from local.utils.files import write_json
from local.utils.memory import keep_freed_memory

logger = logging.getLogger(__name__)


def report_data(preparation: Preparation, output_folder: Path):
    """Print and save what the data are like (`check_only`).

    output_folder: Gets inventory.json.
    """
    found = summary.take_inventory(preparation)
    print(summary.format_inventory(found))
    write_json(output_folder / INVENTORY, found)
    print(f"\nSaved in {output_folder / 'inventory.json'}")


def warn_of_contradictions(preparation: Preparation):
    """Name subjects who may be two people, on standard error: no log names anybody."""
    for found in preparation.contradictions:
        print(f"warning: {found}", file=sys.stderr)


def build_brain(hparams: dict, run_opts: RunOptions) -> ClinicalBrain:
    """The Brain that the yaml describes, before any weight is trained.

    Raises UserError: if the device or the precision is not to be had.
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


def fit(brain: ClinicalBrain, hparams: dict, preparation: Preparation):
    """Train until the last epoch or until validation no longer improves.

    Without a validation split (`val_size: 0`) the last epoch's checkpoint counts.
    """
    manifests, labels = preparation.manifests, preparation.labels
    valid = None
    if "valid" in manifests:
        valid = dataset.build_dataset(
            manifests["valid"],
            labels,
            preparation.recordings,
            hparams["audio"],
            hparams["eval_crop"],
            brain.recording_features,
        )
    brain.validates = valid is not None
    if brain.device_type == "cpu":
        keep_freed_memory()
    train = dataset.build_dataset(
        manifests["train"],
        labels,
        preparation.recordings,
        hparams["audio"],
        hparams["train_crop"],
    )
    with signals.deferred():
        _fit(brain, hparams, train, valid, manifests)


def _fit(brain, hparams, train, valid, manifests):
    """Train on two datasets."""
    distributed = torch.distributed.is_initialized()
    brain.fit(
        hparams["epoch_counter"],
        train,
        valid,
        train_loader_kwargs=hparams["train_batches"].loader_kwargs(
            manifests["train"],
            rank=get_rank() if distributed else 0,
            world_size=torch.distributed.get_world_size() if distributed else 1,
        ),
        valid_loader_kwargs=valid
        and hparams["score_batches"].longest_first(
            manifests["valid"], brain.device_type
        ),
    )
