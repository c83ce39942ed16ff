"""Withdrawal of consent: who somebody is in files, and those files without them.

What a person's recordings are called is read from the CSVs of the corpus and from what
experiments keep of it. That is removed last, manifests at the very end: until then a
withdrawal that was killed can be run again, and knows whom to look for.
"""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from local import corpus, splits
from local.addresses import is_remote, joined
from local.config import plain_values
from local.decoded_cache import TAG, DecodedCache
from local.errors import UserError
from local.experiment import MANIFESTS
from local.files import atomic_write, write_json
from local.fold_results import collect_results
from local.fold_runs import RECORD, FoldRun
from local.gcs import Address, Cache
from local.predictions import read_predictions
from local.pseudonyms import Pseudonyms, are_pseudonyms
from local.rebuilding import opened, rebuild
from local.storage import DEFAULT_CACHE, Storage

#: What an evaluation leaves in its folder.
RESULTS = ("predictions.csv", "failed.csv")

#: Splits that a network is trained on or chosen by, and how.
LEARNED_FROM = {
    "train": "trained on them",
    "valid": "not trained on them, but its best epoch was chosen with them",
}

#: Names that are shorter could be anything in a log.
SHORTEST_NAME = 3


@dataclasses.dataclass
class Person:
    """Whose consent is withdrawn, and what their recordings are called.

    Attributes
    ----------
    subjects : set of str
    pseudonyms : pseudonyms.Pseudonyms or None
        By which results may name them.
    uids, recordings : set of str
        Their recordings, and the folders of these below a data folder.
    """

    subjects: set
    pseudonyms: Pseudonyms | None = None
    uids: set = dataclasses.field(default_factory=set)
    recordings: set = dataclasses.field(default_factory=set)

    def has(self, table):
        """Which rows of a table are theirs.

        Arguments
        ---------
        table : pandas.DataFrame
            With `subject`, or `uid` or `ID`; the subject decides where there is one.

        Returns
        -------
        pandas.Series of bool
        """
        column = _uid_column(table.columns)
        theirs = pd.Series(False, index=table.index)
        if column:
            theirs = table[column].isin(self.shown(self.uids))
        if "subject" in table:
            subjects = set(self.subjects)
            if self.pseudonyms:
                subjects |= set(map(self.pseudonyms.subject, self.subjects))
            named = table["subject"].fillna("") != ""
            theirs = table["subject"].isin(subjects) | (theirs & ~named)
        return theirs

    def shown(self, uids):
        """Names of recordings as results may show them, set of str."""
        hidden = map(self.pseudonyms.uid, uids) if self.pseudonyms else ()
        return {*uids, *hidden}

    def learn(self, table):
        """Take note of their recordings in a table; how many there are."""
        rows = table[self.has(table)]
        column = _uid_column(table.columns)
        if column and "subject" in table and not are_pseudonyms(rows[column]):
            self.uids |= set(rows[column])
            for folder in {"recording", "audio"} & set(rows):
                self.recordings |= set(rows[folder])
        return len(rows)

    def left_in(self, split):
        """A `measurements.MeasuredSplit` without them."""
        theirs = self.has(split.manifest)
        measured = split.measurements
        if measured is not None:
            measured = measured[~measured["ID"].isin(split.manifest["ID"][theirs])]
        manifest = split.manifest[~theirs].reset_index(drop=True)
        return dataclasses.replace(split, manifest=manifest, measurements=measured)

    def left_of(self, failed):
        """A list of dict with `uid` and maybe `subject`, without theirs."""
        theirs = self.has(pd.DataFrame(failed)) if failed else ()
        return [of for of, own in zip(failed, theirs, strict=True) if not own]


def _uid_column(columns):
    return next((name for name in ("uid", "ID") if name in columns), None)


# Finding them


