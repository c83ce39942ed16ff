"""The numbers of each epoch, as text and as JSON lines."""

import json
import math
from pathlib import Path

import pandas as pd
from speechbrain.utils.distributed import main_process_only
from speechbrain.utils.train_logger import FileTrainLogger

from local.storage.experiment_files import TRAIN_LOG_JSON
from local.utils.errors import told_if_damaged
from local.utils.files import atomic_write


class JsonTrainLogger(FileTrainLogger):
    """SpeechBrain's text log, and beside it the same numbers unrounded, as JSON lines.

    A line is an object like
    `{"epoch": 3, "lr": 0.0003, "train": {"loss": 0.61}, "valid": {"loss": 0.59}}`; a
    number that could not be computed is null. A run that goes on adds lines. The file
    is replaced as a whole, so that a kill leaves no half line.

    save_file: The text log; the JSON lines get its name, but end in .jsonl.
    precision: Decimal places of the text log.
    """

    def __init__(self, save_file: str, precision: int = 2):
        super().__init__(save_file, precision)
        self.json_file = Path(save_file).with_suffix(".jsonl")

    @main_process_only
    def log_stats(
        self,
        stats_meta: dict,
        train_stats: dict | None = None,
        valid_stats: dict | None = None,
        test_stats: dict | None = None,
        verbose: bool = True,
    ):
        """Add a line to both logs, as SpeechBrain's `log_stats` does to its own."""
        super().log_stats(stats_meta, train_stats, valid_stats, test_stats, verbose)
        stages = {"train": train_stats, "valid": valid_stats, "test": test_stats}
        line = _without_nan(stats_meta) | {
            stage: _without_nan(stats)
            for stage, stats in stages.items()
            if stats is not None
        }
        earlier = self.json_file.read_bytes() if self.json_file.exists() else b""
        added = json.dumps(line, allow_nan=False) + "\n"
        with atomic_write(self.json_file, "wb") as stream:
            stream.write(earlier + added.encode())


def _without_nan(stats):
    """Numbers by name, null for those that JSON does not have."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in stats.items()
    }


def json_log(folder: Path) -> Path | None:
    """What `JsonTrainLogger` has left in an experiment's folder, if anything."""
    path = folder / TRAIN_LOG_JSON
    return path if path.is_file() else None


def read_train_log(path: Path) -> pd.DataFrame:
    """Reads the epochs that `JsonTrainLogger` has written.

    path: train_log.jsonl of an experiment.

    Returns: [epochs], Columns epoch (int), train_loss, valid_loss and macro_auroc
        (float, NaN where the line has none), in the order of epochs. An epoch that was
        run again after a resumption has the numbers of the last time.
    Raises UserError: if the file can't be read or holds something else.
    """
    expected = (
        "the JSON lines that train.py writes, one per epoch. Move it away to have the "
        "report without the curves of the training."
    )
    with told_if_damaged(path, expected):
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        rows = [
            {
                "epoch": line["epoch"],
                "train_loss": line["train"]["loss"],
                "valid_loss": line.get("valid", {}).get("loss"),
                "macro_auroc": line.get("valid", {}).get("macro_auroc"),
            }
            for line in lines
            if "epoch" in line
        ]
        types = {"epoch": int} | dict.fromkeys(
            ("train_loss", "valid_loss", "macro_auroc"), float
        )
        table = pd.DataFrame(rows, columns=list(types)).astype(types)
    table = table.drop_duplicates("epoch", keep="last").sort_values("epoch")
    return table.reset_index(drop=True)
