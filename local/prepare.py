"""Preparation: CSVs, labels.txt and recordings in, manifests out.

Everything that can be wrong with the input is found here, before a model exists,
and told at once.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from local import corpus, labels, splits
from local.errors import UserError
from local.files import atomic_write, write_json
from local.manifests import (
    MEASURED,
    RESERVED,
    build_manifest,
    read_manifest,
    stop_on_failed,
)

#: yaml keys that change what preparation finds: the same values, the same manifests.
KEYS = (
    "data_folder",
    "split_folder",
    "labels_file",
    "seed",
    "val_size",
    "disjoint_by",
    "label_types",
    "loss",
    "derived_labels",
    "missing_values",
    "on_bad_recording",
    "min_duration",
    "sample_rate",
    "audio_backend",
    "mono",
)


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What preparation found.

    Attributes
    ----------
    label_groups : list of list of str
        The labels of each head.
    manifests : dict of str to pandas.DataFrame
        Split name (train, test and, unless `val_size` is 0, valid) → manifest.
    failed : list of dict
        `uid`, `split` and `reason` of every recording that can't be used.
    notes : list of str
        What a user should know: subjects drawn or left out, rates that disagree.
    fingerprint : str
        Changes with the CSVs, labels.txt and every key in `KEYS`.
    label_ranges : list of (list of float or None)
        [low, high] of each label that is learned as a score, None of the others, in
        the order of the logits.
    """

    label_groups: list
    manifests: dict
    failed: list
    notes: list
    fingerprint: str
    label_ranges: list

    @property
    def labels(self):
        """All labels in the order of the logits."""
        return labels.flatten(self.label_groups)


def prepare_training(values):
    """Prepare the training, validation and test splits of a corpus.

    Arguments
    ---------
    values : dict
        Plain values of the training yaml; `KEYS` are read, with the paths as
        `corpus_paths` gives them.

    Returns
    -------
    Preparation

    Raises
    ------
    UserError
        For everything wrong in labels.txt and the CSVs, at once. Recordings that
        can't be used are in `failed`, left out of the manifests.
    """
    groups = labels.read_label_groups(values["labels_file"])
    names = labels.flatten(groups)
    _check_names(names)
    types = labels.parse_label_types(values["label_types"], names, values["loss"])
    ranges = labels.label_ranges(types, names)
    folder = Path(values["split_folder"])
    files = [folder / "train.csv", folder / "test.csv", folder / "val.csv"]
    if not files[-1].exists():
        files.pop()
    corpus.check_folders(values["data_folder"], *files[:2])

    problems, notes, tables, targets = [], [], {}, {}
    for file in files:
        split = "valid" if file.stem == "val" else file.stem
        table, targets[split], found = _read_rated(file, values, types, notes)
        problems += found
        if table is not None:
            tables[split] = table
    if not problems:
        _separate_validation(tables, targets, ranges, values, notes)
        problems += splits.overlaps(tables, ["subject", *values["disjoint_by"]])
        problems += _unlearnable(targets, ranges, notes)
    if problems:
        raise UserError(
            "The splits can't be used as they are:", list(dict.fromkeys(problems))
        )

    manifests, failed = {}, []
    for split in tables:
        manifests[split], bad = build_manifest(
            tables[split], targets[split], values, notes, f"inspecting {split}"
        )
        failed += [{**entry, "split": split} for entry in bad]
    if values["on_bad_recording"] == "skip":
        _check_enough(manifests, failed)
    fingerprint = _fingerprint(values, [*files, Path(values["labels_file"])])
    return Preparation(groups, manifests, failed, notes, fingerprint, ranges)


def _read_rated(file, values, types, notes, required=("uid", "subject")):
    """A split's table and targets without excluded subjects, and its problems.

    types : dict of str to labels.LabelType, of all labels; None where none is needed
    """
    table, problems = splits.read_split(file, required)
    if table is None:
        return None, None, problems
    targets = None
    if types is not None:
        targets, found = labels.targets_from_table(
            table,
            list(types),
            types,
            values["derived_labels"],
            values["missing_values"],
            file.name,
        )
        problems += found
    table, targets = corpus.without_excluded(table, targets, values, file.name, notes)
    if table.empty:
        problems.append(f"{file.name} holds only excluded subjects")
    return table, targets, problems


def prepare_split(split_csv, values, required=("uid", "subject"), names=None):
    """Prepare the recordings of one CSV for a trained model.

    Arguments
    ---------
    split_csv : Path
    values : dict
        Of the experiment, with `data_folder` and `on_bad_recording` for this run.
    required : tuple of str
        Columns that must be filled.
    names : list of str, optional
        Labels to read; None where the CSV needs none.

    Returns
    -------
    table : pandas.DataFrame
        The CSV's rows.
    manifest : pandas.DataFrame
        Those of them that can be used.
    failed : list of dict
        `uid` and `reason` of the others.
    notes : list of str

    Raises
    ------
    UserError
        For a wrong CSV, and for unusable recordings if these are to stop the run.
    """
    split_csv, notes = Path(split_csv), []
    corpus.check_folders(values["data_folder"], split_csv)
    types = None
    if names is not None:
        types = labels.parse_label_types(values["label_types"], names, values["loss"])
    table, targets, problems = _read_rated(split_csv, values, types, notes, required)
    if problems:
        raise UserError(f"{split_csv} can't be used as it is:", problems)
    manifest, failed = build_manifest(
        table, targets, values, notes, f"inspecting {split_csv.stem}"
    )
    if values["on_bad_recording"] == "stop" or manifest.empty:
        stop_on_failed(failed)
    return table, manifest, failed, notes


