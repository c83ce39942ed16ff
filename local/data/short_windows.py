"""Where in a recording a model hears what it says: its outputs for short windows.

Windows of 0.3 s lead to the planted breakdowns of the demo corpus as surely as hiding
stretches of a recording does, which costs as much as the recording is long for each;
longer windows and the attention of ECAPA-TDNN's pooling do less so. The figures are in
recipes/demo/README.md.
"""

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


def score_windows(
    waveform: torch.Tensor,
    sample_rate: int,
    score: Callable,
    labels: list[str],
    begin_s: float = 0.0,
) -> dict:
    """Score the short windows of a recording that are no pauses.

    waveform: [time]; a shorter one than a window is one.
    sample_rate: Hz.
    score: Takes waveforms, [batch, time], gives logits or scores, [batch, label] on
        the CPU.
    labels: Of the columns.
    begin_s: When the recording begins, in s of its file.

    Returns: What JSON can hold: `times_s`, the middles of the windows, and `labels`, of
        each `values` (None in pauses) and `peak_s`, the time of the highest.

    >>> tone = torch.tensor([1.0, -1.0]).repeat(400)
    >>> waveform = torch.cat([torch.zeros(800), tone])
    >>> said = score_windows(waveform, 1000, lambda w: w.std(1)[:, None], ["loud"])
    >>> said["times_s"][:3], said["labels"]["loud"]["values"][4:8]
    ([0.15, 0.25, 0.35], [None, None, 0.5783, 0.8179])
    >>> said["labels"]["loud"]["peak_s"]
    0.95
    """
    length, hop = (round(seconds * sample_rate) for seconds in (WINDOW_S, HOP_S))
    length = min(length, len(waveform))
    windows = waveform.unfold(0, length, hop)
    # each by itself: all together would be five times the recording
    power = np.array([window.double().var(correction=0).item() for window in windows])
    loud = np.percentile(power, LOUD_PERCENTILE)
    spoken = torch.from_numpy(power >= loud * 10 ** (-QUIETER_DB / 10)).nonzero()[:, 0]
    scored = torch.cat([score(windows[some]) for some in spoken.split(N_TOGETHER)])
    middles = (np.arange(len(windows)) * hop + length / 2) / sample_rate + begin_s
    times_s, curves = middles.round(4).tolist(), {}
    for label, column in zip(labels, scored.double().numpy().T, strict=True):
        values = dict(zip(spoken.tolist(), column.round(4).tolist(), strict=True))
        curves[label] = {
            "values": [values.get(window) for window in range(len(windows))],
            "peak_s": times_s[spoken[column.argmax()]],
        }
    return {"times_s": times_s, "labels": curves}
