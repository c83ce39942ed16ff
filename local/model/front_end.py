"""Front ends, normalisation, and how long features are.

A front end is a module: waveforms [batch, time] → features [batch, frame, channel].
One whose frames are not in proportion to the samples has a method `frame_lengths` too.
One that no training changes and that sees a recording as a whole may have `identity`,
text that says what its numbers depend on beside the recording and the program: its
features are then kept in a feature cache.
"""

import copy
from collections.abc import Mapping

import torch
import torchaudio.compliance.kaldi as kaldi
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.autocast import fwd_default_precision


class KaldiFbank(torch.nn.Module):
    """Log-mel filterbank energies as Kaldi computes them.

    Hanning window of 25 ms, hop of 10 ms, no dither, no energy, HTK layout
    (`torchaudio.compliance.kaldi.fbank`).

    sample_rate: Hz.
    n_mels: Number of mel filters.
    target_length: Frames that all recordings are cut or padded to, with zeros at the
        end; 0 leaves them as they are.
    mask_padding: Whether padded frames count as padding, or as part of the recording.

    Raises ValueError: for a negative `target_length`.

    >>> KaldiFbank(n_mels=40)(torch.randn(2, 16000)).shape
    torch.Size([2, 98, 40])
    >>> KaldiFbank(n_mels=40, target_length=1024)(torch.randn(2, 16000)).shape
    torch.Size([2, 1024, 40])
    """

    #: Length of a window and distance between windows in s.
    WINDOW_S, HOP_S = 0.025, 0.010

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 128,
        target_length: int = 0,
        mask_padding: bool = True,
    ):
        super().__init__()
        if target_length < 0:
            raise ValueError(f"target_length must be 0 or more: {target_length}")
        self.sample_rate = sample_rate
        self.n_mels = n_mels
        self.target_length = target_length
        self.mask_padding = mask_padding

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Compute features.

        waveforms: [batch, time]

        Returns: [batch, frame, mel]
        """
        features = torch.stack([self._one(waveform) for waveform in waveforms])
        if not self.target_length:
            return features
        missing = self.target_length - features.shape[1]
        return torch.nn.functional.pad(features, (0, 0, 0, missing))

    def frame_lengths(self, lengths: torch.Tensor, n_samples: int) -> torch.Tensor:
        """Relative lengths of the features, as the function `frame_lengths` gives them.

        lengths: Relative lengths of the waveforms, [batch].
        n_samples: Samples of the padded batch.

        Returns: Relative lengths of the features, [batch].
        """
        if self.target_length and not self.mask_padding:
            return torch.ones_like(lengths)
        window, hop = (
            int(self.sample_rate * length_s) for length_s in (self.WINDOW_S, self.HOP_S)
        )
        own = torch.round(lengths * n_samples)
        n_own = 1 + torch.floor((own - window) / hop)
        n_frames = self.target_length or 1 + (n_samples - window) // hop
        return (n_own.clamp(min=1, max=n_frames) - 0.5) / n_frames

    def _one(self, waveform):
        return kaldi.fbank(
            waveform.unsqueeze(0),
            sample_frequency=self.sample_rate,
            htk_compat=True,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=self.n_mels,
            dither=0.0,
            frame_length=1000 * self.WINDOW_S,
            frame_shift=1000 * self.HOP_S,
        )


class FeatureNormalization(torch.nn.Module):
    """Normalise features by each recording's own mean, or by one of the whole data set.

    dataset_mean, dataset_std: Both given: (x - dataset_mean) / (2 * dataset_std), for
        all recordings and channels alike (Gong et al., AST, Interspeech 2021). Both
        None: every channel's mean over the recording is taken off it.

    Raises ValueError: if only one is given, or `dataset_std` is not above 0.

    >>> features = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
    >>> FeatureNormalization()(features, torch.ones(1)).tolist()
    [[[-1.0, 0.0], [1.0, 0.0]]]
    >>> FeatureNormalization(1.0, 2.0)(features, torch.ones(1)).tolist()
    [[[0.0, 1.0], [0.5, 1.0]]]
    """

    def __init__(
        self, dataset_mean: float | None = None, dataset_std: float | None = None
    ):
        super().__init__()
        if (dataset_mean is None) != (dataset_std is None):
            raise ValueError(
                "dataset_mean and dataset_std belong together: found "
                f"{dataset_mean} and {dataset_std}"
            )
        if dataset_std is not None and not dataset_std > 0:
            raise ValueError(f"dataset_std must be above 0: {dataset_std}")
        self.dataset_mean, self.dataset_std = dataset_mean, dataset_std
        self.own_mean = InputNormalization(norm_type="sentence", std_norm=False)

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Normalise a batch.

        features: [batch, frame, channel]
        lengths: Relative, [batch].

        Returns: [batch, frame, channel]
        """
        if self.dataset_mean is None:
            return self.own_mean(features, lengths)
        return (features - self.dataset_mean) / (2 * self.dataset_std)


