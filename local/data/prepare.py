"""Preparation: CSVs, labels.txt and recordings in, manifests out.

Everything that can be wrong with the input is found here, before a model exists,
and told at once.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import pandas as pd

from local.audio.loading import AudioFormat
from local.data import corpus, labels, splits
from local.data.contradictions import contradictions
from local.data.corpus import Exclusions
from local.data.feature_table import FeatureTable
from local.data.label_cells import CellCodes
from local.data.labels import LabelType, why_one_class
from local.data.manifests import (
    RESERVED,
    build_manifest,
    group_columns,
    grouped_reasons,
)
from local.data.raters import count_divided, targets_with_raters
from local.data.recordings import Recordings, open_recordings
from local.storage.addresses import joined
from local.storage.inputs import Storage, told_as
from local.utils.errors import UserError
from local.utils.keys import keys_where
from local.utils.number_format import counted
from local.utils.problems import Problem
from local.utils.text_io import read_cells

#: yaml keys that change what preparation finds: the same values and contents of files,
#: the same manifests.
KEYS = keys_where(prepares=True)


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What preparation found.

    label_groups: The labels of each head.
    manifests: Split name (train, test and, unless `val_size` is 0, valid) → manifest.
    failed: `uid`, `split` and `reason` of every recording that can't be used.
    notes: What a user should know: subjects drawn or left out, rates that disagree.
    fingerprint: Changes with the CSVs, labels.txt and every key in `KEYS`.
    label_ranges: [low, high] of each label that is learned as a score, None of the
        others, in the order of the logits.
    recordings: Where those of the manifests are read.
    """

    label_groups: list[list[str]]
    manifests: dict[str, pd.DataFrame]
    failed: list[dict]
    notes: list[str]
    fingerprint: str
    label_ranges: list[list[float] | None]
    recordings: Recordings

    @property
    def labels(self):
        """All labels in the order of the logits."""
        return labels.flatten(self.label_groups)

    @property
    def contradictions(self):
        """Subjects who may be two people, list of contradictions.Contradiction."""
        scores = labels.score_labels(self.labels, self.label_ranges)
        binary = [name for name in self.labels if name not in scores]
        return contradictions(self.manifests.values(), binary)


def prepare_training(values: dict) -> Preparation:
    """Prepare the training, validation and test splits of a corpus.

    values: Plain values of the training yaml; `KEYS` are read, with the addresses as
        `corpus_addresses` gives them.

    Raises UserError: for everything wrong in labels.txt and the CSVs, at once.
        Recordings that can't be used are in `failed`, left out of the manifests.
    """
    storage = Storage.of(values)
    labels_file = storage.file(values["labels_file"])
    with told_as(values["labels_file"], labels_file):
        groups = labels.read_label_groups(labels_file)
    names = labels.flatten(groups)
    _check_names(names)
    types = labels.parse_label_types(values["label_types"], names, values["loss"])
    ranges = labels.label_ranges(types, names)
    files, notes = corpus.split_files(values, storage), []
    corpus.note_misnamed(files, notes)
    excluded = corpus.find_exclusions(values, storage, notes)
    tables, targets = _read_splits(files, values, types, ranges, excluded, notes)

    manifests, failed, audio = {}, [], AudioFormat.of(values)
    folders = pd.concat(tables.values())["audio"].unique().tolist()
    recordings = fetched(folders, values, storage, excluded, notes)
    for split in tables:
        manifests[split], bad = build_manifest(
            tables[split],
            targets[split],
            recordings,
            audio,
            notes,
            f"inspecting {split}",
        )
        failed += [{**entry, "split": split} for entry in bad]
    if values["on_bad_recording"] == "skip":
        _check_enough(manifests, failed)
    fingerprint = fingerprint_of(values, files.values(), labels_file, excluded)
    preparation = Preparation(
        groups, manifests, failed, notes, fingerprint, ranges, recordings
    )
    notes += [
        f"{kind.counted} (--check_only=True names them)"
        for kind in preparation.contradictions
    ]
    return preparation