def check_folders(folders, embeddings, caches):
    """Refuse what is not what it is given as, all at once.

    Arguments
    ---------
    folders : list of Path
        Experiments, cross-validations, or folders that evaluate.py wrote.
    embeddings : list of Path
    caches : list of Path

    Raises
    ------
    UserError
    """
    marks = ("hyperparams.yaml", RECORD, *RESULTS)
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

    Yields
    ------
    Path
    pandas.DataFrame
        Every cell text.
    """
    for file in sorted(folder.rglob("*.csv")):
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        except (OSError, ValueError, pd.errors.ParserError):
            continue
        if _uid_column(table.columns) or "subject" in table:
            yield file, table


def learn_corpus(person, folder, storage):
    """Learn from the CSVs of a corpus; how many recordings are theirs.

    Arguments
    ---------
    person : Person
    folder : str
        The corpus, here or in a bucket.
    storage : storage.Storage

    Returns
    -------
    int
    """
    local = storage.folder(joined(folder, "splits"), corpus.is_csv)
    found = 0
    for file in sorted(local.glob("*.csv")):
        table, _ = splits.read_split(file)
        found += 0 if table is None else person.learn(table)
    return found


def learn_experiment(person, folder):
    """Learn from all that an experiment keeps; how many rows are theirs.

    Arguments
    ---------
    person : Person
    folder : Path

    Returns
    -------
    int
    """
    found = sum(person.learn(table) for _, table in tables_of(folder))
    for record in folder.rglob("preparation.json"):
        failed = _read_json(record).get("failed", [])
        if failed:
            found += person.learn(pd.DataFrame(failed, columns=["uid", "subject"]))
    return found


def check_readable(person, folders, embeddings):
    """Refuse results whose pseudonyms can't be tied to anybody.

    Arguments
    ---------
    person : Person
    folders : list of Path
    embeddings : list of Path

    Raises
    ------
    UserError
    """
    if person.pseudonyms:
        return
    hidden = [
        str(file)
        for folder in folders
        for file, table in tables_of(folder)
        if are_pseudonyms(table[_uid_column(table.columns) or "subject"])
    ]
    hidden += [
        str(file)
        for file in _parquets(folders, embeddings)
        if are_pseudonyms(_names(pq.read_table(file)).to_pylist())
    ]
    if hidden:
        raise UserError(
            "These name recordings by pseudonyms. Nothing was changed: give the key "
            "that they were made with, --pseudonymise_key=FILE.",
            hidden,
        )


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read: {error}") from error


# Files without them


def exclude(folder, subjects, dry_run):
    """Add subjects to a corpus's list of those that are never read.

    Arguments
    ---------
    folder : str
        A corpus on disk.
    subjects : set of str
    dry_run : bool

    Returns
    -------
    list of str
        Those that were not in it.
    """
    path = Path(folder) / corpus.EXCLUDED
    new = sorted(subjects - corpus.excluded_subjects(path))
    if new and not dry_run:
        old = path.read_text(encoding="utf-8-sig") if path.exists() else ""
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
    return table[_uid_column(table.column_names)].cast(pa.string())


def _parquets(folders, embeddings):
    """Every parquet file that names recordings: given, unfinished, in a folder."""
    files = [file for file in embeddings if file.is_file()]
    for file in embeddings:
        files += sorted(_parts_of(file).glob("*.parquet"))
    for folder in folders:
        files += sorted(folder.rglob("*.parquet"))
    return [file for file in files if _uid_column(pq.read_schema(file).names)]


def _parts_of(file):
    return file.with_name(f"{file.name}.parts")


def clean_embeddings(file, person, dry_run):
    """Remove a person from an embeddings file and all that lies beside it.

    Arguments
    ---------
    file : Path
    person : Person
    dry_run : bool

    Returns
    -------
    dict of str to int
        Rows that were removed, by file.
    """
    found = {
        str(of): clean_parquet(of, person, dry_run) for of in _parquets([], [file])
    }
    failed = file.with_name(f"{file.name}.failed.csv")
    if failed.is_file():
        table = pd.read_csv(failed, dtype=str, keep_default_na=False)
        found[str(failed)] = clean_csv(failed, table, person, dry_run)
    return found


def clean_log(path, person, dry_run):
    """Blank a person's names in a log; how many there were.

    Logs name nobody, but those of older versions do.
    """
    names = person.subjects | person.uids | person.recordings
    names = [name for name in names if len(name) >= SHORTEST_NAME]
    names = sorted((n for n in names if not n.isdecimal()), key=len, reverse=True)
    if not names:
        return 0
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)"
    blanked, n_names = re.subn(pattern, "…", text)
    if n_names and not dry_run:
        with atomic_write(path, "wb") as file:
            file.write(blanked.encode("utf-8", "surrogateescape"))
    return n_names


# Caches


def clean_decoded_cache(folder, person, dry_run):
    """Forget a person's decoded recordings; of how many there were any."""
    cache = DecodedCache(folder)
    kept = [uid for uid in person.uids if cache.keeps(uid)]
    if not dry_run:
        cache.forget(kept)
    return len(kept)


