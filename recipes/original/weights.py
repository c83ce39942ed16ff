"""The original's weights: whether they are what they should be."""

import re

import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

from local.model import heads
from local.model.legacy_front_end import n_features
from local.utils.errors import UserError

#: Our modules, and the beginning of their keys in an original state dict.
PREFIXES = {
    "embedding_model": "model.",
    "shared_dense": "dense.",
    "classifier": "classifiers.",
}
HEAD_KEY = re.compile(r"heads\.(\d+)\.(.+)")
#: What is expected of a file of weights, for messages.
SAVE_IT = (
    "Expected the model's weights alone. Where the original runs, "
    "`torch.save(model.state_dict(), 'weights_mdl.pt')` saves them."
)
OUTPUT_KEY = re.compile(r"classifiers\.(\d+)\.head\.outproj\.weight")


def compare(
    state: dict[str, torch.Tensor], values: dict, sizes: list[int]
) -> list[str]:
    """Hold the weights against what the arguments say they should be.

    values: What the arguments say, for the keys of train_original.yaml.
    sizes: Number of labels of each head.

    Returns: What disagrees: sizes, and missing, unexpected and wrongly shaped keys.
    """
    expected = expected_shapes(values, sizes)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    missing = [key for key in expected if key not in shapes]
    unexpected = [key for key in shapes if key not in expected]
    misshaped = [
        f"{key} ({_shape(shape)} expected, {_shape(shapes[key])} found)"
        for key, shape in expected.items()
        if shapes.get(key, shape) != shape
    ]
    problems = [
        f"{name} is {values[name]!r} in the arguments and {actual!r} in the weights"
        for name, actual in sizes_in_weights(shapes, values).items()
        if actual != values[name]
    ]
    problems += [
        f"{kind}: {', '.join(keys)}"
        for kind, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshaped),
        )
        if keys
    ]
    return problems


def expected_shapes(values: dict, sizes: list[int]) -> dict[str, tuple[int, ...]]:
    """Shape of every weight, under the original's names.

    values: As for `compare`.
    sizes: Number of labels of each head.
    """
    size = heads.head_input_size(
        values["lin_neurons"], values["shared_dense"], values["sd_bottleneck"]
    )
    with torch.device("meta"):  # sizes alone, whatever they are
        modules = {
            "embedding_model": ECAPA_TDNN(
                n_features(values["fbank"], values["n_mfcc"], values["n_mels"]),
                lin_neurons=values["lin_neurons"],
            ),
            "shared_dense": heads.SharedDense(
                values["lin_neurons"], values["sd_bottleneck"], values["shared_dense"]
            ),
            "classifier": heads.ClassifierHeads(
                size,
                [[""] * n_labels for n_labels in sizes],
                clf_bottleneck=values["clf_bottleneck"],
                layernorm=values["layernorm"],
            ),
        }
    return {
        original_key(name, key): tuple(weight.shape)
        for name, module in modules.items()
        for key, weight in module.state_dict().items()
    }


def original_key(module, key):
    """Our name of a weight → the original's.

    >>> original_key("classifier", "heads.0.dense.bias")
    'classifiers.0.head.dense.bias'
    >>> original_key("embedding_model", "fc.conv.bias")
    'model.fc.conv.bias'
    """
    return PREFIXES[module] + HEAD_KEY.sub(r"\1.head.\2", key)


def own_weights(state: dict[str, torch.Tensor]) -> dict[str, dict]:
    """The weights under our own names.

    state: With the keys of `expected_shapes`.

    Returns: Module → its state dict.
    """
    weights = {name: {} for name in PREFIXES}
    for key, weight in state.items():
        name = next(name for name in PREFIXES if key.startswith(PREFIXES[name]))
        own = key.removeprefix(PREFIXES[name])
        if name == "classifier":
            own = re.sub(r"^(\d+)\.head\.", r"heads.\1.", own)
        weights[name][own] = weight
    return weights


def sizes_in_weights(found: dict[str, tuple[int, ...]], values: dict) -> dict:
    """What the shapes of the weights say of the arguments.

    found: Shape of every weight.
    values: As for `compare`.

    Returns: For the keys of train_original.yaml, as far as the weights tell.
    """
    told = {
        "n_mels" if values["fbank"] else "n_mfcc": (
            "model.blocks.0.conv.conv.weight",
            1,
        ),
        "lin_neurons": ("model.fc.conv.weight", 0),
        "clf_bottleneck": ("classifiers.0.head.dense.weight", 0),
    }
    if values["shared_dense"]:
        told["sd_bottleneck"] = ("dense.dense.weight", 0)
    sizes = {
        name: found[key][axis]
        for name, (key, axis) in told.items()
        if len(found.get(key, ())) > axis
    }
    return {
        **sizes,
        "shared_dense": any(key.startswith("dense.") for key in found),
        "layernorm": any(".head.norm." in key for key in found),
    }


def head_sizes(state: dict[str, torch.Tensor]) -> list[int]:
    """Number of labels of each head.

    Raises UserError: if there is no head.
    """
    sizes = {
        int(match[1]): len(weight)
        for key, weight in state.items()
        if (match := OUTPUT_KEY.fullmatch(key)) and weight.dim() == 2 and len(weight)
    }
    if not sizes:
        raise UserError(
            "The weights have no classifier head: expected the keys "
            "classifiers.<i>.head.outproj.weight. Those found begin with "
            f"{', '.join(list(state)[:3])}."
        )
    # a head that is left out shows as missing keys
    return [sizes.get(i, 1) for i in range(min(max(sizes) + 1, len(state)))]


def _shape(shape):
    return "×".join(map(str, shape)) or "one number"
