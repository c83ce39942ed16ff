"""Compute dataset_mean and dataset_std over the training split.

    python compute_statistics.py hparams/train_fbank.yaml --corpus_folder=DIR
        [--output_folder=DIR] [--any_key=value]

Writes dataset_statistics.json to the output folder, where train.py finds it when it is
called with the same options and `dataset_mean` and `dataset_std` are null.
"""

import dataclasses
import logging
from pathlib import Path

from local.data import dataset
from local.data.manifests import write_failed
from local.model import feature_statistics
from local.training.planning import plan_training
from local.utils import cli
from local.utils.errors import UserError
from local.utils.yaml_files import load_hparams

logger = logging.getLogger(__name__)


def main(argv):
    """Prepare the data, compute, write."""
    arguments = cli.parse_arguments(argv)
    yaml_keys = cli.top_level_keys(arguments.hparams_file)
    if not {"dataset_mean", "dataset_std"} <= set(yaml_keys):
        raise UserError(
            f"{arguments.hparams_file} has no keys dataset_mean and dataset_std: its "
            "features are normalised otherwise. hparams/train_fbank.yaml has them."
        )
    # all of the split, where training looks for it
    run_opts = dataclasses.replace(arguments.run_opts, debug=False)
    arguments = dataclasses.replace(arguments, run_opts=run_opts)
    plan = plan_training(arguments, use_statistics=False)
    folder = Path(plan.values["output_folder"])
    if any((folder / "save").glob("CKPT*")):
        raise UserError(
            f"{folder} holds an experiment that is being trained, or was: its "
            "hyperparams.yaml has the dataset_mean and dataset_std that belong to it. "
            "Give another --output_folder."
        )
    hparams = load_hparams(arguments.hparams_file, plan.overrides)
    train = dataset.build_dataset(
        plan.preparation.manifests["train"],
        [],
        plan.preparation.recordings,
        hparams["audio"],
        hparams["eval_crop"],
    )
    device = arguments.run_opts.device or "cpu"
    found = feature_statistics.compute_statistics(
        hparams["compute_features"].to(device),
        train,
        hparams["score_batches"].in_order(),
        feature_statistics.made_with(plan.values, plan.preparation),
        device,
    )
    path = feature_statistics.save_statistics(found, folder)
    write_failed(plan.preparation.failed, folder / "failed.csv")
    print(
        f"dataset_mean {found.dataset_mean:.4f}, dataset_std {found.dataset_std:.4f} "
        f"({found.n_recordings} recordings, {found.n_frames} frames)\nSaved in {path}"
    )
    if None not in (plan.values["dataset_mean"], plan.values["dataset_std"]):
        print(
            "train.py reads them where dataset_mean and dataset_std are null: add "
            "--dataset_mean=null --dataset_std=null"
        )
    return cli.INCOMPLETE if plan.preparation.failed else cli.OK


if __name__ == "__main__":
    cli.run(main)
