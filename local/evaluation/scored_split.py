"""A split with its predictions: all that an evaluation is made of."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from local.audio.loading import AudioFormat
from local.data.feature_cache import FeatureCache
from local.data.labels import LabelType, flatten, parse_label_types
from local.data.loaders import ScoreBatches
from local.data.manifests import group_columns
from local.data.predictions_table import scores_in
from local.data.split import Split
from local.evaluation.failures import Failures, names_in
from local.evaluation.fold_points import FoldChoices
from local.evaluation.worst_errors import Silences
from local.training.evaluation_settings import EvaluationSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredSplit(Split):
    """A split, and what a model says of it.

    table: Its table of predictions (see `local.data.predictions_table`), calibrated and
        decided.
    points: Calibration and threshold of each label (see
        `local.evaluation.operating_points`).
    evaluation: What is asked for.
    command: The command line.
    audio, batches: How its recordings are read, where they are at hand.
    cache: Where features of recordings are kept.
    checkpoint: What made the predictions; None if that is not known.
    silences: What the model said of the moments in which nobody speaks.
    settings: Plain values of the training yaml; empty for predictions from elsewhere.
    label_groups: The labels of each head: those of the settings, without them all
        labels of the table in one.
    types: Of each label, by the settings; without them the range of a score is that of
        its numbers in the table.
    train_log: train_log.jsonl, where a training belongs to this.
    internal: Of a split that is not the experiment's own, the results of its own test
        split (see `external.internal_results`); None of any other.
    fold_choices: The thresholds of a cross-validation's folds.
    weights: What the model's heads make of each statistic, or those of each fold's (see
        `weights.weights_of`); empty where they read none.
    failures: What has failed so far.
    baselines: Tables of predictions of the baselines, by name, once they are fitted.
    """

    table: pd.DataFrame
    points: dict[str, dict]
    evaluation: EvaluationSettings
    command: list[str]
    audio: AudioFormat | None = None
    batches: ScoreBatches | None = None
    cache: FeatureCache | None = None
    checkpoint: str | None = None
    silences: Silences | None = None
    settings: dict = dataclasses.field(default_factory=dict)
    label_groups: list[list[str]] = None
    types: dict[str, LabelType] = None
    train_log: Path | None = None
    internal: dict | None = None
    fold_choices: FoldChoices | None = None
    weights: list[dict] = dataclasses.field(default_factory=list)
    failures: Failures = None
    baselines: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Fill in what follows from the settings, or from the table."""
        if self.label_groups is None:
            every = [list(dict.fromkeys(self.table["label"]))]
            self._set("label_groups", self.settings.get("label_groups", every))
        if self.types is None:
            self._set("types", self._types())
        if self.failures is None:
            # reasons of failures tell none of the names that are known here
            manifests = [split.manifest for split in self.seen.values()]
            self._set("failures", Failures(names_in(self.table, *manifests)))

    def _set(self, field, value):
        object.__setattr__(self, field, value)

    def _types(self):
        if self.settings:
            settings = self.settings
            return parse_label_types(
                settings["label_types"], self.names, settings["loss"]
            )
        types = dict.fromkeys(self.names, LabelType())
        for name in scores_in(self.table):
            rows = self.table[self.table["label"] == name]
            numbers = rows[["target", "logit"]].stack()
            bounds = float(numbers.min()), float(numbers.max())
            types[name] = LabelType("score", bounds, None, is_score=True)
        return types

    @property
    def names(self) -> list[str]:
        """The labels of all heads."""
        return flatten(self.label_groups)

    @property
    def scores(self) -> set[str]:
        """The labels that are learned as scores."""
        return {name for name in self.names if self.types[name].is_score}

    @property
    def subjects(self) -> set[str]:
        """Whose recordings these are."""
        return set(self.table["subject"])

    @property
    def own_failed(self) -> list[dict]:
        """Of `failed` its own: an experiment's results also list other splits'."""
        return [
            recording
            for recording in self.failed
            if recording.get("split", self.name) == self.name
        ]

    def by_fold(self) -> dict[str, Split]:
        """The recordings of each fold, by its name."""
        uids = self.table.groupby("split", sort=False)["uid"].agg(set)
        return {
            name: Split(
                name=name,
                manifest=self.manifest[self.manifest["ID"].isin(own)],
                measurements=self.measurements,
            )
            for name, own in uids.items()
        }

    @property
    def subgroups(self) -> list[str]:
        """The columns of the manifest whose groups are compared."""
        if self.manifest is None:
            return []
        return group_columns(self.manifest.columns, self.evaluation.subgroups)

    @property
    def to_be_measured(self) -> dict[str, Split]:
        """The splits whose recordings are at hand, if there is any use of that."""
        train, learns = self.seen.get("train"), self.folds is not None
        if train is not None:
            learns = train.measurements is not None or train.recordings is not None
        learns = learns and self.evaluation.acoustic_baseline
        if self.recordings is None or not (self.evaluation.audit or learns):
            return {}
        at_hand = {name: s for name, s in self.seen.items() if s.recordings is not None}
        return {**at_hand, self.name: self}

    @property
    def folds(self) -> pd.Series | None:
        """The fold of each recording, by uid, where these are out-of-fold predictions.

        They are where no training split is known, and the table has several splits of
        different subjects.
        """
        of_subjects = self.table.groupby("subject")["split"].nunique()
        several = self.table["split"].nunique() > 1
        if "train" in self.seen or not several or of_subjects.max() > 1:
            return None
        return self.table.drop_duplicates("uid").set_index("uid")["split"]

    def networks(self) -> np.ndarray:
        """Which network scored each recording, [n] of str: the table's `split`.

        In a cross-validation it is the fold; logits of two have no common scale.
        """
        splits = self.table.drop_duplicates("uid").set_index("uid")["split"]
        return splits.reindex(self.manifest["ID"]).astype(str).to_numpy(dtype=object)

    def logits(self, names: list[str]) -> np.ndarray:
        """The model's, [n, n_labels] in the order of the manifest, NaN if unknown."""
        table = self.table.pivot(index="uid", columns="label", values="logit")
        return self._in_order(table, names)

    def logits_of_silences(self, names: list[str]) -> np.ndarray | None:
        """The same of the silences; None where no model heard any."""
        if self.silences is None or self.silences.logits is None:
            return None
        return self._in_order(self.silences.logits, names)

    def _in_order(self, logits, names):
        return logits.reindex(index=self.manifest["ID"], columns=names).to_numpy(float)
