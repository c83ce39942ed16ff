"""Embeddings of the recordings of an archive."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from speechbrain.utils.run_opts import RunOptions

from local.data.rows import COLUMNS
from local.inference.archive import work_off
from local.inference.embeddings import EmbeddingKind, check_available, describe
from local.inference.shares import share_of_work
from local.storage.addresses import (
    absolute,
    is_remote,
    local_path,
    output_path,
    several,
)
from local.training.experiment import Experiment, open_experiment
from local.utils.errors import UserError

#: Rows of a group of the file, about: what a reader takes at a time.
N_GROUP = 2**13


class Embeddings:
    """The embedding of each recording (see `maker.Wanted`).

    Raises UserError: if the model has no such layer.
    """

    columns, described = COLUMNS, False

    def __init__(self, experiment: Experiment, options: dict):
        pooling_mode = options["pooling_mode"] or experiment.hparams["pooling_mode"]
        kind = EmbeddingKind(options["embedding_type"], pooling_mode)
        check_available(kind, experiment.brain.modules)
        self.size = kind.size_in(experiment.brain.plain_modules)
        self.of, self.about = kind.of, describe(kind, experiment)

    def check(self, table: pd.DataFrame, name: str) -> list:
        """Nothing is wanted of further columns."""
        del table, name
        return []

    def table(
        self, rows: pd.DataFrame, values: dict[str, np.ndarray], durations: dict
    ) -> pa.Table:
        """`uid` and `embedding`."""
        del durations
        return embeddings_table(rows["uid"].tolist(), values, self.size)

    def write(self, path: Path, tables: Iterable[pa.Table], metadata: dict):
        """Write a parquet file, in groups of many rows."""
        schema = embeddings_table([], {}, self.size).schema.with_metadata(metadata)
        with pq.ParquetWriter(path, schema) as writer:
            group, n = [], 0
            for table in tables:
                group.append(
                    table.select(schema.names).replace_schema_metadata(metadata)
                )
                n += len(table)
                if n >= N_GROUP:
                    writer.write_table(pa.concat_tables(group), n)
                    group, n = [], 0
            if group:
                writer.write_table(pa.concat_tables(group), n)


def embeddings_table(
    uids: list[str], embeddings: dict[str, np.ndarray], size: int
) -> pa.Table:
    """A table of `uid` and `embedding`.

    embeddings: float32 [size]; uids that are not in it get a null embedding.
    """
    blank = np.zeros(size, dtype=np.float32)
    values = [embeddings.get(uid, blank) for uid in uids]
    missing = np.array([uid not in embeddings for uid in uids], dtype=bool)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(np.concatenate([*values, blank[:0]]), pa.float32()),
        size,
        mask=pa.array(missing),
    )
    return pa.table({"uid": pa.array(uids, pa.string()), "embedding": column})


def check_options(options: dict):
    """Refuse what can't be, as far as it is told without the model.

    options: Of extract_embeddings.yaml; `output_file` is made absolute.

    Raises UserError.
    """
    check_output(options, ".parquet")
    several(options["split_csv"], "split_csv")
    EmbeddingKind(options["embedding_type"])  # refuses others
    share_of_work(options)


def check_output(options: dict, suffix: str):
    """Refuse an output file that can't be; make its address absolute.

    options: `output_file`, and maybe `upload_to`.

    Raises UserError.
    """
    address = options["output_file"]
    if not (address and is_remote(address)):
        path = local_path(address, "output_file")
        if path.is_dir():
            raise UserError(f"output_file {path} is a folder: name a file.")
        output_path(path.parent, "output_file")
    elif options.get("upload_to"):
        raise UserError("output_file is in a bucket already: leave upload_to away.")
    options["output_file"] = absolute(address, "output_file")
    if not options["output_file"].endswith(suffix):
        raise UserError(
            f"output_file must end in {suffix}, found {options['output_file']}."
        )


def extract(options: dict, run_opts: RunOptions) -> tuple[int, bool]:
    """Write the embeddings of all recordings that the options name, or a share of them.

    options: Of extract_embeddings.yaml, as `check_options` leaves them.

    Returns: As `archive.work_off`.
    Raises UserError: for wrong tables or choices.
    """
    experiment = open_experiment(options, run_opts)
    return work_off(experiment, Embeddings(experiment, options), options, run_opts)
