"""An experiment folder: planning a training run in one, and opening a finished one."""

import dataclasses
import json
import os
from pathlib import Path

from local import corpus, prepare
from local.audio import MIXES
from local.brain import BEST_CHECKPOINTS, ClinicalBrain
from local.config import load_hparams, plain_values
from local.decoding import BACKENDS
from local.errors import UserError
from local.manifests import positive_weights, stop_on_failed
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

#: Keys that follow from others.
DERIVED = ("save_folder", "train_log", "label_groups", "positive_weights")

#: Keys that preparation fills; its own record tells whether the data changed.
FILLED = ("label_groups", "positive_weights")

#: Keys of evaluate.yaml and extract_embeddings.yaml that replace the experiment's
#: own: where the data are and how the work is done, never what shapes the input.
FREE_LATER = ("data_folder", "eval_batch_size", "num_workers", "on_bad_recording")

MANIFESTS = Path("save") / "manifests"
RUN_OPTIONS = Path("save") / "run_options.json"

#: Smallest values of numbers, whole ones first.
LOWEST = {
    "sample_rate": 1000,
    "n_mels": 1,
    "lin_neurons": 1,
    "batch_size": 1,
    "eval_batch_size": 1,
    "num_workers": 0,
    "number_of_epochs": 1,
    "patience": 0,
    "val_size": 0,
    "clip_length": 0,
    "min_duration": 0,
    "lr": 0,
    "weight_decay": 0,
    "max_lr": 0,
}
WHOLE = tuple(LOWEST)[: tuple(LOWEST).index("clip_length")]

#: Five frames, 10 ms apart with windows of 25 ms: ECAPA-TDNN's widest convolution
#: reflects four frames at either end.
MIN_INPUT_S = 0.065

