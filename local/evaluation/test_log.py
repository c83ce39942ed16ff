"""How often an experiment's test split was evaluated: each time is a line of a file.

Who chooses settings by the results of a test split has no test split any more. The file
lies in the experiment's folder of evaluations; its lines name no recording, no subject
and no path.
"""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path
from typing import Self

import pandas as pd

from local.data.manifests import read_manifest
from local.evaluation.result import EvaluationResult
from local.storage.experiment_files import MANIFESTS, TEST_LOG
from local.training.experiment import Experiment
from local.utils.keys import KEYS, TEXT, TEXTS

logger = logging.getLogger(__name__)

#: Of metrics.json.
COUNT = "n_test_evaluations"


@dataclasses.dataclass(frozen=True)
class TestLog:
    """The evaluations of one test split.

    home: The experiment's folder that results are written to.
    folder: Where the experiment is read: the same, or a copy.
    test_split: Changes with the recordings of the test split; None where something else
        is evaluated, which is not counted.
    command: The command line of this evaluation.
    """

    __test__ = False  # pytest takes it for tests

    home: Path
    folder: Path
    test_split: str | None
    command: list[str]

    @classmethod
    def of(
        cls, manifest: pd.DataFrame, home: Path, folder: Path, command: list[str]
    ) -> Self:
        """The log that an evaluation belongs into.

        manifest: Of what is evaluated, which may be more than the test split.
        home, folder, command: As above.
        """
        file, digest = folder / MANIFESTS / "test.csv", None
        uids = sorted(read_manifest(file, [])["ID"]) if file.is_file() else []
        if uids and set(uids) <= set(manifest["ID"]):
            digest = hashlib.sha256("\n".join(uids).encode()).hexdigest()
        return cls(home, folder, digest, command)

    @classmethod
    def later(cls, manifest: pd.DataFrame, experiment: Experiment, command: list[str]):
        """That of an evaluation of a trained experiment; `--debug` does not count."""
        if experiment.brain.debug:
            return NO_LOG
        return cls.of(manifest, experiment.output_folder, experiment.folder, command)

    def counted(self, result: EvaluationResult) -> EvaluationResult:
        """The same with the count in its metrics: of all evaluations up to this one.

        Those of this experiment, and those of experiments beside it that have the same
        test split. What was repeated with the same checkpoint and options counts once.
        """
        if self.test_split is None:
            return result
        lines = [self._line(result)]
        own = {self.home.resolve(), self.folder.resolve()}
        for folder in own:
            lines += _lines(folder / TEST_LOG)
        logs = self.home.parent.glob(f"*/{TEST_LOG}")
        for folder in {log.parents[1].resolve() for log in logs} - own:
            lines += [
                line
                for line in _lines(folder / TEST_LOG)
                if line.get("test_split") == self.test_split
            ]
        different = {json.dumps(line | {"date": ""}, sort_keys=True) for line in lines}
        metrics = result.metrics | {COUNT: len(different)}
        return dataclasses.replace(result, metrics=metrics)

    def _line(self, result):
        return {
            "date": result.provenance["date"],
            "script": self.command[1],
            "checkpoint": result.metrics["checkpoint"],
            "changed": _changed(self.command),
            "test_split": self.test_split,
        }

    def add(self, result: EvaluationResult):
        """Write this evaluation down, when its results are.

        A folder that can't be written to is told and fails nothing.
        """
        if self.test_split is None:
            return
        file = self.home / TEST_LOG
        try:
            if not file.resolve().is_relative_to(self.home.resolve()):
                raise OSError("it is a link that leads out of the experiment")
            file.parent.mkdir(exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(self._line(result)) + "\n")
        except OSError as error:
            logger.warning(
                "This evaluation of the test split is not counted: %s can't be "
                "written (%s)",
                TEST_LOG,
                error.strerror or error,
            )


#: Of what is no experiment's test split.
NO_LOG = TestLog(Path(), Path(), None, [])


def _changed(command):
    """The options of a command line but places and names, which may tell of people."""
    options = dict(
        option[2:].partition("=")[::2] for option in command if option.startswith("--")
    )
    return {
        key: value
        for key, value in options.items()
        if key in KEYS and KEYS[key].kind not in (TEXT, TEXTS)
    }


def _lines(file):
    """The lines of a log, but what a killed run has left half written."""
    lines = []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return lines
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        lines += [entry] if isinstance(entry, dict) else []
    return lines
