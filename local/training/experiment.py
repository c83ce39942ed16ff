"""Opening an experiment folder that training left."""

import dataclasses
import datetime
from pathlib import Path

from speechbrain.utils.distributed import ddp_init_group
from speechbrain.utils.run_opts import RunOptions

from local.audio.loading import AudioFormat
from local.data.feature_cache import FeatureCache
from local.data.feature_table import FeatureTable
from local.data.loaders import ScoreBatches
from local.data.windows import LongRecordings
from local.storage.addresses import absolute, is_remote, joined
from local.storage.experiment_files import HPARAMS, SAVE, check_experiment_files
from local.storage.gcs import Address
from local.storage.inputs import Storage, told_as
from local.training.brain import ClinicalBrain
from local.training.safe_yaml import check_trusted
from local.training.settings import check_later, check_values
from local.utils.cli import Arguments, parse_arguments
from local.utils.errors import UserError
from local.utils.files import atomic_write
from local.utils.keys import CHOICE, KEYS, TEXT, TEXTS, keys_where
from local.utils.streams import quiet
from local.utils.yaml_files import (
    load_hparams,
    plain_values,
    resolved_yaml,
    saved_values,
)

#: Keys of evaluate.yaml and extract_embeddings.yaml that replace the experiment's
#: own: where the data are and how the work is done, never what shapes the input.
FREE_LATER = keys_where(later="chosen")

#: Keys of this machine, which always replace the experiment's.
OF_THIS_MACHINE = keys_where(later="always")

#: Keys that nothing works without.
ESSENTIAL = ("modules", "checkpointer", *keys_where(needed=True), *FREE_LATER)

