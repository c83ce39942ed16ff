"""From manifests to datasets, and their audio pipeline."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import pandas as pd
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import DynamicItem

from local.audio import loading
from local.audio.description import DESCRIBED, describe
from local.data.feature_cache import content_of, program_of
from local.data.feature_table import FeatureTable
from local.data.manifests import segment
from local.data.recordings import Recordings
from local.storage.gcs import RemoteError
from local.utils.errors import BadRecording, RunError, UserError
from local.utils.keyed_random import keyed_generator


class RandomCrop:
    """Cut a random part of every recording, anew in every epoch.

    clip_length: Length of the part in s; shorter recordings stay whole, 0 leaves all
        whole.
    sample_rate: Hz.
    epoch (int): Set before an epoch's workers start.

    >>> crop = RandomCrop(clip_length=0.5, sample_rate=8, seed=1)
    >>> crop(torch.arange(20.0), uid="a").shape
    torch.Size([4])
    """

    def __init__(self, clip_length: float, sample_rate: int, seed: int):
        if clip_length < 0:
            raise ValueError(f"clip_length must be 0 or more seconds: {clip_length}")
        self.n_samples = round(clip_length * sample_rate)
        self.seed = seed
        self.epoch = 0

    def __call__(self, waveform, uid):
        """Crop one recording: waveform [time] → [time]."""
        spare = len(waveform) - self.n_samples
        if self.n_samples == 0 or spare <= 0:
            return waveform
        generator = keyed_generator("crop", self.seed, self.epoch, uid)
        start = torch.randint(spare + 1, (), generator=generator).item()
        return waveform[start : start + self.n_samples]


class RecordingsDataset(DynamicItemDataset):
    """A dataset that fetches the recordings of a batch together.

    data: As `DynamicItemDataset` takes it; `recording` is the recording's name.
    """

    def __init__(
        self,
        recordings: Recordings,
        data: dict,
        *args,
        **kwargs,
    ):
        super().__init__(data, *args, **kwargs)
        self.recordings = recordings

    def __getitems__(self, indices):
        """Items of a batch; a dataloader's workers call this ahead of their use."""
        uids = [self.data_ids[i] for i in indices]
        with _one_message("Fetching a batch"):
            self.recordings.fetch_ahead([self.data[uid]["recording"] for uid in uids])
        return [self[i] for i in indices]


def build_dataset(
    manifest: pd.DataFrame,
    labels: list[str],
    recordings: Recordings,
    audio: loading.AudioFormat,
    crop: Callable | None,
    features=None,
    described: bool = False,
) -> RecordingsDataset:
    """The dataset of one split.

    manifest: As `manifests.build_manifest` gives it.
    labels: Columns of the manifest that hold targets; may be empty.
    audio: How they are read.
    crop: Takes waveform [time] and uid, gives a waveform; None leaves recordings whole.
    features (front_end.RecordingFeatures, optional): What is to come in the place of
        waveforms; computed by a loader's workers, or taken from its cache.
    described: Whether recordings are described, too (see `local.audio.description`).

    Returns: With `id`, `waveform` (float32, [time]) or `features` (float32, [frame,
        channel]), `target` (float32, [label], NaN where not rated; only if there are
        labels), and `described` (float32, NaN of what is no audio), where that is asked
        for.
    """
    targets = manifest[labels].to_numpy(dtype="float32")
    data = {
        row["ID"]: {
            "recording": row["recording"],
            "segment": segment(row),
            "ratings": targets[i],
        }
        for i, row in enumerate(manifest.to_dict("records"))
    }
    read = _Reader(recordings, audio, crop, features)
    heard = ("id", "recording", "metadata", "segment")
    items = [
        DynamicItem(("id", "recording"), read.metadata, ["metadata"]),
        DynamicItem(heard, read.waveform, ["waveform"]),
        DynamicItem(heard, read.features, ["features"]),
        DynamicItem(heard, read.described, ["described"]),
        DynamicItem(("ratings",), torch.tensor, ["target"]),
    ]
    # an empty target can't be padded to a batch
    keys = ["id", "features" if features else "waveform"]
    keys += ["target"] if labels else []
    keys += ["described"] if described else []
    return RecordingsDataset(recordings, data, items, output_keys=keys)


class _Reader:
    """Reads recordings, in any process: what a worker gets is to be pickled.

    recordings, audio, crop, features: As `build_dataset` takes them.
    """

    def __init__(self, recordings, audio, crop, features):
        self.recordings, self.audio, self.crop = recordings, audio, crop
        self.compute, self.last = features, None

    def metadata(self, uid, recording):
        """What the recording's metadata.json says, dict."""
        with _naming(uid):
            return self.recordings.read(recording, loading.read_metadata)

    def waveform(self, uid, recording, metadata, part):
        """The recording, cropped in training: float32 [time]"""
        load = functools.partial(
            loading.load_recording, metadata=metadata, audio=self.audio, **part
        )
        if isinstance(self.recordings, FeatureTable):
            return self.recordings.vector(uid)
        with _naming(uid):
            waveform = self.recordings.read(recording, load)
        return self.crop(waveform, uid) if self.crop else waveform

    def features(self, *heard):
        """The features of the recording, float32 [frame, channel]."""
        if self.compute.identity is None:
            return self.compute(self._once(*heard))
        raw = self._kept(
            self.compute.identity, lambda: self.compute.raw(self._once(*heard)), *heard
        )
        return self.compute.normalized(raw)

    def described(self, *heard):
        """What the recording is like (see `DESCRIBED`), float32 [value]."""
        if isinstance(self.recordings, FeatureTable):
            return torch.full((len(DESCRIBED),), torch.nan)

        def compute():
            samples = self._once(*heard).numpy()
            return torch.from_numpy(describe(samples, self.audio.sample_rate))

        return self._kept("described", compute, *heard)

    def _kept(self, what, compute, uid, recording, metadata, part):
        """What the cache keeps of a recording, where there is one, or computes now."""
        cache = self.compute.cache
        if cache is None or self.compute.identity is None or self.crop:
            return compute()
        content = functools.partial(content_of, recording_metadata=metadata)
        with _naming(uid):
            digest = self.recordings.read(recording, content)
        audio = dataclasses.replace(self.audio, min_duration=0.0)
        program = program_of(self.compute.front_end)
        key = f"{digest} {part} {audio} {what} {program}"
        return cache.kept(recording, key, compute)

    def _once(self, uid, *heard):
        """The waveform, which all that is asked of an item shares."""
        if self.last is None or self.last[0] != uid:
            self.last = uid, self.waveform(uid, *heard)
        return self.last[1]


@contextlib.contextmanager
def _naming(uid):
    """Tell which recording it is that can't be read any more."""
    try:
        with _one_message(f"Recording {uid}"):
            yield
    except BadRecording as error:
        raise RunError(
            f"Recording {uid} could be used when the run was prepared and can't be "
            f"read now: {error}"
        ) from None


@contextlib.contextmanager
def _one_message(what):
    """Tell what failed in one line: that is what comes out of a dataloader's worker."""
    try:
        yield
    except (UserError, RemoteError) as error:
        raise RunError(f"{what}: {' '.join(str(error).split())}") from None
