"""Files that are each made once: in a folder on disk, or as objects of a bucket.

Any number of processes may make them, also the same ones: of two writers of a name one
loses, and a reader never sees a half.
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from local.storage import gcs
from local.storage.addresses import is_remote, last_name, parent
from local.storage.gcs.mirror import Mirror
from local.utils.errors import RunError
from local.utils.files import remove_unfinished


def part_files(address: str, project: str | None = None) -> "LocalFiles | BucketFiles":
    """The files below an address.

    project: Google Cloud project.
    """
    if is_remote(address):
        return BucketFiles(address, project)
    return LocalFiles(Path(address))


class LocalFiles:
    """Files of a folder on disk, which is made when it is needed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> set[str]:
        """What there is, without what is being written."""
        with contextlib.suppress(FileNotFoundError):
            return {path.name for path in self.folder.iterdir() if path.name[0] != "."}
        return set()

    def create(self, name: str, write: Callable) -> bool:
        """Make a file, unless it is there.

        write: Takes the open file.

        Returns: Whether this process has made it.
        """
        with contextlib.suppress(FileNotFoundError), self.scratch() as path:
            # not found: whoever has put all together has cleaned up meanwhile
            with path.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            return _linked(path, self.folder / name)
        return False

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lends the path of a file that is removed at the end, unless it has moved."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".{secrets.token_hex(8)}.tmp"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Lends a file, to be read.

        Raises FileNotFoundError: when it is read, if it is not there.
        """
        yield self.folder / name

    def remove(self, names: Iterable[str]):
        """Remove files, and the folder once nothing is in it."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def clean(self):
        """Remove what killed processes were writing."""
        remove_unfinished(self.folder)


class BucketFiles:
    """Objects right below a folder of a bucket."""

    def __init__(self, address: str, project: str | None = None):
        self.address, self.project = gcs.Address.parse(address), project
        self._there = {}

    def names(self) -> set[str]:
        """What there is: one request per 1000 objects."""
        gcs.client(self.project)
        self._there = Mirror("", self.address).look()
        return set(self._there)

    def create(self, name: str, write: Callable) -> bool:
        """As `LocalFiles.create`: one request."""
        gcs.client(self.project)
        with self.scratch() as path:
            with path.open("wb") as file:
                write(file)
            with contextlib.suppress(gcs.Conflict):
                gcs.upload(path, self.address / name, if_generation_match=0)
                return True
        return False

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lends the path of a file on disk that is removed at the end."""
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "file")

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        """Lends a copy of an object that `names` has found."""
        with self.scratch() as path:
            gcs.download(self._there[name], path)
            yield path

    def remove(self, names: Iterable[str]):
        """Remove objects that `names` has found, of just these generations."""
        mirror = Mirror("", self.address)
        names = set(names)
        mirror.look(names if len(names) == 1 else None)
        known = {name for name in names if name in mirror.there}
        if problems := mirror.run([(mirror.delete, known)]):
            raise RunError(f"{len(problems)} parts stay: {problems[0]}")

    def clean(self):
        """Nothing is ever there that is not whole."""


def publish(path: Path, address: str):
    """Let a finished file on disk take the place of whatever is at an address.

    path: On the same drive, for a local address.

    Raises FileNotFoundError: if somebody has taken it away.
    """
    if is_remote(address):
        gcs.upload(path, gcs.Address.parse(address))
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(address)


def withdraw(address: str):
    """Let nothing be at an address."""
    if is_remote(address):
        BucketFiles(parent(address)).remove([last_name(address)])
    else:
        Path(address).unlink(missing_ok=True)


def is_there(address: str, project: str | None = None) -> bool:
    """Whether there is a file at an address."""
    if not is_remote(address):
        return Path(address).exists()
    gcs.client(project)
    with contextlib.suppress(gcs.Missing):
        return gcs.stat(gcs.Address.parse(address)) is not None
    return False


def _linked(path, target):
    """Give a file its name unless something has it; whether that was so."""
    try:
        os.link(path, target)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise
    except OSError:  # a drive without links: what is there is the same but for rounding
        if target.exists():
            return False
        path.replace(target)
    return True
