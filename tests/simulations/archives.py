"""What an archive of many rows costs beside its recordings: planning, listing, merging.

    PYTHONPATH=. python tests/simulations/archives.py [--n_rows=10000000]
        [--n_merged=200000]

Planning is that of a parquet table; parts hold made-up embeddings of 192 numbers, and
nothing is computed. Prints CPU seconds and peak memory of each step, each in a process
of its own.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
from archives import OPTIONS

from local.data.rows import Rows
from local.inference.archive import finish
from local.inference.extraction import Embeddings, embeddings_table
from local.inference.maker import Maker
from local.inference.parts import N_WINDOWS, REASON, Plan, write_part
from local.storage.part_files import LocalFiles

SIZE = 192
NOBODY = {"data_folder": "/", "labels_file": None, "split_folder": None}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n_rows", type=int, default=10_000_000)
    parser.add_argument("--n_merged", type=int, default=200_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for n in (given.n_merged // 4, given.n_merged):
            _measure(f"merge {n:,} rows", _merge, Path(folder), n)
        for n in (given.n_rows // 10, given.n_rows):
            _measure(f"plan {n:,} rows", _plan, Path(folder), n)
        _measure("list its parts", _list, Path(folder), given.n_rows)


def _measure(title, step, folder, n):
    """Run a step in a process of its own; print its seconds and peak memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_run, args=(step, folder, n, queue))
    process.start()
    print(f"{title}: {queue.get()}", flush=True)
    process.join()


def _run(step, folder, n, queue):
    use = step(folder, n)
    before_mb, begin = _peak_mb(), time.process_time()
    said = use()
    taken_s = time.process_time() - begin
    memory = f"{_peak_mb():.0f} MB (before {before_mb:.0f})"
    queue.put(f"{said}, {taken_s:.1f} s of CPU time, {memory}")


def _peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _table(folder, n):
    """A parquet table of n segments of 10 s."""
    file = folder / f"{n}.parquet"
    schema = pa.schema([("uid", pa.string()), ("audio", pa.string())])
    for name in ("start_s", "end_s"):
        schema = schema.append(pa.field(name, pa.float32()))
    with pq.ParquetWriter(file, schema) as writer:
        for begin in range(0, n, 100_000):
            numbers = np.arange(begin, min(n, begin + 100_000))
            table = pd.DataFrame({"uid": [f"r{i:09d}" for i in numbers]})
            table["audio"] = [f"audio{i // 100:07d}" for i in numbers]
            table["start_s"] = (numbers % 100 * 10).astype("float32")
            table["end_s"] = table["start_s"] + 10
            writer.write_table(
                pa.Table.from_pandas(table, schema, preserve_index=False)
            )
    return str(file)


def _plan(folder, n):
    file = _table(folder, n)
    return lambda: f"{len(Plan(Rows([file], NOBODY), {}).names):,} parts"


def _list(folder, n):
    parts = folder / "parts"
    parts.mkdir()
    for number in range(n // 256):
        (parts / f"part-{number:06d}-0123456789abcdef.parquet").touch()
    return lambda: f"{len(LocalFiles(parts).names()):,} names"


class _Merging(Maker):
    """A maker that needs no model."""

    about, state, pseudonyms = {"windowed": {}}, {}, None

    def __init__(self, place):
        self.wanted = object.__new__(Embeddings)
        self.wanted.size = SIZE
        self.options = OPTIONS | {"output_file": str(place)}
        self.place = f"{place}.parts"
        self.files, self.n_failed = LocalFiles(Path(self.place)), 0


def _merge(folder, n):
    maker = _Merging(folder / f"merged{n}.parquet")
    plan = Plan(Rows([_table(folder, n)], NOBODY), {})
    values = np.random.default_rng(1).standard_normal((2**12, SIZE), dtype=np.float32)
    for part in plan.parts():
        uids = part.rows["uid"].tolist()
        known = {uid: values[i] for i, uid in enumerate(uids)}
        table = embeddings_table(uids, known, SIZE)
        table = table.append_column(N_WINDOWS, pa.array([1] * len(uids), pa.int32()))
        table = table.append_column(REASON, pa.nulls(len(uids), pa.string()))
        with maker.files.scratch() as path:
            with path.open("wb") as file:
                write_part(file, part, table, {})
            path.replace(maker.files.folder / part.name)
    return lambda: (
        f"{len(plan.names):,} parts, {finish(maker, plan, None, True)[0]} failed"
    )


if __name__ == "__main__":
    main()
