"""One pass over recordings: what is measured, and what the audit is given of it."""

import dataclasses
import hashlib
import json
import multiprocessing
import types

import librosa
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from local.audio.loading import AudioFormat
from local.data.loaders import ScoreBatches
from local.data.predictions_table import predictions_table
from local.data.recordings import FolderRecordings
from local.data.split import Split
from local.evaluation import confound_audit, measurements
from local.evaluation.confound_audit.silence import SILENCE_S
from local.evaluation.scored_split import ScoredSplit
from local.evaluation.worst_errors import Silences
from local.model import recording_statistics
from local.storage.experiment_files import MANIFESTS, MEASUREMENTS
from local.training.evaluation_settings import EvaluationSettings
from local.utils.errors import UserError
from tests.audio_files import speech
from tests.conftest import write_recording

RATE = 16000
LABELS = ["slow", "strained"]
BATCHES = ScoreBatches(eval_batch_size=2, eval_batch_frames=1000, num_workers=0, seed=1)
#: Seconds of noise around the speech; 1.5 are enough for a silence. No speech: None.
PADS_S = {"u1": 1.5, "u0": 0.1, "u3": 1.6, "u2": 1.7, "u5": None, "u4": 1.8}
NAN = float("nan")
TARGETS = [[0, 1], [1, 1], [0, NAN], [1, 0], [1, 0], [0, 1]]


@pytest.fixture(scope="module")
def spoken():
    return speech("a bag of sand in the park", RATE)


@pytest.fixture(scope="module")
def split(tmp_path_factory, spoken):
    """Six recordings, and their manifest in another order than that of their names."""
    folder, generator = tmp_path_factory.mktemp("audio"), np.random.default_rng(0)
    for uid, pad_s in PADS_S.items():
        samples = np.zeros(2 * RATE)
        if pad_s is not None:
            samples = np.pad(spoken, round(pad_s * RATE))
        samples = samples + generator.normal(0, 0.001, len(samples))
        write_recording(folder / uid, samples, RATE)
    manifest = pd.DataFrame(
        {
            "ID": list(PADS_S),
            "recording": list(PADS_S),
            "start_s": "",
            "end_s": "",
            "channel": "",
            "format": "WAV",
            "codec": "PCM_16",
            "sample_rate": float(RATE),
            "channels": 1,
            "level_dbfs": np.linspace(-30, -20, 6),
            "subject": list("aabbcc"),
            "session": "",
        }
    )
    manifest[LABELS] = TARGETS
    return manifest, FolderRecordings(folder)


def measure(split, on_silence=None, **changes):
    manifest, recordings = split
    audio, batches = AudioFormat(RATE), dataclasses.replace(BATCHES, **changes)
    return measurements.measure_split(
        manifest, recordings, audio, batches, "measuring", on_silence
    )


@pytest.fixture(scope="module")
def passed(split):
    """The frame of a pass, and the batches of silences that it delivered."""
    batches = []
    frame = measure(split, lambda *batch: batches.append(batch))
    return frame, batches


@pytest.fixture(scope="module")
def frame(passed):
    return passed[0]


@pytest.fixture(scope="module")
def batches(passed):
    return passed[1]


def scored_split(manifest, frame, table, silences):
    return ScoredSplit(
        name="test",
        manifest=manifest,
        measurements=frame,
        table=table,
        label_groups=[],
        types={},
        points={},
        evaluation=EvaluationSettings(),
        command=[],
        silences=silences,
    )


def listened(listener, batches):
    for batch in batches:
        listener(*batch)
    return listener


def waveform_of(split, uid):
    """The recording [time], read by another way."""
    folder = split[1].folder
    samples, _ = librosa.load(folder / uid / "waveform.wav", sr=None)
    return torch.from_numpy(samples)


# The pass