class RecordingFeatures:
    """Front end and normalisation of one recording at a time, on the CPU.

    In a batch some front ends would let recordings touch: a frame at a recording's end
    reaches into the padding, and the loudest frame of all may set the floor.

    modules: With `compute_features` and `mean_var_norm`; copied.
    cache (feature_cache.FeatureCache, optional): Where a dataset keeps the features of
        a front end that has `identity`.

    >>> norm = InputNormalization(norm_type="sentence", std_norm=False)
    >>> modules = {"compute_features": KaldiFbank(n_mels=40), "mean_var_norm": norm}
    >>> RecordingFeatures(modules)(torch.randn(16000)).shape
    torch.Size([98, 40])
    """

    def __init__(self, modules: Mapping, cache=None):
        self.cache = cache
        self.front_end, self.normalization = (
            copy.deepcopy(modules[name]).cpu().eval()
            for name in ("compute_features", "mean_var_norm")
        )

    @property
    def identity(self) -> str | None:
        """That of the front end, if it has one."""
        return getattr(self.front_end, "identity", None)

    @torch.no_grad()
    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        """Compute features.

        waveform: [time]

        Returns: float32 [frame, channel], without frames that are padding.
        """
        if self.identity is not None:
            return self.normalized(self.raw(waveform))
        features, lengths = raw_features(
            self.front_end, waveform.unsqueeze(0), torch.ones(1)
        )
        features = self.normalization(features, lengths)
        return features[0, : frame_counts(lengths, features.shape[1])]

    @torch.no_grad()
    def raw(self, waveform: torch.Tensor) -> torch.Tensor:
        """Features of a front end with `identity`: [time] → [frame, channel]."""
        return self.front_end(waveform.unsqueeze(0))[0]

    @torch.no_grad()
    def normalized(self, raw: torch.Tensor) -> torch.Tensor:
        """What `raw` gives, normalised: float32 [frame, channel]."""
        return self.normalization(raw.float().unsqueeze(0), torch.ones(1))[0]


def frame_lengths(lengths: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Relative lengths that SpeechBrain's masks turn into the right frame counts.

    `length * n_frames` can round to one frame too many, which would unmask a padded
    frame; half a frame less can't.

    lengths: Relative lengths of the waveforms, [batch].
    n_frames: Frames of the padded batch.

    Returns: Relative lengths of the features, [batch].

    >>> frame_lengths(torch.tensor([1.0, 0.5]), n_frames=10) * 10
    tensor([9.5000, 4.5000])
    """
    frames = torch.round(lengths * n_frames).clamp(min=1, max=n_frames)
    return (frames - 0.5) / n_frames


def frame_counts(lengths: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Frames of each recording, from what `frame_lengths` gives.

    lengths: Relative lengths of the features, [batch].
    n_frames: Frames of the padded batch.

    Returns: int64 [batch]

    >>> frame_counts(frame_lengths(torch.tensor([1.0, 0.5]), 10), 10)
    tensor([10,  5])
    """
    return torch.ceil(lengths * n_frames).long()


def raw_features(
    front_end: torch.nn.Module, waveforms: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of a batch before any normalisation.

    waveforms: [batch, time]
    lengths: Relative, [batch].

    Returns features: [batch, frame, channel]
    Returns lengths: Relative lengths of the features, [batch].
    """
    features = front_end(waveforms)
    if hasattr(front_end, "frame_lengths"):
        return features, front_end.frame_lengths(lengths, waveforms.shape[1])
    return features, frame_lengths(lengths, features.shape[1])
