"""Running the scripts as a user does, on one thread and with a small model.

Loading PyTorch and SpeechBrain takes longer than most scripts do here. One process
loads the libraries, none of our modules, and forks for every script.
"""

import functools
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils import logger
from speechbrain.utils.superpowers import run_shell

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 300

#: Where modules of ours are found by tests, and not by scripts.
OUR_PATHS = {str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")}

# The background commands of a shell ignore it, and so would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["OMP_NUM_THREADS"] = "1"  # read when the libraries are loaded
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    [
        *("torch", "torchaudio", "speechbrain.lobes.models.ECAPA_TDNN", "hyperpyyaml"),
        *("pandas", "pyarrow", "scipy.stats", "sklearn.linear_model", "librosa", "av"),
        *("statsmodels.stats.proportion", "matplotlib.figure", "jinja2", "soundfile"),
        *("google.cloud.storage", "torch._dynamo", "scipy.signal", "pyarrow.parquet"),
        *("statsmodels.discrete.discrete_model", "sklearn.pipeline", "sklearn.impute"),
        *("statsmodels.nonparametric.smoothers_lowess", "krippendorff", "silero_vad"),
        *("speechbrain.lobes.features", "speechbrain.augment.codec", "google_crc32c"),
        *("matplotlib.backends.backend_agg", "soxr", "speechbrain.utils.epoch_loop"),
    ]
)

#: Without what takes longer than training and evaluating the small model.
FAST = ("--audit=False", "--report=False")

#: With all that names recordings and people, of a corpus with a damaged recording.
FULL = (
    "--on_bad_recording=skip",
    "--audit=True",
    "--report=True",
    "--show_uids=True",
    "--number_of_epochs=1",
)

#: A model that trains on the tiny corpus within seconds.
SMALL = (
    "--sample_rate=8000",
    "--n_mels=20",
    "--channels=[16,16,16,16,48]",
    "--attention_channels=8",
    "--lin_neurons=12",
    "--sd_bottleneck=14",
    "--clf_bottleneck=10",
    "--number_of_epochs=2",
    "--batch_size=4",
    "--clip_length=0.3",
    "--device=cpu",
    "--acoustic_baseline=False",
    *FAST,
)

#: train.py, but the process is killed without warning at a chosen moment.
KILLED_BATCH = """
import os, signal, sys
import train
from local.utils import cli
from local.training.brain import ClinicalBrain

fit_batch = ClinicalBrain.fit_batch

def deadly_fit_batch(self, batch):
    if (self.epoch, self.step) == (2, 3):
        os.kill(os.getpid(), signal.SIGKILL)
    return fit_batch(self, batch)

ClinicalBrain.fit_batch = deadly_fit_batch
train.main(sys.argv[1:])
"""
KILLED_SAVE = """
import os, signal, sys
import train
from local.training import checkpoints

write_out = checkpoints._write_out
saves = []

def deadly_write_out(folder):
    saves.append(folder)
    if len(saves) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write_out(folder)

checkpoints._write_out = deadly_write_out
train.main(sys.argv[1:])
"""


def run_script(
    *arguments: str | Path, folder: Path = ROOT, launcher: Sequence[str] | None = None
) -> subprocess.CompletedProcess:
    """Run a script of the recipe.

    arguments: Script and options.
    folder: Where to run it.
    launcher: Options of an interpreter of its own, before the script.

    Returns: With text in stdout and stderr.
    """
    if launcher is None:
        return Started(*arguments, folder=folder).wait()
    return subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class Started:
    """A script that runs, as subprocess.Popen's, without loading the libraries again.

    arguments: Script and options.
    folder: Where to run it.
    environment: What its environment has beside that of this process.
    process: The multiprocessing.Process that it is.
    """

    def __init__(self, *arguments: str | Path, folder: Path = ROOT, **environment: str):
        self.args = [str(argument) for argument in arguments]
        self._outputs = tempfile.TemporaryDirectory()
        self._texts = [Path(self._outputs.name) / name for name in ("out", "error")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.process = FORKING.Process(
            target=_be_script,
            args=(self.args, str(folder), environment, self._texts, _packages()),
        )
        self.process.start()

    def wait(self):
        """Its end, as subprocess.CompletedProcess."""
        with self._outputs:
            self.process.join(TIMEOUT_S)
            status = self.process.exitcode
            if status is None:
                self.process.kill()
                raise subprocess.TimeoutExpired(self.args, TIMEOUT_S)
            said = [text.read_text() if text.exists() else "" for text in self._texts]
        return subprocess.CompletedProcess(self.args, status, *said)


@functools.cache
def _packages():
    """What SpeechBrain asks pip for at each start, for as long as a small training."""
    return run_shell("pip freeze")


def _be_script(arguments, folder, environment, texts, packages):
    """Run a script in this process as if it had been started by itself."""
    gc.freeze()  # what is loaded is not looked through again and again
    logger.run_shell = lambda of: packages if of == "pip freeze" else run_shell(of)
    for descriptor, path in enumerate((os.devnull, *texts)):
        flags = os.O_WRONLY | os.O_CREAT if descriptor else os.O_RDONLY
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # to be looked up there
    if "COVERAGE_PROCESS_CONFIG" not in environment:
        sys.settrace(None)
    os.chdir(folder)
    multiprocessing.set_start_method("fork", force=True)  # what Linux has by itself
    np.random.seed()  # noqa: NPY002 (forked processes would all draw the same)
    script = Path(arguments[0]).absolute()
    others = [path for path in sys.path if path not in OUR_PATHS]
    sys.path[:] = [str(script.parent), str(ROOT), *others]
    sys.argv = arguments
    runpy.run_path(str(script), run_name="__main__")


def train(corpus, output_folder, *options, yaml="train.yaml", **kwargs):
    """Run train.py on a corpus with the small model."""
    return run_script(
        *("train.py", f"hparams/{yaml}"),
        f"--corpus_folder={corpus}",
        f"--output_folder={output_folder}",
        *(*SMALL, *options),
        **kwargs,
    )


def evaluate(experiment, *options, **kwargs):
    """Run evaluate.py on an experiment."""
    return run_script(
        *("evaluate.py", "hparams/evaluate.yaml"),
        f"--experiment_folder={experiment}",
        *options,
        **kwargs,
    )


def extract(experiment, output_file, *options, **kwargs):
    """Run extract_embeddings.py on an experiment."""
    return run_script(
        *("extract_embeddings.py", "hparams/extract_embeddings.yaml"),
        f"--experiment_folder={experiment}",
        f"--output_file={output_file}",
        *options,
        **kwargs,
    )


def succeeded(result, status=0):
    """The result of a script that must have ended so; 3: some recordings failed."""
    assert result.returncode == status, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def failed(result, status=2):
    """The message of a script that must have failed with a message only."""
    assert result.returncode == status, result.stdout[-3000:] + result.stderr[-3000:]
    assert "Traceback" not in result.stdout + result.stderr
    return result.stderr


def weights(folder):
    """Everything that was learned, from the newest checkpoint."""
    newest = max((folder / "save").glob("CKPT+*"))
    return {
        (file.stem, name): tensor
        for file in newest.glob("*.ckpt")
        if file.stem in ("embedding_model", "classifier")
        for name, tensor in torch.load(file, weights_only=True).items()
    }


def assert_same_end(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys() and first
    different = [key for key in first if not torch.equal(first[key], second[key])]
    assert not different
    assert (one / "predictions.csv").read_bytes() == (
        other / "predictions.csv"
    ).read_bytes()
