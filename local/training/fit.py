"""What `train.py` does between a plan and its results."""

import logging
import sys
from pathlib import Path

import torch
from speechbrain.utils.distributed import get_rank, run_on_main
from speechbrain.utils.run_opts import RunOptions

from local.data import dataset, saved_preparations, summary
from local.data.feature_cache import FeatureCache
from local.data.prepare import Preparation
from local.data.raters import with_shares
from local.storage.experiment_files import INVENTORY, MANIFESTS, RUN_OPTIONS
from local.storage.publishing import ExperimentPublication
from local.training.brain import ClinicalBrain
from local.training.costs import TRAINING, timed
from local.training.experiment import save_hparams
from local.training.one_pass import OnePassBrain
from local.training.planning import TrainingPlan
from local.utils import signals
from local.utils.cli import Arguments
from local.utils.errors import UserError
from local.utils.files import write_json
from local.utils.memory import keep_freed_memory
from local.utils.yaml_files import load_hparams

logger = logging.getLogger(__name__)


def report_data(preparation: Preparation, output_folder: Path, planned: list[str]):
    """Print and save what the data are like (`check_only`).

    output_folder: Gets inventory.json.
    planned: Lines on the intervals that are to be expected.
    """
    inventory = summary.take_inventory(preparation) | {"planned": planned}
    print("\n".join([summary.format_inventory(inventory), "", *planned]))
    write_json(output_folder / INVENTORY, inventory)
    print(f"\nSaved in {output_folder / INVENTORY}")


def build(plan: TrainingPlan, arguments: Arguments) -> tuple[dict, ClinicalBrain]:
    """The hparams of a plan and their Brain; nothing is written.

    Raises UserError: as `build_brain`, or for soft targets of heads that take none.
    """
    run_on_main(_warn_of_contradictions, [plan.preparation])
    hparams = load_hparams(arguments.hparams_file, plan.overrides)
    if plan.source:
        encoder = hparams["modules"]["embedding_model"]
        encoder.load_state_dict(plan.source.state_dict())  # strict
    brain = build_brain(hparams, arguments.run_opts)
    for module in hparams["modules"].values():
        if hasattr(module, "summary"):
            for known in (plan.overrides, plan.values):
                known["ssl_encoder"] = module.summary
    if hparams["soft_targets"] and isinstance(brain, OnePassBrain):
        raise UserError(
            f"soft_targets: True is for heads that are trained by gradients; those of "
            f"{arguments.hparams_file} are fitted in one pass to 0 and 1: leave it at "
            "False."
        )
    return hparams, brain


def _warn_of_contradictions(preparation):
    """Name subjects who may be two people, on standard error: no log names anybody."""
    for contradiction in preparation.contradictions:
        print(f"warning: {contradiction}", file=sys.stderr)


def build_brain(hparams: dict, run_opts: RunOptions) -> ClinicalBrain:
    """The Brain that the yaml describes, before any weight is trained.

    Raises UserError: if the device or the precision is not to be had, or the source of
        a pretrained module.
    """
    for module in hparams["modules"].values():
        if hasattr(module, "load_source"):
            module.load_source()
    try:
        at_once = hasattr(hparams["modules"]["classifier"], "fit")
        brain = (OnePassBrain if at_once else ClinicalBrain)(
            modules=hparams["modules"],
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=hparams["checkpointer"],
        )
    except (ValueError, RuntimeError, AssertionError) as error:
        raise UserError(f"This configuration can't be run here: {error}") from error
    brain.feature_cache = FeatureCache.of(hparams)
    return brain


def train(
    plan: TrainingPlan, arguments: Arguments, hparams: dict, brain: ClinicalBrain
) -> ExperimentPublication | None:
    """Train up to the best checkpoint, in an output folder that logs go to already.

    hparams, brain: As `build` gives them.

    Returns: What keeps a copy of the folder, where there is to be one.
    """
    run_on_main(_write_down, [plan, arguments.hparams_file])
    publication = None
    if plan.upload_to:
        publication = ExperimentPublication(plan.folder, plan.upload_to)
        run_on_main(publication.begin)
        brain.on_new_best = publication.update
    if plan.preparation.failed:
        logger.warning(
            "%d recordings can't be used and are left out: failed.csv has the reasons",
            len(plan.preparation.failed),
        )
    with timed(plan.folder, TRAINING):
        fit(brain, hparams, plan.preparation)
    return publication


def _write_down(plan, hparams_file):
    """What a resumed run is compared with, and a later one opens."""
    save_hparams(hparams_file, plan.overrides, plan.folder)
    for note in plan.notes:
        logger.info(note)
    saved_preparations.save_preparation(plan.preparation, plan.folder / MANIFESTS)
    write_json(plan.folder / RUN_OPTIONS, plan.run_options)


def fit(brain: ClinicalBrain, hparams: dict, preparation: Preparation):
    """Train until the last epoch or until validation no longer improves.

    Without a validation split (`val_size: 0`) the last epoch's checkpoint counts.
    """
    manifest, valid, valid_loader = preparation.manifests.get("valid"), None, None
    if manifest is not None:
        valid = dataset.build_dataset(
            manifest,
            preparation.labels,
            preparation.recordings,
            hparams["audio"],
            hparams["eval_crop"],
            brain.recording_features,
        )
        batches = hparams["score_batches"]
        valid_loader = batches.longest_first(manifest, brain.device_type)
    brain.validates = valid is not None
    if brain.device_type == "cpu":
        keep_freed_memory()
    train, train_loader = _training_data(brain, hparams, preparation)
    with signals.deferred():
        brain.fit(
            hparams["epoch_counter"],
            train,
            valid,
            train_loader_kwargs=train_loader,
            valid_loader_kwargs=valid_loader,
        )


def _training_data(brain, hparams, preparation):
    """The training split as a dataset, and the settings of its loader."""
    manifest, labels = preparation.manifests["train"], preparation.labels
    if hparams["soft_targets"]:
        manifest = with_shares(manifest, labels, hparams)
    if isinstance(brain, OnePassBrain):
        brain.subjects = dict(zip(manifest["ID"], manifest["subject"], strict=True))
        crop, features = hparams["eval_crop"], brain.recording_features
        kwargs = hparams["score_batches"].longest_first(manifest, brain.device_type)
    else:
        crop, features = hparams["train_crop"], None
        distributed = torch.distributed.is_initialized()
        kwargs = hparams["train_batches"].loader_kwargs(
            manifest,
            rank=get_rank() if distributed else 0,
            world_size=torch.distributed.get_world_size() if distributed else 1,
        )
    recordings, audio = preparation.recordings, hparams["audio"]
    data = dataset.build_dataset(
        manifest,
        labels,
        recordings,
        audio,
        crop,
        features,
        # kept beside the features, which need the same waveform
        described=features is not None,
    )
    return data, kwargs
