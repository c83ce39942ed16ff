"""A corpus: where its parts lie, its small files, and who is left out of it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from local.data import splits
from local.storage import gcs
from local.storage.addresses import absolute, is_remote, joined, last_name, parent
from local.storage.inputs import Storage, told_as
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.spelling import alike
from local.utils.text_io import read_text

#: Names of the split files, and of the splits that they hold.
SPLITS = {"train.csv": "train", "test.csv": "test", "val.csv": "valid"}

#: What val.csv may have been meant by.
OTHER_NAMES = ("valid.csv", "validation.csv", "dev.csv")

#: The file of subjects whose consent is withdrawn.
EXCLUDED = "excluded_subjects.txt"


def corpus_addresses(values: dict) -> dict[str, str]:
    """Where the parts of a corpus lie, joined from the folder or named each.

    values: `corpus_folder`, `data_folder`, `study`, `split_folder`, `labels_file`.

    Returns: `data_folder`, `split_folder` and `labels_file`: absolute paths, or
        addresses of a bucket.
    Raises UserError: if a part is neither given nor below `corpus_folder`, or `study`
        leads out of `data_folder`.
    """
    defaults = {
        "data_folder": "audio",
        "split_folder": "splits",
        "labels_file": "labels.txt",
    }
    addresses, absent = {}, []
    for key, default in defaults.items():
        if values.get(key):
            addresses[key] = absolute(values[key], key)
        elif values.get("corpus_folder"):
            folder = absolute(values["corpus_folder"], "corpus_folder")
            addresses[key] = joined(folder, default)
        else:
            absent.append(key)
    if absent:
        raise UserError(
            f"Give --corpus_folder=DIR, or each of its parts: {', '.join(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} missing."
        )
    study = PurePosixPath(values.get("study") or "")
    if study.is_absolute() or ".." in study.parts or is_remote(study):
        raise UserError(
            f"study must be a folder below data_folder, found {values['study']!r}."
        )
    if study.parts:
        addresses["data_folder"] = joined(addresses["data_folder"], str(study))
    return addresses


def dataset_name(values: dict, addresses: dict[str, str]) -> str:
    """What a data set is called: as it is given, or else as its folder.

    values: `dataset_name` and `corpus_folder`, which may be None.
    addresses: As `corpus_addresses` gives them.

    Raises UserError: if the name can't be a folder's.

    >>> addresses = {"data_folder": "/data/aphasia/audio"}
    >>> dataset_name({"dataset_name": None, "corpus_folder": None}, addresses)
    'aphasia'
    """
    if values["corpus_folder"]:
        folder = absolute(values["corpus_folder"], "corpus_folder")
    else:
        folder = addresses["data_folder"]
        folder = parent(folder) if last_name(folder) == "audio" else folder
    name = values["dataset_name"] or last_name(folder) or "corpus"
    check_dataset_name(name)
    return name


def check_dataset_name(name):
    """Raise UserError if a data set's name can't be a folder's."""
    if (
        not name.strip()
        or not name.isprintable()
        or "/" in name
        or name in (".", "..")
        or len(name) > 100
    ):
        raise UserError(f"dataset_name must be the name of a folder, found {name!r}.")


def split_files(values: dict, storage: Storage) -> dict[str, Path]:
    """Local copies of the split files.

    values: `split_folder` and `data_folder`.

    Returns: Name of the split → CSV; `valid` only if there is one.
    Raises UserError: naming all that is not there: the data folder, train.csv,
        test.csv.
    """
    folder = storage.folder(values["split_folder"], SPLITS.__contains__)
    files = {split: folder / name for name, split in SPLITS.items()}
    if not files["valid"].exists():
        del files["valid"]
    absent = [] if _has_recordings(values) else [values["data_folder"]]
    absent += [
        joined(values["split_folder"], file.name)
        for file in files.values()
        if not file.exists()
    ]
    if absent:
        raise UserError(
            "A corpus folder holds audio/<uid>/, splits/train.csv, splits/test.csv "
            "and labels.txt; what is not there:",
            absent,
        )
    return files


def note_misnamed(files: dict[str, Path], notes: list[str]):
    """Tell of a CSV that may have been meant for val.csv, and is not read.

    files: As `split_files` gives them.
    notes: Gets what there is to tell.
    """
    folder = files["train"].parent
    there = [name for name in OTHER_NAMES if (folder / name).is_file()]
    if "valid" not in files and there:
        notes.append(
            f"{' and '.join(there)} beside train.csv is not read: the validation split "
            "is val.csv. Rename it if that is what it is."
        )


def local_split(split_csv: str, values: dict, storage: Storage) -> Path:
    """A local copy of one CSV whose recordings are in `data_folder`.

    values: With `data_folder`.

    Raises UserError: naming what is not there, the file or the data folder.
    """
    if not values["data_folder"]:
        raise UserError(
            "This experiment names no data_folder: give --data_folder=DIR, the folder "
            "that the recordings of the CSV are in."
        )
    file = storage.file(split_csv)
    absent = [] if _has_recordings(values) else [values["data_folder"]]
    absent += [] if file.is_file() else [split_csv]
    if absent:
        raise UserError(
            "Expected a CSV and the folder that its recordings are in (if they have "
            "moved, give --data_folder=DIR); what is not there:",
            absent,
        )
    return file


