"""predict.py --explain: a picture and JSON of where each label is heard."""

import json

import numpy as np
import pytest
import soundfile
from conftest import RATE, synthesise
from matplotlib.image import imread
from running import ROOT, failed, run_script, succeeded

from local.data.short_windows import HOP_S, WINDOW_S
from local.inference.classifier import ClinicalClassifier
from local.inference.explain import explain_folder
from local.storage.addresses import output_path
from local.utils.errors import UserError

LABELS = ["low", "loud", "noisy"]


def predict(experiment, *arguments, **kwargs):
    return run_script(
        ROOT / "predict.py", *arguments, f"--experiment_folder={experiment}", **kwargs
    )


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two of one name, and one whose name is a riddle for a shell."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / name for name in ("a/take.wav", "b/Take.wav", "$(x) <ü>.flac")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        high = synthesise(0, 0, 0, seed, duration_s=1.2)
        low = synthesise(1, 0, 0, seed, duration_s=0.8)
        soundfile.write(path, np.concatenate([high, low]), RATE)
    return paths


@pytest.fixture(scope="module")
def explained(shared_experiment, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "new" / "explained"
    result = predict(shared_experiment, *files, "--json", f"--explain={folder}")
    return folder, json.loads(succeeded(result).stdout)["recordings"]


def test_each_file_has_a_picture_and_json(explained, files):
    folder, predicted = explained
    names = ("a_take", "b_Take", "__x___ü_")
    expected = [f"{name}.{suffix}" for name in names for suffix in ("json", "png")]
    assert names_in(folder) == sorted(expected)
    assert names_in(folder.parent) == ["explained"]
    for name, path, recording in zip(names, files, predicted, strict=True):
        content = json.loads((folder / f"{name}.json").read_text())
        assert content["file"] == recording["file"] == str(path)
        assert content["duration_s"] == 2.0
        # windows of 0.3 s, every 0.1 s
        assert content["times_s"] == pytest.approx(np.arange(18) * HOP_S + 0.15)
        assert list(content["labels"]) == LABELS
        for label, entry in content["labels"].items():
            assert recording["labels"][label].items() <= entry.items()
            values = np.array(entry["values"], dtype=float)
            assert len(values) == 18
            assert content["times_s"][np.nanargmax(values)] == entry["peak_s"]
        height, width, _ = imread(folder / f"{name}.png").shape
        assert 500 < width < 900 and height > 500


def test_values_are_the_logits_of_windows(shared_experiment, explained, files):
    model = ClinicalClassifier.from_hparams(shared_experiment)
    content = json.loads((explained[0] / "a_take.json").read_text())
    waveform, rate = model.load_audio(files[0]), model.hparams.sample_rate
    for index in (0, 7, 17):
        begin = round(index * HOP_S * rate)
        window = waveform[begin : begin + round(WINDOW_S * rate)]
        for label, entry in model.classify_batch(window)[0].items():
            value = content["labels"][label]["values"][index]
            assert value == pytest.approx(entry["logit"], abs=2e-4)


def test_times_of_a_segment_are_those_of_its_file(shared_experiment, files):
    model = ClinicalClassifier.from_hparams(shared_experiment)
    whole = model.explain_file(files[0])
    part = model.explain_file(files[0], start_s=0.5, end_s=1.5)
    assert part["times_s"] == pytest.approx(whole["times_s"][5:13])
    for label in LABELS:
        found, expected = (of["labels"][label]["values"] for of in (part, whole))
        assert found[1:-1] == pytest.approx(expected[6:12], abs=0.05)


def test_without_a_folder_it_is_explained_here(shared_experiment, files, tmp_path):
    """What follows is a file to be heard, and an unusable one is told as ever."""
    (tmp_path / "empty.wav").write_bytes(b"")
    arguments = ("--explain", str(files[0]), str(tmp_path / "empty.wav"))
    result = predict(shared_experiment, *arguments, folder=tmp_path)
    assert result.returncode == 3 and "empty.wav is empty" in result.stderr
    written = names_in(tmp_path / "explained")
    assert written == ["take.json", "take.png"]


def test_what_is_there_stays(shared_experiment, files, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "take.json").write_text("mine")
    for folder, message in (
        (tmp_path / "mine", "a folder with something in it"),
        (tmp_path / "mine" / "take.json", "is a file"),
        (tmp_path / "mine" / "take.json" / "x", "take.json is a file"),
        (shared_experiment / "explained", "lies in an experiment's folder"),
        ("gs://bucket/x", "explain"),
        ("", "explain"),
    ):
        result = predict(shared_experiment, str(files[0]), f"--explain={folder}")
        assert message in failed(result)
        assert result.stdout == ""
    assert (tmp_path / "mine" / "take.json").read_text() == "mine"
    assert names_in(tmp_path) == ["mine"]


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path, monkeypatch):
    (tmp_path / "explained").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    for name in ("explained", "new"):
        with pytest.raises(UserError, match="can't be written: name another folder"):
            explain_folder(str(tmp_path / name))
    assert output_path(tmp_path / "features", "feature_cache")  # which others may fill
