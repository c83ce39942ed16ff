"""Embeddings of many recordings, part by part: a killed run goes on where it was.

A part is a parquet file of some rows of the result, in the folder OUTPUT_FILE.parts.
Each process of torchrun takes every n-th; at the end they are merged in order.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from speechbrain.utils.distributed import ddp_barrier, run_on_main

from local.data.manifests import failed_beside, write_failed
from local.data.prepared_split import prepare_split
from local.data.pseudonyms import Pseudonyms, read_pseudonyms
from local.data.recordings import BucketRecordings, FolderRecordings
from local.data.windows import Windows
from local.inference.embeddings import EmbeddingKind, check_available, describe
from local.inference.engine import Engine
from local.report.tables import Table
from local.storage.addresses import local_path, output_path, several
from local.training.experiment import Experiment, arrange
from local.utils.errors import RunError, UserError
from local.utils.files import atomic_write, remove_unfinished
from local.utils.progress import progress
from local.utils.run_lock import claimed_by_main

logger = logging.getLogger(__name__)

#: The file while it is put together, in the folder of its parts.
MERGED = "merged"

#: Rows of a part, at least and at most; parts that there should be for processes to
#: share. A part's end has nothing to be computed beside it, so there are not many.
SMALLEST, LARGEST, N_PARTS = 4, 256, 16


class Parts:
    """The parts of one embeddings file.

    output_file: The parquet file that they become.
    uids: Its rows.
    size: Of an embedding.
    metadata: For its schema.
    state: What the embeddings depend on beside `uids` and `metadata`: parts of another
        state are of no use.
    pseudonyms: Of the uids, for what is written.
    """

    def __init__(
        self,
        output_file: Path,
        uids: list[str],
        size: int,
        metadata: dict,
        state: str,
        pseudonyms: Pseudonyms | None = None,
    ):
        self.output_file, self.uids, self.size = output_file, uids, size
        self.metadata, self.pseudonyms = metadata, pseudonyms
        self.folder = output_file.with_name(f"{output_file.name}.parts")
        self.part_size = min(LARGEST, max(SMALLEST, -(-len(uids) // N_PARTS)))
        described = json.dumps([uids, metadata, state, self.part_size])
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()

    def __len__(self):
        return -(-len(self.uids) // self.part_size)

    def rows(self, number):
        """The uids of a part."""
        return self.uids[number * self.part_size : (number + 1) * self.part_size]

    def number_of(self):
        """The part that each uid is in, dict of str to int."""
        return {uid: i // self.part_size for i, uid in enumerate(self.uids)}

    def discard_others(self):
        """Remove parts that another run left, with other settings or recordings."""
        strange = [path for path in self._files() if not self._is_mine(path)]
        if strange:
            logger.info("%d parts of another run are removed", len(strange))
        for path in strange:
            path.unlink()

    def missing(self):
        """The numbers of the parts that are not there."""
        return [
            number for number in range(len(self)) if not self._path(number).exists()
        ]

    def write(self, number: int, embeddings: dict[str, np.ndarray]):
        """Write a part.

        embeddings: float32 [size]; rows that are not in it get a null embedding.
        """
        table = embeddings_table(self.rows(number), embeddings, self.size)
        if self.pseudonyms:
            names = pa.array(map(self.pseudonyms.uid, self.rows(number)), pa.string())
            table = table.set_column(0, "uid", names)
        own = {"fingerprint": self.fingerprint}
        with atomic_write(self._path(number), "wb") as file:
            pq.write_table(table.replace_schema_metadata(own), file)

    def merge(self):
        """Make the file of them, and remove them."""
        schema = embeddings_table([], {}, self.size).schema
        text = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in self.metadata.items()
        }
        schema = schema.with_metadata(text)
        # nothing is ever half written beside the file, where nobody would remove it
        merged = self.folder / MERGED
        with (
            atomic_write(merged, "wb") as file,
            pq.ParquetWriter(file, schema) as writer,
        ):
            for number in range(len(self)):
                if not self._is_mine(self._path(number)):
                    raise RunError(
                        f"{self._path(number)} was made by another run, which goes on "
                        "at the same time: give each an output_file of its own."
                    )
                table = pq.read_table(self._path(number))
                writer.write_table(table.replace_schema_metadata(text))
        merged.replace(self.output_file)
        # with what a kill left of one that was being written
        for path in self._files():
            path.unlink()
        remove_unfinished(self.folder)
        self.remove_folder()

    def remove_folder(self):
        """Remove their folder, unless something else is in it."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _path(self, number):
        return self.folder / f"part-{number:06d}.parquet"

    def _files(self):
        return sorted(self.folder.glob("part-*.parquet"))

    def _is_mine(self, path):
        try:
            metadata = pq.read_schema(path).metadata or {}
        except (OSError, pa.ArrowException):
            return False
        return metadata.get(b"fingerprint") == self.fingerprint.encode()


def embeddings_table(
    uids: list[str], embeddings: dict[str, np.ndarray], size: int
) -> Table:
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


