"""model.heads: a recording's outputs are its own, whatever it is batched with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.dataio.batch import PaddedBatch

from local.model import heads
from local.model.front_end import RecordingFeatures
from local.utils.parallel import in_parallel
from local.utils.yaml_files import load_hparams

HPARAMS = Path(__file__).parents[2] / "hparams"
SMALL = {
    "output_folder": "unused",
    "label_groups": [["low", "loud"], ["noisy"]],
    "channels": [16, 16, 16, 16, 48],
    "attention_channels": 8,
    "lin_neurons": 12,
    "shared_dense": True,
    "sd_bottleneck": 14,
    "clf_bottleneck": 10,
}
FRONT_ENDS = {
    "train": {},
    "train_fbank": {},
    "train_fbank, 2 s": {"target_length": 200},
    "train_original": {"clip_length": 0},
    "train_original, fbank": {"clip_length": 0, "fbank": True},
}
MODELS = {}


def model(name):
    """Modules of a yaml, with batch statistics of some input; and its features."""
    if name not in MODELS:
        yaml = HPARAMS / f"{name.split(',')[0]}.yaml"
        torch.manual_seed(1)
        modules = load_hparams(yaml, SMALL | FRONT_ENDS[name])["modules"]
        compute = RecordingFeatures(modules)
        features = torch.stack([compute(speech(2.0, seed)) for seed in range(4)])
        for module in modules.values():
            module.train()
        for _ in range(20):
            heads.classify(modules, features, torch.ones(4))
        for module in modules.values():
            module.eval()
        MODELS[name] = modules, compute
    return MODELS[name]


def speech(duration_s, seed):
    """Noise whose level goes up and down, with a click at its very end."""
    generator = torch.Generator().manual_seed(seed)
    n = int(duration_s * 16000)
    envelope = 0.02 + torch.sin(torch.arange(n) / 1500 + seed).clamp(min=0)
    waveform = 0.1 * envelope * torch.randn(n, generator=generator)
    waveform[-3:] = 0.9
    return waveform


@torch.no_grad()
def outputs(name, waveforms):
    """All outputs for a batch of waveforms, as float64 [batch, size] by kind."""
    modules, compute = model(name)
    batch = PaddedBatch([{"features": compute(waveform)} for waveform in waveforms])
    features, lengths = batch.features
    n_frames = torch.round(lengths * features.shape[1]).long()
    found = heads.score_features(modules, features, n_frames)
    return {
        kind: values.double().numpy()
        for kind, values in (
            ("pt", found.pt),
            ("st", found.st),
            ("ft", found.hidden.flatten(1)),
            ("logits", found.logits),
        )
    }


def relative_difference(found, alone):
    return np.linalg.norm(found - alone) / np.linalg.norm(alone)


@pytest.mark.parametrize("name", FRONT_ENDS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    lengths=st.lists(
        st.one_of(st.floats(0.1, 0.3), st.floats(0.3, 3.0)), min_size=2, max_size=6
    )
)
def test_outputs_are_those_of_the_recording_on_its_own(name, lengths):
    waveforms = [speech(length, i) for i, length in enumerate(lengths)]
    together = outputs(name, waveforms)
    for i, waveform in enumerate(waveforms):
        for kind, values in outputs(name, [waveform]).items():
            assert relative_difference(together[kind][i], values[0]) < 1e-5, kind


def test_in_speechbrains_own_padding_they_are_not():
    """The test above would fail for SpeechBrain's own padding."""
    modules, compute = model("train")
    features = [compute(speech(length, 1)) for length in (0.5, 3.0)]
    batch = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    lengths = torch.tensor([len(features[0]) / batch.shape[1], 1.0])
    with torch.no_grad():
        together = heads.classify(modules, batch, lengths).pt
        alone = heads.classify(modules, features[0][None], torch.ones(1)).pt
    assert relative_difference(together[0], alone[0]) > 1e-3


def test_order_and_padding_do_not_matter():
    waveforms = [speech(length, i) for i, length in enumerate((0.4, 2.0, 1.1))]
    forwards = outputs("train", waveforms)["pt"]
    backwards = outputs("train", waveforms[::-1])["pt"][::-1]
    assert relative_difference(forwards, backwards) < 1e-5
    modules, compute = model("train")
    features = compute(waveforms[2])
    padded = torch.nn.functional.pad(features, (0, 0, 0, 500), value=1e3)
    with torch.no_grad():
        found = heads.score_features(
            modules, padded[None], torch.tensor([len(features)])
        )
    assert relative_difference(found.pt.numpy(), forwards[2:]) < 1e-5


def test_streams_at_the_same_time_do_not_touch():
    batches = [[speech(0.3 + 0.2 * i, i), speech(1.5, i)] for i in range(8)]
    expected = [outputs("train", batch)["pt"] for batch in batches]
    together = in_parallel(lambda batch: outputs("train", batch), batches, 4)
    for actual, alone in zip(together, expected, strict=True):
        assert relative_difference(actual["pt"], alone) < 1e-6


def test_another_embedding_model_gets_recordings_one_at_a_time():
    modules, compute = model("train")
    features = [compute(speech(length, 1)) for length in (0.5, 3.0)]
    batch = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    n_frames = torch.tensor([len(one) for one in features])
    shapes, own = [], modules["embedding_model"]

    def other(features):
        shapes.append(tuple(features.shape[:2]))
        return own(features)

    other_modules = modules | {"embedding_model": other}
    actual = heads.score_features(other_modules, batch, n_frames)
    expected = heads.score_features(modules, batch, n_frames)
    assert shapes == [(1, n) for n in n_frames.tolist()]
    for kind in ("pt", "st", "logits", "hidden"):
        values = getattr(actual, kind), getattr(expected, kind)
        assert relative_difference(*values) < 1e-5
    assert not actual.logits.requires_grad


def test_training_is_as_without_ends():
    modules, compute = model("train")
    features, lengths = compute(speech(1.0, 1))[None], torch.ones(1)
    with torch.no_grad():
        before = heads.classify(modules, features, lengths).pt
        inside = heads.score_features(modules, features, torch.tensor([50])).pt
        after = heads.classify(modules, features, lengths).pt
    assert torch.equal(before, after) and not torch.equal(before, inside)
    assert modules["embedding_model"].margin == 4  # kernel 3, dilation 4
