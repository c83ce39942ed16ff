"""What there is in a bucket: a folder's objects, or one object as it is now."""

from local.storage.gcs.addresses import Address, RemoteObject
from local.storage.gcs.clients import shared_client
from local.storage.gcs.errors import GET, LIST, explained
from local.storage.gcs.patience import Patience, retry

#: Fields of a listing: everything else would only make it longer.
FIELDS = "items(name,generation,size,crc32c,updated,contentEncoding),nextPageToken"


def list_objects(
    address: Address,
    patience: Patience | None = None,
    between: tuple[str, str] | None = None,
    most: int | None = None,
) -> list[RemoteObject]:
    """Everything below a folder of a bucket, by one request per 1000 objects.

    address: A folder or a bucket: ``gs://b/audio`` does not list ``gs://b/audio2/x``.
    between: Names below it: only what is in the first, in the last, or between them.
    most: Objects that are listed.

    Returns: In the order of their names; empty if nothing is there. Objects that only
        stand for a folder (made by the web console) are left out.
    Raises Denied, Missing: 401 or 403; no such bucket.
    Raises RemoteError: if the bucket can't be reached.
    """
    patience = patience or Patience.from_environment()
    prefix, span = f"{address.name}/" if address.name else "", {}
    if between:  # "0" comes next after "/"
        first, last = between
        span = {"start_offset": prefix + first, "end_offset": f"{prefix}{last}0"}
    with explained(address, LIST):
        blobs = shared_client().list_blobs(
            address.bucket,
            prefix=prefix or None,
            max_results=most,
            **span,
            fields=FIELDS,
            timeout=patience.timeout_s,
            retry=retry(patience),
        )
        return [RemoteObject.of(blob) for blob in blobs if not blob.name.endswith("/")]


def stat(address: Address, patience: Patience | None = None) -> RemoteObject:
    """One object as it is now.

    Raises Denied, Missing: 401 or 403; no such object.
    Raises RemoteError: if the bucket can't be reached.
    """
    patience = patience or Patience.from_environment()
    with explained(address, GET):
        return RemoteObject.of(loaded_blob(address, patience))


def loaded_blob(address, patience):
    """The Blob with its properties."""
    blob = shared_client().bucket(address.bucket).blob(address.name)
    blob.reload(timeout=patience.timeout_s, retry=retry(patience))
    return blob
