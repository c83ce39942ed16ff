"""local.features: the Kaldi front end, spectrogram masks and frame lengths."""

import pytest
import torch
import torchaudio.compliance.kaldi as kaldi
from speechbrain.dataio.dataio import length_to_mask

from local.features import KaldiFbank, SpectrogramMask, frame_lengths


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Kaldi's filterbank


@pytest.mark.parametrize(("sample_rate", "n_mels"), [(16000, 128), (8000, 40)])
def test_the_filterbank_is_kaldis(sample_rate, n_mels):
    """Called as the original project does, recording by recording."""
    waveforms = noise(2, sample_rate // 2)
    features = KaldiFbank(sample_rate, n_mels)(waveforms)
    for waveform, found in zip(waveforms, features, strict=True):
        expected = kaldi.fbank(
            waveform[None],
            htk_compat=True,
            sample_frequency=sample_rate,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=n_mels,
            dither=0.0,
            frame_shift=10,
        )
        assert torch.equal(found, expected)
    # windows of 25 ms every 10 ms that fit into 500 ms: (500 - 25) // 10 + 1
    assert features.shape == (2, 48, n_mels)


# Masks


UIDS = [f"r{i}" for i in range(40)]


def hidden(freqm=0, timem=0, seed=1, epoch=1, uids=UIDS, n_frames=30, n_channels=20):
    """Which cells of a batch of ones are hidden, bool [batch, frame, channel]."""
    mask = SpectrogramMask(freqm, timem, seed)
    features = torch.ones(len(uids), n_frames, n_channels)
    masked = mask(features, torch.ones(len(uids)), uids, epoch)
    assert ((masked == 0) | (masked == 1)).all()
    assert (features == 1).all()  # not in place
    return masked == 0


def spans(lines):
    """Widths of the hidden spans of bool [batch, line]; each must be connected."""
    edges = torch.nn.functional.pad(lines.int(), (1, 1)).diff(dim=1).abs().sum(dim=1)
    assert (edges <= 2).all()
    return lines.sum(dim=1).tolist()


def test_bands_of_channels_are_hidden():
    cells = hidden(freqm=6)
    assert torch.equal(cells.all(dim=1), cells.any(dim=1))
    assert set(spans(cells.any(dim=1))) == {0, 1, 2, 3, 4, 5, 6}


def test_spans_of_frames_are_hidden():
    cells = hidden(timem=3)
    assert torch.equal(cells.all(dim=2), cells.any(dim=2))
    assert set(spans(cells.any(dim=2))) == {0, 1, 2, 3}


def test_both_are_hidden():
    cells = hidden(freqm=6, timem=3)
    frames, channels = cells.all(dim=2).sum(dim=1), cells.all(dim=1).sum(dim=1)
    expected = frames * 20 + channels * 30 - frames * channels
    assert torch.equal(cells.sum(dim=(1, 2)), expected)
    assert (frames <= 3).all() and (channels <= 6).all()


def test_a_mask_wider_than_the_features():
    assert max(spans(hidden(timem=500).any(dim=2))) <= 30


def test_masks_are_each_recordings_own_and_repeat_with_their_key():
    assert torch.equal(hidden(6, 3), hidden(6, 3))
    cells = hidden(6, 3)
    assert len({tuple(c.flatten().tolist()) for c in cells}) > 30
    assert not torch.equal(cells, hidden(6, 3, epoch=2))
    assert not torch.equal(cells, hidden(6, 3, seed=2))
    assert torch.equal(cells[7], hidden(6, 3, uids=["r7"])[0])


def test_masks_of_width_0_change_nothing():
    features = noise(2, 5, 4)
    assert (
        SpectrogramMask(0, 0, seed=1)(features, torch.ones(2), ["a", "b"], 1)
        is features
    )


@pytest.mark.parametrize(("freqm", "timem"), [(-1, 0), (0, -1)])
def test_wrong_widths_are_refused(freqm, timem):
    with pytest.raises(ValueError, match="freqm and timem must be 0 or more"):
        SpectrogramMask(freqm, timem, seed=1)


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


def test_hidden_frames_lie_inside_the_recording():
    mask = SpectrogramMask(freqm=0, timem=10, seed=1)
    uids = [f"r{i}" for i in range(30)]
    lengths = torch.full((30,), (12 - 0.5) / 40)
    masked = mask(torch.ones(30, 40, 4), lengths, uids, epoch=1)
    assert (masked[:, :12] == 0).any()
    assert (masked[:, 12:] == 1).all()
