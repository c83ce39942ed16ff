"""The trained model as a SpeechBrain interface, from an experiment or an export.

    from local.inference.interface import ClinicalClassifier

    model = ClinicalClassifier.from_hparams(source="results/mine")
    model.classify_file("recording.wav")["strained"]["probability"]
    model.encode_file("recording.wav", kind="pt")

Elsewhere, without this recipe, an exported folder's `custom.py` has the same class.
"""

import contextlib
import sys
from pathlib import Path

from speechbrain.utils.run_opts import RunOptions

from local.evaluation.flags import known_flags, read_audit
from local.evaluation.operating_points import read_operating_points
from local.inference import classifier
from local.training.experiment import Experiment, open_experiment


class ClinicalClassifier(classifier.ClinicalClassifier):
    """What a trained model says of recordings.

    Its methods are those of `inference.ClinicalClassifier`: `classify_file`,
    `classify_batch`, `encode_file`, `encode_batch`, `load_audio`.
    """

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        hparams_file: str = "hyperparams.yaml",
        trust_experiment: bool = False,
        **kwargs,
    ) -> "ClinicalClassifier":
        """Load a model.

        source: What train.py called output_folder, here or ``gs://…``, or a folder that
            export.py wrote.
        hparams_file: Of an exported folder, which runs its own custom.py: load only
            those of people whose programs you would run.
        trust_experiment: Whether to open an experiment whatever Python its yaml names.
        **kwargs: `run_opts`, as {"device": "cuda:0"}, and of an exported folder all
            that SpeechBrain's `pretrained_from_hparams` takes.

        Raises UserError: if the source is an experiment that can't be used.
        """
        source = str(source)
        is_experiment = Path(source, "save").is_dir()
        if Path(source, "custom.py").is_file() and not is_experiment:
            with _importable(source):
                return super().from_hparams(source, hparams_file, **kwargs)
        run_opts = kwargs.pop("run_opts", None) or {}
        if isinstance(run_opts, dict):
            run_opts = RunOptions.from_dictionary(run_opts)
        options = {"experiment_folder": source, "trust_experiment": trust_experiment}
        experiment = open_experiment(options, run_opts)
        return cls.of_experiment(experiment, run_opts=run_opts, **kwargs)

    @classmethod
    def of_experiment(cls, experiment: Experiment, **kwargs) -> "ClinicalClassifier":
        """The model of an experiment that is open already.

        **kwargs: As for `speechbrain.inference.interfaces.Pretrained`.
        """
        points = read_operating_points(experiment.folder)
        flags = known_flags(read_audit(experiment.folder))
        found = {"operating_points": points, "flagged": flags}
        hparams = {**experiment.hparams, **found}
        modules = dict(experiment.brain.modules.items())
        return cls(modules=modules, hparams=hparams, **kwargs)


@contextlib.contextmanager
def _importable(folder):
    """Let hyperparams.yaml find what it needs of the folder's own custom.py."""
    sys.modules.pop("custom", None)  # another model's
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
