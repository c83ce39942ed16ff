"""The preparation that an experiment keeps: written, read back, still the same.

A corpus may move between an interrupted run and the next, if it is the same one.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from local.audio.loading import AudioFormat
from local.data import corpus, labels
from local.data.manifests import SEGMENT, build_manifest, read_manifest
from local.data.prepare import Preparation, fetched, fingerprint_of
from local.storage.experiment_files import PREPARATION
from local.storage.inputs import Storage
from local.utils.errors import UserError
from local.utils.files import atomic_write, read_json, write_json

#: What tells recordings apart that have moved.
COMPARED = ["duration", "sample_rate", "channels", "peak", "level_dbfs"]


def saved_preparation(folder: Path, values: dict) -> Preparation | None:
    """The preparation that an interrupted run saved, if its input is unchanged.

    folder: `save/manifests` of the experiment.
    values: As for `prepare_training`.

    Returns: None where there is nothing saved.
    Raises UserError: if the CSVs, labels.txt or a key of `KEYS` changed since.
    """
    record = Path(folder) / PREPARATION.name
    if not record.exists():
        return None
    saved, manifests = _read(record)
    if saved.pop("withdrawn", None):
        raise UserError(
            f"Consent was withdrawn of subjects that {folder} was prepared with "
            "(withdraw.py), so this training does not go on. Give another "
            "--output_folder to train without them."
        )
    storage, notes = Storage.of(values), []
    files = corpus.split_files(values, storage).values()
    labels_file = storage.file(values["labels_file"])
    excluded = corpus.find_exclusions(values, storage, notes)
    if fingerprint_of(values, files, labels_file, excluded) != saved["fingerprint"]:
        raise UserError(
            f"{folder} was prepared from other CSVs, labels or settings than these. "
            "Give another --output_folder to train on the new ones, or restore the "
            "old ones to continue."
        )
    names = pd.concat(manifests.values())["recording"].unique().tolist()
    recordings = fetched(names, values, storage, excluded, notes)
    _check_still_there(manifests.values(), recordings)
    if saved.pop("data_folder") != recordings.place:
        audio = AudioFormat.of(values)
        for split, manifest in manifests.items():
            _check_same(manifest, recordings, audio, f"inspecting {split} again")
    return Preparation(manifests=manifests, recordings=recordings, **saved)


def _read(record):
    """What is kept beside a record: its values, and the manifests by split."""
    try:
        saved = read_json(record)
        names = labels.flatten(saved["label_groups"])
        manifests = {
            split: read_manifest(record.parent / f"{split}.csv", names)
            for split in saved.pop("splits")
        }
        if absent := {"fingerprint", "data_folder"} - saved.keys():
            raise LookupError(f"no {', '.join(sorted(absent))}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"What {record.parent} keeps of the preparation is damaged ({error}). "
            "Deleting that folder has the data prepared again; checkpoints stay."
        ) from error
    return saved, manifests


def _check_still_there(manifests, recordings):
    """Stop a run that would meet the first missing recording in an epoch's middle."""
    rows = pd.concat(manifests)[["ID", "recording"]]
    reasons = recordings.unreadable(rows["recording"].unique())
    if reasons:
        lost = rows[rows["recording"].isin(list(reasons))]
        raise UserError(
            f"{len(lost)} recordings that this experiment was prepared with are no "
            "longer there. Restore them to continue, or give another --output_folder:",
            [f"{row.ID}: {reasons[row.recording]}" for row in lost.itertuples()],
        )


def _check_same(manifest, recordings, audio, title):
    """Refuse other recordings than those of a manifest, at a place they moved to."""
    if manifest.empty:
        return
    rows = manifest.rename(columns={"ID": "uid", "recording": "audio"})
    rows = rows[["uid", "audio", *SEGMENT]]
    current, failed = build_manifest(rows, None, recordings, audio, [], title)
    lost = {entry["uid"]: entry["reason"] for entry in failed}
    kept = manifest[~manifest["ID"].isin(list(lost))].reset_index(drop=True)
    same = np.isclose(current[COMPARED], kept[COMPARED], rtol=1e-4).all(axis=1)
    other = dict.fromkeys(kept["ID"][~same], "another length, rate or level")
    if lost or other:
        raise UserError(
            f"{recordings.place} is not what this experiment was prepared with. Give "
            "the same recordings, or another --output_folder to train on these:",
            [f"{uid}: {reason}" for uid, reason in {**lost, **other}.items()],
        )


def save_preparation(preparation: Preparation, folder: Path):
    """Write the manifests, and last the record that makes them count."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, manifest in preparation.manifests.items():
        with atomic_write(folder / f"{split}.csv") as file:
            manifest.to_csv(file, index=False)
    record = {
        field.name: getattr(preparation, field.name)
        for field in dataclasses.fields(preparation)
        if field.name not in ("manifests", "recordings")
    }
    record["splits"] = list(preparation.manifests)
    record["data_folder"] = preparation.recordings.place
    write_json(folder / PREPARATION.name, record)
