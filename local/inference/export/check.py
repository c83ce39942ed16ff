"""An export counts once it was loaded again and gives what the experiment gives."""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from local.inference.export import probe
from local.inference.export.onnx_model import INPUTS
from local.utils.errors import RunError

#: Largest difference, relative to what the experiment gives.
TOLERANCE = 1e-4

#: Recordings that a folder is tried with, in s; None is the shortest one allowed.
PROBES_S = (None, 1.0, 2.3)

#: Batches that model.onnx is tried with.
BATCHES_S = (
    (None,),
    (30.0,),
    (2.0, None),
    (1.0, 0.4, 4.0),
    (0.5, None, 3.0, 7.0),
    (5.0, 1.2, None, 0.7, 2.4),
)


def check_folder(folder: Path, model, is_stock: bool) -> float:
    """Load an exported folder in a process without this recipe, and compare.

    model (classifier.ClinicalClassifier): Of the experiment, on the CPU.
    is_stock: Whether SpeechBrain's EncoderClassifier is to load it as well.

    Returns: The largest relative difference.
    Raises RunError: if it can't be loaded or differs by more than 1e-4.
    """
    waveforms = [_noise(length_s, i, model) for i, length_s in enumerate(PROBES_S)]
    probed = _probed(folder, waveforms, is_stock)
    alone = [model.outputs([waveform]) for waveform in waveforms]
    differences = {}
    for kind in ("logits", "pt", "st", "hidden"):
        expected = torch.cat([getattr(outputs, kind) for outputs in alone]).numpy()
        for name in (kind, f"batch {kind}", f"stock {kind}"):
            if name in probed:
                differences[name] = _worst(probed[name], expected, kind)
    _refuse(differences, "The exported folder")
    for name in ("labels", "stock labels"):
        if name in probed and probed[name].tolist() != model.labels:
            raise RunError(
                f"The exported folder has the {name} {probed[name].tolist()}, expected "
                f"{model.labels}."
            )
    _check_decisions(json.loads(str(probed["decisions"])), model, waveforms)
    return max(differences.values())


def check_onnx(path: Path, model, output_names: list[str]) -> float:
    """Compare model.onnx with PyTorch, recording by recording, in several shapes.

    model (classifier.ClinicalClassifier): Of the experiment, on the CPU.

    Returns: The largest relative difference.
    Raises RunError: if one is above 1e-4.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    differences = {}
    for lengths_s in BATCHES_S:
        waveforms = [_noise(length_s, i, model) for i, length_s in enumerate(lengths_s)]
        inputs = dict(zip(INPUTS, padded_batch(waveforms), strict=True))
        outputs = dict(zip(output_names, session.run(None, inputs), strict=True))
        for i, waveform in enumerate(waveforms):
            alone = model.outputs([waveform])
            for name in output_names:
                expected = getattr(alone, "hidden" if name == "ft" else name).numpy()
                difference = _worst(outputs[name][i][None], expected, name)
                key = f"{name} in a batch of {len(waveforms)}"
                differences[key] = max(difference, differences.get(key, 0.0))
    _refuse(differences, "model.onnx")
    return max(differences.values())


def padded_batch(
    waveforms: list[torch.Tensor], n_more: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """A batch for model.onnx, in whose padding there is noise, which must not count.

    waveforms: [time] each.
    n_more: Samples of padding behind the longest.

    Returns waveforms: float32 [batch, time]
    Returns lengths: Samples, int64 [batch].
    """
    lengths = np.array([len(waveform) for waveform in waveforms])
    generator = np.random.default_rng(1)
    batch = generator.standard_normal((len(waveforms), lengths.max() + n_more))
    batch = batch.astype("float32")
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform.numpy()
    return batch, lengths


def _noise(length_s, seed, model):
    """Noise that comes and goes, with some digital silence: float32 [time]"""
    rate = model.hparams.sample_rate
    n = math.ceil(rate * max(length_s or 0.0, model.hparams.min_duration))
    generator = torch.Generator().manual_seed(seed)
    time_s = torch.arange(n) / rate
    envelope = 0.01 + torch.sin(12 * time_s + seed + 1).clamp(min=0)
    waveform = 0.2 * envelope * torch.randn(n, generator=generator)
    waveform[(time_s % 1.5) > 1.35] = 0.0
    return waveform


def _probed(folder, waveforms, is_stock):
    """What probe.py says of an exported folder."""
    with tempfile.TemporaryDirectory() as scratch:
        probes, output = Path(scratch, "probes.npz"), Path(scratch, "output.npz")
        np.savez(probes, **{f"{i:03d}": w.numpy() for i, w in enumerate(waveforms)})
        arguments = [probe.__file__, folder, probes, output, is_stock]
        result = subprocess.run(
            # no byte code: it would lie in the exported folder
            [sys.executable, "-I", "-B", *map(str, arguments)],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise RunError(f"The exported folder can't be loaded: {reason}")
        with np.load(output) as arrays:
            return {key: arrays[key] for key in arrays.files}


def _worst(actual, expected, kind):
    """The largest difference of a row, relative to its norm."""
    if actual.shape != expected.shape:
        return float("inf")
    axes = tuple(range(1, expected.ndim))
    norms = np.sqrt(np.square(expected).sum(axis=axes))
    if kind == "logits":  # near 0 it is their distance that counts
        norms = np.maximum(norms, 1.0)
    distances = np.sqrt(np.square(actual - expected).sum(axis=axes))
    return float(np.max(distances / np.maximum(norms, 1e-30)))


def _refuse(differences, what):
    """Raise RunError for differences above the tolerance, or that are no numbers."""
    wrong = {
        name: difference
        for name, difference in differences.items()
        if not difference <= TOLERANCE
    }
    if wrong:
        listed = ", ".join(
            f"{name} by {difference:.1e}" for name, difference in wrong.items()
        )
        raise RunError(
            f"{what} differs from the experiment by more than {TOLERANCE:.0e}: "
            f"{listed}. Nothing was written."
        )


def _check_decisions(decisions, model, waveforms):
    """Raise RunError unless probabilities and thresholds are the experiment's."""
    for row, waveform in zip(decisions, waveforms, strict=True):
        for label, expected in model.classify_batch(waveform)[0].items():
            probability = expected["probability"]
            other = row[label]["probability"]
            same = (probability is None) == (other is None)
            if same and other is not None:
                same = abs(probability - other) <= TOLERANCE
            if not same or expected["threshold"] != row[label]["threshold"]:
                raise RunError(
                    f"The exported folder says {row[label]} of {label} in a probe, "
                    f"expected {expected}. Nothing was written."
                )
