"""The files below an audio folder, on disk or in a bucket."""

import bisect
import contextlib
import dataclasses
import functools
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import soundfile

from local.storage import gcs
from local.storage.addresses import absolute, is_remote
from local.utils.errors import UserError
from local.utils.files import AUDIO_SUFFIXES, is_hidden
from local.utils.spelling import alike, composed

#: Frames that are read to tell recordings of one length apart, before all are.
FIRST_FRAMES = 4000

#: Files that one thread looks at in one go.
N_AT_A_TIME = 200

#: What stands between the words of a name.
SIGNS = r"(?:[^\w/]|_)+"

#: After every name that begins with a text.
LAST = chr(0x10FFFF)


@dataclasses.dataclass(frozen=True)
class AudioFolder:
    """Files below a folder.

    address: Absolute path, or gs:// address.
    checksums: Name below the folder, with slashes → what is the same for the same
        bytes; None on disk.
    """

    address: str
    checksums: dict[str, str | None]

    @classmethod
    def listed(cls, given: str, key: str = "audio_folder") -> "AudioFolder":
        """List a folder once, a bucket by one request per 1000 objects.

        key: The option it came from, for messages.

        Raises UserError: if there is no such folder, or no file in it.
        """
        address = absolute(given, key)
        if is_remote(address):
            folder = gcs.Address.parse(address)
            gcs.client()
            prefix = f"{folder.name}/".lstrip("/")
            files = {
                remote.name.removeprefix(prefix): f"{remote.size} {remote.crc32c}"
                for remote in gcs.list_objects(folder)
            }
        elif Path(address).is_dir():
            files = dict.fromkeys(_names_below(address))
        else:
            raise UserError(f"{key} should be a folder: there is no folder {address}.")
        files = {
            name: checksum
            for name, checksum in sorted(files.items())
            if not is_hidden(PurePosixPath(name))
        }
        if not files:
            raise UserError(f"{key} {address} holds no file.")
        unwritable = [name for name in files if not _is_text(name)]
        if unwritable:
            raise UserError(
                f"{key} {address} holds files whose names are not UTF-8; rename them:",
                map(repr, unwritable),
            )
        return cls(address, files)

    def same_audio(self, names: Iterable[str]) -> list[list[str]]:
        """Groups of files that hold the same sound.

        On disk what is decoded is compared, so that a WAV and a FLAC may be the same;
        in a bucket the bytes.
        """
        names = sorted(set(names))
        if is_remote(self.address):
            return _groups(names, self.checksums.get)
        groups = [names]
        with ThreadPoolExecutor() as pool:
            for look in (_beginning, _content):  # all of it only where it may matter
                left = [name for group in groups for name in group]
                starts = range(0, len(left), N_AT_A_TIME)
                parts = [left[i : i + N_AT_A_TIME] for i in starts]
                keys = {}
                for looked in pool.map(functools.partial(self._looked, look), parts):
                    keys |= looked
                groups = [group for one in groups for group in _groups(one, keys.get)]
        return groups

    def durations(self, names: Iterable[str]) -> dict[str, float]:
        """Seconds that the headers of files state.

        Returns: Name → duration, of files on disk that libsndfile reads.
        """
        durations = {}
        for name in sorted(set(names)) if not is_remote(self.address) else ():
            with contextlib.suppress(soundfile.SoundFileError, OSError):
                durations[name] = soundfile.info(f"{self.address}/{name}").duration
        return durations

    def _looked(self, look, names):
        """Of files that can be read; of others that is told elsewhere."""
        looked = {}
        for name in names:
            with contextlib.suppress(OSError):
                looked[name] = look(f"{self.address}/{name}")
        return looked


def _names_below(folder):
    """Names of files, with slashes, of folders of any depth; no links to nothing."""
    for parent, _, names in os.walk(folder):
        below = Path(parent).relative_to(folder).as_posix()
        for name in names:
            if os.path.exists(f"{parent}/{name}"):  # noqa: PTH110, a Path takes longer
                yield name if below == "." else f"{below}/{name}"


def _is_text(name):
    """Whether a name can be written in UTF-8."""
    return name.isascii() or not any("\ud800" <= c <= "\udfff" for c in name)


def _groups(names, key: Callable):
    """Names of one key, where there are several."""
    by_key = defaultdict(list)
    for name in names:
        by_key[key(name)].append(name)
    return [group for value, group in by_key.items() if value and len(group) > 1]


def _beginning(path):
    """Length, rate and the first samples; the size of what libsndfile can't read."""
    try:
        with soundfile.SoundFile(path) as file:
            return file.frames, file.samplerate, _hash(file, FIRST_FRAMES)
    except soundfile.SoundFileError:
        return Path(path).stat().st_size


def _content(path):
    """SHA-256 of the samples; of the bytes, where libsndfile can't read them."""
    try:
        with soundfile.SoundFile(path) as file:
            return _hash(file, -1)
    except soundfile.SoundFileError:
        return hashlib.sha256(Path(path).read_bytes()).digest()


def _hash(file, n_frames):
    """Of samples as 16 bits, all channels."""
    samples = file.read(n_frames, dtype="int16", always_2d=True)
    return hashlib.sha256(samples.tobytes()).digest()


class Names:
    """Names that are found by what they begin and end with.

    names: Of files.
    key: What is compared of them.

    >>> names = Names(["S1_a.wav", "S1_i.wav", "S10_a.wav"])
    >>> names.between("S1_", ".wav"), names.between("S10_a.wav", None)
    (['S1_a.wav', 'S1_i.wav'], ['S10_a.wav'])
    """

    def __init__(self, names: Iterable[str], key: Callable[[str], str] = str):
        self.key = key
        self.names = defaultdict(list)
        for name in names:
            self.names[key(name)].append(name)
        self._forward = sorted(self.names)
        self._backward = sorted(name[::-1] for name in self.names)

    def between(self, before: str, after: str | None) -> list[str]:
        """Names that begin and end so, no slash between; None: exactly `before`."""
        if after is None:
            return self.names.get(before, [])
        begin = _range(self._forward, before)
        end = _range(self._backward, after[::-1])
        fewer = (
            self._forward[begin]
            if begin.stop - begin.start <= end.stop - end.start
            else [name[::-1] for name in self._backward[end]]
        )
        length = len(before) + len(after)
        return [
            name
            for key in fewer
            if len(key) >= length and key.startswith(before) and key.endswith(after)
            if "/" not in key[len(before) : len(key) - len(after)]
            for name in self.names[key]
        ]


def _range(ordered, prefix):
    """Where names of a prefix stand in a sorted list."""
    start = bisect.bisect_left(ordered, prefix)
    return slice(start, bisect.bisect_left(ordered, prefix + LAST, start))


def is_audio(name: str) -> bool:
    """Whether a file looks like audio by its name."""
    return name.lower().endswith(AUDIO_SUFFIXES)


def nearly(name: str) -> str:
    """A file's name without suffix, case, spaces, Unicode form and leading zeros.

    >>> nearly("Ward/S01 _a.WAV") == nearly("ward/s1_a.flac")
    True
    """
    return alike(re.sub(r"\.[^./]*$", "", name))


def loosely(name: str) -> str:
    """The same, and without hyphens and other signs; one after a digit is a _.

    >>> loosely("HNO 1_text"), loosely("HNO_01-text"), loosely("'P-1")
    ('hno1_text', 'hno1_text', 'p1')
    """
    stem = re.sub(r"\.[^./]*$", "", composed(name))
    stem = re.sub(rf"(?<=\d){SIGNS}", "_", stem)
    return alike(re.sub(rf"(?<!\d){SIGNS}", "", stem))
