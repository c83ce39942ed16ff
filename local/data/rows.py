"""The rows of tables of any length, a batch at a time: of CSV files, or of parquet."""

from array import array
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from local.data import corpus, splits
from local.storage.inputs import Storage, told_as
from local.utils.errors import UserError
from local.utils.problems import Place, Problem
from local.utils.spelling import composed

#: Rows of a parquet file that are read at a time.
N_AT_A_TIME = 2**16

#: Columns that say which audio is meant, and how long it is.
COLUMNS = ("uid", *splits.OPTIONAL_COLUMNS, "duration")


class Rows:
    """The rows of tables, in their order, as often as they are asked for.

    Of a CSV they are kept; a parquet file is read anew each time.

    addresses: Of the tables; those that end in .parquet are parquet.
    values: Of the experiment, with `data_folder` for this run.
    own_data: Whether that is the one that the model was trained on.
    columns: Those that are kept, as far as a table has them; None: all.
    check: Further problems of a table, with the name of its file.
    notes (list of str): Who was left out, once all rows were looked through.

    Raises UserError: if a file or the data folder is not there.
    """

    def __init__(
        self,
        addresses: list[str],
        values: dict,
        own_data: bool = True,
        columns: tuple[str, ...] | None = COLUMNS,
        check: Callable = lambda table, name: [],
    ):
        storage, self.notes = Storage.of(values), []
        self.files = {
            address: corpus.local_split(address, values, storage)
            for address in addresses
        }
        self.excluded = corpus.find_exclusions(values, storage, self.notes, own_data)
        self._columns, self._check, self._tables = columns, check, {}

    @property
    def title(self) -> str:
        """The names of the tables."""
        return ", ".join(file.stem for file in self.files.values())

    def batches(self) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """Yields tables of text and, of each row, whether it is kept.

        Rows of excluded subjects are not.
        """
        for address in self.files:
            for table, problems in self._read(address, checks=False):
                self._refuse(address, problems)
                yield table, self._kept(table)

    def look_through(self, use: Callable) -> int:
        """Check all rows.

        use: Takes each table.

        Returns: How many rows are kept.
        Raises UserError: naming what is wrong in the first batch that has anything, or
            a uid that is in several rows.
        """
        hashes, n_kept = array("Q"), 0
        for address, file in self.files.items():
            n_excluded = n_own = 0
            for table, problems in self._read(address, checks=True):
                self._refuse(address, problems)
                kept = self._kept(table)
                self.excluded.recordings.update(table["audio"][~kept])
                n_excluded, n_own = n_excluded + (~kept).sum(), n_own + kept.sum()
                hashes.frombytes(_hashes(table).tobytes())
                use(table)
            if n_excluded:
                self.notes.append(
                    f"{file.name}: {n_excluded} recordings of excluded subjects left "
                    "out"
                )
            if not n_own:
                only = f"{file.name} holds only excluded subjects"
                self._refuse(address, [only])
            n_kept += n_own
        self._refuse_repeated(np.frombuffer(hashes, np.uint64))
        return int(n_kept)

    def _read(self, address, checks):
        """Yields tables and their problems."""
        if address in self._tables and not checks:
            yield self._tables[address], []
            return
        file = self.files[address]
        with told_as(address, file):
            if file.suffix == ".parquet":
                yield from self._parquet(file, checks)
                return
            table, problems = splits.read_split(file, ("uid",))
            if table is not None:
                problems = [*problems, *self._check(table, file.name)]
                table = self._narrow(table)
            self._tables[address] = table
            yield table, problems

    def _parquet(self, file, checks):
        try:
            opened = pq.ParquetFile(file)
            wanted = _scalars(opened.schema_arrow)
            if self._columns and "uid" in wanted:  # else all of them are told
                wanted = [name for name in wanted if name in self._columns]
            n = 0
            for batch in opened.iter_batches(N_AT_A_TIME, columns=wanted):
                table = pd.DataFrame({name: _text(batch[name]) for name in wanted})
                table.index += n + 1
                n += len(table)
                yield self._completed(table, file.name, checks)
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{file} can't be read as parquet: {reason}") from error
        if not n:
            yield None, [f"{file.name} holds no recordings"]

    def _completed(self, table, name, checks):
        """A batch of parquet with its optional columns, and its problems."""
        table, problems = splits.checked(table, name, ("uid",), checks)
        if table is None:
            return None, problems
        further = self._check(table, name) if checks else []
        return self._narrow(table), [*problems, *further]

    def _narrow(self, table):
        names = [name for name in self._columns or table if name in table]
        return table[names].copy()

    def _kept(self, table):
        excluded = self.excluded
        gone = excluded.are_among(table["subject"]) if excluded.subjects else False
        return ~(gone | table["uid"].isin(excluded.uids)).to_numpy()

    @staticmethod
    def _refuse(address, problems):
        if problems:
            raise UserError(f"{address} can't be used as it is:", problems)

    def _refuse_repeated(self, hashes):
        """Refuse a uid that is in several rows, whichever tables these are in."""
        hashes.sort()
        twice = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if not len(twice):
            return
        places = {}
        for address, file in self.files.items():
            for table, _ in self._read(address, checks=False):
                again = np.isin(_hashes(table), twice)
                for row, uid in table["uid"][again].items():
                    places.setdefault(composed(uid), []).append((file.name, row))
        told = [
            Place(uid, name, row)
            for uid, rows in places.items()
            if len(rows) > 1
            for name, row in rows
        ]
        if told:
            addresses = " and ".join(self.files)
            raise UserError(
                f"{addresses} can't be used as it is:",
                [Problem("uid", "in several rows", tuple(told))],
            )


def _hashes(table):
    """A hash of each uid, uint64 [n]: eight bytes of memory for a row."""
    uids = table["uid"].map(composed).to_numpy(dtype=object)
    return pd.util.hash_array(uids, categorize=False)


def _scalars(schema):
    """Names of the columns whose cells a CSV could hold."""
    return [
        field.name
        for field in schema
        if not pa.types.is_nested(field.type) and not pa.types.is_binary(field.type)
    ]


def _text(column):
    """A column's cells as text, "" where there is none."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return text.fill_null("").to_pandas().astype(object)


def seconds(table: pd.DataFrame) -> np.ndarray:
    """How long the audio of each row is by its table, NaN where that doesn't say it.

    >>> table = pd.DataFrame({"start_s": ["", "2"], "end_s": ["", "5.5"]})
    >>> seconds(table.assign(duration=["7", ""])).tolist()
    [7.0, 3.5]
    """
    given = {
        name: pd.to_numeric(table[name].replace("", None), errors="coerce")
        for name in ("start_s", "end_s", "duration")
        if name in table
    }
    lengths = given["end_s"] - given["start_s"].fillna(0)
    if "duration" in given:
        lengths = lengths.fillna(given["duration"])
    return lengths.to_numpy(dtype=float)