#: Keys that take one of a few names.
CHOICES = {
    "on_bad_recording": ("stop", "skip"),
    "best_checkpoint": BEST_CHECKPOINTS,
    "optimizer_name": tuple(OPTIMIZERS),
    "scheduler": SCHEDULERS,
    "pooling_mode": POOLING_MODES,
    "audio_backend": BACKENDS,
    "mono": MIXES,
    "loss": ("bce",),
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
    run_options : dict
        Run options that the weights depend on.
    """

    overrides: dict
    values: dict
    preparation: prepare.Preparation
    run_options: dict


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
        For wrong settings or data, recordings that can't be used unless these are
        to be skipped, or an output folder that holds another experiment.
    """
    overrides = dict(arguments.overrides)
    derived = [f"--{key}" for key in DERIVED if key in overrides]
    if derived:
        raise UserError(f"{', '.join(derived)}: filled by train.py, not to be given.")
    values = plain_values(arguments.hparams_file, overrides)
    check_values(values, plain_values(arguments.hparams_file))
    _check_numbers(values)
    paths = corpus.corpus_paths(values)
    overrides |= {key: str(path) for key, path in paths.items()}
    overrides["study"] = None  # now part of data_folder
    folder = corpus.output_path(values["output_folder"], "output_folder")
    if arguments.run_opts.debug and not arguments.run_opts.debug_persistently:
        # the outputs of two batches must not replace those of a real run
        folder /= "debug"
    overrides["output_folder"] = str(folder)
    values |= overrides

    run_options = _run_options(arguments.run_opts)
    preparation = None
    if not values["check_only"]:
        _check_same_experiment(arguments.hparams_file, overrides, run_options, folder)
        preparation = prepare.saved_preparation(folder / MANIFESTS, values)
    if preparation is None:
        preparation = prepare.prepare_training(values)
    if values["on_bad_recording"] == "stop" and not values["check_only"]:
        stop_on_failed(preparation.failed)
    overrides["label_groups"] = preparation.label_groups
    if values["positive_weight"]:
        overrides["positive_weights"] = positive_weights(
            preparation.manifests["train"], preparation.labels
        )
    values = plain_values(arguments.hparams_file, overrides)
    return TrainingPlan(overrides, values, preparation, run_options)


def check_values(values, defaults):
    """Check the kind of every value, and the keys that take one of a few names.

    Arguments
    ---------
    values : dict
        Plain values of any of the yamls; null means that a key is not given.
    defaults : dict
        The yaml's own values, which show what kind is expected.

    Raises
    ------
    UserError
        Naming all that is wrong.
    """
    problems = [
        f"{key} must be {_kind(default)}, as {default!r}; found {values[key]!r}"
        for key, default in defaults.items()
        if None not in (default, values[key]) and _kind(default) != _kind(values[key])
    ]
    problems += [
        f"{key} must be {' or '.join(known)}, found {values[key]!r}"
        for key, known in CHOICES.items()
        if values.get(key) is not None and values[key] not in known
    ]
    if problems:
        raise UserError("These settings can't be:", problems)


def _kind(value):
    """What a yaml value is, in a user's words."""
    kinds = {bool: "True or False", list: "a list", dict: "a mapping", str: "a name"}
    return kinds.get(type(value), "a number")


def _check_numbers(values):
    """Check ranges; what training reads at its shortest must do for the model."""
    problems = []
    problems += [
        f"{key} must be {lowest} or more, found {values[key]!r}"
        for key, lowest in LOWEST.items()
        if values[key] is None or not values[key] >= lowest
    ]
    problems += [
        f"{key} must be a whole number, found {values[key]!r}"
        for key in WHOLE
        if values[key] is not None and int(values[key]) != values[key]
    ]
    if problems:
        raise UserError("These settings can't be:", problems)
    if values["batch_size"] < 2:
        problems.append(
            f"batch_size must be at least 2, found {values['batch_size']}: batch "
            "normalisation can't train on one recording"
        )
    shortest_s = min(values["min_duration"], values["clip_length"] or float("inf"))
    if values["speed"]:
        shortest_s /= values["speed_range"][1]
    if shortest_s < MIN_INPUT_S:
        problems.append(
            f"the shortest input would be {shortest_s:g} s (min_duration, clip_length, "
            f"speed_range), and the model needs {MIN_INPUT_S} s"
        )
    if problems:
        raise UserError("These settings can't be:", problems)


def _run_options(run_opts):
    """Run options that the weights depend on and no yaml key tells of."""
    return {
        "precision": run_opts.precision,
        "grad_accumulation_factor": run_opts.grad_accumulation_factor,
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
    }


def _check_same_experiment(hparams_file, overrides, run_options, folder):
    """`fit` resumes whatever lies in the folder: it must be this experiment."""
    if not any((folder / "save").glob("CKPT*")):
        return  # nothing is trained yet
    for name in ("hyperparams.yaml", RUN_OPTIONS):
        if not (folder / name).exists():
            raise UserError(
                f"{folder} holds checkpoints and no {name}: it can't be told what they "
                "were trained with. Give another --output_folder."
            )
    saved = plain_values(folder / "hyperparams.yaml")
    free = {key: saved[key] for key in (*FREE_ON_RESUME, *FILLED) if key in saved}
    if saved.get("scheduler") == "onecycle":
        del free["number_of_epochs"]  # the schedule ends with the last epoch
    new = plain_values(hparams_file, {**overrides, **free})
    saved |= json.loads((folder / RUN_OPTIONS).read_text(encoding="utf-8"))
    new |= run_options
    different = [
        key for key in dict.fromkeys([*saved, *new]) if saved.get(key) != new.get(key)
    ]
    # objects follow from plain keys, unless it is the yaml itself that differs
    plain = [key for key in different if not isinstance(new.get(key), dict)]
    changed = [
        f"{key}: {saved.get(key)!r} there, {new.get(key)!r} here"
        for key in plain or different
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
        check_values(options, {})
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
    except UserError:
        raise
    except Exception as error:  # whatever reading damaged files may raise
        raise UserError(
            f"The best checkpoint in {save_folder} is damaged or does not fit "
            f"{hparams_file}: {error}. Deleting its folder leaves the older one."
        ) from error
    return Experiment(folder, hparams, brain, checkpoint.path.name)
