"""Google's client: one for each process, and as quiet as it must be."""

import logging
import os
import threading

import requests
from google.cloud import storage

from local.storage.gcs.errors import GET, explained
from local.utils.errors import UserError

#: Connections kept open; more threads than this would open new ones all the time.
N_CONNECTIONS = 64

_clients = {}
_project = None
_lock = threading.Lock()


def _after_fork():
    """A lock that some thread of the parent held would never be released here."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def client(project: str | None = None):
    """The client of this process, made on first use.

    A child made by fork gets one of its own: two processes on one connection would
    read each other's answers. The parent's is not touched there.

    project: Google Cloud project; remembered for the next call, also in children.
        Reading and writing objects works without one.

    Returns google.cloud.storage.Client: With the application default credentials, or
        anonymous with ``STORAGE_EMULATOR_HOST``.
    Raises Denied: if there are no credentials.
    Raises UserError: if ``STORAGE_EMULATOR_HOST`` has no scheme.
    """
    with explained("Google Cloud Storage", GET):
        return shared_client(project)


def shared_client(project=None):
    """As `client`, with google's own exceptions."""
    global _project
    with _lock:
        _project = project or _project
        host = os.environ.get("STORAGE_EMULATOR_HOST")
        key = (os.getpid(), _project, host)
        if key not in _clients:
            if host and "://" not in host:
                raise UserError(
                    "STORAGE_EMULATOR_HOST must begin with http:// or https://, "
                    f"found {host!r}."
                )
            _clients[key] = _new_client(_project)
        return _clients[key]


def _new_client(project):
    """A client with a pool of connections that is large enough for the threads."""
    # SpeechBrain writes every logger's debug lines to log.txt; those of the libraries
    # hold whole addresses, sessions of uploads among them.
    for name in ("google", "urllib3", "requests"):
        library = logging.getLogger(name)
        library.setLevel(max(library.level, logging.WARNING))
    # From 3.17 on, it would also ask for the bucket's own data in a thread, for traces
    # that nobody collects: one more request, and a thread that forks are afraid of.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    # project=None is not the default: left out, it would be looked for and required
    new = storage.Client(project=project)
    session = new._http
    if not getattr(session, "is_mtls", False):  # that has an adapter of its own
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=N_CONNECTIONS)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
    return new
