"""Running the scripts as a user does, on one thread and with a small model.

Loading PyTorch and SpeechBrain takes longer than most scripts do here. One process
loads the libraries, none of our modules, and forks for every script.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

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
        *("google.cloud.storage", "torch._dynamo"),
    ]
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
    "--audit=False",  # these three take longer than the training
    "--acoustic_baseline=False",
    "--report=False",
)


def run_script(*arguments, folder=ROOT, launcher=None):
    """Run a script of the recipe.

    Arguments
    ---------
    *arguments : str or Path
        Script and options.
    folder : Path
        Where to run it.
    launcher : sequence of str, optional
        Options of an interpreter of its own, before the script.

    Returns
    -------
    subprocess.CompletedProcess
        With text in stdout and stderr.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if launcher is None:
        return _run_forked(
            [str(argument) for argument in arguments], folder, environment
        )
    return subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def _run_forked(arguments, folder, environment):
    """What subprocess.run does, without loading the libraries again."""
    with tempfile.TemporaryDirectory() as outputs:
        texts = [Path(outputs) / name for name in ("stdout", "stderr")]
        process = FORKING.Process(
            target=_be_script, args=(arguments, str(folder), environment, texts)
        )
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, TIMEOUT_S)
        said = [text.read_text() if text.exists() else "" for text in texts]
        return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def _be_script(arguments, folder, environment, texts):
    """Run a script in this process as if it had been started by itself."""
    for descriptor, path in enumerate((os.devnull, *texts)):
        flags = os.O_WRONLY | os.O_CREAT if descriptor else os.O_RDONLY
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(environment)
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


def train(corpus, output_folder, *options, **kwargs):
    """Run train.py on a corpus with the small model."""
    return run_script(
        "train.py",
        "hparams/train.yaml",
        f"--corpus_folder={corpus}",
        f"--output_folder={output_folder}",
        *SMALL,
        *options,
        **kwargs,
    )


def succeeded(result):
    """The result of a script that must have ended well."""
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
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
