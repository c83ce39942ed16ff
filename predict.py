"""Say which speech features a trained model hears in audio files.

    python predict.py FILE_OR_FOLDER … --experiment_folder=DIR [--json]
        [--output_file=FILE.json|FILE.csv] [--explain[=FOLDER]]
    python predict.py --split_csv=FILE --data_folder=DIR --experiment_folder=DIR
        --output_file=FILE.csv [--shard=I/N] [--merge] [--ray=auto|ADDRESS]

The first form takes any audio files, no metadata needed; of folders all at any depth,
none that are hidden or deleted. It prints a table of probabilities, or JSON with the
details; FILE has them too, a CSV a row per file and label. The second writes what
evaluate.py takes as --predictions_csv, of however many recordings (docs/archives.md).

    --explain[=FOLDER]   where in each file a label is heard: PNG and JSON, new folder
    --out_of_range=abstain|decide   what is unlike the training: no decision, or one
    --on_bad_recording=skip|stop   go on without files that can't be used (status 3)
    --max_duration=S --window_overlap=S --window_pooling=mean|max --num_workers=N
                         of long recordings; the experiment's unless given
    --backend=auto|eager|onnx (see hparams/extract_embeddings.yaml) --device=cpu|cuda
    --trust_experiment=True    open it whatever Python its hyperparams.yaml names
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

import logging
import sys

from local.inference import explain, predict_files, predict_split
from local.utils import cli
from local.utils.usage import Parser


def main(argv):
    """Find the recordings, open the experiment, predict, print, write; the status."""
    # standard output is for the predictions
    logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)
    options = _parse(argv)
    form = predict_split if options.split_csv else predict_files
    return cli.INCOMPLETE if form.predict(options) else cli.OK


def _parse(argv):
    parser = Parser()
    parser.add_argument("paths", nargs="*", metavar="FILE_OR_FOLDER")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--experiment_folder", required=True)
    for name in ("--output_file", "--device", "--split_csv", "--explain"):
        parser.add_argument(name)
    cli.add_trust_option(parser)
    cli.add_options(parser, *predict_files.KEYS, *predict_split.KEYS)
    parser.add_argument("--out_of_range", choices=("abstain", "decide"))
    parser.set_defaults(on_bad_recording="skip", backend="auto", out_of_range="abstain")
    parser.set_defaults(ray_cpus=1, ray_gpus=0)
    return parser.parse_args(explain.with_folder(argv))


if __name__ == "__main__":
    cli.run(main)