def test_each_row_is_what_the_audit_finds_of_its_recording(split, frame):
    manifest = split[0]
    assert frame["ID"].to_list() == manifest["ID"].to_list() == list(PADS_S)
    for row, found in zip(manifest.to_dict("records"), frame.iloc, strict=True):
        waveform = waveform_of(split, row["ID"])
        expected, _ = confound_audit.extract(waveform, RATE, row)
        for name, value in expected.items():
            if value is None:
                assert np.isnan(found[name])
            elif isinstance(value, str):
                assert found[name] == value
            else:
                assert found[name] == pytest.approx(value, rel=1e-5)
        described = recording_statistics.recording_statistics(waveform, RATE)
        assert len(described) == 151
        for name, value in described.items():
            assert found[name] == pytest.approx(value, rel=1e-3, abs=1e-3, nan_ok=True)


def test_columns_are_numbers_but_for_those_that_are_text(frame):
    numbers = set(frame.select_dtypes(float))
    assert set(frame) - numbers == {"ID", *measurements.TEXT}
    silent = frame.filter(like="silence_").notna().all(axis=1)
    assert silent.to_list() == [True, False, True, True, False, True]
    assert frame.filter(like="acoustic_").notna().all(axis=None)


def silent_rows(split):
    """Those recordings' rows and the silences [time] that the audit finds in them."""
    for row in split[0].to_dict("records"):
        _, silence = confound_audit.extract(waveform_of(split, row["ID"]), RATE, row)
        if silence is not None:
            yield row, silence


def test_silences_come_in_batches_in_the_order_of_the_manifest(split, batches):
    assert [uids for uids, _ in batches] == [["u1"], ["u3", "u2"], ["u4"]]
    heard = [silence for _, silences in batches for silence in silences]
    for found, (_, expected) in zip(heard, silent_rows(split), strict=True):
        assert torch.equal(found, expected) and found.shape == (RATE * SILENCE_S,)


@pytest.mark.parametrize("changes", [{"num_workers": 2}, {"eval_batch_size": 5}])
def test_workers_and_batches_change_nothing(split, passed, changes):
    frame, batches = passed
    others = []
    found = measure(split, lambda *batch: others.append(batch), **changes)
    pd.testing.assert_frame_equal(found, frame, rtol=1e-5)
    for i, join in enumerate((np.concatenate, torch.cat)):
        one, other = (join([batch[i] for batch in of]) for of in (batches, others))
        assert len(one) == 4 and np.array_equal(one, other)


@pytest.mark.unmeasured
def test_workers_that_inherit_nothing_change_nothing(split, passed, monkeypatch):
    """As Python starts them from 3.14 on; with spawn they are sent the same things."""
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "forkserver")
    found = measure(split, lambda *batch: None, num_workers=1)
    pd.testing.assert_frame_equal(found, passed[0])


# Files


def test_measurements_come_back(frame, tmp_path):
    path = tmp_path / MEASUREMENTS / "test.parquet"
    measurements.save_measurements(frame, path)
    pd.testing.assert_frame_equal(measurements.read_measurements(path), frame)


def test_damaged_measurements_are_refused(frame, tmp_path):
    path = tmp_path / "test.parquet"
    measurements.save_measurements(frame, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="can't be read"):
        measurements.read_measurements(path)
    frame[["ID", "acoustic_n_pauses"]].to_parquet(path)
    with pytest.raises(UserError, match="no column acoustic_duration_s, audio_sha256"):
        measurements.read_measurements(path)


# Silences


class Ear:
    """A brain whose logits are a waveform's power in dB, and its first sample."""

    def score_waveforms(self, waveforms):
        power = 10 * waveforms.square().mean(dim=1).log10()
        return torch.stack([power, waveforms[:, 0]], dim=1)


def table_of(manifest, ranges=None):
    """A table of predictions whose probabilities rise with the row."""
    recordings = manifest.rename(columns={"ID": "uid"})[["uid", "subject", "session"]]
    logits = np.arange(12).reshape(6, 2) / 10
    targets = manifest[LABELS].to_numpy()
    return predictions_table(
        recordings, LABELS, targets, logits, [0, 0], "test", ranges
    )


