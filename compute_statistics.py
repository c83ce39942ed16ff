"""Compute dataset_mean and dataset_std over the training split.

    python compute_statistics.py hparams/train_fbank.yaml --corpus_folder=DIR
        [--output_folder=DIR] [--any_key=value]

Writes dataset_statistics.json to the output folder, where train.py finds it when it is
called with the same options and `dataset_mean` and `dataset_std` are null.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

from local.storage.experiment_files import STATISTICS
from local.training.statistics import compute_statistics, plan_statistics
from local.utils import cli


def main(argv):
    """Prepare the data, compute, write; the exit status."""
    arguments = cli.parse_arguments(argv)
    plan = plan_statistics(arguments)
    statistics = compute_statistics(plan, arguments)
    print(
        f"dataset_mean {statistics.dataset_mean:.4f}, "
        f"dataset_std {statistics.dataset_std:.4f} "
        f"({statistics.n_recordings} recordings, {statistics.n_frames} frames)\n"
        f"Saved in {plan.folder / STATISTICS}"
    )
    if None not in (plan.values["dataset_mean"], plan.values["dataset_std"]):
        print(
            "train.py reads them where dataset_mean and dataset_std are null: add "
            "--dataset_mean=null --dataset_std=null"
        )
    return cli.INCOMPLETE if plan.preparation.failed else cli.OK


if __name__ == "__main__":
    cli.run(main)
