"""inference.extraction: parts of an embeddings file, and what becomes of them."""

import dataclasses
import itertools
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
from local.data.rows import Rows
from local.data.windows import LongRecordings
from local.inference import parts as plans
from local.inference.archive import finish
from local.inference.embeddings import EmbeddingKind
from local.inference.engine import Engine
from local.inference.extraction import embeddings_table
from local.inference.parts import Plan
from local.utils import progress
from local.utils.errors import RunError, UserError
from tests.archives import Untrained, archive, merged
from tests.training.test_brain import small_brain

HPARAMS = {
    "sample_rate": 8000,
    "audio": AudioFormat(8000),
    "eval_crop": None,
    "score_batches": ScoreBatches(None, 1000, num_workers=0, seed=1),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """So that few rows have many."""
    monkeypatch.setattr(plans, "SMALLEST", 1)
    monkeypatch.setattr(plans, "N_PARTS", 32)


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


# Which rows are which part


NOBODY = {"data_folder": "/", "labels_file": None, "split_folder": None}


def plan_of(folder, table, state="", values=NOBODY):
    file = folder / "rows.csv"
    pd.DataFrame(table).to_csv(file, index=False)
    return Plan(Rows([str(file)], values), {"state": state})


def uids_of(plan, share=(0, 1)):
    return [part.rows["uid"].tolist() for part in plan.parts(share)]


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def test_rows_are_parts_of_about_equal_size(tmp_path):
    plan = plan_of(tmp_path, {"uid": [f"u{i}" for i in range(70)]})
    parts = list(plan.parts())
    assert len(parts) == plan.n_parts == 32
    assert {len(part.rows) for part in parts} == {2, 3}  # 70 / 32
    assert flat(uids_of(plan)) == [f"u{i}" for i in range(70)]
    assert plan.n_rows == 70 and plan.seconds == 700  # of 10 s, as far as one knows
    shares = [uids_of(plan, (i, 3)) for i in range(3)]
    assert sorted(flat(shares)) == sorted(uids_of(plan))


def test_parts_are_of_about_equal_seconds_where_the_table_has_them(
    tmp_path, monkeypatch
):
    """Of 1, 1, 2, 4, 8 s: two halves of 8 s."""
    monkeypatch.setattr(plans, "N_PARTS", 2)
    uids = list("abcde")
    expected = [["a", "b", "c", "d"], ["e"]]
    plan = plan_of(tmp_path, {"uid": uids, "duration": [1, 1, 2, 4, 8]})
    assert uids_of(plan) == expected and plan.seconds == 16
    segments = {"start_s": [5, 0, "", 1, 2], "end_s": [6, 1, 2, 5, 10]}
    assert uids_of(plan_of(tmp_path, {"uid": uids, **segments})) == expected
    without = plan_of(tmp_path, {"uid": uids, "duration": [1, 1, 2, "", 8]})
    assert uids_of(without) == [["a", "b", "c"], ["d", "e"]]


def test_many_rows_are_parts_of_bounded_size(tmp_path):
    plan = plan_of(tmp_path, {"uid": [f"u{i}" for i in range(20_000)]})
    assert max(map(len, uids_of(plan))) == 254 and plan.n_parts == 79  # 253.2, 78.1
    hours = {"uid": [f"u{i}" for i in range(100)], "duration": [3600] * 100}
    assert plan_of(tmp_path, hours).n_parts == 100


def test_names_change_with_rows_and_settings_only(tmp_path):
    table = pd.DataFrame({"uid": [f"u{i}" for i in range(70)], "age": "50"})
    names = plan_of(tmp_path, table).names
    assert plan_of(tmp_path, table.assign(age="51", more="x")).names == names
    assert not set(plan_of(tmp_path, table, state="other").names) & set(names)
    table.loc[40, "uid"] = "other"
    changed = plan_of(tmp_path, table).names
    assert [a == b for a, b in zip(names, changed, strict=True)].count(False) == 1


def test_excluded_subjects_move_no_other_row(tmp_path):
    table = pd.DataFrame({"uid": [f"u{i}" for i in range(64)], "subject": "s"})
    table.loc[10, "subject"] = "gone"
    names = plan_of(tmp_path, table).names
    (tmp_path / "excluded_subjects.txt").write_text("gone\n")
    values = NOBODY | {"data_folder": str(tmp_path / "audio")}
    (tmp_path / "audio").mkdir()
    plan = plan_of(tmp_path, table, values=values)
    assert [n for n, name in enumerate(plan.names) if name != names[n]] == [5]
    assert "u10" not in flat(uids_of(plan)) and plan.n_rows == 63


def test_parquet_has_the_parts_of_the_csv(tmp_path, monkeypatch):
    monkeypatch.setattr("local.data.rows.N_AT_A_TIME", 7)  # parts cross its batches
    table = pd.DataFrame({"uid": range(70), "end_s": np.arange(70) / 4 + 0.125})
    names = plan_of(tmp_path, table).names
    table["uid"] = table["uid"].astype(str)
    table.assign(list=[[1]] * 70).to_parquet(tmp_path / "rows.parquet")
    rows = Rows([str(tmp_path / "rows.parquet")], NOBODY)
    assert Plan(rows, {"state": ""}).names == names


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_uid_in_two_tables_is_told(tmp_path, kind):
    files = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for file, uids in zip(files, (["u1", "u2"], ["u3", "u1"]), strict=True):
        table = pd.DataFrame({"uid": uids})
        table.to_csv(file, index=False) if kind == "csv" else table.to_parquet(file)
    with pytest.raises(UserError, match=f"uid in several rows: 'u1' .*a.{kind}"):
        Plan(Rows([*map(str, files)], NOBODY), {})


def test_wrong_parquet_is_told(tmp_path):
    file = tmp_path / "rows.parquet"

    def message():
        with pytest.raises(UserError) as raised:
            Plan(Rows([str(file)], NOBODY), {})
        return str(raised.value)

    file.write_bytes(b"PAR1")
    assert f"{file} can't be read as parquet" in message()
    pd.DataFrame({"name": ["a"]}).to_parquet(file)
    assert "1 needed column missing: 'uid'" in message()
    pd.DataFrame({"uid": pd.Series([], dtype=str)}).to_parquet(file)
    assert "rows.parquet holds no recordings" in message()
    pd.DataFrame({"uid": ["a", "b/c"], "start_s": [1.0, -1.0]}).to_parquet(file)
    assert "no name of a folder" in message() and "'start_s'" in message()


# Extracting


@pytest.fixture
def recordings(tmp_path):
    """Nine recordings of 0.3 s to 1.1 s, one of 2.6 s: their folder and names."""
    generator = np.random.default_rng(1)
    durations = {f"u{i}": 0.3 + 0.1 * i for i in range(9)} | {"long": 2.6}
    for uid, duration_s in durations.items():
        samples = 0.1 * generator.standard_normal(round(8000 * duration_s))
        write_recording(tmp_path / "audio" / uid, samples)
    return tmp_path / "audio", list(durations)


def planned(
    tmp_path, recordings, name="e", most=0.0, pooling="mean", uids=None, **changes
):
    """A maker and a plan, with a small model."""
    torch.manual_seed(1)
    folder, known = recordings
    batches = dataclasses.replace(HPARAMS["score_batches"], **changes)
    hparams = HPARAMS | {
        "score_batches": batches,
        "windows": LongRecordings(most, 0.2, pooling),
    }
    brain = small_brain(tmp_path / "model")
    experiment = Untrained(tmp_path / "model", brain, hparams, folder)
    experiment.hparams["num_workers"] = batches.num_workers
    rows = [*known, "unreadable"] if uids is None else uids
    return archive(experiment, rows, tmp_path / f"{name}.parquet")


def extract(tmp_path, recordings, name="e", share=(0, 1), **options):
    """Make a share of the parts; the maker and the plan."""
    maker, plan = planned(tmp_path, recordings, name, **options)
    maker.make_all(plan, share)
    return maker, plan


def embeddings(maker, plan):
    merged(maker, plan)
    table = pq.read_table(maker.options["output_file"]).to_pydict()
    return dict(zip(table["uid"], table["embedding"], strict=True))


def test_parts_become_one_file_in_order(tmp_path, recordings):
    maker, plan = extract(tmp_path, recordings)
    (tmp_path / "e.parquet.parts" / "notes.txt").write_text("mine")
    found = embeddings(maker, plan)
    assert list(found) == [*recordings[1], "unreadable"]
    assert [uid for uid, value in found.items() if value is None] == ["unreadable"]
    schema = pq.read_schema(tmp_path / "e.parquet")
    assert schema.field("embedding").type == pa.list_(pa.float32(), 6)
    said = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    assert (said["embedding_type"], said["backend"]) == ("pt", "eager")
    assert json.loads(said["sample_rate"]) == 8000
    assert json.loads(said["windowed"])["rows"] == []
    failed = (tmp_path / "e.parquet.failed.csv").read_text().splitlines()
    assert failed[1].startswith("unreadable,there is no folder")
    # what is not ours stays
    left = [path.name for path in (tmp_path / "e.parquet.parts").iterdir()]
    assert left == ["notes.txt"]


def test_a_failed_merge_leaves_the_old_file_and_the_parts_alone(
    tmp_path, recordings, monkeypatch
):
    maker, plan = extract(tmp_path, recordings)
    (tmp_path / "e.parquet").write_bytes(b"old")

    def half(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(pq.ParquetWriter, "write_table", half)
        merged(maker, plan)
    assert (tmp_path / "e.parquet").read_bytes() == b"old"
    assert maker.files.names() == set(plan.names)
    merged(maker, plan)
    assert pq.read_table(tmp_path / "e.parquet").num_rows == 11


def test_of_two_writers_of_a_part_one_loses(tmp_path, recordings):
    maker, plan = planned(tmp_path, recordings)
    part = next(plan.parts())
    path = tmp_path / "e.parquet.parts" / part.name

    def write_after_another(file):
        assert maker.files.create(part.name, lambda other: other.write(b"first"))
        file.write(b"second")

    assert not maker.files.create(part.name, write_after_another)
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == [part.name]


def test_of_two_that_put_parts_together_the_later_leaves_the_file(
    tmp_path, recordings, monkeypatch
):
    maker, plan = extract(tmp_path, recordings)
    write = maker.wanted.write

    def write_before_another(*args):
        write(*args)
        monkeypatch.undo()
        finish(maker, plan, (0, 2), False)

    monkeypatch.setattr(maker.wanted, "write", write_before_another)
    with pytest.raises(FileNotFoundError):
        finish(maker, plan, (1, 2), False)
    assert pq.read_table(tmp_path / "e.parquet").num_rows == 11
    assert maker.files.names() == {"_complete.json"}


def test_parts_that_are_not_whole_are_found_by_name(tmp_path, recordings):
    maker, plan = extract(tmp_path, recordings)
    merged(*extract(tmp_path, recordings, "whole"))
    folder, names = tmp_path / "e.parquet.parts", plan.names
    content = {name: (folder / name).read_bytes() for name in names}
    (folder / names[1]).write_bytes(content[names[1]][:-10])  # cut
    (folder / names[3]).write_bytes(content[names[4]])  # another's
    (folder / names[5]).unlink()
    strange = names[5].replace(names[5][-24:-8], 16 * "0")
    (folder / strange).write_bytes(content[names[5]])
    with pytest.raises(UserError) as raised:
        merged(maker, plan)
    message = str(raised.value)
    assert ".parts 3 can't be used" in message
    assert f"{names[1]}: it is truncated or damaged" in message
    assert f"{names[3]}: it was made of other rows or settings" in message
    assert f"{names[5]} is not there" in message
    assert f"{strange} is of other rows, settings or another model" in message
    assert not any(name in message for name in (names[0], names[2]))
    assert not (tmp_path / "e.parquet").exists()
    # who makes parts makes these again
    maker.make_all(plan, (0, 1))
    merged(maker, plan)
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert (tmp_path / "e.parquet").read_bytes() == whole
    assert maker.files.names() == {strange}  # it may be somebody's


def test_parts_of_another_model_are_found_by_name(tmp_path, recordings):
    _, before = extract(tmp_path, recordings)
    checkpoint = tmp_path / "model" / "save" / "CKPT+0"
    checkpoint.mkdir(parents=True)
    (checkpoint / "embedding_model.ckpt").write_bytes(b"other weights")
    maker, plan = planned(tmp_path, recordings)
    assert not set(plan.names) & set(before.names)
    folder = tmp_path / "e.parquet.parts"
    for own, other in zip(plan.names[:2], before.names[:2], strict=True):
        (folder / other).rename(folder / own)  # as somebody might
    with pytest.raises(UserError) as raised:
        merged(maker, plan)
    message = str(raised.value)
    for own, other in zip(plan.names[:2], before.names[:2], strict=True):
        assert re.search(
            f"{own}: it was made .* by another model: it is {other}", message
        )
    assert message.count("is of other rows, settings or another model") == 9
    assert all(f"{name} is of other" in message for name in before.names[2:])


def test_parts_of_a_changed_file_say_so(tmp_path, recordings):
    """Somebody has taken a row away."""
    maker, plan = extract(tmp_path, recordings, uids=[*recordings[1], "x", "y"] * 1)
    monkey = next(part for part in plan.parts() if len(part.rows) == 1)
    path = tmp_path / "e.parquet.parts" / monkey.name
    table = pq.ParquetFile(path).read()
    pq.write_table(table[:0], path)
    with pytest.raises(UserError, match=f"{monkey.name}: expected 1 recordings, found"):
        merged(maker, plan)


def test_kills_at_random_leave_the_undisturbed_file(tmp_path, recordings, monkeypatch):
    """Shards end at any moment, others begin, their number changes; 50 times."""
    rows = [
        {"uid": f"{uid}-{i}", "audio": uid} for i in range(3) for uid in recordings[1]
    ]
    table = pd.DataFrame([*rows, {"uid": "unreadable", "audio": "unreadable"}])
    merged(*extract(tmp_path, recordings, "whole", uids=table))
    whole = (tmp_path / "whole.parquet").read_bytes()
    generator, n_kills = np.random.default_rng(1), 0
    maker, plan = planned(tmp_path, recordings, "e", uids=table)
    link, left = os.link, 0

    def killed(*paths):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        link(*paths)

    monkeypatch.setattr(os, "link", killed)
    while n_kills < 50:
        count = int(generator.choice([4, 7]))
        left = int(generator.integers(1, 4))
        try:
            maker.make_all(plan, (int(generator.integers(count)), count))
        except KeyboardInterrupt:
            n_kills += 1
        made = sorted(maker.files.names())
        if len(made) == len(plan.names):  # all: some are lost again
            maker.files.remove(generator.choice(made, len(made) // 2, replace=False))
    left = 0
    for share in ((0, 7), *((i, 4) for i in range(4))):
        maker.make_all(plan, share)
    merged(maker, plan)
    assert (tmp_path / "e.parquet").read_bytes() == whole
    assert pq.read_table(tmp_path / "e.parquet")["uid"].to_pylist() == [*table["uid"]]


def test_extraction_goes_on_where_it_was_killed(tmp_path, recordings, monkeypatch):
    maker, plan = extract(tmp_path, recordings, "whole")
    expected = embeddings(maker, plan)
    whole = (tmp_path / "whole.parquet").read_bytes()
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
    maker, plan = extract(tmp_path, recordings, "whole")
    assert len(calls) == 7  # ten parts hold a recording, three were there
    merged(maker, plan)
    assert (tmp_path / "whole.parquet").read_bytes() == whole


def test_numbers_that_are_none_end_the_run(tmp_path, recordings, monkeypatch):
    def spoiled(*_):
        return torch.full((1, 6), float("nan"))

    monkeypatch.setattr(EmbeddingKind, "of", spoiled)
    with pytest.raises(RunError, match=r"not a finite number .* u0$"):
        extract(tmp_path, recordings)


def test_stop_tells_all_before_anything_is_computed(tmp_path, recordings):
    maker, plan = planned(tmp_path, recordings, uids=["u0", "no", "u1", "neither"])
    with pytest.raises(UserError, match=r"(?s)2 recordings can't.*no: .*neither: "):
        maker.refuse_bad(plan, (0, 1))
    assert not maker.files.names()


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
    steps = re.findall(r"(\d+)/11 \[\d+:\d+<\d+:\d+, +[\d.]+(?:rec/s|s/rec)\]", shown)
    assert sorted(set(map(int, steps))) == list(range(1, 12)), shown


def test_several_processes_make_the_same_file(tmp_path, recordings):
    merged(*extract(tmp_path, recordings, "one"))
    extract(tmp_path, recordings, "two", share=(1, 2))
    merged(*extract(tmp_path, recordings, "two", share=(0, 2)))
    one, two = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("changes", [{"eval_batch_size": 4}, {"num_workers": 2}])
def test_batches_and_workers_change_nothing(tmp_path, recordings, changes, monkeypatch):
    # parts of six, so that there are batches
    monkeypatch.setattr(plans, "N_PARTS", 2)
    alone = embeddings(*extract(tmp_path, recordings))
    found = embeddings(*extract(tmp_path, recordings, "b", **changes))
    assert list(alone) == list(found)
    for uid in recordings[1]:
        difference = np.subtract(found[uid], alone[uid])
        assert np.linalg.norm(difference) < 1e-5 * np.linalg.norm(alone[uid])


@pytest.mark.parametrize(("pooling", "pool"), [("mean", np.mean), ("max", np.max)])
def test_a_long_recording_is_pooled_over_its_windows(
    tmp_path, recordings, pooling, pool
):
    """2.6 s in windows of 1.4 s: [0, 1.4] and [1.2, 2.6]."""
    options = {"most": 1.4, "pooling": pooling}
    found = embeddings(*extract(tmp_path, recordings, **options))
    metadata = pq.read_schema(tmp_path / "e.parquet").metadata
    assert json.loads(metadata[b"windowed"])["rows"] == [9]
    cut = {"uid": ["first", "second"], "audio": "long", "start_s": [0, 1.2]}
    cut = pd.DataFrame(cut).assign(end_s=[1.4, 2.6])
    parts = embeddings(*extract(tmp_path, recordings, "parts", uids=cut))
    expected = pool([parts["first"], parts["second"]], axis=0)
    np.testing.assert_allclose(found["long"], expected, rtol=1e-5, atol=1e-7)
    whole = embeddings(*extract(tmp_path, recordings, "whole"))
    assert found["u0"] == whole["u0"] and found["long"] != whole["long"]
