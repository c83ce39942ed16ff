"""Which CSV results are of, so that those of another one don't take their place."""

import contextlib
import hashlib
from pathlib import Path, PurePosixPath

from speechbrain.utils.distributed import if_main_process

from local.storage import gcs
from local.storage.addresses import absolute, is_remote, joined, last_name
from local.storage.experiment_files import METRICS, PREDICTIONS, SCORED_CSV
from local.storage.inputs import Storage
from local.utils.errors import UserError
from local.utils.files import read_json
from local.utils.number_format import printable
from local.utils.run_lock import claimed_by_main
from local.utils.staging import COMPLETE

#: Results without it are of nobody knows which CSV.
RESULTS = (METRICS, f"{COMPLETE}/{METRICS}", PREDICTIONS)


def describe(address: str, file: Path) -> dict:
    """What `SCORED_CSV` says of a CSV.

    file: It, or its local copy.

    Returns: "name", "sha256" of its content, and "address_sha256": two CSVs are the
        same if they lie at the same place. The place itself is for nobody to read.
    """
    if not is_remote(address) and Path(address).is_absolute():
        address = str(Path(address).resolve())
    return {
        "name": last_name(address),
        "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest(),
        "address_sha256": hashlib.sha256(address.encode()).hexdigest(),
    }


def address_of(options: dict) -> str | None:
    """The CSV to score, by the options of evaluate.yaml; None: none is named.

    Raises UserError: if it is no place, or two are named.
    """
    if options["split_csv"] and options["split_folder"]:
        raise UserError("Give --split_csv or --split_folder, not both.")
    if options["split_csv"]:
        return absolute(options["split_csv"], "split_csv")
    if options["split_folder"]:
        return joined(absolute(options["split_folder"], "split_folder"), "test.csv")
    return None


def others_in(folder: str | Path, csv: dict, storage: Storage) -> str | None:
    """The name of the CSV that a folder's results are of, if it is another one.

    folder: A local one, or one in a bucket.
    csv: As `describe` gives it.

    Returns: None if there are no results, or those of the same CSV.
    """
    for name in (SCORED_CSV, f"{COMPLETE}/{SCORED_CSV}", *RESULTS):
        try:
            file = storage.file(joined(str(folder), name))
        except gcs.Missing:
            continue
        if file.is_file():
            recorded = _recorded(file)
            same = recorded.get("address_sha256") == csv["address_sha256"]
            name = printable(str(recorded.get("name", "one that is not known")))
            return None if same else name
    return None


def _recorded(file):
    try:
        recorded = read_json(file)
        return recorded if isinstance(recorded, dict) else {}
    except (OSError, ValueError):
        return {}


def refuse_others(folder: str | Path, csv: dict, storage: Storage, key: str):
    """Raise UserError if a folder that is named holds results of another CSV.

    key: The yaml key that names the folder.
    """
    if other := others_in(folder, csv, storage):
        raise UserError(
            f"{key} {folder} holds results of another CSV ({other}), and those of "
            f"{csv['name']} would take their place: give another folder, or move them."
        )


@contextlib.contextmanager
def claimed_for(csv: dict, folder: Path, upload_to: str | None, options: dict):
    """Keep other runs from the places of a CSV's results, and refuse other CSVs there.

    csv: As `describe` gives it.
    folder, upload_to: The places.
    options: Of evaluate.yaml.

    Raises UserError: if another run works in the folder, or a place is another CSV's.
    """
    with claimed_by_main(folder):
        if if_main_process():
            storage = Storage.of(options)
            # of a run just before
            refuse_others(folder, csv, storage, "output_folder")
            if upload_to:
                refuse_others(upload_to, csv, storage, "upload_to")
        yield


def folder_of(
    parent: Path, address: str, csv: dict, storage: Storage, debug: bool = False
) -> Path:
    """The folder for results of a CSV: of its name, unless that is another one's.

    address: The CSV's.
    debug: Whether they are results of `--debug`, which lie in a folder below.

    Returns: Of several CSVs of a name the second also has the name of the CSV's folder,
        and so on.
    """
    *folders, name = address.removeprefix("gs://").strip("/").split("/")
    for n in range(len(folders) + 1):
        parts = [*folders[len(folders) - n :], PurePosixPath(name).stem]
        folder = parent / "_".join(parts) / ("debug" if debug else ".")
        if others_in(folder, csv, storage) is None:
            if n:
                print(f"Results of another {name} are there: these go to {folder}")
            return folder
    raise UserError(
        f"{parent} holds results of other CSVs under all names for those of {name}: "
        "give --output_folder=DIR."
    )
