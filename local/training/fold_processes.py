"""The processes that train the folds of a cross-validation, one after the other."""

import logging
import signal
import subprocess
import sys

from local.training.cross_validation import CrossValidation, write_plan
from local.utils import signals
from local.utils.cli import INCOMPLETE, OK

logger = logging.getLogger(__name__)


def run_folds(plan: CrossValidation, train: tuple[str, ...], claim: list[int]) -> int:
    """Train the folds that are not finished, one after the other.

    train: The command that trains, without its options.
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
        status = run_fold([*train, *plan.command_line(run)], claim)
        if status not in (OK, INCOMPLETE):
            what = f"error: train.py ended with status {status} in {run.name}."
            print(f"{what} The same command continues from there.", file=sys.stderr)
            return status
        failed |= bool(run.failed_parts())
    return INCOMPLETE if failed else OK


def run_fold(command: list[str], claim: list[int]) -> int:
    """Run a command to its end, which gets the signals that would stop this one.

    claim: Descriptors, as `run_lock.claimed` gives them.

    Returns: Its exit status, as a shell tells it: 130 after SIGINT, 143 after SIGTERM.
    """
    # In a process group of its own: Ctrl-C would reach it twice, and the second one
    # interrupt what the first one made it do.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        pass_fds=claim,
    )
    ours = {
        number: signal.signal(number, lambda number, _: child.send_signal(number))
        for number in signals.SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup
    }
    try:
        status = child.wait()
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status
