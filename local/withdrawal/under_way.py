"""Marks of withdrawals that are under way: what is removed can't be found again.

A withdrawal that was stopped late may have left rows of one person and none of
another. Its mark tells the next one that both are right, and which checkpoints learned
from them.
"""

import contextlib
import hashlib
import json
from pathlib import Path

from local.utils.errors import UserError
from local.utils.files import read_json, write_json
from local.withdrawal.result_folders import Trained

#: The mark's name in an experiment's folder.
MARK = ".withdrawing"


def stopped(folders: list[Path], subjects: set[str]) -> list[Trained] | None:
    """What a withdrawal of just these subjects had found before it was stopped.

    folders: Experiments.

    Returns: None where no such withdrawal was stopped.
    Raises UserError: if a mark is damaged.
    """
    marks = [_read(folder / MARK) for folder in folders if (folder / MARK).exists()]
    ours = [mark for mark in marks if mark["subjects"] == _digest(subjects)]
    if not ours:
        return None
    return [Trained(Path(path), how) for mark in ours for path, how in mark["trained"]]


@contextlib.contextmanager
def under_way(folders: list[Path], subjects: set[str], trained: list[Trained]):
    """Mark experiments until all is done; what ends it before leaves the marks."""
    listed = [[str(one.checkpoint), one.how] for one in trained]
    for folder in folders:
        write_json(folder / MARK, {"subjects": _digest(subjects), "trained": listed})
    yield
    for folder in folders:
        (folder / MARK).unlink(missing_ok=True)


def _digest(subjects):
    return hashlib.sha256(json.dumps(sorted(subjects)).encode()).hexdigest()


def _read(path):
    try:
        mark = read_json(path)
        return {
            "subjects": str(mark["subjects"]),
            "trained": [
                (str(checkpoint), str(how)) for checkpoint, how in mark["trained"]
            ],
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{path}, which a withdrawal that was stopped has left, is damaged "
            f"({error}): delete it, and withdraw again."
        ) from error
