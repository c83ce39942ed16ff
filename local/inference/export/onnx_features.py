"""Front ends as ONNX can have them: batches of any size, and only own samples count.

A front end computes the features of one recording at a time, so that recordings can't
touch (see `features.RecordingFeatures`). In an ONNX file there is one graph for the
whole batch: the modules here compute the same numbers from padded waveforms and the
recordings' lengths.
"""

from collections.abc import Callable

import torch
import torchaudio.compliance.kaldi as kaldi
from speechbrain.lobes.features import Fbank

from local.model.front_end import KaldiFbank
from local.model.legacy_front_end import OriginalClip, OriginalFrontEnd
from local.model.recording_statistics import RecordingStatistics

#: Kaldi's pre-emphasis, and its lowest mel energy.
PREEMPHASIS, EPSILON = 0.97, torch.finfo(torch.float32).eps


class NoOnnx(Exception):
    """This model can't become an ONNX file; the message is the reason."""


def padded_front_end(front_end: torch.nn.Module) -> torch.nn.Module:
    """The module that computes what a front end does, for padded batches.

    front_end: Of the yaml.

    Returns: waveforms [batch, time], 0 behind each recording's end, and lengths in
        samples, int64 [batch] → features [batch, frame, channel] and frames of each
        recording, int64 [batch].
    Raises NoOnnx: for a front end that there is no such module of.
    """
    if isinstance(front_end, Fbank) and not (front_end.deltas or front_end.context):
        return PaddedFbank(front_end)
    if isinstance(front_end, KaldiFbank):
        return PaddedKaldiFbank(front_end)
    if isinstance(front_end, OriginalFrontEnd):
        if front_end.fbank:
            return PaddedKaldiFbank(front_end.front_end)
        return PaddedMfcc(front_end.front_end)
    if isinstance(front_end, RecordingStatistics):
        raise NoOnnx(
            "the acoustic statistics (SpeechBrain's VocalFeatures, F0, pauses) are no "
            "ONNX graph; custom.py computes them"
        )
    raise NoOnnx(
        f"there is no ONNX counterpart of the front end {type(front_end).__name__} "
        "with these settings (local/inference/export/onnx_features.py)"
    )


def padded_crop(crop: Callable | None) -> torch.nn.Module | None:
    """The module that cuts what is cut of a recording outside training.

    crop: The yaml's `eval_crop`.

    Returns: waveforms [batch, time] and lengths, int64 [batch] → the same.
    Raises NoOnnx.
    """
    if crop is None:
        return None
    if isinstance(crop, OriginalClip):
        return PaddedClip(crop)
    raise NoOnnx(f"there is no ONNX counterpart of eval_crop {type(crop).__name__}")


def before_end(n, lengths):
    """Which of `n` places lie before the ends `lengths` [batch]: bool [batch, n]"""
    return torch.arange(n, device=lengths.device) < lengths.unsqueeze(1)


