"""Duration and pauses of a recording, measured from its samples."""

import numpy as np

FRAME_S = 0.02

#: Silence inside speech counts as a pause from this long.
MIN_PAUSE_S = 0.15


def measure_pauses(samples: np.ndarray, rate: int) -> dict:
    """Measure duration and pauses of a recording, noise and all.

    samples: Mono, [time].
    rate: Samples per second.

    Returns: ``duration_s``, ``pause_share`` (of the time from first to last speech) and
        ``n_pauses``.

    >>> tone = np.sin(np.arange(8000) * 0.3)
    >>> recording = np.concatenate([tone, np.zeros(4000), tone])
    >>> measure_pauses(recording, 8000)
    {'duration_s': 2.5, 'pause_share': 0.2, 'n_pauses': 1}
    """
    hop = round(FRAME_S * rate)
    frames = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level_db = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    quiet, loud = np.percentile(level_db, (5, 95))
    speech = np.flatnonzero(level_db > quiet + 0.4 * (loud - quiet))
    gaps = (np.diff(speech) - 1) if len(speech) else np.zeros(0)
    pauses = gaps[gaps * FRAME_S >= MIN_PAUSE_S]
    n_frames = speech[-1] - speech[0] + 1 if len(speech) else 1
    return {
        "duration_s": round(len(samples) / rate, 4),
        "pause_share": round(float(pauses.sum() / n_frames), 4),
        "n_pauses": len(pauses),
    }
