"""What can go wrong, by whose fault it is.

The scripts turn these into the exit status that `local.cli` documents: a user
sees one message, never a traceback.
"""

from local.problems import lines


class UserError(Exception):
    """The input or the configuration is wrong (exit status 2).

    Arguments
    ---------
    message : str
        What was expected, what was found and what to do.
    problems : sequence of (str or problems.Problem)
        Every single problem, so that all can be mended at once; those of the same kind
        are one line.

    Example
    -------
    >>> print(UserError("2 uids are listed twice:", ["a (rows 2, 5)", "b (rows 3, 4)"]))
    2 uids are listed twice:
      - a (rows 2, 5)
      - b (rows 3, 4)
    """

    #: A message is read on a screen: past this many lines the rest is counted.
    MAX_LISTED = 50

    def __init__(self, message, problems=()):
        self.problems = lines(problems)
        listed = [f"\n  - {problem}" for problem in self.problems[: self.MAX_LISTED]]
        if len(self.problems) > self.MAX_LISTED:
            listed.append(f"\n  … and {len(self.problems) - self.MAX_LISTED} more")
        super().__init__(message + "".join(listed))


class RunError(Exception):
    """The run failed through no fault of the input: disk, numbers (exit status 1)."""


class BadRecording(Exception):
    """One recording can't be used; the message is the reason."""
