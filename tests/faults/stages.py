"""What is interrupted: each stage with its command, and what must come out of it."""

import dataclasses
import functools
import re
import shutil
from pathlib import Path

from running import SMALL, run_script

INJECT = Path(__file__).with_name("inject.py")

#: Logs, and what has the time of day in it.
NOT_COMPARED = (
    *("log.txt", "env.log", "train_log.txt", "train_log.jsonl", "train.py"),
    *("CKPT.yaml", "report.html", "model_card.md", "test_evaluations.jsonl"),
    "costs.json",
)

#: The time in a checkpoint's name.
TIME = re.compile(r"(?<=CKPT\+)[\d+-]+")

#: Files that are being written, and parts of a result.
HIDDEN = re.compile(r"(^|/)(\.|partial-)|\.parts/")

#: What a stopped run may leave, and a finished one may not.
LEFTOVERS = ("**/.*", "**/partial-*", "**/*.parts", "**/*.tmp")

#: Exit statuses by fault; the last changes may come when all is done but tidying up.
EXPECTED = {
    "kill": {-9},
    "term": {143, 0},
    "int": {130, 0},
    "full": {1, 0},
    "readonly": {1, 0},
    "gone": {1, 2, 0},  # 2: what was to be read has gone
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command.

    command: With {corpus}, {experiment} and {output} to be filled in.
    earlier: A command whose results are there before, and are to be replaced.
    replaces: Whether it can be run again when it has come to its end.
    """

    command: tuple[str, ...]
    earlier: tuple | None = None
    replaces: bool = True


EVALUATE = (
    *("evaluate.py", "hparams/evaluate.yaml", "--experiment_folder={experiment}"),
    *("--output_folder={output}", "--device=cpu", "--audit=False"),
)
EXTRACT = (
    *("extract_embeddings.py", "hparams/extract_embeddings.yaml", "--device=cpu"),
    *("--experiment_folder={experiment}", "--data_folder={corpus}/audio"),
    *("--embedding_type=pt", "--output_file={output}/embeddings.parquet"),
)
TRAIN = (
    *("train.py", "hparams/train.yaml", "--corpus_folder={corpus}"),
    *("--output_folder={output}", *SMALL),
)
STAGES = {
    "training": Stage(TRAIN),
    "cross_validation": Stage(("cross_validate.py", *TRAIN[1:], "--n_folds=2")),
    # of the same CSV: another one's results are not replaced
    "evaluation": Stage(EVALUATE, (*EVALUATE, "--subgroups=[]", "--report=False")),
    "extraction": Stage(
        (*EXTRACT, "--split_csv={corpus}/splits/train.csv"),
        (*EXTRACT, "--split_csv={corpus}/splits/val.csv"),
    ),
    "withdrawal": Stage(
        ("withdraw.py", "--subject=s00,s12", "--experiment_folder={output}"),
        TRAIN,
        replaces=False,
    ),
    "export": Stage(
        (
            *("export.py", "--experiment_folder={experiment}"),
            "--output_folder={output}/exported",
        ),
        replaces=False,
    ),
}


class Place:
    """A folder in which a stage runs, is disturbed, and is started again."""

    def __init__(self, folder: Path, stage: Stage, corpus: Path, experiment: Path):
        self.folder, self.stage = folder, stage
        self.output = folder / "output"
        self.names = {
            "corpus": corpus,
            "experiment": experiment,
            "output": self.output,
        }
        self.output.mkdir(parents=True)
        if stage.earlier:
            result = self.run(stage.earlier)
            assert result.returncode == 0, result.stderr[-3000:]
        shutil.copytree(self.output, folder / "before")
        self.before = self.contents()

    @functools.cached_property
    def undisturbed(self):
        """What the stage leaves when nothing goes wrong, and by how many changes."""
        self._renew()
        self.finish()
        n_changes = int(self.output.with_name("output.changes").read_text())
        return self.contents(), n_changes

    @property
    def after(self):
        return self.undisturbed[0]

    @property
    def n_changes(self):
        return self.undisturbed[1]

    def _renew(self):
        """Make the folder as it is before the stage."""
        shutil.rmtree(self.output, ignore_errors=True)
        shutil.copytree(self.folder / "before", self.output)

    def finish(self):
        """Run the stage to its end."""
        result = self.run(self.stage.command)
        assert result.returncode == 0, result.stderr[-3000:]
        left = [path for pattern in LEFTOVERS for path in self.output.glob(pattern)]
        assert not left, left

    def disturb(self, fault, number):
        """Run the stage with a fault at a change; nothing may be lost by it."""
        assert 1 <= number <= self.n_changes
        self._renew()
        result = self.run(self.stage.command, fault, number)
        said = result.stdout + result.stderr
        assert result.returncode in EXPECTED[fault], (result.returncode, said[-3000:])
        if fault != "kill":
            assert "Traceback" not in said, said[-3000:]
        if fault == "gone":
            self._renew()  # it takes what was there with it
        self._check_whole()

    def check_end(self):
        """Run the stage again: it ends as the undisturbed one did."""
        if self.stage.replaces or self._differences():
            self.finish()
        different = self._differences()
        assert not different, different

    def _differences(self):
        """Names of files that are not as the undisturbed stage leaves them."""
        found, after = self.contents(), self.after
        return [
            name
            for name in sorted(found.keys() | after.keys())
            if found.get(name) is None
            or after.get(name) is None
            or (Path(name).name not in NOT_COMPARED and found[name] != after[name])
        ]

    def contents(self):
        """The files that have their final names, checkpoints without their times."""
        return {
            TIME.sub("", str(path.relative_to(self.output))): TIME.sub(
                "", path.read_bytes().decode("latin-1")
            )
            for path in sorted(self.output.rglob("*"))
            if path.is_file() and not HIDDEN.search(str(path.relative_to(self.output)))
        }

    def _check_whole(self):
        """Every file is as it was before, or as it is at the end; none is lost."""
        found = self.contents()
        for name, content in found.items():
            if "CKPT" in name or Path(name).name in NOT_COMPARED:
                continue  # checkpoints are those of another epoch
            assert content in (self.before.get(name), self.after.get(name)), name
        # the one that vouches for the others is away while they are replaced
        lost = self.before.keys() & self.after.keys() - found.keys()
        assert not lost - {"metrics.json"}, lost

    def run(self, command, fault="none", number=0):
        """Run a command of the stage."""
        script = [argument.format(**self.names) for argument in command]
        return run_script(INJECT, fault, number, self.output, *script)
