"""A folder with decoded recordings, so that each is decoded and resampled once.

Below it is `<digest of the uid>/<key>.pcm` for every recording: a header, the samples
as int16, a checksum. The key is a digest of the audio file's bytes and of all that
shapes what is made of them, so nothing in it can be out of date. An entry is believed
only if it is whole; all else is decoded anew and replaced.

What comes from the cache is the same whether it was there or not: a run that starts
with an empty one ends like a run that finds it full.
"""

import functools
import hashlib
import json
import logging
import math
import shutil
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile
import soxr
import torch
import torchaudio

from local.audio import loading
from local.audio.decoding import REVISION, reasons_named
from local.storage.addresses import local_path
from local.utils.files import atomic_write

logger = logging.getLogger(__name__)

#: Changes with the format of the files.
MAGIC = b"SPDEC\x00\x001"
#: Magic, key, exponent of the step, number of samples.
HEADER = struct.Struct("<8s16shQ")
#: CRC-32 of all that is before it.
CHECKSUM = struct.Struct("<I")
SUFFIX = ".pcm"

#: Versions of what decodes and resamples.
VERSIONS = (
    *(REVISION, soundfile.__version__, soundfile.__libsndfile_version__),
    *(av.__version__, librosa.__version__, soxr.__version__),
    *(torch.__version__, torchaudio.__version__),
)

TAG = "CACHEDIR.TAG"
TAG_TEXT = """Signature: 8a477f597d28d172789f06886806bc55
# Decoded recordings. May be deleted while nobody uses it.
"""

#: Below 2^-60 of full scale there is nothing; float32 would end soon.
LOWEST_EXPONENT = -60


def open_cache(folder: str | None) -> "DecodedCache | None":
    """The cache that a yaml's `decoded_cache` names.

    Returns: None for None. The same one for the same folder, so that it warns once.
    Raises UserError: if it is an address of a bucket.
    """
    return _open(local_path(folder, "decoded_cache")) if folder else None


@functools.cache
def _open(folder):
    return DecodedCache(folder)


class DecodedCache:
    """Decoded recordings in a folder, int16 at the rate that was asked for.

    Any number of processes may use one folder at the same time. Where it can't be
    written there is one warning, and recordings are decoded as often as they are read.

    folder: Made for this user only, unless it is there: it holds recordings of
        patients.

    >>> DecodedCache(getfixture("tmp_path") / "cache").forget(["never seen"])
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        # in memory that dataloader workers share, so that only the first one warns
        self._is_writable = torch.ones(1, dtype=torch.bool).share_memory_()
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            (self.folder / TAG).write_text(TAG_TEXT, encoding="utf-8")
        except OSError as error:
            self._give_up(error)

    def load(
        self, uid: str, files: dict[str, Path], metadata: dict, **settings
    ) -> torch.Tensor:
        """A recording as `audio.load_recording` gives it, to 16 bits of its peak.

        uid: By which the recording can be forgotten.
        **settings: As for `audio.load_recording`.

        Returns: float32 [samples]: multiples of a power of two, within half a step of
            the original. The step is 2^-15 of full scale or finer, unless samples
            exceed full scale; so recordings of 16 bits that need no resampling are
            unchanged.
        Raises BadRecording: as `audio.load_recording` does.
        """
        path = loading.find_waveform(files, metadata)
        with reasons_named(path):
            before = _state(path)
            key = _key(path, settings)
        entry = self._entries(uid) / f"{key.hex()}{SUFFIX}"
        found = _read(entry, key)
        if found is not None:
            return found
        waveform = loading.load_recording(files, metadata, **settings)
        exponent = step_exponent(waveform)
        if exponent is None:
            return waveform
        samples = torch.round(torch.ldexp(waveform, torch.tensor(-exponent)))
        samples = samples.numpy().astype("<i2")
        with reasons_named(path):
            unchanged = _state(path) == before
        if unchanged and self._is_writable:
            self._write(entry, key, exponent, samples)
        return _waveform(samples, exponent)

    def forget(self, uids: Iterable[str]):
        """Delete what is kept of recordings, whatever was made of them.

        The recordings themselves need not be there any more.
        """
        for uid in uids:
            shutil.rmtree(self._entries(uid), ignore_errors=True)

    def keeps(self, uid):
        """Whether there is anything of a recording."""
        return self._entries(uid).exists()

    def _entries(self, uid):
        """The folder of a recording; its name may be any text, or a patient's."""
        return self.folder / hashlib.sha256(uid.encode()).hexdigest()[:32]

    def _write(self, entry, key, exponent, samples):
        content = HEADER.pack(MAGIC, key, exponent, len(samples)) + samples.tobytes()
        try:
            with atomic_write(entry, "wb", durable=False) as file:
                file.write(content)
                file.write(CHECKSUM.pack(zlib.crc32(content)))
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error):
        """Write no more, and say so once."""
        if self._is_writable:
            self._is_writable.fill_(False)
            logger.warning(
                "decoded_cache %s can't be written (%s): recordings that are not in "
                "it are decoded whenever they are read",
                self.folder,
                error.strerror or error,
            )


def _state(path):
    """Changes when a file is written."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _key(path, settings):
    """Digest of a file's bytes and of what shapes the samples made of it."""
    digest = hashlib.blake2b(digest_size=16)
    plain = [path.name, sorted(settings.items()), VERSIONS]
    digest.update(json.dumps(plain).encode() + b"\n")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def step_exponent(waveform: torch.Tensor) -> int | None:
    """The smallest step, a power of two, of which int16 can count to the peak.

    waveform: float32 [samples]

    Returns: The step's exponent; None if the samples are no finite numbers.

    >>> step_exponent(torch.tensor([-1.0, 0.5])), step_exponent(torch.tensor([3.7]))
    (-15, -13)
    """
    low, high = (bound.item() for bound in waveform.aminmax())
    peak = max(-low, high)
    if not math.isfinite(peak):
        return None
    exponent = max(math.frexp(peak)[1] - 16, LOWEST_EXPONENT)
    while round(high * 2.0**-exponent) > 32767 or round(low * 2.0**-exponent) < -32768:
        exponent += 1
    return exponent


def _waveform(samples, exponent):
    """int16 [samples] → float32 [samples]"""
    return torch.from_numpy(samples.astype(np.float32)).mul_(2.0**exponent)


def _read(entry, key):
    """The waveform in a file, None unless it is whole and of this key."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    if len(content) < HEADER.size + CHECKSUM.size:
        return None
    magic, found_key, exponent, n_samples = HEADER.unpack_from(content)
    end = HEADER.size + 2 * n_samples
    if (magic, found_key, len(content)) != (MAGIC, key, end + CHECKSUM.size):
        return None
    if CHECKSUM.unpack_from(content, end)[0] != zlib.crc32(memoryview(content)[:end]):
        return None
    return _waveform(np.frombuffer(content, "<i2", n_samples, HEADER.size), exponent)
