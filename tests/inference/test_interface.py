"""inference.classifier: numbers are those of evaluate.py and extract_embeddings.py."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RATE, make_corpus, synthesise, write_csv, write_recording
from running import FAST, evaluate, extract, succeeded, train

from local.inference.classifier import ClinicalClassifier
from local.metrics.decisions import decision
from local.utils.errors import BadRecording

#: Three seconds in stereo at another rate: two channels of one length.
LONG = np.stack(
    [synthesise(1, 0, 1, seed, duration_s=3.0 * 11025 / RATE) for seed in (1, 2)],
    axis=1,
)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A trained experiment with a long test recording, its thresholds made up."""
    folder = tmp_path_factory.mktemp("interface")
    corpus = make_corpus(folder / "corpus")
    write_recording(corpus / "audio" / "long", LONG, rate=11025)
    row = {"uid": "long", "subject": "s12", "low": 1, "loud": 0, "noisy": 1, "sex": "f"}
    short = {**row, "uid": "s12_0"}
    write_csv(corpus / "splits" / "mine.csv", [row, short])
    output = folder / "experiment"
    options = ("--shared_dense=True", "--positive_weight=True", "--mono=sum")
    windows = ("--max_duration=1.2", "--window_overlap=0.3")
    succeeded(train(corpus, output, *options, *windows))
    points_file = output / "save" / "operating_points.json"
    points = json.loads(points_file.read_text())
    points["labels"]["low"]["threshold"] |= {"value": 0.4}
    points["labels"]["loud"]["calibration"] = {
        "kind": "platt",
        "slope": 2.0,
        "intercept": -0.5,
    }
    points["labels"]["loud"]["threshold"] |= {"value": 0.6}
    points_file.write_text(json.dumps(points))
    return corpus, output


@pytest.fixture(scope="module")
def model(experiment):
    return ClinicalClassifier.from_hparams(experiment[1], run_opts={"device": "cpu"})


def wav(experiment, uid):
    return experiment[0] / "audio" / uid / "waveform.wav"


def test_classify_file_is_evaluate(experiment, model):
    corpus, output = experiment
    csv = f"--split_csv={corpus / 'splits' / 'mine.csv'}"
    succeeded(evaluate(output, csv, "--device=cpu", *FAST))
    table = pd.read_csv(output / "evaluation" / "mine" / "predictions.csv")
    assert set(table["uid"]) == {"long", "s12_0"}
    for uid, rows in table.groupby("uid"):
        found = model.classify_file(wav(experiment, uid))
        assert list(found) == rows["label"].tolist() == ["low", "loud", "noisy"]
        for row in rows.itertuples():
            said = found[row.label]
            assert said["logit"] == pytest.approx(row.logit, abs=1e-6)
            assert said["probability"] == pytest.approx(row.probability, abs=1e-6)
            assert said["score"] is None
            expected = None if np.isnan(row.predicted) else row.predicted
            # evaluation decides about all recordings
            assert said["in_range"] == (row.in_range == 1)
            assert said["predicted"] == (expected if said["in_range"] else None)
            assert bool(said["out_of_range"]) != said["in_range"]
    assert found["noisy"]["threshold"] is None and found["low"]["threshold"] == 0.4


def test_out_of_range_there_is_no_decision_unless_asked_for(experiment):
    model = ClinicalClassifier.from_hparams(experiment[1], run_opts={"device": "cpu"})
    noise = 0.5 * torch.randn(20 * RATE)  # far longer and louder than the corpus
    (found,) = model.classify_batch(noise)
    assert found["low"]["in_range"] is False and found["low"]["out_of_range"]
    assert found["low"]["predicted"] is None and found["low"]["threshold"] == 0.4
    model.out_of_range = "decide"
    assert model.classify_batch(noise)[0]["low"]["predicted"] in (0, 1)


def test_encode_file_is_extract_embeddings(experiment, model, tmp_path):
    corpus, output = experiment
    csv = f"--split_csv={corpus / 'splits' / 'mine.csv'}"
    options = ("--embedding_type=ft", "--pooling_mode=sum", "--device=cpu")
    succeeded(extract(output, tmp_path / "e.parquet", csv, *options))
    for row in pd.read_parquet(tmp_path / "e.parquet").itertuples():
        found = model.encode_file(wav(experiment, row.uid), "ft", "sum")
        assert found.shape == (1, 1, len(row.embedding))
        np.testing.assert_allclose(found[0, 0], row.embedding, rtol=1e-5, atol=1e-7)


