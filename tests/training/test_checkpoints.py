"""training.checkpoints: whole checkpoints or none, and the random state in them."""

import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from running import ROOT
from speechbrain.utils.checkpoints import (
    ckpt_recency,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

from local.training.checkpoints import AtomicCheckpointer, RandomState
from local.utils.errors import RunError


@register_checkpoint_hooks
class Fragile:
    """A recoverable whose saver fails in the middle of its file."""

    def __init__(self):
        self.value = "first"
        self.error = None

    @mark_as_saver
    def save(self, path):
        with path.open("w") as file:
            file.write(self.value[:2])
            file.flush()
            if self.error:
                raise self.error
            file.write(self.value[2:])

    @mark_as_loader
    def load(self, path, end_of_epoch):
        self.value = path.read_text()


@pytest.fixture
def layer():
    return torch.nn.Linear(2, 2)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_is_loaded_as_it_was_saved(tmp_path, layer):
    fragile = Fragile()
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer, "fragile": fragile})
    saved = checkpointer.save_checkpoint(meta={"loss": 0.5, "epoch": 1})
    weights = layer.weight.detach().clone()
    assert names(tmp_path) == [saved.path.name]
    assert saved.path.name.startswith("CKPT")
    assert all(path.parent == saved.path for path in saved.paramfiles.values())
    with torch.no_grad():
        layer.weight.zero_()
    fragile.value = "second"
    loaded = checkpointer.recover_if_possible(min_key="loss")
    assert loaded.path == saved.path
    assert loaded.meta["epoch"] == 1
    assert torch.equal(layer.weight, weights)
    assert fragile.value == "first"


@pytest.mark.parametrize(
    ("error", "raised", "n_left"),
    [(OSError("disk full"), RunError, 1), (KeyboardInterrupt(), KeyboardInterrupt, 2)],
)
def test_an_interrupted_save_leaves_the_last_checkpoint_alone(
    tmp_path, layer, error, raised, n_left
):
    fragile = Fragile()
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer, "fragile": fragile})
    first = checkpointer.save_checkpoint(meta={"loss": 0.5})
    fragile.value, fragile.error = "second", error
    with pytest.raises(raised):
        checkpointer.save_checkpoint(meta={"loss": 0.1})
    assert [n for n in names(tmp_path) if n.startswith("CKPT")] == [first.path.name]
    assert len(names(tmp_path)) == n_left, "a full disk needs what room there is"

    # as after a restart
    again = AtomicCheckpointer(tmp_path, {"layer": layer, "fragile": fragile})
    assert again.recover_if_possible(min_key="loss").path == first.path
    assert fragile.value == "first"


def test_the_next_save_works_and_clears_what_was_left(tmp_path, layer):
    fragile = Fragile()
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer, "fragile": fragile})
    fragile.error = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_checkpoint(meta={"loss": 0.1})
    assert checkpointer.list_checkpoints() == []
    (left,) = tmp_path.iterdir()
    left.rename(left.with_name(left.name[:-1] + "7"))  # as of another moment
    fragile.error, fragile.value = None, "second"
    saved = checkpointer.save_checkpoint(meta={"loss": 0.2})
    assert names(tmp_path) == [saved.path.name]
    fragile.value = ""
    checkpointer.recover_if_possible()
    assert fragile.value == "second"


def test_named_checkpoints_are_whole_or_not_there_too(tmp_path, layer):
    fragile = Fragile()
    checkpointer = AtomicCheckpointer(tmp_path, {"fragile": fragile})
    checkpointer.save_checkpoint(name="best")
    assert names(tmp_path) == ["CKPT+best"]
    fragile.error = OSError("disk full")
    with pytest.raises(RunError, match="disk full"):
        checkpointer.save_checkpoint(name="last")
    assert [n for n in names(tmp_path) if n.startswith("CKPT")] == ["CKPT+best"]


def test_the_best_and_the_newest_are_kept(tmp_path, layer):
    """The newest to continue from, the best to evaluate."""
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    for loss in (0.5, 0.2, 0.9, 0.8):
        checkpointer.save_and_keep_only(
            meta={"loss": loss},
            num_to_keep=1,
            min_keys=["loss"],
            importance_keys=[ckpt_recency],
            keep_recent=False,
        )
    kept = {checkpoint.meta["loss"] for checkpoint in checkpointer.list_checkpoints()}
    assert kept == {0.2, 0.8}
    assert checkpointer.find_checkpoint(min_key="loss").meta["loss"] == 0.2


def test_modules_without_weights_are_left_out(tmp_path, layer):
    recoverables = {"layer": layer, "off": torch.nn.Identity(), "state": RandomState()}
    checkpointer = AtomicCheckpointer(tmp_path, recoverables)
    checkpointer.add_recoverable("fragile", Fragile())
    saved = checkpointer.save_checkpoint()
    assert sorted(saved.paramfiles) == ["fragile", "layer", "state"]
    assert checkpointer.recover_if_possible() is not None


def test_the_random_state_restores_every_draw(tmp_path):
    def draw():
        numpy = np.random.standard_normal(3).tolist()  # noqa: NPY002
        return [random.random(), random.gauss(0, 1), numpy, torch.rand(3).tolist()]

    random.gauss(0, 1)  # leaves a second number for later in Python and NumPy
    np.random.standard_normal()  # noqa: NPY002
    state = RandomState()
    state.save(tmp_path / "state")
    expected = draw()
    assert draw() != expected
    state.load(tmp_path / "state", end_of_epoch=True)
    assert draw() == expected


def test_a_full_disk_ends_with_a_message_and_an_older_checkpoint(tmp_path):
    """In a process of its own, whose files may not grow beyond 100 kB."""
    script = """
import resource, sys
import torch
from local.training.checkpoints import AtomicCheckpointer
from local.utils.errors import RunError

small, large = torch.nn.Linear(10, 10), torch.nn.Linear(500, 500)
AtomicCheckpointer(sys.argv[1], {"layer": small}).save_checkpoint()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    AtomicCheckpointer(sys.argv[1], {"layer": large}).save_checkpoint()
except RunError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"No checkpoint can be saved in {tmp_path}" in result.stdout
    (left,) = tmp_path.iterdir()
    assert torch.load(left / "layer.ckpt", weights_only=True)["weight"].shape[0] == 10


def test_a_deleted_checkpoint_loses_its_name_first(tmp_path, layer, monkeypatch):
    """So that a kill in the middle of it leaves none that can't be loaded."""
    checkpointer = AtomicCheckpointer(tmp_path, {"layer": layer})
    first = checkpointer.save_checkpoint()

    def killed(path, **_):
        (path / "layer.ckpt").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_and_keep_only(num_to_keep=1)
    monkeypatch.undo()
    (kept,) = checkpointer.list_checkpoints()
    assert kept.path != first.path and (kept.path / "layer.ckpt").exists()
    checkpointer.save_and_keep_only(num_to_keep=1)
    assert len(list(tmp_path.iterdir())) == 1
