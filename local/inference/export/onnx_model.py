"""model.onnx: from waveforms to logits and embeddings in one file."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from speechbrain.nnet.CNN import Conv1d

from local.inference.backends import quiet_exporter
from local.inference.export.onnx_features import (
    before_end,
    padded_crop,
    padded_front_end,
)
from local.model.ecapa import make_lean

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
        modules = {name: copy.deepcopy(of).eval() for name, of in modules.items()}
        self.crop = padded_crop(crop)
        self.front_end = padded_front_end(modules["compute_features"])
        self.normalization = modules["mean_var_norm"]
        self.embedding_model = modules["embedding_model"]
        # the one that was copied leads back to the original's weights
        vars(self.embedding_model.asp).pop("forward", None)
        make_lean(self.embedding_model)
        self.shared_dense = modules["shared_dense"]
        self.classifier = modules["classifier"]
        self.output_names = ["logits", "pt", *(["st"] if has_st else []), "ft"]
        self._n_frames = None
        reaches = [0]
        for module in self.embedding_model.modules():
            if isinstance(module, Conv1d) and module.kernel_size > 1:
                module._forward_pre_hooks.clear()  # own_ends.OwnEnds'
                module.register_forward_pre_hook(self._mirror)
                reaches.append(module.dilation * (module.kernel_size - 1) // 2)
        self.margin = max(reaches)

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
        padded = torch.nn.functional.pad(features, (0, 0, 0, self.margin))
        self._n_frames = n_frames
        relative = (n_frames - 0.5) / padded.shape[1]
        pt = self.embedding_model(padded, relative).squeeze(1)
        st = self.shared_dense(pt)
        ft = self.classifier.hidden(st)
        found = {"pt": pt, "st": st, "ft": ft, "logits": self.classifier.output(ft)}
        return tuple(found[name] for name in self.output_names)

    def _mirror(self, _convolution, inputs):
        """As own_ends.OwnEnds: the mirror image of each recording's own end behind it.

        Nothing in place, which ONNX does not know. inputs : ([batch, channel, frame],)
        """
        values = inputs[0]
        places = torch.arange(values.shape[2], device=values.device).unsqueeze(0)
        last = self._n_frames.unsqueeze(1) - 1
        places = torch.where(places > last, 2 * last - places, places).clamp(min=0)
        places = places.unsqueeze(1).expand(-1, values.shape[1], -1)
        return (values.gather(2, places),)


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
    batch, time = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    with quiet_exporter(), torch.no_grad():
        torch.onnx.export(
            model.eval(),
            (waveforms, lengths),
            path,
            input_names=list(INPUTS),
            output_names=model.output_names,
            dynamic_shapes=({0: batch, 1: time}, {0: batch}),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    written = onnx.load(path)
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
    }
    onnx.helper.set_model_props(written, texts)
    onnx.save(written, path)
