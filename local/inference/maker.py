"""Parts of an archive, made by a trained model.

What is wanted of each recording, a `Wanted`, is for `extraction` and `predict_split` to
say.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from local.data.feature_table import FeatureTable
from local.data.manifests import BETWEEN_WARNINGS, build_manifest, stop_on_failed
from local.data.pseudonyms import read_pseudonyms
from local.data.recordings import open_recordings
from local.data.rows import COLUMNS
from local.inference.engine import Engine
from local.inference.parts import (
    N_WINDOWS,
    REASON,
    Damaged,
    Part,
    Plan,
    failures,
    read_part,
    write_part,
)
from local.model.heads import Outputs
from local.storage.experiment_files import SAVE
from local.storage.inputs import Storage
from local.storage.part_files import part_files
from local.training.experiment import Experiment, arrange
from local.utils.number_format import counted
from local.utils.progress import progress

logger = logging.getLogger(__name__)


class Wanted:
    """What is wanted of each recording.

    columns: Of the tables; None: all.
    described: Whether what recordings are like comes behind these values (see
        `engine.Engine.values`).
    about: What there is to be known of the result, JSON.
    """

    columns: tuple[str, ...] | None = COLUMNS
    described: bool = False
    about: dict

    def check(self, table: pd.DataFrame, name: str) -> list:
        """Problems of a table of rows, with the name of its file."""
        del table, name
        return []

    def of(self, outputs: Outputs) -> torch.Tensor:
        """What is kept of a batch, [batch, size]."""
        raise NotImplementedError

    def table(
        self,
        rows: pd.DataFrame,
        values: dict[str, np.ndarray],
        durations: dict[str, float],
    ) -> pa.Table:
        """The result of a part: with `uid`, one row or several for each."""
        raise NotImplementedError

    def write(self, path: Path, tables: Iterable[pa.Table], metadata: dict):
        """Write the result of all parts, in their order, to a file."""
        raise NotImplementedError


class Maker:
    """Makes parts: looks at recordings, runs the model, writes.

    options: Of extract_embeddings.yaml, or what predict.py has in their place.
    """

    def __init__(self, experiment: Experiment, wanted: Wanted, options: dict):
        self.experiment, self.wanted, self.options = experiment, wanted, options
        self.hparams = experiment.hparams_for(options)
        self.pseudonyms = read_pseudonyms(self.hparams["pseudonymise_key"])
        place = f"{options['output_file']}.parts"
        self.files = part_files(place, options["gcs_project"])
        self.place, self.warned, self.excluded = place, Counter(), set()
        self.seconds, self.n_failed = 0.0, 0

    @cached_property
    def state(self) -> dict:
        """What the numbers depend on beside the rows."""
        hparams, digest = self.hparams, hashlib.sha256()
        checkpoint = self.experiment.folder / SAVE / self.experiment.checkpoint
        for file in sorted(checkpoint.glob("*.ckpt")):
            digest.update(file.read_bytes())
        if hparams.get("features"):
            file = self._storage.file(hparams["features"])
            digest.update(file.read_bytes())
        if self.pseudonyms:
            digest.update(self.pseudonyms.key)
        return self.about | {
            "data_folder": hparams["data_folder"],
            "backend": self.options["backend"],
            "precision": self.experiment.brain.eval_precision,
            "sha256": digest.hexdigest(),
        }

    @property
    def about(self) -> dict:
        """What the metadata of a part say of it."""
        named = {"pseudonyms": self.pseudonyms.fingerprint} if self.pseudonyms else {}
        windowed = vars(self.hparams["windows"])
        return self.wanted.about | {"windowed": windowed} | named

    @cached_property
    def engine(self) -> Engine:
        """What runs the model, once it is needed."""
        return Engine(self.experiment.brain, self.options["backend"], self.seconds)

    @cached_property
    def _features(self):
        return FeatureTable.of(self.hparams)

    @cached_property
    def _storage(self):
        return Storage.of(self.hparams)

    def inspect(self, part: Part) -> tuple:
        """Look at the recordings of a part.

        Returns recordings: Where they are read.
        Returns manifest: Of those that can be used.
        Returns failed: `uid` and `reason` of the others.
        """
        hparams = self.hparams
        if hparams.get("features"):
            recordings = self._features
            arrange(recordings, self.experiment)
        else:
            names = part.rows["audio"].unique().tolist()
            folder = hparams["data_folder"]
            recordings = open_recordings(self._storage, folder, names)
            recordings.forget(self.excluded - set(names))
            self.excluded = set()  # once is enough
            lacking = "without metadata.json: the audio file's header says it all"
            self.warned[lacking] += len(recordings.without_metadata(names))
        manifest, failed = build_manifest(
            part.rows, None, recordings, hparams["audio"], [], None
        )
        for text in manifest["warnings"] if len(manifest) else ():
            self.warned.update(text.split(BETWEEN_WARNINGS) if text else ())
        return recordings, manifest, failed

    def make(self, part: Part, inspected: tuple | None = None, step=None) -> int:
        """Make a part, unless somebody else has meanwhile.

        inspected: As `inspect` gives it.
        step: Takes how many more recordings are done.

        Returns: How many recordings can't be used.
        """
        recordings, manifest, failed = inspected or self.inspect(part)
        step = step or (lambda n: None)
        step(len(failed))
        windows, values = self.hparams["windows"].cut(manifest), {}
        done = set()

        def count(ids):
            before = len(done)
            done.update(windows.owners[name] for name in ids)
            step(len(done) - before)

        if len(manifest):
            computed = self.engine.values(
                windows.manifest,
                recordings,
                self.hparams,
                self.wanted.of,
                count,
                self.wanted.described,
            )
            values = windows.pool(*computed)
        n_windows = {uid: windows.counts.get(uid, 1) for uid in values}
        reasons = {entry["uid"]: entry["reason"] for entry in self._hidden(failed)}
        durations = dict(zip(manifest["ID"], manifest["duration"], strict=True))
        table = self.wanted.table(part.rows, values, durations)
        uids = table["uid"].to_pylist()
        for name, known, kind in (
            (N_WINDOWS, n_windows, pa.int32()),
            (REASON, reasons, pa.string()),
        ):
            cells = pa.array([known.get(uid) for uid in uids], kind)
            table = table.append_column(name, cells)
        for name in ("uid", "subject") if self.pseudonyms else ():
            if name in table.column_names:
                shown = map(getattr(self.pseudonyms, name), table[name].to_pylist())
                place = table.column_names.index(name)
                table = table.set_column(place, name, pa.array(shown, pa.string()))
        backend = self.engine.backend if values else ""
        about = self.about | {"backend": backend}
        self.files.create(part.name, lambda file: write_part(file, part, table, about))
        return len(failed)

    def _hidden(self, failed):
        """Reasons without names, if names are not to be shown; uids as they are."""
        if not self.pseudonyms:
            return failed
        hidden = self.pseudonyms.hidden_failures(failed)
        return [
            own | {"uid": entry["uid"]}
            for own, entry in zip(hidden, failed, strict=True)
        ]

    def read(self, part: Part, columns: list[str] | None = None) -> pa.Table:
        """A part that is there.

        Raises Damaged: if it is not what it should be.
        """
        uids = part.rows["uid"].tolist()
        if self.pseudonyms:
            uids = [self.pseudonyms.uid(uid) for uid in uids]
        with self.files.opened(part.name) as path:
            return read_part(path, part, uids, columns)

    def is_made(self, part: Part, there: set[str]) -> bool:
        """Whether a part is there and whole; one that is damaged is removed.

        there: Names of files.
        """
        if part.name not in there:
            return False
        try:
            self.n_failed += len(failures(self.read(part, [REASON])))
        except Damaged as reason:
            logger.warning("%s is made again: %s", part.name, reason)
            self.files.remove([part.name])
            return False
        return True

    def missing(self, plan: Plan, share: tuple[int, int], told=None) -> Iterator[Part]:
        """Yields the parts of a share that are not there.

        told: Takes how many recordings are done in a part that is.
        """
        there = self.files.names()
        for part in plan.parts(share):
            if not self.is_made(part, there):
                yield part
            elif told:
                told(len(part.rows))

    def make_all(self, plan: Plan, share: tuple[int, int], hidden: bool = False):
        """Make the parts of a share that are missing.

        hidden: Whether nothing is to be shown.
        """
        n_recordings = -(-plan.n_rows // share[1])
        with progress(n_recordings, "extracting", "rec", hidden=hidden) as step:
            missing = self.missing(plan, share, step)
            for part, inspected in self._inspected(missing):
                self.n_failed += self.make(part, inspected, step)
        for what, n in self.warned.items():
            if n:
                logger.info("%s: %s", counted(n, "recording"), what)

    def _inspected(self, parts):
        """Yields parts and what `inspect` says; it looks at the next one meanwhile."""
        if self.hparams["num_workers"]:  # they fork, which threads are afraid of
            yield from ((part, self.inspect(part)) for part in parts)
            return
        pool = ThreadPoolExecutor(1)
        try:
            before = None
            for part in parts:
                after = part, pool.submit(self.inspect, part)
                if before:
                    yield before[0], before[1].result()
                before = after
            if before:
                yield before[0], before[1].result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def refuse_bad(self, plan: Plan, share: tuple[int, int]):
        """Refuse recordings that can't be used before anything is computed.

        Raises UserError: naming all of them.
        """
        bad = [row for part in plan.parts(share) for row in self.inspect(part)[2]]
        stop_on_failed(bad)
        self.warned.clear()
