"""Parts of an archive: what any number of processes make, each by itself.

Which rows are a part follows from the tables alone. A part is one parquet file, or one
object, whose name holds a fingerprint of its rows and of all that its numbers depend
on, and which is made only if it is not there. So the list of the files says what is
done; of two that make the same part one loses, and nothing is there twice.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from local.data.rows import Rows, seconds
from local.utils.errors import UserError

#: Rows and seconds of a part on average, at most; rows at least, where there are to be
#: so many parts that several processes have something to do. A part's end has little
#: to be computed beside it, so there are not more of them.
LARGEST, LARGEST_S, SMALLEST, N_PARTS = 256, 3600, 4, 16

#: How long a recording is taken to be of which the tables don't say it.
ASSUMED_S = 10.0

#: Columns of a part beside those of the result: windows of the recording, and why
#: there is nothing of it.
N_WINDOWS, REASON = "n_windows", "reason"


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows of an archive that follow each other.

    number: From 0, in the order of the rows.
    rows: Text, as `rows.Rows` gives it.
    name: Of the part's file.
    """

    number: int
    rows: pd.DataFrame
    name: str


class Plan:
    """Which rows are which part.

    Rows of excluded subjects are left out of their parts and move no other row.

    state: All that the numbers depend on beside the rows, as JSON takes it.
    n_rows (int): Without those of excluded subjects.
    seconds (float): Of all recordings, estimated where the tables don't say it.
    n_parts (int): At most; there may be fewer.

    Raises UserError: for what is wrong with the tables.
    """

    def __init__(self, rows: Rows, state: dict):
        self.rows, self.state = rows, json.dumps(state, sort_keys=True)
        n, n_ms, is_known = 0, 0, True

        def add(table):
            nonlocal n, n_ms, is_known
            lengths = seconds(table)
            is_known = is_known and bool((lengths > 0).all())
            n, n_ms = n + len(table), n_ms + _in_ms(lengths).sum()

        self.n_rows = rows.look_through(add)
        self._total, self._in_seconds = (n_ms, True) if is_known else (n, False)
        self.seconds = n_ms / 1000 if is_known else n * ASSUMED_S
        wanted = max(-(-n // LARGEST), int(self.seconds // LARGEST_S))
        self.n_parts = max(min(n, wanted), min(N_PARTS, -(-n // SMALLEST)))

    def parts(self, share: tuple[int, int] = (0, 1)) -> Iterator[Part]:
        """Yields the parts that are one process's, in their order.

        share: Which process it is, from 0, of how many.
        """
        index, n_processes = share
        for number, pieces in enumerate(self._cut()):
            if number % n_processes == index:
                rows = pd.concat(pieces, ignore_index=True)
                if len(rows):
                    name = f"part-{number:06d}-{self._fingerprint(rows)}.parquet"
                    yield Part(number, rows, name)

    @cached_property
    def names(self) -> list[str]:
        """Of all parts, in their order."""
        return [part.name for part in self.parts()]

    @property
    def fingerprint(self) -> str:
        """Of the whole."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()

    def _cut(self):
        """Yields the pieces of tables that are a part, of about equal weight."""
        before, slot, pieces = 0, 0, []
        for table, kept, weights in self._weighed():
            begins = before + np.cumsum(weights) - weights
            slots = begins * self.n_parts // self._total
            before, cuts = before + weights.sum(), np.diff(slots, prepend=slot)
            starts = set(np.flatnonzero(cuts).tolist())
            for begin, end in itertools.pairwise(sorted({0, *starts, len(table)})):
                if begin in starts:
                    yield pieces
                    pieces = []
                pieces.append(table[begin:end][kept[begin:end]])
            slot = slots[-1]
        yield pieces

    def _weighed(self):
        """Yields tables, which rows are kept, and whole numbers of ms, or ones."""
        for table, kept in self.rows.batches():
            weights = np.ones(len(table), dtype=np.int64)
            if self._in_seconds:
                weights = _in_ms(seconds(table))
            yield table, kept, weights

    def _fingerprint(self, rows):
        columns = {name: rows[name].tolist() for name in sorted(rows)}
        text = json.dumps([self.state, columns])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _in_ms(lengths):
    """Whole numbers above 0 of seconds, which add up to the same in any order."""
    return np.maximum(1, np.nan_to_num(np.rint(1000 * lengths))).astype(np.int64)


class Damaged(Exception):
    """A file is not the part that it should be; the message says why."""


def write_part(file, part: Part, table: pa.Table, metadata: dict):
    """Write the file of a part.

    file: Open for writing bytes.
    table: With `uid`, and `N_WINDOWS` and `REASON`.
    metadata: What there is to be known of it, JSON or text.
    """
    own = metadata | {"part": part.name}
    pq.write_table(table.replace_schema_metadata(as_text(own)), file)


def as_text(metadata: dict) -> dict[str, str]:
    """Values of a schema's metadata: text, or JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }


def read_part(
    path: Path, part: Part, uids: list[str], columns: list[str] | None = None
) -> pa.Table:
    """Read the file of a part.

    uids: That it must be of, in their order, as they are shown.
    columns: To be read beside `uid`; None: all.

    Raises Damaged: if it is not whole, or another part's.
    Raises FileNotFoundError: if it is not there.
    """
    try:
        # not pq.read_table, which takes folders such as site=A for columns
        file = pq.ParquetFile(path)
        table = file.read(columns=columns and ["uid", *columns])
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise Damaged("it is truncated or damaged") from error
    said = (file.schema_arrow.metadata or {}).get(b"part", b"").decode()
    if said != part.name:
        raise Damaged(
            "it was made of other rows or settings, or by another model"
            + (f": it is {said}" if said else "")
        )
    rows = pc.unique(table["uid"]).to_pylist()
    if rows != uids:
        raise Damaged(f"expected {len(uids)} recordings, found {len(rows)} or others")
    return table


def failures(table):
    """`uid` and `reason` of the recordings of a part that could not be used."""
    rows = table.select(["uid", REASON]).to_pylist()
    return {row["uid"]: row[REASON] for row in rows if row[REASON] is not None}


def refuse_incomplete(
    missing: list[str], damaged: dict[str, str], strange: list[str], place: str
):
    """Refuse to put parts together that are not all there and whole.

    missing: Names.
    damaged: Names, and what is wrong.
    strange: Names of files that are parts of something else, and stay.
    place: Where they are.

    Raises UserError.
    """
    told = [f"{name}: {reason}" for name, reason in damaged.items()]
    told += [f"{name} is not there" for name in missing[:20]]
    if len(missing) > 20:
        told.append(f"and {len(missing) - 20} more are not there")
    told += [f"{name} is of other rows, settings or another model" for name in strange]
    if missing or damaged:
        raise UserError(
            f"Of the parts in {place} {len(missing) + len(damaged)} can't be used. Run "
            "all shares again, without --merge: each makes those of its own that are "
            "missing or damaged, and leaves the others:",
            told,
        )
