"""Cross-validate by subject: train a network per fold, test each on its fold.

    python cross_validate.py hparams/train.yaml --corpus_folder=DIR
        [--n_folds=5] [--n_repeats=1] [--output_folder=DIR] [--any_key=value]

Divides the recordings of train.csv and val.csv; those of test.csv stay for the final
evaluation. Every fold is an experiment of train.py, which gets all other options. Their
out-of-fold predictions are evaluated together as those of a test split are. The same
command continues an interrupted run; finished folds with failed parts run again.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

import logging
import sys
from pathlib import Path

from local.evaluation.out_of_fold import evaluate_folds
from local.report.writing import report_results
from local.training.cross_validation import plan_cross_validation, run_fold, write_plan
from local.utils import cli
from local.utils.run_lock import claimed

logger = logging.getLogger(__name__)

TRAIN = (sys.executable, str(Path(__file__).with_name("train.py")))


def main(argv, train=TRAIN):
    """Draw the folds, train those that are not finished, evaluate them together."""
    arguments = cli.parse_arguments(argv)
    plan = plan_cross_validation(arguments)
    for note in plan.notes:
        logger.info(note)
    runs = [run for repeat in plan.runs for run in repeat]
    with claimed(plan.folder) as claim:
        write_plan(plan)
        for run in runs:
            if run.is_finished and not run.failed_parts():
                logger.info("%s is finished", run.name)
                continue
            print(f"{run.name}: {run.folder}", flush=True)
            status = run_fold([*train, *argv, *plan.command_line(run)], claim)
            if status not in (cli.OK, cli.INCOMPLETE):
                what = f"error: train.py ended with status {status} in {run.name}."
                print(f"{what} The same command continues from there.", file=sys.stderr)
                return status
        command = ["python", "cross_validate.py", *argv]
        result = evaluate_folds(plan, arguments.run_opts, command)
        metrics = report_results(result, plan.folder)
    failed = [metrics["failed_parts"], *(run.failed_parts() for run in runs)]
    incomplete = result.failed or any(failed)
    return cli.INCOMPLETE if incomplete else cli.OK


if __name__ == "__main__":
    cli.run(main, goes_on=True)
