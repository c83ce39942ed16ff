"""Three simulated raters and the label they agree on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recipes.demo.cohort import LABELS, MAX_SEVERITY

N_RATERS = 3

#: A rating from here on (of 0 to 4) counts as having the label.
POSITIVE_FROM = 2

#: Standard deviation of one rating around the severity; breakdowns, which come
#: and go, are hardest to agree on.
RATING_SD = {
    "slow rate": 1.25,
    "irregular artic breakdowns": 1.25,
    "rapid rate": 1.2,
    "distortions": 0.95,
    "strained": 1.05,
}

#: Standard deviation of a rater's own bias per label.
BIAS_SD = 0.3

#: Share of recordings that one rater, and that nobody, rated for a label.
RATER_MISSING_SHARE, UNRATED_SHARE = 0.03, 0.025


@dataclass(frozen=True)
class Panel:
    """The raters' habits: ``bias[rater][label]``, added to what they hear."""

    bias: tuple[dict[str, float], ...]


def draw_panel(rng: np.random.Generator) -> Panel:
    """Draw the raters' biases."""
    bias = rng.normal(0, BIAS_SD, (N_RATERS, len(LABELS)))
    # Together the raters are fair: what is left is that they differ.
    bias -= bias.mean(axis=0)
    return Panel(tuple(dict(zip(LABELS, row, strict=True)) for row in bias))


def rate(severities: dict, panel: Panel, rng: np.random.Generator) -> dict:
    """Let the raters judge one recording.

    severities: Label -> latent severity from 0 to 4.
    panel: The raters.
    rng: Where noise and missing ratings come from.

    Returns: ``label`` -> 0, 1 or "" (the majority) and ``label@rater1`` … -> 0, 1 or
        "".
    """
    row = {}
    for label in LABELS:
        noise = rng.normal(0, RATING_SD[label], N_RATERS)
        missing = rng.random(N_RATERS) < RATER_MISSING_SHARE
        nobody = rng.random() < UNRATED_SHARE
        votes = []
        for bias, error, absent in zip(panel.bias, noise, missing, strict=True):
            heard = severities[label] + bias[label] + error
            rating = round(float(np.clip(heard, 0, MAX_SEVERITY)))
            votes.append("" if absent or nobody else int(rating >= POSITIVE_FROM))
        row[label] = majority(votes)
        row |= {f"{label}@rater{i}": vote for i, vote in enumerate(votes, start=1)}
    return row


def majority(votes: Sequence[int | str]) -> int | str:
    """What most raters said; not rated when they are split or nobody voted.

    >>> majority([1, 0, 1]), majority(["", 1, 0]), majority(["", "", ""])
    (1, '', '')
    """
    cast = [vote for vote in votes if vote != ""]
    if not cast or 2 * sum(cast) == len(cast):
        return ""
    return int(2 * sum(cast) > len(cast))
