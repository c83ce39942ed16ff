"""Write real audio files of every kind, break them as people do, and read them.

    PYTHONPATH=. python tests/fuzz/containers.py [--rounds=1] [--seed=1]

Every container and codec that libsndfile and FFmpeg write here, whole, cut at a random
place, joined with others, with a length in its header that is wrong, with two tracks,
or in a video whose sound starts late. What the recipe makes of a file is compared with
FFmpeg's decode of what was written. A file is *right* (all seconds, the same samples),
*told* (reported, or used with a warning) or *wrong*: sound is missing or other sound is
there without a word, or a good file is reported. The status is 1 if any is wrong.
"""

import argparse
import collections
import contextlib
import itertools
import sys
import tempfile
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from av.stream import Disposition

from local.audio import inspection, loading
from local.utils.errors import BadRecording
from tests.audio_files import write_metadata

SLACK_S = 0.26
#: RATES that not every codec takes.
RATES = {"OPUS": 48000, "libopus": 48000, "libopencore_amrnb": 8000, "GSM610": 8000}
RATES |= {
    "wmav": 44100,
    "libmp3lame": 44100,
    "mp2": 44100,
    "ac3": 44100,
    "nellymoser": 8000,
}
RATES |= {"G721_32": 8000, "g726": 8000, "g723_1": 8000, "pcm_bluray": 48000}
BIT_RATES = {"g726": 32000, "wmav1": 64000, "wmav2": 64000}
#: What FFmpeg writes: extension, container, codecs.
MUXED = {
    "mp3": ("mp3", ["libmp3lame"]),
    "mp2": ("mp2", ["mp2"]),
    "aac": ("adts", ["aac"]),
    "ac3": ("ac3", ["ac3"]),
    "amr": ("amr", ["libopencore_amrnb"]),
    "ogg": ("ogg", ["libopus", "flac"]),
    "flac": ("flac", ["flac"]),
    "m4a": ("ipod", ["aac", "alac"]),
    "mp4": ("mp4", ["aac", "libmp3lame", "ac3", "flac", "libopus"]),
    "mov": ("mov", ["pcm_s16le", "aac", "alac", "adpcm_ima_qt", "pcm_alaw"]),
    "3gp": ("3gp", ["libopencore_amrnb", "aac"]),
    "mka": ("matroska", ["aac", "libopus", "flac", "libmp3lame", "pcm_s16le"]),
    "webm": ("webm", ["libopus"]),
    "wma": ("asf", ["wmav1", "wmav2", "libmp3lame"]),
    "avi": ("avi", ["libmp3lame", "pcm_s16le", "ac3"]),
    "ts": ("mpegts", ["aac", "libmp3lame", "ac3"]),
    "mpg": ("mpeg", ["mp2", "ac3"]),
    "flv": ("flv", ["aac", "libmp3lame", "nellymoser"]),
    "wav": ("wav", ["g722", "g726", "adpcm_ms", "adpcm_ima_wav", "libmp3lame", "aac"]),
    "tta": ("tta", ["tta"]),
    "wv": ("wv", ["wavpack"]),
    "caf": ("caf", ["alac", "pcm_s16le", "flac"]),
    "w64": ("w64", ["pcm_s16le"]),
    "au": ("au", ["pcm_s16be", "pcm_mulaw"]),
    "aiff": ("aiff", ["pcm_s16be", "pcm_s24be"]),
    "voc": ("voc", ["pcm_u8", "pcm_s16le"]),
}
VIDEOS = {"mp4": "mpeg4", "mov": "mpeg4", "mka": "mpeg4", "avi": "mpeg4"}
VIDEOS |= {"webm": "libvpx", "ts": "mpeg2video", "mpg": "mpeg2video", "flv": "flv1"}
LEFT_OUT = {"RAW", "SD2"}
#: Where they are cut, nobody can know.
STATE_NOTHING = {"PVF", "PAF", "IRCAM", "XI"}
#: Likewise, if it is between two frames.
FRAMES_ONLY = {"mp2", "aac", "ac3", "amr"}


