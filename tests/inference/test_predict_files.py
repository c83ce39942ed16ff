"""predict.py: any audio files, as a table or JSON."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import make_corpus, read_csv, write_csv
from running import evaluate, failed, run_script, succeeded, train

from local.data.audio_files import find_audio
from local.model.training_range import fit_embedding

LABELS = ["low", "loud", "noisy"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def experiment(corpus, tmp_path_factory):
    """Trained on the corpus, with a class weight and a calibration."""
    folder = tmp_path_factory.mktemp("experiment") / "e"
    options = ("--positive_weight=True", "--calibration=temperature")
    succeeded(train(corpus, folder, *options))
    return folder


def predict(experiment, *arguments):
    return run_script("predict.py", *arguments, f"--experiment_folder={experiment}")


def test_probabilities_are_those_of_the_evaluation(experiment, corpus, tmp_path):
    files = {}
    for row in read_csv(experiment / "predictions.csv"):
        files[row["uid"]] = tmp_path / "any" / f"{row['uid']}.wav"
    (tmp_path / "any").mkdir()
    for uid, file in files.items():
        shutil.copy(corpus / "audio" / uid / "waveform.wav", file)
    output_file = tmp_path / "predicted.csv"
    result = predict(
        experiment, tmp_path / "any", "--json", f"--output_file={output_file}"
    )
    found = json.loads(succeeded(result).stdout)
    assert list(found)[:4] == [
        "experiment_folder",
        "checkpoint",
        "flagged",
        "recordings",
    ]
    assert found["flagged"] == {}
    assert [of["file"] for of in found["recordings"]] == sorted(
        map(str, files.values())
    )
    labels = {of["file"]: of["labels"] for of in found["recordings"]}
    in_range = {of["file"]: of["in_range"] for of in found["recordings"]}
    points = json.loads((experiment / "save" / "operating_points.json").read_text())
    for row in read_csv(experiment / "predictions.csv"):
        entry = labels[str(files[row["uid"]])][row["label"]]
        assert entry["logit"] == pytest.approx(float(row["logit"]), abs=1e-5)
        assert entry["probability"] == pytest.approx(
            float(row["probability"]), abs=1e-5
        )
        assert (
            entry["threshold"] == points["labels"][row["label"]]["threshold"]["value"]
        )
        file = str(files[row["uid"]])
        assert in_range[file] == (row["in_range"] == "1")
        # evaluation decides about all recordings
        decided = row["predicted"] and in_range[file]
        assert entry["predicted"] == (int(row["predicted"]) if decided else None)
    written = pd.read_csv(output_file)
    assert len(written) == 3 * len(files)
    assert list(written)[:4] == ["file", "label", "logit", "probability"]


def test_labels_that_the_audit_flags_are_told(experiment, corpus, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(experiment, copy)
    file = corpus / "audio/s11_0/waveform.wav"
    table = succeeded(predict(copy, file)).stdout
    assert "Not audited for confounds: it was switched off" in table
    reasons = ["The noise tells the label.", "Silences are too short."]
    labels = {"loud": {"status": "flagged", "reasons": reasons}}
    audit = {"labels": labels, "shared_subjects": ["p1"], "shared_audio": []}
    (copy / "audit.json").write_text(json.dumps(audit))
    table = succeeded(predict(copy, file)).stdout
    cells = [cell.strip() for cell in table.splitlines()[0].split("|")[2:5]]
    assert cells == ["low", "loud !", "noisy"]
    assert "! loud: The noise tells the label.\n" in table
    assert "Not audited" not in table
    found = json.loads(succeeded(predict(copy, file, "--json")).stdout)
    assert found["flagged"] == {"loud": reasons}


def test_what_is_unlike_the_training_gets_no_decision(experiment, corpus, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(experiment, copy)
    points_file = copy / "save" / "operating_points.json"
    points = json.loads(points_file.read_text())["labels"]
    for point in points.values():
        point["threshold"] |= {"value": 0.5, "source": "validation"}
    points_file.write_text(json.dumps({"labels": points}))
    range_file = copy / "save" / "training_range.json"
    known = json.loads(range_file.read_text())
    # as far as they reach, all others are in range
    known["limit"] = 1e9
    file = corpus / "audio/s11_0/waveform.wav"

    def said(*options):
        range_file.write_text(json.dumps(known))
        (recording,) = json.loads(succeeded(predict(copy, file, *options)).stdout)[
            "recordings"
        ]
        decided = {entry["predicted"] is not None for entry in labels_of(recording)}
        return recording["in_range"], recording["out_of_range"], decided

    def labels_of(recording):
        return recording["labels"].values()

    assert said("--json") == (True, [], {True})
    known |= {"limit": 1.0, "distance": [0.0, 1e9]}
    known["measures"] = {"bandwidth_khz": [7.0, 7.5, 8.0]}
    reason = "bandwidth 4 kHz, training 7 to 8"
    assert said("--json") == (False, [reason], {False})
    assert said("--json", "--out_of_range=decide") == (False, [reason], {True})
    output_file = tmp_path / "predicted.csv"
    table = succeeded(predict(copy, file, f"--output_file={output_file}")).stdout
    assert f"waveform.wav: in_range: no ({reason})" in table
    assert (
        "waveform.wav ?" in table.splitlines()[2] and "*" not in table.splitlines()[2]
    )
    rows = read_csv(output_file)
    assert {row["in_range"] for row in rows} == {"0"}
    assert {(row["predicted"], row["out_of_range"]) for row in rows} == {("", reason)}
    range_file.write_text("{}")
    assert "training_range.json can't be read" in failed(predict(copy, file))
    range_file.write_text(json.dumps(known | {"embedding": fit_embedding(np.eye(3))}))
    assert "training_range.json is another model's" in failed(predict(copy, file))
    range_file.unlink()  # of before
    result = succeeded(predict(copy, file, "--json"))
    (recording,) = json.loads(result.stdout)["recordings"]
    assert recording["in_range"] is None and recording["out_of_range"] == []
    assert {entry["predicted"] is None for entry in labels_of(recording)} == {False}
    assert result.stderr.count("in_range is not known") == 1


def test_bad_files_are_listed_and_the_others_predicted(experiment, corpus, tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / "moved.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    shutil.copy(
        corpus / "audio/s11_0/waveform.wav", tmp_path / os.fsdecode(b"\xe9.wav")
    )
    good = corpus / "audio" / "s11_0"
    output_file = tmp_path / "predicted.json"
    paths = (tmp_path, good, tmp_path / "notes.txt", f"--output_file={output_file}")
    result = predict(experiment, *paths)
    assert result.returncode == 3
    lines = result.stdout.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[2:5]] == LABELS
    assert "s11_0" in lines[2] and "threshold" in result.stdout
    assert "udce9.wav: its name is not UTF-8" in result.stderr
    assert "not taken from folders: 1 .txt, 1 .json" in result.stderr
    assert "empty.wav is empty" in result.stderr and "notes.txt" in result.stderr
    written = json.loads(output_file.read_text())
    assert [of["file"].split("/")[-2] for of in written["recordings"]] == ["s11_0"]
    assert len(written["failed"]) == 5
    reasons = [row["reason"] for row in read_csv(f"{output_file}.failed.csv")]
    assert reasons == [row["reason"] for row in written["failed"]]
    assert "its name is not UTF-8: rename it" in reasons
    assert reasons.count("it is no file, or a link to none") == 2
    stopped = failed(predict(experiment, *paths, "--on_bad_recording=stop"))
    assert "empty.wav" in stopped and "notes.txt" in stopped


def test_what_is_hidden_or_deleted_is_not_taken_from_folders(tmp_path):
    home = tmp_path / ".mounted"  # what is named is taken, hidden or not
    names = ("a.wav", "b/c.FLAC", "b/._c.FLAC", ".Trash/d.wav", "$RECYCLE.BIN/e.wav")
    for name in (*names, "b/notes.txt", "readme.TXT", "LICENSE", ".cache/x/f.mp3"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"")
    found, skipped = find_audio([home])
    assert list(found.values()) == [home / "a.wav", home / "b" / "c.FLAC"]
    assert skipped == {"hidden or deleted": 4, ".txt": 2, "without a suffix": 1}
    named, skipped = find_audio([home / "b" / "._c.FLAC"])
    assert len(named) == 1 and not skipped


def test_long_files_are_windows(experiment, corpus, tmp_path):
    """The largest logit of windows is that of one of them."""
    samples = [
        soundfile.read(corpus / "audio" / uid / "waveform.wav")[0]
        for uid in ("s11_0", "s12_0", "s13_1", "s14_0")
    ]
    soundfile.write(tmp_path / "long.wav", np.concatenate(samples)[:12800], 8000)
    windows = ("--max_duration=1.0", "--window_overlap=0.4")
    logits = {}
    for pooling in ("mean", "max"):
        result = predict(
            experiment,
            tmp_path / "long.wav",
            "--json",
            *windows,
            f"--window_pooling={pooling}",
        )
        said = json.loads(succeeded(result).stdout)
        (of,) = said["recordings"]
        assert said["notes"] == []  # there is nothing to withhold
        assert of["n_windows"] == 2 and of["duration_s"] == 1.6  # 0 to 1 s, 0.6 to 1.6
        logits[pooling] = np.array([entry["logit"] for entry in of["labels"].values()])
    assert (logits["max"] >= logits["mean"]).all()
    assert (logits["max"] > logits["mean"]).any()


def test_decisions_of_other_windows_are_withheld(experiment, corpus, tmp_path):
    """By predict.py and by evaluate.py; the experiment's own windows leave them."""
    copy = tmp_path / "experiment"
    shutil.copytree(experiment, copy)
    file = copy / "save" / "operating_points.json"
    points = json.loads(file.read_text())["labels"]
    for point in points.values():
        point["threshold"] |= {"value": 0.5, "source": "validation"}
    file.write_text(json.dumps({"labels": points}))
    samples = soundfile.read(corpus / "audio" / "s11_0" / "waveform.wav")[0]
    audio = tmp_path / "audio" / "long" / "waveform.wav"
    audio.parent.mkdir(parents=True)
    soundfile.write(audio, np.tile(samples, 5)[:12800], 8000)
    windows = ("--max_duration=1.0", "--window_overlap=0.4", "--window_pooling=max")
    expected = (
        "max_duration is 1.0 here, 60.0 when the threshold was chosen; "
        "window_overlap is 0.4 here, 5.0 when the threshold was chosen; "
        "window_pooling is max here, mean when the threshold was chosen"
    )
    for options in ((), windows):
        result = predict(copy, audio, "--json", "--out_of_range=decide", *options)
        said = json.loads(succeeded(result).stdout)
        (recording,) = said["recordings"]
        decisions = {entry["predicted"] for entry in recording["labels"].values()}
        assert (decisions == {None}) == bool(options)
        assert (expected in result.stderr) == bool(options)
        assert [expected in note for note in said["notes"]] == [True] * bool(options)
    row = {"uid": "long", "subject": "somebody", "low": 1, "loud": 0, "noisy": 0}
    write_csv(tmp_path / "long.csv", [row])
    result = evaluate(
        *(copy, f"--split_csv={tmp_path / 'long.csv'}", "--audit=False", *windows),
        *(f"--data_folder={audio.parents[1]}", f"--output_folder={tmp_path / 'out'}"),
    )
    assert expected in succeeded(result).stderr + result.stdout
    assert expected in (tmp_path / "out" / "report.html").read_text()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for entry in metrics["labels"].values():
        assert entry["threshold"]["value"] is None
        assert expected in entry["threshold"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such file"),
        (["gs://bucket/x.wav"], "local files"),
        (["."], "no audio file"),
        (["/dev/null", "--output_file=x.txt"], ".json or .csv"),
        (["/dev/null", "--output_file={}/x.csv"], "lies in an experiment's folder"),
        (["nowhere", "--max_duration=0.2"], "max_duration"),
    ],
)
def test_mistakes(experiment, arguments, message, tmp_path):
    arguments = [of.format(experiment) for of in arguments]
    if "." in arguments:
        arguments = [tmp_path]
    if "max_duration" in message:
        soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
        arguments = [tmp_path / "a.wav", arguments[1]]
    assert message in failed(predict(experiment, *arguments))
