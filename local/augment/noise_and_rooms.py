"""Rooms and noise for augmentation, from folders of recordings.

Both are transforms like those of `local.augment.waveform`.
"""

import functools
import logging
from pathlib import Path

import torch
import torchaudio
from speechbrain.processing.signal_processing import reverberate

from local.audio.ffmpeg import LENGTH_SLACK_S
from local.audio.loading import decode, resample, to_mono
from local.audio.probing import probe
from local.augment.base import Transform
from local.augment.waveform import LEVELS_DB, known_rate
from local.utils.errors import BadRecording
from local.utils.keyed_random import integer_below, uniform

logger = logging.getLogger(__name__)

#: Files of noise up to this long are kept decoded, 64 of them: 123 MB at 16 kHz.
CACHED_S = 30
CACHED_FILES = 64


class Background(Transform):
    """Mix in a piece of noise from a folder.

    For every recording one file is drawn, and of it a piece of the recording's
    length; shorter files are repeated. Where the piece is silent, the recording
    stays as it is.

    folder: Audio files of any format, at any depth; channels are averaged. None will do
        while the probability is 0.
    snr_range: Ratio of the recording's power to the noise's in dB.
    sample_rate: Hz; noise of another rate is resampled.

    Raises ValueError: if the folder is missing or holds no audio.

    >>> import soundfile
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "hum.wav", torch.sin(torch.arange(800.0)), 8000)
    >>> background = Background(1.0, folder, snr_range=(10, 20), sample_rate=8000)
    >>> background(torch.ones(4000), torch.Generator()).shape
    torch.Size([4000])
    """

    def __init__(
        self,
        probability: float,
        folder: str | Path | None,
        snr_range: tuple[float, float] | float,
        sample_rate: int,
    ):
        super().__init__(probability, snr_range=snr_range)
        self.require("snr_range", *LEVELS_DB)
        self.sample_rate = known_rate(sample_rate, probability)
        self.files = _audio_files(folder, "noise") if probability else []

    def apply_to(self, waveform, generator):
        """The file, the piece and the ratio are drawn."""
        path, info = _one_of(self.files, generator)
        snr_db = waveform.new_tensor(uniform(*self.snr_range, generator))
        try:
            noise = self._piece(path, info, len(waveform), generator).to(waveform)
        except BadRecording as error:
            return _unused(path, error, waveform)
        if not noise.isfinite().all():
            return _unused(path, "it holds samples that are no numbers", waveform)
        mixed = torchaudio.functional.add_noise(waveform, noise, snr_db)
        # Of silent noise nothing reaches the ratio: torchaudio divides 0 by 0.
        return mixed if mixed.isfinite().all() else waveform

    def _piece(self, path, info, n_samples, generator):
        """A random piece of a file: [n_samples]"""
        # At least 1 s, since less than a sample can't be decoded.
        n_s = max(1, n_samples / self.sample_rate)
        file_s = info.n_samples / info.sample_rate
        # A header may promise a little more than there is.
        last_s = file_s - LENGTH_SLACK_S - n_s
        if info.is_promise and file_s > CACHED_S and last_s > 0:
            start_s = uniform(0, last_s, generator)
            noise = _read(path, self.sample_rate, None, start_s, start_s + n_s)
            return _repeated(noise, 0, n_samples)
        is_short = info.is_promise and file_s <= CACHED_S
        read = _read_once if is_short else _read
        noise = read(path, self.sample_rate, None)
        spare = len(noise) - n_samples
        n_starts = spare + 1 if spare >= 0 else len(noise)
        return _repeated(noise, integer_below(n_starts, generator), n_samples)


class Reverb(Transform):
    """Put a recording into a room, by impulse responses from a folder.

    SpeechBrain's `reverberate`: the direct sound stays where it was, the sum of
    magnitudes stays the same. What rings on beyond the recording's end is cut off.

    folder: Impulse responses as audio files of any format, at any depth; of several
        channels the first is used, since their average would be another room. None will
        do while the probability is 0.
    sample_rate: Hz; responses of another rate are resampled.

    Raises ValueError: if the folder is missing or holds no audio.

    >>> import soundfile
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "echo.wav", [0.75, 0.0, 0.25], 8000, "FLOAT")
    >>> reverb = Reverb(1.0, folder, sample_rate=8000)
    >>> reverb(torch.eye(5)[1], torch.Generator()).abs()
    tensor([0.0000, 0.7500, 0.0000, 0.2500, 0.0000])
    """

    def __init__(self, probability: float, folder: str | Path | None, sample_rate: int):
        super().__init__(probability)
        self.sample_rate = known_rate(sample_rate, probability)
        self.files = _audio_files(folder, "impulse responses") if probability else []

    def apply_to(self, waveform, generator):
        """A response is drawn."""
        path, info = _one_of(self.files, generator)
        # what rings on for longer is no room
        is_short = info.n_samples <= CACHED_S * info.sample_rate
        end_s = None if is_short else CACHED_S
        try:
            response = _read_once(path, self.sample_rate, 0, 0, end_s).to(waveform)
        except BadRecording as error:
            return _unused(path, error, waveform)
        if not response.any() or not response.isfinite().all():
            return _unused(path, "it is silent or holds no numbers", waveform)
        # SpeechBrain convolves in a circle: zeros keep the end off the beginning.
        padded = torch.nn.functional.pad(waveform, (0, len(response)))
        changed = reverberate(padded, response, rescale_amp="avg")[: len(waveform)]
        return changed if changed.isfinite().all() else waveform


def _unused(path, reason, waveform):
    """The recording as it is; says once of each file why it could not be used."""
    _warn_once(path, str(reason))
    return waveform


@functools.lru_cache(None)
def _warn_once(path, reason):
    logger.warning("%s can't be used, recordings stay without it: %s", path, reason)


def _audio_files(folder, content):
    """The audio files below a folder, sorted: list of (Path, AudioInfo)"""
    expected = f"folder must be a folder with {content}, as audio files of any format"
    if folder is None or not Path(folder).is_dir():
        absence = "none given" if folder is None else f"there is no folder {folder}"
        raise ValueError(f"{expected}: {absence}")
    files, others = [], []
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file():
            continue
        try:
            info = probe(path)
        except BadRecording:
            others.append(path.name)
            continue
        files.append((path, info))
    if others:
        logger.warning(
            "%s: %d files are no audio and left out, %s",
            folder,
            len(others),
            ", ".join(others[:5]),
        )
    if not files:
        raise ValueError(f"{expected}: there is no audio in {folder}")
    return files


def _read(path, sample_rate, channel, start_s=None, end_s=None):
    """A file or a segment of it as mono waveform: [time]"""
    waveform, rate = decode(path, start_s=start_s, end_s=end_s)
    return resample(to_mono(waveform, channel), rate, sample_rate)


#: The same, and keeps what it read.
_read_once = functools.lru_cache(CACHED_FILES)(_read)


def _repeated(waveform, start, n_samples):
    """[time] again and again, from one of its samples on → [n_samples]"""
    n_times = -(-(start + n_samples) // len(waveform))
    return waveform.repeat(n_times)[start : start + n_samples]


def _one_of(items, generator):
    return items[integer_below(len(items), generator)]
