"""What FFmpeg (through PyAV) reads of an audio or video file.

A `source` is a path, or a file object that begins with the container.
"""

import contextlib
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from local.audio.mpeg import mpeg_frame
from local.utils.errors import DAMAGED, UNREADABLE, BadRecording

#: A container's own idea of its length is coarse: encoder delay, last packet.
LENGTH_SLACK_S = 0.25
#: A track whose samples all stay below -60 dBFS is silent.
SILENT_PEAK = 0.001
#: Gaps between a video's sounds from here on are filled, shorter ones are jitter.
GAP_S = 0.1
#: Formats that state how long they are; with others FFmpeg estimates it.
STATING = {
    *("mov", "matroska", "flv", "flac", "tta", "wv", "ape", "tak", "mpc"),
    *("caf", "aiff", "au", "nistsphere"),
}
#: Bytes behind the last packet that are looked at.
MAX_REST = 1 << 20
#: What may stand between frames of an MP3.
TAGS = (b"TAG", b"ID3", b"APE", b"LYR", b"\0\0\0")


@contextlib.contextmanager
def _opened_by_ffmpeg(source):
    # Local files only, since a playlist in disguise could fetch from the network.
    options = {"protocol_whitelist": "file"}
    with av.open(source, options=options, metadata_errors="replace") as container:
        yield container


def read_header(source, name: str) -> dict:
    """Chooses a track, and reads what the container tells of it.

    source: str or file object
    name: The file's, for messages.

    Returns: Arguments of `probing.AudioInfo`.
    Raises BadRecording: if there is no audio track that can be decoded.
    Raises FFmpegError: if it is no container that FFmpeg reads.
    """
    with _opened_by_ffmpeg(source) as container:
        stream, warnings = _choose_track(container, name)
        rate = stream.codec_context.sample_rate
        duration_s, is_promise = _stated_duration_s(container, stream)
        zero_s = _zero_s(container)
        if zero_s is not None and stream.start_time is not None:
            duration_s += max(0.0, float(stream.start_time * stream.time_base) - zero_s)
        return {
            "sample_rate": rate,
            "channels": stream.codec_context.channels,
            "n_samples": round(duration_s * rate),
            "format": container.format.name,
            "codec": stream.codec_context.name,
            "is_promise": is_promise,
            "track": stream.index,
            "warnings": warnings,
        }


def _choose_track(container, name):
    """The audio track to use, and a warning if there are several."""
    if not container.streams.audio:
        raise BadRecording(f"{name} has no audio track", UNREADABLE)
    tracks = [s for s in container.streams.audio if s.codec_context is not None]
    if not tracks:
        raise BadRecording(
            f"{name} is in an encoding that FFmpeg can't read", UNREADABLE
        )
    if len(container.streams.audio) == 1:
        return tracks[0], []
    loud = _loud(container, tracks)
    default = [s for s in loud or tracks if s.disposition & Disposition.default]
    if len(loud) == 1 and len(tracks) > 1:
        track, reason = loud[0], "the only one that is not silent"
    elif len(default) == 1:
        track, reason = default[0], "the one that is marked as default"
    else:
        track, reason = (loud or tracks)[0], "the first, since none stands out"
    number = container.streams.audio.index(track) + 1
    n_tracks = len(container.streams.audio)
    return track, [f"{n_tracks} audio tracks: number {number} is used, {reason}"]


def _loud(container, tracks):
    """Those of the tracks that are not silent; decodes until that is known."""
    loud = set()
    for packet in container.demux(tracks):
        if packet.stream.index in loud:
            continue
        with contextlib.suppress(av.FFmpegError):
            for frame in packet.decode():
                if np.abs(_float_samples(frame)).max(initial=0) > SILENT_PEAK:
                    loud.add(packet.stream.index)
        if len(loud) == len(tracks):
            break
    return [track for track in tracks if track.index in loud]


def _pictures(container):
    """The video tracks, without covers of music."""
    still = Disposition.attached_pic | Disposition.still_image
    return [s for s in container.streams.video if not s.disposition & still]


def _zero_s(container):
    """When a video's clock starts, in seconds; None if there is no picture."""
    starts = [
        float(s.start_time * s.time_base)
        for s in _pictures(container)
        if s.start_time is not None
    ]
    return min(starts, default=None)


def _stated_duration_s(container, stream):
    """Seconds, and whether they are written in the file rather than estimated."""
    if stream.duration is not None:
        is_stated = container.format.name.split(",")[0] in STATING
        return float(stream.duration * stream.time_base), is_stated
    # A container's duration is that of its longest track, maybe the picture's:
    # `_check_end` looks at them all.
    return (container.duration or 0) / av.time_base, False


