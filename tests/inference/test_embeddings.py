"""inference.embeddings, inference.engine: `pt`, `st` and `ft` of recordings."""

import dataclasses

import numpy as np
import pytest
import torch

from local.inference.embeddings import EmbeddingKind, check_available
from local.inference.engine import Engine
from local.model.heads import ClassifierHeads, Outputs
from local.utils.errors import UserError
from tests.training.test_brain import UIDS, dataset, small_brain

ORDER = [3, 1, 0, 2, 7, 6, 5, 4]
OUTPUTS = Outputs(
    pt=torch.tensor([[1.0, 2.0, 3.0]]),
    st=torch.tensor([[3.0, 5.0]]),
    logits=torch.tensor([[7.0, 8.0]]),
)


@pytest.fixture
def two_heads():
    """Dense layers x → (x1, x2) and x → (2 x1 + 1, −4 x2)."""
    heads = ClassifierHeads(2, [["a"], ["b"]], clf_bottleneck=2, layernorm=True).eval()
    first, second = (head.dense for head in heads.heads)
    with torch.no_grad():
        first.weight.copy_(torch.eye(2))
        first.bias.zero_()
        second.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, -4.0]]))
        second.bias.copy_(torch.tensor([1.0, 0.0]))
    return heads


# Which embedding


@pytest.mark.parametrize(
    ("mode", "expected"), [("sum", [10.0, -15.0]), ("mean", [5.0, -7.5])]
)
def test_ft_pools_the_first_layers_of_the_heads(two_heads, mode, expected):
    """(3, 5) → (3, 5) and (7, −20), neither normalised nor passed through ReLU."""
    outputs = dataclasses.replace(OUTPUTS, hidden=two_heads.hidden(OUTPUTS.st))
    assert EmbeddingKind("ft", mode).of(outputs).tolist() == [expected]


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_pt_and_st_are_not_pooled(mode):
    assert EmbeddingKind("pt", mode).of(OUTPUTS) is OUTPUTS.pt
    assert EmbeddingKind("st", mode).of(OUTPUTS) is OUTPUTS.st


@pytest.mark.parametrize("arguments", [("xt",), ("logits",), (None,), ("ft", "max")])
def test_another_name_is_refused(arguments):
    with pytest.raises(UserError, match="must be one of"):
        EmbeddingKind(*arguments)


def test_st_needs_a_shared_dense_layer(tmp_path):
    without = small_brain(tmp_path / "without").modules
    shared = small_brain(tmp_path / "with", shared_dense=True).modules
    check_available(EmbeddingKind("pt"), without)
    check_available(EmbeddingKind("ft"), without)
    check_available(EmbeddingKind("st"), shared)
    with pytest.raises(UserError, match="without one"):
        check_available(EmbeddingKind("st"), without)


# Extracting


def test_embeddings_are_those_of_the_layers(tmp_path):
    brain = small_brain(tmp_path, shared_dense=True, final_dropout=0.5)
    brain.modules.train()  # extraction must switch dropout and batch statistics off
    Engine(brain)
    kinds = [("pt",), ("st",), ("ft", "mean"), ("ft", "sum")]
    found = {name: {} for name in kinds}
    for batch, outputs in brain.run_over(
        dataset(), {"batch_sampler": [[i] for i in ORDER]}
    ):
        for name, vectors in found.items():
            values = EmbeddingKind(*name).of(outputs)
            vectors.update(zip(batch.id, values, strict=True))
    sizes = {name: EmbeddingKind(*name).size_in(brain.modules) for name in kinds}
    assert list(sizes.values()) == [6, 7, 5, 5]
    shared, heads = brain.modules["shared_dense"], brain.modules["classifier"].heads
    for uid in UIDS:
        pt = found["pt",][uid]
        assert pt.dtype == torch.float32
        with torch.no_grad():
            st = torch.relu(shared.dense(pt))
            ft = heads[0].dense(st) + heads[1].dense(st)
        np.testing.assert_allclose(found["st",][uid], st, atol=1e-5)
        np.testing.assert_allclose(found["ft", "sum"][uid], ft, atol=1e-5)
        np.testing.assert_allclose(found["ft", "mean"][uid], ft / 2, atol=1e-5)
        assert all(len(found[name][uid]) == size for name, size in sizes.items())
    assert list(found["pt",]) == [UIDS[i] for i in ORDER]
    assert len({tuple(vector.tolist()) for vector in found["pt",].values()}) == 8
