"""What a model takes: seconds of training and scoring, learned numbers, megabytes."""

import contextlib
import time
from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from local.storage.experiment_files import COSTS
from local.training.brain import ClinicalBrain
from local.utils.files import read_json, write_json

TRAINING, SCORING = "training_s", "scoring_s"


@contextlib.contextmanager
def timed(folder: Path, part: str):
    """Write down how long something takes, by the clock on the wall.

    A training that is stopped and goes on takes the sum; what a kill or an error cuts
    off does not count. A scoring that is repeated takes as long as the last one.

    folder: Of the experiment.
    part: `TRAINING` or `SCORING`.

    >>> folder = getfixture("tmp_path")
    >>> with timed(folder, TRAINING):
    ...     pass
    >>> 0 <= read_costs(folder)["training_s"] < 1
    True
    """
    start = time.monotonic()

    def note():
        before = read_costs(folder).get(part, 0) if part == TRAINING else 0
        _add(folder, {part: round(before + time.monotonic() - start, 2)})

    try:
        yield
    except KeyboardInterrupt:
        note()
        raise
    note()


def note_size(brain: ClinicalBrain, folder: Path):
    """Write down how many numbers a model has, and what they take on the disk.

    brain: With its best checkpoint loaded; the file of each of its modules counts.
    """
    tensors = [
        tensor
        for module in brain.modules.values()
        for tensor in module.state_dict().values()
    ]
    files = [brain.checkpoint.path / f"{name}.ckpt" for name in brain.modules]
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    n_parameters = sum(tensor.numel() for tensor in tensors)
    _add(folder, {"n_parameters": n_parameters, "model_mb": n_bytes / 1e6})


def read_costs(folder: Path) -> dict:
    """What an experiment took: "training_s", "scoring_s", "n_parameters", "model_mb".

    Returns: Without those that were not written down.
    """
    path = folder / COSTS
    return read_json(path) if path.is_file() else {}


def _add(folder, entries):
    if if_main_process():
        write_json(folder / COSTS, read_costs(folder) | entries)
