"""Score a trained model on a split.

    python evaluate.py hparams/evaluate.yaml --experiment_folder=DIR
        [--split_csv=FILE | --split_folder=DIR] [--data_folder=DIR]
        [--output_folder=DIR]

Without a split it scores the experiment's own test split. The experiment's files
stay as they are.
"""

import logging

from speechbrain.utils.distributed import ddp_init_group, run_on_main

from local import cli, metrics
from local.config import load_hparams
from local.evaluation import evaluate_split, prepare_evaluation
from local.experiment import open_experiment
from local.manifests import write_failed

logger = logging.getLogger(__name__)


def main(argv):
    """Open the experiment, prepare the split, score it."""
    arguments = cli.parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    options = load_hparams(arguments.hparams_file, arguments.overrides)
    experiment = open_experiment(options["experiment_folder"], arguments.run_opts)
    hparams = experiment.hparams_for(options)
    split = prepare_evaluation(experiment, options, hparams)
    for note in split.notes:
        logger.info(note)
    result = evaluate_split(
        experiment.brain, hparams, split.manifest, split.name, split.output_folder
    )
    run_on_main(write_failed, [split.failed, split.output_folder / "failed.csv"])
    logger.info(
        "%s, %s:\n%s", split.name, result["checkpoint"], metrics.format_results(result)
    )
    logger.info("Everything is in %s", split.output_folder)
    return cli.INCOMPLETE if split.failed else cli.OK


if __name__ == "__main__":
    cli.run(main)
