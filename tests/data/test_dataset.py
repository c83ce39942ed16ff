"""data.dataset: crops and the dataset's pipeline."""

import json
import multiprocessing.reduction
import pickle
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch

from local.audio.loading import AudioFormat
from local.data import dataset as dataio
from local.data.recordings import FolderRecordings
from local.model.front_end import RecordingFeatures
from local.utils.errors import RunError
from local.utils.yaml_files import load_hparams
from tests.conftest import RATE, synthesise, write_recording

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
    recordings, audio = FolderRecordings(folder), AudioFormat(sample_rate)
    return dataio.build_dataset(MANIFEST, list(labels), recordings, audio, crop)


def test_the_dataset_gives_waveforms_and_targets(folder):
    first, second = build(folder)
    assert (first["id"], second["id"]) == ("x", "007")
    assert first["waveform"].dtype == torch.float32
    assert (first["waveform"] * 2**15).tolist() == list(range(100))
    assert (second["waveform"] * 2**15).tolist() == list(range(100, 200))
    assert first["target"].tolist() == pytest.approx([1, float("nan")], nan_ok=True)
    assert second["target"].tolist() == [0, 1]


@pytest.mark.parametrize("yaml", ["train", "train_fbank", "train_original"])
def test_a_process_that_inherits_nothing_gets_the_same_dataset(folder, yaml):
    values = {"sample_rate": RATE, "output_folder": str(folder / "out")}
    values |= {"label_groups": [["low", "loud"]]}
    file = Path(__file__).parents[2] / "hparams" / f"{yaml}.yaml"
    hparams = load_hparams(file, values)
    for seed, name in enumerate("ab"):
        samples = synthesise(1, 0, 1, seed, duration_s=0.5)
        write_recording(folder / "long" / name, samples)
    manifest = MANIFEST.assign(start_s="", end_s="")
    crop = dataio.RandomCrop(0.3, RATE, seed=1)
    crop.epoch = 3
    recordings = FolderRecordings(folder / "long")
    for features in (None, RecordingFeatures(hparams["modules"])):
        ours = dataio.build_dataset(
            manifest, ["low", "loud"], recordings, hparams["audio"], crop, features
        )
        sent = bytes(multiprocessing.reduction.ForkingPickler.dumps(ours))
        key = "features" if features else "waveform"
        for here, there in zip(ours, pickle.loads(sent), strict=True):
            assert here["id"] == there["id"] and len(here[key]) > 1
            assert torch.equal(here[key], there[key])
            assert torch.equal(here["target"].isnan(), there["target"].isnan())


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


def test_a_recording_that_vanished_is_named(folder):
    dataset = build(folder)
    (folder / "b" / "waveform.wav").unlink()
    with pytest.raises(RunError, match="Recording 007 could be used when"):
        dataset[1]
    assert dataset[0]["id"] == "x"