def test_silences_are_scored_each_on_its_own(split, passed):
    manifest = split[0]
    frame, batches = passed
    heard = listened(Silences(table_of(manifest), RATE, Ear()), batches)
    assert list(heard.logits) == LABELS
    assert heard.logits.index.to_list() == ["u1", "u3", "u2", "u4"]
    for row, silence in silent_rows(split):
        expected = Ear().score_waveforms(silence[None])[0].tolist()
        assert heard.logits.loc[row["ID"]].to_list() == pytest.approx(expected)
    scored = scored_split(manifest, frame, table_of(manifest), heard)
    found = scored.logits_of_silences(LABELS[::-1])
    assert np.isnan(found).all(axis=1).tolist() == [0, 1, 0, 0, 1, 0]
    assert found[3].tolist() == heard.logits.loc["u2", LABELS[::-1]].to_list()


def test_three_silences_are_kept_of_each_label_positive_ones_first(split, batches):
    heard = listened(Silences(table_of(split[0]), RATE), batches)
    assert heard.logits is None

    def kept(label):
        return [(e.uid, e.row, e.target) for e in heard.excerpts[label]]

    # silent are u1, u3, u2, u4: recordings 0, 2, 3 and 5 of the table
    assert kept("slow") == [("u2", 2 + 3 * 2, 1), ("u1", 2, 0), ("u3", 2 + 2 * 2, 0)]
    expected = [("u1", 3, 1), ("u4", 2 + 5 * 2 + 1, 1), ("u2", 2 + 3 * 2 + 1, 0)]
    assert kept("strained") == expected  # u3 is not rated
    first = heard.excerpts["strained"][0]
    assert first.prediction == pytest.approx(1 / (1 + np.exp(-0.1)))
    assert (first.label, first.sample_rate) == ("strained", RATE)
    _, silence = next(silent_rows(split))
    assert np.array_equal(first.waveform, silence.numpy())
    assert first.waveform.base is None  # holds no more than itself


def test_of_a_score_the_highest_ratings_are_kept(split, batches):
    manifest = split[0].assign(slow=[0.5, 9.0, 2.5, 1.0, 9.0, 3.5])
    heard = listened(Silences(table_of(manifest, [[0, 9], None]), RATE), batches)
    found = [(e.uid, e.target, e.prediction) for e in heard.excerpts["slow"]]
    assert found == [("u4", 3.5, 1.0), ("u3", 2.5, 0.4), ("u2", 1.0, 0.6)]


# The audit

N, NAMES = 40, ["x", "y"]


def measured(seed, n=N, planted=False, first=0):
    """A split with measurements from chance; `planted`: the noise tells x."""
    generator = np.random.default_rng(seed)
    x, y = generator.integers(0, 2, (2, n)).astype(float)
    manifest = pd.DataFrame(
        {
            "ID": [f"r{first + i}" for i in range(n)],
            "subject": [f"s{(first + i) // 2}" for i in range(n)],
            "x": x,
            "y": y,
        }
    )
    numbers = generator.normal(size=(n, 4)) + (3 * x[:, None] if planted else 0)
    columns = ["capture_noise", "silence_mean_00", "behaviour_pause", "acoustic_f0"]
    frame = pd.DataFrame(numbers, columns=columns)
    frame.insert(0, "ID", manifest["ID"])
    frame["audio_sha256"] = [
        hashlib.sha256(f"{seed} {i}".encode()).hexdigest() for i in range(n)
    ]
    # in another order: measurements are found by ID
    frame = frame.sample(frac=1, random_state=seed)
    return Split(name="", manifest=manifest, measurements=frame)


def tables(split, seed):
    """The split with logits of its recordings and of the silences of two thirds.

    The silences tell x.
    """
    generator = np.random.default_rng(seed)
    uids, n = split.manifest["ID"], len(split.manifest)
    table = pd.DataFrame(
        {
            "uid": np.repeat(uids, 2).to_list(),
            "subject": "",
            "split": "test",
            "label": NAMES * n,
            "logit": generator.normal(size=2 * n),
        }
    )
    heard = generator.normal(size=(n, 2))
    heard[:, 0] += split.manifest["x"]
    heard = pd.DataFrame(heard, index=uids, columns=NAMES)[::-1]
    heard = heard[generator.random(n) < 0.67]
    heard = types.SimpleNamespace(logits=heard)
    return scored_split(split.manifest, split.measurements, table, heard)


def audited(splits, seen=None):
    """What an evaluation's audit says of splits, and of others that were seen."""
    found = confound_audit.leakage(measurements.distinct(splits, seen or {}), NAMES)
    return found | measurements.audit_evaluation(splits, NAMES)


