"""Makes recordings for the tests, from (duration, rate, channels)."""

import json
import struct

import av
import numpy as np
import pytest
import soundfile
from parselmouth import praat

from local.audio import inspection, loading
from local.utils.errors import BadRecording

#: Encoder, container, rate in Hz and bits per second of what soundfile doesn't
#: write.
ENCODERS = {
    "m4a": ("aac", "ipod", 44100, 64000),
    "aac": ("aac", "adts", 44100, 64000),
    "webm": ("libopus", "webm", 48000, 64000),
    "wma": ("wmav2", "asf", 44100, 64000),
    "amr": ("libopencore_amrnb", "amr", 8000, 12200),
}


def sine(duration_s=1.0, rate=16000, channels=1, frequency_hz=440.0, amplitude=0.5):
    """float64 [samples, channels]: the first channel at `amplitude`, the next at
    half of it, the next at a third, …"""
    time_s = np.arange(round(duration_s * rate)) / rate
    wave = amplitude * np.sin(2 * np.pi * frequency_hz * time_s)
    return wave[:, None] / np.arange(1, channels + 1)


def speech(text, rate=16000):
    """Synthetic speech, float64 [time], between the first and the last sound."""
    voice = praat.call("Create SpeechSynthesizer", "English (America)", "Male1")
    _, sound = praat.call(voice, "To Sound", text, "yes")
    samples = sound.resample(rate).values[0]
    heard = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return 0.3 * samples[heard[0] : heard[-1]] / np.abs(samples).max()


def write_with_pyav(path, samples, rate, codec, container, bit_rate):
    """Writes [samples, channels] in a format that soundfile doesn't know."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = bit_rate
        planar = np.ascontiguousarray(samples.T, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout=layout)
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)


def write_audio(path, samples, rate, subtype=None):
    """Writes [samples, channels] in the format that the extension names."""
    extension = path.suffix[1:]
    if extension in ENCODERS:
        codec, container, _, bit_rate = ENCODERS[extension]
        write_with_pyav(path, samples, rate, codec, container, bit_rate)
    elif extension == "opus":
        soundfile.write(path, samples, rate, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, samples, rate, subtype=subtype)


def make_recording(folder, samples=None, rate=16000, extension="wav", subtype=None):
    """Makes a recording's folder; a sine of 1 s unless samples are given."""
    samples = sine(rate=rate) if samples is None else samples
    folder.mkdir(parents=True, exist_ok=True)
    write_audio(folder / f"waveform.{extension}", samples, rate, subtype)
    write_metadata(folder, encoding=extension.upper(), sample_rate_hz=rate)
    return folder


def write_metadata(folder, **metadata):
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")


def pcm_wav(values, rate=8000, bits=16):
    """The bytes of a mono WAV file, written by hand: what the header means is
    decided here, not by a library. 8 bits are unsigned, others signed."""
    width = bits // 8
    data = b"".join(int(v).to_bytes(width, "little", signed=bits > 8) for v in values)
    header = struct.pack("<HHIIHH", 1, 1, rate, rate * width, width, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + header
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


def inspect(folder, channel=None, start_s=None, end_s=None, **audio):
    """Inspects the recording in a folder."""
    return inspection.inspect_recording(
        loading.recording_files(folder),
        loading.AudioFormat(**audio),
        channel=channel,
        start_s=start_s,
        end_s=end_s,
    )


def cut_file(path, share=0.5):
    """Leaves the first `share` of a file's bytes, as a broken copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def frequency_hz(waveform, rate):
    """The strongest frequency of [samples], to about rate / samples."""
    spectrum = np.abs(np.fft.rfft(np.asarray(waveform) * np.hanning(len(waveform))))
    return float(np.argmax(spectrum)) * rate / len(waveform)


def reason(call, *args, **kwargs):
    """Why a recording can't be used, as the call tells it."""
    with pytest.raises(BadRecording) as raised:
        call(*args, **kwargs)
    return str(raised.value)