class PowerSpectrum(torch.nn.Module):
    """|STFT|² as a product of matrices: [batch, time] → [batch, frame, frequency].

    ONNX Runtime's own STFT of 400 samples is off by up to 0.06 dB; this is not.

    window: Its weights, no longer than `n_fft`.
    n_fft, hop: Samples.
    """

    def __init__(self, window: torch.Tensor, n_fft: int, hop: int):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        missing = n_fft - len(window)  # in the middle, as in torch.stft
        around = (missing // 2, missing - missing // 2)
        window = torch.nn.functional.pad(window.double(), around)
        waves = torch.fft.rfft(torch.eye(n_fft, dtype=torch.float64)).T.conj()
        waves = torch.view_as_real(waves.resolve_conj()) * window.view(1, -1, 1)
        basis = torch.cat(waves.unbind(2))  # [2 frequency, n_fft]
        self.register_buffer("basis", basis.T.float().contiguous(), persistent=False)

    def forward(self, waveforms):
        """Compute spectra."""
        frames = waveforms.unfold(1, self.n_fft, self.hop)
        real, imaginary = torch.matmul(frames, self.basis).chunk(2, dim=2)
        return real.square() + imaginary.square()


class PaddedFbank(torch.nn.Module):
    """SpeechBrain's Fbank, whose loudest frame sets the floor of the others."""

    def __init__(self, fbank):
        super().__init__()
        stft = fbank.compute_STFT
        self.fbanks, self.hop, self.reach = (
            fbank.compute_fbanks,
            stft.hop_length,
            stft.n_fft // 2,
        )
        self.spectrum = PowerSpectrum(stft.window, stft.n_fft, stft.hop_length)

    def forward(self, waveforms, lengths):
        """See `padded_front_end`."""
        around = torch.nn.functional.pad(waveforms, (self.reach, self.reach))
        spectra = self.spectrum(around)
        n_frames = 1 + lengths // self.hop
        own = before_end(spectra.shape[1], n_frames)
        return self.fbanks(spectra * own.unsqueeze(2)), n_frames


class PaddedKaldiFbank(torch.nn.Module):
    """features.KaldiFbank without torchaudio's loops over recordings."""

    def __init__(self, fbank):
        super().__init__()
        self.target_length = fbank.target_length
        self.mask_padding = fbank.mask_padding
        self.window, self.hop = (
            int(fbank.sample_rate * length_s)
            for length_s in (fbank.WINDOW_S, fbank.HOP_S)
        )
        self.n_fft = 1 << (self.window - 1).bit_length()
        taper = torch.hann_window(self.window, periodic=False)
        banks, _ = kaldi.get_mel_banks(
            fbank.n_mels,
            self.n_fft,
            float(fbank.sample_rate),
            20.0,
            0.0,
            100.0,
            -500.0,
            1.0,
        )
        self.register_buffer("taper", taper, persistent=False)
        banks = torch.nn.functional.pad(banks, (0, 1)).T
        self.register_buffer("banks", banks, persistent=False)

    def forward(self, waveforms, lengths):
        """See `padded_front_end`."""
        frames = waveforms.unfold(1, self.window, self.hop)
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[:, :, :1], frames[:, :, :-1]], dim=2)
        frames = (frames - PREEMPHASIS * before) * self.taper
        frames = torch.nn.functional.pad(frames, (0, self.n_fft - self.window))
        spectra = torch.view_as_real(torch.fft.rfft(frames)).pow(2).sum(-1)
        features = torch.matmul(spectra, self.banks).clamp(min=EPSILON).log()
        n_frames = 1 + (lengths - self.window) // self.hop
        if not self.target_length:
            return features, n_frames
        own = before_end(features.shape[1], n_frames).unsqueeze(2)
        features = torch.where(own, features, torch.zeros_like(features))
        features = torch.nn.functional.pad(features, (0, 0, 0, self.target_length))
        features = features[:, : self.target_length]
        if not self.mask_padding:
            return features, torch.full_like(n_frames, self.target_length)
        return features, n_frames.clamp(max=self.target_length)


class PaddedMfcc(torch.nn.Module):
    """torchaudio's MFCC, whose first and last frames mirror the recording's ends."""

    def __init__(self, mfcc):
        super().__init__()
        stft = mfcc.MelSpectrogram.spectrogram
        self.mfcc, self.hop, self.reach = mfcc, stft.hop_length, stft.n_fft // 2
        self.spectrum = PowerSpectrum(stft.window, stft.n_fft, stft.hop_length)

    def forward(self, waveforms, lengths):
        """See `padded_front_end`."""
        spectra = self.spectrum(_mirrored(waveforms, lengths, self.reach))
        n_frames = 1 + lengths // self.hop
        own = before_end(spectra.shape[1], n_frames)
        spectra = spectra * own.unsqueeze(2)
        mels = torch.matmul(spectra, self.mfcc.MelSpectrogram.mel_scale.fb)
        levels = self.mfcc.amplitude_to_DB(mels.unsqueeze(1)).squeeze(1)
        return torch.matmul(levels, self.mfcc.dct_mat), n_frames


def _mirrored(waveforms, lengths, reach):
    """Samples before the begin and behind each end: [batch, time + 2 reach]"""
    n = waveforms.shape[1]
    places = torch.arange(n + 2 * reach, device=waveforms.device) - reach
    places = places.abs().unsqueeze(0)
    last = lengths.unsqueeze(1) - 1
    places = torch.where(places > last, 2 * last - places, places)
    return waveforms.gather(1, places.clamp(min=0))


class PaddedClip(torch.nn.Module):
    """original.OriginalClip: the first seconds, padded with their mean, mean 0."""

    def __init__(self, clip):
        super().__init__()
        self.n_samples = clip.n_samples

    def forward(self, waveforms, lengths):
        """See `padded_crop`."""
        if self.n_samples:
            lengths = lengths.clamp(max=self.n_samples)
            waveforms = torch.nn.functional.pad(waveforms, (0, self.n_samples))
            waveforms = waveforms[:, : self.n_samples]
        own = before_end(waveforms.shape[1], lengths)
        n_own = lengths.unsqueeze(1)
        mean = (waveforms * own).sum(dim=1, keepdim=True) / n_own
        if not self.n_samples:
            return (waveforms - mean) * own, lengths
        padded = torch.where(own, waveforms, mean)
        padded = padded - padded.mean(dim=1, keepdim=True)
        return padded, torch.full_like(lengths, self.n_samples)
