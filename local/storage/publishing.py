"""Copying results to a bucket (`upload_to`), so that a reader never sees a half.

An experiment goes to a place of its own, which it claims before training by the
object ``save/upload.json``. The local folder stays what counts: it is never changed
by an upload that fails, and the next upload brings what is missing.
"""

import dataclasses
import fnmatch
import logging
import secrets
from collections.abc import Iterable
from pathlib import Path

from local.storage.addresses import remote_folder
from local.storage.experiment_files import (
    CHECKPOINT,
    CHECKPOINT_FILES,
    CHECKPOINT_MARKS,
    FAILED,
    HPARAMS,
    RESULT,
    UPLOAD,
    row_of,
)
from local.storage.gcs.addresses import Address, RemoteObject
from local.storage.gcs.clients import client
from local.storage.gcs.errors import Conflict, Missing, RemoteError
from local.storage.gcs.listing import list_objects, stat
from local.storage.gcs.mirror import Mirror, as_problem, regular_files
from local.storage.gcs.patience import Patience
from local.utils.errors import UserError
from local.utils.files import write_json
from local.utils.staging import files_of

logger = logging.getLogger(__name__)

#: Whose place it is; made once per experiment, so that a resumed run has it too.
CLAIM = UPLOAD

#: Seconds that training waits for a bucket that does not answer, at most.
TRAINING_DEADLINE_S = 60.0


def destination(address: str | None, project: str | None, run_opts) -> str | None:
    """Where an experiment is copied to.

    address: The value of `upload_to`.
    project: Google Cloud project.
    run_opts: speechbrain.utils.run_opts.RunOptions

    Returns: None for nowhere, also with `--debug`: the results of a few batches must
        not replace those of a real run.
    Raises UserError: if it is no address of a bucket, or can't be listed; `Denied`
        without credentials or the right to.
    Raises RemoteError: if the bucket can't be reached.
    """
    if not address:
        return None
    place = remote_folder(address, "upload_to")
    if run_opts.debug:
        logger.info("--debug: nothing is uploaded")
        return None
    client(project)
    list_objects(place)  # to fail now, and not after the preparation
    return str(place)


def results_destination(options: dict, run_opts) -> str | None:
    """Where a command that trains nothing copies its results to.

    options: `upload_to` and `gcs_project`.
    run_opts: speechbrain.utils.run_opts.RunOptions

    Returns: As `destination`.
    Raises UserError: as `destination`, and if an experiment is there.
    Raises RemoteError: if the bucket can't be reached.
    """
    address = destination(options["upload_to"], options["gcs_project"], run_opts)
    for name in (HPARAMS, CLAIM) if address else ():
        try:
            stat(Address.parse(address) / name)
        except Missing:
            continue
        raise UserError(
            f"upload_to {address} is the place of an experiment, whose files stay as "
            f"they are: give another one, such as {address}/evaluation."
        )
    return address


