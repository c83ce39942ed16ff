"""model.onnx: from waveforms to logits and embeddings in one file."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from local.inference.backends import export_onnx
from local.inference.export.onnx_features import (
    before_end,
    padded_crop,
    padded_front_end,
)

INPUTS = ("waveforms", "lengths")

#: Samples of the recordings that the graph is traced with, in s.
TRACED_S = (1.0, 1.3)


class OnnxModel(torch.nn.Module):
    """The whole model as one graph over padded waveforms.

    modules: With `compute_features`, `mean_var_norm`, `embedding_model`, `shared_dense`
        and `classifier`, in evaluation mode and on the CPU; copied.
    crop: The yaml's `eval_crop`.
    has_st: Whether there is a shared dense layer.
    output_names: list of str

    Raises NoOnnx: for a front end or a crop that has no counterpart.
    """

    def __init__(self, modules: Mapping, crop: Callable | None, has_st: bool):
        super().__init__()
        modules = {
            name: copy.deepcopy(module).eval() for name, module in modules.items()
        }
        self.crop = padded_crop(crop)
        self.front_end = padded_front_end(modules["compute_features"])
        self.normalization = modules["mean_var_norm"]
        self.embedding_model = modules["embedding_model"]
        self.shared_dense = modules["shared_dense"]
        self.classifier = modules["classifier"]
        self.output_names = ["logits", "pt", *(["st"] if has_st else []), "ft"]

    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Run the model.

        waveforms: [batch, time]
        lengths: Samples of each recording, int64 [batch].

        Returns: As `output_names` has them: logits [batch, label], pt and st [batch,
            size], ft [batch, head, size].
        """
        # chosen, not multiplied: there may be NaN behind an end
        inside = before_end(waveforms.shape[1], lengths)
        waveforms = torch.where(inside, waveforms, 0.0)
        if self.crop is not None:
            waveforms, lengths = self.crop(waveforms, lengths)
        features, n_frames = self.front_end(waveforms, lengths)
        # half a frame short: see features.frame_lengths
        relative = (n_frames - 0.5) / features.shape[1]
        features = self.normalization(features, relative)
        pt = self.embedding_model(features, n_frames=n_frames).squeeze(1)
        st = self.shared_dense(pt)
        ft = self.classifier.hidden(st)
        outputs = {"pt": pt, "st": st, "ft": ft, "logits": self.classifier.output(ft)}
        return tuple(outputs[name] for name in self.output_names)


def write_onnx(model: OnnxModel, sample_rate: int, path: Path, metadata):
    """Write model.onnx.

    sample_rate: Hz.
    metadata (dict of str to (str or JSON-like)): Of the file: what a user of it should
        know.
    """
    import onnx

    lengths = torch.tensor([round(sample_rate * length_s) for length_s in TRACED_S])
    generator = torch.Generator().manual_seed(1)
    waveforms = 0.1 * torch.randn(2, int(lengths.max()), generator=generator)
    batch = time = torch.export.Dim.DYNAMIC
    examples = (waveforms, {0: batch, 1: time}), (lengths, {0: batch})
    inputs = dict(zip(INPUTS, examples, strict=True))
    with torch.no_grad():
        export_onnx(model.eval(), inputs, path, model.output_names)
    written = onnx.load(path)
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
    }
    onnx.helper.set_model_props(written, texts)
    onnx.save(written, path)
