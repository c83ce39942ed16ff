"""Where in a recording a model hears what it says: its outputs for short windows.

Windows of 0.3 s lead to the planted breakdowns of the demo corpus as surely as hiding
stretches of a recording does, which costs as much as the recording is long for each;
longer windows and the attention of ECAPA-TDNN's pooling do less so. The figures are in
recipes/demo/README.md.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

#: Length of a window, and between the begins of two, in s.
WINDOW_S, HOP_S = 0.3, 0.1

#: A model has never heard a room alone, and may say anything of it: windows
#: are left out that are so many dB below the loud ones, those of this percentile.
QUIETER_DB, LOUD_PERCENTILE = 15.0, 90

#: Windows that are computed together.
N_TOGETHER = 64


@dataclasses.dataclass(frozen=True)
class Curves:
    """What a model says of the windows of a recording.

    times_s: The middle of each window, [window].
    values: Logits, or scores in their own units, [window, label]; NaN in pauses.
    """

    times_s: np.ndarray
    values: np.ndarray

    @property
    def peaks_s(self) -> list[float]:
        """The time of the highest value of each label.

        >>> nan = np.nan
        >>> values = np.array([[nan, nan], [1.0, -3.0], [-1.0, -2.0]])
        >>> Curves(np.array([0.25, 0.35, 0.45]), values).peaks_s
        [0.35, 0.45]
        """
        return self.times_s[np.nanargmax(self.values, axis=0)].tolist()

    def as_dict(self, labels: list[str], begin_s: float = 0.0) -> dict:
        """What JSON can hold of this.

        labels: Of the columns.
        begin_s: When the recording begins, in s of its file.

        Returns: `times_s`, and `labels`, of each `values` and `peak_s`.

        >>> curves = Curves(np.array([0.25, 0.35]), np.array([[np.nan], [1.5]]))
        >>> curves.as_dict(["slow"], begin_s=2.0)["labels"]
        {'slow': {'values': [None, 1.5], 'peak_s': 2.35}}
        """
        columns = np.transpose(self.values).astype(float).round(4).tolist()
        return {
            "times_s": (self.times_s + begin_s).round(4).tolist(),
            "labels": {
                label: {
                    "values": [None if np.isnan(value) else value for value in values],
                    "peak_s": round(peak_s + begin_s, 4),
                }
                for label, values, peak_s in zip(
                    labels, columns, self.peaks_s, strict=True
                )
            },
        }


def score_windows(waveform: torch.Tensor, sample_rate: int, score: Callable) -> Curves:
    """Score the short windows of a recording that are no pauses.

    waveform: [time]; a shorter one than a window is one.
    sample_rate: Hz.
    score: Takes waveforms, [batch, time], gives logits, [batch, label] on the CPU.

    >>> tone = torch.tensor([1.0, -1.0]).repeat(400)
    >>> waveform = torch.cat([torch.zeros(800), tone])
    >>> curves = score_windows(waveform, 1000, lambda batch: batch.std(1)[:, None])
    >>> curves.times_s.tolist()[:3], curves.values[:, 0].round(1).tolist()[:7]
    ([0.15, 0.25, 0.35], [nan, nan, nan, nan, nan, nan, 0.6])
    """
    length, hop = (round(seconds * sample_rate) for seconds in (WINDOW_S, HOP_S))
    length = min(length, len(waveform))
    windows = waveform.unfold(0, length, hop)
    # each by itself: all together would be five times the recording
    power = np.array([window.double().var(correction=0).item() for window in windows])
    loud = np.percentile(power, LOUD_PERCENTILE)
    spoken = torch.from_numpy(power >= loud * 10 ** (-QUIETER_DB / 10)).nonzero()[:, 0]
    scored = torch.cat([score(windows[some]) for some in spoken.split(N_TOGETHER)])
    values = np.full((len(windows), scored.shape[1]), np.nan)
    values[spoken] = scored.numpy()
    middles = (np.arange(len(windows)) * hop + length / 2) / sample_rate
    return Curves(middles, values)