def test_a_confound_is_found_over_all_splits_together():
    splits = {
        "train": measured(1, planted=True),
        "test": tables(measured(2, planted=True, first=N), 0),
    }
    found = audited(splits)
    assert found["labels"]["x"]["status"] == "flagged"
    assert found["labels"]["x"]["capture_probe_auroc"]["value"] > 0.9
    assert found["labels"]["x"]["capture_probe_auroc"]["n"] == 2 * N
    assert found["labels"]["y"]["status"] != "flagged"
    assert found["shared_audio"] == found["shared_subjects"] == []
    assert list(found["label_shares"]) == ["train", "test"]
    assert "shared_audio_reason" not in found
    json.dumps(found, allow_nan=False)


def test_logits_count_where_they_are_known():
    test = tables(measured(2, first=N), 0)
    found = audited({"train": measured(1), "test": test})
    manifest = test.manifest.set_index("ID")
    for name in NAMES:
        whole = test.table[test.table["label"] == name].set_index("uid")["logit"]
        heard = test.silences.logits[name]
        for kind, logits in (("auroc", whole), ("silence_auroc", heard)):
            expected = roc_auc_score(manifest.loc[logits.index, name], logits)
            entry = found["labels"][name][kind]
            assert entry["value"] == pytest.approx(expected)
            assert entry["n"] == len(logits)
    found = audited({"test": measured(2)})
    assert found["labels"]["x"]["silence_auroc"]["value"] is None
    assert "trained model" in found["labels"]["x"]["silence_auroc"]["reason"]
    nothing = types.SimpleNamespace(logits=test.silences.logits[:0])
    without = dataclasses.replace(test, silences=nothing)
    (reason,) = {
        of["silence_auroc"]["reason"]
        for of in audited({"test": without})["labels"].values()
    }
    assert reason.startswith("only 0 rated recordings have what is needed")


def test_audio_and_subjects_in_two_splits_are_found():
    train, test = measured(1), measured(2, first=N - 1)
    of_r3 = train.measurements.set_index("ID").loc["r3", "audio_sha256"]
    frame = test.measurements.copy()
    frame.loc[frame["ID"] == "r70", "audio_sha256"] = of_r3
    test = dataclasses.replace(test, measurements=frame)
    # r39 is in both under one name, of s19, with audio of its own
    expected = [{"splits": ["test", "train"], "uids": ["r70", "r3"]}]
    found = audited({"test": test}, {"train": train})
    assert found["shared_audio"] == expected
    assert found["shared_subjects"] == ["s19"]
    # the other split's recordings are asked nothing else
    assert found["labels"]["x"]["capture_probe_auroc"]["n"] == N
    silent = Split(name="", manifest=train.manifest)
    found = audited({"test": test}, {"train": silent})
    assert found["shared_audio"] == [] and found["shared_subjects"] == ["s19"]
    expected = "not all was compared: 0 of 40 recordings of train were measured"
    assert found["shared_audio_reason"] == expected
    assert found["measured"]["train"] == {
        "n_recordings": N,
        "n_measured": 0,
        "n_subjects": N // 2,
        "n_subjects_measured": 0,
    }


def test_a_subject_in_two_splits_is_found_in_any_spelling():
    train, test = measured(1), measured(2, first=N - 1)
    for spelling in ("S19", "s 19", " s019 "):
        subjects = test.manifest["subject"].replace("s19", spelling)
        spelt = test.changed(manifest=test.manifest.assign(subject=subjects))
        found = audited({"test": spelt}, {"train": train})
        assert found["shared_subjects"] == [spelling], spelling


def test_a_split_may_be_named_like_one_that_was_seen():
    train = measured(1)
    found = audited({"train": train}, {"train": train})
    assert len(found["shared_audio"]) == N
    assert found["shared_audio"][0]["splits"] == ["train", "train of the experiment"]


