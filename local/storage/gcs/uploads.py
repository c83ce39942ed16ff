"""Uploading one file."""

import base64
import secrets
from pathlib import Path

import google_crc32c
from google.api_core import exceptions as api_exceptions

from local.storage.gcs.addresses import Address
from local.storage.gcs.clients import shared_client
from local.storage.gcs.errors import CREATE, Missing, RemoteError, explained
from local.storage.gcs.listing import loaded_blob, stat
from local.storage.gcs.patience import Patience, retry

#: Files above 8 MiB are sent in pieces of this size, each tried again on its own.
PIECE_BYTES = 8 * 2**20

#: What an upload may be answered although an earlier attempt of its own succeeded, or
#: although another may succeed: wrong checksum, session over (404, 410), precondition.
AMBIGUOUS_STATUSES = (400, 404, 410, 412)


def upload(
    path: str | Path,
    address: Address,
    if_generation_match: int | None = None,
    patience: Patience | None = None,
) -> int:
    """Copy a file to a bucket.

    The server is told the crc32c and takes nothing else. The object carries a random
    mark in its metadata: if the answer to a request is lost and the next one finds
    the object there, the mark tells whether it is this upload's own.

    if_generation_match: The generation to be replaced; 0: there must be none. Unless
        given, it is asked for first, so that a write by somebody else meanwhile is
        noticed.

    Returns: The new generation.
    Raises Conflict: if the bucket holds another generation than the one to be replaced.
    Raises Denied, Missing: 401 or 403; no such bucket.
    Raises RemoteError: if the bucket can't be reached, or wrong bytes arrive again and
        again.
    Raises OSError: if the file can't be read.
    """
    patience = patience or Patience.from_environment()
    if if_generation_match is None:
        if_generation_match = _generation(address, patience)
    with explained(address, CREATE), Path(path).open("rb") as file:
        mark = secrets.token_hex(16)
        for left in reversed(range(patience.n_attempts)):
            try:
                return _send(file, address, mark, if_generation_match, patience)
            except api_exceptions.GoogleAPICallError as error:
                if error.code not in AMBIGUOUS_STATUSES:
                    raise
                generation = _own_generation(address, mark, patience)
                if generation is not None:
                    return generation
                if not left or error.code == 412:
                    raise


def _send(file, address, mark, generation, patience):
    """Send a file once; the generation it has become."""
    size, checksum = measure(file)
    bucket = shared_client().bucket(address.bucket)
    blob = bucket.blob(address.name, chunk_size=PIECE_BYTES)
    blob.metadata = {"upload": mark}
    blob.crc32c = checksum
    blob.upload_from_file(
        file,
        size=size,
        rewind=True,
        content_type=_content_type(address.name),
        if_generation_match=generation,
        # blob.crc32c is checked by the server before the object exists; the library's
        # own check comes after that, and deletes whatever generation is there then
        checksum=None,
        timeout=patience.timeout_s,
        retry=retry(patience),
    )
    if (blob.size, blob.crc32c) != (size, checksum):
        raise RemoteError(
            f"{address} holds other bytes than those sent: send it again."
        )
    return int(blob.generation)


def _content_type(name):
    """What a browser should take an object for."""
    types = {".html": "text/html", ".json": "application/json", ".png": "image/png"}
    types |= {".csv": "text/csv", ".txt": "text/plain", ".md": "text/markdown"}
    return types.get(Path(name).suffix.lower(), "application/octet-stream")


def measure(file):
    """Size in bytes and crc32c of an open file."""
    file.seek(0)
    checksum, size = google_crc32c.Checksum(), 0
    while chunk := file.read(2**20):
        checksum.update(chunk)
        size += len(chunk)
    return size, base64.b64encode(checksum.digest()).decode()


def _generation(address, patience):
    """The generation that is there now; 0 for none."""
    try:
        return stat(address, patience).generation
    except Missing:
        return 0


def _own_generation(address, mark, patience):
    """The generation that is there now if this upload wrote it, else None."""
    try:
        blob = loaded_blob(address, patience)
    except (api_exceptions.NotFound, api_exceptions.Forbidden):
        return None
    return int(blob.generation) if (blob.metadata or {}).get("upload") == mark else None