def decoded_blocks(source, name: str, track: int, warnings: list[str]):
    """Decodes a track to its end.

    The sound of a video is placed on the video's clock, with silence where there is
    none; audio files begin with their first sample.

    source: str or file object
    name: The file's, for messages.
    track: Number of the stream.
    warnings: What is odd is added to it.

    Yields position: int: Number of the block's first sample.
    Yields samples: np.ndarray: float32 [channels, samples].
    Yields rate: int: In Hz.
    Raises BadRecording: if the container ends before the time that it tells of.
    Raises FFmpegError: if it can't be decoded.
    """
    with _opened_by_ffmpeg(source) as container:
        clock = _Clock(_zero_s(container), warnings)
        position, n_samples, pending, shape = 0, 0, [], None
        for frame in _frames(container, source, track, name, warnings):
            rate = frame.sample_rate
            n_missing = clock.missing(frame, position + n_samples)
            full = n_samples >= rate or n_missing  # FFmpeg's own frames are short
            if pending and (full or shape != (rate, frame.layout.nb_channels)):
                yield position, np.concatenate(pending, axis=1), shape[0]
                position, n_samples, pending = position + n_samples, 0, []
            shape = rate, frame.layout.nb_channels
            while n_missing:
                n_silent = min(n_missing, 60 * rate)
                yield position, np.zeros((shape[1], n_silent), np.float32), rate
                position, n_missing = position + n_silent, n_missing - n_silent
            pending.append(_float_samples(frame))
            n_samples += frame.samples
        if pending:
            yield position, np.concatenate(pending, axis=1), shape[0]


class _Clock:
    """Tells where a video's sound is late."""

    def __init__(self, zero_s, warnings):
        self.zero_s = zero_s
        self.warnings = warnings

    def missing(self, frame, position):
        """Samples of silence before a frame that would else begin at a position."""
        if self.zero_s is None or frame.time is None:
            return 0
        late_s = frame.time - self.zero_s - position / frame.sample_rate
        if late_s < (GAP_S if position else 1 / frame.sample_rate):
            return 0
        if late_s >= GAP_S:
            what = "has gaps" if position else "starts after its picture"
            note = f"a video whose sound {what}: there is silence in its place"
            if note not in self.warnings:
                self.warnings.append(note)
        return round(late_s * frame.sample_rate)


def _frames(container, source, track, name, warnings):
    """Yields the track's frames; looks at the end whether all is there."""
    stream = container.streams[track]
    is_mp3 = container.format.name == "mp3"
    end_s, lost, error, is_torn = 0.0, 0, None, False
    is_corrupt, behind = False, 0
    sizes = [0]
    for packet in container.demux():
        if packet.pts is not None:
            duration = packet.duration or 0
            end_s = max(end_s, float((packet.pts + duration) * packet.time_base))
        if packet.pos is not None:
            behind = max(behind, packet.pos + packet.size)
        if packet.stream.index != stream.index:
            continue
        try:
            yield from packet.decode()
        except av.FFmpegError as raised:
            if not is_mp3:
                raise
            # As all players do with what stands between the frames of an MP3.
            if not bytes(packet)[:3].startswith(TAGS):
                lost, error = lost + packet.size, raised
        if packet.size:
            sizes.append(packet.size)
            is_torn = _is_torn(stream.codec_context.name, packet, sizes)
            is_corrupt = is_corrupt or packet.is_corrupt
    if lost * end_s > LENGTH_SLACK_S * sum(sizes):
        raise error
    if is_torn or is_corrupt or _is_torn_container(container, source, behind):
        warnings.append("it ends within a frame: it may be truncated")
    _check_end(container, stream, name, end_s)


def _is_torn(codec, packet, sizes):
    """Whether a packet is but the beginning of a frame; most codecs tell it."""
    if codec.startswith(("mp3", "mp2")):
        frame = mpeg_frame(bytes(packet)[:4])
        return frame is not None and packet.size < frame[0]
    return codec in ("ac3", "eac3") and packet.size < sizes[1] - 4


def _is_torn_container(container, source, behind):
    """Whether a container without a stated length ends within a packet.

    behind : position of the first byte behind the last packet
    """
    if container.format.name == "mpegts":
        return all(container.size % n_bytes for n_bytes in (188, 192, 204))
    if container.format.name == "aac":
        return 0 < container.size - behind < 8  # a part of a frame's head
    if not container.format.name.startswith("matroska") or container.duration:
        return False
    # As a browser records it. FFmpeg doesn't count the four bytes of a block's head.
    is_file = hasattr(source, "read")
    with contextlib.nullcontext(source) if is_file else Path(source).open("rb") as file:
        file.seek(behind + 4)
        rest = file.read(MAX_REST)
    while rest:  # elements: a name and a length, whose first bits tell their bytes
        n_name = 9 - rest[0].bit_length()
        first = rest[n_name] if n_name < len(rest) else 0
        n_head = n_name + 9 - first.bit_length()
        length = int.from_bytes(rest[n_name:n_head], "big")
        length &= (1 << 7 * (n_head - n_name)) - 1
        if n_head + length > len(rest):
            return True
        rest = rest[n_head + length :]
    return False


def _check_end(container, stream, name, end_s):
    """Raises BadRecording if no track goes on to the time that the container tells."""
    is_stated = container.format.name.split(",")[0] in STATING
    if not is_stated or stream.duration is not None or container.duration is None:
        return
    check_length(name, container.duration / av.time_base, end_s)


def check_length(name: str, expected_s: float, decoded_s: float):
    """Compare seconds with those that a header tells of; BadRecording if they lack."""
    if decoded_s < expected_s - LENGTH_SLACK_S:
        raise BadRecording(
            f"{name} is truncated or damaged: expected {expected_s:.2f} s by its "
            f"header, found {decoded_s:.2f} s",
            DAMAGED,
        )


def _float_samples(frame):
    """An FFmpeg frame as float32 [channels, samples], integers as in libsndfile."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / 2.0 ** (8 * samples.itemsize - 1)
    return samples.astype(np.float32)
