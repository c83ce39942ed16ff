"""Withdrawal of consent: who somebody is in files, and those files without them.

What a person's recordings are called is read from the CSVs of the corpus and from what
experiments keep of it. That is removed last, manifests at the very end: until then a
withdrawal that was killed can be run again, and knows whom to look for.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from local.data import corpus, feature_cache
from local.data.feature_cache import FeatureCache
from local.data.manifests import failed_beside
from local.data.pseudonyms import are_pseudonyms
from local.data.recording_names import is_file, path_of
from local.storage.addresses import is_remote, joined
from local.storage.experiment_files import HPARAMS, PREPARATION, ROWS, files_where
from local.storage.gcs import Address, Cache
from local.storage.gcs.cache import TAG
from local.storage.inputs import DEFAULT_CACHE, Storage
from local.training.cross_validation import RECORD
from local.utils import files
from local.utils.errors import UserError
from local.utils.files import atomic_write, is_hidden
from local.withdrawal.data_subject import Person, uid_column

#: What an evaluation leaves of recordings in its folder.
RESULTS = files_where(evaluation=True, people=ROWS)


# Finding them


def check_folders(folders: list[Path], embeddings: list[Path], caches: list[Path]):
    """Refuse what is not what it is given as, all at once.

    folders: Experiments, cross-validations, or folders that evaluate.py wrote.

    Raises UserError.
    """
    marks = (HPARAMS, RECORD, *RESULTS)
    problems = [
        f"{folder} is no experiment: expected a folder that train.py, "
        "cross_validate.py or evaluate.py wrote"
        for folder in folders
        if not any((folder / mark).is_file() for mark in marks)
    ]
    problems += [
        f"{file} is no embeddings file: there is no such file"
        for file in embeddings
        if not file.is_file() and not _parts_of(file).is_dir()
    ]
    problems += [
        f"{folder} is no cache: it has no {TAG}"
        for folder in caches
        if not (folder / TAG).is_file()
    ]
    if problems:
        raise UserError("Nothing was changed, as these can't be used:", problems)


def tables_of(folder):
    """All CSV files below a folder that name recordings or subjects.

    Yields Path
    Yields pandas.DataFrame: Every cell text.
    """
    for file in sorted(folder.rglob("*.csv")):
        try:
            table = read_cells(file)
        except (OSError, ValueError, pd.errors.ParserError):
            continue
        if uid_column(table.columns) or "subject" in table:
            yield file, table


def learn_corpus(person: Person, folder: str, storage: Storage) -> int:
    """Learn from the CSVs of a corpus; how many recordings are theirs.

    folder: The corpus, here or in a bucket.
    """
    local = storage.folder(joined(folder, "splits"), corpus.is_csv)
    tables = (table for _, table in corpus.csv_tables(local))
    return sum(person.learn(table) for table in tables if table is not None)


def learn_experiment(person: Person, folder: Path) -> int:
    """Learn from all that an experiment keeps; how many rows are theirs."""
    n_rows = sum(person.learn(table) for _, table in tables_of(folder))
    for record in folder.rglob(PREPARATION.name):
        failed = read_json(record).get("failed", [])
        if failed:
            n_rows += person.learn(pd.DataFrame(failed, columns=["uid", "subject"]))
    return n_rows


def check_readable(
    person: Person,
    folders: list[Path],
    embeddings: list[Path],
    corpus_folder: str | None = None,
):
    """Refuse results whose pseudonyms can't be tied to anybody.

    What ties them is removed in the end: a wrong key would be found out too late.

    corpus_folder: A corpus, if it is on disk its CSVs tell names as well.

    Raises UserError.
    """
    shown = _shown_names(folders, embeddings)
    hidden = {file: names for file, names in shown.items() if are_pseudonyms(names)}
    if hidden and not person.pseudonyms:
        raise UserError(
            "These name recordings by pseudonyms. Nothing was changed: give the key "
            "that they were made with, --pseudonymise_key=FILE.",
            hidden,
        )
    known = person.subjects | person.uids
    known = known.union(*(shown[file] for file in shown.keys() - hidden.keys()))
    if corpus_folder and not is_remote(corpus_folder):
        for _, table in corpus.csv_tables(Path(corpus_folder, "splits")):
            known |= set() if table is None else {*table["uid"], *table["subject"]}
    keyed = {namer(name) for name in known for namer in _namers(person.pseudonyms)}
    strange = [file for file, names in hidden.items() if not names & keyed]
    if strange:
        raise UserError(
            "Nobody who is known here has a pseudonym in these. Nothing was changed: "
            "give the key that they were made with, --pseudonymise_key=FILE, and the "
            "corpus that they are of, --corpus_folder=DIR.",
            strange,
        )


def _shown_names(folders, embeddings):
    """Names of recordings and subjects as results have them, by file."""
    shown = {
        str(file): {
            name
            for column in {uid_column(table.columns), "subject"} & set(table)
            for name in table[column]
        }
        for folder in folders
        for file, table in tables_of(folder)
    }
    return shown | {
        str(file): set(_names(pq.read_table(file)).to_pylist())
        for file in parquets_of(folders, embeddings)
    }


def _namers(pseudonyms):
    return (pseudonyms.uid, pseudonyms.subject) if pseudonyms else ()


def read_json(path):
    """The content of a JSON file; UserError if it is damaged."""
    try:
        return files.read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {error}") from error


def read_cells(path):
    """A CSV as it is, every cell text, pandas.DataFrame."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


