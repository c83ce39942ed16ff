"""training.optimizers: optimisers and schedules by name."""

import pytest
import torch

from local.training.optimizers import (
    build_optimizer,
    build_scheduler,
    set_encoder_lr,
)


def weight():
    return torch.nn.Parameter(torch.tensor([1.0]))


@pytest.mark.parametrize(
    ("name", "expected"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_optimizers_by_name(name, expected):
    optimizer = build_optimizer([weight()], name, lr=0.1, weight_decay=0.01)
    assert type(optimizer) is expected
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.param_groups[0]["weight_decay"] == 0.01


def test_adamw_decays_the_weight_itself():
    """Without a gradient: 1 - lr * weight_decay; Adam has nothing to scale there."""
    parameter = weight()
    optimizer = build_optimizer([parameter], "adamw", lr=0.1, weight_decay=0.5)
    parameter.grad = torch.zeros(1)
    optimizer.step()
    assert parameter.item() == pytest.approx(0.95)


@pytest.mark.parametrize("name", ["sgd", "Adam", "", None])
def test_other_optimizers_are_refused(name):
    with pytest.raises(ValueError, match="none of adam, adamw"):
        build_optimizer([weight()], name, lr=0.1, weight_decay=0)


def test_one_cycle_rises_to_its_peak_and_ends_low():
    optimizer = build_optimizer([weight()], "adamw", lr=3e-4, weight_decay=0)
    scheduler = build_scheduler(
        optimizer, 5, "onecycle", max_lr=0.01, number_of_epochs=4
    )
    rates = []
    for _ in range(5 * 4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(0.01)
    assert 0 < rates.index(max(rates)) < 10
    assert rates[0] == pytest.approx(0.01 / 25)  # torch's default division
    assert rates[-1] < rates[0] / 100
    with pytest.raises(ValueError, match="steps"):
        scheduler.step()  # of a batch too many


def test_an_encoder_with_a_rate_of_its_own():
    """Each weight is in one group, and the one-cycle schedule has a peak for each."""
    model = torch.nn.ModuleDict(
        {"e": torch.nn.Linear(2, 2), "c": torch.nn.Linear(2, 1)}
    )
    optimizer = build_optimizer(model.parameters(), "adamw", lr=0.1, weight_decay=0.3)
    set_encoder_lr(optimizer, model["e"], 0.01)
    others, own = optimizer.param_groups
    assert others["params"] == [*model["c"].parameters()]
    assert own["params"] == [*model["e"].parameters()]
    assert (others["lr"], own["lr"], own["weight_decay"]) == (0.1, 0.01, 0.3)
    scheduler = build_scheduler(optimizer, 5, "onecycle", 0.2, number_of_epochs=2)
    rates = []
    for _ in range(9):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert [max(rate) for rate in zip(*rates, strict=True)] == pytest.approx(
        [0.2, 0.01]
    )


def test_no_schedule():
    optimizer = build_optimizer([weight()], "adam", lr=0.1, weight_decay=0)
    assert build_scheduler(optimizer, 5, "none", 0.01, 4) is None


def test_other_schedules_are_refused():
    optimizer = build_optimizer([weight()], "adam", lr=0.1, weight_decay=0)
    with pytest.raises(ValueError, match="none of none, onecycle"):
        build_scheduler(optimizer, 5, "cosine", 0.01, 4)
