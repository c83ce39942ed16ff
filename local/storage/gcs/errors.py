"""What google's exceptions say, and the exceptions of this package that they become.

Google's hold the request's whole address in their text, so that text is never passed
on. Each of ours holds one message that says what to do, and nothing secret.
"""

import contextlib
import http
import re
from collections.abc import Sequence

import requests
import urllib3
from google.api_core import exceptions as api_exceptions
from google.auth import exceptions as auth_exceptions
from google.cloud.storage.exceptions import InvalidResponse

from local.storage.gcs.addresses import Address
from local.utils.errors import RunError, UserError

#: The right that a request needs, and the role that contains it.
LIST = ("storage.objects.list", "roles/storage.objectViewer")
GET = ("storage.objects.get", "roles/storage.objectViewer")
CREATE = (
    "storage.objects.create (to replace an object also storage.objects.delete)",
    "roles/storage.objectUser",
)

LOGIN = "`gcloud auth application-default login`"

#: What the server or the network gets over: the request may be made again.
PASSING_STATUSES = (408, 429, 500, 502, 503, 504)
PASSING_ERRORS = (
    ConnectionError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.PoolError,
    urllib3.exceptions.ProtocolError,
    urllib3.exceptions.SSLError,
    urllib3.exceptions.TimeoutError,
    http.client.HTTPException,
)


class RemoteError(RunError):
    """The bucket can't be reached, or keeps failing (exit status 1).

    message: What failed and what to do.
    problems: Every single problem of this kind.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()):
        super().__init__(str(UserError(message, problems)))


class Unreachable(RemoteError):
    """Attempts up to the deadline have all failed."""


class Changed(RemoteError):
    """The object listed has been replaced since."""


class Conflict(RemoteError):
    """Somebody else has written the object meanwhile."""


class Denied(UserError):
    """The credentials are absent, not accepted, or lack a right (401, 403)."""


class Missing(UserError):
    """There is no such bucket or object (404)."""


@contextlib.contextmanager
def explained(address: Address | str, needed: tuple[str, str]):
    """Turn google's exceptions into ours, which hold nothing secret.

    address: What the request is about.
    needed: The right that it needs and a role that contains it.
    """
    # "from None": the text of what is left out here is not for logs either
    try:
        yield
    except api_exceptions.RetryError as error:
        raise Unreachable(
            f"{address} could not be reached: {in_words(error.cause)}, also after "
            "waiting and trying again. Check the network, then run again."
        ) from None
    except auth_exceptions.GoogleAuthError as error:
        absence = "found none" if _absent(error) else "those found are not accepted"
        raise Denied(
            f"{address}: expected application default credentials, {absence}: "
            f"run {LOGIN}."
        ) from None
    except (api_exceptions.GoogleAPICallError, InvalidResponse) as error:
        raise _refusal(error, address, *needed) from None
    except (requests.RequestException, *PASSING_ERRORS) as error:
        raise RemoteError(
            f"{address} could not be reached: {in_words(error)}."
        ) from None


def _absent(error):
    """Whether there are no credentials, rather than some that are not accepted."""
    return isinstance(error, auth_exceptions.DefaultCredentialsError)


def _reason(error):
    """The server's reason, one word such as insufficientPermissions, or None."""
    try:
        word = error.response.json()["error"]["errors"][0]["reason"]
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
    return word if re.fullmatch("[A-Za-z]{1,40}", str(word)) else None


def _refusal(error, address, right, role):
    """Our exception for a status that no waiting helps against."""
    status = status_of(error)
    word = _reason(error)
    answer = f"{status}, {word}" if word and status != 404 else f"{status}"
    if status == 401:
        return Denied(
            f"{address}: access denied ({answer}): the credentials are not accepted; "
            f"the right {right} is needed. Run {LOGIN} and, if it goes on, ask the "
            f"bucket's owner for the role {role}."
        )
    if status == 403:
        return Denied(
            f"{address}: access denied ({answer}): the credentials lack the right "
            f"{right}. Ask the bucket's owner for the role {role}, or sign in as "
            f"somebody who has it: {LOGIN}."
        )
    if status == 404:
        return Missing(
            f"{address} does not exist ({answer}): check the address, its bucket "
            "included, for spelling."
        )
    if status == 412:
        return Conflict(
            f"{address} was written by somebody else meanwhile ({answer}); nothing was "
            "replaced. Two runs must not write to one place: give each its own."
        )
    return RemoteError(f"{address}: {in_words(error)}.")


def is_passing(error) -> bool:
    """Whether the same request may succeed a little later.

    error (Exception): Of the client library or of what it is built on.

    >>> is_passing(ConnectionResetError()), is_passing(PermissionError())
    (True, False)
    """
    error = _unwrapped(error)
    return isinstance(error, PASSING_ERRORS) or status_of(error) in PASSING_STATUSES


def _unwrapped(error):
    """What lies behind a failure to reach the server that hands out tokens."""
    wrapped = isinstance(error, auth_exceptions.TransportError) and error.args
    return error.args[0] if wrapped else error


def status_of(error):
    """The HTTP status of an exception, or None."""
    if isinstance(error, InvalidResponse):
        return error.response.status_code
    code = getattr(error, "code", None)
    return int(code) if isinstance(code, int) else None


def in_words(error):
    """What happened, without the addresses and answers that exceptions quote."""
    error = _unwrapped(error)
    status = status_of(error)
    if status is not None:
        phrases = {code.value: f" ({code.phrase})" for code in http.HTTPStatus}
        return f"the server answered {status}{phrases.get(status, '')}"
    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    if isinstance(error, timeouts):
        return "no answer in time"
    if isinstance(error, PASSING_ERRORS):
        return f"the connection failed ({type(error).__name__})"
    return type(error).__name__
