"""Evaluating a split: from its predictions to everything that is written about them."""

import dataclasses
from pathlib import Path

import pandas as pd

from local import audit, baselines, figures, labels, metrics, raters, scored_csv
from local.errors import UserError
from local.evidence import Evidence
from local.excerpts import read_excerpts, worst_errors
from local.files import write_json
from local.manifests import write_failed
from local.measurements import (
    MeasuredSplit,
    Silences,
    audit_evaluation,
    measure_split,
)
from local.operating_points import apply_operating_points
from local.predictions import rows_of_label, scores_in, write_predictions
from local.pseudonyms import Pseudonyms
from local.recordings import BucketRecordings, FolderRecordings
from local.report import write_report
from local.report.provenance import provenance
from local.staging import replaced_together
from local.subgroups import subgroup_report

#: What `report: False` leaves out.
REPORT = (
    *(f"figures/{name}.png" for name in figures.NAMES),
    "report.html",
    "model_card.md",
)

#: What evaluation writes to its output folder, where there is something to write. The
#: last one is written last: with it the others are complete.
OUTPUTS = (
    *("predictions.csv", "audit.json", *REPORT, "failed.csv", scored_csv.FILE),
    "metrics.json",
)

NO_RECORDINGS = (
    "the recordings are not known: --split_csv and --data_folder would tell of them"
)
NO_TRAINING = "nothing is known of the recordings that the model was trained on"
NOT_MEASURED = "the recordings were not measured (audit: False)"
SWITCHED_OFF = "it was switched off (audit: False)"


@dataclasses.dataclass(frozen=True)
class Scored:
    """A split's predictions, and what is known of the recordings and of the model.

    Attributes
    ----------
    split : str
        The split's name.
    table : pandas.DataFrame
        Its table of predictions, not calibrated yet unless it `is_decided`.
    label_groups : list of list of str
        The labels of each head.
    types : dict of str to labels.LabelType
        Of each label.
    points : dict of str to dict
        Calibration and threshold of each label (see `local.operating_points`).
    command : list of str
        The command line.
    seed : int
        Of bootstrap draws and permutations.
    checkpoint : str or None
        What made the predictions; None if that is not known.
    manifest : pandas.DataFrame or None
        Of the recordings that were scored.
    recordings : recordings.FolderRecordings or recordings.BucketRecordings or None
        Where they are read.
    audio_settings : dict
        `sample_rate` (Hz), `audio_backend` and `mono`, where there are recordings.
    measurements : pandas.DataFrame or None
        What `measurements.measure_split` found in them.
    silences : measurements.Silences or None
        What the model said of the moments in which nobody speaks.
    seen : dict of str to measurements.MeasuredSplit
        The splits that the model has learned from.
    of_the_corpus : bool
        Whether the split is of the same corpus as those: its recordings are then
        audited together.
    subgroups : list of str
        Columns of the manifest.
    csv : dict or None
        Which CSV was scored (see `scored_csv.describe`).
    features : list of Path
        Files of embeddings, each for a further baseline.
    failed : list of dict
        `uid` and `reason`, maybe `split`, of recordings that could not be used.
    notes : list of str
        What else a reader should know.
    settings : dict
        Plain values of the training yaml.
    train_log : Path or None
    report : bool
        Whether to make report.html, the model card and the figures.
    show_uids : bool
        Whether the report may name recordings.
    pseudonyms : pseudonyms.Pseudonyms or None
        Of recordings and subjects, for all that is written.
    is_decided : bool
        Whether the table is that of an earlier evaluation, calibrated and decided.
    """

    split: str
    table: pd.DataFrame
    label_groups: list
    types: dict
    points: dict
    command: list
    seed: int
    checkpoint: str | None = None
    manifest: pd.DataFrame | None = None
    recordings: FolderRecordings | BucketRecordings | None = None
    audio_settings: dict = dataclasses.field(default_factory=dict)
    measurements: pd.DataFrame | None = None
    silences: Silences | None = None
    seen: dict = dataclasses.field(default_factory=dict)
    of_the_corpus: bool = False
    subgroups: list = dataclasses.field(default_factory=list)
    csv: dict | None = None
    features: list = dataclasses.field(default_factory=list)
    failed: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    settings: dict = dataclasses.field(default_factory=dict)
    train_log: Path | None = None
    report: bool = True
    show_uids: bool = False
    pseudonyms: Pseudonyms | None = None
    is_decided: bool = False

    def decided(self):
        """The table of predictions, calibrated and decided."""
        if self.is_decided:
            return self.table
        return apply_operating_points(self.table, self.points)


