"""A corpus folder: where its parts lie, and who is left out of it."""

from pathlib import Path

from local import splits
from local.errors import UserError


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
        If a part is neither given nor below `corpus_folder`, or is in a bucket, or
        `study` leads out of `data_folder`.
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
    study = Path(values.get("study") or "")
    if study.is_absolute() or ".." in study.parts:
        raise UserError(
            f"study must be a folder below data_folder, found {values['study']!r}."
        )
    paths["data_folder"] /= study
    return paths


def dataset_name(values, paths):
    """What a data set is called unless it is given: its folder's name.

    Arguments
    ---------
    values : dict
        With `corpus_folder`, which may be None.
    paths : dict of str to Path
        As `corpus_paths` gives them.

    Returns
    -------
    str

    Example
    -------
    >>> paths = {"data_folder": Path("/data/aphasia/audio")}
    >>> dataset_name({"corpus_folder": None}, paths)
    'aphasia'
    """
    if values["corpus_folder"]:
        return local_path(values["corpus_folder"], "corpus_folder").name or "corpus"
    folder = paths["data_folder"]
    return (folder.parent if folder.name == "audio" else folder).name or "corpus"


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
        For no address or a bucket's.
    """
    if not address:
        raise UserError(f"{key} is empty: give --{key}=PATH.")
    if str(address).startswith("gs://"):
        raise UserError(
            f"{key} is {address}: this version reads local folders only; copy the "
            "data to a local folder and name that."
        )
    return Path(address).expanduser().absolute()


def output_path(address, key):
    """The absolute path of a folder to write to.

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
        If it is, or lies below, a file.
    """
    path = local_path(address, key)
    existing = next(part for part in (path, *path.parents) if part.exists())
    if not existing.is_dir():
        raise UserError(f"{key} is {path}, and {existing} is a file: name a folder.")
    return path


def check_folders(data_folder, *files):
    """Raise UserError naming all of these that are not there."""
    absent = [str(data_folder)] if not Path(data_folder).is_dir() else []
    absent += [str(file) for file in files if not file.is_file()]
    if absent:
        raise UserError(
            "A corpus folder holds audio/<uid>/, splits/train.csv, splits/test.csv "
            "and labels.txt; what is not there:",
            absent,
        )


def excluded_subjects(labels_file):
    """Subjects whose consent is withdrawn, from the file beside labels.txt.

    Arguments
    ---------
    labels_file : str or Path

    Returns
    -------
    set of str
        Empty without such a file.
    """
    if labels_file is None:
        return set()
    path = Path(labels_file).with_name("excluded_subjects.txt")
    if not path.exists():
        return set()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} is no UTF-8 text file: {error}") from error
    several = [line for line in lines if "," in line or ";" in line]
    if several:
        raise UserError(f"{path}: expected one subject per line, found:", several)
    return {line.strip() for line in lines if line.strip()}


def _excluded_uids(names, split_folder):
    """Recordings of these subjects, by the corpus's own CSVs."""
    uids = set()
    for file in Path(split_folder).glob("*.csv") if split_folder else ():
        table, _ = splits.read_split(file)
        if table is not None:
            uids |= set(table["uid"][table["subject"].isin(names)])
    return uids


def without_excluded(table, targets, values, name, notes):
    """Leave out the recordings of excluded subjects.

    A table for extraction need not name subjects: recordings are also known by their
    uid in the corpus's own CSVs.

    Arguments
    ---------
    table : pandas.DataFrame
        With `uid` and `subject`.
    targets : pandas.DataFrame or None
        Of the same rows.
    values : dict
        `labels_file`, which the file of excluded subjects is beside, and
        `split_folder`.
    name : str
        What the table is called in the note.
    notes : list of str
        A note with the number of recordings is added to it, if there are any.

    Returns
    -------
    table : pandas.DataFrame
    targets : pandas.DataFrame or None
    """
    # an experiment that moved may know its data_folder only
    beside_audio = Path(values["data_folder"]).parent / "labels.txt"
    excluded = excluded_subjects(values["labels_file"]) | excluded_subjects(
        beside_audio
    )
    if not excluded:
        return table, targets
    uids = _excluded_uids(excluded, values["split_folder"])
    kept = ~(table["subject"].isin(excluded) | table["uid"].isin(uids))
    if not kept.all():
        notes.append(
            f"{name}: {(~kept).sum()} recordings of excluded subjects left out"
        )
        table = table[kept].reset_index(drop=True)
        targets = None if targets is None else targets[kept].reset_index(drop=True)
    return table, targets
