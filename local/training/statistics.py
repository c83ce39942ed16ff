"""Statistics of features, planned as the training that is to use them."""

import dataclasses

from local.data import dataset
from local.data.manifests import write_failed
from local.model import feature_statistics
from local.storage.experiment_files import FAILED, SAVE
from local.training.planning import TrainingPlan, plan_training
from local.utils.cli import Arguments, top_level_keys
from local.utils.errors import UserError
from local.utils.yaml_files import load_hparams


def plan_statistics(arguments: Arguments) -> TrainingPlan:
    """Prepare the data as `plan_training` does, without statistics; nothing is written.

    Raises UserError: as `plan_training`; if the yaml has no use for statistics, or the
        output folder holds an experiment.
    """
    yaml_keys = top_level_keys(arguments.hparams_file)
    if not {"dataset_mean", "dataset_std"} <= set(yaml_keys):
        raise UserError(
            f"{arguments.hparams_file} has no keys dataset_mean and dataset_std: its "
            "features are normalised otherwise. hparams/train_fbank.yaml has them."
        )
    # all of the split, where training looks for it
    run_opts = dataclasses.replace(arguments.run_opts, debug=False)
    arguments = dataclasses.replace(arguments, run_opts=run_opts)
    plan = plan_training(arguments, use_statistics=False)
    if any((plan.folder / SAVE).glob("CKPT*")):
        raise UserError(
            f"{plan.folder} holds an experiment that is being trained, or was: its "
            "hyperparams.yaml has the dataset_mean and dataset_std that belong to it. "
            "Give another --output_folder."
        )
    return plan


def compute_statistics(
    plan: TrainingPlan, arguments: Arguments
) -> feature_statistics.DatasetStatistics:
    """Compute the statistics of the training split and write them where it is trained.

    plan: As `plan_statistics` gives it.

    Raises UserError: if all features are the same.
    """
    hparams = load_hparams(arguments.hparams_file, plan.overrides)
    train = dataset.build_dataset(
        plan.preparation.manifests["train"],
        [],
        plan.preparation.recordings,
        hparams["audio"],
        hparams["eval_crop"],
    )
    device = arguments.run_opts.device or "cpu"
    statistics = feature_statistics.compute_statistics(
        hparams["compute_features"].to(device),
        train,
        hparams["score_batches"].in_order(),
        feature_statistics.made_with(plan.values, plan.preparation),
        device,
    )
    feature_statistics.save_statistics(statistics, plan.folder)
    write_failed(plan.preparation.failed, plan.folder / FAILED)
    return statistics
