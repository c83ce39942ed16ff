"""The parts of the model behind ECAPA-TDNN, and the way through all of it.

features → ECAPA-TDNN → embedding (`pt`) → [shared dense layer → `st`] → heads: first
dense layer (`ft`) → [layer norm] → activation → dropout → logits.
"""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Mapping

import torch

from local.model.ecapa import ECAPA_TDNN
from local.model.front_end import frame_counts, raw_features

#: How the embeddings of several heads become one.
POOLING_MODES = ("mean", "sum")


class SharedDense(torch.nn.Module):
    """An optional dense layer with ReLU between the embedding and all heads.

    enabled: If not, the embedding passes unchanged and there are no weights.

    >>> SharedDense(192, 768, enabled=True)(torch.randn(2, 192)).shape
    torch.Size([2, 768])
    """

    def __init__(self, input_size: int, output_size: int, enabled: bool):
        super().__init__()
        self.enabled = enabled
        self.dense = torch.nn.Linear(input_size, output_size) if enabled else None

    def forward(self, embedding):
        """[batch, input_size] → [batch, output_size]"""
        return torch.relu(self.dense(embedding)) if self.enabled else embedding


def head_input_size(lin_neurons, shared_dense, sd_bottleneck):
    """Size of what the heads read: the shared layer's output, else the embedding.

    >>> head_input_size(lin_neurons=192, shared_dense=False, sd_bottleneck=768)
    192
    """
    return sd_bottleneck if shared_dense else lin_neurons


class Head(torch.nn.Module):
    """Classifier of one group of labels: two dense layers.

    clf_bottleneck: Size of the first layer's output.
    activation: Name of an activation in torch.nn, in any case (`relu`, `GELU`).
    layernorm: Whether the first layer's output is normalised.
    final_dropout: Share of the activations dropped in training.
    """

    def __init__(
        self,
        input_size: int,
        clf_bottleneck: int,
        n_labels: int,
        activation: str,
        layernorm: bool,
        final_dropout: float,
    ):
        super().__init__()
        self.dense = torch.nn.Linear(input_size, clf_bottleneck)
        self.norm = (
            torch.nn.LayerNorm(clf_bottleneck) if layernorm else torch.nn.Identity()
        )
        self.activation = activation_class(activation)()
        self.dropout = torch.nn.Dropout(final_dropout)
        self.outproj = torch.nn.Linear(clf_bottleneck, n_labels)

    def output(self, hidden):
        """Logits from the first layer's output: [batch, hidden] → [batch, label]"""
        return self.outproj(self.dropout(self.activation(self.norm(hidden))))


def activation_class(name: str) -> type:
    """The torch.nn activation of a name.

    Raises ValueError: for a name that torch.nn does not have, or of an activation that
        needs arguments or changes the size, with those that do. `identity` is none at
        all.

    >>> activation_class("leakyrelu")
    <class 'torch.nn.modules.activation.LeakyReLU'>
    """
    known = _activations()
    if str(name).lower() not in known:
        names = ", ".join(activation.__name__ for activation in known.values())
        raise ValueError(f"activation {name!r} is none of {names}")
    return known[str(name).lower()]


@functools.lru_cache(1)
def _activations():
    """Those of torch.nn that need no arguments and keep a vector's size."""
    module, known = torch.nn.modules.activation, {"identity": torch.nn.Identity}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # softmax takes the last dimension
        for name in module.__all__:
            activation = getattr(module, name)
            with contextlib.suppress(TypeError, ValueError, RuntimeError):
                if activation()(torch.zeros(2, 4)).shape == (2, 4):
                    known[name.lower()] = activation
    return known


