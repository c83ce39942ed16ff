"""Evaluating a split: from its predictions to everything that is written about them."""

import dataclasses
import functools
from pathlib import Path

import pandas as pd

from local.data.labels import LabelType
from local.data.pseudonyms import Pseudonyms
from local.data.recordings import BucketRecordings, FolderRecordings
from local.evaluation import parts
from local.evaluation.failures import Failures
from local.evaluation.measurements import MeasuredSplit, measure_split, sample_subjects
from local.evaluation.operating_points import apply_operating_points
from local.evaluation.provenance import provenance
from local.evaluation.result import EvaluationResult
from local.evaluation.worst_errors import Silences
from local.metrics import split_metrics
from local.training.brain import ClinicalBrain


@dataclasses.dataclass(frozen=True)
class Scored:
    """A split's predictions, and what is known of the recordings and of the model.

    split: The split's name.
    table: Its table of predictions, not calibrated yet unless it `is_decided`.
    label_groups: The labels of each head.
    types: Of each label.
    points: Calibration and threshold of each label (see
        `local.evaluation.operating_points`).
    command: The command line.
    seed: Of bootstrap draws and permutations.
    checkpoint: What made the predictions; None if that is not known.
    manifest: Of the recordings that were scored.
    recordings: Where they are read.
    audio_settings: `sample_rate` (Hz), `audio_backend` and `mono`, where there are
        recordings.
    measurements: What `measurements.measure_split` found in them.
    silences: What the model said of the moments in which nobody speaks.
    seen: The splits that the model has learned from.
    of_the_corpus: Whether the split is of the same corpus as those: its recordings are
        then audited together.
    subgroups: Columns of the manifest.
    csv: Which CSV was scored (see `scored_csv.describe`).
    features: Files of embeddings, each for a further baseline.
    failed: `uid` and `reason`, maybe `split`, of recordings that could not be used.
    notes: What else a reader should know.
    settings: Plain values of the training yaml.
    report: Whether to make report.html, the model card and the figures.
    show_uids: Whether the report may name recordings.
    pseudonyms: Of recordings and subjects, for all that is written.
    is_decided: Whether the table is that of an earlier evaluation, calibrated and
        decided.
    audit, acoustic_baseline: Whether to ask what tells the labels but speech; whether
        to fit a baseline of acoustic statistics. Both need measurements.
    measured_recordings: At most so many recordings of a split are measured; 0: all.
    failures: What has failed so far.
    """

    split: str
    table: pd.DataFrame
    label_groups: list[list[str]]
    types: dict[str, LabelType]
    points: dict[str, dict]
    command: list[str]
    seed: int
    checkpoint: str | None = None
    manifest: pd.DataFrame | None = None
    recordings: FolderRecordings | BucketRecordings | None = None
    audio_settings: dict = dataclasses.field(default_factory=dict)
    measurements: pd.DataFrame | None = None
    silences: Silences | None = None
    seen: dict[str, MeasuredSplit] = dataclasses.field(default_factory=dict)
    of_the_corpus: bool = False
    subgroups: list[str] = dataclasses.field(default_factory=list)
    csv: dict | None = None
    features: list[Path] = dataclasses.field(default_factory=list)
    failed: list[dict] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    settings: dict = dataclasses.field(default_factory=dict)
    train_log: Path | None = None
    report: bool = True
    show_uids: bool = False
    pseudonyms: Pseudonyms | None = None
    is_decided: bool = False
    audit: bool = True
    acoustic_baseline: bool = True
    measured_recordings: int = 0
    failures: Failures = dataclasses.field(default_factory=Failures)

    @property
    def needs_measurements(self):
        """Whether there is any use of measuring its recordings."""
        train = self.seen.get("train")
        learns = self.acoustic_baseline and train and train.measurements is not None
        return self.recordings is not None and bool(self.audit or learns)

    def decided(self):
        """The table of predictions, calibrated and decided."""
        if self.is_decided:
            return self.table
        return apply_operating_points(self.table, self.points)


def evaluate(scored: Scored) -> EvaluationResult:
    """Evaluate a split.

    Returns: Under pseudonyms, if there are any.
    """
    table = scored.decided()
    found = split_metrics.evaluate_predictions(
        table,
        scored.label_groups,
        scored.checkpoint,
        scored.types,
        scored.points,
        scored.seed,
    )
    for name, point in scored.points.items():
        if point["calibration"]:
            found["labels"][name]["calibration"] = point["calibration"]
    for name, (part, otherwise) in parts.OF_METRICS.items():
        found[name] = scored.failures.attempt_json(
            name,
            functools.partial(part, scored, table),
            functools.partial(otherwise, scored),
        )
    errors = scored.failures.attempt(
        "errors", lambda: parts.most_wrong(scored, table), lambda reason: []
    )
    result = EvaluationResult(
        split=scored.split,
        table=table,
        label_groups=scored.label_groups,
        types=scored.types,
        metrics=found,
        audit=parts.confound_audit(scored),
        manifests=_manifests(scored),
        failed=scored.failed,
        notes=scored.notes,
        silences=scored.silences.excerpts if scored.silences else {},
        errors=errors,
        train_log=scored.train_log,
        settings=scored.settings,
        provenance=provenance(scored.command),
        show_uids=scored.show_uids,
        failures=scored.failures,
        csv=scored.csv,
        report=scored.report,
    )
    return scored.pseudonyms.hidden(result) if scored.pseudonyms else result


def measured(
    scored: Scored, hparams: dict, brain: ClinicalBrain | None = None
) -> Scored:
    """The same with measurements of the recordings.

    scored: With a manifest and recordings.
    hparams: As for `measurements.measure_split`.
    brain: To score silences; without one they are only kept for the report.
    """
    failed = {entry["uid"] for entry in scored.failed}
    manifest = scored.manifest[~scored.manifest["ID"].isin(failed)]
    if scored.measurements is None:
        n = scored.measured_recordings
        manifest = sample_subjects(manifest, n, scored.seed)
    else:  # again, without those of a person
        manifest = manifest[manifest["ID"].isin(scored.measurements["ID"])]
    silences = None
    if scored.audit:
        silences = Silences(scored.decided(), hparams["sample_rate"], brain)
    frame = scored.failures.attempt(
        parts.MEASURING,
        lambda: measure_split(
            manifest, scored.recordings, hparams, f"measuring {scored.split}", silences
        ),
    )
    if frame is None:
        silences = None
    return dataclasses.replace(scored, measurements=frame, silences=silences)


def _manifests(scored):
    """The manifest of each split that is known."""
    manifests = {split: of.manifest for split, of in scored.seen.items()}
    if scored.manifest is not None:
        manifests[scored.split] = scored.manifest
    return manifests
