"""Recordings by name: folders or files below `data_folder`, on disk or in a bucket."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

from local.audio.inspection import RecordingReport, inspect_recording
from local.audio.loading import (
    METADATA,
    AudioFormat,
    file_alone,
    is_recording_file,
    recording_files,
)
from local.data.recording_names import is_file, name_of_file, path_of
from local.storage import gcs
from local.storage.addresses import is_remote
from local.storage.gcs.addresses import Address
from local.storage.gcs.cache import Cache
from local.storage.inputs import Storage
from local.utils.errors import ABSENT, GONE, BadRecording, UserError

logger = logging.getLogger(__name__)

#: Objects of a page of a listing; so many pages are always worth it; listings of single
#: recordings at a time.
N_LISTED, N_PAGES, N_LISTINGS = 1000, 16, 32

#: How often a recording is fetched again that others crowd out of the cache.
N_ATTEMPTS = 5


def _used(name, use, files):
    """What `use` makes of files.

    Reasons don't tell what a file is called that is a recording of its own: its name
    may be a person's, and reasons of one kind are counted.
    """
    try:
        return use(files)
    except BadRecording as error:
        if not is_file(name):
            raise
        (path,) = files.values()
        reason = str(error).replace(path.name, "the file")
        raise BadRecording(reason, error.kind) from error


def open_recordings(
    storage: Storage, address: str, names: Iterable[str]
) -> "Recordings":
    """The recordings of a data folder.

    address: Of the data folder.
    names: Those that are needed.
    """
    if not is_remote(address):
        return FolderRecordings(address)
    folder = gcs.Address.parse(address)
    return BucketRecordings(folder, storage.cache, names, storage.project)


class Recordings:
    """Recordings of a place; who reads one need not know where it is.

    What is here holds where nothing is to be fetched, and no copies are kept.

    place (str): Of all of them, as messages call it.
    """

    def fetch_all(self):
        """Bring all of them here at once, if there is room."""

    def fetch_ahead(self, names: Iterable[str]):
        """Bring recordings here that are soon read, as far as they fit."""

    def forget(self, names: Iterable[str]):
        """Delete every copy of these recordings.

        names: Of subjects who have withdrawn their consent, for example.
        """

    def parts(self, names: Iterable[str]) -> Iterator[list[str]]:
        """Yield the names in parts that are all at hand at the same time."""
        yield list(names)

    def unreadable(self, names: Iterable[str]) -> dict[str, str]:
        """Names and reasons of recordings that are not there."""
        reasons = {}
        for name in names:
            try:
                if not set(self._of(name)) - {METADATA}:
                    reasons[name] = "there is no waveform.*"
            except BadRecording as reason:
                reasons[name] = str(reason)
        return reasons

    def without_metadata(self, names: Iterable[str]) -> list[str]:
        """Names of recordings that have no metadata.json; a file needs none."""
        lacking = []
        for name in names:
            with contextlib.suppress(BadRecording):  # which inspection tells
                files = self._of(name)
                if files and METADATA not in files and not is_file(name):
                    lacking.append(name)
        return lacking

    def read(self, name: str, use: Callable):
        """What `use` makes of a recording's files.

        name: The recording's folder, or file (see `recording_names`).
        use: Takes a dict of str to Path, the files by name.

        Raises BadRecording: if there is no such recording, or as `use` raises it.
        """
        return _used(name, use, self._of(name))

    def inspect(
        self, uid: str, name: str, audio: AudioFormat, part: dict
    ) -> RecordingReport:
        """What a recording is like.

        uid: By which a file of features knows it.
        audio: How it will be read.
        part: Which part of it is meant (see `manifests.segment`).

        Raises BadRecording: if it can't be used.
        """
        return self.read(name, lambda files: inspect_recording(files, audio, **part))

    def _of(self, name):
        """A recording's files, or objects of a bucket, by name."""
        raise NotImplementedError


