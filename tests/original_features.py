"""Features by torchaudio, called as the original project calls it."""

import torch
import torchaudio
from torchaudio.compliance import kaldi


def original_mfcc(waveform, sample_rate=16000, n_mfcc=80, n_fft=400, n_mels=128):
    """One recording [time] → [frame, coefficient]."""
    transform = torchaudio.transforms.MFCC(
        sample_rate=sample_rate,
        n_mfcc=n_mfcc,
        melkwargs={
            "n_fft": n_fft,
            "n_mels": n_mels,
            "norm": "slaney",
            "mel_scale": "htk",
        },
    )
    return transform(waveform.unsqueeze(0)).squeeze(0).T


def kaldi_fbank(waveform, sample_rate, n_mels):
    """One recording [time] → [frame, mel]."""
    return kaldi.fbank(
        waveform.unsqueeze(0),
        sample_frequency=sample_rate,
        htk_compat=True,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=n_mels,
        dither=0.0,
        frame_shift=10,
    )


def original_fbank(waveform, n_frames, sample_rate=16000, n_mels=128):
    """The same, cut or filled up to a number of frames."""
    features = kaldi_fbank(waveform, sample_rate, n_mels)
    missing = n_frames - len(features)
    if missing > 0:
        return torch.nn.functional.pad(features, (0, 0, 0, missing))
    return features[:n_frames]
