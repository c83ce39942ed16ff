"""Statistics of a whole recording as its features: a frame of some hundred numbers."""

import functools

import torch
import torchaudio
from speechbrain.lobes.features import VocalFeatures
from speechbrain.utils.autocast import fwd_default_precision

from local.model.acoustic_statistics import acoustic_statistics

#: What `speechbrain.lobes.features.VocalFeatures` computes of each frame, in its order.
VOCAL = (
    *("f0_hz", "harmonicity_db", "jitter_db", "shimmer_db", "gne_db"),
    *("spectral_centroid", "spectral_spread", "spectral_skew", "spectral_kurtosis"),
    *("spectral_entropy", "spectral_flatness", "spectral_crest", "spectral_flux"),
    *("cepstrum_0", "cepstrum_1", "cepstrum_2", "cepstrum_3"),
)

#: Of these tracks: mean, standard deviation, and where the lowest tenth, half and nine
#: tenths of the frames end.
QUANTILES = (0.1, 0.5, 0.9)
OF_TRACKS = ("mean", "sd", *(f"q{round(100 * share)}" for share in QUANTILES))

#: Rates of `VocalFeatures`, in Hz: at others it may count its frames in
#: two ways, which don't agree.
RATES = (8000, 16000)

#: Shorter recordings are filled up with silence, in s: five periods of the lowest F0
#: must fit into a frame, and five frames into a recording.
MIN_S = 0.1


class RecordingStatistics(torch.nn.Module):
    """Acoustic statistics of recordings: [batch, time] → [batch, 1, statistic].

    The 52 of `local.model.acoustic_statistics` (cepstrum, level, spectrum, F0, length,
    pauses), and five of each track of SpeechBrain's `VocalFeatures` (jitter, shimmer,
    harmonicity, glottal-to-noise excitation, shape of the spectrum). Recordings of a
    batch must have one length: these numbers are of a recording as a whole.

    sample_rate: Hz.

    >>> RecordingStatistics(16000)(torch.randn(2, 16000)).shape
    torch.Size([2, 1, 137])
    """

    def __init__(self, sample_rate: int):
        super().__init__()
        self.sample_rate = sample_rate

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, waveforms):
        """NaN where something can't be computed."""
        return torch.stack([self._one(waveform) for waveform in waveforms])

    def frame_lengths(self, lengths, n_samples):
        """Relative lengths of the features, [batch]: there is one frame."""
        return torch.ones_like(lengths)

    @functools.cached_property
    def names(self) -> list[str]:
        """What the statistics are called, in their order."""
        spoken = acoustic_statistics(torch.ones(self.sample_rate), self.sample_rate)
        return [*spoken, *(f"{name}_{kind}" for kind in OF_TRACKS for name in VOCAL)]

    def _one(self, waveform):
        """[time] → [1, statistic], on the waveform's device."""
        waveform = waveform.cpu()
        own = acoustic_statistics(waveform, self.sample_rate)
        missing = max(0, round(MIN_S * self.sample_rate) - len(waveform))
        padded = torch.nn.functional.pad(waveform, (0, missing)).unsqueeze(0)
        rate = RATES[self.sample_rate >= max(RATES)]
        padded = torchaudio.functional.resample(padded, self.sample_rate, rate)
        tracks = _vocal_features(rate)(padded)[0]
        levels = torch.tensor(QUANTILES, dtype=tracks.dtype)
        found = [
            tracks.mean(dim=0),
            tracks.std(dim=0, correction=0),
            *torch.nanquantile(tracks, levels, dim=0),
        ]
        values = torch.cat([torch.tensor([*own.values()]), *found])
        return values.where(values.isfinite(), torch.nan).unsqueeze(0)


@functools.cache
def _vocal_features(sample_rate):
    return VocalFeatures(sample_rate=sample_rate)
