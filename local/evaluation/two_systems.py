"""The predictions of two systems that are compared, and the file that says how."""

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
from local.storage.inputs import Storage, told_as
from local.utils.errors import UserError

PREDICTIONS = "predictions.csv"


def predictions_files(experiments: list[str]) -> list[str]:
    """The addresses of two experiments' predictions, links and .. resolved.

    experiments: Folders, or the files themselves; may be in buckets.

    Raises UserError: if there is no such file, or both are the same.
    """
    addresses = [_predictions_file(experiment) for experiment in experiments]
    if addresses[0] == addresses[1]:
        raise UserError(
            f"Both experiments are {addresses[0]}: expected two different ones."
        )
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


def read_split(address: str, split: str | None) -> pd.DataFrame:
    """The predictions of a split; of test where none is named and there are several.

    Raises UserError: if there are none of this split.
    """
    file = Storage.of({}).file(address)
    with told_as(address, file):
        table = read_predictions(file)
    splits = list(dict.fromkeys(table["split"]))
    if split is None:
        split = "test" if len(splits) != 1 else splits[0]
    if split not in splits:
        raise UserError(
            f"{address} has no predictions of the split {split!r}; give --split=NAME "
            "with one of these (of a cross-validation, whose folds are networks of "
            "their own, one fold):",
            splits,
        )
    return table[table["split"] == split]


def short_names(addresses: list[str]) -> list[str]:
    """What both are called: the ends of their paths, as short as they differ.

    >>> short_names(["/runs/a/1986/predictions.csv", "/runs/b/1986/predictions.csv"])
    ['a/1986', 'b/1986']
    """
    places = [
        parent(address) if last_name(address) == PREDICTIONS else address
        for address in addresses
    ]
    parts = [place.strip("/").split("/") for place in places]
    n = next(
        n for n in range(1, max(map(len, parts)) + 1) if parts[0][-n:] != parts[1][-n:]
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