def test_nothing_depends_on_the_batch(model):
    waveforms = [
        torch.from_numpy(synthesise(1, 0, 1, seed, duration_s))
        for seed, duration_s in enumerate((0.4, 2.9, 0.11, 1.1))
    ]
    batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    lengths = torch.tensor([len(waveform) for waveform in waveforms]) / batch.shape[1]
    for kind in ("pt", "st", "ft"):
        together = model.encode_batch(batch, lengths, kind=kind)
        assert together.shape[:2] == (4, 1)
        for found, waveform in zip(together, waveforms, strict=True):
            alone = model.encode_batch(waveform, kind=kind)[0]
            assert torch.norm(found - alone) / torch.norm(alone) < 1e-5
    decisions = model(batch, lengths)
    for found, waveform in zip(decisions, waveforms, strict=True):
        alone = model.classify_batch(waveform)[0]
        for label in alone:
            assert found[label]["logit"] == pytest.approx(
                alone[label]["logit"], abs=1e-5
            )
    # several at a time in the network itself, too
    outputs = model.outputs(waveforms)
    for i, waveform in enumerate(waveforms):
        alone = model.outputs([waveform])
        for kind in ("pt", "st", "logits", "hidden"):
            found, expected = getattr(outputs, kind)[i], getattr(alone, kind)[0]
            assert torch.norm(found - expected) / torch.norm(expected) < 1e-5


def test_ft_is_pooled_as_asked(model):
    waveform = torch.from_numpy(synthesise(0, 1, 0, 5))
    hidden = model.outputs([waveform]).hidden[0]
    for mode, expected in (("mean", hidden.mean(0)), ("sum", hidden.sum(0))):
        found = model.encode_batch(waveform, kind="ft", pooling_mode=mode)[0, 0]
        torch.testing.assert_close(found, expected)


def test_a_segment_and_a_channel(experiment, model):
    path = wav(experiment, "long")
    loaded = model.load_audio(path, channel=1, start_s=0.5, end_s=1.5)
    assert abs(len(loaded) - RATE) <= 1  # 1 s, rounded at the rate of the file
    found = model.encode_file(path, channel=1, start_s=0.5, end_s=1.5)
    torch.testing.assert_close(found, model.encode_batch(loaded))


def test_what_can_not_be_used_is_named(model, tmp_path):
    for name, samples, reason in (
        ("short", np.full(300, 0.1), "too short"),
        ("silent", np.zeros(4000), "silent"),
        ("nan", np.array([0.1, float("nan")] * 2000), "NaN"),
    ):
        with pytest.raises(BadRecording, match=reason):
            model.classify_batch(torch.tensor(samples))
        if name != "nan":
            write_recording(tmp_path / name, samples)
            with pytest.raises(BadRecording, match=reason):
                model.classify_file(tmp_path / name / "waveform.wav")
    with pytest.raises(BadRecording, match=r"no\.wav"):
        model.encode_file(tmp_path / "no.wav")
    for arguments in ({"kind": "xt"}, {"kind": "ft", "pooling_mode": "max"}):
        with pytest.raises(ValueError, match="expected kind in"):
            model.encode_batch(torch.randn(4000), **arguments)
    for lengths in ([1.5], [4000], [0.0], [1.0, 1.0], [float("nan")]):
        with pytest.raises(ValueError, match=r"wav_lens \[batch\]"):
            model.classify_batch(np.zeros((1, 4000)), lengths)
    with pytest.raises(ValueError, match="batch, time"):
        model.encode_batch(torch.randn(1, 2, 4000))


def test_decision_by_hand():
    point = {
        "threshold": {"value": 0.5},
        "calibration": {"kind": "platt", "slope": 2.0, "intercept": 1.0},
    }
    # odds of 4 with a weight of 4 are even; calibrated, a logit of 1
    found = decision(float(np.log(4.0)), 4.0, None, point)
    assert found["probability"] == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert found["predicted"] == 1 and found["threshold"] == 0.5
    unfitted = {"calibration": {"slope": None}, "threshold": {"value": None}}
    found = decision(0.0, 1.0, None, unfitted)
    assert (found["probability"], found["predicted"]) == (0.5, None)
    found = decision(7.0, 1.0, [0, 10], None)
    assert (found["score"], found["probability"], found["logit"]) == (7.0, None, 7.0)
