"""An experiment folder: planning a training run in one, and opening a finished one."""

import dataclasses
from pathlib import Path

from local import corpus, prepare
from local.audio import MIXES
from local.brain import BEST_CHECKPOINTS, ClinicalBrain
from local.config import load_hparams, plain_values
from local.decoding import BACKENDS
from local.errors import UserError
from local.manifests import positive_weights
from local.models import POOLING_MODES
from local.optimizers import OPTIMIZERS, SCHEDULERS

#: Keys that a resumed run may change: none shapes the model or the data.
FREE_ON_RESUME = (
    "output_folder",
    "number_of_epochs",
    "patience",
    "num_workers",
    "eval_batch_size",
    "check_only",
)

#: Keys that preparation fills; its own record tells whether the data changed.
FILLED = ("label_groups", "positive_weights")

#: Keys of evaluate.yaml and extract_embeddings.yaml that replace the experiment's
#: own: where the data are and how the work is done, never what shapes the input.
FREE_LATER = ("data_folder", "eval_batch_size", "num_workers", "on_bad_recording")

MANIFESTS = Path("save") / "manifests"

#: Keys that take one of a few names.
CHOICES = {
    "on_bad_recording": ("stop", "skip"),
    "best_checkpoint": BEST_CHECKPOINTS,
    "optimizer_name": tuple(OPTIMIZERS),
    "scheduler": SCHEDULERS,
    "pooling_mode": POOLING_MODES,
    "audio_backend": BACKENDS,
    "mono": MIXES,
}


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """Everything that is settled before a model is built.

    Attributes
    ----------
    overrides : dict
        The command line's, completed by what preparation found.
    values : dict
        Plain values of the yaml under these overrides.
    preparation : prepare.Preparation
    """

    overrides: dict
    values: dict
    preparation: prepare.Preparation


def plan_training(arguments):
    """Prepare the data and check the output folder; nothing is written.

    Arguments
    ---------
    arguments : cli.Arguments

    Returns
    -------
    TrainingPlan

    Raises
    ------
    UserError
        For wrong data, or an output folder that holds another experiment.
    """
    overrides = dict(arguments.overrides)
    values = plain_values(arguments.hparams_file, overrides)
    check_values(values)
    paths = corpus.corpus_paths(values)
    overrides |= {key: str(path) for key, path in paths.items()}
    overrides["study"] = None  # now part of data_folder
    folder = corpus.local_path(values["output_folder"], "output_folder")
    if arguments.run_opts.debug and not arguments.run_opts.debug_persistently:
        # the outputs of two batches must not replace those of a real run
        folder /= "debug"
    overrides["output_folder"] = str(folder)
    values |= overrides

    preparation = None
    if not values["check_only"]:
        _check_same_experiment(arguments.hparams_file, overrides, folder)
        preparation = prepare.saved_preparation(folder / MANIFESTS, values)
    if preparation is None:
        preparation = prepare.prepare_training(values)
    overrides["label_groups"] = preparation.label_groups
    if values["positive_weight"]:
        overrides["positive_weights"] = positive_weights(
            preparation.manifests["train"], preparation.labels
        )
    values = plain_values(arguments.hparams_file, overrides)
    return TrainingPlan(overrides, values, preparation)


def check_values(values):
    """Check the keys that take one of a few names, and the batch size.

    Arguments
    ---------
    values : dict
        Plain values of any of the yamls; null means that a key is not given.

    Raises
    ------
    UserError
        Naming all that is wrong.
    """
    problems = [
        f"{key} must be {' or '.join(known)}, found {values[key]!r}"
        for key, known in CHOICES.items()
        if values.get(key) is not None and values[key] not in known
    ]
    if values.get("batch_size", 2) < 2:
        problems.append(
            f"batch_size must be at least 2, found {values['batch_size']}: batch "
            "normalisation can't train on one recording"
        )
    if problems:
        raise UserError("These settings can't be:", problems)


def _check_same_experiment(hparams_file, overrides, folder):
    """`fit` resumes whatever lies in the folder: it must be this experiment."""
    saved_file = folder / "hyperparams.yaml"
    if not saved_file.exists():
        return
    saved = plain_values(saved_file)
    free = {key: saved[key] for key in (*FREE_ON_RESUME, *FILLED) if key in saved}
    if saved.get("scheduler") == "onecycle":
        del free["number_of_epochs"]  # the schedule ends with the last epoch
    new = plain_values(hparams_file, {**overrides, **free})
    changed = [
        f"{key}: {saved.get(key)!r} there, {new.get(key)!r} here"
        for key in dict.fromkeys([*saved, *new])
        if saved.get(key) != new.get(key)
    ]
    if changed:
        raise UserError(
            f"{folder} holds an experiment with other settings. Give another "
            "--output_folder, or these settings to continue it:",
            changed,
        )


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A trained model and what it was trained with.

    Attributes
    ----------
    folder : Path
    hparams : dict
        Objects and values of its hyperparams.yaml.
    brain : ClinicalBrain
        With the weights of the best checkpoint.
    checkpoint : str
        Name of that checkpoint's folder.
    """

    folder: Path
    hparams: dict
    brain: ClinicalBrain
    checkpoint: str

    def hparams_for(self, options):
        """Its hparams, with what a later run may choose anew.

        Arguments
        ---------
        options : dict
            Of evaluate.yaml or extract_embeddings.yaml; null keeps its own.

        Returns
        -------
        dict

        Raises
        ------
        UserError
            For a choice that is none.
        """
        check_values(options)
        chosen = {key: options[key] for key in FREE_LATER if options[key] is not None}
        if "data_folder" in chosen:
            folder = corpus.local_path(chosen["data_folder"], "data_folder")
            chosen["data_folder"] = str(folder)
        return {**self.hparams, **chosen}


def open_experiment(address, run_opts):
    """Open an experiment folder that `train.py` left.

    Arguments
    ---------
    address : str
        The folder.
    run_opts : speechbrain.utils.run_opts.RunOptions

    Returns
    -------
    Experiment

    Raises
    ------
    UserError
        If it is no experiment folder, holds no checkpoint, or its checkpoint does
        not fit its hyperparams.yaml.
    """
    folder = corpus.local_path(address, "experiment_folder")
    hparams_file = folder / "hyperparams.yaml"
    if not hparams_file.is_file():
        raise UserError(
            f"experiment_folder {folder} holds no hyperparams.yaml: expected a folder "
            "that train.py made (its --output_folder)."
        )
    save_folder = folder / "save"
    if not any(save_folder.glob("CKPT*/CKPT.yaml")):
        raise UserError(
            f"experiment_folder {folder} holds no checkpoint (save/CKPT+…): its "
            "training has not finished a first epoch."
        )
    # its references are resolved: the checkpointer still points to where it was made
    hparams = load_hparams(
        hparams_file, {"checkpointer": {"checkpoints_dir": str(save_folder)}}
    )
    brain = ClinicalBrain(
        modules=hparams["modules"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    # --debug has moved the checkpointer to an empty folder
    brain.checkpointer.checkpoints_dir = save_folder
    try:
        checkpoint = brain.load_best()
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"The checkpoint in {save_folder} does not fit {hparams_file}: {error}"
        ) from error
    return Experiment(folder, hparams, brain, checkpoint.path.name)
