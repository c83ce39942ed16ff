"""The files of an experiment's folder and of an evaluation's, in one table.

A file that a command adds gets a row here; publishing, opening, evaluating and
withdrawing ask the table.
"""

import dataclasses
import fnmatch
import re
from pathlib import Path

from local.utils.errors import UserError

HPARAMS = "hyperparams.yaml"
LOG, TRAIN_LOG = "log.txt", "train_log.txt"
TRAIN_LOG_JSON = "train_log.jsonl"
STATISTICS, INVENTORY = "dataset_statistics.json", "inventory.json"
SAVE, EVALUATIONS = "save", "evaluation"
MANIFESTS, MEASUREMENTS = Path(SAVE) / "manifests", Path(SAVE) / "measurements"
TEST_LOG = f"{EVALUATIONS}/test_evaluations.jsonl"
FEATURES = Path(SAVE) / "features"
PREPARATION = MANIFESTS / "preparation.json"
RUN_OPTIONS = Path(SAVE) / "run_options.json"
OPERATING_POINTS = Path(SAVE) / "operating_points.json"
TRAINING_RANGE = Path(SAVE) / "training_range.json"
COSTS = Path(SAVE) / "costs.json"
UPLOAD = f"{SAVE}/upload.json"
CHECKPOINT_FILES = f"{SAVE}/CKPT*/*"
#: A folder without it is no checkpoint to SpeechBrain.
CHECKPOINT_MARKS = f"{SAVE}/CKPT*/CKPT.yaml"
PREDICTIONS, FAILED, METRICS = "predictions.csv", "failed.csv", "metrics.json"
AUDIT, SCORED_CSV = "audit.json", "scored_csv.json"
PAGE, MODEL_CARD, FIGURES = "report.html", "model_card.md", "figures"
BASELINES = "baselines"
#: Of cross-validations of several yamls, which lie in folders beside it.
COMPARISON = "comparison.json"

#: When a file goes to a bucket: before the checkpoint that it belongs to, as a part of
#: one, or after that, as a result that was made with it.
BEFORE, CHECKPOINT, RESULT = "before", "checkpoint", "result"

#: How a file may name people: a row each, or somewhere in its text.
ROWS, TEXT = "rows", "text"


@dataclasses.dataclass(frozen=True)
class File:
    """A file, or all that a pattern fits.

    written_by: The command, or the part of training.
    published: When it goes to the bucket of `upload_to`; None: it stays.
    reopen: Whether evaluation and export need it of a trained experiment.
    evaluation: Whether it is of an evaluation, and so in evaluate.py's folder too.
    people: How it may name recordings or subjects.
    """

    written_by: str
    published: str | None = None
    reopen: bool = False
    evaluation: bool = False
    people: str | None = None


#: By name below the folder, where * may stand for folders too; the last that fits
#: counts. Of an evaluation metrics.json is the last: with it the others are complete.
FILES = {
    HPARAMS: File("train.py", BEFORE, reopen=True),
    "env.log": File("train.py", BEFORE),
    "train.py": File("train.py", BEFORE),
    LOG: File("training", BEFORE),
    TRAIN_LOG: File("training", BEFORE),
    TRAIN_LOG_JSON: File("training", BEFORE, reopen=True),
    "loggers/*": File("training"),
    STATISTICS: File("compute_statistics.py", BEFORE),
    INVENTORY: File("train.py --check_only=True", BEFORE, people=TEXT),
    UPLOAD: File("train.py --upload_to"),
    RUN_OPTIONS.as_posix(): File("train.py", BEFORE, reopen=True),
    f"{MANIFESTS.as_posix()}/*": File("preparation", BEFORE, reopen=True, people=ROWS),
    CHECKPOINT_FILES: File("training", CHECKPOINT, reopen=True),
    COSTS.as_posix(): File("training", RESULT),
    OPERATING_POINTS.as_posix(): File("evaluation", RESULT, reopen=True),
    TRAINING_RANGE.as_posix(): File("evaluation", RESULT, reopen=True),
    f"{MEASUREMENTS.as_posix()}/*": File(
        "evaluation", RESULT, reopen=True, people=ROWS
    ),
    f"{FEATURES.as_posix()}/*": File("training"),
    PREDICTIONS: File("evaluation", RESULT, evaluation=True, people=ROWS),
    f"{BASELINES}/*.csv": File("evaluation", RESULT, evaluation=True, people=ROWS),
    AUDIT: File("evaluation", RESULT, reopen=True, evaluation=True, people=TEXT),
    f"{FIGURES}/*": File("evaluation", RESULT, evaluation=True),
    PAGE: File("evaluation", RESULT, evaluation=True, people=TEXT),
    MODEL_CARD: File("evaluation", RESULT, reopen=True, evaluation=True),
    FAILED: File("preparation", BEFORE, evaluation=True, people=ROWS),
    SCORED_CSV: File("evaluate.py", evaluation=True),
    METRICS: File("evaluation", RESULT, reopen=True, evaluation=True),
    f"{EVALUATIONS}/*": File("evaluate.py", RESULT, people=ROWS),
    f"{EVALUATIONS}/*/debug/*": File("evaluate.py --debug", people=ROWS),
    TEST_LOG: File("evaluation", RESULT, reopen=True),
}

#: A checkpoint's folder: its name is written to files that programs read.
CHECKPOINT_NAME = re.compile(r"CKPT[\w+.,=-]*", re.ASCII)


def row_of(name: str) -> File | None:
    """The row of a file, None for one that no command writes.

    name: Its path below the folder, with / between its parts.

    >>> row_of("save/CKPT+1/model.ckpt").published, row_of("notes.txt")
    ('checkpoint', None)
    """
    rows = [row for pattern, row in FILES.items() if fnmatch.fnmatchcase(name, pattern)]
    return rows[-1] if rows else None


def files_where(**marks) -> tuple[str, ...]:
    """Names and patterns whose rows say this, in the table's order.

    >>> files_where(evaluation=True, people=ROWS)
    ('predictions.csv', 'baselines/*.csv', 'failed.csv')
    """
    return tuple(
        name
        for name, row in FILES.items()
        if all(getattr(row, mark) == value for mark, value in marks.items())
    )


def check_experiment_files(folder: Path, address: str):
    """Refuse a folder that holds no trained experiment.

    address: What it is, or is a copy of.

    Raises UserError.
    """
    if not (folder / HPARAMS).is_file():
        raise UserError(
            f"experiment_folder {address} holds no {HPARAMS}: expected a folder "
            "that train.py made (its --output_folder)."
        )
    if (folder / "labels.json").is_file():
        raise UserError(
            f"experiment_folder {address} is a model that export.py wrote: its "
            "README.md says how to use it. Here the experiment itself is needed."
        )
    save_folder = folder / SAVE
    if not any(save_folder.glob("CKPT*/CKPT.yaml")):
        raise UserError(
            f"experiment_folder {address} holds no checkpoint (save/CKPT+…): its "
            "training has not finished a first epoch."
        )
    odd = [
        repr(path.name)
        for path in save_folder.glob("CKPT*")
        if not CHECKPOINT_NAME.fullmatch(path.name)
    ]
    if odd:
        raise UserError(
            f"experiment_folder {address}: expected checkpoints as training names them "
            "(CKPT+…: letters, digits and +-_.,=). Rename or remove these:",
            odd,
        )
