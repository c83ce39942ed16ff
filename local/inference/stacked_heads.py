"""All classifier heads as one stack of stock layers, for programs without this recipe.

The stack reads the embedding `pt` and gives all logits, the heads side by side: their
first layers are one wide layer, their last ones one block-diagonal layer, into which
the range of labels that are scores is folded. Dropout is left out: it is for training.
"""

import torch

from local.model.heads import ClassifierHeads, SharedDense


def stack_heads(
    shared_dense: SharedDense, classifier: ClassifierHeads
) -> list[tuple[torch.nn.Module, dict]]:
    """The layers of a stack, with their weights.

    Returns: Layers of torch.nn, and the arguments that make one of their kind.

    >>> from local.model.heads import ClassifierHeads, SharedDense
    >>> heads = ClassifierHeads(8, [["a", "b"], ["c"]], clf_bottleneck=5)
    >>> layers = stack_heads(SharedDense(8, 8, enabled=False), heads)
    >>> [type(layer).__name__ for layer, _ in layers]
    ['Flatten', 'Linear', 'ReLU', 'Linear', 'Unflatten']
    """
    heads = list(classifier.heads)
    n_hidden = heads[0].dense.out_features
    # SpeechBrain hands over [batch, 1, size]; normalisation needs [batch, size]
    layers = [_layer(torch.nn.Flatten)]
    if shared_dense.enabled:
        layers += [_side_by_side([shared_dense.dense]), _layer(torch.nn.ReLU)]
    layers.append(_side_by_side([head.dense for head in heads]))
    if isinstance(heads[0].norm, torch.nn.LayerNorm):
        layers.append(_group_norm([head.norm for head in heads]))
    layers += _activations([head.activation for head in heads], n_hidden)
    layers.append(
        _block_diagonal(
            [head.outproj for head in heads], classifier.lows, classifier.widths
        )
    )
    n_labels = layers[-1][0].out_features
    return [*layers, _layer(torch.nn.Unflatten, dim=1, unflattened_size=[1, n_labels])]


class StackedHeads:
    """What the parts of a stack give, as `models.ClassifierHeads` does.

    stack (torch.nn.Sequential): Made by `stack_heads`.
    """

    def __init__(self, stack, n_heads: int, has_shared_dense: bool):
        layers = list(stack)
        # after Flatten: the shared layer and its ReLU, if there are any
        n = 3 if has_shared_dense else 1
        self._shared = torch.nn.Sequential(*layers[:n])
        self._first, self._rest = layers[n], torch.nn.Sequential(*layers[n + 1 :])
        self._n_heads = n_heads

    def shared_dense(self, embedding):
        """[batch, input_size] → [batch, output_size]"""
        return self._shared(embedding)

    def hidden(self, embedding):
        """Output of every head's first layer: [batch, size] → [batch, head, hidden]"""
        return self._first(embedding).unflatten(-1, (self._n_heads, -1))

    def output(self, hidden):
        """Logits from `hidden`: [batch, head, hidden] → [batch, label]"""
        return self._rest(hidden.flatten(1)).squeeze(1)

    def __call__(self, embedding):
        """Logits of all labels: [batch, size] → [batch, label]"""
        return self.output(self.hidden(embedding))


def _layer(kind, **arguments):
    return kind(**arguments), arguments


def _linear(weight, bias):
    """A Linear with these weights, [output, input] and [output]."""
    n_outputs, n_inputs = weight.shape
    layer, arguments = _layer(
        torch.nn.Linear, in_features=n_inputs, out_features=n_outputs
    )
    layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return layer, arguments


def _side_by_side(denses):
    """One layer that gives what several give for the same input."""
    return _linear(
        torch.cat([dense.weight for dense in denses]),
        torch.cat([dense.bias for dense in denses]),
    )


def _block_diagonal(denses, lows, widths):
    """One layer for several, each with its own input; each output in its range."""
    weight = torch.block_diag(*(dense.weight for dense in denses))
    bias = torch.cat([dense.bias for dense in denses])
    return _linear(widths.unsqueeze(1) * weight, lows + widths * bias)


def _group_norm(norms):
    """Every head's own layer norm as a group of one group norm."""
    n_channels = sum(norm.weight.numel() for norm in norms)
    layer, arguments = _layer(
        torch.nn.GroupNorm,
        num_groups=len(norms),
        num_channels=n_channels,
        eps=norms[0].eps,
    )
    names = ("weight", "bias")
    layer.load_state_dict(
        {n: torch.cat([getattr(norm, n).detach() for norm in norms]) for n in names}
    )
    return layer, arguments


def _activations(activations, n_hidden):
    """The heads' activation, once for all: what it does to one must stay in it."""
    kind = type(activations[0])
    if kind is torch.nn.PReLU:  # its slope is learned, one per head
        slopes = [prelu.weight.detach().expand(n_hidden) for prelu in activations]
        n = n_hidden * len(activations)
        layer, arguments = _layer(kind, num_parameters=n)
        layer.load_state_dict({"weight": torch.cat(slopes)})
        return [(layer, arguments)]
    if hasattr(activations[0], "dim"):  # softmax and the like: over one head
        groups = [len(activations), n_hidden]
        return [
            _layer(torch.nn.Unflatten, dim=1, unflattened_size=groups),
            _layer(kind, dim=2),
            _layer(torch.nn.Flatten),
        ]
    return [_layer(kind)]
