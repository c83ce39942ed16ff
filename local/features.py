"""Front ends and what happens to features on their way to the model."""

import torch
import torchaudio.compliance.kaldi as kaldi
from speechbrain.utils.autocast import fwd_default_precision

from local.randomness import keyed_generator, uniform


class KaldiFbank(torch.nn.Module):
    """Log-mel filterbank energies as Kaldi computes them.

    Hanning window of 25 ms, hop of 10 ms, no dither, no energy, HTK layout
    (`torchaudio.compliance.kaldi.fbank`).

    Arguments
    ---------
    sample_rate : int
        Hz.
    n_mels : int
        Number of mel filters.

    Example
    -------
    >>> KaldiFbank(n_mels=40)(torch.randn(2, 16000)).shape
    torch.Size([2, 98, 40])
    """

    def __init__(self, sample_rate=16000, n_mels=128):
        super().__init__()
        self.sample_rate = sample_rate
        self.n_mels = n_mels

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, waveforms):
        """Compute features.

        Arguments
        ---------
        waveforms : torch.Tensor
            [batch, time]

        Returns
        -------
        torch.Tensor
            [batch, frame, mel]
        """
        return torch.stack([self._one(waveform) for waveform in waveforms])

    def _one(self, waveform):
        return kaldi.fbank(
            waveform.unsqueeze(0),
            sample_frequency=self.sample_rate,
            htk_compat=True,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=self.n_mels,
            dither=0.0,
            frame_shift=10,
        )


class SpectrogramMask(torch.nn.Module):
    """Hide a band of channels and a span of frames of every recording (SpecAugment,
    Park et al., Interspeech 2019), each recording's own.

    Comes after the normalisation: 0, the mean, is what hidden cells hold.

    Arguments
    ---------
    freqm : int
        Largest number of channels hidden; 0 = none.
    timem : int
        Largest number of frames hidden; 0 = none.
    seed : int

    Example
    -------
    >>> mask = SpectrogramMask(freqm=2, timem=3, seed=1)
    >>> mask(torch.ones(1, 20, 8), torch.ones(1), ["a"], epoch=1).sum() < 160
    tensor(True)
    """

    def __init__(self, freqm, timem, seed):
        super().__init__()
        if freqm < 0 or timem < 0:
            raise ValueError(f"freqm and timem must be 0 or more: {freqm}, {timem}")
        self.freqm, self.timem, self.seed = freqm, timem, seed

    def forward(self, features, lengths, uids, epoch):
        """Mask a batch.

        Arguments
        ---------
        features : torch.Tensor
            [batch, frame, channel]
        lengths : torch.Tensor
            Relative, [batch]; a span of frames lies inside its recording.
        uids : list of str
        epoch : int

        Returns
        -------
        torch.Tensor
            [batch, frame, channel]
        """
        if not (self.freqm or self.timem):
            return features
        keep = torch.ones_like(features, dtype=torch.bool)
        n_frames = torch.ceil(lengths * features.shape[1]).int().tolist()
        for kept, n, uid in zip(keep, n_frames, uids, strict=True):
            generator = keyed_generator("mask", self.seed, epoch, uid)
            kept[_span(n, self.timem, generator)] = False
            kept[:, _span(kept.shape[1], self.freqm, generator)] = False
        return features * keep


def _span(size, widest, generator):
    width = int(uniform(0, min(widest, size) + 1, generator))
    start = int(uniform(0, size - width + 1, generator))
    return slice(start, start + width)


def frame_lengths(lengths, n_frames):
    """Relative lengths that SpeechBrain's masks turn into the right frame counts.

    `length * n_frames` can round to one frame too many, which would unmask a padded
    frame; half a frame less can't.

    Arguments
    ---------
    lengths : torch.Tensor
        Relative lengths of the waveforms, [batch].
    n_frames : int
        Frames of the padded batch.

    Returns
    -------
    torch.Tensor
        Relative lengths of the features, [batch].

    Example
    -------
    >>> frame_lengths(torch.tensor([1.0, 0.5]), n_frames=10) * 10
    tensor([9.5000, 4.5000])
    """
    frames = torch.round(lengths * n_frames).clamp(min=1, max=n_frames)
    return (frames - 0.5) / n_frames