def sound(generator, duration_s, rate):
    """A voice of a kind: float32 [samples]."""
    time_s = np.arange(round(duration_s * rate)) / rate
    pitch = generator.uniform(100, 300)
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.2 * np.sin(9 * time_s))) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 6))
    noise = generator.normal(scale=0.05, size=len(time_s))
    return (0.2 * (wave * (0.6 + 0.4 * np.sin(20 * time_s)) + noise)).astype("float32")


# Writing


def encode(stream, samples, rate, delay_s=0.0):
    """The packets of [samples] in a stream, from a time on."""
    context = stream.codec_context
    context.open(strict=False)
    channels = context.layout.nb_channels
    size = context.frame_size or 1024
    resampler = av.AudioResampler(
        format=context.format, layout=context.layout, rate=rate
    )
    packets = []
    for start in range(0, len(samples), size):
        part = np.tile(samples[start : start + size], (channels, 1))
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(part), format="fltp", layout=context.layout.name
        )
        frame.sample_rate = rate
        for ready in resampler.resample(frame):
            ready.pts = start + round(delay_s * rate)
            ready.time_base = Fraction(1, rate)
            packets += stream.encode(ready)
    return packets + list(stream.encode(None))


def encode_video(stream, duration_s):
    """Packets of a picture that stands still."""
    packets = []
    for number in range(round(25 * duration_s)):
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([number % 200]) * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, 25)
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))


def mux(path, container, codec, tracks, rate, video=None, options=None):
    """Write tracks, dicts with `samples`, and `delay_s` and `is_default` if wanted."""
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        picture = None
        if video:
            picture = output.add_stream(video, rate=25)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        streams = []
        for track in tracks:
            stream = output.add_stream(codec, rate=rate, layout="mono")
            if codec in BIT_RATES:
                stream.bit_rate = BIT_RATES[codec]
            if "is_default" in track:
                stream.disposition = Disposition(int(track["is_default"]))
            streams.append(stream)
        packets = [
            packet
            for stream, track in zip(streams, tracks, strict=True)
            for packet in encode(
                stream, track["samples"], rate, track.get("delay_s", 0.0)
            )
        ]
        if picture:
            length_s = max(
                len(track["samples"]) / rate + track.get("delay_s", 0.0)
                for track in tracks
            )
            packets += encode_video(picture, length_s)
        packets = [packet for packet in packets if packet.dts is not None]
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            output.mux(packet)


def writers():
    """Every way to write a file here: (extension, codec) → function of a path."""
    found = {}
    for kind in sorted(set(soundfile.available_formats()) - LEFT_OUT):
        for codec in soundfile.available_subtypes(kind):
            found[kind, codec] = "soundfile"
    for extension, (_, codecs) in MUXED.items():
        for codec in codecs:
            found[extension, codec] = "ffmpeg"
    return found


def rate_of(codec):
    return next((r for name, r in RATES.items() if name in codec), 16000)


def write(path, kind, codec, samples, rate, **options):
    """Write samples in a way of `writers`; fails if it can't be done."""
    if kind in MUXED:
        mux(path, MUXED[kind][0], codec, [{"samples": samples}], rate, **options)
    else:
        soundfile.write(path, samples, rate, format=kind, subtype=codec)


# Reading


