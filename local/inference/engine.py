"""Running a trained model over many recordings, as fast as the machine allows."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch

from local.data import dataset as dataio
from local.data.recordings import Recordings
from local.inference.backends import is_worth_it, onnx_backend
from local.model.heads import Outputs
from local.training.scoring import ScoringBrain
from local.utils.errors import RunError
from local.utils.memory import keep_freed_memory


class Engine:
    """A trained model, ready to run over many recordings.

    brain: With the weights loaded.
    backend: As in extract_embeddings.yaml: `auto` is `onnx` for much work on a CPU,
        else `eager`; afterwards the one that is used.
    duration_s: Of all recordings that are to come: more work is worth more preparation.
    features (front_end.RecordingFeatures): What a loader's dataset computes.
    """

    def __init__(
        self, brain: ScoringBrain, backend: str = "eager", duration_s: float = 0.0
    ):
        keep_freed_memory()
        brain.modules.eval()
        self.brain, self.backend = brain, "eager"
        self.features = brain.recording_features
        device, is_exact = torch.device(brain.device), brain.eval_precision == "fp32"
        if is_exact:  # and not in TF32, to about 1e-3
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        model = brain.plain_modules["embedding_model"]
        can_export = not hasattr(model, "load_source")  # it reads pieces: no graph
        if backend == "auto" and is_exact and is_worth_it(device, duration_s):
            backend = "onnx" if can_export else "eager"  # which computes in fp32
        if backend == "onnx":
            noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
            n_channels = self.features(noise).shape[1]
            n_threads = 1 if brain.n_streams > 1 else torch.get_num_threads()
            onnx = onnx_backend(model, n_channels, device, n_threads)
            if onnx:
                self.backend, brain.stand_ins["embedding_model"] = "onnx", onnx

    def run(
        self, dataset, loader_kwargs: dict
    ) -> Iterator[tuple[PaddedBatch, Outputs]]:
        """Run the model over a dataset.

        dataset (DynamicItemDataset): With `id` and `features`.
        loader_kwargs: As `ScoreBatches.longest_first` gives them.

        Yields: Batches in their order, and their outputs.
        """
        loader = self.brain.make_dataloader(
            dataset, sb.Stage.TEST, ckpt_prefix=None, **loader_kwargs
        )
        yield from self.brain.run(loader)

    def values(
        self,
        manifest: pd.DataFrame,
        recordings: Recordings,
        hparams: dict,
        choose: Callable,
        step: Callable | None = None,
        described: bool = False,
    ) -> tuple[list[str], np.ndarray]:
        """Some of the outputs for the recordings of a manifest, or windows of them.

        hparams: `audio`, `eval_crop`, `score_batches`.
        choose: Takes outputs, gives the values that are wanted, [batch, size].
        step: Takes the `ID`s that are done.
        described: Whether what recordings are like (see `local.audio.description`)
            comes behind these values.

        Returns: Their `ID`s, the longest first, and float32 [row, size].
        Raises RunError: naming those whose values are no finite numbers.
        """
        dataset = dataio.build_dataset(
            manifest,
            [],
            recordings,
            hparams["audio"],
            hparams["eval_crop"],
            self.features,
            described,
        )
        batches = hparams["score_batches"]
        loader_kwargs = batches.longest_first(manifest, self.brain.device_type)
        names, values = [], []
        for batch, outputs in self.run(dataset, loader_kwargs):
            names += batch.id
            chosen = choose(outputs).numpy()
            refuse_not_finite(batch.id, chosen)
            if described:
                chosen = np.hstack([chosen, batch.described.data.cpu().numpy()])
            values.append(chosen)
            if step:
                step(batch.id)
        return names, np.concatenate(values)


def refuse_not_finite(ids: list[str], values: np.ndarray):
    """Refuse outputs that are no finite numbers.

    ids: Recordings, or windows of them.
    values: [recording, size]

    Raises RunError: naming those that have such.
    """
    finite = np.isfinite(values).all(axis=1)
    broken = [
        name for name, is_finite in zip(ids, finite, strict=True) if not is_finite
    ]
    if broken:
        raise RunError(
            "The network's output is not a finite number for these recordings; leave "
            f"them out: {', '.join(broken)}"
        )
