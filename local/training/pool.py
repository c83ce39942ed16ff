"""The recordings that a cross-validation divides: those of train.csv and val.csv.

What the corpus has in its test.csv is for the evaluation at the very end.
"""

import dataclasses
import hashlib
import json

import pandas as pd

from local.data import corpus, labels
from local.data.label_cells import CellCodes
from local.data.prepare import contents, read_labels, read_rated
from local.data.raters import targets_with_raters, with_shares
from local.data.splits import unify_subjects
from local.storage.addresses import joined
from local.storage.inputs import Storage
from local.training.evaluation_settings import EvaluationSettings
from local.utils.errors import UserError
from local.utils.problems import Place, Problem

#: Files of a corpus whose recordings are divided.
POOLED = ("train.csv", "val.csv")


@dataclasses.dataclass(frozen=True)
class Pool:
    """All recordings that are divided into folds.

    table: Every cell text.
    scaled_targets: [n_recordings, n_labels] of float, See `labels.scale_targets`.
    digests: Of each file that was read, and of whom it was read without.
    """

    table: pd.DataFrame
    scaled_targets: pd.DataFrame
    digests: dict[str, str]
    notes: list[str]


def read_pool(values: dict) -> Pool:
    """Read train.csv and, where there is one, val.csv, without excluded subjects.

    values: Plain values of the training yaml, addresses as `corpus_addresses` gives
        them.

    Raises UserError: for everything wrong in labels.txt and the CSVs.
    """
    storage, notes = Storage.of(values), []
    labels_file, groups, types = read_labels(values, storage)
    names = list(types)
    excluded = corpus.find_exclusions(values, storage, notes)
    files = _pooled_files(values["split_folder"], storage)
    tables, targets, problems = [], [], []
    for file in files:
        address = joined(values["split_folder"], file.name)
        table, rated, wrong = read_rated(file, address, values, types, excluded, notes)
        problems += wrong
        tables.append(table)
        targets.append(rated)
    if problems:
        raise UserError("The CSVs can't be used as they are:", problems)
    notes += unify_subjects(tables)
    # of columns that one file lacks the cells are empty
    pool = pd.concat(tables, ignore_index=True).fillna("")
    targets = pd.concat(targets, ignore_index=True)
    _check_pooled(pool, targets, types, values)
    # what each fold would refuse, before the first
    binary = [name for name in names if not types[name].is_score]
    EvaluationSettings.of(values).given_thresholds(binary)
    if values["soft_targets"]:
        with_shares(pool.assign(**targets), names, values)
    digests = {file.name: digest(contents(file)) for file in files}
    digests[labels_file.name] = digest(json.dumps(groups).encode())
    digests[corpus.EXCLUDED] = digest("\n".join(sorted(excluded.subjects)).encode())
    scaled = labels.scale_targets(targets, labels.label_ranges(types, names))
    return Pool(pool, scaled, digests, notes)


def _pooled_files(split_folder, storage):
    """Local copies of train.csv and, where there is one, val.csv."""
    folder = storage.folder(split_folder, POOLED.__contains__)
    files = [folder / name for name in POOLED if (folder / name).is_file()]
    if folder / "train.csv" not in files:
        raise UserError(
            f"There is no {joined(split_folder, 'train.csv')}: a cross-validation "
            "divides the recordings of train.csv, and of val.csv if there is one."
        )
    return files


def _check_pooled(pool, targets, types, values):
    """Both files in one must say what each says."""
    repeated = sorted(set(pool["uid"][pool["uid"].duplicated()]))
    if repeated:
        places = tuple(Place(uid) for uid in repeated)
        raise UserError(
            "A recording may stand once in train.csv and val.csv together:",
            [Problem("uid", "in both", places)],
        )
    again, _ = targets_with_raters(
        pool,
        types,
        values["derived_labels"],
        CellCodes.of(values),
        " and ".join(POOLED),
    )
    if not targets.equals(again):
        raise UserError(
            "train.csv and val.csv tell the same label in different columns, one by "
            "the label's own and the other by those that it is derived from: give both "
            "files the same columns."
        )


def digest(content):
    """A text that changes with the content, bytes."""
    return hashlib.sha256(content).hexdigest()
