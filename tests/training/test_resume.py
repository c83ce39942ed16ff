"""A run that is killed and started again ends as if nothing had happened."""

import shutil

import pytest
import torch
from running import (
    KILLED_BATCH,
    KILLED_SAVE,
    SMALL,
    assert_same_end,
    failed,
    run_script,
    succeeded,
    train,
    weights,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.unmeasured

OPTIONS = (
    "--number_of_epochs=3",
    "--speed=0.5",
    "--gauss=0.5",
    "--freqm=4",
    "--timem=4",
    "--noise=True",
    "--stretch=0.5",
    "--codec=0.5",
    "--drop_chunk=0.5",
    "--mixup=0.5",
    "--scheduler=onecycle",
    "--num_workers=2",
    "--loggers=[tensorboard]",
)


def logged_losses(folder):
    """By epoch, as TensorBoard shows them."""
    events = EventAccumulator(str(folder / "loggers" / "tensorboard")).Reload()
    return {event.step: event.value for event in events.Scalars("loss/train")}


@pytest.fixture(scope="module")
def undisturbed(shared_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume") / "undisturbed"
    succeeded(train(shared_corpus, folder, *OPTIONS))
    return folder


def test_the_same_seed_gives_the_same_weights(undisturbed, shared_corpus, tmp_path):
    succeeded(train(shared_corpus, tmp_path / "again", *OPTIONS, "--num_workers=0"))
    assert_same_end(undisturbed, tmp_path / "again")


def test_another_seed_gives_other_weights(undisturbed, shared_corpus, tmp_path):
    succeeded(train(shared_corpus, tmp_path / "other", *OPTIONS, "--seed=7"))
    first, second = weights(undisturbed), weights(tmp_path / "other")
    assert first.keys() == second.keys() and first
    assert not all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("script", "more"),
    [
        (KILLED_BATCH, ()),
        (KILLED_BATCH, ("--ckpt_interval_steps=1",)),
        (KILLED_SAVE, ()),
    ],
    ids=["in an epoch", "after a checkpoint in an epoch", "in a checkpoint"],
)
def test_a_killed_run_ends_like_an_undisturbed_one(
    undisturbed, shared_corpus, tmp_path, script, more
):
    """Also if the corpus has moved meanwhile."""
    folder = tmp_path / "killed"
    deadly = tmp_path / "deadly.py"
    deadly.write_text(script)
    arguments = [
        "hparams/train.yaml",
        f"--corpus_folder={shared_corpus}",
        f"--output_folder={folder}",
    ]
    first = run_script(deadly, *arguments, *SMALL, *OPTIONS, *more)
    assert first.returncode == -9, first.stderr[-2000:]
    assert not (folder / "predictions.csv").exists()
    moved = shutil.copytree(shared_corpus, tmp_path / "moved")
    succeeded(train(moved, folder, *OPTIONS, *more))
    assert_same_end(undisturbed, folder)
    assert logged_losses(folder) == logged_losses(undisturbed)
    assert [*logged_losses(folder)] == [1, 2, 3]
    assert not list((folder / "save").glob("partial-*"))


def test_an_experiment_with_other_settings_is_not_continued(undisturbed, shared_corpus):
    before = {p: p.read_bytes() for p in undisturbed.rglob("*") if p.is_file()}
    changes = ("--lr=0.1", "--max_grad_norm=1", "--grad_accumulation_factor=2")
    message = failed(train(shared_corpus, undisturbed, *OPTIONS, *changes))
    assert "lr: 0.0003 there, 0.1 here" in message
    assert "max_grad_norm: 5.0 there, 1 here" in message
    assert "grad_accumulation_factor: 1 there, 2 here" in message
    assert {p: p.read_bytes() for p in undisturbed.rglob("*") if p.is_file()} == before


def test_a_run_that_stopped_early_does_not_go_on(shared_corpus, tmp_path):
    options = ("--patience=1", "--number_of_epochs=20", "--lr=0.05")
    succeeded(train(shared_corpus, tmp_path / "out", *options))
    log = (tmp_path / "out" / "train_log.txt").read_text()
    assert len(log.splitlines()) < 20
    succeeded(train(shared_corpus, tmp_path / "out", *options))
    assert (tmp_path / "out" / "train_log.txt").read_text() == log


def test_a_first_try_that_failed_does_not_block_its_folder(shared_corpus, tmp_path):
    deadly = tmp_path / "deadly.py"
    deadly.write_text(KILLED_BATCH.replace("(2, 3)", "(1, 2)"))
    folders = (
        f"--corpus_folder={shared_corpus}",
        f"--output_folder={tmp_path / 'out'}",
    )
    first = run_script(deadly, "hparams/train.yaml", *folders, *SMALL, "--lr=0.1")
    assert first.returncode == -9
    assert (tmp_path / "out" / "hyperparams.yaml").exists()
    succeeded(train(shared_corpus, tmp_path / "out", "--number_of_epochs=1"))
