"""Cross-validate by subject: train a network per fold, test each on its fold.

    python cross_validate.py hparams/train.yaml [hparams/OTHER.yaml …]
        --corpus_folder=DIR [--n_folds=5] [--n_repeats=1] [--output_folder=DIR]
        [--fit_recommended=True] [--any_key=value]

Divides the recordings of train.csv and val.csv; those of test.csv stay for the final
evaluation. Every fold is an experiment of train.py, which gets all other options. Their
out-of-fold predictions are evaluated together as those of a test split are. Several
yamls have the same folds, are compared, and one of them is recommended. The same
command continues an interrupted run; finished folds with failed parts run again.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

import logging

import train  # what it loads is loaded once
from local.evaluation.out_of_fold import evaluate_folds
from local.evaluation.yamls import compare_yamls
from local.report.comparison import report_comparison
from local.report.writing import report_results
from local.training import several
from local.utils import cli, repeated_script

logger = logging.getLogger(__name__)


def main(argv, script=train.__file__):
    """Draw the folds, train and evaluate those of each yaml, compare, recommend."""
    with repeated_script.runner(script) as run:
        command = ["python", "cross_validate.py", *argv]
        return _cross_validate(several.plan_all(argv), run, command)


def _cross_validate(plans, run, command):
    for note in plans.notes:
        logger.info(note)
    incomplete, name = False, next(iter(plans.by_yaml))
    with plans.claimed() as claim:
        for plan in plans.by_yaml.values():
            status = several.run_folds(plan, run, claim)
            if status not in (cli.OK, cli.INCOMPLETE):
                return status
            if not (plans.are_several and plan.is_evaluated):
                report_results(evaluate_folds(plan, command), plan.folder)
            incomplete |= bool(status) or not plan.is_whole
        if plans.are_several:
            comparison = compare_yamls(plans.folder, plans.families, command)
            name = report_comparison(comparison, plans.folder)
        if plans.fits and (status := several.fit(plans, name, run, claim)):
            return status
    return cli.INCOMPLETE if incomplete else cli.OK


if __name__ == "__main__":
    cli.run(main, goes_on=True)
