"""What the addresses of inputs lead to: local files, copies of a bucket's."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

from local.storage import gcs
from local.storage.addresses import is_remote, local_path
from local.storage.experiment_files import row_of
from local.utils.errors import UserError

#: Where copies of a bucket's objects are kept unless `audio_cache` says otherwise.
DEFAULT_CACHE = "audio_cache"

#: Seconds that something is waited for which is not needed in any case.
IMPATIENT_S = 10.0

#: How often a folder is listed again that somebody writes to meanwhile.
N_LISTINGS = 3


@contextlib.contextmanager
def told_as(address: str, path: Path):
    """Let messages about a local copy speak of what it is a copy of.

    path: Its local copy.

    Raises UserError: as it comes, with the address for the path.

    >>> with told_as("gs://hospital/labels.txt", Path("/cache/labels.txt")):
    ...     raise UserError("/cache/labels.txt names no label.")
    Traceback (most recent call last):
    local.utils.errors.UserError: gs://hospital/labels.txt names no label.
    """
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(path), str(address))) from error


@dataclasses.dataclass(frozen=True)
class Storage:
    """Reads inputs, from disk or from buckets.

    cache: Where a bucket's recordings are kept.
    project: Google Cloud project.
    """

    cache: gcs.Cache
    project: str | None = None

    @classmethod
    def of(cls, values):
        """As a yaml's `audio_cache`, `audio_cache_gb` and `gcs_project` say.

        Raises UserError: if the cache is no local folder, or its limit no positive
            number.
        """
        folder = local_path(values.get("audio_cache") or DEFAULT_CACHE, "audio_cache")
        cache = gcs.Cache(folder, values.get("audio_cache_gb"))
        return cls(cache, values.get("gcs_project"))

    def file(self, address: str, patient: bool = True) -> Path:
        """A local copy of a file as it is now.

        patient: Whether to wait long for a bucket that can't be reached.

        Returns: Also for a local file that is not there.
        Raises Missing: if a bucket has no such object.
        Raises Denied, RemoteError: if it can't be read.
        """
        if not is_remote(address):
            return Path(address)
        patience = gcs.Patience.from_environment()
        if not patient:
            deadline_s = min(IMPATIENT_S, patience.deadline_s)
            patience = dataclasses.replace(patience, deadline_s=deadline_s)
        gcs.client(self.project)
        remote = gcs.stat(gcs.Address.parse(address), patience)
        return self._snapshot([remote]) / remote.name

    def folder(self, address: str, wanted: Callable) -> Path:
        """A local copy of a folder as it is now.

        wanted: Takes a name below the folder, says whether that file is needed.

        Returns: The folder itself if it is local; it, or files in it, may not be there.
        Raises UserError, RemoteError: if it can't be read, or a wanted object's name
            can't be trusted.
        """
        if not is_remote(address):
            return Path(address)
        remote_folder = gcs.Address.parse(address)
        prefix = f"{remote_folder.name}/".lstrip("/")
        for left in reversed(range(N_LISTINGS)):
            gcs.client(self.project)
            listing = gcs.list_objects(remote_folder)
            remotes = [o for o in listing if wanted(o.name.removeprefix(prefix))]
            if not remotes:
                return self.cache.folder / "nothing"  # as a local one may not be there
            try:
                return self._snapshot(remotes) / remote_folder.name
            except (gcs.RemoteError, UserError) as error:
                # somebody writes there: what is there now?
                if not left or not _was_replaced(error):
                    raise

    def experiment(self, address: str) -> Path:
        """A local copy of what evaluation and export need of an experiment's folder.

        Returns: The folder itself if it is local.
        """
        return self.folder(address, is_of_experiment)

    def _snapshot(self, remotes):
        """A folder with these objects at the paths that they have in their bucket."""
        bucket = gcs.Address(remotes[0].bucket)
        return gcs.snapshot(self.cache.folder, bucket, remotes)


def _was_replaced(error):
    """Whether an object has gone or changed since it was listed."""
    failures = getattr(error, "failures", {0: error}).values()
    return all(isinstance(failure, gcs.Changed | gcs.Missing) for failure in failures)


def is_of_experiment(name):
    """Whether a file of an experiment's folder is needed to evaluate or export it."""
    row = row_of(name)
    return row is not None and row.reopen
