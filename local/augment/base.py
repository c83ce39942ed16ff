"""Waveform augmentation, drawn anew for every recording and epoch.

A transform is a `Transform`: its `probability`, and a method `apply_to` that takes
one recording and a generator; `local.augment.waveform` holds those there are.
`Augmentation` calls the transforms of its list in order.
"""

import math
import numbers

import torch
from speechbrain.utils.autocast import fwd_default_precision

from local.utils.keyed_random import keyed_generator, uniform


class Transform(torch.nn.Module):
    """A change of one recording, made with a probability.

    probability: Share of recordings that are changed, 0 (off) to 1.
    **ranges ((low, high) or float): Ranges that parameters are drawn from, checked here
        and kept as attributes; a single number is always drawn.

    Raises ValueError: for a probability outside 0 to 1 or a range that is none.

    >>> transform = Transform(0.5, gain_range=3, snr_range=[10, 30])
    >>> transform.gain_range, transform.snr_range
    ((3.0, 3.0), (10.0, 30.0))
    """

    def __init__(self, probability: float, **ranges):
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(
                f"{type(self).__name__}: probability must lie in 0 to 1: {probability}"
            )
        self.probability = probability
        for name, bounds in ranges.items():
            setattr(self, name, _low_and_high(f"{type(self).__name__}: {name}", bounds))

    @property
    def name(self):
        """What it is called, which its random numbers are keyed by."""
        return type(self).__name__

    def require(self, name: str, lowest: float = -math.inf, highest: float = math.inf):
        """Refuse a range that leaves the values a transform can work with.

        name: The range's, as given to the constructor.

        Raises ValueError: if the range goes below `lowest` or above `highest`.
        """
        low, high = getattr(self, name)
        if lowest <= low and high <= highest:
            return
        limits = f"lie in {lowest:g} to {highest:g}"
        if highest == math.inf:
            limits = f"be {lowest:g} or more"
        raise ValueError(f"{type(self).__name__}: {name} must {limits}: {[low, high]}")

    def forward(
        self, waveform: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Change one recording, or not.

        waveform: [time]
        generator: Where every random number comes from.

        Returns: [time]; may be of another length. A recording without samples stays so.
        """
        # in this order: what is off draws nothing
        if not self.probability or uniform(0, 1, generator) >= self.probability:
            return waveform
        if not len(waveform):
            return waveform
        return self.apply_to(waveform, generator)

    def apply_to(self, waveform, generator):
        """The change itself: waveform [time] → [time]."""
        raise NotImplementedError


def _low_and_high(name, bounds):
    """A range as two floats; ValueError if it is none."""
    if isinstance(bounds, numbers.Real):
        bounds = (bounds, bounds)
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"{name} must be [low, high] or one number: {bounds}")
    return low, high


class Augmentation(torch.nn.Module):
    """Call transforms in order on every recording of a batch.

    Each recording is changed on its own, at its own length, so padding stays silent
    and the lengths stay true. The cheap changes (gain, noise, shift) take below 1 ms a
    recording that way, of about 100 ms that training on it takes.

    Every transform draws from a generator of its own, keyed by its name: one more, or
    one that is switched on, leaves the draws of the others as they are.

    min_samples: A change that would leave less than this is not made.

    >>> from local.augment.waveform import Speed
    >>> augment = Augmentation([Speed(1.0, (0.5, 0.5))], seed=1)
    >>> waveforms, lengths = augment(
    ...     torch.ones(2, 1000), torch.tensor([1.0, 0.5]), ["a", "b"], epoch=1
    ... )
    >>> waveforms.shape, lengths
    (torch.Size([2, 2000]), tensor([1.0000, 0.5000]))
    """

    def __init__(self, transforms: list[Transform], seed: int, min_samples: int = 0):
        super().__init__()
        self.transforms = torch.nn.ModuleList(transforms)
        names = [transform.name for transform in transforms]
        self.keys = [(name, names[:i].count(name)) for i, name in enumerate(names)]
        self.seed = seed
        self.min_samples = min_samples

    # resampling is a convolution, which autocast would do in half precision
    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(
        self,
        waveforms: torch.Tensor,
        lengths: torch.Tensor,
        uids: list[str],
        epoch: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment a batch.

        waveforms: [batch, time]
        lengths: Relative, [batch].

        Returns waveforms: [batch, time]
        Returns lengths: Relative, [batch].
        """
        if not any(transform.probability for transform in self.transforms):
            return waveforms, lengths
        n_samples = torch.round(lengths * waveforms.shape[1]).long().tolist()
        changed = []
        for waveform, n, uid in zip(waveforms, n_samples, uids, strict=True):
            changed.append(self._augment(waveform[:n], uid, epoch))
        padded = torch.nn.utils.rnn.pad_sequence(changed, batch_first=True)
        new_lengths = lengths.new_tensor([len(waveform) for waveform in changed])
        return padded, new_lengths / padded.shape[1]

    def _augment(self, waveform, uid, epoch):
        """One recording through all transforms: [time] → [time]"""
        for transform, key in zip(self.transforms, self.keys, strict=True):
            generator = keyed_generator("augment", self.seed, epoch, uid, *key)
            changed = transform(waveform, generator)
            if len(changed) >= min(self.min_samples, len(waveform)):
                waveform = changed
        return waveform
