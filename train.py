"""Train ECAPA-TDNN with several classifier heads, then score the test split.

    python train.py hparams/train.yaml --corpus_folder=DIR [--output_folder=DIR]
    python train.py hparams/train.yaml --corpus_folder=DIR --check_only=True
    torchrun --nproc_per_node=2 train.py hparams/train.yaml --corpus_folder=DIR

Any key of the yaml can be given as --key=value, as can SpeechBrain's run options
(--device, --precision, --debug, …). A run that was interrupted continues when the
same command is given again.
"""

import contextlib
import logging
from pathlib import Path

from local.utils import cli  # before what loads PyTorch: see local.utils.threads

# isort: split
import speechbrain as sb
from speechbrain.utils.distributed import (
    ddp_init_group,
    if_main_process,
    run_on_main,
)

from local.data import saved_preparations
from local.evaluation.after_training import evaluate_test_split, score_splits
from local.report.writing import report_results
from local.storage import publishing
from local.storage.experiment_files import MANIFESTS, RUN_OPTIONS
from local.training import fit
from local.training.experiment import save_hparams
from local.training.planning import output_folder, plan_training
from local.utils.files import write_json
from local.utils.run_lock import claimed
from local.utils.yaml_files import load_hparams

logger = logging.getLogger(__name__)


def main(argv):
    """Prepare, train, evaluate, while no other run works in the output folder."""
    arguments = cli.parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    with contextlib.ExitStack() as stack:
        if if_main_process():
            stack.enter_context(claimed(output_folder(arguments)))
        return run(arguments, ["python", "train.py", *argv])


def run(arguments, command):
    """Prepare, train, evaluate; the exit status."""
    plan = run_on_main(plan_training, [arguments])
    preparation = plan.preparation
    folder = Path(plan.values["output_folder"])
    status = cli.INCOMPLETE if preparation.failed else cli.OK
    if plan.values["check_only"]:
        run_on_main(fit.report_data, [preparation, folder])
        return status

    run_on_main(fit.warn_of_contradictions, [preparation])
    hparams = load_hparams(arguments.hparams_file, plan.overrides)
    brain = fit.build_brain(hparams, arguments.run_opts)
    sb.create_experiment_directory(experiment_directory=str(folder))
    run_on_main(save_hparams, [arguments.hparams_file, plan.overrides, folder])
    for note in plan.notes:
        logger.info(note)
    run_on_main(saved_preparations.save_preparation, [preparation, folder / MANIFESTS])
    run_on_main(write_json, [folder / RUN_OPTIONS, plan.run_options])
    if plan.upload_to:
        publication = publishing.ExperimentPublication(folder, plan.upload_to)
        run_on_main(publication.begin)
        brain.on_new_best = publication.update
    if preparation.failed:
        logger.warning(
            "%d recordings can't be used and are left out: failed.csv has the reasons",
            len(preparation.failed),
        )
    fit.fit(brain, hparams, preparation)
    tables = score_splits(brain, hparams, preparation)
    # the others need not wait for what can take long
    if if_main_process():
        result = evaluate_test_split(brain, hparams, plan, tables, command)
        metrics = report_results(result, folder)
        unfinished = plan.upload_to and publication.finish()
        if metrics["failed_parts"] or unfinished:
            status = cli.INCOMPLETE
    return status


if __name__ == "__main__":
    cli.run(main, goes_on=True)
