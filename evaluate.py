"""Score a trained model on a split, or evaluate predictions from anywhere.

    python evaluate.py hparams/evaluate.yaml --experiment_folder=DIR
        [--split_csv=FILE | --split_folder=DIR] [--data_folder=DIR]
        [--output_folder=DIR]
    python evaluate.py hparams/evaluate.yaml --predictions_csv=FILE --output_folder=DIR
        [--split_csv=FILE] [--data_folder=DIR]

Without a split it scores the experiment's own test split. The experiment's files
stay as they are.
"""

from local.storage import first_look  # before what loads PyTorch

if __name__ == "__main__":
    first_look.look()

import contextlib
import logging

from speechbrain.utils.distributed import (
    ddp_init_group,
    if_main_process,
    run_on_main,
)

from local.evaluation.evaluate import evaluate, measured
from local.evaluation.experiment_split import check_options, prepare_evaluation, score
from local.evaluation.external_predictions import prepare_predictions
from local.evaluation.scored_csv import refuse_others
from local.report.writing import OUTPUTS, report_results
from local.storage import publishing
from local.storage.inputs import Storage
from local.training.experiment import open_experiment
from local.training.settings import check_values
from local.utils import cli
from local.utils.errors import UserError
from local.utils.run_lock import claimed
from local.utils.yaml_files import load_hparams, plain_values

logger = logging.getLogger(__name__)


def main(argv):
    """Get the predictions, evaluate them."""
    arguments = cli.parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    values = plain_values(arguments.hparams_file, arguments.overrides)
    check_values(values, plain_values(arguments.hparams_file))
    options = load_hparams(arguments.hparams_file, arguments.overrides)
    check_options(options)
    upload_to = publishing.destination(
        options["upload_to"], options["gcs_project"], arguments.run_opts
    )
    publishing.check_no_experiment(upload_to)
    command = ["python", "evaluate.py", *argv]
    with contextlib.ExitStack() as stack:
        return run(arguments, options, command, upload_to, stack)


def run(arguments, options, command, upload_to, stack):
    """Get the predictions, evaluate them; the exit status."""
    if options["predictions_csv"]:
        brain = None
        scored, folder = run_on_main(prepare_predictions, [options, command])
        claim(folder, scored.csv, options, upload_to, stack)
    elif options["experiment_folder"]:
        experiment = open_experiment(options, arguments.run_opts)
        brain = experiment.brain
        hparams = experiment.hparams_for(options)
        split, folder = run_on_main(prepare_evaluation, [experiment, options, hparams])
        claim(folder, split.csv, options, upload_to, stack)
        scored = score(experiment, hparams, split, options, command)
    else:
        raise UserError("Give --experiment_folder=DIR or --predictions_csv=FILE.")
    # the other processes need not wait for what can take long
    if not if_main_process():
        return cli.OK
    return report(measured(scored, brain), folder, upload_to)


def claim(folder, csv, options, upload_to, stack):
    """Keep other runs from the folder until the stack is left, and other CSVs."""
    if if_main_process():
        stack.enter_context(claimed(folder))
        storage = Storage.of(options)
        refuse_others(folder, csv, storage, "output_folder")  # of a run just before
        if upload_to:
            refuse_others(upload_to, csv, storage, "upload_to")


def report(scored, folder, upload_to):
    """Evaluate, write and show; the exit status."""
    for note in scored.notes:
        logger.info(note)
    metrics = report_results(evaluate(scored), folder)
    problems = upload_to and publishing.publish_files(folder, OUTPUTS, upload_to)
    # an experiment's own results also list what training skipped of other splits
    failed = [
        entry
        for entry in scored.failed
        if entry.get("split", scored.name) == scored.name
    ]
    incomplete = failed or problems or metrics["failed_parts"]
    return cli.INCOMPLETE if incomplete else cli.OK


if __name__ == "__main__":
    cli.run(main)
