"""The predictions of systems that are compared, and the file that says how."""

import json
from pathlib import Path

import pandas as pd

from local.data.predictions_table import read_predictions
from local.storage.addresses import (
    absolute,
    is_remote,
    joined,
    last_name,
    local_path,
    parent,
)
from local.storage.experiment_files import PREDICTIONS
from local.storage.inputs import Storage, told_as
from local.utils.errors import UserError


def predictions_files(experiments: list[str]) -> list[str]:
    """The addresses of experiments' predictions, links and .. resolved.

    experiments: Folders, or the files themselves; may be in buckets.

    Raises UserError: if there is no such file, or two are the same.
    """
    addresses = [_predictions_file(experiment) for experiment in experiments]
    if again := {place for place in addresses if addresses.count(place) > 1}:
        raise UserError("Expected different experiments; these are given twice:", again)
    return addresses


def _predictions_file(experiment):
    """The address of one experiment's predictions."""
    address = absolute(experiment, "EXPERIMENT")
    if is_remote(address):
        is_file = address.endswith(".csv")
        return address if is_file else joined(address, PREDICTIONS)
    path = Path(address).resolve()
    if path.is_dir():
        path /= PREDICTIONS
    if not path.is_file():
        raise UserError(
            f"There is no {path}: expected a folder that train.py or evaluate.py "
            "wrote, or a file like its predictions.csv."
        )
    return str(path)


def read_systems(
    addresses: list[str], split: str | None
) -> tuple[dict[str, pd.DataFrame], pd.Series | None]:
    """The predictions that are compared.

    split: Of which; None: of test where there are several, or of all folds where all
        are of the same ones.

    Returns tables: By what the systems are called.
    Returns folds: The fold of each recording, by uid; None: these are no folds.
    Raises UserError: if there are none of this split.
    """
    names = short_names(addresses)
    tables = {
        name: _read(address) for name, address in zip(names, addresses, strict=True)
    }
    by_name = {name: _folds(table) for name, table in tables.items()}
    folds, *others = by_name.values()
    if split is None and folds is not None and all(map(folds.equals, others)):
        return tables, folds
    if split is None and any(own is not None for own in by_name.values()):
        raise UserError(
            "Cross-validations are compared where all systems have the same folds of "
            "the same recordings, and these have not. `cross_validate.py A.yaml B.yaml "
            "…` gives several systems the same ones; --split=NAME compares one split. "
            "Found:",
            [
                f"{name}: no folds"
                if own is None
                else f"{name}: {own.nunique()} folds of {len(own)} recordings"
                for name, own in by_name.items()
            ],
        )
    return {
        name: _of_split(table, address, split)
        for (name, table), address in zip(tables.items(), addresses, strict=True)
    }, None


def _read(address):
    file = Storage.of({}).file(address)
    with told_as(address, file):
        return read_predictions(file)


def _folds(table):
    """The split of each recording, by uid in its order; None where there is one."""
    splits = table.drop_duplicates("uid").set_index("uid")["split"].sort_index()
    return splits if splits.nunique() > 1 and "test" not in set(splits) else None


def _of_split(table, address, split):
    """The rows of a split; of test where none is named and there are several."""
    splits = list(dict.fromkeys(table["split"]))
    if split is None:
        split = "test" if len(splits) != 1 else splits[0]
    if split not in splits:
        raise UserError(
            f"{address} has no predictions of the split {split!r}; give --split=NAME "
            "with one of these:",
            splits,
        )
    return table[table["split"] == split]


def short_names(addresses: list[str]) -> list[str]:
    """What the systems are called: the ends of their paths, as short as they differ.

    >>> short_names(["/runs/a/1986/predictions.csv", "/runs/b/1986/predictions.csv"])
    ['a/1986', 'b/1986']
    """
    places = [
        parent(address) if last_name(address) == PREDICTIONS else address
        for address in addresses
    ]
    parts = [place.strip("/").split("/") for place in places]
    n = next(
        n
        for n in range(1, max(map(len, parts)) + 1)
        if len({tuple(part[-n:]) for part in parts}) == len(parts)
    )
    return ["/".join(names[-n:]) for names in parts]


def comparison_file(output_file: str) -> Path:
    """The path of the output file.

    Raises UserError: if it is no .json, or holds something else than a comparison.
    """
    path = local_path(output_file, "output_file")
    if path.suffix != ".json":
        raise UserError(f"output_file must end with .json, found {output_file}.")
    if path.exists() and not _is_comparison(path):
        raise UserError(
            f"{path} is there and holds something else than a comparison: give another "
            "--output_file."
        )
    return path


def _is_comparison(path):
    try:
        return "systems" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
