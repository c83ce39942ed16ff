"""What the addresses of inputs lead to: local files, copies of a bucket's."""

import dataclasses
import logging
from pathlib import Path

from local import gcs
from local.addresses import is_remote, local_path
from local.errors import UserError
from local.recordings import BucketRecordings, FolderRecordings

logger = logging.getLogger(__name__)

#: Where copies of a bucket's objects are kept unless `audio_cache` says otherwise.
DEFAULT_CACHE = "audio_cache"

#: Of a trained experiment, what evaluation needs (names below its folder).
EXPERIMENT_FILES = ("hyperparams.yaml", "save/run_options.json")

#: How often a folder is listed again that somebody writes to meanwhile.
N_LISTINGS = 3


@dataclasses.dataclass(frozen=True)
class Storage:
    """Reads inputs, from disk or from buckets.

    Attributes
    ----------
    cache_folder : Path
    limit_gb : float or None
        Bytes / 10^9 of recordings that the cache may hold; None: any.
    project : str or None
        Google Cloud project.
    """

    cache_folder: Path
    limit_gb: float | None = None
    project: str | None = None

    @classmethod
    def of(cls, values):
        """As a yaml's `audio_cache`, `audio_cache_gb` and `gcs_project` say.

        Raises
        ------
        UserError
            If the cache is no local folder, or its limit no positive number.
        """
        limit = values.get("audio_cache_gb")
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (is_number and 0 < limit < float("inf")):
            raise UserError(
                f"audio_cache_gb must be a number above 0, or null for no limit; found "
                f"{limit!r}."
            )
        folder = local_path(values.get("audio_cache") or DEFAULT_CACHE, "audio_cache")
        return cls(folder, limit, values.get("gcs_project"))

    def file(self, address):
        """A local copy of a file as it is now.

        Arguments
        ---------
        address : str

        Returns
        -------
        Path
            Also for a local file that is not there.

        Raises
        ------
        gcs.Missing
            If a bucket has no such object.
        gcs.Denied, gcs.RemoteError
            If it can't be read.
        """
        if not is_remote(address):
            return Path(address)
        remote = self._list(gcs.stat, gcs.Address.parse(address))
        return self._snapshot([remote]) / remote.name

    def folder(self, address, wanted):
        """A local copy of a folder as it is now.

        Arguments
        ---------
        address : str
        wanted : callable
            Takes a name below the folder, says whether that file is needed.

        Returns
        -------
        Path
            The folder itself if it is local; it, or files in it, may not be there.

        Raises
        ------
        UserError, gcs.RemoteError
            If it can't be read, or a wanted object's name can't be trusted.
        """
        if not is_remote(address):
            return Path(address)
        remote_folder = gcs.Address.parse(address)
        prefix = f"{remote_folder.name}/".lstrip("/")
        for left in reversed(range(N_LISTINGS)):
            listing = self._list(gcs.list_objects, remote_folder)
            remotes = [o for o in listing if wanted(o.name.removeprefix(prefix))]
            try:
                return self._snapshot(remotes) / remote_folder.name
            except (gcs.Changed, gcs.RemoteError, UserError) as error:
                # somebody writes there: what is there now?
                if not left or not _was_replaced(error):
                    raise

    def experiment(self, address):
        """A local copy of what evaluation needs of an experiment's folder.

        Arguments
        ---------
        address : str

        Returns
        -------
        Path
            The folder itself if it is local.
        """
        return self.folder(address, _is_of_experiment)

    def recordings(self, address, names):
        """The recordings of a data folder.

        Arguments
        ---------
        address : str
        names : iterable of str
            Those that are needed.

        Returns
        -------
        FolderRecordings or BucketRecordings
        """
        if not is_remote(address):
            return FolderRecordings(address)
        return BucketRecordings(
            gcs.Address.parse(address),
            gcs.Cache(self.cache_folder, self.limit_gb),
            names,
            self.project,
        )

    def _list(self, function, address):
        gcs.client(self.project)
        return function(address)

    def _snapshot(self, remotes):
        """A folder with these objects at the paths that they have in their bucket."""
        if not remotes:
            return self.cache_folder / "snapshots" / "empty"
        return gcs.snapshot(self.cache_folder, gcs.Address(remotes[0].bucket), remotes)


def _was_replaced(error):
    """Whether an object has gone or changed since it was listed."""
    failures = getattr(error, "failures", {0: error}).values()
    return all(isinstance(failure, gcs.Changed | gcs.Missing) for failure in failures)


def _is_of_experiment(name):
    """Whether a file of an experiment's folder is needed to evaluate it."""
    return (
        name in EXPERIMENT_FILES
        or name.startswith("save/manifests/")
        or name.startswith("save/CKPT")
    )
