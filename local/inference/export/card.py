"""The model card of an exported model."""

import re
from pathlib import Path

from local.data.labels import flatten
from local.report import described
from local.report.card import COMMAND_IS
from local.training.experiment import Experiment
from local.utils.files import atomic_write
from local.utils.yaml_files import plain_values

CARD = "model_card.md"

#: It has the paths of the machine that it was typed on.
_COMMAND = re.compile(
    rf"{re.escape(COMMAND_IS)}\n\n(?P<fence>`{{3,}})\w*\n.*?\n(?P=fence)\n",
    re.DOTALL,
)

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
    own = experiment.folder / CARD  # that evaluation left
    text = own.read_text("utf-8") if own.is_file() else _short_card(experiment)
    text = _COMMAND.sub("The command is in the experiment's own card.\n", text)
    with atomic_write(path) as stream:
        stream.write(text)


def _short_card(experiment):
    settings = plain_values(experiment.folder / "hyperparams.yaml")
    facts = described.architecture(settings) | described.preprocessing(settings)
    return SHORT.format(
        name=settings["dataset_name"],
        labels=", ".join(flatten(settings["label_groups"])),
        checkpoint=experiment.checkpoint,
        facts="\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact),
    )
