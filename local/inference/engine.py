"""Running a trained model over many recordings, as fast as the machine allows."""

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import speechbrain as sb
import torch

from local.inference.backends import build_backend
from local.model.front_end import RecordingFeatures
from local.model.heads import Outputs, unwrapped
from local.training.brain import ClinicalBrain
from local.utils.errors import RunError
from local.utils.memory import keep_freed_memory


class Engine:
    """A trained model, ready to run over the batches of a loader.

    On a CPU as many recordings are computed at the same time as there are threads, one
    thread each: a recording's many small steps don't keep two threads busy. The loader
    goes on meanwhile.

    brain: With the weights loaded.
    backend: As in extract_embeddings.yaml.
    duration_s: Of all recordings that are to come: more work is worth more preparation.
    features (features.RecordingFeatures): What a loader's dataset computes.
    """

    def __init__(
        self, brain: ClinicalBrain, backend: str = "eager", duration_s: float = 0.0
    ):
        keep_freed_memory()
        brain.modules.eval()
        self.brain = brain
        self.modules = unwrapped(brain.modules)
        self.features = RecordingFeatures(self.modules)
        self.device = torch.device(brain.device)
        # autocast's state is one for all threads
        parallel = self.device.type == "cpu" and brain.eval_precision == "fp32"
        self.n_streams = torch.get_num_threads() if parallel else 1
        if brain.eval_precision != "fp32" and backend == "auto":
            backend = "eager"  # ONNX Runtime would compute in fp32
        if brain.eval_precision == "fp32":  # and not in TF32, to about 1e-3
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
        with _threads(1 if self.n_streams > 1 else None):
            self.backend = build_backend(
                backend,
                self.modules["embedding_model"],
                brain.own_ends,
                self.features(noise).shape[1],
                self.device,
                duration_s,
            )

    def run(self, dataset, loader_kwargs: dict):
        """Run the model over a dataset.

        dataset (DynamicItemDataset): With `id` and `features`.
        loader_kwargs: As `dataio.scoring_loader_kwargs` gives them.

        Yields ids: list of str
        Yields Outputs: On the CPU, in the order of the batches.
        """
        loader = self.brain.make_dataloader(
            dataset, sb.Stage.TEST, ckpt_prefix=None, **loader_kwargs
        )
        single = all(len(batch) == 1 for batch in loader_kwargs["batch_sampler"])
        if self.n_streams == 1 or not single:  # padded batches need the hooks' state
            yield from map(self._run_batch, loader)
            return
        with _threads(1), ThreadPoolExecutor(self.n_streams) as pool:
            waiting = deque()
            for batch in loader:
                waiting.append(pool.submit(self._run_batch, batch))
                if len(waiting) > 2 * self.n_streams:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    @torch.inference_mode()
    def _run_batch(self, batch):
        """A batch's ids and outputs."""
        batch = batch.to(self.device)
        features, lengths = batch.features
        n_frames = torch.round(lengths * features.shape[1]).long()
        with self.brain.evaluation_ctx:
            pt = self.backend(features, n_frames)
            st = self.modules["shared_dense"](pt)
            hidden = self.modules["classifier"].hidden(st)
            logits = self.modules["classifier"].output(hidden)
        outputs = (values.float().cpu() for values in (pt, st, logits, hidden))
        return batch.id, Outputs(*outputs)


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


@contextlib.contextmanager
def _threads(n):
    """Let PyTorch use `n` threads per operation; None leaves their number alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
