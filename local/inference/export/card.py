"""The model card of an exported model."""

from pathlib import Path

from local.data.labels import flatten
from local.report import described
from local.storage.experiment_files import HPARAMS, MODEL_CARD
from local.training.experiment import Experiment
from local.utils.files import atomic_write
from local.utils.yaml_files import plain_values

SHORT = """\
# Model card: {name}

This experiment was not evaluated with a report, so its results are not known here:
`evaluate.py`, or `train.py` with `report: True`, writes a card with them.

For research with recordings that experts have rated. Not for diagnosis, triage or any
decision about a person. Embeddings can identify a speaker: treat them like recordings.

- Labels: {labels}
- Checkpoint: {checkpoint}
{facts}
"""


def write_card(experiment: Experiment, path: Path):
    """Write the experiment's own card, or a short one where it has none."""
    own = experiment.folder / MODEL_CARD  # that evaluation left
    text = own.read_text("utf-8") if own.is_file() else _short_card(experiment)
    with atomic_write(path) as stream:
        stream.write(text)


def _short_card(experiment):
    settings = plain_values(experiment.folder / HPARAMS)
    facts = described.architecture(settings) | described.preprocessing(settings)
    return SHORT.format(
        name=settings["dataset_name"],
        labels=", ".join(flatten(settings["label_groups"])),
        checkpoint=experiment.checkpoint,
        facts="\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact),
    )
