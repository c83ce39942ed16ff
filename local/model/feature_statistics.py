"""Mean and standard deviation of the training split's features, and their file."""

import dataclasses
import hashlib
import math
from pathlib import Path

import torch
from speechbrain.dataio.dataloader import make_dataloader

from local.data.prepare import Preparation
from local.model.front_end import frame_counts, raw_features
from local.storage.experiment_files import STATISTICS
from local.utils.errors import UserError
from local.utils.files import read_json, write_json
from local.utils.progress import progress


@dataclasses.dataclass(frozen=True)
class DatasetStatistics:
    """Mean and standard deviation over all frames and channels of a split.

    dataset_mean, dataset_std: In units of the features.
    made_with: The data and the front end that they are of, as `made_with` tells.
    """

    dataset_mean: float
    dataset_std: float
    n_recordings: int
    n_frames: int
    made_with: dict

    @property
    def values(self):
        """The yaml keys that they are values of."""
        return {"dataset_mean": self.dataset_mean, "dataset_std": self.dataset_std}

    def check_made_with(self, expected):
        """Raise UserError if they are of other data or of another front end."""
        if self.made_with != expected:
            raise UserError(
                f"{STATISTICS} in the output folder was computed from other data or "
                "with another front end than this run's. Compute it again with the "
                "same options (compute_statistics.py), or delete it."
            )


def made_with(values: dict, preparation: Preparation) -> dict:
    """What the statistics depend on.

    values: Plain values of a training yaml.
    """
    of_recordings = preparation.manifests["train"][["ID", "duration", "level_dbfs"]]
    text = of_recordings.to_csv(index=False, float_format="%.4g")
    return {
        "preparation": preparation.fingerprint,
        "recordings": hashlib.sha256(text.encode()).hexdigest(),
        "compute_features": values["compute_features"],
        "eval_crop": values["eval_crop"],
    }


def saved_statistics(folder: Path) -> DatasetStatistics | None:
    """The statistics that compute_statistics.py left in an output folder.

    Returns: None if there are none.
    Raises UserError: if the file is damaged.
    """
    path = Path(folder) / STATISTICS
    if not path.exists():
        return None
    try:
        return DatasetStatistics(**read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} can't be read ({error}): compute it again with "
            "compute_statistics.py, or delete it."
        ) from error


def save_statistics(statistics, folder):
    """Write them where `saved_statistics` finds them; returns the path."""
    path = Path(folder) / STATISTICS
    write_json(path, dataclasses.asdict(statistics))
    return path


@torch.inference_mode()
def compute_statistics(
    front_end: torch.nn.Module,
    dataset,
    loader_kwargs: dict,
    description: dict,
    device: str = "cpu",
) -> DatasetStatistics:
    """Mean and standard deviation over all recordings of a dataset.

    front_end: Features before any normalisation.
    dataset: DynamicItemDataset
    description: What becomes `made_with`.
    device: Where to compute.

    Raises UserError: if all features are the same, so that the standard deviation is 0.
    """
    n_frames, n_cells, total, squares = 0, 0, 0.0, 0.0
    loader = make_dataloader(dataset, **loader_kwargs)
    with progress(len(dataset), "computing", "rec") as step:
        for batch in loader:
            waveforms, lengths = batch.to(device).waveform
            features, lengths = raw_features(front_end, waveforms, lengths)
            # padding is no part of a recording
            counts = frame_counts(lengths, features.shape[1]).tolist()
            for recording, n in zip(features.double(), counts, strict=True):
                own = recording[:n]
                n_frames, n_cells = n_frames + n, n_cells + own.numel()
                total += own.sum().item()
                squares += own.square().sum().item()
            step(len(counts))
    mean = total / n_cells
    variance = squares / n_cells - mean**2
    # what is left of cancelled digits is no variance
    if not variance > 1e-12 * max(mean**2, 1e-12):
        raise UserError(
            f"The features of all {len(dataset)} recordings are the same number "
            f"({mean:g}): there is no standard deviation to divide by. Are the "
            "recordings silent?"
        )
    return DatasetStatistics(
        mean, math.sqrt(variance), len(dataset), n_frames, description
    )
