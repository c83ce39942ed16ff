"""One subject's recordings, from severities to files."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from recipes.corpus import write_metadata
from recipes.demo import channel as channels
from recipes.demo import manipulate
from recipes.demo.cohort import Subject, draw_severities
from recipes.demo.pauses import measure_pauses
from recipes.demo.raters import Panel, rate
from recipes.demo.synthesis import (
    SAMPLE_RATE,
    find_pulses,
    speak_for,
    words_per_minute,
)

N_SESSIONS = 2

#: Seconds: from the first sound to the last, of a pause between, and of the room
#: before and after, as it is heard where a person starts and stops a device.
DURATION_RANGE_S, PAUSE_RANGE_S, EDGE_RANGE_S = (2.0, 4.0), (0.18, 0.5), (0.65, 1.2)
MAX_PAUSES, MIN_SPEECH_S = 3, 1.5


def perform(
    subject: Subject, severities: dict[str, float], rng: np.random.Generator
) -> tuple[np.ndarray, str, list[tuple[float, float]]]:
    """Let a subject say something, with every manipulation at its severity.

    subject: Who speaks.
    severities: Label -> severity from 0 to 4.
    rng: Everything drawn comes from here, in an order that no severity changes.

    Returns samples: Clean mono speech, [time], at ``SAMPLE_RATE``.
    Returns text: What was said.
    Returns breakdowns: (start_s, end_s) of each span in which the articulation breaks
        down.
    """
    text_rng, strain_rng, distort_rng, pause_rng, break_rng = rng.spawn(5)
    duration_s = rng.uniform(*DURATION_RANGE_S)
    edges_s = rng.uniform(*EDGE_RANGE_S, 2)
    pauses_s = list(rng.uniform(*PAUSE_RANGE_S, int(rng.integers(0, MAX_PAUSES + 1))))
    speech_s = duration_s - sum(pauses_s)
    while speech_s < MIN_SPEECH_S and pauses_s:
        speech_s += pauses_s.pop()

    wpm = words_per_minute(severities)
    spoken = speak_for(subject, speech_s, wpm, text_rng)
    pulses = find_pulses(spoken.samples)
    pressed = manipulate.press_voice(
        spoken.samples, pulses, severities["strained"], strain_rng
    )
    spoken = replace(spoken, samples=pressed)
    spoken = manipulate.distort(spoken, severities["distortions"], distort_rng)
    spoken = manipulate.insert_pauses(spoken, pauses_s, pause_rng)
    samples, spans = manipulate.break_down(
        spoken, severities["irregular artic breakdowns"], break_rng
    )
    before, after = (round(edge_s * SAMPLE_RATE) for edge_s in edges_s)
    breakdowns = [tuple(before / SAMPLE_RATE + np.array(span)) for span in spans]
    return np.pad(samples, (before, after)), spoken.text, breakdowns


def record_subject(
    subject: Subject, panel: Panel, settings: dict, audio_folder: Path
) -> list[dict]:
    """Make and write all recordings of a subject.

    subject: Who speaks.
    panel: Who rates.
    settings: ``seed``, ``n_recordings`` and ``confound`` (a label or None).
    audio_folder: Gets one folder per recording.

    Returns: One row per recording: the columns of the split's CSV, and ``severities``,
        ``breakdowns``, ``duration_s``, ``pause_share``, ``n_pauses``.
    """
    # One stream per purpose, and all channels before any speech: what a recording
    # is made with can't depend on what is said in it.
    seed = np.random.SeedSequence([settings["seed"], int(subject.name[1:])])
    speech_rng, rating_rng, channel_rng, site_rng = map(
        np.random.default_rng, seed.spawn(4)
    )
    n_recordings = settings["n_recordings"]
    all_severities = draw_severities(subject, n_recordings, N_SESSIONS, speech_rng)
    sessions = [index * N_SESSIONS // n_recordings for index in range(n_recordings)]
    site = channels.draw_site(site_rng)
    devices = [channels.draw_device(channel_rng) for _ in range(N_SESSIONS)]
    drawn = [channels.draw_channel(site, devices[s], channel_rng) for s in sessions]
    rows = []
    for index, (severities, session, channel) in enumerate(
        zip(all_severities, sessions, drawn, strict=True)
    ):
        speech = perform(subject, severities, speech_rng.spawn(1)[0])
        samples, text, breakdowns = speech
        ratings = rate(severities, panel, rating_rng)
        if settings["confound"]:
            channel = channels.tie_noise(channel, severities[settings["confound"]])
        recording = channels.apply_channel(samples, channel, channel_rng.spawn(1)[0])
        row = {
            "uid": f"{subject.name}_{index + 1:02d}",
            "subject": subject.name,
            **ratings,
            "sex": subject.sex,
            "age": subject.age,
            "site": site,
            "device": devices[session],
            "session": session + 1,
            "severities": severities,
            "breakdowns": breakdowns,
            **measure_pauses(recording.mean(axis=1), channel.sample_rate_hz),
        }
        _write(audio_folder / row["uid"], recording, channel, text)
        rows.append(row)
    return rows


def record_block(block: tuple) -> list[dict]:
    """Make the recordings of a block of subjects: the work of one fresh process.

    block: A list of subjects, then the other arguments of `record_subject`.

    Returns: The rows of all of them, in order.
    """
    subjects, *arguments = block
    rows = []
    for subject in subjects:
        rows += record_subject(subject, *arguments)
    return rows


def _write(folder, recording, channel, text):
    """Write waveform and metadata.json of one recording."""
    folder.mkdir(parents=True)
    suffix = channel.encoding.lower()
    channels.write_audio(folder / f"waveform.{suffix}", recording, channel)
    write_metadata(
        folder,
        channel.encoding,
        channel.sample_rate_hz,
        channels=channel.n_channels,
        text=text,
        synthetic=True,
    )