def extract_parts(
    parts: Parts,
    engine: Engine,
    kind: EmbeddingKind,
    windows: Windows,
    recordings: FolderRecordings | BucketRecordings,
    hparams: dict,
    share: tuple[int, int] = (0, 1),
):
    """Compute the parts that are missing.

    windows: Of the recordings that can be used.
    hparams: `audio`, `eval_crop`, `score_batches`.
    share: Which process this is, of how many.
    """
    rank, n_processes = share
    own = [number for number in range(len(parts)) if number % n_processes == rank]
    missing = [number for number in parts.missing() if number % n_processes == rank]
    number_of, owners = parts.number_of(), windows.owners
    of_window = windows.manifest["ID"].map(lambda name: number_of[owners[name]])
    manifests = dict(iter(windows.manifest.groupby(of_window.to_numpy())))
    if len(missing) < len(own):
        logger.info("%d of %d parts are there", len(own) - len(missing), len(own))
    sizes = {number: len(manifest) for number, manifest in manifests.items()}
    total = sum(sizes.get(number, 0) for number in own)
    done = total - sum(sizes.get(number, 0) for number in missing)
    unit = "window" if windows.counts else "rec"
    with progress(total, "extracting", unit, done, hidden=rank > 0) as step:
        for number in missing:
            embeddings = {}
            if number in manifests:
                computed = engine.values(
                    manifests[number], recordings, hparams, kind.of, step
                )
                embeddings = windows.pool(*computed)
            parts.write(number, embeddings)


def check_options(options: dict) -> Path:
    """Refuse what can't be, as far as it is told without the model.

    options: Of extract_embeddings.yaml.

    Returns: The path of the file to be written.
    Raises UserError.
    """
    output_file = local_path(options["output_file"], "output_file")
    if output_file.suffix != ".parquet":
        raise UserError(f"output_file must end in .parquet, found {output_file}.")
    if output_file.is_dir():
        raise UserError(f"output_file {output_file} is a folder: name a file.")
    output_path(output_file.parent, "output_file")
    several(options["split_csv"], "split_csv")
    EmbeddingKind(options["embedding_type"])  # refuses others
    return output_file


def extract(experiment: Experiment, options: dict, output_file: Path) -> int:
    """Write the embeddings of all recordings that the options name, and say so.

    options: Of extract_embeddings.yaml.
    output_file: As `check_options` gives it.

    Returns: How many rows have none.
    Raises UserError: for wrong CSVs or choices, and if another run makes this file.
    """
    hparams = experiment.hparams_for(options)
    pooling_mode = options["pooling_mode"] or hparams["pooling_mode"]
    kind = EmbeddingKind(options["embedding_type"], pooling_mode)
    check_available(kind, experiment.brain.modules)
    pseudonyms = read_pseudonyms(hparams["pseudonymise_key"])
    split = run_on_main(_split, [experiment, options, hparams])
    for note in split.notes:
        logger.info(note)
    windows = hparams["windows"].cut(split.manifest)
    duration_s = windows.manifest["duration"].sum()
    engine = Engine(experiment.brain, options["backend"], duration_s)
    parts = Parts(
        output_file,
        split.rows["uid"].tolist(),
        kind.size_in(experiment.brain.plain_modules),
        _described(kind, experiment, engine, windows, split, hparams, pseudonyms),
        _state(experiment.brain, split.manifest, hparams),
        pseudonyms,
    )
    failed, failed_file = split.failed, failed_beside(output_file)
    failed = pseudonyms.hidden_failures(failed) if pseudonyms else failed
    with claimed_by_main(parts.folder):
        run_on_main(parts.discard_others)
        share = _share_of_work()
        extract_parts(parts, engine, kind, windows, split.recordings, hparams, share)
        ddp_barrier()
        run_on_main(write_failed, [failed, failed_file])
        run_on_main(parts.merge)
    run_on_main(parts.remove_folder)
    run_on_main(print, [f"{len(split.manifest)} embeddings in {output_file}"])
    if failed:
        run_on_main(print, [f"{len(failed)} rows have none: see {failed_file.name}"])
    return len(failed)


def _split(experiment, options, hparams):
    """The recordings that the options name."""
    split = prepare_split(
        several(options["split_csv"], "split_csv"),
        hparams,
        required=("uid",),
        own_data=hparams["data_folder"] == experiment.hparams["data_folder"],
        may_be_empty=True,
    )
    arrange(split.recordings, experiment)
    return split


def _described(kind, experiment, engine, windows, split, hparams, pseudonyms):
    """What the file's schema says of it."""
    windowed = dataclasses.asdict(hparams["windows"])
    windowed["rows"] = [
        row for row, uid in enumerate(split.rows["uid"]) if uid in windows.counts
    ]
    about = describe(kind, experiment, engine.backend, windowed)
    return about | ({"pseudonyms": pseudonyms.fingerprint} if pseudonyms else {})


def _state(brain, manifest, hparams):
    """What embeddings depend on and their file does not say."""
    computed = f"{brain.device} {brain.eval_precision}"
    return "\n".join([hparams["data_folder"], computed, manifest.to_csv(index=False)])


def _share_of_work():
    """Which process this is, of how many."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
