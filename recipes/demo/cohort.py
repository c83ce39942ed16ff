"""Who speaks in the demo corpus: voices, splits, and how severely each is affected."""

from dataclasses import dataclass, field

import numpy as np

LABELS = (
    "slow rate",
    "irregular artic breakdowns",
    "rapid rate",
    "distortions",
    "strained",
)

#: Severities go from 0 (not affected) to this, as the raters' scale does.
MAX_SEVERITY = 4.0

#: eSpeak's voice variants that sound like a person, divided over the splits: no
#: voice of val or test is heard in training.
VOICES = {
    "train": {
        "female": ("Female1", "Female3", "Female5", "Steph", "Annie"),
        "male": (
            *("Male1", "Male2", "Male4", "Male7", "Denis", "Gene", "Iven", "Lee"),
            *("Mario", "Michael", "Norbert", "Travis"),
        ),
    },
    "val": {"female": ("Female4", "Steph2"), "male": ("Male5", "John", "Max")},
    "test": {
        "female": ("Female2", "Auntie", "Linda"),
        "male": ("Male3", "Male6", "Andy", "Boris", "Michel"),
    },
}
ACCENTS = (
    *("English (America)", "English (Great Britain)", "English (Scotland)"),
    *("English (Lancaster)", "English (Received Pronunciation)"),
    *("English (West Midlands)", "English (Caribbean)"),
)

#: Share of the subjects in val and test; the rest trains.
SPLIT_SHARES = {"val": 0.14, "test": 0.24}

#: Share of a split's subjects who tend to have each label.
AFFECTED_SHARE = {
    "irregular artic breakdowns": 0.34,
    "distortions": 0.34,
    "strained": 0.34,
}
#: Slow and rapid exclude each other: both are ends of one trait.
RATE_SHARE = 0.29

#: What an affected and an unaffected subject's mean severity is drawn from.
AFFECTED, UNAFFECTED = (2.0, 4.0), (0.0, 0.9)
SESSION_SD, RECORDING_SD = 0.3, 0.45


@dataclass(frozen=True)
class Subject:
    """One simulated speaker.

    name, split, sex: Identity, the split all recordings go to, and the voice's
        sex.
    age: Years; without any effect on the speech.
    voice, accent: eSpeak's voice variant and language.
    pitch, pitch_range, formant_shift: Factors on what the voice does by itself.
    tendency: Mean severity of each label but the two rates, and ``rate``: below
        0 for slow, above 0 for rapid.
    """

    name: str
    split: str
    sex: str
    age: int
    voice: str
    accent: str
    pitch: float
    pitch_range: float
    formant_shift: float
    tendency: dict = field(repr=False)


def draw_cohort(n_subjects: int, rng: np.random.Generator) -> list[Subject]:
    """Draw the subjects of all splits.

    n_subjects: How many in all, at least 6.
    rng: Where the draws come from.

    Returns: Grouped by split: train, val, test.

    >>> subjects = draw_cohort(12, np.random.default_rng(0))
    >>> [subject.split for subject in subjects].count("test")
    3
    """
    sizes = {s: max(2, round(share * n_subjects)) for s, share in SPLIT_SHARES.items()}
    sizes = {"train": n_subjects - sum(sizes.values()), **sizes}
    names = [f"S{number:03d}" for number in rng.permutation(n_subjects) + 1]
    cohort = []
    for split, size in sizes.items():
        tendencies = _draw_tendencies(size, rng)
        for index in range(size):
            name = names[len(cohort)]
            cohort.append(_draw_subject(name, split, index, tendencies[index], rng))
    return cohort


def _draw_subject(name, split, index, tendency, rng):
    """Draw one subject; sexes alternate and each sex's voices take turns."""
    sex = ("female", "male")[index % 2]
    voices = VOICES[split][sex]
    return Subject(
        name=name,
        split=split,
        sex=sex,
        age=int(rng.integers(20, 90)),
        voice=voices[index // 2 % len(voices)],
        accent=str(rng.choice(ACCENTS)),
        pitch=round(float(rng.uniform(0.8, 1.25)), 3),
        pitch_range=round(float(rng.uniform(0.5, 1.5)), 3),
        formant_shift=round(float(rng.uniform(0.88, 1.14)), 3),
        tendency=tendency,
    )


def _draw_tendencies(n_subjects, rng):
    """Draw every subject's mean severities, with the same share affected in each
    split, so that a small test split has enough of both classes."""
    tendencies = [{} for _ in range(n_subjects)]
    for label, share in AFFECTED_SHARE.items():
        affected = rng.permutation(n_subjects) < round(share * n_subjects)
        for tendency, is_affected in zip(tendencies, affected, strict=True):
            tendency[label] = rng.uniform(*(AFFECTED if is_affected else UNAFFECTED))
    rank = rng.permutation(n_subjects)
    n_each = round(RATE_SHARE * n_subjects)
    for tendency, place in zip(tendencies, rank, strict=True):
        if place < 2 * n_each:
            tendency["rate"] = rng.uniform(*AFFECTED) * (1 if place % 2 else -1)
        else:
            tendency["rate"] = rng.uniform(*UNAFFECTED) * rng.choice((-1, 1))
    return tendencies


def draw_severities(
    subject: Subject, n_recordings: int, n_sessions: int, rng: np.random.Generator
) -> list[dict]:
    """Draw how severe each label is in each of a subject's recordings.

    subject: Whose tendencies the severities scatter around.
    n_recordings, n_sessions: Recordings are divided over the sessions in order.
    rng: Where the draws come from.

    Returns: For each recording, label -> severity from 0 to 4.
    """
    traits = list(subject.tendency)
    session_shift = rng.normal(0, SESSION_SD, (n_sessions, len(traits)))
    recordings = []
    for index in range(n_recordings):
        session = index * n_sessions // n_recordings
        shift = session_shift[session] + rng.normal(0, RECORDING_SD, len(traits))
        drawn = {t: subject.tendency[t] + s for t, s in zip(traits, shift, strict=True)}
        rate = drawn.pop("rate")
        drawn |= {"slow rate": -rate, "rapid rate": rate}
        recordings.append(
            {label: float(np.clip(drawn[label], 0, MAX_SEVERITY)) for label in LABELS}
        )
    return recordings
