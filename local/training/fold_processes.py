"""The processes that train the folds of a cross-validation, one after the other."""

import logging
import sys
from collections.abc import Callable

from local.training.cross_validation import CrossValidation, write_plan
from local.utils.cli import INCOMPLETE, OK

logger = logging.getLogger(__name__)


def run_folds(plan: CrossValidation, train: Callable, claim: list[int]) -> int:
    """Train the folds that are not finished, one after the other.

    train: Runs train.py (see `repeated_script.runner`).
    claim: Descriptors, as `run_lock.claimed` gives them.

    Returns: The exit status; of one that is neither `OK` nor `INCOMPLETE` the message
        has been printed.
    """
    write_plan(plan)
    failed = False
    for run in (run for repeat in plan.runs for run in repeat):
        if run.is_finished and not run.failed_parts():
            logger.info("%s is finished", run.name)
            continue
        print(f"{run.name}: {run.folder}", flush=True)
        status = train(plan.command_line(run), claim)
        if status not in (OK, INCOMPLETE):
            what = f"error: train.py ended with status {status} in {run.name}."
            print(f"{what} The same command continues from there.", file=sys.stderr)
            return status
        failed |= bool(run.failed_parts())
    return INCOMPLETE if failed else OK