def test_devices_of_one_split_only():
    """Another split's are not known; within them is computed what can be."""
    train, test = measured(1), measured(2, first=N)
    devices = np.where(np.arange(N) < 20, "phone", "tablet")
    train = dataclasses.replace(train, manifest=train.manifest.assign(device=devices))
    found = audited({"train": train, "test": test})
    within = found["labels"]["x"]["capture_probe_auroc"]["within"]
    assert list(within) == ["device"] and 0 < within["device"] < 1
    test = dataclasses.replace(test, manifest=test.manifest.assign(device=""))
    found = audited({"train": train, "test": test})
    assert found["labels"]["x"]["capture_probe_auroc"]["within"] == within


def test_a_sample_is_of_whole_subjects():
    sizes = dict(zip("abcdefgh", (9, 1, 4, 3, 3, 6, 2, 2), strict=True))
    manifest = pd.DataFrame(
        {"subject": [s for s, n in sizes.items() for _ in range(n)]}
    )
    manifest = manifest.sample(frac=1, random_state=1).assign(ID=range(30))
    drawn = set()
    for seed in range(20):
        sample = measurements.sample_subjects(manifest, 12, seed)
        assert 9 <= len(sample) <= 12  # nobody with three or fewer is left out in vain
        counts = sample["subject"].value_counts()
        assert all(counts[subject] == sizes[subject] for subject in counts.index)
        assert sample["ID"].is_monotonic_increasing
        assert sample.equals(
            measurements.sample_subjects(manifest[::-1], 12, seed)[::-1]
        )
        drawn |= set(counts.index)
    assert drawn == set(sizes)
    for n in (0, 30, 99):
        assert measurements.sample_subjects(manifest, n, 0) is manifest
    two = manifest[manifest["subject"].isin(["a", "f"])]  # both have more than five
    assert set(measurements.sample_subjects(two, 5, 0)["subject"]) == {"f"}


def test_a_sample_is_audited_and_what_was_not_heard_is_told():
    train, test = measured(1, planted=True), measured(2, planted=True, first=N)
    sample = measurements.sample_subjects(train.manifest, 20, 0)
    heard = train.measurements[train.measurements["ID"].isin(sample["ID"])]
    part = dataclasses.replace(train, measurements=heard)
    found = audited({"train": part, "test": test})
    alone = dataclasses.replace(part, manifest=sample)
    alone = audited({"train": alone, "test": test})
    assert found["labels"] == alone["labels"]
    assert found["labels"]["x"]["capture_probe_auroc"]["n"] == 20 + N
    counts = {"n_recordings": N, "n_measured": 20}
    counts |= {"n_subjects": N // 2, "n_subjects_measured": 10}
    assert found["measured"]["train"] == counts
    assert "20 of 40 recordings of train were" in found["shared_audio_reason"]
    assert "shared_audio_reason" not in alone
    json.dumps(found, allow_nan=False)


def test_an_experiment_tells_what_its_model_has_seen(tmp_path):
    train = measured(1)
    for name in ("train", "valid", "test"):
        path = tmp_path / MANIFESTS / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        train.manifest.to_csv(path, index=False)
    folder = tmp_path / MEASUREMENTS
    frame = train.measurements.assign(acoustic_duration_s=1.0, capture_level_dbfs=-9.0)
    measurements.save_measurements(frame, folder / "train.parquet")
    found = measurements.seen_splits(tmp_path, NAMES)
    assert list(found) == ["train", "valid"]
    assert found["valid"].measurements is None
    assert found["train"].hashes() == train.hashes()
    assert found["train"].manifest["x"].tolist() == train.manifest["x"].tolist()
    # of a sample whole subjects are there
    sample = frame[frame["ID"].isin(["r0", "r1", "r8", "r9"])]
    measurements.save_measurements(sample, folder / "train.parquet")
    (known, _) = measurements.seen_splits(tmp_path, NAMES).values()
    assert known.measurements["ID"].tolist() == sample["ID"].tolist()
    twice, stranger = frame.iloc[:1], frame.iloc[:1].assign(ID="r99")
    for damaged in (
        frame.iloc[1:],
        pd.concat([frame, twice]),
        pd.concat([frame, stranger]),
        frame.iloc[:0],
    ):
        measurements.save_measurements(damaged, folder / "train.parquet")
        with pytest.raises(UserError, match=f"but {len(damaged)} rows"):
            measurements.seen_splits(tmp_path, NAMES)
