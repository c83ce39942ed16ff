"""How long a request is waited for, and when it is made again."""

import dataclasses
import datetime
import email.utils
import functools
import logging
import os
import threading

from google.api_core.retry import Retry

from local.storage.gcs.errors import in_words, is_passing
from local.utils.errors import UserError

logger = logging.getLogger(__name__)

#: Seconds without a connection or without a byte after which a request is given up.
TIMEOUT_S = 60.0
#: Seconds after which a request that keeps failing is given up for good.
DEADLINE_S = 300.0
#: Seconds before the second attempt, at most; doubled for each further one.
FIRST_DELAY_S = 1.0
#: Seconds between two attempts, at most, also where Retry-After asks for more.
LONGEST_DELAY_S = 60.0
#: How often an object is fetched, or sent, whose bytes arrive wrong.
N_ATTEMPTS = 3


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a request is waited for and how often it is made again.

    timeout_s, deadline_s, first_delay_s, longest_delay_s: As the constants of this
        module of the same name say.
    n_attempts: How often an object is fetched or sent whose bytes arrive wrong.
    """

    timeout_s: float = TIMEOUT_S
    deadline_s: float = DEADLINE_S
    first_delay_s: float = FIRST_DELAY_S
    longest_delay_s: float = LONGEST_DELAY_S
    n_attempts: int = N_ATTEMPTS

    @classmethod
    def from_environment(cls):
        """The constants, or what ``GCS_TIMEOUT_S``, ``GCS_DEADLINE_S``, … say.

        Raises UserError: if a value is no positive number.
        """
        given = {}
        for field in dataclasses.fields(cls):
            text = os.environ.get(f"GCS_{field.name.upper()}")
            if text is None:
                continue
            try:
                given[field.name] = field.type(text)
            except ValueError:
                given[field.name] = 0
            if not 0 < given[field.name] < float("inf"):
                raise UserError(
                    f"GCS_{field.name.upper()} must be a positive number, "
                    f"found {text!r}."
                )
        return cls(**given)


def retry(patience, stop=None):
    """Try again after errors that pass, ever longer apart, up to the deadline."""
    return Retry(
        predicate=lambda error: not (stop and stop.is_set()) and is_passing(error),
        initial=patience.first_delay_s,
        maximum=patience.longest_delay_s,
        multiplier=2,
        timeout=patience.deadline_s,
        on_error=functools.partial(_before_retry, patience, stop or threading.Event()),
    )


def _before_retry(patience, stop, error):
    """Wait as long as the server asks for: the library does not look at that."""
    delay_s = min(_retry_after_s(error), patience.longest_delay_s, patience.deadline_s)
    logger.debug(f"{in_words(error)}: trying again")
    stop.wait(delay_s)


def _retry_after_s(error):
    """Seconds that the server's Retry-After asks for; 0 without one."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
        now = datetime.datetime.now(date.tzinfo)
        return max(0.0, (date - now).total_seconds())
    except (TypeError, ValueError):
        return 0.0
