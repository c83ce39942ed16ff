"""utils.signals: a run that is asked to stop loses nothing."""

import os
import signal

import pytest
import torch
from running import SMALL, failed, run_script, succeeded, train, weights

from local.data import loaders
from local.utils import signals

#: train.py, which gets a signal at a chosen moment.
SIGNALLED = """
import os, signal, sys
import train
from local.utils import cli
from local.training.brain import ClinicalBrain
from speechbrain import Stage

os.setsid()
number, moment = int(sys.argv.pop(1)), sys.argv.pop(1)
compute_forward = ClinicalBrain.compute_forward
sent = []

def forward(self, batch, stage):
    now = f"{stage.name} {self.epoch} {self.step}"
    if now == moment and not sent:
        sent.append(os.killpg(os.getpid(), number))  # workers get it as well
    return compute_forward(self, batch, stage)

ClinicalBrain.compute_forward = forward
cli.run(train.main, goes_on=True)
"""
OPTIONS = ("--number_of_epochs=3", "--gauss=0.5", "--mixup=0.5", "--num_workers=2")


@pytest.fixture(autouse=True)
def handlers():
    """Those of the test runner, afterwards."""
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_stops_at_once(number):
    signals.install()
    with pytest.raises(signals.Stopped) as caught:
        signal.raise_signal(number)
    assert caught.value.number == number


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.install()
    signal.raise_signal(signal.SIGHUP)


def test_deferred_work_is_told_and_stops_itself(capfd):
    signals.install()
    done = []
    with pytest.raises(signals.Stopped) as caught, signals.deferred():
        assert not signals.asked()
        signal.raise_signal(signal.SIGTERM)
        assert signals.asked()
        done.append("saved")
    assert done and caught.value.number == signal.SIGTERM
    assert "a checkpoint is saved first" in capfd.readouterr().err
    assert not signals.asked()
    with pytest.raises(signals.Stopped):
        signal.raise_signal(signal.SIGINT)


def test_a_second_signal_does_not_wait(capfd):
    signals.install()
    with pytest.raises(signals.Stopped), signals.deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")


@pytest.fixture(scope="module")
def undisturbed(shared_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopping") / "undisturbed"
    succeeded(train(shared_corpus, folder, *OPTIONS))
    return folder


def signalled(folder, corpus, tmp_path, number, moment, *options):
    script = tmp_path / "signalled.py"
    script.write_text(SIGNALLED)
    return run_script(
        *(script, number, moment, "hparams/train.yaml", f"--corpus_folder={corpus}"),
        *(f"--output_folder={folder}", *SMALL, *OPTIONS, *options),
    )


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGTERM, "TRAIN 2 3"), (signal.SIGINT, "VALID 2 0")],
    ids=["SIGTERM in training", "SIGINT in validation"],
)
def test_a_stopped_training_goes_on_from_where_it_was(
    undisturbed, shared_corpus, tmp_path, number, moment
):
    folder = tmp_path / "stopped"
    result = signalled(folder, shared_corpus, tmp_path, number, moment)
    assert "The same command goes on from here." in failed(result, status=128 + number)
    log = (folder / "log.txt").read_text()
    assert log.count("Saved the checkpoint") == 2  # one of the first epoch's end
    assert not list(folder.glob(".*"))
    succeeded(train(shared_corpus, folder, *OPTIONS))
    assert "Going into epoch 1" not in (folder / "log.txt").read_text()[len(log) :]
    first, second = weights(undisturbed), weights(folder)
    assert first.keys() == second.keys() and first
    assert all(torch.equal(first[key], second[key]) for key in first)
    for name in ("predictions.csv", "train_log.txt"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()


#: train.py, one of whose workers hangs; the run is asked to stop while it waits.
HANGING = """
import os, signal, sys, time, torch, train
from local.data import dataset as dataio
from local.utils import cli
crop, calls = dataio.RandomCrop.__call__, []
def hanging(self, *args, **kwargs):
    worker = torch.utils.data.get_worker_info()
    if worker and worker.id == 0 and self.epoch == 2:
        calls.append(1)
        if len(calls) == 5:  # in its second batch of four, the third of all
            time.sleep(2)
            os.kill(os.getppid(), signal.SIGTERM)
            signal.pause()
    return crop(self, *args, **kwargs)
dataio.RandomCrop.__call__ = hanging
cli.run(train.main, goes_on=True)
"""


def test_a_worker_that_hangs_does_not_keep_a_run_from_stopping(
    undisturbed, shared_corpus, tmp_path
):
    folder, script = tmp_path / "hung", tmp_path / "hanging.py"
    script.write_text(HANGING)
    result = run_script(
        *(script, "hparams/train.yaml", f"--corpus_folder={shared_corpus}"),
        *(f"--output_folder={folder}", *SMALL, *OPTIONS),
    )
    failed(result, status=143)
    newest = max((folder / "save").glob("CKPT+*"))
    assert "step: 2" in (newest / "brain.ckpt").read_text()
    succeeded(train(shared_corpus, folder, *OPTIONS))
    first, second = weights(undisturbed), weights(folder)
    assert first and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.unmeasured
def test_gathered_gradients_are_not_lost(shared_corpus, tmp_path):
    """With gradients over two batches it stops after the second of them."""
    more = ("--grad_accumulation_factor=2", "--number_of_epochs=1")
    folder, whole = tmp_path / "stopped", tmp_path / "whole"
    stop = (signal.SIGTERM, "TRAIN 1 1", *more)
    failed(signalled(folder, shared_corpus, tmp_path, *stop), status=143)
    (brain,) = (folder / "save").glob("CKPT+*/brain.ckpt")
    assert "step: 2" in brain.read_text()
    succeeded(train(shared_corpus, folder, *OPTIONS, *more))
    succeeded(train(shared_corpus, whole, *OPTIONS, *more))
    first, second = weights(whole), weights(folder)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_worker_that_is_just_starting_is_not_ended(monkeypatch):
    """Before it has a handler of ours, it has PyTorch's, which would end it."""
    handlers = torch.utils.data._utils.signal_handling
    real = handlers._set_worker_signal_handlers

    def then_signalled():
        real()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(handlers, "_set_worker_signal_handlers", then_signalled)
    settings = loaders.workers(1, seed=0, collate=list)
    assert len(list(torch.utils.data.DataLoader(range(40), **settings))) == 40


def test_a_killed_worker_ends_with_a_message(shared_corpus, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, signal, sys, torch, train\n"
        "from local.data import dataset as dataio\n"
        "from local.utils import cli\n"
        "crop = dataio.RandomCrop.__call__\n"
        "def deadly(self, *args, **kwargs):\n"
        "    if torch.utils.data.get_worker_info():\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return crop(self, *args, **kwargs)\n"
        "dataio.RandomCrop.__call__ = deadly\n"
        "cli.run(train.main)\n"
    )
    result = run_script(
        *(script, "hparams/train.yaml", f"--corpus_folder={shared_corpus}"),
        *(f"--output_folder={tmp_path / 'out'}", *SMALL, "--num_workers=1"),
    )
    assert "try a lower --num_workers" in failed(result, status=1)
