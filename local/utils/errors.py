"""What can go wrong, by whose fault it is.

The scripts turn these into the exit status that `local.utils.cli` documents: a user
sees one message, never a traceback.
"""

import contextlib
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from local.utils.problems import Problem, lines


class UserError(Exception):
    """The input or the configuration is wrong (exit status 2).

    message: What was expected, what was found and what to do.
    problems: Every single problem, so that all can be mended at once; those of the same
        kind are one line.

    >>> print(UserError("2 uids are listed twice:", ["a (rows 2, 5)", "b (rows 3, 4)"]))
    2 uids are listed twice:
      - a (rows 2, 5)
      - b (rows 3, 4)
    """

    #: A message is read on a screen: past this many lines the rest is counted.
    MAX_LISTED = 50

    def __init__(self, message: str, problems: Sequence[str | Problem] = ()):
        self.problems = lines(problems)
        listed = [f"\n  - {problem}" for problem in self.problems[: self.MAX_LISTED]]
        if len(self.problems) > self.MAX_LISTED:
            listed.append(f"\n  … and {len(self.problems) - self.MAX_LISTED} more")
        super().__init__(message + "".join(listed))


class RunError(Exception):
    """The run failed through no fault of the input: disk, numbers (exit status 1)."""


#: Kinds of recordings that can't be used, as a report counts them.
TOO_SHORT = "too short"
SILENT = "silent"
ABSENT = "not there"
FILE_ABSENT = "a file is not there"
BAD_METADATA = "metadata.json can't be used"
DAMAGED = "truncated or damaged"
UNREADABLE = "no audio that can be read"
OUTSIDE = "the segment is not in the recording"
NO_CHANNEL = "the channel is not in the recording"
GONE = "not in the bucket any more"
OTHER = "another reason"


class BadRecording(Exception):
    """One recording can't be used; the message is the reason.

    kind: What it has in common with others, without names and numbers.
    """

    def __init__(self, reason: str, kind: str = OTHER):
        super().__init__(reason)
        self.kind = kind


@contextlib.contextmanager
def told_if_damaged(path: Path, expected: str):
    """Tell a user of a file of ours that can't be read, or holds something else.

    expected: What it should hold, and what makes it anew.

    Raises UserError: for what reading it, or looking into it, raises.

    >>> with told_if_damaged("audit.json", "what train.py writes."):
    ...     {}["labels"]
    Traceback (most recent call last):
    local.utils.errors.UserError: audit.json can't be read (KeyError: 'labels'): ...
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise UserError(
            f"{path} can't be read ({type(error).__name__}: {error}): "
            f"expected {expected}"
        ) from error


def told_by_worker(error) -> str:
    """The message itself, where a dataloader worker wrapped it into a traceback.

    error: Exception

    >>> told_by_worker(RunError("Caught it\\nOriginal Traceback …\\nRunError: full"))
    'full'
    """
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.strip().splitlines()[-1].partition(": ")[2]


def keep_traceback(error) -> str:
    """Write an error's traceback to a file of its own, for a bug report.

    error: Exception

    Returns: The file, among those that the system deletes one day.
    """
    with tempfile.NamedTemporaryFile(
        "w", prefix="traceback-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    return file.name