class FolderRecordings(Recordings):
    """Recordings on disk.

    >>> folder = getfixture("tmp_path")
    >>> (folder / "r1").mkdir()
    >>> _ = (folder / "r1" / "metadata.json").write_text("{}")
    >>> FolderRecordings(folder).read("r1", sorted)
    ['metadata.json']
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.place = str(folder)

    def _of(self, name):
        find = file_alone if is_file(name) else recording_files
        return find(self.folder / name)


class BucketRecordings(Recordings):
    """Recordings in a bucket, of the generations that a listing found.

    They are read from a cache on disk. Where that is large enough, `fetch` brings all
    of them at once; else they stream through it, each fetched before it is read.

    address: The folder that theirs are in.
    names: Those that are needed: of others nothing is kept.
    project: Google Cloud project.

    Raises UserError: if access is denied, or nothing is there.
    Raises RemoteError: if the bucket can't be reached.
    """

    def __init__(
        self,
        address: Address,
        cache: Cache,
        names: Iterable[str],
        project: str | None = None,
    ):
        self.address, self.cache, self.project = address, cache, project
        self.place = str(address)
        self._files = {name: {} for name in names}
        self._gone = {}  # names and reasons of those that can't be fetched
        gcs.client(project)
        listing = self._listing()
        if not listing and not gcs.list_objects(address, most=1):
            raise UserError(
                f"There is nothing below {address}: expected the recordings: a "
                "folder for each, with waveform.* in it, or files. If they have moved, "
                "give --data_folder=gs://bucket/folder."
            )
        for remote in listing:
            # compared as text, never trusted as a path
            below = remote.name.removeprefix(f"{address.name}/".lstrip("/"))
            folder, _, file = below.rpartition("/")
            if is_recording_file(file) and not is_file(folder):
                self._add(folder, file, remote)
            self._add(name_of_file(below), f"waveform{PurePath(file).suffix}", remote)
        self.n_bytes = sum(self._size(name) for name in self._files)

    def _listing(self):
        """The objects of these recordings, and maybe others.

        All from the first name to the last are listed or, where that would take long,
        each recording for itself.
        """
        paths = sorted(map(path_of, self._files))
        most = N_LISTED * max(N_PAGES, len(paths) // N_LISTINGS)
        span = (paths[0], paths[-1]) if paths else None
        listing = gcs.list_objects(self.address, between=span, most=most + 1)
        if len(listing) <= most:
            return listing
        with ThreadPoolExecutor(N_LISTINGS) as pool:
            own = pool.map(self._objects_of, self._files)
            return [remote for listing in own for remote in listing]

    def _objects_of(self, name):
        """The objects of one recording."""
        if not is_file(name):
            return gcs.list_objects(self.address / name)
        with contextlib.suppress(gcs.Missing):
            return [gcs.stat(self.address / path_of(name))]
        return []

    def _add(self, name, file, remote):
        """Take note of an object, if it is of a recording that is needed."""
        if name not in self._files:
            return
        self._files[name][file] = remote
        try:
            gcs.check_name(remote.name)
        except UserError as error:
            self._gone[name] = str(error)

    @property
    def streams(self):
        """Whether they are more than the cache may hold at a time."""
        limit = self.cache.limit_bytes
        return limit is not None and self.n_bytes > limit

    def fetch_all(self):
        """Bring all of them into the cache, with a progress bar, if there is room."""
        if self.streams:
            self._check_room()
            logger.info(
                "%.3g GB of recordings stream through a cache of %.3g GB "
                "(audio_cache_gb); num_workers processes fetch them ahead of their use",
                self.n_bytes / 1e9,
                self.cache.limit_bytes / 1e9,
            )
        else:
            self.fetch(self._files, progress=True)

    def _check_room(self):
        """Refuse a cache that can't hold the largest recording."""
        largest = max(map(self._size, self._files))
        if largest > self.cache.limit_bytes:
            raise UserError(
                f"audio_cache_gb is {self.cache.limit_bytes / 1e9:g}, and one "
                f"recording alone has {largest / 1e9:.3g} GB: raise it to several "
                "times that, or to null for no limit."
            )

    def fetch_ahead(self, names):
        """Bring recordings into the cache that are soon read, as far as they fit."""
        room, soon = self._share(), []
        for name in names:
            room -= self._size(name)
            if room < 0:
                break
            soon.append(name)
        self.fetch(soon)

    def forget(self, names):
        """Delete every copy of these recordings from the cache."""
        for name in names:
            self.cache.forget(self.address / path_of(name), is_file(name))

    def fetch(self, names: Iterable[str], progress: bool = False):
        """Bring recordings into the cache, in parallel.

        Objects that have left the bucket since the listing are found by `unreadable`.

        progress: Show a bar.

        Raises UserError, RemoteError: if access is denied, the cache is too small, or
            the bucket can't be reached.
        """
        names = list(names)
        remotes = [
            remote
            for name in names
            if name not in self._gone
            for remote in self._files[name].values()
        ]
        gcs.client(self.project)
        try:
            self.cache.fetch(remotes, progress)
        except (UserError, gcs.RemoteError) as error:
            failures = getattr(error, "failures", {})
            if not failures or not all(
                isinstance(failure, gcs.Missing) for failure in failures.values()
            ):
                raise
            for name in names:
                for remote in failures.keys() & set(self._files[name].values()):
                    reason = (
                        f"it left the bucket after it was listed: {failures[remote]}"
                    )
                    self._gone[name] = reason

    def parts(self, names):
        """Yield the names in parts that the cache holds at a time, fetched."""
        part, n_bytes = [], 0
        for name in names:
            size = self._size(name)
            if part and n_bytes + size > self._share():
                self.fetch(part)
                yield part
                part, n_bytes = [], 0
            part.append(name)
            n_bytes += size
        self.fetch(part)
        yield part

    def read(self, name, use):
        """As `Recordings.read`, from the cache."""
        for attempt in range(N_ATTEMPTS):
            remotes = self._of(name)
            self.fetch([name])
            files = {file: self.cache.path(remote) for file, remote in remotes.items()}
            try:
                return _used(name, use, files)
            except BadRecording:
                # somebody else may have needed the room before it was read, or
                # fetched it again since
                if attempt and all(path.exists() for path in files.values()):
                    raise
        raise UserError(
            f"Recordings leave the cache {self.cache.folder} before they can be read: "
            "raise audio_cache_gb, or lower num_workers."
        )

    def _of(self, name):
        if name in self._gone:
            raise BadRecording(self._gone[name], GONE)
        remotes = self._files.get(name)
        if not remotes:
            kind = "file" if is_file(name) else "folder"
            place = f"{self.address}/{path_of(name)}"
            raise BadRecording(f"there is no {kind} {place}", ABSENT)
        return remotes

    def _share(self):
        """Bytes that one process may fetch at a time: others do too."""
        return self.cache.limit_bytes / 4 if self.streams else float("inf")

    def _size(self, name):
        """Bytes of a recording, 0 if there is none."""
        return sum(remote.size for remote in self._files.get(name, {}).values())
