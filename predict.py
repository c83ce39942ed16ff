"""Say which speech features a trained model hears in audio files.

    python predict.py FILE_OR_FOLDER … --experiment_folder=DIR [--json]
        [--output_file=FILE.json|FILE.csv]

Any audio files, no metadata needed; of folders all audio files at any depth, but none
that are hidden or deleted. Prints a table of probabilities, or JSON, which has all
there is to say of each label.

    --output_file=FILE   also into a file, JSON or a CSV with a row per file and label
    --on_bad_recording=skip|stop   go on without files that can't be used (they are
                         listed, status 3), or stop before anything is computed
    --max_duration=S --window_overlap=S --window_pooling=mean|max
                         of long recordings; the experiment's unless given
    --num_workers=N      processes that decode; the experiment's unless given
    --backend=auto|eager|onnx    see hparams/extract_embeddings.yaml
    --device=cpu|cuda    where to compute
    --trust_experiment=True    open it whatever Python its hyperparams.yaml names
"""

import sys

from local.storage import first_look

if __name__ == "__main__":
    first_look.look()

import argparse
import json
import logging

import torch

from local.data.audio_files import FileRecordings, files_table, find_audio
from local.data.manifests import (
    BETWEEN_WARNINGS,
    build_manifest,
    stop_on_failed,
    write_failed,
)
from local.data.pooling import POOLINGS
from local.evaluation.flags import read_audit
from local.inference.engine import Engine
from local.inference.predict_files import (
    format_predictions,
    predict_manifest,
    predictions_csv,
)
from local.storage.addresses import is_remote, local_path, output_path
from local.training.experiment import FREE_LATER, OF_THIS_MACHINE, open_experiment
from local.utils import cli
from local.utils.errors import UserError
from local.utils.files import atomic_write, write_json
from local.utils.keys import KEYS
from local.utils.number_format import printable


def main(argv):
    """Find the files, open the experiment, predict, print, write."""
    # standard output is for the predictions
    logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)
    options = _parse(argv)
    output_file = options.output_file and _writable(options.output_file)
    paths = [local_path(path, "FILE_OR_FOLDER") for path in options.paths]
    files, skipped = find_audio(paths)
    experiment = open_experiment(_experiment_options(options), _run_options(options))
    hparams = experiment.hparams_for(_experiment_options(options))
    recordings = FileRecordings(files)
    manifest, failed = build_manifest(
        files_table(files), None, recordings, hparams["audio"], [], "inspecting"
    )
    if options.on_bad_recording == "stop" or manifest.empty:
        stop_on_failed(failed, are_all=manifest.empty)
    engine = Engine(experiment.brain, options.backend, manifest["duration"].sum())
    predicted = predict_manifest(engine, experiment, manifest, recordings, hparams)
    predicted["failed"] = [
        {"file": row["uid"], "reason": row["reason"]} for row in failed
    ]
    as_json = json.dumps(predicted, indent=2, ensure_ascii=False)
    table = format_predictions(predicted, read_audit(experiment.folder))
    print(as_json if options.json else table)
    if skipped:
        counts = ", ".join(f"{n} {suffix}" for suffix, n in skipped.most_common())
        print(printable(f"not taken from folders: {counts}"), file=sys.stderr)
    for line in _warnings(manifest):
        print(line, file=sys.stderr)
    for row in failed:
        print(printable(f"left out: {row['uid']}: {row['reason']}"), file=sys.stderr)
    if output_file:
        _write(predicted, failed, output_file)
    return cli.INCOMPLETE if failed else cli.OK


def _parse(argv):
    parser = argparse.ArgumentParser(
        prog="predict.py",
        allow_abbrev=False,
        usage="predict.py FILE_OR_FOLDER … "
        "--experiment_folder=DIR [--json] (--help tells all options)",
    )
    parser.add_argument("paths", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--experiment_folder", required=True)
    parser.add_argument("--json", action="store_true")
    cli.add_trust_option(parser)
    parser.add_argument("--output_file")
    parser.add_argument("--on_bad_recording", choices=("skip", "stop"), default="skip")
    parser.add_argument("--max_duration", type=float)
    parser.add_argument("--window_overlap", type=float)
    parser.add_argument("--window_pooling", choices=POOLINGS)
    parser.add_argument("--num_workers", type=int)
    parser.add_argument("--backend", choices=KEYS["backend"].choices, default="auto")
    parser.add_argument("--device")
    options = parser.parse_args(argv)
    remote = [path for path in options.paths if is_remote(path)]
    if remote:
        raise UserError(
            "predict.py reads local files; evaluate.py and extract_embeddings.py read "
            "from buckets. Found:",
            remote,
        )
    return options


def _warnings(manifest):
    """What is odd about files."""
    for name, text in zip(manifest["ID"], manifest["warnings"], strict=True):
        for warning in text.split(BETWEEN_WARNINGS) if text else ():
            yield printable(f"{name}: {warning}")


def _experiment_options(options):
    """What `open_experiment` and `hparams_for` read, as of a yaml."""
    given = vars(options)
    keys = {*FREE_LATER, *OF_THIS_MACHINE}
    return {key: given.get(key) for key in keys} | {
        key: given[key] for key in ("experiment_folder", "trust_experiment")
    }


def _run_options(options):
    device = options.device or ""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device=cuda: there is no GPU that PyTorch can use here.")
    return {"device": device} if device else {}


def _writable(output_file):
    path = local_path(output_file, "output_file")
    if path.suffix not in (".json", ".csv") or path.is_dir():
        raise UserError(
            f"output_file must be a file that ends with .json or .csv, found {path}."
        )
    if (path.parent / "hyperparams.yaml").exists():
        raise UserError(
            f"output_file {path} lies in an experiment's folder, whose files stay as "
            "they are: give another one."
        )
    output_path(path.parent, "output_file")
    return path


def _write(predicted, failed, path):
    if path.suffix == ".json":
        write_json(path, predicted)
    else:
        with atomic_write(path) as file:
            predictions_csv(predicted).to_csv(file, index=False, lineterminator="\n")
    write_failed(failed, path.with_name(f"{path.name}.failed.csv"))


if __name__ == "__main__":
    cli.run(main)
