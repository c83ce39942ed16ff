"""What computes the embedding: PyTorch as it is, or ONNX Runtime.

Every backend is a function of features [batch, frame, channel] and frames of each
recording, int64 [batch], that gives the output of ECAPA-TDNN, [batch, size]. The rest
of the model costs next to nothing and stays in PyTorch.
"""

import contextlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from local.model.own_ends import OwnEnds

logger = logging.getLogger(__name__)

#: Loggers that tell of every step of an export.
CHATTY = ("onnx_ir", "onnxscript", "torch.onnx")

#: Another backend may differ from PyTorch by so much, relative to the embedding.
TOLERANCE = 1e-5

#: With less to do, in s of recordings, an export takes longer than it saves.
WORTH_EXPORT_S = 7200

#: Frames of the probes that a backend is tried with; the second is a new length.
PROBE_FRAMES = (100, 233)


def build_backend(
    name: str,
    embedding_model: torch.nn.Module,
    own_ends: OwnEnds,
    n_channels: int,
    device: torch.device,
    duration_s: float,
) -> Callable:
    """Make a backend, and PyTorch as it is where that can't be had.

    name: As in extract_embeddings.yaml. `auto` is `onnx` for much work on a CPU, else
        `eager`.
    embedding_model: In evaluation mode, on the device.
    n_channels: Of the features.
    duration_s: Of all the recordings that are to come.

    Returns: The same in all processes of torchrun.
    """
    eager = Eager(embedding_model, own_ends)
    if name == "auto":
        much = device.type == "cpu" and duration_s > WORTH_EXPORT_S
        name = "onnx" if much else "eager"
    if name == "eager":
        return eager
    backend = _tried(embedding_model, n_channels, eager, device)
    if not _everywhere(backend is not None):
        if backend is not None:
            logger.warning("backend onnx can't be used by all processes: eager is")
        return eager
    return backend


def _tried(embedding_model, n_channels, eager, device):
    """ONNX Runtime if it gives what PyTorch does, or None and a warning."""
    begin = time.perf_counter()
    probes = [torch.randn(1, n, n_channels, device=device) for n in PROBE_FRAMES]
    try:
        backend = Onnx(embedding_model, probes[0])
        difference = max(_difference(backend, eager, probe) for probe in probes)
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


def _difference(backend, eager, features):
    """The relative difference of two backends' embeddings."""
    n_frames = torch.tensor([features.shape[1]], device=features.device)
    with torch.inference_mode():
        found, expected = (of(features, n_frames) for of in (backend, eager))
    return ((found - expected).norm() / expected.norm()).item()


class Eager:
    """PyTorch as it is.

    own_ends: Its hooks.
    """

    name = "eager"

    def __init__(self, embedding_model: torch.nn.Module, own_ends: OwnEnds):
        self.embedding_model, self.own_ends = embedding_model, own_ends

    def __call__(self, features, n_frames):
        """Compute embeddings; see the module."""
        if bool((n_frames == features.shape[1]).all()):  # nothing is padded
            return self.embedding_model(features).squeeze(1)
        with self.own_ends.of(features, n_frames) as (padded, lengths):
            return self.embedding_model(padded, lengths).squeeze(1)


class Onnx:
    """ONNX Runtime, for one recording at a time.

    probe: Features to trace it with, [1, frame, channel].
    """

    name = "onnx"

    def __init__(self, embedding_model: torch.nn.Module, probe: torch.Tensor):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # its threads wait as those of OpenMP do: see local.utils.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "embedding_model.onnx")
            _export(embedding_model, probe, path)
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )

    def __call__(self, features, n_frames):
        """Compute embeddings; see the module."""
        found = [
            self.session.run(None, {"features": one[None, :n].numpy()})[0][0]
            for one, n in zip(features, n_frames.tolist(), strict=True)
        ]
        return torch.stack([torch.from_numpy(one[0]) for one in found])


def _export(embedding_model, probe, path):
    """Write features [1, frame, channel] → embedding [1, 1, size] as ONNX."""
    frames = torch.export.Dim("frames", min=5)
    with quiet_exporter():
        torch.onnx.export(
            embedding_model,
            (probe,),
            path,
            input_names=["features"],
            dynamic_shapes=({1: frames},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def quiet_exporter():
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
