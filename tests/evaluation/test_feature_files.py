"""Files of embeddings as features: what they hold, and what is refused."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import user_error

from local.evaluation import feature_files
from local.inference.extraction import embeddings_table
from local.utils.errors import UserError


def vectors(uids, size=3):
    return {uid: np.arange(size, dtype=np.float32) + i for i, uid in enumerate(uids)}


def write(path, uids, embeddings):
    """A file of two columns as it comes, lists of numbers or None."""
    pq.write_table(pa.table({"uid": uids, "embedding": embeddings}), path)
    return path


def test_embeddings_come_back_by_split_in_order(tmp_path):
    path = tmp_path / "e.parquet"
    uids = ["a", "b", "gone", "c", "d"]
    embeddings = vectors(uids)
    del embeddings["gone"]
    pq.write_table(embeddings_table(uids, embeddings, 3), path)
    found = feature_files.read_features(path, {"train": ["d", "a"], "test": ["c"]})
    assert found["train"].tolist() == [[4, 5, 6], [0, 1, 2]]
    assert found["test"].tolist() == [[3, 4, 5]]


def test_other_lists_of_numbers_will_do(tmp_path):
    frame = pd.DataFrame({"uid": [7, 8], "embedding": [[1.0, 2.0], [3.0, 4.0]], "n": 1})
    frame.to_parquet(tmp_path / "e.parquet")
    found = feature_files.read_features(tmp_path / "e.parquet", {"test": ["8", "7"]})
    assert found["test"].tolist() == [[3, 4], [1, 2]]


def refusal(path, uids):
    return user_error(feature_files.read_features, path, uids)


def test_recordings_without_an_embedding_are_counted_and_named(tmp_path):
    path = tmp_path / "e.parquet"
    there = vectors(["a", "b"])
    pq.write_table(embeddings_table(["a", "b", "null"], there, 3), path)
    absent = [f"x{i}" for i in range(9)]
    text = refusal(path, {"train": ["a", *absent], "test": ["b", "null"]})
    assert "train: no embedding of 9 recordings: x0, x1, x2, x3, x4, …" in text
    assert "test: no embedding of 1 recordings: null" in text
    assert "x5" not in text
    text = refusal(path, {"test": ["nobody"]})
    assert "no embedding of 1 recordings: nobody" in text


def test_what_is_ambiguous_or_no_number_is_refused(tmp_path):
    uids = ["a", "b", "b", "c", "other", "other"]
    values = [[1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [np.inf, 1.0], [1.0, 2.0], [0.0, 0.0]]
    path = write(tmp_path / "e.parquet", uids, values)
    text = refusal(path, {"test": ["a", "b", "c"]})
    assert "more than one embedding of 1 recordings: b" in text
    assert "not finite of 1 recordings: c" in text and "other" not in text
    found = feature_files.read_features(path, {"test": ["a"]})
    assert found["test"].tolist() == [[1, 2]]
    path = write(tmp_path / "gap.parquet", ["a"], [[1.0, None]])
    assert "not finite of 1 recordings: a" in refusal(path, {"test": ["a"]})
    path = write(tmp_path / "sizes.parquet", ["a", "b"], [[1.0, 2.0], [3.0]])
    assert "one length, found 1, 2" in refusal(path, {"test": ["a", "b"]})
    path = write(tmp_path / "empty.parquet", ["a"], pa.array([[]], pa.list_(pa.int8())))
    assert "one length, found 0" in refusal(path, {"test": ["a"]})


def test_what_is_no_such_file_is_refused(tmp_path):
    uids = {"test": ["a"]}
    assert "can't be read" in refusal(tmp_path / "none.parquet", uids)
    assert "can't be read" in refusal(tmp_path, uids)
    text_file = tmp_path / "text.parquet"
    text_file.write_text("uid,embedding\na,1\n")
    assert "can't be read as parquet" in refusal(text_file, uids)
    path = tmp_path / "columns.parquet"
    pq.write_table(pa.table({"uid": ["a"], "vector": [[1.0]]}), path)
    text = refusal(path, uids)
    assert "uid and embedding" in text and "vector (list" in text
    for wrong in ([1.0], ["text"], [["text"]]):
        text = refusal(write(path, ["a"], wrong), uids)
        assert "uid and embedding" in text


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.parquet"
    table = pa.table({"uid": ["a"], "embedding": [[0.0] * 100]})
    pq.write_table(table, path)
    monkeypatch.setattr(feature_files, "MAX_VALUES", 100)
    with pytest.raises(UserError, match="holds 101 numbers"):
        feature_files.read_features(path, {"test": ["a"]})