def inspect_again(manifest, names, values):
    """Look at the recordings of a saved manifest once more: files may have changed.

    Arguments
    ---------
    manifest : pandas.DataFrame
        As `read_manifest` gives it.
    names : list of str
        Labels.
    values : dict
        As for `prepare_split`.

    Returns
    -------
    manifest : pandas.DataFrame
    failed : list of dict
    notes : list of str

    Raises
    ------
    UserError
        For unusable recordings if these are to stop the run.
    """
    table = manifest.drop(columns=["duration", *MEASURED, *names])
    table = table.rename(columns={"ID": "uid", "recording": "audio"})
    notes = []
    table, targets = corpus.without_excluded(
        table, manifest[names], values, "the test split", notes
    )
    usable, failed = build_manifest(
        table, targets, values, notes, "inspecting the test split"
    )
    if values["on_bad_recording"] == "stop" or usable.empty:
        stop_on_failed(failed)
    return usable, failed, notes


def _check_names(names):
    taken = [name for name in names if name in RESERVED]
    if taken:
        raise UserError(
            f"labels.txt can't name a label {', '.join(taken)}: columns of these names "
            "have another meaning. Rename it there and in the CSVs."
        )


def _separate_validation(tables, targets, ranges, values, notes):
    """Draw validation subjects if there is no val.csv; keep them out of training."""
    train = tables["train"]["subject"]
    if len(train) < 2:
        raise UserError("Training needs at least 2 recordings: see train.csv.")
    if "valid" in tables:
        both = sorted(set(train) & set(tables["valid"]["subject"]))
        if both:
            notes.append(
                f"{len(both)} subjects of val.csv also stand in train.csv and are "
                "left out of training"
            )
        in_validation = train.isin(both)
    elif values["val_size"] == 0:
        notes.append("val_size is 0: there is no validation, the last epoch counts")
        return
    else:
        drawn = splits.draw_validation(
            train,
            labels.scale_targets(targets["train"], ranges),
            values["val_size"],
            values["seed"],
        )
        notes.append(
            f"{len(drawn)} of {train.nunique()} training subjects drawn for validation "
            f"(val_size is {values['val_size']}; at most a quarter)"
        )
        in_validation = train.isin(drawn)
        for part in (tables, targets):
            part["valid"] = part["train"][in_validation].reset_index(drop=True)
    for part in (tables, targets):
        part["train"] = part["train"][~in_validation].reset_index(drop=True)
    if tables["train"].empty:
        raise UserError("No recordings are left to train on: see val.csv.")


def _unlearnable(targets, ranges, notes):
    """Splits without any rating are problems; labels of one value get a note."""
    problems = []
    for split in targets.keys() - {"test"}:
        if targets[split].isna().all(axis=None):
            problems.append(f"no label of the {split} recordings is rated")
            continue
        for (label, ratings), bounds in zip(
            targets[split].items(), ranges, strict=True
        ):
            if ratings.nunique() >= 2:
                continue
            if ratings.isna().all():
                notes.append(f"{label}: no recording of {split} is rated")
            elif bounds is None:
                notes.append(f"{label}: {split} has no two classes")
            else:
                notes.append(f"{label}: all rated values of {split} are the same")
    return problems


def _check_enough(manifests, failed):
    few = [name for name, manifest in manifests.items() if manifest.empty]
    if len(manifests["train"]) == 1:
        few.append("train")  # batch normalisation needs two
    if few:
        raise UserError(
            f"Too few recordings of {', '.join(few)} can be used:",
            [f"{entry['uid']}: {entry['reason']}" for entry in failed],
        )


def _fingerprint(values, files):
    digest = hashlib.sha256()
    plain = {key: str(values[key]) for key in KEYS}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for file in files:
        digest.update(file.read_bytes())
    excluded = sorted(corpus.excluded_subjects(values["labels_file"]))
    digest.update("\n".join(excluded).encode())
    return digest.hexdigest()


def saved_preparation(folder, values):
    """The preparation that an interrupted run saved, if its input is unchanged.

    Arguments
    ---------
    folder : Path
        `save/manifests` of the experiment.
    values : dict
        As for `prepare_training`.

    Returns
    -------
    Preparation or None
        None where there is nothing saved.

    Raises
    ------
    UserError
        If the CSVs, labels.txt or a key of `KEYS` changed since.
    """
    record = Path(folder) / "preparation.json"
    if not record.exists():
        return None
    saved = json.loads(record.read_text(encoding="utf-8"))
    splits_folder = Path(values["split_folder"])
    files = [splits_folder / f"{name}.csv" for name in ("train", "test", "val")]
    files = [file for file in files if file.exists()]
    corpus.check_folders(values["data_folder"], *files)
    if (
        _fingerprint(values, [*files, Path(values["labels_file"])])
        != (saved["fingerprint"])
    ):
        raise UserError(
            f"{folder} was prepared from other CSVs, labels or settings than these. "
            "Give another --output_folder to train on the new ones, or restore the "
            "old ones to continue."
        )
    names = labels.flatten(saved["label_groups"])
    manifests = {
        split: read_manifest(Path(folder) / f"{split}.csv", names)
        for split in saved.pop("splits")
    }
    return Preparation(manifests=manifests, **saved)


def save_preparation(preparation, folder):
    """Write the manifests, and last the record that makes them count.

    Arguments
    ---------
    preparation : Preparation
    folder : Path
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split, manifest in preparation.manifests.items():
        with atomic_write(folder / f"{split}.csv") as file:
            manifest.to_csv(file, index=False)
    record = {
        field.name: getattr(preparation, field.name)
        for field in dataclasses.fields(preparation)
        if field.name != "manifests"
    }
    record["splits"] = list(preparation.manifests)
    write_json(folder / "preparation.json", record)