def check_data_folder(values):
    """Raise UserError if the recordings of an experiment are not where they were."""
    if not _has_recordings(values):
        raise UserError(
            f"There is no folder {values['data_folder']}, where the recordings of this "
            "experiment were. If they have moved, give --data_folder=DIR."
        )


def _has_recordings(values):
    """False for a local folder that is not there; a bucket's is listed when needed.

    Where features stand in the place of recordings no folder is needed.
    """
    folder = values["data_folder"]
    return bool(values.get("features")) or is_remote(folder) or Path(folder).is_dir()


@dataclasses.dataclass(frozen=True)
class Exclusions:
    """Subjects whose consent is withdrawn, and their recordings.

    uids: Their recordings by the corpus's own CSVs: a table for extraction need not
        name subjects.
    recordings: Folders of the recordings that were left out.
    """

    subjects: set[str]
    uids: set[str]
    recordings: set[str] = dataclasses.field(default_factory=set)

    def are_among(self, subjects: pd.Series) -> pd.Series:
        """Whether each of some subjects is excluded, also if spelt a little otherwise.

        subjects: of str

        Returns: of bool
        """
        return subjects.map(alike).isin({alike(subject) for subject in self.subjects})

    def leave_out(
        self,
        table: pd.DataFrame,
        targets: pd.DataFrame | None,
        name: str,
        notes: list[str],
    ) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Leave out their recordings.

        table: With `uid` and `subject`.
        targets: Of the same rows.
        name: What the table is called in the note.
        notes: A note with the number of recordings is added to it, if there are any.

        Returns table.
        Returns targets.
        """
        kept = ~(self.are_among(table["subject"]) | table["uid"].isin(self.uids))
        if not kept.all():
            notes.append(
                f"{name}: {(~kept).sum()} recordings of excluded subjects left out"
            )
            self.recordings.update(table["audio"][~kept])
            table = table[kept].reset_index(drop=True)
            targets = None if targets is None else targets[kept].reset_index(drop=True)
        return table, targets


def find_exclusions(
    values: dict, storage: Storage, notes: list[str], own_data: bool = True
) -> Exclusions:
    """Who is left out, by the files beside labels.txt and beside the data folder.

    Where a `split_csv` is all that is known of a corpus, also by those beside it and
    beside its folder.

    values: `labels_file` (may be None), `data_folder` and `split_folder`, and maybe
        `split_csv`.
    notes: What could not be looked at is added to it.
    own_data: Whether the data folder is that of the corpus that labels_file belongs to.
        If not, labels_file may be out of reach.

    Raises UserError: if a file is no list of subjects, or may not be read.
    """
    # an experiment that moved may know its data_folder only
    folders = [
        parent(values[key]) for key in ("labels_file", "data_folder") if values[key]
    ]
    if split_csv := values.get("split_csv"):
        beside = parent(split_csv)
        folders += [beside, parent(beside)]
    subjects = set()
    for folder in dict.fromkeys(folders):
        # who may read recordings must read who is not to be among them
        must = own_data or folder == parent(values["data_folder"])
        try:
            file = storage.file(joined(folder, EXCLUDED), patient=must)
        except gcs.Missing:
            continue
        except (gcs.Denied, gcs.RemoteError) as error:
            if must:
                raise
            notes.append(
                "whom the corpus of this experiment's training excludes could not be "
                f"looked up, and is not left out: {error}"
            )
            continue
        with told_as(joined(folder, EXCLUDED), file):
            subjects |= excluded_subjects(file)
    excluded = Exclusions(subjects, set())
    if subjects and values["split_folder"]:
        _add_uids(excluded, values["split_folder"], storage, notes)
        if own_data and not excluded.uids:
            notes.append(
                f"{EXCLUDED} names {counted(len(subjects), 'subject')}, of whom the "
                "CSVs have no recording: nobody is left out"
            )
    return excluded


def excluded_subjects(path: Path) -> set[str]:
    """Subjects whose consent is withdrawn.

    path: A file with one subject per line; it need not be there.
    """
    if not path.exists():
        return set()
    lines = read_text(path).splitlines()
    several = [line for line in lines if set(line.strip()) & set(',;"\t')]
    if several:
        raise UserError(f"{path}: expected one subject per line, found:", several)
    return {line.strip() for line in lines if line.strip()}


def _add_uids(excluded, split_folder, storage, notes):
    """Add recordings of excluded subjects, by the corpus's own CSVs."""
    for name, table in csv_tables(storage.folder(split_folder, is_csv)):
        if table is not None:
            excluded.uids.update(table["uid"][excluded.are_among(table["subject"])])
        else:
            notes.append(
                f"{name} lies beside the splits and is none, so that recordings of "
                "excluded subjects are not known by it"
            )


def csv_tables(folder: Path) -> Iterator[tuple[str, pd.DataFrame | None]]:
    """The CSVs of a corpus, with whatever else of that suffix lies beside them.

    folder: Its split folder, or a local copy.

    Yields: Name and table; None of what is no CSV with `uid` and `subject`, unless it
        is called as a split.
    Raises UserError: if a split can't be read.
    """
    for file in sorted(folder.glob("*.csv")):
        if not is_csv(file.name):
            continue
        try:
            table, _ = splits.read_split(file)
        except UserError:
            if file.name in SPLITS:
                raise
            table = None
        yield file.name, table


def is_csv(name):
    """Whether a name is that of a CSV file right in a folder; no hidden one."""
    return name.endswith(".csv") and "/" not in name and not name.startswith(".")
