"""Turn a model trained with the original project into an experiment folder.

    python recipes/original/import_checkpoint.py --model=FILE_mdl.pt --args=args.pkl
        --output_folder=DIR [--labels_file=labels.txt] [--dataset_name=NAME]
        [--sample_rate=HZ] [--label_types={strained: {type: score, range: [0, 4]}}]

evaluate.py and extract_embeddings.py take the folder. Nothing in either file is
executed. `--labels_file` names the labels where args.pkl doesn't; `--sample_rate`
gives the recordings' rate where the original left it alone (resample_rate 0),
`--label_types` the scales of labels that are not 0/1, as in train_original.yaml.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import logging
import sys
from pathlib import Path

import ruamel.yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils import cli  # noqa: E402 (before what loads PyTorch: see local.utils.threads)

# isort: split
import torch  # noqa: E402
from speechbrain.utils.run_opts import RunOptions  # noqa: E402

from local.data.corpus import check_dataset_name  # noqa: E402
from local.data.labels import flatten, parse_label_types  # noqa: E402
from local.model.weight_files import read_state_dict  # noqa: E402
from local.storage.addresses import output_path  # noqa: E402
from local.training.brain import SELECTION, ClinicalBrain  # noqa: E402
from local.training.experiment import save_hparams  # noqa: E402
from local.training.settings import check_numbers, check_window  # noqa: E402
from local.utils.errors import UserError  # noqa: E402
from local.utils.files import folder_beside, write_json  # noqa: E402
from local.utils.usage import Parser  # noqa: E402
from local.utils.yaml_files import load_hparams, parse_value, plain_values  # noqa: E402
from recipes.original.arguments import (  # noqa: E402
    carried_values,
    label_groups,
    model_values,
)
from recipes.original.pickled_args import read_args  # noqa: E402
from recipes.original.weights import (  # noqa: E402
    SAVE_IT,
    compare,
    head_sizes,
    own_weights,
)

HPARAMS_FILE = ROOT / "hparams" / "train_original.yaml"


@dataclasses.dataclass(frozen=True)
class Import:
    """An original model, understood.

    overrides: Values for the keys of train_original.yaml.
    weights: Module → its state dict.
    notes: What a user should know.
    """

    overrides: dict
    weights: dict[str, dict]
    notes: list[str]


def main(argv):
    """Read both files, compare them, write the experiment folder."""
    given = _parse(argv)
    folder = output_path(given.output_folder, "output_folder")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(
            f"output_folder {folder} already holds something, and nothing is written "
            "over: name another one."
        )
    args = read_args(given.args)
    if not given.model.is_file():
        raise UserError(
            f"model should be the original's *_mdl.pt: there is no {given.model}"
        )
    state = read_state_dict(given.model, SAVE_IT)
    imported = understand(args, state, given)
    with folder_beside(folder) as temporary:
        write_experiment(temporary, folder, imported)
        write_json(
            temporary / "imported.json",
            {
                "model": {"file": str(given.model), "sha256": _sha256(given.model)},
                "args": {"file": str(given.args), "sha256": _sha256(given.args)},
                "notes": imported.notes,
            },
        )
        temporary.rename(folder)  # fails if something was put there meanwhile
    _report(folder, imported)


def _parse(argv):
    parser = Parser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--args", type=Path, required=True)
    parser.add_argument("--output_folder", required=True)
    parser.add_argument("--labels_file", type=Path)
    parser.add_argument("--dataset_name")
    parser.add_argument("--sample_rate", type=int)
    parser.add_argument("--label_types", type=_mapping, default={})
    return parser.parse_args(argv)


def _mapping(text):
    try:
        value = parse_value(text)
    except ruamel.yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no yaml value") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no mapping")
    return value


def understand(
    args: dict, state: dict[str, torch.Tensor], given: argparse.Namespace
) -> Import:
    """From both files to values of our yaml and weights of our modules.

    args: Attribute → value of the original's Namespace.
    given: Options of this script.

    Raises UserError: for arguments that are missing or wrong, and weights that don't
        match them.
    """
    defaults = plain_values(HPARAMS_FILE)
    values, notes = model_values(args, given)
    sizes = head_sizes(state)
    problems = compare(state, {**defaults, **values}, sizes)
    if problems:
        raise UserError(f"{given.model} doesn't match {given.args}:", problems)
    groups = label_groups(args, given, sizes, notes)
    if given.label_types:
        types = parse_label_types(given.label_types, flatten(groups), values["loss"])
        scores = [label for label, kind in types.items() if kind.is_score]
        if scores and values["loss"] == "bce":
            raise UserError(
                "The model was trained with BCE and its outputs are no scores: these "
                "labels can't be of type score:",
                scores,
            )
        values["label_types"] = given.label_types
    if values["loss"] == "mse":
        # targets as they were, no scale
        values["label_ranges"] = [[0.0, 1.0]] * len(flatten(groups))
    overrides = carried_values(args, defaults, notes) | values
    overrides["label_groups"] = groups
    check_numbers({**defaults, **overrides})
    check_window({**defaults, **overrides})
    if given.dataset_name:
        check_dataset_name(given.dataset_name)
        overrides["dataset_name"] = given.dataset_name
    return Import(overrides, own_weights(state), notes)


# The folder


def write_experiment(folder: Path, final: Path, imported: Import):
    """Write hyperparams.yaml and the checkpoint.

    folder: Where to write.
    final: Where it will be.

    Raises UserError: if the model can't be built from these values.
    """
    overrides = {**imported.overrides, "output_folder": str(final)}
    with _quiet():
        hparams = load_hparams(
            HPARAMS_FILE,
            {**overrides, "checkpointer": {"checkpoints_dir": str(folder / "save")}},
        )
        for name, weights in imported.weights.items():
            hparams["modules"][name].load_state_dict(weights)  # strict
        # it puts a part of its own into checkpoints
        brain = ClinicalBrain(
            modules=hparams["modules"],
            hparams=hparams,
            run_opts=RunOptions(device="cpu"),
            checkpointer=hparams["checkpointer"],
        )
        brain.checkpointer.save_checkpoint(
            meta={"epoch": overrides.get("number_of_epochs", 0), SELECTION: 0.0}
        )
    save_hparams(HPARAMS_FILE, overrides, folder)


@contextlib.contextmanager
def _quiet():
    """Without the news of a training, which would name the temporary folder."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _sha256(file):
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _report(folder, imported):
    """Print what was made and what to do with it."""
    groups = imported.overrides["label_groups"]
    print(f"Made {folder}: {len(groups)} heads, {len(flatten(groups))} labels")
    for i, group in enumerate(groups, start=1):
        print(f"  head {i}: {', '.join(group)}")
    for note in imported.notes:
        print(note)
    print(f"""
Next:
  python evaluate.py hparams/evaluate.yaml --experiment_folder={folder} \\
      --split_csv=FILE.csv --data_folder=DIR
  python extract_embeddings.py hparams/extract_embeddings.yaml \\
      --experiment_folder={folder} --split_csv=FILE.csv --data_folder=DIR \\
      --embedding_type=pt --output_file=FILE.parquet""")


if __name__ == "__main__":
    cli.run(main)