def _read_splits(files, values, types, ranges, excluded, notes):
    """Tables and targets by split, subjects kept apart; or all that is wrong there."""
    problems, tables, targets = [], {}, {}
    for split, file in files.items():
        address = joined(values["split_folder"], file.name)
        table, targets[split], wrong = read_rated(
            file, address, values, types, excluded, notes
        )
        problems += wrong
        if table is not None:
            tables[split] = table
    if not problems:
        group_columns(tables["test"].columns, values["subgroups"])
        problems += splits.overlaps(
            {file.name: tables[split] for split, file in files.items()},
            ["subject", *(values["disjoint_by"] or [])],
        )
        notes += splits.unify_subjects(tables.values())
        _separate_validation(tables, targets, ranges, values, notes)
        problems += splits.shared_uids(
            {file.name: tables[split] for split, file in files.items()}
        )
        problems += _unlearnable(targets, ranges, notes)
    if problems:
        raise UserError("The splits can't be used as they are:", problems)
    return tables, targets


def fetched(names, values, storage, excluded, notes):
    """The recordings of these names, brought here at once if there is room.

    Or the features that stand in their place (`features`).
    """
    if values.get("features"):
        return FeatureTable.of(values)
    recordings = open_recordings(storage, values["data_folder"], names)
    recordings.forget(excluded.recordings - set(names))
    recordings.fetch_all()
    if n := len(recordings.without_metadata(names)):
        notes.append(
            f"{counted(n, 'recording')} without metadata.json: the audio file's header "
            "says it all"
        )
    return recordings


def read_rated(
    file: Path,
    address: str,
    values: dict,
    types: dict[str, LabelType] | None,
    excluded: Exclusions,
    notes: list[str],
    required: tuple[str, ...] = ("uid", "subject"),
) -> tuple[pd.DataFrame | None, pd.DataFrame | None, list[str | Problem]]:
    """Read a split's table and targets, without excluded subjects.

    address: What the file is, or is a copy of.
    values: `derived_labels`, `label_values` and `missing_values`.
    types: Of all labels; None where no label is needed.
    notes: What was left out is added to it.
    required: Columns that must be filled.

    Returns table: None where the file can't be read.
    Returns targets: Of the same rows; labels that have raters by their consensus.
    Returns problems.
    """
    try:
        with told_as(address, file):
            table, problems = splits.read_split(file, required)
    except UserError as error:
        return None, None, [str(error)]
    if table is None:
        return None, None, problems
    targets = None
    if types is not None:
        codes = CellCodes.of(values)
        targets, wrong = targets_with_raters(
            table, types, values["derived_labels"], codes, file.name
        )
        problems += [*wrong, *codes.unused(types, table.columns, file.name)]
    table, targets = excluded.leave_out(table, targets, file.name, notes)
    if table.empty:
        problems.append(f"{file.name} holds only excluded subjects")
    if types is not None and not problems:
        _note_divided(count_divided(table, types, codes), file.name, notes)
    # rows are called by their numbers in the CSV up to here
    targets = None if targets is None else targets.reset_index(drop=True)
    return table.reset_index(drop=True), targets, problems


def _note_divided(counts, name, notes):
    """Add a note on the labels whose raters are divided, if there are any."""
    divided = ", ".join(f"{label} {n}" for label, n in counts.items() if n)
    if divided:
        notes.append(
            f"{name}: recordings without a label, as their raters are divided "
            f"evenly: {divided}"
        )


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
            rated = ratings.dropna().to_numpy()
            reason = why_one_class(rated)
            if bounds is not None and len(rated):
                reason = f"all {len(rated)} rated values are the same"
            ending = ": nothing of it can be learned" if split == "train" else ""
            notes.append(f"{label}: {reason} ({split}){ending}")
    return problems


def _check_enough(manifests, failed):
    few = [name for name, manifest in manifests.items() if manifest.empty]
    if len(manifests["train"]) == 1:
        few.append("train")  # batch normalisation needs two
    if few:
        raise UserError(
            f"Too few recordings of {', '.join(few)} can be used:",
            grouped_reasons(failed),
        )


def fingerprint_of(values, files, labels_file, excluded):
    """Changes with what preparation depends on."""
    digest = hashlib.sha256()
    plain = {key: str(values[key]) for key in KEYS}
    digest.update(json.dumps(plain, sort_keys=True).encode())
    for file in files:
        digest.update(contents(file))
    digest.update(json.dumps(labels.read_label_groups(labels_file)).encode())
    digest.update("\n".join(sorted(excluded.subjects)).encode())
    if values.get("features"):
        digest.update(Storage.of(values).file(values["features"]).read_bytes())
    return digest.hexdigest()


def contents(file: Path) -> bytes:
    """What a CSV says, however a program saved it.

    Returns: The cells, without those that are empty at the ends of rows.
    """
    rows = read_cells(file, "uid")
    for row in rows:
        while row and not row[-1]:
            row.pop()
    return json.dumps(rows).encode()
