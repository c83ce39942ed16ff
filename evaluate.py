"""Score a trained model on a split, or evaluate predictions from anywhere.

    python evaluate.py hparams/evaluate.yaml --experiment_folder=DIR
        [--split_csv=FILE | --split_folder=DIR] [--data_folder=DIR]
        [--output_folder=DIR]
    python evaluate.py hparams/evaluate.yaml --predictions_csv=FILE --output_folder=DIR
        [--split_csv=FILE] [--data_folder=DIR]

Without a split it scores the experiment's own test split. The experiment's files
stay as they are.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

from speechbrain.utils.distributed import if_main_process, run_on_main

from local.evaluation.evaluate import measure_and_evaluate
from local.evaluation.experiment_split import check_options, prepare_evaluation, score
from local.evaluation.external_predictions import prepare_predictions
from local.evaluation.scored_csv import claimed_for
from local.evaluation.test_log import NO_LOG, TestLog
from local.report.writing import OUTPUTS, report_results
from local.storage.publishing import publish_files, results_destination
from local.training.experiment import later_options, open_experiment
from local.utils import cli


def main(argv):
    """Get the predictions, evaluate them; the exit status."""
    options, arguments = later_options(argv)
    check_options(options)
    upload_to = results_destination(options, arguments.run_opts)
    command = ["python", "evaluate.py", *argv]
    if options["predictions_csv"]:
        scored, folder = run_on_main(prepare_predictions, [options, command])
        with claimed_for(scored.csv, folder, upload_to, options):
            return _report(scored, None, folder, upload_to)
    experiment = open_experiment(options, arguments.run_opts)
    hparams = experiment.hparams_for(options)
    split, folder = run_on_main(prepare_evaluation, [experiment, options, hparams])
    with claimed_for(split.csv, folder, upload_to, options):
        scored = score(experiment, hparams, split, options, command)
        log = TestLog.later(split.manifest, experiment, command)
        return _report(scored, experiment.brain, folder, upload_to, log)


def _report(scored, brain, folder, upload_to, log=NO_LOG):
    """Evaluate, write and show; the exit status."""
    if not if_main_process():  # these need not wait for what can take long
        return cli.OK
    metrics = report_results(measure_and_evaluate(scored, brain), folder, log)
    problems = upload_to and publish_files(folder, OUTPUTS, upload_to)
    incomplete = scored.own_failed or problems or metrics["failed_parts"]
    return cli.INCOMPLETE if incomplete else cli.OK


if __name__ == "__main__":
    cli.run(main)
