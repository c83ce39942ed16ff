"""From a tiny corpus to an exported model: do the installed packages work together?

    PYTHONPATH=. python tests/smoke.py

Status 0 if every step works; 1 with the output of the first that does not.
"""

import sys
import tempfile
from pathlib import Path

from conftest import make_corpus
from running import SMALL, run_script

#: Their own interpreter for each script, as a user starts them.
OWN_PROCESS = ()


def steps(corpus, results):
    """The command line of each step, by its name."""
    experiment = f"--experiment_folder={results / 'model'}"
    test = corpus / "splits" / "test.csv"
    places = (f"--split_csv={test}", f"--data_folder={corpus / 'audio'}")
    return {
        "import": ("train.py", "--help"),
        "train": (
            *("train.py", "hparams/train.yaml", f"--corpus_folder={corpus}"),
            *(f"--output_folder={results / 'model'}", *SMALL, "--report=True"),
        ),
        "evaluate": ("evaluate.py", "hparams/evaluate.yaml", experiment, *places),
        "extract": (
            *("extract_embeddings.py", "hparams/extract_embeddings.yaml", experiment),
            *(
                *places,
                "--embedding_type=pt",
                f"--output_file={results / 'pt.parquet'}",
            ),
        ),
        "predict": ("predict.py", corpus / "audio" / "s11_0", experiment),
        "export": ("export.py", experiment, f"--output_folder={results / 'exported'}"),
    }


def main():
    """Run the steps; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder) / "corpus")
        for name, command in steps(corpus, Path(folder)).items():
            result = run_script(*command, launcher=OWN_PROCESS)
            if result.returncode:
                print(f"{name}: status {result.returncode}")
                print((result.stdout + result.stderr)[-3000:])
                return 1
            print(f"{name}: works", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
