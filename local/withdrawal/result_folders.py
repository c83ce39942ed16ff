"""Folders that commands have written, and how a person leaves them."""

import dataclasses
import shutil
from pathlib import Path

from local.data.corpus import is_csv
from local.report.writing import OUTPUTS
from local.storage.experiment_files import (
    BASELINES,
    HPARAMS,
    INVENTORY,
    MANIFESTS,
    METRICS,
    PREDICTIONS,
    PREPARATION,
    SAVE,
)
from local.training.cross_validation import RECORD, FoldRun
from local.utils.files import remove_unfinished, write_json
from local.utils.staging import BEGUN, COMPLETE, finish
from local.utils.yaml_files import saved_values
from local.withdrawal.data_subject import Person
from local.withdrawal.rebuild import rebuild, rebuild_folds, remove
from local.withdrawal.withdraw import (
    RESULTS,
    clean_csv,
    clean_parquet,
    parquets_of,
    read_cells,
    read_json,
    tables_of,
)

#: Splits that a network is trained on or chosen by, and how.
LEARNED_FROM = {
    "train": "trained on them",
    "valid": "not trained on them, but its best epoch was chosen with them",
}


#: Folders whose predictions.csv is no evaluation's: half written, or of a baseline.
NO_EVALUATION = (BEGUN, COMPLETE, BASELINES)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A checkpoint, and what the person was to it."""

    checkpoint: Path
    how: str


class ResultFolder:
    """A folder of results: an experiment, a cross-validation, or an evaluation."""

    def __init__(self, folder: Path):
        self.folder = folder
        files = sorted(folder.rglob(HPARAMS))
        self.experiments = [file.parent for file in files]

    @property
    def values(self):
        """Plain values of each experiment's yaml, list of dict."""
        return [saved_values(folder / HPARAMS) for folder in self.experiments]

    def trained(self, person):
        """The checkpoints that learned from a person, list of Trained."""
        trained = []
        for folder in self.experiments:
            checkpoints = sorted((folder / SAVE).glob("CKPT*"))
            before = _withdrawn(folder)
            for split, how in LEARNED_FROM.items():
                file = folder / MANIFESTS / f"{split}.csv"
                if file.is_file() and person.has(read_cells(file)).any():
                    trained += [Trained(path, how) for path in checkpoints]
                if split in before:
                    others = how.replace("them", "people who were withdrawn before")
                    trained += [Trained(path, others) for path in checkpoints]
        return trained

    def places(self):
        """Folders in it that other commands may be writing to, set of Path."""
        staged = {
            place.parent
            for name in (BEGUN, COMPLETE)
            for place in self.folder.rglob(name)
        }
        return staged | {folder for folder, _ in self.evaluations()}

    def clear(self):
        """Finish what killed runs had to move, and remove what was half written."""
        for place in self.places():
            finish(place, OUTPUTS)
            shutil.rmtree(place / BEGUN, ignore_errors=True)
        for place in self.folder.glob("**/"):
            remove_unfinished(place)

    def evaluations(self):
        """Folders with an evaluation, each with the experiment it is of or None."""
        merged = {self.folder} if self.is_folds else ()
        for file in sorted(self.folder.rglob(PREDICTIONS)):
            if file.parent not in merged and file.parent.name not in NO_EVALUATION:
                above = [file.parent, *file.parent.parents]
                owner = next(
                    (folder for folder in above if folder in self.experiments), None
                )
                yield file.parent, owner

    @property
    def is_folds(self):
        """Whether it is a cross-validation."""
        return (self.folder / RECORD).is_file()

    def runs(self):
        """The folds of a cross-validation, by repeat, list of (list of FoldRun)."""
        repeats = {}
        for folder in self.folder.glob("repeat_*/fold_*"):
            numbers = [
                int(part.name.rpartition("_")[2]) for part in (folder.parent, folder)
            ]
            repeats.setdefault(numbers[0], []).append(
                FoldRun(*numbers, 0, folder, Path())
            )
        return [
            sorted(folds, key=lambda run: run.fold)
            for _, folds in sorted(repeats.items())
        ]

    def clean(self, person: Person, dry_run: bool) -> dict[str, int | str]:
        """Remove a person, memory last.

        Returns: By file the number of rows, by evaluation how it was rebuilt.
        """
        done, held = {}, self.holds(person)
        for folder, owner in self.evaluations():
            # one without it is of a withdrawal that was stopped
            if not (held or not (folder / METRICS).exists()):
                continue
            done[str(folder)] = "to be rebuilt"
            if dry_run:
                continue
            done[str(folder)] = rebuild(folder, owner, person)
        if not held:
            return done
        return done | self._clean_others(person, dry_run)

    def holds(self, person):
        """Whether anything of a person is in it."""
        tables = (person.has(table).any() for _, table in tables_of(self.folder))
        records = (self._failed_of(folder, person) for folder in self.experiments)
        parquets = parquets_of([self.folder], [])
        return (
            any(tables)
            or any(records)
            or any(clean_parquet(file, person, dry_run=True) for file in parquets)
        )

    @staticmethod
    def _failed_of(folder, person):
        """How many of their recordings an experiment could not use."""
        path = folder / PREPARATION
        failed = read_json(path)["failed"] if path.is_file() else []
        return len(failed) - len(person.left_of(failed))

    def _clean_others(self, person, dry_run):
        """Remove a person from all that no evaluation has written."""
        done = {}
        if self.is_folds and (self.folder / PREDICTIONS).exists():
            done[str(self.folder)] = "to be rebuilt"
            if not dry_run:
                done[str(self.folder)] = self._collect()
        for file in parquets_of([self.folder], []):
            done[str(file)] = clean_parquet(file, person, dry_run)
        for file in self.folder.rglob(INVENTORY):
            done[str(file)] = "removed (--check_only=True counts again)"
            if not dry_run:
                file.unlink()
        for folder in self.experiments:
            done |= self._mark(folder, person, dry_run)
        results = {folder for folder, _ in self.evaluations()}
        results |= {self.folder} if self.is_folds else set()
        # the person is found by the manifests: they are the last
        tables = sorted(
            tables_of(self.folder), key=lambda named: _is_manifest(named[0])
        )
        for file, table in tables:
            if file.parent not in results or file.name not in RESULTS or dry_run:
                done[str(file)] = clean_csv(file, table, person, dry_run)
        return {name: what for name, what in done.items() if what}

    def _collect(self):
        """Evaluate the folds of a cross-validation together again."""
        runs = self.runs()
        if all(run.is_finished for repeat in runs for run in repeat):
            return rebuild_folds(self.folder, runs)
        remove(self.folder, OUTPUTS)
        return "removed: a fold has nobody left"

    def _mark(self, folder, person, dry_run):
        """Let the record of an experiment's preparation say that it was changed."""
        path = folder / PREPARATION
        splits = {
            file.stem
            for file in path.parent.glob("*.csv")
            if is_csv(file.name) and person.has(read_cells(file)).any()
        }
        if not path.is_file() or not (splits or self._failed_of(folder, person)):
            return {}
        record = read_json(path)
        left = person.left_of(record["failed"])
        if not dry_run:
            withdrawn = sorted(splits | _withdrawn(folder)) or True
            changed = {"failed": left, "withdrawn": withdrawn}
            write_json(path, record | changed)
        return {str(path): len(record["failed"]) - len(left)}


def _withdrawn(folder):
    """Splits of an experiment that have lost somebody before, set of str."""
    path = folder / PREPARATION
    splits = read_json(path).get("withdrawn") if path.is_file() else None
    return set(map(str, splits)) if isinstance(splits, list) else set()


def _is_manifest(path):
    return path.parent.name == MANIFESTS.name
