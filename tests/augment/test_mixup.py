"""augment.mixup: two recordings and their labels in one."""

import pytest
import torch

from local.augment.mixup import Mixup

UIDS = [f"r{i}" for i in range(60)]
NAN = float("nan")


def one_hot():
    """Recordings that tell which ones are in a mixture, and of how much: [60, 60]"""
    return torch.eye(len(UIDS))


def mix(mixup, waveforms, lengths=None, uids=UIDS, epoch=1):
    lengths = torch.ones(len(waveforms)) if lengths is None else torch.tensor(lengths)
    return mixup(waveforms, lengths, uids[: len(waveforms)], epoch)


def test_a_mixture_holds_two_recordings():
    mixed = mix(Mixup(1.0, equal_level=False, seed=1), one_hot())
    assert ((mixed > 0).sum(dim=1) == 2).all()
    assert mixed.sum(dim=1) == pytest.approx(torch.ones(60))
    assert (mixed.diagonal() > 0).all()
    partners = (mixed - mixed.diagonal().diag()).argmax(dim=1)
    assert len(set(partners.tolist())) > 30


def test_shares_are_drawn_from_beta_10_10():
    """Mean 1/2, variance 1 / (4 * 21) = 0.0119, standard deviation 0.109."""
    mixup = Mixup(1.0, equal_level=False, seed=1)
    shares = torch.cat([mix(mixup, one_hot(), epoch=e).diagonal() for e in range(20)])
    assert shares.mean() == pytest.approx(0.5, abs=0.01)
    assert shares.std() == pytest.approx(0.109, abs=0.006)


def test_labels_are_mixed_like_the_waveforms():
    mixup = Mixup(0.5, equal_level=False, seed=1)
    waveforms = mix(mixup, one_hot())
    assert torch.equal(mixup.mix_targets(one_hot(), UIDS, 1), waveforms)


def test_what_is_not_rated_in_one_is_not_rated_in_the_mixture():
    mixup = Mixup(1.0, equal_level=False, seed=1)
    targets = torch.tensor([[1.0, NAN, 0.0], [0.0, 1.0, NAN]])
    mixed = mixup.mix_targets(targets, ["a", "b"], 1)
    assert torch.equal(mixed.isnan(), torch.tensor([[False, True, True]] * 2))
    assert ((mixed[:, 0] > 0) & (mixed[:, 0] < 1)).all()
    assert targets[0, 0] == 1  # not in place


def test_the_probability_is_the_share_that_is_mixed():
    mixup = Mixup(0.25, equal_level=False, seed=1)
    n = sum(
        (mix(mixup, one_hot(), epoch=e).diagonal() < 1).sum().item() for e in range(10)
    )
    assert 110 < n < 190  # 150 of 600, with a standard deviation of 10.6


def test_both_are_brought_to_the_level_of_the_first():
    loud, quiet = torch.tensor([[8.0, -8.0, 0, 0], [0, 0, 0.5, -0.5]])
    mixed = mix(Mixup(1.0, equal_level=True, seed=1), torch.stack([loud, quiet]))
    for row, level in zip(mixed, (8.0, 0.5), strict=True):
        assert row[0].abs() + row[2].abs() == pytest.approx(level)
    raw = mix(Mixup(1.0, equal_level=False, seed=1), torch.stack([loud, quiet]))
    share = raw[0, 0] / 8
    assert raw[0, 2] == pytest.approx((1 - share) * 0.5)


def test_silence_stays_finite():
    waveforms = torch.zeros(3, 100)
    waveforms[0] = torch.randn(100)
    mixed = mix(Mixup(1.0, equal_level=True, seed=1), waveforms)
    assert mixed.isfinite().all()


def test_every_recording_keeps_its_length_and_padding_stays_silent():
    waveforms = torch.ones(2, 100)
    waveforms[1, 40:] = 0
    mixed = mix(Mixup(1.0, equal_level=False, seed=1), waveforms, [1.0, 0.4])
    assert (mixed[1, 40:] == 0).all()
    assert mixed[1, :40] == pytest.approx(torch.ones(40))
    share = mixed[0, 40]  # the other one has ended
    assert 0 < share < 1 and (mixed[0, 40:] == share).all()


def test_draws_repeat_with_their_key():
    mixup = Mixup(1.0, equal_level=False, seed=1)
    first = mix(mixup, one_hot())
    torch.manual_seed(3)
    assert torch.equal(first, mix(mixup, one_hot()))
    assert not torch.equal(first, mix(mixup, one_hot(), epoch=2))
    other = Mixup(1.0, equal_level=False, seed=2)
    assert not torch.equal(first, mix(other, one_hot()))


def test_off_and_alone_nothing_changes():
    waveforms = torch.randn(3, 50)
    assert torch.equal(mix(Mixup(0.0, True, seed=1), waveforms), waveforms)
    assert torch.equal(mix(Mixup(1.0, True, seed=1), waveforms[:1]), waveforms[:1])


@pytest.mark.parametrize("probability", [-0.1, 1.1, NAN])
def test_wrong_probabilities_are_refused(probability):
    with pytest.raises(ValueError, match="mixup must lie in 0 to 1"):
        Mixup(probability, True, seed=1)
