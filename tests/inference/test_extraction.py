"""inference.extraction: parts of an embeddings file, and what becomes of them."""

import dataclasses
import json
import os
import re
import sys
import termios
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import write_recording
from tqdm import tqdm

from local.audio.loading import AudioFormat
from local.data.loaders import ScoreBatches
from local.data.recordings import FolderRecordings
from local.data.windows import LongRecordings
from local.inference import extraction
from local.inference.embeddings import EmbeddingKind
from local.inference.engine import Engine
from local.inference.extraction import Parts, embeddings_table, extract_parts
from local.utils import progress
from local.utils.errors import RunError
from tests.training.test_brain import small_brain

HPARAMS = {
    "audio": AudioFormat(8000),
    "eval_crop": None,
    "score_batches": ScoreBatches(None, 1000, num_workers=0, seed=1),
}
PT = EmbeddingKind("pt")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """So that few rows have many."""
    monkeypatch.setattr(extraction, "SMALLEST", 1)
    monkeypatch.setattr(extraction, "N_PARTS", 32)


def vector(*values):
    return np.array(values, dtype=np.float32)


# The file


def test_every_uid_has_a_row_in_order_and_null_where_there_is_no_embedding():
    vectors = {"a": vector(1.5, 2), "c": vector(-3, 0.1)}
    table = embeddings_table(["c", "b", "a", "007"], vectors, 2)
    assert table.column_names == ["uid", "embedding"]
    assert table.schema.field("uid").type == pa.string()
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    assert table["uid"].to_pylist() == ["c", "b", "a", "007"]
    tenth = float(np.float32(0.1))
    expected = [[-3.0, tenth], None, [1.5, 2.0], None]
    assert table["embedding"].to_pylist() == expected
    assert table["embedding"].null_count == 2


def made_parts(folder, n=70, metadata=None, state=""):
    """Of n rows; 70 are 24 parts of three, the last of one."""
    uids = [f"u{i}" for i in range(n)]
    return Parts(folder / "new" / "e.parquet", uids, 2, metadata or {}, state)


def fill(parts, numbers):
    for number in numbers:
        rows = parts.rows(number)
        parts.write(number, {uid: vector(number, 0.5) for uid in rows[:2]})


