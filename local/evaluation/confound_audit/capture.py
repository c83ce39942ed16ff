"""What the audit wants to know of a recording, in one pass over its waveform."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch

from local.audio.description import NOISE_PERCENTILE, bandwidth_hz, frame_levels
from local.evaluation.confound_audit import silence


def extract(
    waveform: torch.Tensor, sample_rate: int, row: Mapping
) -> tuple[dict, torch.Tensor | None]:
    """Measures a recording for the audit.

    waveform: [time], Mono, float32, at the model's rate.
    sample_rate: The model's rate in Hz.
    row: The recording's row of a manifest, with `level_dbfs`, `sample_rate`, `format`,
        `codec` and `channels`, all of the file.

    Returns features: Numbers, text, or None where there is no silence or no pause; the
        names' first part is the probe they are for (`capture_`, `silence_`,
        `behaviour_`); `audio_sha256`.
    Returns silence: [time], 1.0 s in which nobody speaks (see `silence.find_silence`).
    """
    samples = waveform.numpy()
    speech = silence.find_speech(waveform, sample_rate)
    result = silence.find_silence(waveform, sample_rate, speech)
    features = {
        "capture_level_dbfs": float(row["level_dbfs"]),
        "capture_noise_floor_dbfs": noise_floor_dbfs(samples, sample_rate),
        "capture_bandwidth_hz": bandwidth_hz(samples, sample_rate),
        "capture_sample_rate": f"{float(row['sample_rate']):g}",
        "capture_format": f"{row['format']} {row['codec']}",
        "capture_channels": f"{float(row['channels']):g}",
        **silence.silence_features(result, sample_rate),
        "behaviour_duration_s": len(samples) / sample_rate,
        "behaviour_pause_share": silence.pause_share(speech),
        "audio_sha256": audio_hash(samples),
    }
    return features, result


def noise_floor_dbfs(samples: np.ndarray, sample_rate: int) -> float | None:
    """The level of a recording's quietest moments: the 5th percentile of its frames'.

    samples: [time]
    sample_rate: Hz.

    Returns: In dB of full scale, -100 at the least; None where they are less than 15 dB
        below the voice: in a recording without a pause they are the voice itself.

    >>> noise = np.full(8000, 0.001)
    >>> voice = np.full(8000, 0.1)
    >>> round(noise_floor_dbfs(np.concatenate([voice, noise]), 8000), 6)
    -60.0
    >>> noise_floor_dbfs(voice, 8000)
    """
    levels = frame_levels(samples, sample_rate)
    floor = float(np.percentile(levels, NOISE_PERCENTILE))
    voice = silence.voice_level_dbfs(samples, sample_rate)
    return floor if floor <= voice - silence.PAUSE_DB else None


def audio_hash(samples: np.ndarray) -> str:
    """The SHA-256 of a waveform as 16-bit samples.

    The same recording in two files has one hash if both were decoded to the same
    samples, as WAV and FLAC are; a lossy copy has another.

    samples: [time], From -1 to 1.

    >>> audio_hash(np.zeros(1)) == hashlib.sha256(bytes([0, 0])).hexdigest()
    True
    """
    integers = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    return hashlib.sha256(integers.tobytes()).hexdigest()