def reference(path):
    """FFmpeg's decode of the first audio track to its end: float32 [samples]."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="mono")
        for packet in container.demux(stream):
            with contextlib.suppress(av.error.InvalidDataError):
                for frame in packet.decode():
                    frame.pts = None
                    frames += [f.to_ndarray()[0] for f in resampler.resample(frame)]
    return np.concatenate(frames)


def truth(path, codec):
    """What a whole file holds, by FFmpeg.

    By libsndfile where FFmpeg doesn't read it, or takes its G.726 for another.
    """
    if not codec.startswith("G72"):
        with contextlib.suppress(Exception):
            return reference(path)
    return soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0]


def outcome(folder):
    """(samples or None, what was told) of the recording in a folder."""
    try:
        files = loading.recording_files(folder)
        audio = loading.AudioFormat(sample_rate=0, min_duration=0)
        report = inspection.inspect_recording(files, audio)
        metadata = loading.read_metadata(files)
        waveform = loading.load_recording(files, metadata, audio).numpy()
    except BadRecording as reason:
        return None, [str(reason)]
    usual = ("metadata.json", "recorded at", "clipped")
    return waveform, [note for note in report.warnings if not note.startswith(usual)]


def judge(found, told, parts, rate, may_warn):
    """ "right", "told" or what is wrong; `parts` is what should be found, in order."""
    if found is None:
        return "told" if may_warn else f"a good file is reported: {told[0]}"
    expected_s = sum(len(part) for part in parts) / rate
    missing_s = expected_s - len(found) / rate
    if abs(missing_s) <= SLACK_S * max(1, len(parts) - 1) and is_same(
        found, parts, rate
    ):
        if may_warn or not told:
            return "right"
        return f"a good file is warned of: {told[0]}"
    if told and may_warn:
        return "told"
    if missing_s > SLACK_S:
        return f"short in silence: {missing_s:.2f} s of {expected_s:.2f}"
    if missing_s < -SLACK_S:
        return f"too long: {-missing_s:.2f} s more than {expected_s:.2f}"
    return "other samples"


def is_same(found, parts, rate):
    """Whether the parts follow each other in what was found, give or take 0.1 s."""
    start = 0
    for part in parts:
        reach = rate // 10
        padded = np.pad(found, (reach, reach + max(0, start + len(part) - len(found))))
        window = padded[start : start + len(part) + 2 * reach].astype(float)
        n = len(window) + len(part)
        products = np.fft.irfft(
            np.fft.rfft(window, n) * np.conj(np.fft.rfft(part.astype(float), n)), n
        )
        lag = int(np.argmax(products[: 2 * reach + 1]))
        n = min(len(part), len(found) - start + reach - lag)  # some may be cut off
        error = np.square(window[lag : lag + n] - part[:n]).mean()
        if error > 0.1 * np.square(part).mean() + 1e-9:
            return False
        start += len(part)
    return True


def borders(path):
    """Where the packets of a file begin."""
    with av.open(str(path)) as container:
        return {packet.pos for packet in container.demux()}


# Breaking


def cases(kind, codec, generator, folder):
    """Yields (what was done, bytes, expected samples, rate, whether to be told)."""
    rate = rate_of(codec)
    files = []
    for number in range(3):
        samples = sound(generator, generator.uniform(0.8, 1.6), rate)
        files.append(folder / f"{number}")
        write(files[-1], kind, codec, samples, rate)
    wholes = [truth(file, codec) for file in files]
    contents = [file.read_bytes() for file in files]
    yield "whole", contents[0], wholes[:1], rate, False
    for _ in range(0 if kind in STATE_NOTHING else 4):
        place = int(len(contents[0]) * generator.uniform(0.15, 0.85))
        if kind in FRAMES_ONLY and place in borders(files[0]):
            continue
        yield "cut", contents[0][:place], wholes[:1], rate, True
    for numbers in () if kind == "XI" else ((0, 1), (0, 1, 2), (2, 0)):
        joined = b"".join(contents[n] for n in numbers)
        yield "joined", joined, [wholes[n] for n in numbers], rate, True
    yield from wrong_lengths(kind, codec, generator, folder, rate)
    if kind in MUXED:
        yield from muxed_cases(kind, codec, generator, folder, rate)


def wrong_lengths(kind, codec, generator, folder, rate):
    """A long file and its beginning: where their heads differ is a length."""
    long = sound(generator, 1.6, rate)
    for name, samples in (("long", long), ("short", long[: rate // 2])):
        write(folder / name, kind, codec, samples, rate)
    contents = [(folder / name).read_bytes() for name in ("long", "short")]
    wholes = [truth(folder / name, codec) for name in ("long", "short")]
    both = zip(*contents, strict=False)
    places = [i for i, (one, other) in enumerate(both) if one != other][:60]
    head = len(contents[1]) // 3
    if not places or len(places) > 40 or places[-1] > head:
        return
    patched = [bytearray(content) for content in (*contents, contents[0], contents[0])]
    for i in places:
        patched[0][i], patched[1][i] = contents[1][i], contents[0][i]
        patched[2][i], patched[3][i] = 0, 0xFF
    # what is missing can't be read, but has to be told
    names = ("states less", "states more", "states 0", "states -1")
    for name, content in zip(names, patched, strict=True):
        yield name, bytes(content), wholes[:1], rate, True


def muxed_cases(kind, codec, generator, folder, rate):
    """Tracks and videos."""
    container = MUXED[kind][0]
    samples = sound(generator, 1.2, rate)
    other = sound(generator, 1.2, rate)
    silent = np.zeros_like(samples)
    write(folder / "alone", kind, codec, samples, rate)
    alone = truth(folder / "alone", codec)
    tracks = {
        "first silent": ([silent, samples], [1, 0]),
        "second silent": ([samples, silent], [0, 1]),
        "second default": ([other, samples], [0, 1]),
        "first default": ([samples, other], [1, 0]),
    }
    for name, (sounds, default) in tracks.items():
        if kind not in VIDEOS:
            break
        if "default" in name and kind not in ("mka", "mp4", "mov"):
            continue
        with contextlib.suppress(av.FFmpegError):
            described = [
                {"samples": s, "is_default": d}
                for s, d in zip(sounds, default, strict=True)
            ]
            mux(folder / "tracks", container, codec, described, rate)
            content = (folder / "tracks").read_bytes()
            yield f"two tracks, {name}", content, [alone], rate, True
    for delay_s in (0.0, 0.7) if kind in VIDEOS else ():
        if delay_s and kind == "avi":  # it has no times
            continue
        with contextlib.suppress(av.FFmpegError):
            described = [{"samples": samples, "delay_s": delay_s}]
            mux(folder / "video", container, codec, described, rate, VIDEOS[kind])
            content = (folder / "video").read_bytes()
            late = np.zeros(round(delay_s * rate), "float32")
            expected = [np.concatenate([late, truth(folder / "video", codec)])]
            yield f"video, sound at {delay_s:g} s", content, expected, rate, delay_s > 0
            place = int(len(content) * generator.uniform(0.3, 0.8))
            yield "video, cut", content[:place], expected, rate, True


def main():
    """Write, break and read; tell what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--findings", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    counts, findings, left_out = collections.Counter(), [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, (kind, codec) in itertools.product(
            range(options.rounds), writers()
        ):
            if options.only not in f"{kind}-{codec}":
                continue
            generator = np.random.default_rng([options.seed, number, len(kind + codec)])
            try:
                for case in cases(kind, codec, generator, folder):
                    what, verdict = try_case(folder / "recording", kind, *case)
                    counts[what, verdict.split(":")[0]] += 1
                    if verdict not in ("right", "told"):
                        findings.append(f"{kind}-{codec}, {what}: {verdict}")
                        if options.findings:
                            options.findings.mkdir(parents=True, exist_ok=True)
                            name = f"{kind}-{codec}-{what}-{number}".replace(" ", "_")
                            (options.findings / name).write_bytes(case[1])
            except (av.FFmpegError, soundfile.LibsndfileError, ValueError) as error:
                if number == 0:
                    left_out.append(f"{kind}-{codec}: {error}")
    report(counts, findings, left_out)
    return 1 if findings else 0


