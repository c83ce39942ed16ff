"""Optimisers and schedules by name."""

import torch

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULERS = ("none", "onecycle")


def build_optimizer(parameters, name, lr, weight_decay):
    """An optimiser.

    Arguments
    ---------
    parameters : iterable of torch.nn.Parameter
    name : str
        `adam` or `adamw`.
    lr : float
    weight_decay : float

    Returns
    -------
    torch.optim.Optimizer

    Raises
    ------
    ValueError
        For another name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer_name {name!r} is none of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)


def build_scheduler(optimizer, steps_per_epoch, name, max_lr, number_of_epochs):
    """A learning-rate schedule that is stepped once per optimiser step.

    Arguments
    ---------
    optimizer : torch.optim.Optimizer
    steps_per_epoch : int
    name : str
        `none` or `onecycle` (Smith and Topin, arXiv 1708.07120).
    max_lr : float
        Peak of the one-cycle schedule.
    number_of_epochs : int

    Returns
    -------
    torch.optim.lr_scheduler.LRScheduler or None

    Raises
    ------
    ValueError
        For another name.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"scheduler {name!r} is none of {', '.join(SCHEDULERS)}")
    if name == "none":
        return None
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=max_lr,
        total_steps=steps_per_epoch * number_of_epochs,
    )
