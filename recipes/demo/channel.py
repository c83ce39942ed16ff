"""The way from the mouth to the file: room noise, level, codec, rate, channels.

Nothing here is told the labels: a channel is drawn first and applied last.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import soundfile
from scipy import signal
from scipy.fft import next_fast_len

from recipes.demo.synthesis import SAMPLE_RATE

#: What each device writes: encodings, rates in Hz and channel counts it may use.
DEVICES = {
    "recorder": (("WAV", "FLAC"), (44100, 48000), (1, 2)),
    "laptop": (("WAV", "FLAC", "M4A"), (16000, 22050, 44100), (1, 2)),
    "phone": (("M4A", "MP3"), (16000, 44100, 48000), (1,)),
    "tablet": (("MP3", "M4A", "WAV"), (16000, 22050), (1, 2)),
    "telephone": (("WAV", "FLAC", "MP3"), (8000,), (1,)),
}
DEVICE_SHARES = {
    "recorder": 0.25,
    "laptop": 0.26,
    "phone": 0.25,
    "tablet": 0.2,
    "telephone": 0.04,
}

#: Where subjects are recorded, and how much louder the room is there, in dB.
SITE_NOISE_DB = {"north": -2.0, "south": 0.0, "west": 2.0}

#: Signal-to-noise ratio and level of the speech, in dB (level: dB of full scale). The
#: peaks of a creaky voice are up to 27 dB above its level.
SNR_RANGE_DB, LEVEL_RANGE_DB = (14.0, 38.0), (-40.0, -27.0)

#: Spectral slopes of room noise: amplitude falls with frequency to this power.
NOISE_SLOPES = (0.0, 0.5, 1.0)

#: Lossy encoders: FFmpeg's name and sample format, bits per second and channel at
#: up to 22 kHz and above, options.
CODECS = {
    "MP3": ("libmp3lame", "s16p", (48000, 96000), {}),
    "M4A": ("aac", "fltp", (40000, 80000), {"aac_coder": "fast"}),
}


@dataclass(frozen=True)
class Channel:
    """How one recording is made.

    encoding: WAV, FLAC, MP3 or M4A.
    sample_rate_hz, n_channels: Of the file.
    subtype: libsndfile's sample format of WAV and FLAC.
    snr_db, level_db: Speech over noise, and speech under full scale.
    noise_slope: Of ``NOISE_SLOPES``.
    balance_db: How much louder the second channel is.
    """

    encoding: str
    sample_rate_hz: int
    n_channels: int
    subtype: str
    snr_db: float
    level_db: float
    noise_slope: float
    balance_db: float


def draw_site(rng):
    """Draw where a subject is recorded: a key of ``SITE_NOISE_DB``."""
    return str(rng.choice(list(SITE_NOISE_DB)))


def draw_device(rng):
    """Draw the device of a session: a key of ``DEVICES``."""
    return str(rng.choice(list(DEVICE_SHARES), p=list(DEVICE_SHARES.values())))


def draw_channel(site: str, device: str, rng: np.random.Generator) -> Channel:
    """Draw how a device makes one recording.

    site, device: Keys of ``SITE_NOISE_DB`` and ``DEVICES``.
    rng: Where the draws come from.
    """
    encodings, rates, counts = DEVICES[device]
    encoding = str(rng.choice(encodings))
    subtypes = ("PCM_16", "PCM_24", "FLOAT") if encoding == "WAV" else ("PCM_16",)
    return Channel(
        encoding=encoding,
        sample_rate_hz=int(rng.choice(rates)),
        n_channels=int(rng.choice(counts)),
        subtype=str(rng.choice(subtypes)),
        snr_db=float(rng.uniform(*SNR_RANGE_DB)) - SITE_NOISE_DB[site],
        level_db=float(rng.uniform(*LEVEL_RANGE_DB)),
        noise_slope=float(rng.choice(NOISE_SLOPES)),
        balance_db=float(rng.uniform(-3, 3)),
    )


def tie_noise(channel: Channel, severity: float) -> Channel:
    """Tie the noise floor to a severity: affected speech is noisy, other clean.

    channel: As drawn.
    severity: From 0 to 4; from 2 on the recording gets the noisy part of the range.

    Returns: With another ``snr_db``, all else the same.
    """
    low, high = SNR_RANGE_DB
    width = 0.3 * (high - low)
    place = (channel.snr_db - low) / (high - low)
    base = low if severity >= 2 else high - width
    return replace(channel, snr_db=base + place * width)


def apply_channel(
    samples: np.ndarray, channel: Channel, rng: np.random.Generator
) -> np.ndarray:
    """Send clean speech through a room and a device.

    samples: Mono, [time], at the synthesiser's rate.
    channel: What happens.
    rng: Where the noise comes from.

    Returns: [time, channel] at the channel's rate, within ±1.
    """
    rate = channel.sample_rate_hz
    factor = np.gcd(rate, SAMPLE_RATE)
    speech = signal.resample_poly(samples, rate // factor, SAMPLE_RATE // factor)
    # From the first sound to the last: a level of the loud moments alone would be
    # another for voices that have fewer of them, and tell the label.
    heard = np.flatnonzero(np.abs(speech) > 0.02 * np.abs(speech).max())
    speech = speech / np.sqrt(np.mean(speech[heard[0] : heard[-1] + 1] ** 2))
    noise_gain = 10 ** (-channel.snr_db / 20)
    room = _noise(len(speech), channel.noise_slope, rng)
    tracks = [speech + noise_gain * room]
    if channel.n_channels == 2:
        # Most of the room's noise reaches both microphones.
        own = _noise(len(speech), channel.noise_slope, rng)
        second = speech + noise_gain * (0.9 * room + np.sqrt(1 - 0.9**2) * own)
        tracks.append(second * 10 ** (channel.balance_db / 20))
    recording = np.stack(tracks, axis=1) * 10 ** (channel.level_db / 20)
    peak = np.abs(recording).max()
    # Speech that would clip is turned down, as a person would do.
    return recording * min(1.0, 0.95 / peak)


def _noise(n_samples, slope, rng):
    """Noise [time] of unit power whose amplitude falls with frequency**slope."""
    # An odd length can make the transform a hundred times slower.
    n_fft = next_fast_len(n_samples, real=True)
    spectrum = np.fft.rfft(rng.normal(0, 1, n_fft))
    bins = np.arange(len(spectrum), dtype=float)
    # Flat below 20 bins or so, where a slope would leave nothing but rumble.
    spectrum /= np.maximum(bins, max(20.0, len(bins) / 200)) ** slope
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, n_fft)[:n_samples]
    return noise / np.sqrt(np.mean(noise**2))


def write_audio(path: Path, recording: np.ndarray, channel: Channel):
    """Encode a recording.

    path: File to write; its suffix is the encoding in lower case.
    recording: [time, channel], within ±1.
    channel: Encoding, rate and sample format.
    """
    if channel.encoding in CODECS:
        _write_lossy(path, recording, channel)
    else:
        soundfile.write(
            path, recording, channel.sample_rate_hz, subtype=channel.subtype
        )


def _write_lossy(path, recording, channel):
    """Encode with FFmpeg, in one thread so that the same input gives the same file."""
    codec, sample_format, bit_rates, options = CODECS[channel.encoding]
    layout = "stereo" if channel.n_channels == 2 else "mono"
    rate = channel.sample_rate_hz
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, options=options)
        stream.bit_rate = bit_rates[rate > 24000] * channel.n_channels
        stream.codec_context.thread_count = 1
        planes = recording.T.astype(np.float32)
        if sample_format == "s16p":
            planes = np.round(planes * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(planes), format=sample_format, layout=layout
        )
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