# Files without them


def exclude(folder: str, subjects: set[str], dry_run: bool) -> list[str]:
    """Add subjects to a corpus's list of those that are never read.

    folder: A corpus on disk.

    Returns: Those that were not in it.
    """
    path = Path(folder) / corpus.EXCLUDED
    new = sorted(subjects - corpus.excluded_subjects(path))
    if new and not dry_run:
        files.remove_unfinished(path.parent)  # of a withdrawal that was killed
        old = corpus.read_text(path) if path.exists() else ""
        lines = [*old.splitlines(), *new]
        with atomic_write(path) as file:
            file.write("\n".join(lines) + "\n")
    return new


def clean_csv(path, table, person, dry_run):
    """Write a CSV again without a person's rows; how many these are."""
    theirs = person.has(table)
    if theirs.any() and not dry_run:
        with atomic_write(path) as file:
            table[~theirs].to_csv(file, index=False, lineterminator="\n")
    return int(theirs.sum())


def clean_parquet(path, person, dry_run):
    """Write a parquet file again without a person's rows; how many these are.

    The schema's metadata stays; rows that it counts are counted anew.
    """
    table = pq.read_table(path)
    theirs = pc.is_in(_names(table), pa.array(person.shown(person.uids), pa.string()))
    n_rows = pc.sum(theirs).as_py() or 0
    if n_rows and not dry_run:
        metadata = dict(table.schema.metadata or {})
        if b"windowed" in metadata:
            metadata[b"windowed"] = _recounted(metadata[b"windowed"], theirs)
        left = table.filter(pc.invert(theirs)).replace_schema_metadata(metadata)
        with atomic_write(path, "wb") as file:
            pq.write_table(left, file)
    return n_rows


def _recounted(windowed, theirs):
    """Which rows are of recordings that were cut, once others are gone."""
    described = json.loads(windowed)
    kept = [row for row, gone in enumerate(theirs.to_pylist()) if not gone]
    places = {row: place for place, row in enumerate(kept)}
    rows = [places[row] for row in described["rows"] if row in places]
    return json.dumps(described | {"rows": rows}).encode()


def _names(table):
    """The names of recordings in a table of parquet, as text."""
    return table[uid_column(table.column_names)].cast(pa.string())


def parquets_of(folders, embeddings):
    """Every parquet file that names recordings: given, unfinished, in a folder."""
    files = [file for file in embeddings if file.is_file()]
    for file in embeddings:
        files += sorted(_parts_of(file).glob("*.parquet"))
    for folder in folders:
        files += sorted(folder.rglob("*.parquet"))
    files = [file for file in files if not is_hidden(Path(file.name))]
    return [file for file in files if uid_column(pq.read_schema(file).names)]


def _parts_of(file):
    return file.with_name(f"{file.name}.parts")


def clean_embeddings(file: Path, person: Person, dry_run: bool) -> dict[str, int]:
    """Remove a person from an embeddings file and all that lies beside it.

    Returns: Rows that were removed, by file.
    """
    if not dry_run:  # what a kill has left
        files.remove_unfinished(_parts_of(file))
    removed = {
        str(part): clean_parquet(part, person, dry_run)
        for part in parquets_of([], [file])
    }
    failed = failed_beside(file)
    if failed.is_file():
        table = read_cells(failed)
        removed[str(failed)] = clean_csv(failed, table, person, dry_run)
    return removed


# Caches


def clean_audio_cache(
    folder: Path, person: Person, data_folders: Iterable[str], dry_run: bool
) -> int:
    """Forget the copies of a person's recordings; of how many there were any.

    Copies of CSVs and experiments, which may name them, are all removed: what is
    needed is fetched again.

    data_folders: Those in buckets.
    """
    cache = Cache(folder)
    places = [
        (Address.parse(data_folder) / path_of(name), is_file(name))
        for data_folder in data_folders
        for name in person.recordings
    ]
    kept = [place for place in places if cache.keeps(*place)]
    if not dry_run:
        for place in kept:
            cache.forget(*place)
        cache.sweep()
        shutil.rmtree(folder / "snapshots", ignore_errors=True)
    return len(kept)


def known_caches(units):
    """Caches that experiments have used, and that are there, list of Path."""
    given = {values.get("audio_cache") for unit in units for values in unit.values}
    given.add(DEFAULT_CACHE)
    folders = [Path(folder).absolute() for folder in given if folder]
    return sorted(folder for folder in folders if (folder / TAG).is_file())


def known_feature_caches(units):
    """Caches of features that experiments have used, list of FeatureCache."""
    folders = {values.get("feature_cache") for unit in units for values in unit.values}
    inside = [path for unit in units for path in feature_cache.caches_in(unit.folder)]
    folders = {Path(folder) for folder in folders if folder}.union(inside)
    return [FeatureCache(path) for path in sorted(folders) if (path / TAG).is_file()]


def data_folders(units, corpus_folder):
    """Where the recordings themselves are, list of str."""
    folders = {values.get("data_folder") for unit in units for values in unit.values}
    folders |= {joined(corpus_folder, "audio")} if corpus_folder else set()
    return sorted(folder for folder in folders if folder)


def corpus_storage(audio_cache):
    """What reads a corpus: with the cache that was given, or the default one."""
    return Storage.of({"audio_cache": audio_cache and str(audio_cache)})


def remote(addresses):
    """Those of these addresses that are of a bucket."""
    return [address for address in addresses if is_remote(address)]
