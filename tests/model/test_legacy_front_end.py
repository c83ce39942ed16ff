"""The original's front end, held against torchaudio called as the original calls it."""

from pathlib import Path

import pytest
import torch
from original_features import original_fbank, original_mfcc

from local.model import heads
from local.model.front_end import KaldiFbank
from local.model.legacy_front_end import OriginalClip, OriginalFrontEnd, n_features
from local.utils.yaml_files import load_hparams

ROOT = Path(__file__).parents[2]
RATE = 16000  # Hz
SIZES = {"sample_rate": RATE, "n_mfcc": 80, "n_fft": 400, "n_mels": 128}


def recording(duration_s, loudness=1.0, seed=0):
    """Noise around an offset, [time]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(round(duration_s * RATE), generator=generator)
    return loudness * (0.1 * noise + 0.05)


# The clip


def test_a_long_recording_is_cut_to_its_beginning():
    clip = OriginalClip(clip_length=0.5, sample_rate=8)
    # 1 + 2 + 3 + 6 = 12, mean 3
    found = clip(torch.tensor([1.0, 2.0, 3.0, 6.0, 100.0, 100.0]), uid="a")
    assert found.tolist() == [-2.0, -1.0, 0.0, 3.0]


def test_a_short_recording_is_padded_with_its_mean_which_is_then_taken_off():
    waveform = recording(0.3)
    padded = torch.cat([waveform, waveform.mean().repeat(RATE - len(waveform))])
    found = OriginalClip(clip_length=1.0, sample_rate=RATE)(waveform, uid="a")
    assert torch.equal(found, padded - padded.mean())  # to the last digit
    assert found[len(waveform) :].abs().max() < 1e-7


def test_without_a_clip_length_a_recording_stays_whole():
    found = OriginalClip(clip_length=0, sample_rate=8)(
        torch.tensor([1.0, 3.0]), uid="a"
    )
    assert found.tolist() == [-1.0, 1.0]


def test_a_part_of_a_sample_is_left_out():
    clip = OriginalClip(clip_length=0.29, sample_rate=10)  # 2.9 samples
    assert len(clip(torch.ones(5), uid="a")) == 2


def test_a_recording_is_not_changed_in_place():
    waveform = torch.tensor([1.0, 3.0])
    OriginalClip(clip_length=0, sample_rate=8)(waveform, uid="a")
    assert waveform.tolist() == [1.0, 3.0]


def test_a_negative_clip_length_is_refused():
    with pytest.raises(ValueError, match="-1"):
        OriginalClip(clip_length=-1, sample_rate=8)


# The features


def test_mfcc_are_those_of_torchaudio_recording_by_recording():
    # the quietest is 60 dB below the loudest: in one batch, torchaudio would cut it
    # off at 80 dB below that one's peak
    batch = torch.stack(
        [recording(1, loudness, seed=i) for i, loudness in enumerate((1, 1e-3, 0.1))]
    )
    expected = torch.stack([original_mfcc(waveform) for waveform in batch])
    found = OriginalFrontEnd(fbank=False, **SIZES)(batch)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("n_frames", [50, 400], ids=["cut", "padded"])
def test_fbank_is_that_of_torchaudio_cut_or_padded(n_frames):
    batch = torch.stack([recording(1, seed=i) for i in range(3)])
    expected = torch.stack([original_fbank(waveform, n_frames) for waveform in batch])
    found = OriginalFrontEnd(fbank=True, **{**SIZES, "n_fft": n_frames})(batch)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("fbank", [False, True], ids=["mfcc", "fbank"])
def test_a_batch_gives_what_its_recordings_give(fbank):
    front_end = OriginalFrontEnd(fbank=fbank, **SIZES)
    batch = torch.stack([recording(0.5, 10.0**-i, seed=i) for i in range(4)])
    alone = torch.cat([front_end(waveform.unsqueeze(0)) for waveform in batch])
    torch.testing.assert_close(front_end(batch), alone, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("fbank", [False, True], ids=["mfcc", "fbank"])
def test_features_have_the_size_that_the_model_is_built_for(fbank):
    found = OriginalFrontEnd(fbank=fbank, **SIZES)(recording(1).unsqueeze(0))
    assert found.shape[2] == n_features(fbank, n_mfcc=80, n_mels=128)


def test_lengths_count_the_frames_of_a_recording():
    front_end = OriginalFrontEnd(fbank=False, **SIZES)
    n_samples = torch.tensor([16000, 8100, 8000, 7999])
    lengths = front_end.frame_lengths(n_samples / 16000, 16000)
    # a frame around every 200th sample, the first around 0
    assert torch.ceil(lengths * 81).tolist() == [81, 41, 41, 40]
    for n, expected in zip(n_samples, (81, 41, 41, 40), strict=True):
        assert front_end(torch.randn(1, n)).shape[1] == expected


def test_padded_frames_of_fbank_are_part_of_the_recording():
    front_end = OriginalFrontEnd(fbank=True, **SIZES)
    assert isinstance(front_end.front_end, KaldiFbank)
    assert front_end.frame_lengths(torch.tensor([1.0, 0.5]), 16000).tolist() == [1, 1]


@pytest.mark.parametrize("fbank", [False, True], ids=["mfcc", "fbank"])
def test_mixed_precision_does_not_reach_the_features(fbank):
    front_end = OriginalFrontEnd(fbank=fbank, **SIZES)
    batch = recording(1).unsqueeze(0)
    expected = front_end(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = front_end(batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


# The yaml


@pytest.mark.parametrize("fbank", [False, True], ids=["mfcc", "fbank"])
def test_features_reach_the_model_without_normalisation(fbank, tmp_path):
    hparams = load_hparams(
        ROOT / "hparams" / "train_original.yaml",
        {
            "fbank": fbank,
            "channels": [16, 16, 16, 16, 48],
            "label_groups": [["a"]],
            "output_folder": str(tmp_path),
        },
    )
    waveform = hparams["eval_crop"](recording(1), uid="a")
    assert len(waveform) == 10 * RATE
    features, lengths = heads.compute_features(
        hparams["modules"], waveform.unsqueeze(0), torch.ones(1)
    )
    expected = original_fbank(waveform, 400) if fbank else original_mfcc(waveform)
    torch.testing.assert_close(features[0], expected, atol=1e-4, rtol=1e-6)
    assert torch.ceil(lengths * len(expected)) == len(expected)
    hparams["train_crop"].epoch = 3
    assert torch.equal(hparams["train_crop"](recording(1), uid="a"), waveform)
