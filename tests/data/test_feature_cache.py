"""data.feature_cache: features of recordings are computed once, and rightly."""

import pandas as pd
import pytest
import soundfile
import torch
from conftest import RATE, synthesise, write_recording

from local.audio.loading import AudioFormat
from local.data import dataset as dataio
from local.data import feature_cache
from local.data.feature_cache import FeatureCache
from local.data.recordings import FolderRecordings
from local.model.front_end import FeatureNormalization, RecordingFeatures

AUDIO = AudioFormat(RATE)


class Mean(torch.nn.Module):
    """The mean of a recording, one frame; counts how often it is asked."""

    n_asked = 0

    def __init__(self, identity="a mean"):
        super().__init__()
        self.identity = identity

    def forward(self, waveforms):
        Mean.n_asked += 1
        return waveforms.abs().mean(dim=1)[:, None, None]

    def frame_lengths(self, lengths, n_samples):
        return torch.ones_like(lengths)


@pytest.fixture
def recordings(tmp_path):
    for seed, name in enumerate(("jane doe", "john")):
        waveform = synthesise(1, 0, 1, seed, duration_s=0.5)
        write_recording(tmp_path / "audio" / name, waveform)
    return FolderRecordings(tmp_path / "audio")


@pytest.fixture
def features_of(recordings, tmp_path):
    """Features of both recordings, and how many were computed for that."""

    def features_of(start_s="", audio=AUDIO, identity="a mean", std=0.5, crop=None):
        manifest = pd.DataFrame(
            {
                "ID": ["x", "y"],
                "recording": ["jane doe", "john"],
                "start_s": start_s,
                "end_s": "",
                "channel": "",
            }
        )
        modules = {
            "compute_features": Mean(identity),
            "mean_var_norm": FeatureNormalization(0.0, std),
        }
        compute = RecordingFeatures(modules, FeatureCache(tmp_path / "kept"))
        dataset = dataio.build_dataset(manifest, [], recordings, audio, crop, compute)
        before = Mean.n_asked
        values = [item["features"].item() for item in dataset]
        return values, Mean.n_asked - before

    return features_of


def test_features_are_computed_once(features_of, tmp_path):
    first, n = features_of()
    assert n == 2 and first[0] != first[1]
    assert features_of() == (first, 0)
    # normalised after that: training may change how
    assert features_of(std=1.0) == ([value / 2 for value in first], 0)
    files = list((tmp_path / "kept").iterdir())
    assert sorted(file.suffix for file in files) == [".TAG", ".npz", ".npz"]
    assert not any("jane" in file.name or "john" in file.name for file in files)
    assert feature_cache.caches_in(tmp_path) == [tmp_path / "kept"]


@pytest.mark.parametrize(
    "other",
    [
        {"start_s": "0.25"},
        {"audio": AudioFormat(RATE // 2)},
        {"audio": AudioFormat(RATE, mono="sum")},
        {"identity": "another mean"},
    ],
)
def test_anything_else_is_computed_anew(features_of, other):
    features_of()
    assert features_of(**other)[1] == 2
    assert features_of(**other)[1] == 0


def test_a_recording_of_the_same_name_is_another_one(features_of, tmp_path):
    (first, second), _ = features_of()
    changed = synthesise(0, 1, 0, seed=3, duration_s=0.5)
    soundfile.write(tmp_path / "audio" / "john" / "waveform.wav", changed, RATE)
    (again, third), n = features_of()
    assert (again, n) == (first, 1) and third != second


def test_another_program_or_version_computes_anew(features_of, monkeypatch):
    features_of()
    monkeypatch.setattr(feature_cache, "_versions", lambda: ["torch 99"])
    assert features_of()[1] == 2


def test_only_whole_recordings_of_front_ends_that_never_change_are_kept(features_of):
    assert features_of(identity=None)[1] == features_of(identity=None)[1] == 2
    crop = dataio.RandomCrop(0.1, RATE, seed=1)
    assert features_of(crop=crop)[1] == features_of(crop=crop)[1] == 2


def test_half_a_file_is_none(features_of, tmp_path):
    first, _ = features_of()
    whole, half = sorted((tmp_path / "kept").glob("*.npz"))
    half.write_bytes(half.read_bytes()[:-30])
    content = bytearray(whole.read_bytes())
    content[content.index(b"descr") + 130] ^= 1  # a bit of a number
    whole.write_bytes(content)
    assert features_of() == (first, 2)
    assert features_of() == (first, 0)


def test_where_nothing_can_be_kept_all_is_computed(features_of, tmp_path, caplog):
    (tmp_path / "kept").write_text("a file")
    first, n = features_of()
    assert n == 2 and features_of() == (first, 2)
    assert caplog.text.count("can't be written") == 2  # once by each dataset


def test_a_person_s_features_are_forgotten(features_of, tmp_path):
    features_of(), features_of(start_s="0.25")
    cache = FeatureCache(tmp_path / "kept")
    assert cache.keeps({"jane doe", "nobody"}) == 1
    assert cache.forget({"jane doe", "nobody"}) == 1
    assert cache.keeps({"jane doe", "nobody"}) == 0
    assert features_of()[1] == features_of(start_s="0.25")[1] == 1