def evaluate(scored, output_folder):
    """Evaluate a split and write everything down.

    Arguments
    ---------
    scored : Scored
    output_folder : Path
        Gets what `OUTPUTS` lists.

    Returns
    -------
    dict
        The content of metrics.json.
    """
    table = scored.decided()
    found = metrics.evaluate_predictions(
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
    found["baselines"] = _baselines(scored)
    found["subgroups"] = _subgroups(scored, table)
    found["raters"] = _raters(scored, table)
    evidence = Evidence(
        split=scored.split,
        table=table,
        label_groups=scored.label_groups,
        types=scored.types,
        metrics=found,
        audit=_audit(scored),
        manifests=_manifests(scored),
        failed=scored.failed,
        notes=scored.notes,
        silences=scored.silences.excerpts if scored.silences else {},
        errors=_worst_errors(scored, table),
        train_log=scored.train_log,
        settings=scored.settings,
        provenance=provenance(scored.command),
        show_uids=scored.show_uids,
    )
    if scored.pseudonyms:
        evidence = scored.pseudonyms.hidden(evidence)
    _write(evidence, scored, Path(output_folder))
    return found


def measured(scored, hparams, brain=None):
    """The same with measurements of the recordings.

    Arguments
    ---------
    scored : Scored
        With a manifest and recordings.
    hparams : dict
        As for `measurements.measure_split`.
    brain : ClinicalBrain, optional
        To score silences; without one they are only kept for the report.

    Returns
    -------
    Scored
    """
    failed = {entry["uid"] for entry in scored.failed}
    manifest = scored.manifest[~scored.manifest["ID"].isin(failed)]
    silences = Silences(scored.decided(), hparams["sample_rate"], brain)
    frame = measure_split(
        manifest, scored.recordings, hparams, f"measuring {scored.split}", silences
    )
    return dataclasses.replace(scored, measurements=frame, silences=silences)


def _write(evidence, scored, output_folder):
    with replaced_together(output_folder, OUTPUTS) as folder:
        write_predictions(evidence.table, folder / "predictions.csv")
        write_json(folder / "audit.json", evidence.audit)
        if scored.csv:
            write_json(folder / scored_csv.FILE, scored.csv)
        if scored.report:
            write_report(evidence, folder)
        write_failed(evidence.failed, folder / "failed.csv")
        write_json(folder / "metrics.json", evidence.metrics)


def _manifests(scored):
    """The manifest of each split that is known."""
    manifests = {split: of.manifest for split, of in scored.seen.items()}
    if scored.manifest is not None:
        manifests[scored.split] = scored.manifest
    return manifests


def _baselines(scored):
    """What a prevalence and logistic regressions reach on the same recordings."""
    train = scored.seen.get("train")
    names = labels.flatten(scored.label_groups)
    if train is None:
        nothing = {name: {"reason": NO_TRAINING} for name in names}
        return {
            name: {"description": what, "labels": nothing}
            for name, what in baselines.DESCRIPTIONS.items()
        }
    own = MeasuredSplit(scored.manifest, scored.measurements)
    features = {baselines.ACOUSTIC: NOT_MEASURED}
    if all(of.measurements is not None for of in (train, own)):
        features[baselines.ACOUSTIC] = tuple(
            of.features().filter(like="acoustic_") for of in (train, own)
        )
    for path in scored.features:
        features[path.stem] = baseline_features(
            path, train.manifest, scored.manifest, scored.pseudonyms
        )
    results, _ = baselines.baseline_results(
        train.manifest,
        scored.manifest,
        names,
        features,
        labels.label_ranges(scored.types, names),
        scored.seed,
    )
    return results


def baseline_features(path, training, scored, pseudonyms=None):
    """Embeddings of the recordings of two manifests, for a baseline.

    Arguments
    ---------
    path : Path
        Parquet as `extract_embeddings.py` writes it.
    training, scored : pandas.DataFrame
        Manifests of n_train and n recordings.
    pseudonyms : pseudonyms.Pseudonyms, optional
        By which the file may name recordings.

    Returns
    -------
    tuple of numpy.ndarray
        [n_train, n_features] and [n, n_features].

    Raises
    ------
    UserError
        If it lacks any, or is called like another baseline.
    """
    if path.stem in baselines.DESCRIPTIONS:
        raise UserError(
            f"features {path} is called like a baseline that every report has: rename "
            "the file."
        )
    uids = {"training": training["ID"], "this split": scored["ID"]}
    return tuple(baselines.read_features(path, uids, pseudonyms).values())


def _subgroups(scored, table):
    """The report on subgroups of each label that is 0 or 1."""
    reports = {}
    for name in labels.flatten(scored.label_groups):
        rows = table[table["label"] == name]
        if not scored.subgroups or name in scores_in(table):
            continue
        groups = scored.manifest.set_index("ID").loc[rows["uid"], scored.subgroups]
        threshold = scored.points.get(name, {}).get("threshold", {}).get("value")
        columns = ("target", "logit", "probability", "subject")
        reports[name] = subgroup_report(
            *(rows[column] for column in columns), groups, threshold, scored.seed
        )
        if threshold is None:
            reports[name]["reason"] = "there is no threshold"
    return reports


def _raters(scored, table):
    """How far the raters of each label agree, and the model with them."""
    if scored.manifest is None:
        return {}
    names = labels.flatten(scored.label_groups)
    missing = scored.settings.get("missing_values", [])
    ratings, _ = raters.read_ratings(
        scored.manifest, names, scored.types, missing, scored.split
    )
    found = {}
    for name, of_label in ratings.items():
        uids = table["uid"][table["label"] == name]
        _, predictions, _ = rows_of_label(table, name)
        predictions = pd.Series(predictions, index=uids).reindex(scored.manifest["ID"])
        found[name] = {
            "agreement": raters.agreement(of_label, scored.types[name]),
            "on_roc": raters.raters_on_roc(of_label, scored.types[name], predictions),
        }
    return found


def _worst_errors(scored, table):
    if scored.recordings is None:
        return []
    unreadable = table["uid"].isin({entry["uid"] for entry in scored.failed})
    rows = worst_errors(
        table.assign(target=table["target"].mask(unreadable)), scored.types
    )
    return read_excerpts(
        rows, scored.manifest, scored.recordings, scored.audio_settings
    )


def _audit(scored):
    """The content of audit.json."""
    nothing = {"labels": {}, "shared_subjects": [], "shared_audio": []}
    if scored.manifest is None:
        return nothing | {"reason": NO_RECORDINGS}
    names = labels.flatten(scored.label_groups)
    ranges = labels.label_ranges(scored.types, names)
    own = MeasuredSplit(
        scored.manifest,
        scored.measurements,
        scored.table,
        scored.silences.logits if scored.silences else None,
    )
    if scored.measurements is None:
        splits = scored.seen | {scored.split: own}
        manifests = {split: of.manifest for split, of in splits.items()}
        hashes = {split: of.hashes() for split, of in splits.items()}
        leaked = audit.leakage(manifests, hashes, names, ranges)
        reason = SWITCHED_OFF if scored.recordings else NO_RECORDINGS
        return nothing | leaked | {"reason": reason}
    together = {
        split: of
        for split, of in scored.seen.items()
        if scored.of_the_corpus and of.measurements is not None
    }
    return audit_evaluation(
        together | {scored.split: own},
        names,
        label_ranges=ranges,
        seen={k: of for k, of in scored.seen.items() if k not in together},
        seed=scored.seed,
    )
