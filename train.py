"""Train ECAPA-TDNN with several classifier heads, then score the test split.

    python train.py hparams/train.yaml --corpus_folder=DIR [--output_folder=DIR]
    python train.py hparams/train.yaml --corpus_folder=DIR --check_only=True
    torchrun --nproc_per_node=2 train.py hparams/train.yaml --corpus_folder=DIR

Any key of the yaml can be given as --key=value, as can SpeechBrain's run options
(--device, --precision, --debug, …). A run that was interrupted continues when the
same command is given again.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

from speechbrain import create_experiment_directory
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main

from local.evaluation.after_training import evaluate_test_split, score_splits
from local.evaluation.test_log import TestLog
from local.metrics.planning import planned_intervals
from local.report.writing import report_results
from local.training import fit
from local.training.planning import output_folder, plan_training
from local.utils import cli
from local.utils.run_lock import claimed_by_main


def main(argv):
    """Prepare, train, evaluate, while no other run works in the output folder."""
    arguments = cli.parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    with claimed_by_main(run_on_main(output_folder, [arguments])):
        return _run(arguments, ["python", "train.py", *argv])


def _run(arguments, command):
    """Prepare, train, evaluate; the exit status."""
    plan = run_on_main(plan_training, [arguments])
    incomplete = bool(plan.preparation.failed)
    if plan.values["check_only"]:
        planned = planned_intervals(plan.preparation)
        run_on_main(fit.report_data, [plan.preparation, plan.folder, planned])
        return cli.INCOMPLETE if incomplete else cli.OK
    hparams, brain = fit.build(plan, arguments)
    create_experiment_directory(str(plan.folder))  # copies its caller, this script
    publication = fit.train(plan, arguments, hparams, brain)
    outputs = score_splits(brain, hparams, plan.preparation)
    if if_main_process():  # the others need not wait for what can take long
        result = evaluate_test_split(brain, hparams, plan, outputs, command)
        test_split, folder = plan.preparation.manifests["test"], plan.folder
        log = TestLog.of(test_split, folder, folder, command)
        metrics = report_results(result, folder, log)
        unfinished = publication and publication.finish()
        incomplete = incomplete or metrics["failed_parts"] or unfinished
    return cli.INCOMPLETE if incomplete else cli.OK


if __name__ == "__main__":
    cli.run(main, goes_on=True)
