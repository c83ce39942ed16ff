"""One pass over the recordings of a split: what the audit and a baseline need of them.

listener = Silences(table, sample_rate, brain)
frame = measure_split(manifest, recordings, audio, batches, "measuring …", listener)
save_measurements(frame, folder / MEASUREMENTS / "test.parquet")
splits = distinct({"test": test}, seen_splits(folder, names))
labels = audit_evaluation({"test": test}, names)
leaked = confound_audit.leakage(splits, names)
"""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from local.audio.loading import AudioFormat
from local.data import dataset as dataio
from local.data.feature_cache import FeatureCache
from local.data.loaders import ScoreBatches
from local.data.manifests import read_manifest
from local.data.recordings import BucketRecordings, FolderRecordings
from local.data.split import Split
from local.evaluation import confound_audit
from local.evaluation.confound_audit.verdict import STRATA
from local.model.front_end import FeatureNormalization, RecordingFeatures
from local.model.recording_statistics import RecordingStatistics
from local.storage.experiment_files import MANIFESTS, MEASUREMENTS
from local.utils.errors import UserError
from local.utils.files import atomic_write
from local.utils.progress import progress

#: Of these columns nothing is computed; all others but `ID` are numbers.
TEXT = (
    "capture_sample_rate",
    "capture_format",
    "capture_channels",
    "audio_sha256",
)

#: Splits that a model has learned from.
SEEN = ("train", "valid")


def sample_subjects(manifest: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """The recordings of whole subjects, drawn by chance.

    manifest: With `subject`.
    n: At most so many recordings, but those of one subject; 0: all.

    Returns: Rows of the manifest in its order: of the subjects in the order of the draw
        all that still fit.

    >>> manifest = pd.DataFrame({"subject": list("aaabbc")})
    >>> [len(sample_subjects(manifest, n, seed=0)) for n in (0, 1, 3, 5)]
    [6, 1, 3, 4]
    """
    if not 0 < n < len(manifest):
        return manifest
    sizes = manifest["subject"].value_counts().sort_index()
    taken, left = [], n
    for subject in np.random.default_rng(seed).permutation(sizes.index):
        if sizes[subject] <= left:
            taken.append(subject)
            left -= sizes[subject]
    # a subject with more recordings than that, if all have
    return manifest[manifest["subject"].isin(taken or [sizes.idxmin()])]


def measure_split(
    manifest: pd.DataFrame,
    recordings: FolderRecordings | BucketRecordings,
    audio: AudioFormat,
    batches: ScoreBatches,
    title: str,
    on_silence: Callable | None = None,
    cache: FeatureCache | None = None,
) -> pd.DataFrame:
    """Measures the recordings of a split, in the workers of a dataloader.

    manifest: [n rows], As `manifests.build_manifest` gives it.
    recordings: Where those of the manifest are read.
    audio: How they are read.
    batches: How they are batched, and who decodes them.
    title: What is shown beside the progress.
    on_silence: Takes the uids (list of str) and silences (float32 [batch, time]) of
        those recordings of a batch that have 1.0 s in which nobody speaks, in this
        process, in the order of the manifest.
    cache: Where acoustic statistics are kept.

    Returns: [n rows], In the order of the manifest: `ID`, what `audit.extract` finds,
        with NaN where there is no silence or no speech, and what
        `recording_statistics` gives.
    """
    statistics = RecordingStatistics(audio.sample_rate)
    as_they_are = FeatureNormalization(0.0, 0.5)
    modules = {"compute_features": statistics, "mean_var_norm": as_they_are}
    features = RecordingFeatures(modules, cache)
    dataset = dataio.build_dataset(manifest, [], recordings, audio, None, features)
    rows = {row["ID"]: row for row in manifest.to_dict("records")}

    measure = _Measure(rows, audio.sample_rate, statistics.names)
    takes = ["id", "waveform", "features"]
    dataset.add_dynamic_item(measure, takes=takes, provides="measured")
    dataset.set_output_keys(["id", "measured"])
    loader = torch.utils.data.DataLoader(dataset, **batches.in_order(_collate))
    measured = []
    with progress(len(manifest), title, "rec") as step:
        for part, uids, silences in loader:
            measured += part
            if on_silence and uids:
                on_silence(uids, silences)
            step(len(part))
    frame = pd.DataFrame(measured)
    return frame.astype({n: float for n in frame if n not in ("ID", *TEXT)})


class _Measure:
    """Numbers and text of a recording, dict, and its silence, [time] or None.

    rows: Of the manifest, by ID.
    sample_rate: Hz.
    names: Of the statistics.
    """

    def __init__(self, rows: dict[str, dict], sample_rate: int, names: list[str]):
        self.rows, self.rate, self.names = rows, sample_rate, names

    def __call__(self, uid, waveform, statistics):
        """Measure a waveform [time] that has these statistics, [1, statistic]."""
        features, silence = confound_audit.extract(waveform, self.rate, self.rows[uid])
        features |= dict(zip(self.names, statistics[0].tolist(), strict=True))
        return features, silence


def _collate(items):
    """What was measured of a batch, the uids with a silence, and these silences."""
    part = [{"ID": item["id"], **item["measured"][0]} for item in items]
    silences = {
        item["id"]: item["measured"][1]
        for item in items
        if item["measured"][1] is not None
    }
    stacked = torch.stack(list(silences.values())) if silences else None
    return part, list(silences), stacked


# Files


def save_measurements(frame: pd.DataFrame, path: Path):
    """Writes what `measure_split` found as parquet."""
    with atomic_write(path, "wb") as file:
        frame.to_parquet(file, index=False)


def read_measurements(path: Path) -> pd.DataFrame:
    """Reads what `save_measurements` wrote.

    Raises UserError: if it is no such file.
    """
    try:
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} can't be read ({' '.join(str(error).split())}): expected the "
            "measurements that train.py wrote. Running it again writes them anew."
        ) from error
    needed = {"ID", "audio_sha256", "acoustic_duration_s", "capture_level_dbfs"}
    if missing := needed - set(frame):
        raise UserError(
            f"{path} has no column {', '.join(sorted(missing))}: expected the "
            "measurements that train.py wrote. Running it again writes them anew."
        )
    return frame


