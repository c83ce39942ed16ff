"""Whether a folder is that of a trained experiment, by the names of its files."""

import re
from pathlib import Path

from local.utils.errors import UserError

HPARAMS = "hyperparams.yaml"

#: A checkpoint's folder: its name is written to files that programs read.
CHECKPOINT_NAME = re.compile(r"CKPT[\w+.,=-]*", re.ASCII)


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
    save_folder = folder / "save"
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
