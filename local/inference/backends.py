"""What computes the embedding: PyTorch as it is, or ONNX Runtime.

The rest of the model costs next to nothing and stays in PyTorch.
"""

import contextlib
import logging
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

logger = logging.getLogger(__name__)

#: Loggers that tell of every step of an export.
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx")

#: Another backend may differ from PyTorch by so much, relative to the embedding.
TOLERANCE = 1e-5

#: With less to do, in s of recordings, an export takes longer than it saves.
WORTH_EXPORT_S = 7200

#: Frames of the probes that a backend is tried with; the second is a new length.
PROBE_FRAMES = (100, 233)


def is_worth_it(device: torch.device, duration_s: float) -> bool:
    """Whether ONNX Runtime saves more time than its export takes.

    duration_s: Of all the recordings that are to come.
    """
    return device.type == "cpu" and duration_s > WORTH_EXPORT_S


def onnx_backend(
    embedding_model: torch.nn.Module,
    n_channels: int,
    device: torch.device,
    n_threads: int,
) -> "Onnx | None":
    """ONNX Runtime in the place of an embedding model.

    embedding_model: In evaluation mode, on the device.
    n_channels: Of the features.
    n_threads: Of ONNX Runtime.

    Returns: None, and a warning, where it can't be had or gives something else, in this
        process or another one of torchrun.
    """
    backend = _tried(embedding_model, n_channels, device, n_threads)
    if _everywhere(backend is not None):
        return backend
    if backend is not None:
        logger.warning("backend onnx can't be used by all processes: eager is")
    return None


def _tried(embedding_model, n_channels, device, n_threads):
    """ONNX Runtime if it gives what PyTorch does, or None and a warning."""
    begin = time.perf_counter()
    probes = [torch.randn(1, n, n_channels, device=device) for n in PROBE_FRAMES]
    try:
        backend = Onnx(embedding_model, probes[0], n_threads)
        difference = max(
            _difference(backend, embedding_model, probe) for probe in probes
        )
    # whatever an exporter that is missing or old may raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        logger.warning("backend onnx can't be used, eager is: %s", reason)
        return None
    if not difference <= TOLERANCE:
        logger.warning(
            "backend onnx differs by %.1e, expected at most %.0e: eager is used",
            *(difference, TOLERANCE),
        )
        return None
    logger.info("backend onnx is ready after %.0f s", time.perf_counter() - begin)
    return backend


def _everywhere(is_possible):
    """Whether something is possible in all processes of torchrun."""
    if not torch.distributed.is_initialized():
        return is_possible
    said = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(said, is_possible)
    return all(said)


def _difference(backend, embedding_model, features):
    """The relative difference of a backend's embeddings."""
    with torch.inference_mode():
        actual, expected = backend(features), embedding_model(features)
    return ((actual - expected).norm() / expected.norm()).item()


class Onnx:
    """ONNX Runtime in the place of an embedding model, where nothing is padded.

    probe: Features to trace it with, [1, frame, channel].
    """

    def __init__(
        self, embedding_model: torch.nn.Module, probe: torch.Tensor, n_threads: int
    ):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        # its threads wait as those of OpenMP do: see local.utils.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "embedding_model.onnx")
            frames = torch.export.Dim("frames", min=5)
            inputs = {"features": (probe, {1: frames})}
            export_onnx(embedding_model, inputs, path)
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )

    def __call__(self, features):
        """Embeddings: [batch, frame, channel] → [batch, 1, size]"""
        embeddings = [
            self.session.run(None, {"features": recording.numpy()})[0]
            for recording in features.split(1)
        ]
        return torch.from_numpy(np.concatenate(embeddings))


def export_onnx(
    model: torch.nn.Module,
    inputs: dict[str, tuple[torch.Tensor, dict]],
    path: Path,
    output_names: list[str] | None = None,
):
    """Write a model as an ONNX file.

    inputs: By name an example, and which of its dimensions may have other sizes.
    output_names: Those of PyTorch's own choice unless given.
    """
    examples, dynamic_shapes = zip(*inputs.values(), strict=True)
    with _quiet_exporter():
        torch.onnx.export(
            model,
            examples,
            path,
            input_names=list(inputs),
            output_names=output_names,
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def _quiet_exporter():
    """Keep the warnings and reports of PyTorch's exporter to itself, in the block."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