# The audit


def seen_splits(folder: Path, names: list[str]) -> dict[str, Split]:
    """The splits that an experiment's model has learned from.

    folder: The experiment's.
    names: Its labels.

    Returns: train and, if there was one, valid; without measurements if it has none.
    """
    splits = {}
    for split in SEEN:
        file = Path(folder) / MANIFESTS / f"{split}.csv"
        if file.is_file():
            manifest, frame = read_manifest(file, names), None
            measured = Path(folder) / MEASUREMENTS / f"{split}.parquet"
            if measured.is_file():
                frame = read_measurements(measured)
                _check_complete(frame, manifest, measured)
            splits[split] = Split(name=split, manifest=manifest, measurements=frame)
    return splits


def _check_complete(frame, manifest, path):
    """Refuse measurements that are not of all recordings of a manifest's subjects.

    Subjects may be missing: of a large split a sample is measured.
    """
    own = manifest["subject"][manifest["ID"].isin(frame["ID"])]
    expected = manifest["ID"][manifest["subject"].isin(own)]
    if not len(frame) or sorted(frame["ID"]) != sorted(expected):
        raise UserError(
            f"{path} does not hold the recordings of the split, {len(manifest)} or "
            f"those of some of its subjects, each once, but {len(frame)} rows. Running "
            "train.py again with the same settings writes it anew."
        )


def audit_evaluation(
    audited: dict[str, Split],
    names: list[str],
    scores: Collection[str] = (),
    seed: int = 0,
) -> dict:
    """Asks what tells the labels of splits but speech.

    audited: By split: whose recordings, together, are asked. All have measurements;
        logits count where they are known.
    names: The labels.
    scores: Those of them that are scores.

    Returns: "labels", as `confound_audit.audit_labels` gives them, and "summary", what
        that says in a few words.
    """
    splits = list(audited.values())
    columns = ["subject", *names, *STRATA]
    manifests = [split.manifest.reindex(columns=columns) for split in splits]
    manifest = pd.concat(manifests, ignore_index=True)
    known = [name for name in STRATA if manifest[name].notna().any()]
    manifest = manifest[["subject", *names, *known]]
    labels = confound_audit.audit_labels(
        manifest,
        pd.concat([split.measured() for split in splits], ignore_index=True),
        names,
        scores=scores,
        logits=_together(splits, [split.logits(names) for split in splits]),
        silence_logits=_together(
            splits, [split.logits_of_silences(names) for split in splits]
        ),
        networks=np.concatenate([split.networks() for split in splits]),
        seed=seed,
    )
    return {"labels": labels, "summary": confound_audit.summary(labels)}


def _together(splits, logits):
    """Logits [n, n_labels] of all splits, NaN where unknown; None if all of them are.

    logits: Of each split, None or [n of it, n_labels].
    """
    n_labels = {part.shape[1] for part in logits if part is not None}
    if not n_labels:
        return None
    return np.concatenate(
        [
            np.full((len(split.manifest), *n_labels), np.nan) if part is None else part
            for split, part in zip(splits, logits, strict=True)
        ]
    )


def distinct(scored: dict[str, Split], seen: dict[str, Split]) -> dict[str, Split]:
    """All splits by name; one that was seen may be named like one that is scored."""
    renamed = {
        f"{name} of the experiment" if name in scored else name: split
        for name, split in seen.items()
    }
    return {**scored, **renamed}
