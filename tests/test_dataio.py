"""local.dataio: crops, the dataset's pipeline and the order of batches."""

import json

import pandas as pd
import pytest
import soundfile
import torch

from local import dataio
from local.errors import RunError
from local.recordings import FolderRecordings
from tests.conftest import RATE, write_recording

# Crops


def cropped(uid="a", epoch=1, seed=1, clip_length=1.0, n=1000):
    crop = dataio.RandomCrop(clip_length, sample_rate=100, seed=seed)
    crop.epoch = epoch
    return crop(torch.arange(float(n)), uid).tolist()


def test_a_crop_is_a_connected_part():
    part = cropped()
    assert part == [part[0] + i for i in range(100)]


def test_a_crop_depends_on_seed_epoch_and_uid_alone():
    assert cropped() == cropped()
    others = [cropped(uid="b"), cropped(epoch=2), cropped(seed=2)]
    starts = {part[0] for part in (cropped(), *others)}
    assert len(starts) == 4
    torch.manual_seed(0)
    first = cropped()
    torch.rand(100)
    assert cropped() == first


def test_every_part_can_be_drawn():
    """Of 102 samples 100: three places."""
    starts = {cropped(uid=str(i), n=102)[0] for i in range(50)}
    assert starts == {0, 1, 2}


def test_short_recordings_and_clip_length_0_stay_whole():
    assert len(cropped(n=60)) == 60
    assert len(cropped(n=100)) == 100
    assert len(cropped(clip_length=0)) == 1000


def test_a_negative_clip_length_is_refused():
    with pytest.raises(ValueError, match="clip_length"):
        dataio.RandomCrop(-1, 16000, seed=1)


# Dataset


@pytest.fixture
def folder(tmp_path):
    """Two recordings whose sample k is k / 2^15: 100 and 300 samples at 8 kHz."""
    for name, n in (("a", 100), ("b", 300)):
        samples = torch.arange(n).numpy().astype("int16")
        write_recording(tmp_path / name, samples)
    return tmp_path


MANIFEST = pd.DataFrame(
    {
        "ID": ["x", "007"],
        "recording": ["a", "b"],
        "start_s": ["", "0.0125"],  # 100 samples
        "end_s": ["", "0.025"],  # 200 samples
        "channel": ["", "0"],
        "low": [1.0, 0.0],
        "loud": [float("nan"), 1.0],
    }
)


def build(folder, labels=("low", "loud"), crop=None, sample_rate=RATE):
    settings = {
        "sample_rate": sample_rate,
        "audio_backend": "soundfile",
        "mono": "mean",
    }
    recordings = FolderRecordings(folder)
    return dataio.build_dataset(MANIFEST, list(labels), recordings, settings, crop)


def test_the_dataset_gives_waveforms_and_targets(folder):
    first, second = build(folder)
    assert (first["id"], second["id"]) == ("x", "007")
    assert first["waveform"].dtype == torch.float32
    assert (first["waveform"] * 2**15).tolist() == list(range(100))
    assert (second["waveform"] * 2**15).tolist() == list(range(100, 200))
    assert first["target"].tolist() == pytest.approx([1, float("nan")], nan_ok=True)
    assert second["target"].tolist() == [0, 1]


def test_recordings_are_resampled(folder):
    first, second = build(folder, sample_rate=16000)
    assert (len(first["waveform"]), len(second["waveform"])) == (200, 200)


def test_a_dataset_may_have_no_labels(folder):
    assert build(folder, labels=())[0].keys() == {"id", "waveform"}


def test_the_crop_gets_waveform_and_uid(folder):
    dataset = build(folder, crop=lambda waveform, uid: waveform[: len(uid)])
    assert [len(item["waveform"]) for item in dataset] == [1, 3]


def test_metadata_is_read_by_the_pipeline_when_it_is_needed(folder):
    """The encoding decides between two files, also if it changes later."""
    dataset = build(folder)
    soundfile.write(folder / "a" / "waveform.flac", torch.ones(7).numpy() / 2, RATE)
    assert len(dataset[0]["waveform"]) == 100
    (folder / "a" / "metadata.json").write_text(json.dumps({"encoding": "FLAC"}))
    assert len(dataset[0]["waveform"]) == 7


@pytest.mark.parametrize("name", ["metadata.json", "waveform.wav"])
def test_a_recording_that_vanished_is_named(folder, name):
    dataset = build(folder)
    (folder / "b" / name).unlink()
    with pytest.raises(RunError, match="Recording 007 could be used when"):
        dataset[1]
    assert dataset[0]["id"] == "x"


# Batches

SIZES = [(n, size) for n in (2, 3, 7, 8, 9, 16, 17, 31) for size in (2, 3, 8, 50)]


def batches(n, size, seed=1, epoch=1, **process):
    sampler = dataio.ShuffledBatches(n, size, seed, **process)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_every_recording_comes_once_and_never_alone(n, size):
    found = batches(n, size)
    assert sorted(i for batch in found for i in batch) == list(range(n))
    assert all(2 <= len(batch) <= size + 1 for batch in found)
    assert sum(len(batch) != size for batch in found) <= 1
    assert len(dataio.ShuffledBatches(n, size, seed=1)) == len(found)


@pytest.mark.parametrize(("n", "size"), SIZES)
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_share_the_batches(n, size, world_size):
    shares = [
        batches(n, size, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    sampler = dataio.ShuffledBatches(n, size, 1, rank=1, world_size=world_size)
    assert len(sampler) == len(shares[0])
    everything = {tuple(batch) for share in shares for batch in share}
    assert everything == {tuple(batch) for batch in batches(n, size)}
    n_extra = sum(map(len, shares)) - len(everything)
    assert 0 <= n_extra < world_size


def test_the_order_is_new_in_every_epoch_and_repeats_with_the_seed():
    assert batches(30, 4) == batches(30, 4)
    orders = [batches(30, 4, epoch=e, seed=s) for e, s in [(1, 1), (2, 1), (1, 2)]]
    assert len({str(order) for order in orders}) == 3


def test_the_order_does_not_depend_on_the_global_random_state():
    torch.manual_seed(0)
    first = batches(30, 4)
    torch.manual_seed(1)
    assert batches(30, 4) == first


@pytest.mark.parametrize(("n", "size"), [(5, 1), (5, 0), (1, 8), (0, 8)])
def test_batches_of_one_are_refused(n, size):
    with pytest.raises(ValueError, match="at least 2 recordings"):
        dataio.ShuffledBatches(n, size, seed=1)
