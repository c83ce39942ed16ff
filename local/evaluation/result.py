"""The result of an evaluation: all that its files and its report are made of."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from local.evaluation.failures import Failures


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A piece of a recording that a report shows as a spectrogram.

    Attributes
    ----------
    row : int
        Of predictions.csv, whose header is row 1: what names it in a report.
    uid, label : str
    target : float
        0 or 1, of a score the rating.
    prediction : float
        The probability, of a score the predicted score.
    waveform : numpy.ndarray [time]
    sample_rate : int
        Hz.
    """

    row: int
    uid: str
    label: str
    target: float
    prediction: float
    waveform: np.ndarray
    sample_rate: int


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
    """An evaluation and what it was made with.

    Attributes
    ----------
    split : str
        Name of the split that was scored.
    table : pandas.DataFrame
        Its table of predictions (see `local.data.predictions_table`), `predicted`
        filled where there is a threshold.
    label_groups : list of list of str
        The labels of each head.
    types : dict of str to labels.LabelType
        Of each label.
    metrics : dict
        The content of metrics.json.
    audit : dict
        The content of audit.json; with a "reason" where there was none.
    manifests : dict of str to pandas.DataFrame
        The manifest of each split that is known, the scored one among them; empty for
        predictions of which only the table is known.
    failed : list of dict
        `uid` and `reason`, maybe `split`, of recordings that could not be used.
    notes : list of str
        What was left out and why, and what else a reader should know.
    silences : dict of str to (list of Excerpt)
        Of each label up to three recordings' silences, as the audit heard them.
    errors : list of Excerpt
        The recordings that are most wrong, the worst one first.
    train_log : Path or None
        SpeechBrain's train_log.txt, where a training belongs to this.
    settings : dict
        Plain values of the training yaml; empty for predictions from elsewhere.
    provenance : dict
        "command", "date" and "versions" (package → version) of this evaluation.
    show_uids : bool
        Whether recordings may be named; otherwise by row only.
    failures : failures.Failures
        The parts of the evaluation that failed; those of its report join them.
    csv : dict or None
        Which CSV was scored (see `scored_csv.describe`).
    report : bool
        Whether a report, a model card and figures are wanted.
    """

    split: str
    table: pd.DataFrame
    label_groups: list
    types: dict
    metrics: dict
    audit: dict
    manifests: dict
    failed: list
    notes: list
    silences: dict
    errors: list
    train_log: Path | None
    settings: dict
    provenance: dict
    show_uids: bool = False
    failures: Failures = dataclasses.field(default_factory=Failures)
    csv: dict | None = None
    report: bool = True

    def raters(self):
        """What metrics.json says of raters, by label; {} where that has failed."""
        if "raters" in self.failures.reasons:
            return {}
        return self.metrics.get("raters") or {}
