"""Running the scripts as a user does, on one thread and with a small model."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]

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
    "--audit=False",  # these two take longer than the training
    "--report=False",
)


def run_script(*arguments, folder=ROOT, launcher=()):
    """Run a script of the recipe.

    Arguments
    ---------
    *arguments : str or Path
        Script and options.
    folder : Path
        Where to run it.
    launcher : sequence of str
        Options of the interpreter before the script.

    Returns
    -------
    subprocess.CompletedProcess
        With text in stdout and stderr.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


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
