"""inference.stacked_heads: one stack of stock layers gives what all heads give."""

import pytest
import torch

from local.inference.stacked_heads import StackedHeads, stack_heads
from local.model.heads import ClassifierHeads, SharedDense, _activations

GROUPS = [["a", "b"], ["c"], ["d", "e", "f"]]


def both(activation="relu", layernorm=False, shared=False, label_ranges=None):
    """Random heads, their stack, and some embeddings [4, 8]."""
    torch.manual_seed(3)
    dense = SharedDense(8, 9, enabled=shared).eval()
    sizes = {"clf_bottleneck": 6, "activation": activation, "layernorm": layernorm}
    heads = ClassifierHeads(
        9 if shared else 8, GROUPS, label_ranges=label_ranges, **sizes
    ).eval()
    with torch.no_grad():  # no weight as it is at the start, slopes of PReLU too
        for weight in heads.parameters():
            weight.add_(0.3 * torch.rand_like(weight))
    stack = torch.nn.Sequential(*(layer for layer, _ in stack_heads(dense, heads)))
    return dense, heads, stack.eval(), torch.randn(4, 8)


@pytest.mark.parametrize("activation", sorted(_activations()))
@pytest.mark.parametrize("layernorm", [False, True])
def test_any_activation(activation, layernorm):
    _, heads, stack, embedding = both(activation, layernorm)
    with torch.no_grad():
        expected = heads(embedding)
        torch.testing.assert_close(stack(embedding).squeeze(1), expected)
        # as SpeechBrain's EncoderClassifier hands embeddings over
        torch.testing.assert_close(stack(embedding.unsqueeze(1)).squeeze(1), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_parts_of_the_stack(shared):
    dense, heads, stack, embedding = both(shared=shared, layernorm=True)
    stacked = StackedHeads(stack, len(GROUPS), shared)
    with torch.no_grad():
        st = dense(embedding)
        torch.testing.assert_close(stacked.shared_dense(embedding), st)
        torch.testing.assert_close(stacked.hidden(st), heads.hidden(st))
        torch.testing.assert_close(stacked(st), heads(st))


def test_scores_come_in_their_own_units():
    ranges = [None, [0, 100], [-3, 3], None, None, [1, 5]]
    _, heads, stack, embedding = both(label_ranges=ranges)
    with torch.no_grad():
        torch.testing.assert_close(stack(embedding).squeeze(1), heads(embedding))


def test_a_single_label_keeps_its_axis():
    heads = ClassifierHeads(8, [["a"]], clf_bottleneck=6)
    layers = stack_heads(SharedDense(8, 8, enabled=False), heads)
    stack = torch.nn.Sequential(*(layer for layer, _ in layers))
    assert stack(torch.randn(5, 1, 8)).shape == (5, 1, 1)
