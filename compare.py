"""Compare two trained systems on the same recordings.

    python compare.py EXPERIMENT_A EXPERIMENT_B [--split=NAME] [--seed=N]
        [--output_file=FILE.json]

An experiment is a folder that train.py or evaluate.py wrote, or a file like its
predictions.csv; each may be gs://bucket/…. For each label and on average the AUROC of A
less that of B is printed, with an interval by subject and a p-value, and written to the
output file. Labels that only one of them has are named and left out.
"""

import pandas as pd

from local.storage import first_look  # before what loads PyTorch

if __name__ == "__main__":
    first_look.look()

import argparse
import json
from pathlib import Path

from local.data.predictions_table import read_predictions
from local.metrics.comparison import compare
from local.report.terminal import format_comparison
from local.storage.addresses import (
    absolute,
    is_remote,
    joined,
    last_name,
    local_path,
    parent,
)
from local.storage.inputs import Storage, told_as
from local.utils import cli
from local.utils.errors import UserError
from local.utils.files import write_json

PREDICTIONS = "predictions.csv"


def main(argv):
    """Read both, compare, print, write."""
    options = _parse(argv)
    addresses = [_predictions_file(given) for given in options.experiments]
    if addresses[0] == addresses[1]:
        raise UserError(
            f"Both experiments are {addresses[0]}: expected two different ones."
        )
    output_file = options.output_file and _writable(options.output_file)
    tables = [_read(address, options.split) for address in addresses]
    names = _names(addresses)
    result = compare(*tables, options.seed, names)
    print(format_comparison(result))
    if output_file:
        result["predictions"] = dict(zip(names, addresses, strict=True))
        write_json(output_file, result)
        print(f"\nSaved in {output_file}")


def _parse(argv):
    parser = argparse.ArgumentParser(prog="compare.py", allow_abbrev=False)
    parser.add_argument("experiments", nargs=2, metavar="EXPERIMENT")
    parser.add_argument("--split")
    parser.add_argument("--seed", type=_whole_number, default=1986)
    parser.add_argument("--output_file")
    return parser.parse_args(argv)


def _whole_number(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


def _predictions_file(experiment):
    """The address of an experiment's predictions, links and .. resolved."""
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


def _read(address, split) -> pd.DataFrame:
    """The predictions of a split; of test where none is named and there are several."""
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


def _names(addresses):
    """What both are called: the ends of their paths, as short as they differ.

    >>> _names(["/results/a/1986/predictions.csv", "/results/b/1986/predictions.csv"])
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
    return ["/".join(of[-n:]) for of in parts]


def _writable(output_file):
    """The path of the output file; another kind of file is not overwritten."""
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


if __name__ == "__main__":
    cli.run(main)
