"""Say which speech features a trained model hears in audio files.

    python predict.py FILE_OR_FOLDER … --experiment_folder=DIR [--json]
        [--output_file=FILE.json|FILE.csv] [--explain[=FOLDER]]

Any audio files, no metadata needed; of folders all audio files at any depth, but none
that are hidden or deleted. Prints a table of probabilities, or JSON, which has all
there is to say of each label.

    --output_file=FILE   also into a file, JSON or a CSV with a row per file and label
    --explain[=FOLDER]   where in each file a label is heard: PNG and JSON, new folder
    --on_bad_recording=skip|stop   list files that can't be used (status 3), or stop
    --max_duration=S --window_overlap=S --window_pooling=mean|max   of long recordings
    --num_workers=N      processes that decode; the experiment's unless given
    --backend=auto|eager|onnx    see hparams/extract_embeddings.yaml
    --device=cpu|cuda    where to compute
    --trust_experiment=True    open it whatever Python its hyperparams.yaml names
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

import argparse
import logging
import sys

from local.inference.predict_files import check_options, predict_files
from local.utils import cli

#: Options that are keys of the yamls.
KEYS = ("num_workers", "max_duration", "window_overlap", "window_pooling")


def main(argv):
    """Find the files, open the experiment, predict, print, write; the exit status."""
    # standard output is for the predictions
    logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)
    options = _parse(argv)
    n_failed = predict_files(options, check_options(options))
    return cli.INCOMPLETE if n_failed else cli.OK


def _parse(argv):
    parser = argparse.ArgumentParser(prog="predict.py", allow_abbrev=False)
    parser.add_argument("paths", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--experiment_folder", required=True)
    for name in ("--output_file", "--device", "--explain"):
        parser.add_argument(name)
    cli.add_trust_option(parser)
    cli.add_options(parser, *KEYS, "on_bad_recording", "backend")
    parser.set_defaults(on_bad_recording="skip", backend="auto")
    bare = {"--explain": "--explain=explained"}  # what follows is a file to be heard
    return parser.parse_args([bare.get(text, text) for text in argv])


if __name__ == "__main__":
    cli.run(main)