def try_case(folder, kind, what, content, expected, rate, may_warn):
    """(what was done, what became of it) of a file."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    (folder / f"waveform.{kind.lower()}").write_bytes(content)
    write_metadata(folder, encoding=kind, sample_rate_hz=rate)
    try:
        found, told = outcome(folder)
    except Exception as error:
        return what, f"{type(error).__name__}: {error}"
    return what, judge(found, told, expected, rate, may_warn)


def report(counts, findings, left_out):
    """Print what became of the files, by what was done to them."""
    for line in left_out:
        print(f"not written here: {line}")
    whats = sorted({what for what, _ in counts})
    print("| files | tried | right | told | wrong |\n|---|---|---|---|---|")
    total = collections.Counter()
    for what in whats:
        here = {verdict: n for (w, verdict), n in counts.items() if w == what}
        row = [sum(here.values()), here.get("right", 0), here.get("told", 0)]
        row.append(row[0] - row[1] - row[2])
        total.update(dict(zip("abcd", row, strict=True)))
        print(f"| {what} | {' | '.join(map(str, row))} |")
    print(f"| all | {' | '.join(map(str, total.values()))} |")
    for finding, n in collections.Counter(findings).most_common():
        print(f"{n} × {finding}")


if __name__ == "__main__":
    sys.exit(main())
