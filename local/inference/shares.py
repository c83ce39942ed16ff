"""Which share of the work is whose: `--shard`, or what a scheduler says."""

import os
import re
from collections.abc import Mapping

from local.utils.errors import UserError

#: Variables of schedulers: which task this is, from 0, and of how many.
SCHEDULERS = (
    ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    ("BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),
    ("JOB_COMPLETION_INDEX", None),
)

SLURM = "SLURM_ARRAY_TASK_"


def share_of_work(
    options: Mapping, environment: Mapping = os.environ
) -> tuple[int, int] | None:
    """The share that the options or the environment name.

    options: `shard`, as I/N, and `shard_count`, for schedulers that don't say it.

    Returns: Which one, from 0, of how many; None: there are no shares.
    Raises UserError: for a share that is none, or a task of unknown many.

    >>> share_of_work({"shard": "2/4", "shard_count": None}, {})
    (1, 4)
    >>> task = {"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "4"}
    >>> share_of_work({"shard": None, "shard_count": None}, task)
    (0, 4)
    """
    if options["shard"]:
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", str(options["shard"]))
        index, count = map(int, match.groups()) if match else (0, 0)
        return _checked(index - 1, count, f"--shard={options['shard']}")
    if f"{SLURM}ID" in environment:
        return _of_slurm(options, environment)
    for task, total in SCHEDULERS:
        if task in environment:
            count = options["shard_count"] or environment.get(total or "")
            if not count:
                raise UserError(
                    f"{task} says which task this is, and nothing says of how many: "
                    "give --shard_count=N."
                )
            told = f"{task}={environment[task]} of {count}"
            return _checked(_number(environment[task]), _number(count), told)
    if options["shard_count"]:
        raise UserError(
            f"--shard_count={options['shard_count']}, and no scheduler says which task "
            "this is: give --shard=I/N."
        )
    return None


def _of_slurm(options, environment):
    """The task of an array, whose numbers may begin anywhere."""
    said = {
        name: _number(environment.get(SLURM + name, default))
        for name, default in (("ID", ""), ("COUNT", "1"), ("MIN", "0"), ("STEP", "1"))
    }
    count = options["shard_count"] or said["COUNT"]
    index, rest = divmod(said["ID"] - said["MIN"], said["STEP"] or 1)
    told = f"task {said['ID']} of an array of {count} from {said['MIN']} on"
    return _checked(-1 if rest else index, count, told)


def _number(text):
    return int(text) if re.fullmatch(r"\d{1,9}", str(text)) else -1


def _checked(index, count, told):
    if not 0 <= index < count:
        raise UserError(
            f"{told}: expected a share such as --shard=1/4, from 1/4 to 4/4. (Tasks of "
            "an array whose numbers don't follow each other need --shard.)"
        )
    return index, count