def test_parts_become_one_file_in_order(tmp_path):
    metadata = {"embedding_type": "ft", "sample_rate": 8000, "versions": {"x": "1.0"}}
    parts = made_parts(tmp_path, metadata=metadata)
    assert len(parts) == 24 and parts.rows(23) == ["u69"]
    fill(parts, [5, *range(5), *range(6, 24)])
    parts.merge()
    table = pq.read_table(parts.output_file)
    assert table["uid"].to_pylist() == parts.uids
    expected = [None if i % 3 == 2 else [i // 3, 0.5] for i in range(70)]
    assert table["embedding"].to_pylist() == expected
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    found = table.schema.metadata
    assert found[b"embedding_type"] == b"ft"
    assert json.loads(found[b"sample_rate"]) == 8000
    assert json.loads(found[b"versions"]) == {"x": "1.0"}
    assert [path.name for path in parts.output_file.parent.iterdir()] == ["e.parquet"]


def test_what_is_there_is_not_made_again(tmp_path):
    fill(made_parts(tmp_path), [0, 3])
    parts = made_parts(tmp_path)
    parts.discard_others()
    assert parts.missing() == [1, 2, *range(4, 24)]


@pytest.mark.parametrize("other", [{"metadata": {"x": "y"}}, {"state": "z"}, {"n": 69}])
def test_parts_of_another_run_are_not_used(tmp_path, other):
    fill(made_parts(tmp_path), [0, 3])
    parts = made_parts(tmp_path, **other)
    (parts.folder / "part-000001.parquet").write_bytes(b"PAR1 half of it")
    parts.discard_others()
    assert parts.missing() == list(range(len(parts)))


def test_a_failed_merge_leaves_the_old_file_and_the_parts_alone(tmp_path, monkeypatch):
    parts = made_parts(tmp_path)
    fill(parts, range(24))
    parts.output_file.write_bytes(b"old")

    def half(writer, table):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(pq.ParquetWriter, "write_table", half)
        parts.merge()
    assert parts.output_file.read_bytes() == b"old" and not parts.missing()
    parts.merge()
    assert pq.read_table(parts.output_file).num_rows == 70


def test_files_of_others_are_left_alone(tmp_path):
    parts = made_parts(tmp_path)
    fill(parts, range(24))
    (parts.folder / "notes.txt").write_text("mine")
    parts.merge()
    assert [path.name for path in parts.folder.iterdir()] == ["notes.txt"]


def test_parts_of_a_run_at_the_same_time_are_not_merged(tmp_path):
    parts = made_parts(tmp_path)
    fill(parts, range(24))
    fill(made_parts(tmp_path, state="another"), [3])
    with pytest.raises(RunError, match=r"000003\.parquet was made by another run"):
        parts.merge()


def test_many_rows_are_parts_of_bounded_size(tmp_path):
    parts = made_parts(tmp_path, n=20_000)
    assert parts.part_size == 256 and len(parts) == 79  # 78.125


# Extracting


@pytest.fixture
def recordings(tmp_path):
    """Nine recordings of 0.3 s to 1.1 s, one of 2.6 s; a manifest of them."""
    generator = np.random.default_rng(1)
    durations = {f"u{i}": 0.3 + 0.1 * i for i in range(9)} | {"long": 2.6}
    for uid, duration_s in durations.items():
        samples = 0.1 * generator.standard_normal(round(8000 * duration_s))
        write_recording(tmp_path / "audio" / uid, samples)
    rows = [
        {"ID": uid, "recording": uid, "duration": duration_s}
        | dict.fromkeys(("start_s", "end_s", "channel"), "")
        for uid, duration_s in durations.items()
    ]
    return FolderRecordings(tmp_path / "audio"), pd.DataFrame(rows)


def extract(
    tmp_path, recordings, name="e", share=(0, 1), most=0.0, pooling="mean", **changes
):
    """Extract with a small model; the parts and all rows, None or float32 [size]."""
    torch.manual_seed(1)
    engine = Engine(small_brain(tmp_path / "model"))
    folders, manifest = recordings
    uids = [*manifest["ID"], "unreadable"]
    windows = LongRecordings(most, 0.2, pooling).cut(manifest)
    parts = Parts(tmp_path / f"{name}.parquet", uids, 6, {}, "")
    batches = dataclasses.replace(HPARAMS["score_batches"], **changes)
    hparams = HPARAMS | {"score_batches": batches}
    extract_parts(parts, engine, PT, windows, folders, hparams, share)
    return parts


def embeddings(parts):
    parts.merge()
    table = pq.read_table(parts.output_file).to_pydict()
    return dict(zip(table["uid"], table["embedding"], strict=True))


def test_extraction_goes_on_where_it_was_killed(tmp_path, recordings, monkeypatch):
    parts = extract(tmp_path, recordings, "whole")
    expected = embeddings(parts)
    whole = parts.output_file.read_bytes()
    assert expected["unreadable"] is None and len(expected) == 11
    values, calls = Engine.values, []

    def killed_at_the_fourth(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return values(*args)

    monkeypatch.setattr(Engine, "values", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, recordings, "whole")
    calls.clear()
    monkeypatch.setattr(
        Engine, "values", lambda *args: calls.append(1) or values(*args)
    )
    parts = extract(tmp_path, recordings, "whole")
    assert len(calls) == 7  # ten parts hold a recording, three were there
    parts.merge()
    assert parts.output_file.read_bytes() == whole


def test_numbers_that_are_none_end_the_run(tmp_path, recordings, monkeypatch):
    def spoiled(*_):
        return torch.full((1, 6), float("nan"))

    monkeypatch.setattr(EmbeddingKind, "of", spoiled)
    with pytest.raises(RunError, match=r"not a finite number .* u0$"):
        extract(tmp_path, recordings)


def test_a_terminal_shows_the_speed_and_the_time_left(
    tmp_path, recordings, monkeypatch
):
    terminal, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    monkeypatch.setattr(progress, "tqdm", partial(tqdm, mininterval=0))  # every step
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        extract(tmp_path, recordings)
        shown = os.read(terminal, 2**16).decode()
    os.close(terminal)
    steps = re.findall(r"(\d+)/10 \[\d+:\d+<\d+:\d+, +[\d.]+(?:rec/s|s/rec)\]", shown)
    assert sorted(set(map(int, steps))) == list(range(1, 11)), shown


def test_several_processes_make_the_same_file(tmp_path, recordings):
    extract(tmp_path, recordings, "one").merge()
    extract(tmp_path, recordings, "two", share=(1, 2))
    extract(tmp_path, recordings, "two", share=(0, 2)).merge()
    one, two = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("changes", [{"eval_batch_size": 4}, {"num_workers": 2}])
def test_batches_and_workers_change_nothing(tmp_path, recordings, changes, monkeypatch):
    monkeypatch.setattr(
        extraction, "N_PARTS", 2
    )  # parts of six, so that there are batches
    alone = embeddings(extract(tmp_path, recordings))
    found = embeddings(extract(tmp_path, recordings, "b", **changes))
    assert list(alone) == list(found)
    for uid in recordings[1]["ID"]:
        difference = np.subtract(found[uid], alone[uid])
        assert np.linalg.norm(difference) < 1e-5 * np.linalg.norm(alone[uid])


@pytest.mark.parametrize(("pooling", "pool"), [("mean", np.mean), ("max", np.max)])
def test_a_long_recording_is_pooled_over_its_windows(
    tmp_path, recordings, pooling, pool
):
    """2.6 s in windows of 1.4 s: [0, 1.4] and [1.2, 2.6]."""
    folders, manifest = recordings
    options = {"most": 1.4, "pooling": pooling}
    found = embeddings(extract(tmp_path, recordings, **options))
    cut = manifest[-1:].assign(duration=1.4)
    cut = pd.concat(
        [
            cut.assign(ID="first", start_s=0.0, end_s=1.4),
            cut.assign(ID="second", start_s=1.2, end_s=2.6),
        ]
    )
    parts = embeddings(extract(tmp_path, (folders, cut), "parts"))
    expected = pool([parts["first"], parts["second"]], axis=0)
    np.testing.assert_allclose(found["long"], expected, rtol=1e-5, atol=1e-7)
    whole = embeddings(extract(tmp_path, recordings, "whole"))
    assert found["u0"] == whole["u0"] and found["long"] != whole["long"]
