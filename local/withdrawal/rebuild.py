"""An evaluation made again from its own predictions, without some of the recordings.

It is what it would be if these recordings had never been in the split: the same code
evaluates, from the same outputs of the same network. Of the other recordings the audio
is read again where it can be; where not, the parts of the report that need it are left
out, and where nothing can be made the old report is removed all the same.
"""

import dataclasses
from pathlib import Path

import pandas as pd
from speechbrain.utils.run_opts import RunOptions

from local.data import labels
from local.data.manifests import group_columns, read_manifest
from local.data.predictions_table import read_predictions, write_predictions
from local.data.pseudonyms import are_pseudonyms
from local.data.recordings import open_recordings
from local.evaluation.baselines import ACOUSTIC
from local.evaluation.evaluate import Scored, evaluate, measured
from local.evaluation.experiment_split import seen_notes
from local.evaluation.external_predictions import types_of
from local.evaluation.failures import Failures, names_in
from local.evaluation.measurements import (
    MeasuredSplit,
    read_measurements,
    seen_splits,
)
from local.evaluation.operating_points import read_operating_points, without_own_choices
from local.evaluation.scoring import scored_rows
from local.report.writing import OUTPUTS, write_results
from local.storage.experiment_files import (
    AUDIT,
    FAILED,
    HPARAMS,
    MANIFESTS,
    MEASUREMENTS,
    METRICS,
    PAGE,
    PREDICTIONS,
    PREPARATION,
    SCORED_CSV,
    TRAIN_LOG,
)
from local.storage.inputs import Storage
from local.training.experiment import Experiment, open_experiment
from local.utils.errors import BadRecording, RunError, UserError
from local.utils.files import read_json
from local.utils.staging import finish
from local.utils.yaml_files import saved_values
from local.withdrawal.data_subject import Person

#: How a rebuilding ends.
WHOLE = "rebuilt"
WITHOUT_AUDIO = "rebuilt without what needs the recordings"
PREDICTIONS_ONLY = "rebuilt from the predictions alone"
EMPTY = "removed: nobody else is in it"
REMOVED = "removed but predictions.csv, as it can't be rebuilt"
IN_PART = "rebuilt but for parts that failed"

#: Of these, what is to be looked after.
INCOMPLETE = (REMOVED, IN_PART)

#: What may be wrong with an experiment or its recordings.
FAILURES = (UserError, RunError, BadRecording, OSError)


def opened(folder: Path) -> Experiment | None:
    """The experiment in a folder; None, and a line on why, if it can't be opened."""
    try:
        run_opts = RunOptions.from_dictionary({"device": "cpu"})
        return open_experiment({"experiment_folder": folder}, run_opts)
    except FAILURES as error:
        print(f"{folder} can't be opened: {error}")
        return None


def rebuild(folder: Path, experiment: Experiment | None, person: Person) -> str:
    """Evaluate the predictions of a folder again, without a person's recordings.

    folder: With a predictions.csv, and whatever evaluation wrote beside it.
    experiment: Whose network made the predictions; None where that can't be opened.

    Returns: One of `WHOLE`, `WITHOUT_AUDIO`, `PREDICTIONS_ONLY`, `EMPTY`, `REMOVED` and
        `IN_PART`.
    """
    old = _Old.read(folder, person)
    if old.table.empty:
        _remove(folder, OUTPUTS)
        return EMPTY
    ways = {PREDICTIONS_ONLY: _alone}
    if experiment:
        ways = {WHOLE: _whole, WITHOUT_AUDIO: _of_experiment} | ways
    for how, scored_by in ways.items():
        try:
            result = evaluate(scored_by(old, experiment, person))
            metrics = write_results(result, folder)
        except FAILURES as error:
            print(f"{folder} can't be {how}: {error}")
        else:
            return IN_PART if metrics["failed_parts"] else how
    # where not even that can be written, everything stays for another try
    write_predictions(old.table, folder / PREDICTIONS)
    _remove(folder, set(OUTPUTS) - {PREDICTIONS, SCORED_CSV})
    return REMOVED


def _remove(folder, names):
    for name in names:
        (folder / name).unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class _Old:
    """What a folder says of its evaluation; names are those of the CSVs."""

    folder: Path
    table: pd.DataFrame  # without the person
    metrics: dict  # empty if a rebuilding was killed
    failed: list
    csv: dict | None  # which one was scored
    is_hidden: bool  # whether names are pseudonyms
    with_report: bool
    with_audit: bool
    with_acoustic_baseline: bool

    @classmethod
    def read(cls, folder, person):
        finish(folder, OUTPUTS)  # what a kill interrupted
        table = read_predictions(folder / PREDICTIONS)
        metrics, audit = _json(folder / METRICS), _json(folder / AUDIT)
        is_hidden = are_pseudonyms(table["uid"])
        kept = table[~person.has(table)].reset_index(drop=True)
        failed = []
        if (folder / FAILED).exists():
            rows = pd.read_csv(folder / FAILED, dtype=str, keep_default_na=False)
            failed = rows[~person.has(rows)].to_dict("records")
        is_complete = bool(metrics)
        return cls(
            folder,
            kept,
            metrics,
            failed,
            _json(folder / SCORED_CSV) or None,
            is_hidden,
            with_report=(folder / PAGE).exists() or not is_complete,
            with_audit="reason" not in audit,
            with_acoustic_baseline=_has_acoustic_baseline(metrics) or not is_complete,
        )


