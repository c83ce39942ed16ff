"""Optimisers and schedules by name."""

import torch

from local.utils.keys import KEYS

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
SCHEDULERS = KEYS["scheduler"].choices


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


def build_scheduler(
    optimizer: torch.optim.Optimizer,
    steps_per_epoch: int,
    name: str,
    max_lr: float,
    number_of_epochs: int,
):
    """A learning-rate schedule that is stepped once per optimiser step.

    name: `none` or `onecycle` (Smith and Topin, arXiv 1708.07120).
    max_lr: Peak of the one-cycle schedule.

    Returns torch.optim.lr_scheduler.LRScheduler or None
    Raises ValueError: for another name.
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
