"""Embeddings: `pt`, `st` and `ft`, and what their file says of them."""

import dataclasses
import hashlib
from collections.abc import Mapping

import pyarrow as pa
import speechbrain
import torch

from local.model.heads import POOLING_MODES, Outputs
from local.model.kernel_heads import KernelHeads
from local.storage.experiment_files import HPARAMS
from local.training.experiment import Experiment
from local.utils.errors import UserError
from local.utils.keys import KEYS

TYPES = KEYS["embedding_type"].choices


@dataclasses.dataclass(frozen=True)
class EmbeddingKind:
    """Which embedding, and how those of several heads become one.

    type: `pt`: output of ECAPA-TDNN; `st`: after the shared dense layer; `ft`: output
        of each head's first dense layer, before normalisation and activation.
    pooling_mode: `mean` or `sum` over the heads; for `ft` only.

    Raises UserError: for another name.
    """

    type: str
    pooling_mode: str = "mean"

    def __post_init__(self):
        for key, value, known in (
            ("embedding_type", self.type, TYPES),
            ("pooling_mode", self.pooling_mode, POOLING_MODES),
        ):
            if value not in known:
                raise UserError(f"--{key} must be one of {known}, found {value!r}.")

    def of(self, outputs: Outputs) -> torch.Tensor:
        """This embedding of a batch.

        outputs: With `hidden`.

        Returns: [batch, size]
        """
        if self.type != "ft":
            return getattr(outputs, self.type)
        return getattr(outputs.hidden, self.pooling_mode)(dim=1)

    def size_in(self, modules: Mapping) -> int:
        """How many numbers it has.

        modules: With `embedding_model`, `shared_dense` and `classifier`.
        """
        if self.type == "ft":
            return modules["classifier"].heads[0].dense.out_features
        if self.type == "st":
            return modules["shared_dense"].dense.out_features
        model = modules["embedding_model"]
        if hasattr(model, "embedding_size"):
            return model.embedding_size
        return model.fc.conv.out_channels


def check_available(kind: EmbeddingKind, modules: Mapping):
    """Refuse the output of a layer that a model does not have.

    Raises UserError.
    """
    is_kernel = isinstance(modules["classifier"], KernelHeads)
    if kind.type == "ft" and is_kernel:
        raise UserError(
            "embedding_type ft is the output of each head's first dense layer, and the "
            "heads of this model have none (train_statistics.yaml): use pt."
        )
    if kind.type == "st" and not modules["shared_dense"].enabled:
        or_ft = "" if is_kernel else " or ft"
        raise UserError(
            "embedding_type st is the output of the shared dense layer, and this "
            f"model was trained without one (shared_dense: False): use pt{or_ft}."
        )


def describe(kind: EmbeddingKind, experiment: Experiment) -> dict:
    """What the schema's metadata says of an embeddings file."""
    return {
        "embedding_type": kind.type,
        "pooling_mode": kind.pooling_mode,
        **described_model(experiment),
    }


def described_model(experiment: Experiment) -> dict:
    """What files say of the model that has made them."""
    text = (experiment.folder / HPARAMS).read_bytes()
    return {
        "checkpoint": experiment.checkpoint,
        "hyperparams_sha256": hashlib.sha256(text).hexdigest(),
        "sample_rate": experiment.hparams["sample_rate"],
        "versions": {
            "speechbrain": speechbrain.__version__,
            "torch": torch.__version__,
            "pyarrow": pa.__version__,
        },
    }