class ExperimentPublication:
    """Keeps a copy of an experiment's folder in a bucket.

    Under a data-parallel launch only the main process may use it.

    folder: The experiment's folder.
    address: Its place, ``gs://bucket/folder``.

    Raises UserError: if that is no address.
    """

    def __init__(self, folder: str | Path, address: str):
        self.folder, self.address = Path(folder), Address.parse(address)
        self._mirror = Mirror(self.folder, self.address)
        self._claim = None  # the generation by which the place is this process's

    def begin(self):
        """Claim the place, before training.

        Raises UserError: if the place holds another run's results or other files;
            `Denied` and `Missing` if it can't be listed or written to.
        Raises RemoteError: if the bucket can't be reached.
        Raises OSError: if the folder can't be written to.
        """
        if not (self.folder / CLAIM).exists():
            write_json(self.folder / CLAIM, {"run": secrets.token_hex(16)})
        there = self._mirror.look()
        if there and not self._mirror.holds(CLAIM):
            raise self._taken("another run's" if CLAIM in there else "other")
        try:
            if not there:
                self._mirror.upload(CLAIM)
            # Replacing needs another right than creating: hours of training must not
            # end with its lack. It also ends the claim of a process before this one.
            self._claim = self._mirror.upload(CLAIM)
        except Conflict:
            raise self._taken("another run's") from None

    def _taken(self, whose):
        return UserError(
            f"upload_to {self.address} holds {whose} files: give an empty place with "
            "--upload_to, or empty this one. To continue the run that is there, copy "
            f"all of it to {self.folder} first."
        )

    def update(self) -> list[str]:
        """Upload what has changed, in the middle of training.

        What fails is logged, and tried again by the next update. Training is not
        held up by a bucket that does not answer for longer than about
        `TRAINING_DEADLINE_S`.

        Returns: What could not be uploaded, and why.
        """
        problems = self._upload(TRAINING_DEADLINE_S)
        if problems:
            logger.warning(
                f"The upload to {self.address} is not complete; it is tried again "
                f"after the next checkpoint. What failed first "
                f"({len(problems)} in all): {problems[0]}"
            )
        return problems

    def finish(self) -> list[str]:
        """Upload what has changed, at the end, and say how that went.

        Returns: What could not be uploaded, and why.
        """
        return _told(self._upload(float("inf")), self.address, self.folder)

    def _upload(self, deadline_s):
        """One upload; nothing that a network or a file can do is raised."""
        try:
            patience = Patience.from_environment()
            patience = dataclasses.replace(
                patience, deadline_s=min(deadline_s, patience.deadline_s)
            )
            there = self._mirror.look(patience=patience)
            if CLAIM not in there or there[CLAIM].generation != self._claim:
                return [
                    f"{self.address / CLAIM} is no longer this run's: another run has "
                    "taken the place, or somebody has emptied it. Nothing was uploaded."
                ]
            names = [name for name in regular_files(self.folder) if _stage(name)]
            return self._mirror.run(self._stages(names, there), patience)
        except (UserError, RemoteError, OSError) as error:
            return [as_problem(error)]

    def _stages(self, names: list[str], there: dict[str, RemoteObject]):
        """What to do in which order: no reader may meet half a checkpoint.

        names: Files of the folder.
        there: What the bucket has.
        """
        marks = [name for name in names if _is(name, CHECKPOINT_MARKS)]
        weights = [name for name in names if _stage(name) == CHECKPOINT]
        results = [name for name in names if _stage(name) == RESULT]
        gone = sorted(there.keys() - set(names))
        old = [name for name in gone if _is(name, CHECKPOINT_FILES, FAILED)]
        if not marks:  # a folder that has lost its checkpoints must not take these too
            old = []
        send, delete = self._mirror.upload_changed, self._mirror.delete
        return [
            (send, set(names) - {*marks, *weights, *results}),
            (send, set(weights) - set(marks)),
            (send, marks),
            (send, results),
            (delete, [name for name in old if _is(name, CHECKPOINT_MARKS)]),
            (delete, [name for name in old if not _is(name, CHECKPOINT_MARKS)]),
        ]


def _stage(name):
    """When a file is uploaded; None: it is not ours to upload, or for nobody else."""
    row = row_of(name)
    return row and row.published


def _is(name, *patterns):
    """Whether a name fits one of the patterns, whose * may stand for folders too."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def publish_files(folder: str | Path, names: Iterable[str], address: str) -> list[str]:
    """Copy some files to a bucket, replacing what is there, and say how that went.

    names: Paths below the folder, or patterns of them (`*.csv`). What is not there is
        deleted from the bucket: it is of an earlier run. The last one vouches for the
        others: where any of them differs it is deleted first and uploaded last.
    address: Where they go, ``gs://bucket/folder``.

    Returns: What could not be uploaded, and why.
    """
    names = list(names)
    last = names[-1]
    try:
        mirror = Mirror(folder, Address.parse(address))
        patterns = any("*" in name for name in names)
        listed = mirror.look(None if patterns else names)
        there = [name for name in listed if _is(name, *names)]
        here = files_of(mirror.folder, names)
        old = [name for name in there if name not in here]
        changed = [name for name in here if not mirror.holds(name)]
        first = {last} & set(there) if {*old, *changed} - {last} else set()
        send = mirror.upload if first else mirror.upload_changed
        stages = [
            (mirror.delete, first),
            (mirror.upload, set(changed) - {last}),
            (mirror.delete, set(old) - first),
            (send, {last} & set(here)),
        ]
        problems = mirror.run(stages)
    except (UserError, RemoteError, OSError) as error:
        problems = [as_problem(error)]
    return _told(problems, address, folder)


def _told(problems, address, folder):
    """The problems of an upload to `address`, after the user was told of them."""
    if not problems:
        print(f"Everything is in {address} too")  # log.txt is there already
        return problems
    failure = UserError(
        f"The upload to {address} is not complete; what comes after a file that failed "
        f"was left for later. The results in {folder} are whole. Run the same command "
        "again to upload what is missing. What failed:",
        problems,
    )
    logger.error(str(failure))
    return problems
