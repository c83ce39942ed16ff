"""local.embeddings: `pt`, `st`, `ft` and the parquet file."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_brain import UIDS, dataset, small_brain

from local.embeddings import (
    EmbeddingKind,
    check_available,
    extract,
    write_embeddings,
)
from local.errors import UserError
from local.models import ClassifierHeads, Outputs

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
    assert EmbeddingKind("ft", mode).of(OUTPUTS, two_heads).tolist() == [expected]


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_pt_and_st_are_not_pooled(two_heads, mode):
    assert EmbeddingKind("pt", mode).of(OUTPUTS, two_heads) is OUTPUTS.pt
    assert EmbeddingKind("st", mode).of(OUTPUTS, two_heads) is OUTPUTS.st


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


def test_embeddings_of_a_dataset_are_those_of_the_layers(tmp_path):
    brain = small_brain(tmp_path, shared_dense=True, final_dropout=0.5)
    brain.modules.train()  # extraction must switch dropout and batch statistics off
    found = {
        name: extract(brain, dataset(), {"batch_size": 1}, EmbeddingKind(*name))
        for name in (("pt",), ("st",), ("ft", "mean"), ("ft", "sum"))
    }
    sizes = {
        name: {len(v) for v in vectors.values()} for name, vectors in found.items()
    }
    assert sizes == {
        ("pt",): {6},
        ("st",): {7},
        ("ft", "mean"): {5},
        ("ft", "sum"): {5},
    }
    shared, heads = brain.modules["shared_dense"], brain.modules["classifier"].heads
    for uid in UIDS:
        pt = torch.from_numpy(found["pt",][uid])
        assert pt.dtype == torch.float32
        with torch.no_grad():
            st = torch.relu(shared.dense(pt))
            ft = heads[0].dense(st) + heads[1].dense(st)
        np.testing.assert_allclose(found["st",][uid], st, atol=1e-5)
        np.testing.assert_allclose(found["ft", "sum"][uid], ft, atol=1e-5)
        np.testing.assert_allclose(found["ft", "mean"][uid], ft / 2, atol=1e-5)
    assert list(found["pt",]) == UIDS
    assert len({vector.tobytes() for vector in found["pt",].values()}) == len(UIDS)


# The file


def vector(*values):
    return np.array(values, dtype=np.float32)


def test_every_uid_has_a_row_in_order_and_null_where_there_is_no_embedding(tmp_path):
    path = tmp_path / "new folder" / "e.parquet"
    vectors = {"a": vector(1.5, 2), "c": vector(-3, 0.1)}
    write_embeddings(path, ["c", "b", "a", "007"], vectors, {})
    table = pq.read_table(path)
    assert table.column_names == ["uid", "embedding"]
    assert table.schema.field("uid").type == pa.string()
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    assert table["uid"].to_pylist() == ["c", "b", "a", "007"]
    tenth = float(np.float32(0.1))
    expected = [[-3.0, tenth], None, [1.5, 2.0], None]
    assert table["embedding"].to_pylist() == expected
    assert table["embedding"].null_count == 2


def test_metadata_is_text_or_json(tmp_path):
    path = tmp_path / "e.parquet"
    metadata = {"embedding_type": "ft", "sample_rate": 8000, "versions": {"x": "1.0"}}
    write_embeddings(path, ["a"], {"a": vector(1)}, metadata)
    found = pq.read_schema(path).metadata
    assert found[b"embedding_type"] == b"ft"
    assert json.loads(found[b"sample_rate"]) == 8000
    assert json.loads(found[b"versions"]) == {"x": "1.0"}


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "e.parquet"
    write_embeddings(path, ["a"], {"a": vector(1)}, {})
    before = path.read_bytes()

    def half(table, file):
        file.write(b"PAR1 half of it")
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(OSError, match="disk full"):
        write_embeddings(path, ["a"], {"a": vector(2)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
