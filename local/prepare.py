"""Preparation: CSVs, labels.txt and recordings in, manifests out.

Everything that can be wrong with the input is found here, before a model exists,
and told at once. A manifest is the table of the recordings of one split that are
really used: `ID`, `duration` (s), where the recording is, what it is like, whose it
is, the targets (empty = not rated), and the CSV's other columns.
"""

import dataclasses
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from local import inspection, labels, splits
from local.errors import BadRecording, UserError
from local.files import atomic_write, write_json

SPLITS = ("train", "valid", "test")

#: What is measured of a recording (fields of `inspection.RecordingReport`).
MEASURED = (
    "waveform",
    "format",
    "codec",
    "sample_rate",
    "channels",
    "peak",
    "level_dbfs",
    "clipped_share",
    "silent_share",
)

#: Columns of a manifest, and of a CSV, that have a meaning of their own.
RESERVED = ("ID", "duration", "recording", "uid", *splits.OPTIONAL_COLUMNS, *MEASURED)

#: yaml keys that change what preparation finds: the same values, the same manifests.
KEYS = (
    "data_folder",
    "split_folder",
    "labels_file",
    "seed",
    "val_size",
    "disjoint_by",
    "label_types",
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
        Split name → manifest.
    failed : list of dict
        `uid`, `split` and `reason` of every recording that can't be used.
    notes : list of str
        What a user should know: subjects drawn or left out, rates that disagree.
    fingerprint : str
        Changes with the CSVs, labels.txt and every key in `KEYS`.
    """

    label_groups: list
    manifests: dict
    failed: list
    notes: list
    fingerprint: str

    @property
    def labels(self):
        """All labels in the order of the logits."""
        return labels.flatten(self.label_groups)


def corpus_paths(values):
    """Where the parts of a corpus lie, joined from the folder or named each.

    Arguments
    ---------
    values : dict
        `corpus_folder`, `data_folder`, `study`, `split_folder`, `labels_file`.

    Returns
    -------
    dict of str to Path
        `data_folder`, `split_folder` and `labels_file`, absolute.

    Raises
    ------
    UserError
        If a part is neither given nor below `corpus_folder`, or is in a bucket.
    """
    defaults = {
        "data_folder": "audio",
        "split_folder": "splits",
        "labels_file": "labels.txt",
    }
    paths, absent = {}, []
    for key, default in defaults.items():
        if values.get(key):
            paths[key] = local_path(values[key], key)
        elif values.get("corpus_folder"):
            paths[key] = local_path(values["corpus_folder"], "corpus_folder") / default
        else:
            absent.append(key)
    if absent:
        raise UserError(
            f"Give --corpus_folder=DIR, or each of its parts: {', '.join(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} missing."
        )
    if values.get("study"):
        paths["data_folder"] /= values["study"]
    return paths


def local_path(address, key):
    """The absolute path of a local folder or file.

    Arguments
    ---------
    address : str or Path
    key : str
        The yaml key it came from, for the message.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        For a bucket's address.
    """
    if str(address).startswith("gs://"):
        raise UserError(
            f"{key} is {address}: this version reads local folders only; copy the "
            "data to a local folder and name that."
        )
    return Path(address).expanduser().absolute()


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
    folder = Path(values["split_folder"])
    files = [folder / "train.csv", folder / "test.csv", folder / "val.csv"]
    if not files[-1].exists():
        files.pop()
    _check_folders(values["data_folder"], *files[:2])

    problems, notes, tables, targets = [], [], {}, {}
    types = labels.parse_label_types(values["label_types"], names)
    excluded = _excluded_subjects(values["labels_file"])
    for file in files:
        split = "valid" if file.stem == "val" else file.stem
        table, found = splits.read_split(file)
        problems += found
        if table is None:
            continue
        tables[split] = _without_excluded(table, excluded, file.name, notes)
        if tables[split].empty:
            problems.append(f"{file.name} holds only excluded subjects")
        targets[split], found = labels.targets_from_table(
            tables[split],
            names,
            types,
            values["derived_labels"],
            values["missing_values"],
            file.name,
        )
        problems += found
    if not problems:
        _separate_validation(tables, targets, values, notes)
        problems += splits.overlaps(tables, values["disjoint_by"])
    if problems:
        raise UserError("The splits can't be used as they are:", problems)

    manifests, failed = {}, []
    for split in SPLITS:
        manifests[split], bad = build_manifest(
            tables[split], targets[split], values, notes, f"inspecting {split}"
        )
        failed += [{**entry, "split": split} for entry in bad]
    if values["on_bad_recording"] == "skip":
        _check_not_empty(manifests, failed)
    fingerprint = _fingerprint(values, [*files, Path(values["labels_file"])])
    return Preparation(groups, manifests, failed, notes, fingerprint)


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
    split_csv = Path(split_csv)
    _check_folders(values["data_folder"], split_csv)
    table, problems = splits.read_split(split_csv, required)
    targets = None
    if names is not None and not problems:
        targets, problems = labels.targets_from_table(
            table,
            names,
            labels.parse_label_types(values["label_types"], names),
            values["derived_labels"],
            values["missing_values"],
            split_csv.name,
        )
    if problems:
        raise UserError(f"{split_csv} can't be used as it is:", problems)
    notes = []
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
    usable, failed = build_manifest(
        table, manifest[names], values, notes, "inspecting the test split"
    )
    if values["on_bad_recording"] == "stop" or usable.empty:
        stop_on_failed(failed)
    return usable, failed, notes


def stop_on_failed(failed):
    """Raise what can't be used as one error, if there is any.

    Arguments
    ---------
    failed : list of dict
        `uid`, `reason`.

    Raises
    ------
    UserError
    """
    if failed:
        raise UserError(
            f"{len(failed)} recordings can't be used. Mend or remove them, or go on "
            "without them with --on_bad_recording=skip:",
            [f"{entry['uid']}: {entry['reason']}" for entry in failed],
        )


def write_failed(failed, path):
    """Write `uid, reason` of recordings that were left out, if there are any.

    Arguments
    ---------
    failed : list of dict
    path : Path
    """
    if failed:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            pd.DataFrame(failed)[["uid", "reason"]].to_csv(file, index=False)


def _check_names(names):
    taken = [name for name in names if name in RESERVED]
    if taken:
        raise UserError(
            f"labels.txt can't name a label {', '.join(taken)}: columns of these names "
            "have another meaning. Rename it there and in the CSVs."
        )


def _check_folders(data_folder, *files):
    absent = [str(data_folder)] if not Path(data_folder).is_dir() else []
    absent += [str(file) for file in files if not file.is_file()]
    if absent:
        raise UserError(
            "A corpus folder holds audio/<uid>/, splits/train.csv, splits/test.csv "
            "and labels.txt; what is not there:",
            absent,
        )


def _excluded_subjects(labels_file):
    """Subjects whose consent is withdrawn, from the file beside labels.txt."""
    path = Path(labels_file).with_name("excluded_subjects.txt")
    if not path.exists():
        return set()
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return {line.strip() for line in lines if line.strip()}


def _without_excluded(table, excluded, name, notes):
    kept = table[~table["subject"].isin(excluded)].reset_index(drop=True)
    if len(kept) < len(table):
        notes.append(
            f"{name}: {len(table) - len(kept)} recordings of excluded subjects left out"
        )
    return kept


def _separate_validation(tables, targets, values, notes):
    """Draw validation subjects if there is no val.csv; keep them out of training."""
    train = tables["train"]["subject"]
    if "valid" in tables:
        both = sorted(set(train) & set(tables["valid"]["subject"]))
        if both:
            notes.append(
                f"{len(both)} subjects of val.csv also stand in train.csv and are "
                "left out of training"
            )
        in_validation = train.isin(both)
    else:
        drawn = splits.draw_validation(
            train, targets["train"], values["val_size"], values["seed"]
        )
        notes.append(
            f"{len(drawn)} of {train.nunique()} training subjects drawn for validation"
        )
        in_validation = train.isin(drawn)
        for part in (tables, targets):
            part["valid"] = part["train"][in_validation].reset_index(drop=True)
    for part in (tables, targets):
        part["train"] = part["train"][~in_validation].reset_index(drop=True)
    if tables["train"].empty:
        raise UserError("No recordings are left to train on: see val.csv.")


def _check_not_empty(manifests, failed):
    empty = [split for split, manifest in manifests.items() if manifest.empty]
    if empty:
        raise UserError(
            f"No recording of {', '.join(empty)} can be used:",
            [f"{entry['uid']}: {entry['reason']}" for entry in failed],
        )


def build_manifest(table, targets, values, notes, title):
    """Inspect the recordings of a split and list those that can be used.

    Arguments
    ---------
    table : pandas.DataFrame
        As `splits.read_split` gives it.
    targets : pandas.DataFrame or None
        Targets of its rows (None where there are no labels).
    values : dict
        `data_folder`, `sample_rate`, `audio_backend`, `mono`, `min_duration`.
    notes : list of str
        Warnings about recordings are added to it.
    title : str
        What the progress bar says.

    Returns
    -------
    manifest : pandas.DataFrame
        In the order of the table.
    failed : list of dict
        `uid` and `reason` of those that can't be used.
    """
    rows = table.to_dict("records")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = list(
            tqdm(
                pool.map(lambda row: _inspect(row, values), rows),
                total=len(rows),
                desc=title,
                unit="rec",
                disable=None,
            )
        )
    usable, failed, kept, warned = [], [], [], {}
    for i, (row, report) in enumerate(zip(rows, reports, strict=True)):
        if isinstance(report, BadRecording):
            failed.append({"uid": row["uid"], "reason": str(report)})
            continue
        for warning in report.warnings:
            warned.setdefault(warning, []).append(row["uid"])
        usable.append(_manifest_row(row, report, targets))
        kept.append(i)
    notes += [_grouped(warning, uids) for warning, uids in warned.items()]
    manifest = pd.DataFrame(usable)
    if targets is not None and kept:
        manifest = pd.concat(
            [manifest, targets.iloc[kept].reset_index(drop=True)], axis=1
        )
    return manifest, failed


def _grouped(warning, uids):
    """One note for all recordings of the same warning, naming a few."""
    more = f" and {len(uids) - 3} more" if len(uids) > 3 else ""
    return f"{', '.join(uids[:3])}{more}: {warning}"


def _inspect(row, values):
    try:
        return inspection.inspect_recording(
            Path(values["data_folder"]) / row["audio"],
            backend=values["audio_backend"],
            mono=values["mono"],
            sample_rate=values["sample_rate"],
            min_duration_s=values["min_duration"],
            **segment(row),
        )
    except BadRecording as reason:
        return reason


def segment(row):
    """Which part of a recording a row means.

    Arguments
    ---------
    row : mapping
        With `start_s`, `end_s` and `channel` as text or empty.

    Returns
    -------
    dict
        `start_s`, `end_s` (s) and `channel` (from 0), None where empty.

    Example
    -------
    >>> segment({"start_s": "1.5", "end_s": "", "channel": "0"})
    {'start_s': 1.5, 'end_s': None, 'channel': 0}
    """
    return {
        "start_s": float(row["start_s"]) if row["start_s"] != "" else None,
        "end_s": float(row["end_s"]) if row["end_s"] != "" else None,
        "channel": int(float(row["channel"])) if row["channel"] != "" else None,
    }


def _manifest_row(row, report, targets):
    own = {
        "ID": row["uid"],
        "duration": report.duration_s,
        "recording": row["audio"],
        **{key: row[key] for key in ("start_s", "end_s", "channel")},
        **{key: getattr(report, key) for key in MEASURED},
    }
    label_columns = () if targets is None else targets.columns
    for column, cell in row.items():
        if column in ("uid", "audio") or column in label_columns:
            continue
        if column not in own:
            own[column] = cell
        elif column not in ("start_s", "end_s", "channel"):
            own[f"csv_{column}"] = cell  # a CSV may have a `duration` of its own
    return own


def positive_weights(manifest, names):
    """Negatives per positive of each label: the weight that balances a label.

    Arguments
    ---------
    manifest : pandas.DataFrame
    names : list of str
        Labels.

    Returns
    -------
    list of float
        1.0 where a label has only one class.

    Example
    -------
    >>> positive_weights(pd.DataFrame({"x": [1.0, 0.0, 0.0, None]}), ["x"])
    [2.0]
    """
    positives = [int((manifest[name] == 1).sum()) for name in names]
    negatives = [int((manifest[name] == 0).sum()) for name in names]
    return [
        n / p if p and n else 1.0 for p, n in zip(positives, negatives, strict=True)
    ]


def _fingerprint(values, files):
    digest = hashlib.sha256()
    plain = {key: str(values[key]) for key in KEYS}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for file in files:
        digest.update(file.read_bytes())
    excluded = sorted(_excluded_subjects(values["labels_file"]))
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
    _check_folders(values["data_folder"], *files)
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
        split: read_manifest(Path(folder) / f"{split}.csv", names) for split in SPLITS
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
    write_json(folder / "preparation.json", record)


def read_manifest(path, names):
    """Read a manifest back.

    Arguments
    ---------
    path : Path
    names : list of str
        Labels.

    Returns
    -------
    pandas.DataFrame
        Targets, `duration` and measurements are numbers, everything else is text.
    """
    manifest = pd.read_csv(path, dtype=str, keep_default_na=False)
    text = ("waveform", "format", "codec")
    for column in ("duration", *names, *(key for key in MEASURED if key not in text)):
        if column in manifest.columns:
            manifest[column] = pd.to_numeric(manifest[column])
    return manifest
