"""Small sets of objects as a local folder: CSVs, labels, a trained experiment."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from local.storage.gcs.addresses import Address, RemoteObject
from local.storage.gcs.cache import private_folder
from local.storage.gcs.parallel import download_many
from local.utils.files import folder_beside

#: Seconds after which a snapshot that nobody used is removed, and after which nobody
#: can still be filling a temporary folder.
UNUSED_S, LEFT_OVER_S = 30 * 86400, 86400


def snapshot(
    cache_folder: str | Path, folder: Address, remotes: Iterable[RemoteObject]
) -> Path:
    """A local folder with objects of certain generations, whole or not at all.

    cache_folder: Made if it is not there, for this user only.
    folder: What the paths in the snapshot are relative to.
    remotes: Below that folder, see `list_objects`.

    Returns: The same one for the same objects and generations, also for other
        processes: nobody may write there. If it was there already, nothing is
        downloaded.
    Raises UserError: if the cache's folder can't be written, or a name can't be trusted
        as a path.
    Raises UserError, RemoteError: if objects can't be downloaded, see `download_many`.
    Raises OSError: if a file can't be written.
    """
    remotes = list(remotes)
    names = {remote: remote.below(folder) for remote in remotes}
    private_folder(Path(cache_folder))
    target = Path(cache_folder) / "snapshots" / _digest(folder, remotes)
    with contextlib.suppress(FileNotFoundError):
        os.utime(target)
        return target
    with folder_beside(target) as partial:
        pairs = [(remote, partial / name) for remote, name in names.items()]
        download_many(pairs, progress=False)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    _remove_unused(target.parent)
    return target


def _digest(folder, remotes):
    """A name for a set of generations below a folder."""
    generations = sorted((remote.name, remote.generation) for remote in remotes)
    text = json.dumps([str(folder), generations])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _remove_unused(snapshots):
    """Remove what nobody used for long, and what killed processes left."""
    now = time.time()
    for path in filter(Path.is_dir, list(snapshots.iterdir())):
        longest_s = LEFT_OVER_S if path.name.startswith(".") else UNUSED_S
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if now - path.stat().st_mtime > longest_s:
                with folder_beside(path) as trash:  # a half one must not look whole
                    path.rename(trash)
