"""Optimisers and schedules by name."""

import torch

from local.utils.keys import KEYS

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULERS = KEYS["scheduler"].choices

#: Where a group of weights has the peak of its own.
PEAK = "peak_lr"


def build_optimizer(
    parameters, name: str, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimiser.

    parameters: iterable of torch.nn.Parameter
    name: `adam` or `adamw`.

    Raises ValueError: for another name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer_name {name!r} is none of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)


def set_encoder_lr(
    optimizer: torch.optim.Optimizer, encoder: torch.nn.Module, encoder_lr: float
):
    """Give the encoder's weights a learning rate of their own.

    encoder_lr: With the one-cycle schedule its peak.
    """
    own = set(map(id, encoder.parameters()))
    for group in list(optimizer.param_groups):
        weights = [weight for weight in group["params"] if id(weight) in own]
        if weights:
            group["params"] = [each for each in group["params"] if id(each) not in own]
            rates = {"lr": encoder_lr, PEAK: encoder_lr}
            optimizer.add_param_group(group | rates | {"params": weights})


def build_scheduler(
    optimizer: torch.optim.Optimizer,
    steps_per_epoch: int,
    name: str,
    max_lr: float,
    number_of_epochs: int,
):
    """A learning-rate schedule that is stepped once per optimiser step.

    name: `none` or `onecycle` (Smith and Topin, arXiv 1708.07120).
    max_lr: Peak of the one-cycle schedule, but for weights with a rate of their own.

    Returns torch.optim.lr_scheduler.LRScheduler or None
    Raises ValueError: for another name.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"scheduler {name!r} is none of {', '.join(SCHEDULERS)}")
    if name == "none":
        return None
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group.get(PEAK, max_lr) for group in optimizer.param_groups],
        total_steps=steps_per_epoch * number_of_epochs,
    )


class SinceStep:
    """What happened since the optimiser's last step, in case the next is skipped."""

    def __init__(self, modules: torch.nn.Module):
        self.statistics = [
            statistic
            for module in modules.modules()
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
            for statistic in module.buffers()
        ]
        self.clear()

    def clear(self):
        """Begin anew, after a step."""
        self.uids, self.loss_is_finite, self.kept = [], True, []

    def begin(self, uids):
        """Note a batch's recordings, and keep the running statistics before the first.

        Batch normalisation changes them in the forward pass: one that gave no numbers
        would stay in them, though its step is skipped.
        """
        if not self.uids:
            self.kept = [statistic.clone() for statistic in self.statistics]
        self.uids += uids

    @torch.no_grad()
    def restore_statistics(self):
        """Bring back what the batches since the last step have changed."""
        for statistic, kept in zip(self.statistics, self.kept, strict=False):
            statistic.copy_(kept)
