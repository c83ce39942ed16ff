"""Embeddings: `pt`, `st` and `ft` of every recording, and the file they go into."""

import dataclasses
import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import speechbrain
import torch
from tqdm import tqdm

from local.errors import UserError
from local.files import atomic_write
from local.models import POOLING_MODES

TYPES = ("pt", "ft", "st")


@dataclasses.dataclass(frozen=True)
class EmbeddingKind:
    """Which embedding, and how those of several heads become one.

    Attributes
    ----------
    type : str
        `pt`: output of ECAPA-TDNN; `st`: after the shared dense layer; `ft`: output
        of each head's first dense layer, before normalisation and activation.
    pooling_mode : str
        `mean` or `sum` over the heads; for `ft` only.

    Raises
    ------
    UserError
        For another name.
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

    def of(self, outputs, classifier):
        """This embedding of a batch.

        Arguments
        ---------
        outputs : models.Outputs
        classifier : models.ClassifierHeads

        Returns
        -------
        torch.Tensor
            [batch, size]
        """
        if self.type != "ft":
            return getattr(outputs, self.type)
        hidden = classifier.hidden(outputs.st)
        return hidden.mean(dim=1) if self.pooling_mode == "mean" else hidden.sum(dim=1)


def check_available(kind, modules):
    """Refuse `st` of a model that has no shared dense layer.

    Arguments
    ---------
    kind : EmbeddingKind
    modules : mapping

    Raises
    ------
    UserError
    """
    if kind.type == "st" and not modules["shared_dense"].enabled:
        raise UserError(
            "embedding_type st is the output of the shared dense layer, and this "
            "model was trained without one (shared_dense: False): use pt or ft."
        )


@torch.inference_mode()
def extract(brain, dataset, loader_kwargs, kind):
    """Embeddings of a dataset's recordings.

    Arguments
    ---------
    brain : ClinicalBrain
        With the weights loaded.
    dataset : DynamicItemDataset
    loader_kwargs : dict
    kind : EmbeddingKind

    Returns
    -------
    dict of str to np.ndarray
        uid → float32 [size].
    """
    loader = brain.make_dataloader(
        dataset, speechbrain.Stage.TEST, ckpt_prefix=None, **loader_kwargs
    )
    brain.modules.eval()
    found = {}
    for batch in tqdm(loader, desc="extracting", unit="batch", disable=None):
        with brain.evaluation_ctx:
            outputs = brain.compute_forward(batch, speechbrain.Stage.TEST)
            embeddings = kind.of(outputs, brain.modules["classifier"])
        found.update(zip(batch.id, embeddings.float().cpu().numpy(), strict=True))
    return found


def write_embeddings(path, uids, embeddings, metadata):
    """Write a parquet file of `uid` and `embedding`, one row per uid, in order.

    Arguments
    ---------
    path : Path
    uids : list of str
    embeddings : dict of str to np.ndarray
        float32 [size]; uids that are not in it get a null embedding.
    metadata : dict
        Goes into the schema's metadata, as text (what is no text as JSON).
    """
    size = len(next(iter(embeddings.values())))
    missing = np.array([uid not in embeddings for uid in uids])
    blank = np.zeros(size, dtype=np.float32)
    values = np.concatenate([embeddings.get(uid, blank) for uid in uids])
    table = pa.table(
        {
            "uid": pa.array(uids, pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(values, pa.float32()), size, mask=pa.array(missing)
            ),
        }
    )
    text = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    with atomic_write(path, "wb") as file:
        pq.write_table(table.replace_schema_metadata(text), file)


def describe(kind, experiment):
    """What the schema's metadata says of an embeddings file.

    Arguments
    ---------
    kind : EmbeddingKind
    experiment : experiment.Experiment

    Returns
    -------
    dict
    """
    text = (experiment.folder / "hyperparams.yaml").read_bytes()
    return {
        "embedding_type": kind.type,
        "pooling_mode": kind.pooling_mode,
        "checkpoint": experiment.checkpoint,
        "hyperparams_sha256": hashlib.sha256(text).hexdigest(),
        "sample_rate": experiment.hparams["sample_rate"],
        "versions": {
            "speechbrain": speechbrain.__version__,
            "torch": torch.__version__,
            "pyarrow": pa.__version__,
        },
    }
