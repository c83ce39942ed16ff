"""The result of an evaluation: all that its files and its report are made of."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from local.data.labels import LabelType
from local.evaluation.failures import Failures
from local.training.evaluation_settings import EvaluationSettings


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A piece of a recording that a report shows as a spectrogram.

    row: Of predictions.csv, whose header is row 1: what names it in a report.
    target: 0 or 1, of a score the rating.
    prediction: The probability, of a score the predicted score.
    waveform: [time]
    sample_rate: Hz.
    curves: Where the model hears its label, as `short_windows.score_windows` gives it;
        None where no model is at hand.
    """

    row: int
    uid: str
    label: str
    target: float
    prediction: float
    waveform: np.ndarray
    sample_rate: int
    curves: dict | None = None


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """An evaluation and what it was made with.

    split: Name of the split that was scored.
    table: Its table of predictions (see `local.data.predictions_table`), `predicted`
        filled where there is a threshold.
    baselines: The same of each baseline, by name.
    label_groups: The labels of each head.
    types: Of each label.
    metrics: The content of metrics.json.
    audit: The content of audit.json; with a "reason" where there was none.
    manifests: The manifest of each split that is known, the scored one among them;
        empty for predictions of which only the table is known.
    failed: `uid` and `reason`, maybe `split`, of recordings that could not be used.
    notes: What was left out and why, and what else a reader should know.
    silences: Of each label up to three recordings' silences, as the audit heard them.
    errors: The recordings that are most wrong, the worst one first.
    train_log: train_log.jsonl, where a training belongs to this.
    settings: Plain values of the training yaml; empty for predictions from elsewhere.
    provenance: "command", "date" and "versions" (package → version) of this evaluation.
    evaluation: What was asked for.
    failures: The parts of the evaluation that failed; those of its report join them.
    csv: Which CSV was scored (see `scored_csv.describe`).
    n_seen: How many of its subjects the model has learned from.
    unprepared: Known splits whose recordings this command did not look at: what was
        left out of them is told elsewhere.
    """

    split: str
    table: pd.DataFrame
    label_groups: list[list[str]]
    types: dict[str, LabelType]
    metrics: dict
    audit: dict
    manifests: dict[str, pd.DataFrame]
    failed: list[dict]
    notes: list[str]
    silences: dict[str, list[Excerpt]]
    errors: list[Excerpt]
    train_log: Path | None
    settings: dict
    provenance: dict
    evaluation: EvaluationSettings = dataclasses.field(
        default_factory=EvaluationSettings
    )
    failures: Failures = dataclasses.field(default_factory=Failures)
    csv: dict | None = None
    n_seen: int = 0
    unprepared: frozenset[str] = frozenset()
    baselines: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)

    @property
    def show_uids(self) -> bool:
        """Whether recordings may be named."""
        return self.evaluation.show_uids

    def raters(self):
        """What metrics.json says of raters, by label; {} where that has failed."""
        if "raters" in self.failures.reasons:
            return {}
        return self.metrics.get("raters") or {}
