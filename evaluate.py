"""Score a trained model on a split.

    python evaluate.py hparams/evaluate.yaml --experiment_folder=DIR
        [--split_csv=FILE | --split_folder=DIR] [--data_folder=DIR]
        [--output_folder=DIR]

Without a split it scores the experiment's own test split. The experiment's files
stay as they are.
"""

import logging

from speechbrain.utils.distributed import ddp_init_group, run_on_main

from local import cli, metrics, publishing
from local.config import load_hparams
from local.evaluation import OUTPUTS, evaluate_split, prepare_evaluation
from local.experiment import open_experiment
from local.manifests import write_failed

logger = logging.getLogger(__name__)


def main(argv):
    """Open the experiment, prepare the split, score it."""
    arguments = cli.parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    options = load_hparams(arguments.hparams_file, arguments.overrides)
    upload_to = publishing.destination(
        options["upload_to"], options["gcs_project"], arguments.run_opts
    )
    publishing.check_no_experiment(upload_to)
    experiment = open_experiment(options, arguments.run_opts)
    hparams = experiment.hparams_for(options)
    split = run_on_main(prepare_evaluation, [experiment, options, hparams])
    for note in split.notes:
        logger.info(note)
    prepared, folder = split.prepared, split.output_folder
    result = evaluate_split(
        experiment.brain,
        hparams,
        prepared.manifest,
        prepared.recordings,
        split.name,
        folder,
    )
    run_on_main(write_failed, [prepared.failed, folder / "failed.csv"])
    logger.info(
        "%s, %s:\n%s", split.name, result["checkpoint"], metrics.format_results(result)
    )
    logger.info("Everything is in %s", folder)
    problems = upload_to and run_on_main(
        publishing.publish_files, [folder, OUTPUTS, upload_to]
    )
    return cli.INCOMPLETE if prepared.failed or problems else cli.OK


if __name__ == "__main__":
    cli.run(main)
