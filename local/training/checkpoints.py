"""Checkpoints that survive a kill, and the random state that goes into them."""

import contextlib
import logging
import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import torch
import yaml
from speechbrain.utils import checkpoints as sb_checkpoints
from speechbrain.utils.checkpoints import (
    Checkpoint,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.epoch_loop import EpochCounterWithStopper

from local.utils.errors import RunError, UserError
from local.utils.files import file_size

logger = logging.getLogger(__name__)

#: Folders of this prefix are no checkpoints to SpeechBrain.
PARTIAL = "partial-"


class AtomicCheckpointer(sb_checkpoints.Checkpointer):
    """A Checkpointer whose checkpoints appear whole or not at all.

    SpeechBrain writes CKPT.yaml first and the weights after it, so that a kill in
    between leaves a folder that counts as the newest checkpoint and can't be
    loaded. Here a folder gets its name only when everything in it is on the disk.

    Modules without weights (a shared layer that is switched off) are not saved.
    """

    def add_recoverables(self, recoverables):
        """Register objects, leaving out modules that have nothing to save."""
        super().add_recoverables(
            {name: obj for name, obj in recoverables.items() if not _is_empty(obj)}
        )

    def save_checkpoint(self, *args, **kwargs):
        """Save under a partial name, write it out, rename; see the base class."""
        self.remove_partial()
        kwargs["verbosity"] = logging.DEBUG  # it would name the partial folder
        try:
            checkpoint = super().save_checkpoint(*args, **kwargs)
            if checkpoint is not None:  # None on other processes than the main one
                checkpoint = self._finish(checkpoint)
        except (OSError, RuntimeError) as error:  # torch raises the latter
            with contextlib.suppress(OSError):  # what failed first is what to tell
                self.remove_partial()
            raise RunError(
                f"No checkpoint can be saved in {self.checkpoints_dir}: "
                f"{str(error).splitlines()[0]}. Those that are there are whole: once "
                "it can be written to, the same command goes on from the newest."
            ) from error
        ddp_barrier()  # before another process lists the checkpoints
        return checkpoint

    def load_checkpoint(self, checkpoint):
        """Load a checkpoint; see the base class.

        Raises UserError: if a file of it is damaged, or of another model.
        """
        # with it torch.load would execute what a file says
        os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
        try:
            return super().load_checkpoint(checkpoint)
        except Exception as error:  # whatever reading damaged files may raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if isinstance(error, pickle.UnpicklingError):  # it advises to trust it
                reason = "a file of it holds something else than numbers."
            if isinstance(error, KeyError):
                reason = f"it has no file of {reason}."
            raise UserError(
                f"The checkpoint {checkpoint.path} is damaged or does not fit its "
                f"hyperparams.yaml: {reason} Deleting that folder leaves the older "
                "checkpoint, if there is one."
            ) from error

    def list_checkpoints(self):
        """The checkpoints that are there; see the base class.

        Raises UserError: if one has no readable CKPT.yaml.
        """
        try:
            for folder in self._list_checkpoint_dirs():
                for path in folder.iterdir():
                    file_size(path)  # no pipe, which would never be read to its end
            return super().list_checkpoints()
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"A CKPT.yaml in {self.checkpoints_dir}, or a file beside it, is "
                f"damaged ({reason}). "
                "Deleting its folder leaves the other checkpoints."
            ) from error

    def delete_checkpoints(
        self,
        *,
        num_to_keep=1,
        min_keys=None,
        max_keys=None,
        importance_keys=(sb_checkpoints.ckpt_recency,),
        ckpt_predicate=None,
        verbosity=logging.DEBUG,
    ):
        """Delete all but the most important ones, as the base class does.

        Each loses its name first: a kill leaves none that is half there.
        """
        orders = [{"min_key": key} for key in min_keys or ()]
        orders += [{"max_key": key} for key in max_keys or ()]
        orders += [{"importance_key": key} for key in importance_keys]
        candidates, kept = set(), set()
        for order in orders:
            order["ckpt_predicate"] = ckpt_predicate
            candidates.update(self.find_checkpoints(**order))
            kept.update(self.find_checkpoints(max_num_checkpoints=num_to_keep, **order))
        ddp_barrier()  # before another process lists them
        for checkpoint in candidates - kept if if_main_process() else ():
            shutil.rmtree(checkpoint.path.rename(self._partial(checkpoint.path)))
            logger.log(verbosity, "Deleted the checkpoint %s", checkpoint.path.name)
        ddp_barrier()

    @staticmethod
    def _finish(checkpoint):
        partial = Path(checkpoint.path)
        final = partial.with_name(partial.name.removeprefix(PARTIAL))
        _write_out(partial)
        partial.rename(final)
        _fsync(final.parent)
        logger.info("Saved the checkpoint %s", final.name)
        files = {
            name: final / file.name for name, file in checkpoint.paramfiles.items()
        }
        return Checkpoint(final, checkpoint.meta, files)

    def _new_checkpoint_dirpath(self):
        return self._partial(super()._new_checkpoint_dirpath())

    def _custom_checkpoint_dirpath(self, name):
        return self._partial(super()._custom_checkpoint_dirpath(name))

    @staticmethod
    def _partial(path):
        return path.with_name(PARTIAL + path.name)

    def remove_partial(self):
        """Remove what a kill left of checkpoints that were being saved or deleted."""
        if if_main_process():
            for leftover in self.checkpoints_dir.glob(f"{PARTIAL}*"):
                shutil.rmtree(leftover)


def _is_empty(obj):
    hook = sb_checkpoints.get_default_hook(obj, sb_checkpoints.DEFAULT_SAVE_HOOKS)
    return hook is sb_checkpoints.torch_save and not obj.state_dict()


def _write_out(folder):
    """Have the system write a folder and its files to the disk."""
    for path in [*folder.iterdir(), folder]:
        _fsync(path)


def _fsync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@register_checkpoint_hooks
class EarlyStopping(EpochCounterWithStopper):
    """An epoch counter that stops without improvement, and remembers it in checkpoints.

    SpeechBrain's own class forgets its best score on the way through a checkpoint:
    its hooks are not registered, so those of the plain counter are used.

    limit (int): Largest number of epochs.
    limit_to_stop (int): Epochs without improvement after which to stop.
    limit_warmup (int): Epochs before that is counted.
    direction (str): `min` or `max` is better.
    """

    @mark_as_saver
    def save(self, path):
        """Save epoch and best score."""
        self._save(path)

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Restore them; a resumed run may have another patience."""
        self._recover(path, end_of_epoch)
        self.should_stop = self.current - self.best_limit >= self.limit_to_stop


@register_checkpoint_hooks
class RandomState:
    """The global random states (dropout draws from them), to be put in checkpoints."""

    @mark_as_saver
    def save(self, path):
        """Save the states of Python, NumPy and torch."""
        name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
        state = {
            "python": random.getstate(),
            "numpy": (name, keys.tolist(), position, has_gauss, gauss),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
        }
        torch.save(state, path)

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Restore the states."""
        del end_of_epoch
        state = torch.load(path, weights_only=True)
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])  # noqa: NPY002
        torch.set_rng_state(state["torch"])
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
