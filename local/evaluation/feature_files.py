"""Files of embeddings, each the features of a further baseline."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from local.data.pseudonyms import Pseudonyms
from local.utils.errors import UserError

#: How many uids a message names.
N_NAMED = 5

#: More numbers than these are not read: 8 GB in memory, a million recordings.
MAX_VALUES = 1_000_000_000


def read_features(
    path: str | Path,
    uids: dict[str, Sequence[str]],
    pseudonyms: Pseudonyms | None = None,
) -> dict[str, np.ndarray]:
    """Reads embeddings of recordings, from a file as `extract_embeddings.py` writes it.

    path: Parquet with the columns `uid` and `embedding` (lists of numbers, all of one
        length). Rows of other recordings are left alone.
    uids: By split those of its recordings.
    pseudonyms: By which the file may name recordings.

    Returns: [n, n_features], By split, float64, in the order of its uids.
    Raises UserError: if it is no such file, or a recording has no embedding in it,
        several, or one that is not of finite numbers.
    """
    wanted = {uid for of_split in uids.values() for uid in of_split}
    table = _read_table(path)
    if pseudonyms:
        names = pseudonyms.uids_restored(table["uid"].to_pylist(), wanted)
        table = table.set_column(0, "uid", pa.array(names, pa.string()))
    table = table.filter(pc.is_in(table["uid"], pa.array(wanted, pa.string())))
    given = table.filter(pc.is_valid(table["embedding"]))
    names = given["uid"].to_pandas()
    values = _values(given["embedding"], path)
    problems = [
        _named(f"{split}: no embedding", [u for u in of_split if u not in known])
        for known in [set(names)]
        for split, of_split in uids.items()
    ]
    problems += [
        _named("more than one embedding", names[names.duplicated()].unique()),
        _named("numbers that are not finite", names[~np.isfinite(values).all(axis=1)]),
    ]
    if problems := [problem for problem in problems if problem]:
        raise UserError(
            f"features {path} must hold one embedding for every recording of "
            f"{' and '.join(uids)}; extract them with a CSV that lists all of these:",
            problems,
        )
    rows = pd.Series(range(len(names)), index=names)
    return {split: values[rows[list(of_split)]] for split, of_split in uids.items()}


def _read_table(path):
    """The columns `uid`, as text, and `embedding` of a file."""
    try:
        schema = pq.read_schema(path)
        n_values = _n_values(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"features {path} can't be read as parquet: {' '.join(str(error).split())}"
        ) from error
    if n_values > MAX_VALUES:
        raise UserError(
            f"features {path} holds {n_values:.3g} numbers, and more than "
            f"{MAX_VALUES:.0e} are not read: take fewer recordings."
        )
    types = {field.name: field.type for field in schema}
    numbers = getattr(types.get("embedding"), "value_type", None)
    if "uid" not in types or not (
        numbers and (pa.types.is_floating(numbers) or pa.types.is_integer(numbers))
    ):
        columns = ", ".join(f"{name} ({kind})" for name, kind in types.items())
        raise UserError(
            f"features {path} must have the columns uid and embedding (a list of "
            f"numbers), as extract_embeddings.py writes them; found: {columns}"
        )
    table = pq.read_table(path, columns=["uid", "embedding"])
    return table.set_column(0, "uid", table["uid"].cast(pa.string()))


def _n_values(path):
    """How many values a parquet file unpacks to: a small one may hold many."""
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return sum(
        group.column(i).num_values for group in groups for i in range(group.num_columns)
    )


def _values(embeddings, path):
    """Embeddings, none of them null, as numbers [n, n_features]."""
    sizes = pc.unique(pc.list_value_length(embeddings)).to_pylist()
    if len(sizes) > 1 or 0 in sizes:
        raise UserError(
            f"features {path} must hold embeddings of one length, found "
            f"{', '.join(map(str, sorted(sizes)))}"
        )
    flat = pc.list_flatten(embeddings).to_numpy().astype(float)
    return flat.reshape(len(embeddings), -1) if sizes else flat.reshape(0, 1)


def _named(what, uids):
    """How many uids have a problem, and the first of them; None without one."""
    uids = list(uids)
    if not uids:
        return None
    more = ", …" if len(uids) > N_NAMED else ""
    return f"{what} of {len(uids)} recordings: {', '.join(uids[:N_NAMED])}{more}"
