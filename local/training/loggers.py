"""Loggers of the epochs beside the text file's, which a yaml may choose by name."""

import logging
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from speechbrain.utils.distributed import main_process_only
from speechbrain.utils.train_logger import TensorboardLogger, TrainLogger, WandBLogger

from local.utils.errors import UserError

logger = logging.getLogger(__name__)

#: Each needs the package of its name.
NAMES = ("tensorboard", "wandb", "mlflow")

#: What the runs of this recipe are under, at Weights & Biases and MLflow.
PROJECT = "clinical-speech"


def check_loggers(names: list[str]):
    """Raise UserError for a logger that is not known, or that is not installed."""
    if unknown := [str(name) for name in names if name not in NAMES]:
        raise UserError(
            f"loggers must be of {', '.join(NAMES)}; found {', '.join(unknown)}."
        )
    if absent := [name for name in names if find_spec(name) is None]:
        raise UserError(
            f"loggers: {', '.join(absent)} is not installed: pip install -r "
            "requirements-loggers.txt, or leave it out."
        )


class Loggers(TrainLogger):
    """The text file's logger, and beside it those that a yaml chooses.

    A run that goes on goes on in them, too: an epoch is a step. One that fails, as for
    lack of a network, is left out with a warning: no training stops for it.

    file: The logger of the text file.
    names: Of `NAMES`; None: no other.
    folder: Where each gets a folder of its own, made at the first epoch.
    """

    def __init__(
        self, file: TrainLogger, names: Sequence[str] | None, folder: str | Path
    ):
        names = names or ()
        check_loggers(names)
        self.file, self.folder = file, Path(folder)
        self.others = dict.fromkeys(names)

    @main_process_only
    def log_stats(self, stats_meta: dict, *stats, **more_stats):
        """Log an epoch everywhere; as SpeechBrain's loggers are called."""
        self.file.log_stats(stats_meta, *stats, **more_stats)
        for name in list(self.others):
            try:
                if self.others[name] is None:
                    self.others[name] = MAKERS[name](self.folder / name)
                self.others[name].log_stats(stats_meta, *stats, **more_stats)
            except Exception as error:  # whatever a package of others raises
                logger.warning(f"{name} failed, and is left out from now on: {error}")
                del self.others[name]


class EpochTensorboardLogger(TensorboardLogger):
    """SpeechBrain's, whose steps are epochs, so that they go on with a run."""

    @main_process_only
    def log_stats(
        self, stats_meta, train_stats=None, valid_stats=None, test_stats=None, **_
    ):
        """Log an epoch; it is on disk then."""
        stages = {"train": train_stats, "valid": valid_stats, "test": test_stats}
        before = stats_meta["epoch"] - 1
        self.global_step = {"meta": before} | {
            stage: dict.fromkeys(stats or {}, before) for stage, stats in stages.items()
        }
        super().log_stats(stats_meta, *stages.values())
        self.writer.flush()


class MlflowLogger(TrainLogger):
    """Losses as metrics of an MLflow run, `train.loss` and so on; a step is an epoch.

    folder: Where runs are kept, unless MLFLOW_TRACKING_URI says where.
    """

    def __init__(self, folder: Path):
        import mlflow

        folder.mkdir(parents=True, exist_ok=True)
        own = f"sqlite:///{folder / 'mlflow.db'}"
        place = os.environ.get("MLFLOW_TRACKING_URI") or own
        self.client = mlflow.MlflowClient(place)
        kept = folder / "run"
        if not kept.exists():
            known = self.client.get_experiment_by_name(PROJECT)
            where = (
                known.experiment_id if known else self.client.create_experiment(PROJECT)
            )
            kept.write_text(self.client.create_run(where).info.run_id)
        self.run = kept.read_text()

    @main_process_only
    def log_stats(
        self, stats_meta, train_stats=None, valid_stats=None, test_stats=None, **_
    ):
        """Log an epoch."""
        stages = {"train": train_stats, "valid": valid_stats, "test": test_stats}
        for stage, stats in stages.items():
            for name, value in (stats or {}).items():
                self.client.log_metric(
                    self.run, f"{stage}.{name}", value, step=stats_meta["epoch"]
                )


def _wandb(folder):
    """SpeechBrain's; offline unless WANDB_MODE says otherwise."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "run"
    if not kept.exists():
        kept.write_text(uuid4().hex[:8])
    return WandBLogger(
        wandb.init,
        project=PROJECT,
        dir=str(folder),
        id=kept.read_text(),
        resume="allow",
        mode=os.environ.get("WANDB_MODE", "offline"),
        # what is told at the terminal may name people
        settings=wandb.Settings(console="off", silent=True, disable_git=True),
    )


MAKERS = {
    "tensorboard": lambda folder: EpochTensorboardLogger(str(folder)),
    "wandb": _wandb,
    "mlflow": MlflowLogger,
}