#: Objects of plain keys that a later run makes anew, of what it chose.
OBJECTS = {
    "audio": AudioFormat,
    "score_batches": ScoreBatches,
    "windows": LongRecordings,
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A trained model and what it was trained with.

    address: Where it was found: a local path or ``gs://…``.
    folder: Where it can be read: there, or a copy of what evaluation needs of it.
    hparams: Objects and values of its hyperparams.yaml.
    brain: With the weights of the best checkpoint.
    checkpoint: Name of that checkpoint's folder.
    """

    address: str
    folder: Path
    hparams: dict
    brain: ClinicalBrain
    checkpoint: str

    def hparams_for(self, options: dict) -> dict:
        """Its hparams, with what a later run may choose anew.

        options: Of evaluate.yaml or extract_embeddings.yaml; null keeps its own.

        Raises UserError: for a choice that is none.
        """
        chosen = {key: options[key] for key in FREE_LATER if options[key] is not None}
        if "data_folder" in chosen:
            chosen["data_folder"] = absolute(chosen["data_folder"], "data_folder")
        chosen |= {key: options[key] for key in OF_THIS_MACHINE}
        if self.hparams.get("features") and options.get("features"):
            chosen["features"] = absolute(options["features"], "features")
        hparams = {**self.hparams, **chosen}
        later = {key: hparams[key] for key in (*FREE_LATER, "sample_rate")}
        check_later(options | later)
        objects = {key: kind.of(hparams) for key, kind in OBJECTS.items()}
        return hparams | objects

    def check_hears(self):
        """Refuse a model that reads features from a file in the place of audio.

        Raises UserError.
        """
        if self.hparams.get("features"):
            raise UserError(
                f"{self.address} is a model of features that were computed elsewhere "
                "(train_features.yaml): it can't be asked about audio, nor exported. "
                "evaluate.py and extract_embeddings.py take --features=FILE.parquet."
            )

    @property
    def output_folder(self):
        """Where later results go unless told otherwise: into it, if it is on disk."""
        if not is_remote(self.address):
            return self.folder
        place = Address.parse(self.address)
        return Path("results", place.bucket, place.name).absolute()


def later_options(argv: list[str]) -> tuple[dict, Arguments]:
    """What the command line of a later run says; the processes of torchrun meet.

    Returns options: Of evaluate.yaml or extract_embeddings.yaml.
    Returns arguments: As `parse_arguments`.
    """
    arguments = parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    hparams_file, overrides = arguments.hparams_file, arguments.overrides
    # of names the kind is no question; some have no default
    kinds = {key: KEYS[key].kind for key in overrides if key in KEYS}
    names = {
        key: overrides[key] for key in kinds if kinds[key] in (TEXT, TEXTS, CHOICE)
    }
    check_values(
        plain_values(hparams_file, overrides), plain_values(hparams_file, names)
    )
    return load_hparams(hparams_file, overrides), arguments


@quiet()  # SpeechBrain tells what its training has told
def open_experiment(options: dict, run_opts: RunOptions) -> Experiment:
    """Open an experiment folder that `train.py` left.

    options: Of evaluate.yaml or extract_embeddings.yaml: `experiment_folder`, what
        `storage.Storage.of` reads and, if it is there, `trust_experiment`.

    Raises UserError: if it is no experiment folder, holds no checkpoint, or its
        checkpoint does not fit its hyperparams.yaml; if that could run any program, and
        is not to be trusted.
    """
    address = absolute(options["experiment_folder"], "experiment_folder")
    folder = Storage.of(options).experiment(address)
    hparams_file = folder / HPARAMS
    check_experiment_files(folder, address)
    save_folder = folder / SAVE
    overrides = {
        # references are resolved: it still points to where it was made
        "checkpointer": {"checkpoints_dir": str(save_folder)},
        # for training only; its folders of noise and rooms may be elsewhere
        "augment": None,
    }
    told_path = joined(address, hparams_file.name)
    if not options.get("trust_experiment"):
        check_trusted(hparams_file, told_path, overrides)
    with told_as(told_path, hparams_file):
        saved = saved_values(hparams_file)
    absent = [key for key in ESSENTIAL if key not in saved]
    if absent:
        raise UserError(
            f"{told_path} is not one that train.py wrote, or damaged; there is no:",
            absent,
        )
    # what a later run can't choose is refused before the model is built
    chosen = {key: value for key, value in options.items() if value is not None}
    check_later({key: saved[key] for key in (*FREE_LATER, "sample_rate")} | chosen)
    with told_as(told_path, hparams_file):
        hparams = load_hparams(hparams_file, overrides)
    hparams["save_folder"] = str(save_folder)
    brain = ClinicalBrain(
        modules=hparams["modules"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.feature_cache = FeatureCache.of(hparams)
    # --debug has moved the checkpointer to an empty folder
    brain.checkpointer.checkpoints_dir = save_folder
    checkpoint = brain.load_best()
    return Experiment(address, folder, hparams, brain, checkpoint.path.name)


def arrange(recordings, experiment: Experiment):
    """Let a file of features give those that an experiment's model was trained on.

    recordings: Others than a `FeatureTable` stay as they are.

    Raises UserError: naming those that the file has not.
    """
    if isinstance(recordings, FeatureTable):
        recordings.arranged(experiment.brain.plain_modules["compute_features"].names)


def save_hparams(hparams_file: Path, overrides: dict, folder: Path):
    """Write hyperparams.yaml as SpeechBrain does, but whole or not at all.

    folder: The experiment's.
    """
    text = resolved_yaml(hparams_file, overrides)
    with atomic_write(folder / HPARAMS) as file:
        file.write(
            f"# Generated {datetime.date.today()} from:\n"
            f"# {Path(hparams_file).absolute()}\n"
            f"# yamllint disable\n{text}"
        )


def check_no_experiment(folder: Path):
    """Refuse an output folder that is an experiment's.

    Raises UserError.
    """
    if (folder / HPARAMS).exists() or (folder / SAVE).exists():
        raise UserError(
            f"output_folder {folder} holds an experiment, whose files stay as they "
            "are: give another one."
        )
