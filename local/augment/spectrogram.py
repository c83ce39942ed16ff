"""What training does to normalised features: masks, noise and shifts in time.

All of it is drawn anew for every recording and epoch.
"""

import torch

from local.model.front_end import frame_counts
from local.utils.keyed_random import keyed_generator, uniform


class SpectrogramMask(torch.nn.Module):
    """Hide a band of channels and a span of frames of every recording (SpecAugment,
    Park et al., Interspeech 2019), each recording's own.

    Comes after the normalisation. Hidden cells hold the mean that their channel has in
    the recording: 0 where each recording was normalised by its own mean.

    freqm: Largest number of channels hidden; 0 = none.
    timem: Largest number of frames hidden, and half of a recording at most; 0 = none.

    >>> mask = SpectrogramMask(freqm=2, timem=3, seed=1)
    >>> features = torch.randn(1, 20, 8)
    >>> masked = mask(features, torch.ones(1), ["a"], epoch=1)
    >>> bool((masked != features).any())
    True
    """

    def __init__(self, freqm: int, timem: int, seed: int):
        super().__init__()
        if freqm < 0 or timem < 0:
            raise ValueError(f"freqm and timem must be 0 or more: {freqm}, {timem}")
        self.freqm, self.timem, self.seed = freqm, timem, seed

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor, uids: list[str], epoch: int
    ) -> torch.Tensor:
        """Mask a batch.

        features: [batch, frame, channel]
        lengths: Relative, [batch]; a span of frames lies inside its recording.

        Returns: [batch, frame, channel]
        """
        if not (self.freqm or self.timem):
            return features
        masked = features.clone()
        n_frames = frame_counts(lengths, features.shape[1]).tolist()
        for recording, n, uid in zip(masked, n_frames, uids, strict=True):
            generator = keyed_generator("mask", self.seed, epoch, uid)
            means = recording[:n].mean(dim=0)
            recording[_span(n, min(self.timem, n // 2), generator)] = means
            band = _span(len(means), self.freqm, generator)
            recording[:n, band] = means[band]
        return masked


def _span(size, widest, generator):
    width = int(uniform(0, min(widest, size) + 1, generator))
    start = int(uniform(0, size - width + 1, generator))
    return slice(start, start + width)


class SpectrogramNoise(torch.nn.Module):
    """Add uniform noise to every cell and shift the frames around the recording's
    end (Gong et al., AST, Interspeech 2021), each recording its own.

    Comes after normalisation and masks.

    noise: Whether to do so at all.
    noise_level: The noise is drawn from 0 to a height that is itself drawn from 0 to
        this, in units of the normalised features.
    noise_roll: Largest shift to either side, in frames.

    >>> noise = SpectrogramNoise(True, noise_level=0.1, noise_roll=0, seed=1)
    >>> noisy = noise(torch.zeros(1, 20, 8), torch.ones(1), ["a"], epoch=1)
    >>> bool(0 < noisy.max() < 0.1)
    True
    """

    def __init__(self, noise: bool, noise_level: float, noise_roll: int, seed: int):
        super().__init__()
        if noise_level < 0 or noise_roll < 0:
            raise ValueError(
                "noise_level and noise_roll must be 0 or more: "
                f"{noise_level}, {noise_roll}"
            )
        self.noise, self.seed = noise, seed
        self.noise_level, self.noise_roll = noise_level, noise_roll

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor, uids: list[str], epoch: int
    ) -> torch.Tensor:
        """Change a batch; padding stays as it is.

        features: [batch, frame, channel]
        lengths: Relative, [batch].

        Returns: [batch, frame, channel]
        """
        if not self.noise:
            return features
        changed = features.clone()
        n_frames = frame_counts(lengths, features.shape[1]).tolist()
        for recording, n, uid in zip(changed, n_frames, uids, strict=True):
            generator = keyed_generator("noise", self.seed, epoch, uid)
            height = uniform(0, self.noise_level, generator)
            noise = torch.rand(n, recording.shape[1], generator=generator) * height
            shift = round(uniform(-self.noise_roll, self.noise_roll, generator))
            own = recording[:n] + noise.to(recording)
            recording[:n] = own.roll(shift, dims=0)
        return changed
