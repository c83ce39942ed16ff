"""The front end of the original project, number for number.

What it does otherwise than the other yamls: always the first `clip_length` seconds;
shorter recordings are padded, and the padding counts as part of the recording; with
`fbank` the number of frames is called `n_fft`.
"""

import warnings

import torch
import torchaudio
from speechbrain.utils.autocast import fwd_default_precision

from local.model.front_end import KaldiFbank


class OriginalClip:
    """The first seconds of a recording, padded at the end if it is shorter, mean 0.

    Padding is the recording's mean, and the mean of all is taken off then: padding ends
    up as 0, but for the last digits. To pad with 0 would change these digits, and by
    them the logits by more than 1e-5.

    clip_length: Length in s; 0 leaves recordings whole.
    sample_rate: Hz.
    epoch (int): Set before an epoch; every epoch is alike.

    Raises ValueError: for a negative `clip_length`.

    >>> clip = OriginalClip(clip_length=0.5, sample_rate=8)
    >>> clip(torch.tensor([1.0, 3.0]), uid="a").tolist()
    [-1.0, 1.0, 0.0, 0.0]
    """

    def __init__(self, clip_length: float, sample_rate: int):
        if clip_length < 0:
            raise ValueError(f"clip_length must be 0 or more seconds: {clip_length}")
        self.n_samples = int(clip_length * sample_rate)  # rounded down there too
        self.epoch = 0

    def __call__(self, waveform, uid):
        """Clip one recording: waveform [time] → [time]."""
        clip = waveform[: self.n_samples or None]
        missing = max(0, self.n_samples - len(clip))
        padded = torch.cat([clip, clip.mean().expand(missing)])
        return padded - padded.mean()


class OriginalFrontEnd(torch.nn.Module):
    """MFCC, or Kaldi-compatible filterbank energies.

    fbank: False: `torchaudio.transforms.MFCC`, the hop half of the window. True:
        `features.KaldiFbank` with windows of 25 ms and a hop of 10 ms.
    sample_rate: Hz.
    n_mfcc: Number of coefficients, without `fbank`.
    n_fft: Without `fbank` the window in samples; with it the number of frames that all
        recordings are cut or padded to, padding being part of the recording.
    n_mels: Number of mel filters.

    >>> sizes = dict(sample_rate=16000, n_mfcc=80, n_fft=400, n_mels=128)
    >>> OriginalFrontEnd(fbank=False, **sizes)(torch.randn(2, 16000)).shape
    torch.Size([2, 81, 80])
    >>> OriginalFrontEnd(fbank=True, **sizes)(torch.randn(2, 16000)).shape
    torch.Size([2, 400, 128])
    """

    def __init__(
        self, fbank: bool, sample_rate: int, n_mfcc: int, n_fft: int, n_mels: int
    ):
        super().__init__()
        self.fbank = fbank
        if fbank:
            self.front_end = KaldiFbank(
                sample_rate, n_mels, target_length=n_fft, mask_padding=False
            )
        else:
            self.front_end = _mfcc(sample_rate, n_mfcc, n_fft, n_mels)

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Compute features.

        waveforms: [batch, time]

        Returns: [batch, frame, channel]
        """
        if self.fbank:
            return self.front_end(waveforms)
        # a channel axis, or the loudest recording would set the floor of them all
        return self.front_end(waveforms.unsqueeze(1)).squeeze(1).transpose(1, 2)

    def frame_lengths(self, lengths: torch.Tensor, n_samples: int) -> torch.Tensor:
        """Relative lengths of the features.

        lengths: Relative lengths of the waveforms, [batch].
        n_samples: Samples of the padded batch.

        Returns: Relative lengths of the features, [batch].
        """
        if self.fbank:
            return self.front_end.frame_lengths(lengths, n_samples)
        hop = self.front_end.MelSpectrogram.hop_length
        n_own = 1 + torch.round(lengths * n_samples) // hop
        return (n_own - 0.5) / (1 + n_samples // hop)


def _mfcc(sample_rate, n_mfcc, n_fft, n_mels):
    sizes = {"n_fft": n_fft, "n_mels": n_mels, "norm": "slaney", "mel_scale": "htk"}
    with warnings.catch_warnings():
        # with the original's own sizes some mel filters are empty
        warnings.filterwarnings("ignore", "At least one mel filterbank")
        return torchaudio.transforms.MFCC(
            sample_rate=sample_rate, n_mfcc=n_mfcc, melkwargs=sizes
        )


def n_features(fbank, n_mfcc, n_mels):
    """Channels of the features, which ECAPA-TDNN reads.

    >>> n_features(fbank=False, n_mfcc=80, n_mels=128)
    80
    """
    return n_mels if fbank else n_mfcc
