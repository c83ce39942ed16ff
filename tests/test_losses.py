"""local.losses: cross-entropy over rated labels, against torch's own and by hand."""

import math

import pytest
import torch

from local.losses import MaskedBCE

NAN = math.nan


def draw(n=6, n_labels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n_labels, generator=generator)
    targets = torch.randint(2, (n, n_labels), generator=generator).float()
    return logits, targets


def test_without_gaps_it_is_torchs():
    logits, targets = draw()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert MaskedBCE()(logits, targets).item() == pytest.approx(expected.item())


def test_gaps_are_left_out_of_the_mean():
    logits, targets = draw()
    targets[0, 0] = targets[3] = targets[5, 2] = NAN
    rated = ~targets.isnan()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[rated], targets[rated]
    )
    assert MaskedBCE()(logits, targets).item() == pytest.approx(expected.item())


def test_unrated_labels_give_no_gradient():
    logits, targets = draw()
    logits.requires_grad_()
    targets[:, 1] = NAN
    targets[0, 0] = NAN
    MaskedBCE()(logits, targets).backward()
    assert torch.equal(logits.grad == 0, targets.isnan())
    assert torch.isfinite(logits.grad).all()


def test_weights_of_positives_by_hand():
    """At a logit of 0 every loss is log 2; the positive of weight 3 counts thrice."""
    targets = torch.tensor([[1.0, 1.0], [0.0, NAN]])
    loss = MaskedBCE([3.0, 1.0])(torch.zeros(2, 2), targets)
    assert loss.item() == pytest.approx((3 + 1 + 1) / 3 * math.log(2))


def test_a_weight_belongs_to_its_label():
    logits, targets = draw()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=torch.tensor([0.5, 2.0, 7.0])
    )
    found = MaskedBCE([0.5, 2.0, 7.0])(logits, targets)
    assert found.item() == pytest.approx(expected.item())


def test_nothing_rated_is_no_loss():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = MaskedBCE()(logits, torch.full((2, 3), NAN))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_soft_targets_of_a_mixup():
    """log 2 at a logit of 0, whatever the target."""
    loss = MaskedBCE()(torch.zeros(1, 2), torch.tensor([[0.3, 0.7]]))
    assert loss.item() == pytest.approx(math.log(2))


def test_logits_of_mixed_precision_are_taken_in_fp32():
    logits, targets = draw()
    loss = MaskedBCE()(logits.bfloat16(), targets)
    assert loss.dtype == torch.float32
