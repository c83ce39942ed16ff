"""Addresses that a user gives: local paths, or ``gs://bucket/folder``.

Values of the yamls hold them as text, absolute and in one form; what they lead to is
for `local.storage.inputs` to fetch.
"""

import os
import re
from pathlib import Path

from local.storage.gcs.addresses import Address, is_remote
from local.utils.errors import UserError


def absolute(address: str | Path, key: str) -> str:
    """An address in the one form that is compared and saved.

    key: The yaml key it came from, for the message.

    Returns: An absolute path, or ``gs://…`` without a slash at its end.
    Raises UserError: for no address, or one of a bucket that is malformed.

    >>> absolute("/data/corpus/", "corpus_folder")
    '/data/corpus'
    >>> absolute("gs://hospital/corpus/", "corpus_folder")
    'gs://hospital/corpus'
    """
    if isinstance(address, list):
        raise UserError(f"{key} takes one path, found {len(address)}: {address}")
    if address and is_remote(address):
        return str(_remote(address, key))
    return str(local_path(address, key))


def several(given, key: str) -> list[str]:
    """Addresses of what takes one path or a list of them.

    given: str, Path or list of these
    key: The yaml key it came from, for the message.

    Returns: As `absolute` gives them.
    Raises UserError: as `absolute`, and if one is there twice.

    >>> several("/a.csv", "split_csv"), several(["/a.csv", "gs://ward/b.csv"], "…")
    (['/a.csv'], ['/a.csv', 'gs://ward/b.csv'])
    """
    addresses = given if isinstance(given, list) else [given]
    named = [absolute(address, key) for address in addresses]
    if not named:
        raise UserError(f"{key} is empty: give --{key}=PATH.")
    if twice := sorted({address for address in named if named.count(address) > 1}):
        raise UserError(f"{key} names these more than once:", twice)
    return named


def joined(address, name):
    """The address of what is called `name` below another.

    >>> joined("/data/corpus", "audio"), joined("gs://hospital/corpus", "audio")
    ('/data/corpus/audio', 'gs://hospital/corpus/audio')
    """
    if is_remote(address):
        return str(Address.parse(address) / name)
    return str(Path(address) / name)


def parent(address):
    """The address of the folder that something lies in.

    >>> parent("/data/corpus/labels.txt"), parent("gs://hospital/labels.txt")
    ('/data/corpus', 'gs://hospital')
    """
    if is_remote(address):
        remote = Address.parse(address)
        return str(Address(remote.bucket, remote.name.rpartition("/")[0]))
    return str(Path(address).parent)


def last_name(address):
    """What the file or folder at an address is called.

    >>> last_name("/data/aphasia"), last_name("gs://hospital")
    ('aphasia', 'hospital')
    """
    if is_remote(address):
        remote = Address.parse(address)
        return remote.name.rpartition("/")[2] or remote.bucket
    return Path(address).name


def remote_folder(address: str, key: str) -> Address:
    """The address of a folder in a bucket.

    key: The yaml key it came from, for the message.

    Raises UserError: for a local path or a malformed address.
    """
    if not is_remote(address):
        raise UserError(f"{key} must be gs://bucket/folder, found {address}.")
    return _remote(address, key)


def _remote(address, key):
    try:
        return Address.parse(address)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def local_path(address: str | Path, key: str) -> Path:
    """The absolute path of a file or folder that must be on disk.

    key: The yaml key it came from, for the message.

    Raises UserError: for no address, a bucket's or another one that is no path, or the
        home of a user who is not there.
    """
    if not address:
        raise UserError(f"{key} is empty: give --{key}=PATH.")
    if is_remote(address):
        raise UserError(
            f"{key} is {address}, and must be on disk: give a local path. Results are "
            "copied to a bucket with --upload_to=gs://bucket/folder."
        )
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(address), re.IGNORECASE):
        raise UserError(
            f"{key} is {address}: expected a local path, or gs://bucket/folder for "
            "Google Cloud Storage. There are no other addresses: copy the files."
        )
    try:
        return Path(address).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(
            f"{key} is {address}, and there is no user of that name: for a folder of "
            f"that name give ./{address}."
        ) from error


def output_path(address: str | Path, key: str) -> Path:
    """The absolute path of a folder to write to.

    key: The yaml key it came from, for the message.

    Raises UserError: if it is, or lies below, a file or a folder that can't be written;
        a cache may be of others.
    """
    path = local_path(address, key)
    existing = next(part for part in (path, *path.parents) if part.exists())
    if not existing.is_dir():
        raise UserError(f"{key} is {path}, and {existing} is a file: name a folder.")
    if key != "feature_cache" and not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(
            f"{key} is {path}, and {existing} can't be written: name another folder, "
            "or mend its permissions."
        )
    return path
