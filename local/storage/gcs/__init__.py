"""Google Cloud Storage: list, download and upload objects, whole or not at all.

A thin layer on the official client. It asks for exactly the generation that was
listed, checks size and crc32c itself, writes files atomically, waits and tries
again when the network or the server fails, and turns what is left into one message
that says what to do. No message or log line of this package holds a token, a signed
address or an upload session's address: google's exceptions carry the request's
whole address in their text, so that text is never passed on.

How long it waits is in `Patience`; the environment overrides it, e.g.
``GCS_DEADLINE_S=30``. ``STORAGE_EMULATOR_HOST=http://localhost:9023`` (with its
scheme) leads everything to an emulator, without credentials.

What is where, each module importing only from those above it:

- `addresses`: names that can be trusted, addresses, objects;
- `errors`: the exceptions of this package, and google's turned into them;
- `patience`: how long to wait, and when to try again;
- `clients`: one client for each process;
- `listing`: what there is in a bucket;
- `downloads`: one object to a file, its bytes counted and checked;
- `parallel`: many objects at a time;
- `cache`: copies of objects on disk, each of one generation;
- `snapshots`: copies of a folder's small files;
- `uploads`: one file to an object;
- `mirror`: what changed in a folder to a bucket.
"""

from local.storage.gcs.addresses import Address, RemoteObject, check_name, is_remote
from local.storage.gcs.cache import Cache
from local.storage.gcs.clients import client
from local.storage.gcs.downloads import download
from local.storage.gcs.errors import (
    Changed,
    Conflict,
    Denied,
    Missing,
    RemoteError,
    Unreachable,
    is_passing,
)
from local.storage.gcs.listing import list_objects, stat
from local.storage.gcs.parallel import download_many
from local.storage.gcs.patience import Patience
from local.storage.gcs.snapshots import snapshot
from local.storage.gcs.uploads import upload

__all__ = [
    "Address",
    "Cache",
    "Changed",
    "Conflict",
    "Denied",
    "Missing",
    "Patience",
    "RemoteError",
    "RemoteObject",
    "Unreachable",
    "check_name",
    "client",
    "download",
    "download_many",
    "is_passing",
    "is_remote",
    "list_objects",
    "snapshot",
    "stat",
    "upload",
]
