"""Parts of an evaluation that fail on their own: all others are made and written.

failures = Failures(names)
raters = failures.attempt("raters", agree, lambda reason: {"reason": reason})
failures.reasons    # {"raters": "it failed: LinAlgError: Singular matrix"}
"""

import json
import logging
import re
import textwrap
from collections.abc import Callable, Iterable

from local.utils.errors import RunError, UserError, keep_traceback, told_by_worker

logger = logging.getLogger(__name__)

#: What ends a run all the same: wrong input, and what no other part could do without,
#: disk and memory.
FATAL = (UserError, OSError, MemoryError)

#: Of what an error says, characters that are told.
LONGEST = 300

#: Shorter names may be in any text; they count as words of their own.
SHORT_NAME = 3


class Failures:
    """What has failed of an evaluation, and why.

    names: Recordings and subjects: results and logs don't tell a reason that names one.
    reasons (dict of str to str): By part, in the order in which they failed.

    >>> failures = Failures(["p01"])
    >>> failures.attempt("a sum", lambda: 1 + 1)
    2
    >>> failures.attempt("a share", lambda: 1 / 0, lambda reason: {"reason": reason})
    {'reason': 'it failed: ZeroDivisionError: division by zero'}
    >>> failures.attempt("a row", lambda: {}["p01"])
    >>> failures.reasons["a row"]
    'it failed: KeyError'
    """

    def __init__(self, names: Iterable[str] = ()):
        self.reasons = {}
        self._names = set(names)

    def attempt(
        self, part: str, make: Callable, otherwise: Callable = lambda reason: None
    ):
        """What `make` gives, or something else where that fails.

        part: As it is called in messages and in metrics.json.
        make: Without arguments.
        otherwise: Takes the reason, str; gives what stands in the place of the part.

        Raises UserError, OSError, MemoryError: as `make` does: these are about the
            whole run.
        """
        try:
            return make()
        except FATAL:
            raise
        except Exception as error:
            reason = self.reasons[part] = self._reason(error)
            logger.warning(
                "%s: %s. Everything else is made, and the same command tries again; "
                "the traceback is in %s",
                part,
                reason,
                keep_traceback(error),
            )
            return otherwise(reason)

    def attempt_json(self, part, make, otherwise):
        """The same of what is written as JSON, which must be able to hold it."""

        def checked():
            made = make()
            json.dumps(made, allow_nan=False)
            return made

        return self.attempt(part, checked, otherwise)

    def _reason(self, error):
        """What failed, in one line without the names of recordings and subjects."""
        text = textwrap.shorten(told_by_worker(error), LONGEST, placeholder=" …")
        text = text.removesuffix(".")
        kind = type(error).__name__
        if not text or self._tells_a_name(text):
            return f"it failed: {kind}"
        if isinstance(error, RunError):  # written for readers
            return f"it failed: {text}"
        return f"it failed: {kind}: {text}"

    def _tells_a_name(self, text):
        words = set(re.findall(r"\w+", text))
        return "/" in text or any(
            name in (text if len(name) > SHORT_NAME else words) for name in self._names
        )


def names_in(*tables):
    """Recordings and subjects that tables name, set of str.

    *tables (pandas.DataFrame): Manifests and tables of predictions.
    """
    return {
        name
        for table in tables
        for column in table.columns.intersection(["ID", "uid", "subject"])
        for name in table[column].unique()
    }
