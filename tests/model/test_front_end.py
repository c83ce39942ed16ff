"""model.front_end: the Kaldi front end, normalisation and frame lengths."""

import pytest
import torch
import torchaudio.compliance.kaldi as kaldi
from original_features import kaldi_fbank
from speechbrain.dataio.dataio import length_to_mask
from speechbrain.lobes.features import Fbank

from local.model.front_end import (
    FeatureNormalization,
    KaldiFbank,
    frame_lengths,
    raw_features,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Kaldi's filterbank


@pytest.mark.parametrize(("sample_rate", "n_mels"), [(16000, 128), (8000, 40)])
def test_the_filterbank_is_kaldis(sample_rate, n_mels):
    """Called as the original project does, recording by recording."""
    waveforms = noise(2, sample_rate // 2)
    features = KaldiFbank(sample_rate, n_mels)(waveforms)
    for waveform, own in zip(waveforms, features, strict=True):
        assert torch.equal(own, kaldi_fbank(waveform, sample_rate, n_mels))
    # windows of 25 ms every 10 ms that fit into 500 ms: (500 - 25) // 10 + 1
    assert features.shape == (2, 48, n_mels)


# Lengths


@pytest.mark.parametrize("margin", [0, 1])
def test_masks_over_frames_unmask_exactly_the_recordings_own(margin):
    """For every n of up to 200 frames; `margin`: frames beyond the longest one."""
    for n_frames in range(1 + margin, 201):
        n_own = torch.arange(1, n_frames + 1 - margin)
        lengths = frame_lengths(n_own / n_frames, n_frames)
        mask = length_to_mask(lengths * n_frames, max_len=n_frames)
        assert torch.equal(mask.sum(dim=1).long(), n_own)


def test_no_recording_is_masked_whole():
    lengths = frame_lengths(torch.tensor([0.001, 1.0]), 10)
    assert length_to_mask(lengths * 10, max_len=10).sum(dim=1).tolist() == [1, 10]


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 44100])
@pytest.mark.parametrize("target_length", [0, 60])
def test_the_filterbank_knows_how_long_each_recording_is(sample_rate, target_length):
    """As many frames as the filterbank makes of the recording on its own."""
    front_end = KaldiFbank(sample_rate, n_mels=20, target_length=target_length)
    n_samples = [sample_rate, sample_rate // 2 + 77, sample_rate // 7]
    batch = torch.nn.utils.rnn.pad_sequence(
        [noise(n) for n in n_samples], batch_first=True
    )
    relative = torch.tensor(n_samples) / sample_rate
    features, lengths = raw_features(front_end, batch, relative)
    own = [kaldi.fbank(noise(1, n), sample_frequency=sample_rate) for n in n_samples]
    expected = [min(len(f), target_length or len(f)) for f in own]
    mask = length_to_mask(lengths * features.shape[1], max_len=features.shape[1])
    assert mask.sum(dim=1).tolist() == expected


def test_a_stock_front_end_has_lengths_in_proportion():
    features, lengths = raw_features(
        Fbank(n_mels=20), noise(2, 16000), torch.tensor([1.0, 0.5])
    )
    assert features.shape == (2, 101, 20)
    assert torch.equal(lengths, frame_lengths(torch.tensor([1.0, 0.5]), 101))


# Target length


def test_features_are_cut_or_padded_with_zeros():
    waveforms = noise(2, 16000)  # 98 frames
    whole = KaldiFbank(n_mels=20)(waveforms)
    cut = KaldiFbank(n_mels=20, target_length=60)(waveforms)
    padded = KaldiFbank(n_mels=20, target_length=120)(waveforms)
    assert torch.equal(cut, whole[:, :60])
    assert torch.equal(padded[:, :98], whole)
    assert (padded[:, 98:] == 0).all() and padded.shape == (2, 120, 20)


def test_padding_can_count_as_part_of_the_recording():
    front_end = KaldiFbank(n_mels=20, target_length=120, mask_padding=False)
    lengths = front_end.frame_lengths(torch.tensor([1.0, 0.5]), 16000)
    assert lengths.tolist() == [1, 1]


def test_a_negative_target_length_is_refused():
    with pytest.raises(ValueError, match="target_length must be 0 or more"):
        KaldiFbank(target_length=-1)


# Normalisation


def test_each_recording_by_its_own_mean_without_its_padding():
    features = noise(2, 10, 4) + 5
    lengths = torch.tensor([1.0, 0.5])
    found = FeatureNormalization()(features, lengths)
    assert found[0] == pytest.approx(features[0] - features[0].mean(dim=0), abs=1e-5)
    own = features[1, :5]
    assert found[1, :5] == pytest.approx(own - own.mean(dim=0), abs=1e-5)


def test_all_by_one_mean_and_two_standard_deviations():
    features = noise(2, 10, 4)
    found = FeatureNormalization(-4.0, 3.0)(features, torch.ones(2))
    assert found == pytest.approx((features + 4) / 6)
    same = FeatureNormalization(0.0, 0.5)(features, torch.ones(2))
    assert torch.equal(same, features)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (1.0, None, "belong together"),
        (None, 1.0, "belong together"),
        (1.0, 0.0, "dataset_std must be above 0"),
        (1.0, -1.0, "dataset_std must be above 0"),
        (1.0, float("nan"), "dataset_std must be above 0"),
    ],
)
def test_a_wrong_mean_or_deviation_is_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        FeatureNormalization(mean, std)