def _has_acoustic_baseline(metrics):
    of = metrics.get("baselines", {}).get(ACOUSTIC, {}).get("labels", {})
    return any("auroc" in measures for measures in of.values())


def _json(path):
    """The content of a file, nothing if it is not there or damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _whole(old, experiment, person):
    """All of it, with the recordings of the others."""
    scored = _of_experiment(old, experiment, person)
    if scored.manifest is None:
        raise UserError(
            "its split is none of the experiment's, and it is not known which CSV it "
            "was; evaluate.py with --split_csv makes the whole report."
        )
    scored = _with_recordings(scored, experiment)
    if not scored.needs_measurements:
        return scored
    return measured(scored, scored.audio_settings, experiment.brain)


def _with_recordings(scored, experiment):
    """The same with its recordings, if all are there."""
    names = scored.manifest["recording"].unique().tolist()
    values = experiment.hparams
    recordings = open_recordings(Storage.of(values), values["data_folder"], names)
    if absent := recordings.unreadable(names):
        raise UserError(f"{len(absent)} of its {len(names)} recordings can't be read.")
    recordings.fetch_all()
    return dataclasses.replace(scored, recordings=recordings)


def _of_experiment(old, experiment, person):
    """What is known without looking at recordings."""
    hparams, folder = experiment.hparams, experiment.folder
    names = labels.flatten(hparams["label_groups"])
    seen = {
        split: person.left_in(of) for split, of in seen_splits(folder, names).items()
    }
    manifest, measurements = _own_split(old, folder, names, person)
    table = old.table
    if old.is_hidden and person.pseudonyms and manifest is not None:
        known = manifest["ID"], manifest["subject"]
        table = person.pseudonyms.restored(table, *known)
    if manifest is not None:
        manifest = scored_rows(manifest, table)
    subjects, is_own = set(table["subject"]), old.folder == folder
    learned_on = {split: set(of.manifest["subject"]) for split, of in seen.items()}
    everybody = set().union(*learned_on.values())
    points = without_own_choices(
        read_operating_points(folder),
        {
            "validation": learned_on.get("valid", set()),
            "cross-fitted training": everybody,
        },
        subjects,
    )
    prepared = _json(folder / PREPARATION)
    train_log = folder / TRAIN_LOG
    return Scored(
        split=table["split"].iloc[0],
        table=table,
        label_groups=hparams["label_groups"],
        types=labels.parse_label_types(hparams["label_types"], names, hparams["loss"]),
        points=points,
        command=["python", "withdraw.py", f"--experiment_folder={folder}"],
        seed=hparams["seed"],
        checkpoint=old.metrics.get("checkpoint", experiment.checkpoint),
        manifest=manifest,
        audio_settings={**hparams, "decoded_cache": None},
        measurements=measurements,
        measured_recordings=hparams.get("measured_recordings", 0),
        audit=old.with_audit,
        acoustic_baseline=old.with_acoustic_baseline,
        failures=Failures(names_in(table, *(of.manifest for of in seen.values()))),
        seen=seen if manifest is not None else {},
        of_the_corpus=manifest is not None,
        subgroups=_subgroups(old, manifest),
        csv=old.csv,
        failed=person.left_of(prepared.get("failed", [])) if is_own else old.failed,
        notes=prepared.get("notes", []) if is_own else seen_notes(everybody, subjects),
        settings=saved_values(folder / HPARAMS),
        train_log=train_log if train_log.is_file() else None,
        report=old.with_report,
        show_uids=is_own and bool(hparams.get("show_uids")),
        pseudonyms=person.pseudonyms if old.is_hidden else None,
        is_decided=True,
    )


def _own_split(old, folder, names, person):
    """Manifest and measurements of a split of the experiment; None of another's."""
    split = old.table["split"].iloc[0]
    file = folder / MANIFESTS / f"{split}.csv"
    if not file.is_file():
        return None, None
    manifest, measurements = read_manifest(file, names), None
    known = set(person.shown(manifest["ID"])) if old.is_hidden else set(manifest["ID"])
    if not set(old.table["uid"]) <= known:
        return None, None  # another CSV of the same name
    if (path := folder / MEASUREMENTS / f"{split}.parquet").is_file():
        measurements = read_measurements(path)
    left = person.left_in(MeasuredSplit(manifest, measurements))
    return left.manifest, left.measurements


def _subgroups(old, manifest):
    """The columns that were compared, as far as they are known."""
    if manifest is None:
        return []
    compared = {
        column
        for of in (old.metrics.get("subgroups") or {}).values()
        for column in of["columns"]
    }
    return group_columns(manifest.columns, sorted(compared) if compared else None)


def _alone(old, experiment, person):
    """The predictions, of which nothing else is known."""
    table, of_labels = old.table, old.metrics.get("labels", {})
    names = list(dict.fromkeys(table["label"]))
    return Scored(
        split=table["split"].iloc[0],
        table=table,
        label_groups=[names],
        types=types_of(table, names),
        points={
            name: {
                "threshold": of_labels[name]["threshold"],
                "calibration": of_labels[name].get("calibration"),
            }
            for name in names
            if "threshold" in of_labels.get(name, {})
        },
        command=["python", "withdraw.py"],
        seed=0,
        checkpoint=old.metrics.get("checkpoint"),
        csv=old.csv,
        failed=old.failed,
        report=old.with_report,
        is_decided=True,
    )
