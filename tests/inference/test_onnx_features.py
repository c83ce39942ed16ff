"""inference.export.onnx_features: front ends of padded batches, in ONNX too."""

import logging
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speechbrain.lobes.features import MFCC, Fbank

from local.inference.export.onnx_features import (
    NoOnnx,
    before_end,
    padded_crop,
    padded_front_end,
)
from local.model.front_end import KaldiFbank, frame_counts, raw_features
from local.model.legacy_front_end import OriginalClip, OriginalFrontEnd

RATE = 16000
SIZES = {"sample_rate": RATE, "n_mfcc": 20, "n_mels": 24}
FRONT_ENDS = {
    "Fbank": Fbank(sample_rate=RATE, n_mels=24, n_fft=400),
    "Fbank, longer FFT": Fbank(sample_rate=RATE, n_mels=24, n_fft=512),
    "KaldiFbank": KaldiFbank(n_mels=24),
    "KaldiFbank, cut": KaldiFbank(n_mels=24, target_length=100),
    "MFCC": OriginalFrontEnd(fbank=False, n_fft=400, **SIZES),
    "original fbank": OriginalFrontEnd(fbank=True, n_fft=120, **SIZES),
}


def speech(duration_s, seed):
    """Noise whose level goes up and down, partly digital silence: float32 [time]"""
    generator = torch.Generator().manual_seed(seed)
    n = int(duration_s * RATE)
    envelope = torch.sin(torch.arange(n) / 900 + seed).clamp(min=0)
    waveform = 0.2 * envelope**3 * torch.randn(n, generator=generator)
    waveform[-3:] = 0.9
    return waveform


def padded(waveforms):
    """A batch [batch, time] with zeros behind the ends, and lengths int64 [batch]."""
    batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    return torch.nn.functional.pad(batch, (0, 500)), lengths


def alone(front_end, waveform):
    """Features of a recording on its own [frame, channel], as in evaluation."""
    features, lengths = raw_features(front_end, waveform[None], torch.ones(1))
    return features[0, : frame_counts(lengths, features.shape[1])].numpy()


def check(front_end, waveforms, features, n_frames, tolerance):
    for i, waveform in enumerate(waveforms):
        expected = alone(front_end, waveform)
        found = np.asarray(features[i][: n_frames[i]])
        assert found.shape == expected.shape
        difference = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert difference < tolerance, (i, difference)


@pytest.mark.parametrize("name", FRONT_ENDS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(lengths_s=st.lists(st.floats(0.1, 2.0), min_size=1, max_size=5))
def test_features_are_those_of_each_recording_alone(name, lengths_s):
    waveforms = [speech(length, i) for i, length in enumerate(lengths_s)]
    module = padded_front_end(FRONT_ENDS[name])
    features, n_frames = module(*padded(waveforms))
    check(FRONT_ENDS[name], waveforms, features, n_frames, 1e-5)


@pytest.mark.parametrize("clip_length", [0, 0.5, 3])
def test_clip(clip_length):
    crop = OriginalClip(clip_length, RATE)
    waveforms = [speech(length, i) + 0.1 for i, length in enumerate((0.2, 1.7, 0.5))]
    clipped, lengths = padded_crop(crop)(*padded(waveforms))
    for waveform, found, n in zip(waveforms, clipped, lengths, strict=True):
        expected = crop(waveform, "")
        assert len(expected) == n
        torch.testing.assert_close(found[:n], expected, atol=1e-6, rtol=1e-5)
        assert not found[n:].any()


def test_what_has_no_counterpart_is_named():
    with pytest.raises(NoOnnx, match="MFCC"):
        padded_front_end(MFCC())
    with pytest.raises(NoOnnx, match="Fbank"):
        padded_front_end(Fbank(deltas=True))
    with pytest.raises(NoOnnx, match="eval_crop"):
        padded_crop(lambda waveform, uid: waveform)
    assert padded_crop(None) is None


class Zeroing(torch.nn.Module):
    """A front end behind what zeroes the padding, as onnx_model.OnnxModel has it."""

    def __init__(self, front_end):
        super().__init__()
        self.front_end = front_end

    def forward(self, waveforms, lengths):
        return self.front_end(
            waveforms * before_end(waveforms.shape[1], lengths), lengths
        )


@pytest.mark.parametrize("name", ["KaldiFbank, cut", "MFCC"])  # Fbank: test_export
def test_onnx_runtime(name, tmp_path):
    module = Zeroing(padded_front_end(FRONT_ENDS[name]))
    dynamic = torch.export.Dim.DYNAMIC
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            padded([speech(0.5, 1), speech(0.7, 2)]),
            tmp_path / "front_end.onnx",
            input_names=["waveforms", "lengths"],
            dynamic_shapes=({0: dynamic, 1: dynamic}, {0: dynamic}),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "front_end.onnx")
    for lengths_s in ([0.1], [3.0, 0.1], [0.5, 1.3, 0.33, 2.0]):
        waveforms = [speech(length, i) for i, length in enumerate(lengths_s)]
        batch, lengths = padded(waveforms)
        for row, n in zip(batch, lengths, strict=True):
            row[n:] = 0.5  # must not count
        inputs = {"waveforms": batch.numpy(), "lengths": lengths.numpy()}
        check(FRONT_ENDS[name], waveforms, *session.run(None, inputs), 2e-5)
