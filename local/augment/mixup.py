"""Mixup: two recordings and their labels in one."""

import numpy as np
import torch

from local.utils.keyed_random import keyed_generator, uniform


class Mixup(torch.nn.Module):
    """Mix recordings of a batch with another one, and their labels alike (Zhang et
    al., ICLR 2018; for sound Tokozume et al., ICLR 2018).

    The recording's share is drawn from Beta(10, 10), near one half. A label that is
    not rated in one of the two is not rated in the mixture.

    probability: Share of recordings that are mixed, 0 (off) to 1.
    equal_level: Bring the other recording to the level (root mean square) of this one
        first, so that what is heard of each is what the labels say. False mixes the
        samples as they are.

    Raises ValueError: for a probability outside 0 to 1.

    >>> mixup = Mixup(1.0, equal_level=False, seed=1)
    >>> batch = torch.eye(2), torch.ones(2), ["a", "b"]
    >>> waveforms = mixup(*batch, epoch=1)
    >>> targets = mixup.mix_targets(torch.eye(2), ["a", "b"], epoch=1)
    >>> torch.equal(waveforms, targets), waveforms.sum(dim=1)
    (True, tensor([1., 1.]))
    """

    #: Both parameters of the Beta distribution, from the original project.
    ALPHA = 10

    def __init__(self, probability: float, equal_level: bool, seed: int):
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"mixup must lie in 0 to 1: {probability}")
        self.probability = probability
        self.equal_level = equal_level
        self.seed = seed

    def forward(
        self,
        waveforms: torch.Tensor,
        lengths: torch.Tensor,
        uids: list[str],
        epoch: int,
    ) -> torch.Tensor:
        """Mix the waveforms of a batch.

        Every recording keeps its own length: the other one is cut, or ends before it.

        waveforms: [batch, time]
        lengths: Relative, [batch].

        Returns: [batch, time]
        """
        if not self.probability:
            return waveforms
        n_samples = torch.round(lengths * waveforms.shape[1]).long().tolist()
        mixed = waveforms.clone()
        for i, partner, share in self._pairs(uids, epoch):
            own, other = waveforms[i, : n_samples[i]], waveforms[partner]
            other = other[: n_samples[partner]][: len(own)]
            if self.equal_level:
                other = other * _level_ratio(own, other)
            mixed[i, : len(own)] = share * own
            mixed[i, : len(other)] += (1 - share) * other
        return mixed

    def mix_targets(
        self, targets: torch.Tensor, uids: list[str], epoch: int
    ) -> torch.Tensor:
        """Mix the targets as `forward` mixes the waveforms of the same recordings.

        targets: [batch, label], NaN where not rated.

        Returns: [batch, label]
        """
        if not self.probability:
            return targets
        mixed = targets.clone()
        for i, partner, share in self._pairs(uids, epoch):
            mixed[i] = share * targets[i] + (1 - share) * targets[partner]
        return mixed

    def _pairs(self, uids, epoch):
        """(index, the other one's index, share) of every recording that is mixed."""
        for i, uid in enumerate(uids):
            generator = keyed_generator("mixup", self.seed, epoch, uid)
            if uniform(0, 1, generator) >= self.probability or len(uids) < 2:
                continue
            partner = int(uniform(0, len(uids) - 1, generator))
            # torch's Beta distribution takes no generator of its own
            seed = torch.randint(2**62, (), generator=generator).item()
            share = np.random.default_rng(seed).beta(self.ALPHA, self.ALPHA)
            yield i, partner + (partner >= i), share


def _level_ratio(own, other):
    """The factor that brings `other` to the level of `own`; 1 where one is silent."""
    levels = [waveform.square().mean().sqrt().item() for waveform in (own, other)]
    return levels[0] / levels[1] if min(levels) > 0 else 1.0
