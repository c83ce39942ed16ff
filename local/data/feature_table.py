"""Recordings of which only features are known: the rows of a parquet file."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from local.audio.inspection import RecordingReport
from local.data.recordings import Recordings
from local.storage.inputs import Storage, told_as
from local.utils.errors import ABSENT, BadRecording, UserError

EXPECTED = (
    "expected parquet with a column uid and columns of numbers, or with uid and "
    "embedding (a list of numbers), as extract_embeddings.py writes it"
)


class FeatureTable(Recordings):
    """Features of recordings, by uid; what is no finite number is NaN.

    They stand in the place of waveforms.

    path: The file.
    names (list of str): Of the features, the columns; `embedding_…` of a list's.

    Raises UserError: for a file of another kind, or with a uid in several rows.
    """

    place = "a file of features"

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"features {path}: {EXPECTED}; {reason}") from error
        if "uid" not in table.column_names:
            columns = ", ".join(table.column_names)
            raise UserError(f"features {path}: {EXPECTED}, found: {columns}.")
        uids = table["uid"].cast(pa.string()).to_pylist()
        several = [uid for uid, n in Counter(uids).items() if n > 1]
        if several:
            raise UserError(f"features {path} has several rows of:", several)
        self.names, values = self._numbers(table)
        values = np.where(np.isfinite(values), values, np.nan)
        self.values = torch.from_numpy(values.astype(np.float32))
        self.rows = {uid: i for i, uid in enumerate(uids)}

    @classmethod
    def of(cls, values: Mapping) -> Self:
        """That of a yaml.

        values: Its plain values: `features`, and what `Storage.of` reads.
        """
        file = Storage.of(values).file(values["features"])
        with told_as(values["features"], file):
            return cls(file)

    def _numbers(self, table):
        """Names of the features, and their values [recording, feature]."""
        if "embedding" in table.column_names:
            return self._embeddings(table["embedding"])
        # pandas writes the index of selected rows as a column, which is no feature
        index = (table.schema.pandas_metadata or {}).get("index_columns", [])
        columns = {
            field.name: table[field.name].cast(pa.float64(), safe=False).to_numpy()
            for field in table.schema
            if pa.types.is_floating(field.type)
            or pa.types.is_integer(field.type)
            or pa.types.is_boolean(field.type)
            if field.name not in ("uid", *index)
        }
        if not columns:
            raise UserError(f"features {self.path}: {EXPECTED}, found no numbers.")
        return list(columns), np.stack(list(columns.values()), axis=1)

    def _embeddings(self, column):
        sizes = set(pc.list_value_length(column).to_pylist()) - {None}
        if len(sizes) != 1:
            raise UserError(
                f"features {self.path} must hold embeddings of one length, found "
                f"{', '.join(map(str, sorted(sizes))) or 'none'}."
            )
        (size,) = sizes
        values = np.full((len(column), size), np.nan)
        given = np.array(pc.is_valid(column).to_pylist(), dtype=bool)
        flat = pc.list_flatten(column).to_numpy().astype(float)
        values[given] = flat.reshape(-1, size)
        return [f"embedding_{i}" for i in range(size)], values

    def arranged(self, names: list[str]):
        """Give the features of these names, in their order, from now on.

        Raises UserError: naming those that are not there.
        """
        absent = [name for name in names if name not in self.names]
        if absent:
            raise UserError(
                f"features {self.path} lacks {len(absent)} of the {len(names)} columns "
                "that the model was trained on:",
                absent,
            )
        self.values = self.values[:, [self.names.index(name) for name in names]]
        self.names = list(names)

    def vector(self, uid: str) -> torch.Tensor:
        """The features of a recording, float32 [feature]."""
        return self.values[self.rows[uid]]

    def inspect(self, uid, name, audio, part):
        """What is to be known of a recording without its audio.

        Raises BadRecording: if it has no row, or no number in it.
        """
        del name, audio, part
        if uid not in self.rows:
            raise BadRecording(f"features {self.path} has no row of it", ABSENT)
        if not torch.isfinite(self.vector(uid)).any():
            raise BadRecording(f"features {self.path} has no number of it", ABSENT)
        nothing = dict.fromkeys(("peak", "level_dbfs", "clipped_share"), math.nan)
        return RecordingReport(
            waveform="",
            format="",
            codec="",
            sample_rate=0,
            channels=0,
            duration_s=0.0,
            metadata_sample_rate=None,
            silent_share=math.nan,
            warnings=(),
            **nothing,
        )

    def unreadable(self, names):
        """Which recordings have no features is told by `inspect`."""
        return {}

    def _of(self, name):
        return {}
