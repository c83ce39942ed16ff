"""Statistics of a whole recording: the features of a model, and of a baseline."""

import functools

import torch
import torchaudio
from speechbrain.lobes.features import VocalFeatures
from speechbrain.utils.autocast import fwd_default_precision

from local.model.acoustic_statistics import FRAMES_AT_A_TIME, acoustic_statistics

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


def recording_statistics(waveform: torch.Tensor, sample_rate: int) -> dict[str, float]:
    """Describes a recording by 151 plain numbers.

    The 66 of `local.model.acoustic_statistics` (cepstrum, level, spectrum, F0, length,
    pauses, tremor, tilt), and five of each track of SpeechBrain's `VocalFeatures`
    (jitter, shimmer, harmonicity, glottal-to-noise excitation, shape of the spectrum).

    waveform: [time], Mono, float32.
    sample_rate: Hz.

    Returns: `acoustic_…`, the same names for every recording; NaN where something
        can't be computed.

    >>> values = recording_statistics(torch.randn(16000), 16000)
    >>> len(values), "acoustic_jitter_db_mean" in values
    (151, True)
    """
    own = acoustic_statistics(waveform, sample_rate)
    missing = max(0, round(MIN_S * sample_rate) - len(waveform))
    padded = torch.nn.functional.pad(waveform, (0, missing))
    rate = RATES[sample_rate >= max(RATES)]
    tracks = _tracks(torchaudio.functional.resample(padded, sample_rate, rate), rate)
    levels = torch.tensor(QUANTILES, dtype=tracks.dtype)
    statistics = [
        tracks.mean(dim=0),
        tracks.std(dim=0, correction=0),
        *torch.nanquantile(tracks, levels, dim=0),
    ]
    values = torch.cat(statistics)
    names = [f"acoustic_{name}_{kind}" for kind in OF_TRACKS for name in VOCAL]
    values = values.where(values.isfinite(), torch.nan).tolist()
    return own | dict(zip(names, values, strict=True))


def _tracks(waveform, rate):
    """[time] → [frame, 17], of pieces of some seconds, so that memory stays small."""
    vocal = _vocal_features(rate)
    step, size = vocal.step_samples, vocal.window_samples
    n_frames = (len(waveform) - size) // step + 1
    n_pieces = -(-n_frames // FRAMES_AT_A_TIME)
    edges = torch.linspace(0, n_frames, n_pieces + 1).long().tolist()
    ends = [(edge - 1) * step + size for edge in edges[1:-1]] + [len(waveform)]
    pieces = [
        waveform[None, edge * step : end]
        for edge, end in zip(edges[:-1], ends, strict=True)
    ]
    return torch.cat([vocal(piece)[0] for piece in pieces])


@functools.cache
def _vocal_features(sample_rate):
    return VocalFeatures(sample_rate=sample_rate)


class RecordingStatistics(torch.nn.Module):
    """`recording_statistics` of a batch: [batch, time] → [batch, 1, statistic].

    Recordings of a batch must have one length: these numbers are of a recording as a
    whole.

    sample_rate: Hz.

    >>> RecordingStatistics(16000)(torch.randn(2, 16000)).shape
    torch.Size([2, 1, 151])
    """

    def __init__(self, sample_rate: int):
        super().__init__()
        self.sample_rate = sample_rate

    @fwd_default_precision(cast_inputs=torch.float32)
    def forward(self, waveforms):
        """NaN where something can't be computed."""
        rows = [
            [*recording_statistics(waveform, self.sample_rate).values()]
            for waveform in waveforms.cpu()
        ]
        return torch.tensor(rows).unsqueeze(1)

    def frame_lengths(self, lengths, n_samples):
        """Relative lengths of the features, [batch]: there is one frame."""
        return torch.ones_like(lengths)

    @property
    def identity(self) -> str:
        """What the numbers depend on beside the recording."""
        return f"RecordingStatistics at {self.sample_rate} Hz"

    @functools.cached_property
    def names(self) -> list[str]:
        """What the statistics are called, in their order."""
        return list(
            recording_statistics(torch.ones(self.sample_rate), self.sample_rate)
        )