class ClassifierHeads(torch.nn.Module):
    """One head per group of labels.

    label_groups: The labels of each head.
    clf_bottleneck, activation, layernorm, final_dropout: As for `Head`.
    label_ranges: For each label that is a score the lowest and highest value of its
        scale: its output is a share of this range, given back in the label's own units.
        None leaves an output as it is, a logit.

    >>> heads = ClassifierHeads(192, [["a", "b"], ["c"]])
    >>> heads(torch.randn(4, 192)).shape
    torch.Size([4, 3])
    """

    def __init__(
        self,
        input_size: int,
        label_groups: list[list[str]],
        clf_bottleneck=768,
        activation="relu",
        layernorm=False,
        final_dropout=0.3,
        label_ranges: list[tuple[float, float]] | None = None,
    ):
        super().__init__()
        if not label_groups:
            raise ValueError("label_groups is empty: train.py fills it from labels.txt")
        self.heads = torch.nn.ModuleList(
            Head(
                input_size,
                clf_bottleneck,
                len(group),
                activation,
                layernorm,
                final_dropout,
            )
            for group in label_groups
        )
        units = [bounds or (0.0, 1.0) for bounds in label_ranges or [None]]
        lows, highs = torch.tensor(units, dtype=torch.float32).T
        # no weights: they follow from the yaml
        self.register_buffer("lows", lows, persistent=False)
        self.register_buffer("widths", highs - lows, persistent=False)

    def forward(self, embedding):
        """Logits of all labels: [batch, input_size] → [batch, label]"""
        return self.output(self.hidden(embedding))

    def hidden(self, embedding):
        """Output of every head's first layer: [batch, size] → [batch, head, hidden]"""
        return torch.stack([head.dense(embedding) for head in self.heads], dim=-2)

    def output(self, hidden):
        """Logits from `hidden`: [batch, head, hidden] → [batch, label]"""
        outputs = torch.cat(
            [head.output(hidden[..., i, :]) for i, head in enumerate(self.heads)],
            dim=-1,
        )
        return self.lows + self.widths * outputs.float()


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the model says of a batch.

    pt: Output of ECAPA-TDNN, [batch, lin_neurons].
    st: Output of the shared dense layer (`pt` if there is none), [batch, size].
    logits: [batch, label]
    hidden: Output of each head's first layer, [batch, head, size], where that is asked
        for.
    """

    pt: torch.Tensor
    st: torch.Tensor
    logits: torch.Tensor
    hidden: torch.Tensor | None = None


def compute_features(
    modules: Mapping, waveforms: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised features of a batch.

    modules: With `compute_features` and `mean_var_norm`.
    waveforms: [batch, time]
    lengths: Relative, [batch].

    Returns features: [batch, frame, channel]
    Returns lengths: Relative lengths of the features, [batch].
    """
    features, lengths = raw_features(modules["compute_features"], waveforms, lengths)
    features = modules["mean_var_norm"](features, lengths)
    # 0, the mean, disturbs the convolutions at a recording's end less than the
    # silence that padding would be
    n_frames = frame_counts(lengths, features.shape[1]).unsqueeze(1)
    padding = torch.arange(features.shape[1], device=features.device) >= n_frames
    return features.masked_fill(padding.unsqueeze(2), 0.0), lengths


def classify(
    modules: Mapping, features: torch.Tensor, lengths: torch.Tensor | None
) -> Outputs:
    """From features to logits, keeping what is on the way.

    modules: With `embedding_model`, `shared_dense` and `classifier`.
    features: [batch, frame, channel]
    lengths: Relative, [batch]; None where nothing is padded.
    """
    pt = modules["embedding_model"](features, lengths).squeeze(1)
    st = modules["shared_dense"](pt)
    return Outputs(pt, st, modules["classifier"](st))


@torch.inference_mode()
def score_features(
    modules: Mapping, features: torch.Tensor, n_frames: torch.Tensor
) -> Outputs:
    """From features to all outputs, for each recording as if it were alone.

    modules: As for `classify`, plain ones (see `unwrapped`), in evaluation mode.
    features: [batch, frame, channel]; what lies behind a recording's end does not
        matter.
    n_frames: Frames of each recording, int64 [batch].

    Returns: float32, on the CPU, with `hidden`.
    """
    pt = _embeddings(modules["embedding_model"], features, n_frames).squeeze(1)
    st = modules["shared_dense"](pt)
    hidden = modules["classifier"].hidden(st)
    logits = modules["classifier"].output(hidden)
    return Outputs(*(values.float().cpu() for values in (pt, st, logits, hidden)))


def _embeddings(model, features, n_frames):
    """Output of the embedding model for each recording alone, [batch, 1, size]."""
    if bool((n_frames == features.shape[1]).all()):  # nothing is padded
        return model(features)
    if isinstance(model, ECAPA_TDNN):
        return model(features, n_frames=n_frames)
    counts = enumerate(n_frames.tolist())
    return torch.cat([model(features[i : i + 1, :n]) for i, n in counts])


def unwrapped(modules: Mapping) -> dict[str, torch.nn.Module]:
    """Modules without torchrun's wrapper, which waits for others, and the compiler's.

    In evaluation modules compute something else than in training, which would have to
    be compiled as well; and later commands, which compile nothing, give the same.
    """
    wrapper = torch.nn.parallel.DistributedDataParallel
    plain = {
        name: module.module if isinstance(module, wrapper) else module
        for name, module in modules.items()
    }
    return {
        name: getattr(module, "_orig_mod", module) for name, module in plain.items()
    }
