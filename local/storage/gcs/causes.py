"""What google's exceptions say: whether it passes, and what happened, in words.

The exceptions hold the request's whole address in their text, so that text is never
passed on.
"""

import http

import requests
import urllib3
from google.auth import exceptions as auth_exceptions
from google.cloud.storage.exceptions import InvalidResponse

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
