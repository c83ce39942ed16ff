"""augment.spectrogram: masks, noise and shifts of normalised features."""

import pytest
import torch

from local.augment.spectrogram import SpectrogramMask, SpectrogramNoise


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Masks


UIDS = [f"r{i}" for i in range(40)]


def hidden(freqm=0, timem=0, seed=1, epoch=1, uids=UIDS, n_frames=30, n_channels=20):
    """Which cells of a batch of noise are hidden, bool [batch, frame, channel].

    What is hidden holds its channel's mean, what isn't is as it was.
    """
    mask = SpectrogramMask(freqm, timem, seed)
    features = noise(n_frames, n_channels).repeat(len(uids), 1, 1)
    before = features.clone()
    masked = mask(features, torch.ones(len(uids)), uids, epoch)
    assert torch.equal(features, before)  # not in place
    cells = masked != features
    means = features.mean(dim=1, keepdim=True).expand_as(features)
    assert torch.equal(masked[cells], means[cells])
    return cells


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


def test_half_of_a_recording_is_never_hidden_in_time():
    assert max(spans(hidden(timem=500).any(dim=2))) == 15  # of 30


def test_the_mean_is_the_recordings_own_without_its_padding():
    features = noise(1, 30, 4) + 7
    features[:, 20:] = 99
    mask = SpectrogramMask(freqm=4, timem=0, seed=1)
    for uid in UIDS:
        masked = mask(features, torch.tensor([19.5 / 30]), [uid], 1)
        for channel in (masked != features).any(dim=1)[0].nonzero().flatten():
            expected = features[0, :20, channel].mean()
            assert masked[0, :20, channel] == pytest.approx(expected.expand(20))
        assert (masked[:, 20:] == 99).all()


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


def test_hidden_frames_lie_inside_the_recording():
    mask = SpectrogramMask(freqm=0, timem=10, seed=1)
    uids = [f"r{i}" for i in range(30)]
    lengths = torch.full((30,), (12 - 0.5) / 40)
    features = noise(30, 40, 4)
    changed = mask(features, lengths, uids, epoch=1) != features
    assert changed[:, :12].any()
    assert not changed[:, 12:].any()


# Noise and shifts


def noisy(features, uids=UIDS, epoch=1, seed=1, n_own=None, level=0.1, roll=0):
    """A batch of the same features for each uid, changed: [batch, frame, channel]"""
    batch = features.expand(len(uids), *features.shape)
    n_own = n_own or len(features)
    lengths = torch.full((len(uids),), (n_own - 0.5) / len(features))
    change = SpectrogramNoise(True, level, roll, seed)
    found = change(batch, lengths, uids, epoch)
    assert torch.equal(found[:, n_own:], batch[:, n_own:])  # padding
    return found


def test_noise_is_uniform_up_to_a_height_of_each_recordings_own():
    added = noisy(torch.zeros(200, 20), level=0.1)
    heights = added.amax(dim=(1, 2))
    assert (added >= 0).all() and heights.max() < 0.1
    assert heights.max() > 0.08 and heights.min() < 0.02
    assert added.mean(dim=(1, 2)) == pytest.approx(heights / 2, rel=0.05)


def test_frames_are_shifted_around_the_recordings_own_end():
    ramp = torch.arange(30.0).unsqueeze(1).expand(30, 4)
    shifts = []
    for recording in noisy(ramp, level=0.0, roll=5, n_own=20):
        shift = int(recording[:20, 0].argmin())  # frame 0 came here
        assert torch.equal(recording[:20], ramp[:20].roll(shift, dims=0))
        shifts.append(shift if shift < 10 else shift - 20)
    assert min(shifts) == -5 and max(shifts) == 5


def test_noise_is_each_recordings_own_and_repeats_with_its_key():
    features = noise(30, 8)
    found = noisy(features, roll=3)
    assert torch.equal(found, noisy(features, roll=3))
    assert len({tuple(recording.flatten().tolist()) for recording in found}) == 40
    assert not torch.equal(found, noisy(features, roll=3, epoch=2))
    assert not torch.equal(found, noisy(features, roll=3, seed=2))
    assert torch.equal(found[7], noisy(features, roll=3, uids=["r7"])[0])


def test_without_noise_nothing_changes():
    features = noise(2, 5, 4)
    off = SpectrogramNoise(False, 0.1, 10, seed=1)
    assert off(features, torch.ones(2), ["a", "b"], 1) is features


@pytest.mark.parametrize(("level", "roll"), [(-0.1, 0), (0.1, -1)])
def test_wrong_noise_is_refused(level, roll):
    with pytest.raises(
        ValueError, match="noise_level and noise_roll must be 0 or more"
    ):
        SpectrogramNoise(True, level, roll, seed=1)
