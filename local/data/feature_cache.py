"""A folder with features of whole recordings, so that each is computed once.

Only of front ends that no training changes and that see a recording as a whole: those
with an attribute `identity`, text that says all that their numbers depend on beside the
recording and the program. Below the folder is a file per recording and front end,
`<digest of the recording's name>-<digest of all else>.npz`, and `CACHEDIR.TAG`. Any
number of processes may read and write it at the same time.
"""

import contextlib
import functools
import hashlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Self

import numpy as np
import torch

from local.audio.loading import find_waveform
from local.storage.experiment_files import FEATURES, SAVE
from local.utils.files import atomic_write

logger = logging.getLogger(__name__)

#: Says that a folder is a cache, to backups (https://bford.info/cachedir/) and to us.
TAG = "CACHEDIR.TAG"
TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# Features of recordings. May be deleted while nobody uses it.
"""

#: What decodes recordings and computes their features.
PACKAGES = (
    *("torch", "torchaudio", "speechbrain", "transformers", "numpy"),
    *("soundfile", "soxr", "av", "librosa"),
)


class FeatureCache:
    """A folder with features of recordings.

    folder: Made on first use; where it can't be written to, which a warning tells once,
        nothing is kept.

    >>> cache = FeatureCache(getfixture("tmp_path"))
    >>> cache.kept("s01", "all else", lambda: torch.ones(1, 2))
    tensor([[1., 1.]])
    >>> cache.kept("s01", "all else", None)
    tensor([[1., 1.]])
    >>> cache.forget(["s01"]), cache.keeps(["s01"])
    (1, 0)
    """

    def __init__(self, folder: str | Path):
        self.folder, self.is_refused = Path(folder), False

    @classmethod
    def of(cls, values: Mapping) -> Self:
        """That of an experiment.

        values: Plain values of its yaml: `feature_cache`, or else `save_folder`.
        """
        own = Path(values["save_folder"], FEATURES.relative_to(SAVE))
        return cls(values.get("feature_cache") or own)

    def kept(
        self, recording: str, depends_on: str, compute: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Features of a recording, as they were kept, or computed now.

        recording: Its name.
        depends_on: All else that they depend on.
        """
        path = self.folder / f"{_digest(recording)}-{_digest(depends_on)}.npz"
        # whatever half a file raises that a power failure has left
        with contextlib.suppress(Exception), np.load(path) as arrays:
            return torch.from_numpy(arrays["features"])
        features = compute()
        try:
            self._keep(path, features)
        except OSError as error:
            if not self.is_refused:
                logger.warning(
                    f"feature_cache {self.folder} can't be written ({error.strerror}): "
                    "features are computed anew each time"
                )
            self.is_refused = True
        return features

    def _keep(self, path, features):
        tag = self.folder / TAG
        if not tag.exists():
            with atomic_write(tag) as file:
                file.write(TAG_TEXT)
        with atomic_write(path, "wb", durable=False) as file:
            np.savez(file, features=features.numpy())

    def keeps(self, recordings: Iterable[str]) -> int:
        """Of how many of these recordings there are features."""
        return len({path.name.partition("-")[0] for path in self._files(recordings)})

    def forget(self, recordings: Iterable[str]) -> int:
        """Remove the features of recordings; of how many there were any."""
        files = self._files(recordings)
        for path in files:
            path.unlink(missing_ok=True)
        return len({path.name.partition("-")[0] for path in files})

    def _files(self, recordings):
        digests = {_digest(name) for name in recordings}
        files = self.folder.glob("*-*.npz")
        return [path for path in files if path.name.partition("-")[0] in digests]


def caches_in(folder: Path) -> list[Path]:
    """The feature caches in a folder of results."""
    tags = folder.rglob(TAG)
    return [tag.parent for tag in tags if tag.read_text("utf-8") == TAG_TEXT]


def content_of(files: dict[str, Path], recording_metadata: dict) -> str:
    """The SHA-256 of a recording's audio file.

    files: The recording's, by name.
    recording_metadata: As `read_metadata` gives it.
    """
    with find_waveform(files, recording_metadata).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def program_of(front_end: torch.nn.Module) -> str:
    """What a front end's numbers depend on beside its settings and the recording.

    Returns: Digest of its package's source and of what decodes; versions of packages.
    """
    modules = type(front_end).__module__, find_waveform.__module__
    sources = (_source(Path(sys.modules[name].__file__).parent) for name in modules)
    return " ".join([*sources, *_versions()])


@functools.cache
def _source(folder):
    contents = [path.read_bytes() for path in sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


@functools.cache
def _versions():
    versions = []
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return versions


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:32]