def clean_audio_cache(folder, person, data_folders, dry_run):
    """Forget the copies of a person's recordings; of how many there were any.

    Copies of CSVs and experiments, which may name them, are all removed: what is
    needed is fetched again.

    Arguments
    ---------
    folder : Path
    person : Person
    data_folders : iterable of str
        Those in buckets.
    dry_run : bool

    Returns
    -------
    int
    """
    cache = Cache(folder)
    places = [
        Address.parse(data_folder) / name
        for data_folder in data_folders
        for name in person.recordings
    ]
    kept = [place for place in places if cache.keeps(place)]
    if not dry_run:
        for place in kept:
            cache.forget(place)
        cache.sweep()
        shutil.rmtree(folder / "snapshots", ignore_errors=True)
    return len(kept)


# Experiments


@dataclasses.dataclass(frozen=True)
class Trained:
    """A checkpoint, and what the person was to it."""

    checkpoint: Path
    how: str


class Unit:
    """A folder of results: an experiment, a cross-validation, or an evaluation.

    Arguments
    ---------
    folder : Path
    """

    def __init__(self, folder):
        self.folder = folder
        files = sorted(folder.rglob("hyperparams.yaml"))
        self.experiments = [file.parent for file in files]

    @property
    def values(self):
        """Plain values of each experiment's yaml, list of dict."""
        return [plain_values(of / "hyperparams.yaml") for of in self.experiments]

    def trained(self, person):
        """The checkpoints that learned from a person, list of Trained."""
        found = []
        for folder in self.experiments:
            for split, how in LEARNED_FROM.items():
                file = folder / MANIFESTS / f"{split}.csv"
                if file.is_file() and person.has(_cells(file)).any():
                    checkpoints = sorted((folder / "save").glob("CKPT*"))
                    found += [Trained(path, how) for path in checkpoints]
        return found

    def evaluations(self):
        """Folders with an evaluation, each with the experiment it is of or None."""
        merged = {self.folder, *self.folder.glob("repeat_*")} if self.is_folds else ()
        for file in sorted(self.folder.rglob("predictions.csv")):
            if file.parent not in merged:
                above = [file.parent, *file.parent.parents]
                owner = next((of for of in above if of in self.experiments), None)
                yield file.parent, owner

    @property
    def is_folds(self):
        """Whether it is a cross-validation."""
        return (self.folder / RECORD).is_file()

    def runs(self):
        """The folds of a cross-validation, by repeat, list of (list of FoldRun)."""
        found = {}
        for folder in self.folder.glob("repeat_*/fold_*"):
            numbers = [
                int(part.name.rpartition("_")[2]) for part in (folder.parent, folder)
            ]
            found.setdefault(numbers[0], []).append(
                FoldRun(*numbers, 0, folder, Path())
            )
        return [sorted(of, key=lambda run: run.fold) for _, of in sorted(found.items())]

    def clean(self, person, dry_run):
        """Remove a person, memory last.

        Arguments
        ---------
        person : Person
        dry_run : bool

        Returns
        -------
        dict of str to (int or str)
            By file the number of rows, by evaluation how it was rebuilt.
        """
        done, held = {}, self.holds(person)
        experiments = {None: None}
        for folder, owner in self.evaluations():
            # one without it is of a withdrawal that was stopped
            if not (held or not (folder / "metrics.json").exists()):
                continue
            done[str(folder)] = "to be rebuilt"
            if dry_run:
                continue
            if owner not in experiments:
                experiments[owner] = opened(owner)
            done[str(folder)] = rebuild(folder, experiments[owner], person)
        if not held:
            return done
        return done | self._clean_others(person, dry_run)

    def holds(self, person):
        """Whether anything of a person is in it."""
        tables = (person.has(table).any() for _, table in tables_of(self.folder))
        records = (self._failed_of(folder, person) for folder in self.experiments)
        parquets = _parquets([self.folder], [])
        return (
            any(tables)
            or any(records)
            or any(clean_parquet(file, person, dry_run=True) for file in parquets)
        )

    @staticmethod
    def _failed_of(folder, person):
        """How many of their recordings an experiment could not use."""
        path = folder / MANIFESTS / "preparation.json"
        failed = _read_json(path)["failed"] if path.is_file() else []
        return len(failed) - len(person.left_of(failed))

    def _clean_others(self, person, dry_run):
        """Remove a person from all that no evaluation has written."""
        done = {}
        if self.is_folds and (self.folder / "predictions.csv").exists():
            done[str(self.folder)] = "to be put together again"
            if not dry_run:
                done[str(self.folder)] = self._collect()
        for file in _parquets([self.folder], []):
            done[str(file)] = clean_parquet(file, person, dry_run)
        for file in (*self.folder.rglob("*.txt"), *self.folder.rglob("*.log")):
            done[str(file)] = clean_log(file, person, dry_run)
        for file in self.folder.rglob("inventory.json"):
            done[str(file)] = "removed (--check_only=True counts again)"
            if not dry_run:
                file.unlink()
        for folder in self.experiments:
            done |= self._mark(folder, person, dry_run)
        results = {folder for folder, _ in self.evaluations()}
        results |= {self.folder} if self.is_folds else set()
        # the person is found by the manifests: they are the last
        tables = sorted(tables_of(self.folder), key=lambda of: _is_manifest(of[0]))
        for file, table in tables:
            if file.parent not in results or file.name not in RESULTS or dry_run:
                done[str(file)] = clean_csv(file, table, person, dry_run)
        return {name: of for name, of in done.items() if of}

    def _collect(self):
        """Put the results of a cross-validation together again."""
        runs = self.runs()
        finished = [[run for run in of if run.is_finished] for of in runs]
        if finished != runs:
            for name in ("metrics.json", "predictions.csv", "failed.csv"):
                (self.folder / name).unlink(missing_ok=True)
            return "removed: a fold has nobody left"
        table = read_predictions(runs[0][0].folder / "predictions.csv")
        names = list(dict.fromkeys(table["label"]))
        collect_results(runs, names, self.folder)
        return "put together again"

    def _mark(self, folder, person, dry_run):
        """Let the record of an experiment's preparation say that it was changed."""
        path = folder / MANIFESTS / "preparation.json"
        manifests = [_cells(file) for file in path.parent.glob("*.csv")]
        listed = any(person.has(manifest).any() for manifest in manifests)
        if not path.is_file() or not (listed or self._failed_of(folder, person)):
            return {}
        record = _read_json(path)
        left = person.left_of(record["failed"])
        names = person.uids | person.subjects
        notes = [of for of in record["notes"] if not _names_any(of, names)]
        if not dry_run:
            changed = {"failed": left, "notes": notes, "withdrawn": True}
            write_json(path, record | changed)
        return {str(path): len(record["failed"]) - len(left)}


def _names_any(note, names):
    """Whether a note of an older version names one of these."""
    words = [re.escape(name) for name in names if not name.isdecimal()]
    return bool(words) and bool(re.search(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", note))


def _is_manifest(path):
    return path.parent.name == MANIFESTS.name


def _cells(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def known_caches(units, key):
    """Caches that experiments have used, and that are there, list of Path."""
    given = {values.get(key) for unit in units for values in unit.values}
    given |= {DEFAULT_CACHE} if key == "audio_cache" else set()
    folders = [Path(folder).absolute() for folder in given if folder]
    return sorted(folder for folder in folders if (folder / TAG).is_file())


def data_folders(units, corpus_folder):
    """Where the recordings themselves are, list of str."""
    found = {values.get("data_folder") for unit in units for values in unit.values}
    found |= {joined(corpus_folder, "audio")} if corpus_folder else set()
    return sorted(folder for folder in found if folder)


def corpus_storage(audio_cache):
    """What reads a corpus: with the cache that was given, or the default one."""
    return Storage.of({"audio_cache": audio_cache and str(audio_cache)})


def remote(addresses):
    """Those of these addresses that are of a bucket."""
    return [address for address in addresses if is_remote(address)]
