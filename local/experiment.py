"""Opening an experiment folder that training left."""

import dataclasses
from pathlib import Path

from local import corpus
from local.brain import ClinicalBrain
from local.config import load_hparams
from local.errors import UserError
from local.settings import check_values

#: Keys of evaluate.yaml and extract_embeddings.yaml that replace the experiment's
#: own: where the data are and how the work is done, never what shapes the input.
FREE_LATER = ("data_folder", "eval_batch_size", "num_workers", "on_bad_recording")

MANIFESTS = Path("save") / "manifests"
RUN_OPTIONS = Path("save") / "run_options.json"


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
    hparams = load_hparams(
        hparams_file,
        {
            # references are resolved: it still points to where it was made
            "checkpointer": {"checkpoints_dir": str(save_folder)},
            # for training only; its folders of noise and rooms may be elsewhere
            "augment": None,
        },
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
