"""model.losses: losses over rated labels, against torch's own and by hand."""

import math

import pytest
import torch

from local.model.losses import MaskedLoss

NAN = math.nan


def draw(n=6, n_labels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n_labels, generator=generator)
    targets = torch.randint(2, (n, n_labels), generator=generator).float()
    return logits, targets


def test_without_gaps_it_is_torchs():
    logits, targets = draw()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert MaskedLoss()(logits, targets).item() == pytest.approx(expected.item())


def test_gaps_are_left_out_of_the_mean():
    logits, targets = draw()
    targets[0, 0] = targets[3] = targets[5, 2] = NAN
    rated = ~targets.isnan()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[rated], targets[rated]
    )
    assert MaskedLoss()(logits, targets).item() == pytest.approx(expected.item())


def test_unrated_labels_give_no_gradient():
    logits, targets = draw()
    logits.requires_grad_()
    targets[:, 1] = NAN
    targets[0, 0] = NAN
    MaskedLoss()(logits, targets).backward()
    assert torch.equal(logits.grad == 0, targets.isnan())
    assert torch.isfinite(logits.grad).all()


def test_weights_of_positives_by_hand():
    """At a logit of 0 every loss is log 2; the positive of weight 3 counts thrice."""
    targets = torch.tensor([[1.0, 1.0], [0.0, NAN]])
    loss = MaskedLoss([3.0, 1.0])(torch.zeros(2, 2), targets)
    assert loss.item() == pytest.approx((3 + 1 + 1) / 3 * math.log(2))


def test_shares_of_raters_by_hand():
    """The loss of a yes and that of a no, by the share of raters that say each."""
    yes, no = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    logits, targets = torch.tensor([[2.0, 2.0]]), torch.tensor([[0.25, 0.5]])
    expected = (0.25 * yes + 0.75 * no + 0.5 * yes + 0.5 * no) / 2
    assert MaskedLoss()(logits, targets).item() == pytest.approx(expected)
    expected = (3 * 0.25 * yes + 0.75 * no + 0.5 * yes + 0.5 * no) / 2
    found = MaskedLoss([3.0, 1.0])(logits, targets)
    assert found.item() == pytest.approx(expected)


def test_a_weight_belongs_to_its_label():
    logits, targets = draw()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=torch.tensor([0.5, 2.0, 7.0])
    )
    found = MaskedLoss([0.5, 2.0, 7.0])(logits, targets)
    assert found.item() == pytest.approx(expected.item())


def test_nothing_rated_is_no_loss():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = MaskedLoss()(logits, torch.full((2, 3), NAN))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_soft_targets_of_a_mixup():
    """log 2 at a logit of 0, whatever the target."""
    loss = MaskedLoss()(torch.zeros(1, 2), torch.tensor([[0.3, 0.7]]))
    assert loss.item() == pytest.approx(math.log(2))


def test_logits_of_mixed_precision_are_taken_in_fp32():
    logits, targets = draw()
    loss = MaskedLoss()(logits.bfloat16(), targets)
    assert loss.dtype == torch.float32


# Scores


def test_a_score_has_the_squared_error_over_its_width():
    """(60 - 50) / 100 = 0.1 and (3 - 1) / 4 = 0.5; the mean of the squares."""
    loss = MaskedLoss(label_ranges=[[0, 100], [1, 5]])
    found = loss(torch.tensor([[60.0, 3.0]]), torch.tensor([[50.0, 1.0]]))
    assert found.item() == pytest.approx((0.1**2 + 0.5**2) / 2)


def test_scores_beside_labels_that_are_0_or_1():
    logits, targets = draw(n_labels=3)
    logits[:, 1], targets[:, 1] = torch.arange(6) * 10.0, torch.full((6,), 37.5)
    targets[2] = targets[0, 1] = targets[4, 2] = NAN
    loss = MaskedLoss([2.0, 1.0, 0.5], [None, [0.0, 50.0], None])
    total, n = 0.0, 0
    for row in range(6):
        for column in range(3):
            logit, target = logits[row, column].item(), targets[row, column].item()
            if math.isnan(target):
                continue
            n += 1
            if column == 1:
                total += ((logit - target) / 50) ** 2
            elif target == 1:
                total += [2.0, None, 0.5][column] * math.log(1 + math.exp(-logit))
            else:
                total += math.log(1 + math.exp(logit))
    assert n == 18 - 3 - 2
    assert loss(logits, targets).item() == pytest.approx(total / n, rel=1e-5)


def test_gradient_of_a_score():
    """d/dx ((x - 40) / 100)² / 1 cell at 60: 2 · 20 / 100²; nothing where unrated."""
    logits = torch.tensor([[60.0, 5.0]], requires_grad=True)
    loss = MaskedLoss(label_ranges=[[0.0, 100.0], [0.0, 100.0]])
    loss(logits, torch.tensor([[40.0, NAN]])).backward()
    assert logits.grad.tolist()[0] == pytest.approx([0.004, 0])


def test_ranges_that_are_all_none_are_no_scores():
    logits, targets = draw()
    plain = MaskedLoss()(logits, targets)
    assert MaskedLoss(label_ranges=[None] * 3)(logits, targets) == plain


def test_large_scores_of_mixed_precision_stay_exact():
    """1000 and 1001 are one number in bfloat16's 8 bits, and the targets are fp32."""
    loss = MaskedLoss(label_ranges=[[0.0, 1.0]])
    found = loss(torch.tensor([[1000.0]]).bfloat16(), torch.tensor([[1001.0]]))
    assert (found.item(), found.dtype) == (1, torch.float32)


def test_no_score_rated_is_no_loss():
    logits = torch.randn(2, 1, requires_grad=True)
    loss = MaskedLoss(label_ranges=[[0.0, 9.0]])(logits, torch.full((2, 1), NAN))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
