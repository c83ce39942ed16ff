"""Waveform augmentation, drawn anew for every recording and epoch.

A transform is a `Transform`: its `probability`, and a method `apply` that takes one
recording and a generator. `Augmentation` calls the transforms of its list in order.
"""

import torch
import torchaudio

from local.randomness import keyed_generator, uniform


class Transform(torch.nn.Module):
    """A change of one recording, made with a probability.

    Arguments
    ---------
    probability : float
        Share of recordings that are changed, 0 (off) to 1.
    **ranges : (low, high)
        Ranges that parameters are drawn from, checked here and kept as attributes.

    Raises
    ------
    ValueError
        For a probability outside 0 to 1 or a range that is none.
    """

    def __init__(self, probability, **ranges):
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must lie in 0 to 1: {probability}")
        self.probability = probability
        for name, bounds in ranges.items():
            low, high = bounds
            if not low <= high:
                raise ValueError(f"{name} must be [low, high]: {list(bounds)}")
            setattr(self, name, (float(low), float(high)))

    def forward(self, waveform, generator):
        """Change one recording, or not.

        Arguments
        ---------
        waveform : torch.Tensor
            [time]
        generator : torch.Generator
            Where every random number comes from.

        Returns
        -------
        torch.Tensor
            [time]; may be of another length.
        """
        if uniform(0, 1, generator) >= self.probability:
            return waveform
        return self.apply_to(waveform, generator)

    def apply_to(self, waveform, generator):
        """The change itself: waveform [time] → [time]."""
        raise NotImplementedError


class Speed(Transform):
    """Play a recording faster or slower; pitch and formants move with the speed.

    Arguments
    ---------
    probability : float
    speed_range : (float, float)
        Ratio of speeds: 1.1 is 10 % faster, and as much shorter.

    Example
    -------
    >>> speed = Speed(1.0, (1.25, 1.25))
    >>> speed(torch.randn(16000), keyed_generator("example")).shape
    torch.Size([12800])
    """

    #: Steps in which the ratio is drawn; resampling is fast for small numbers.
    STEPS = 100

    def __init__(self, probability, speed_range):
        super().__init__(probability, speed_range=speed_range)
        if self.speed_range[0] <= 0:
            raise ValueError(f"speed_range must be above 0: {list(speed_range)}")

    def apply_to(self, waveform, generator):
        """Resample as if the recording had been made at another rate."""
        ratio = round(uniform(*self.speed_range, generator) * self.STEPS) / self.STEPS
        return torchaudio.functional.resample(
            waveform, round(ratio * self.STEPS), self.STEPS
        )


class WhiteNoise(Transform):
    """Add white noise at a signal-to-noise ratio.

    Arguments
    ---------
    probability : float
    snr_range : (float, float)
        Ratio of the recording's power to the noise's in dB.

    Example
    -------
    >>> noise = WhiteNoise(1.0, (20, 20))
    >>> clean = torch.sin(torch.arange(16000.0))
    >>> added = noise(clean, keyed_generator("example")) - clean
    >>> round(10 * torch.log10(clean.square().mean() / added.square().mean()).item())
    20
    """

    def __init__(self, probability, snr_range):
        super().__init__(probability, snr_range=snr_range)

    def apply_to(self, waveform, generator):
        """Noise of the recording's own level, silence stays silent."""
        snr_db = uniform(*self.snr_range, generator)
        noise = torch.randn(waveform.shape, generator=generator).to(waveform)
        scale = waveform.square().mean().sqrt() * 10 ** (-snr_db / 20)
        return waveform + noise * scale


class EdgeSilence(Transform):
    """Put digital silence before and after a recording.

    Recordings that end in their own room noise otherwise never show a model what
    silence below that noise looks like.

    Arguments
    ---------
    probability : float
    silence_range : (float, float)
        Length of the silence at either end in s.
    sample_rate : int
        Hz.

    Example
    -------
    >>> silence = EdgeSilence(1.0, (0.5, 0.5), sample_rate=4)
    >>> silence(torch.ones(3), keyed_generator("example"))
    tensor([0., 0., 1., 1., 1., 0., 0.])
    """

    def __init__(self, probability, silence_range, sample_rate):
        super().__init__(probability, silence_range=silence_range)
        if self.silence_range[0] < 0:
            raise ValueError(f"silence_range must be 0 or more: {list(silence_range)}")
        self.sample_rate = sample_rate

    def apply_to(self, waveform, generator):
        """Two lengths are drawn, one for each end."""
        lengths = [
            round(uniform(*self.silence_range, generator) * self.sample_rate)
            for _ in range(2)
        ]
        return torch.nn.functional.pad(waveform, lengths)


class Augmentation(torch.nn.Module):
    """Call transforms in order on every recording of a batch.

    Each recording is changed at its own length, so padding stays silent and the
    lengths stay true.

    Arguments
    ---------
    transforms : list of Transform
    seed : int

    Example
    -------
    >>> augment = Augmentation([Speed(1.0, (0.5, 0.5))], seed=1)
    >>> waveforms, lengths = augment(
    ...     torch.ones(2, 1000), torch.tensor([1.0, 0.5]), ["a", "b"], epoch=1
    ... )
    >>> waveforms.shape, lengths
    (torch.Size([2, 2000]), tensor([1.0000, 0.5000]))
    """

    def __init__(self, transforms, seed):
        super().__init__()
        self.transforms = torch.nn.ModuleList(transforms)
        self.seed = seed

    def forward(self, waveforms, lengths, uids, epoch):
        """Augment a batch.

        Arguments
        ---------
        waveforms : torch.Tensor
            [batch, time]
        lengths : torch.Tensor
            Relative, [batch].
        uids : list of str
        epoch : int

        Returns
        -------
        waveforms : torch.Tensor
            [batch, time]
        lengths : torch.Tensor
            Relative, [batch].
        """
        if not any(transform.probability for transform in self.transforms):
            return waveforms, lengths
        n_samples = torch.round(lengths * waveforms.shape[1]).long().tolist()
        changed = []
        for waveform, n, uid in zip(waveforms, n_samples, uids, strict=True):
            generator = keyed_generator("augment", self.seed, epoch, uid)
            waveform = waveform[:n]
            for transform in self.transforms:
                waveform = transform(waveform, generator)
            changed.append(waveform)
        padded = torch.nn.utils.rnn.pad_sequence(changed, batch_first=True)
        new_lengths = lengths.new_tensor([len(waveform) for waveform in changed])
        return padded, new_lengths / padded.shape[1]
