"""The model card of an exported model."""

from local.addresses import joined
from local.config import plain_values
from local.files import atomic_write
from local.gcs import Missing
from local.labels import flatten
from local.report import described
from local.storage import Storage

CARD = "model_card.md"

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


def write_card(experiment, path):
    """Write the experiment's own card, or a short one where it has none.

    Arguments
    ---------
    experiment : experiment.Experiment
    path : Path
    """
    text = _own_card(experiment)
    with atomic_write(path) as stream:
        stream.write(_short_card(experiment) if text is None else text)


def _own_card(experiment):
    """The card that evaluation left in the experiment; None without one."""
    try:
        file = Storage.of({}).file(joined(experiment.address, CARD))
    except Missing:
        return None
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _short_card(experiment):
    settings = plain_values(experiment.folder / "hyperparams.yaml")
    facts = described.architecture(settings) | described.preprocessing(settings)
    return SHORT.format(
        name=settings["dataset_name"],
        labels=", ".join(flatten(settings["label_groups"])),
        checkpoint=experiment.checkpoint,
        facts="\n".join(f"- {name}: {of}" for name, of in facts.items() if of),
    )
