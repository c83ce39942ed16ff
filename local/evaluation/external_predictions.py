"""Predictions from elsewhere (`evaluate.py --predictions_csv`), of whatever model."""

import dataclasses
from pathlib import Path

import pandas as pd

from local.audio.loading import AudioFormat
from local.data import corpus, prepare, prepared_split
from local.data.loaders import ScoreBatches
from local.data.manifests import group_columns
from local.data.predictions_table import read_predictions, scores_in
from local.data.pseudonyms import are_pseudonyms, read_pseudonyms
from local.data.split import Split
from local.data.splits import unify_subjects
from local.evaluation import scored_csv
from local.evaluation.operating_points import (
    apply_operating_points,
    fit_points,
    fixed_points,
)
from local.evaluation.scored_split import ScoredSplit
from local.metrics import thresholds
from local.metrics.thresholds import threshold_rule
from local.storage.addresses import absolute, output_path
from local.storage.experiment_files import PREDICTIONS
from local.storage.inputs import Storage, told_as
from local.training.experiment import check_no_experiment
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.spelling import alike

#: How recordings are read where no experiment says it.
AUDIO = AudioFormat()

#: Rows of this split choose thresholds, and those of training are left alone.
VALIDATION, TRAINING = "valid", "train"


def prepare_predictions(options: dict, command: list[str]) -> tuple[ScoredSplit, Path]:
    """Read a file of predictions, and what there is about its recordings.

    options: Of evaluate.yaml.
    command: The command line.

    Returns scored.
    Returns output_folder.
    Raises UserError: for a wrong file, options that don't go together, or a file that
        does not list the recordings of the predictions.
    """
    _check_options(options)
    evaluation = options["evaluation"]
    pseudonyms = read_pseudonyms(options["pseudonymise_key"])
    storage = Storage.of(options)
    address = absolute(options["predictions_csv"], "predictions_csv")
    file = storage.file(address)
    with told_as(address, file):
        table = read_predictions(file)
        spelt = unify_subjects([table])
        validation, table, notes = _by_use(table, address)
    output_folder = output_path(options["output_folder"], "output_folder")
    csv = scored_csv.describe(address, file)
    _check_output_folder(output_folder, file)
    scored_csv.refuse_others(output_folder, csv, storage, "output_folder")
    names = list(dict.fromkeys(table["label"]))
    split = Split(name=table["split"].iloc[0] or Path(address).stem)
    if options["split_csv"] or options["split_folder"]:
        values = _values(options)
        if pseudonyms:
            rows = _read_rows(values["split_csv"], values, storage)
            table = pseudonyms.restored(table, rows["uid"], rows["subject"])
        table, validation = _without_excluded(
            table, validation, values, storage, notes, pseudonyms
        )
        split = _described(values, storage, table, names, split.name)
    columns = [] if split.manifest is None else split.manifest.columns
    group_columns(columns, evaluation.subgroups)
    split = split.changed(
        notes=[*spelt, *notes, *split.notes], csv=csv, pseudonyms=pseudonyms
    )
    scores = scores_in(table)
    points = _points(validation, [n for n in names if n not in scores], evaluation)
    table = apply_operating_points(table.reset_index(drop=True), points)
    batches = ScoreBatches.of(options | {"num_workers": options["num_workers"] or 0})
    scored = ScoredSplit(
        **vars(split),
        table=table,
        points=points,
        evaluation=evaluation,
        command=command,
        audio=AUDIO,
        batches=batches,
    )
    return scored, output_folder


def _check_options(options):
    problems = []
    if options["experiment_folder"]:
        problems.append("experiment_folder (an experiment makes its own predictions)")
    if options["features"]:
        problems.append("features (nothing is known of the training recordings)")
    if options["data_folder"] and not (options["split_csv"] or options["split_folder"]):
        problems.append("data_folder without split_csv, which says what is in it")
    if problems:
        raise UserError("These do not go with --predictions_csv:", problems)
    if not options["output_folder"]:
        raise UserError("--predictions_csv needs --output_folder=DIR for the results.")


def _check_output_folder(folder, file):
    check_no_experiment(folder)
    if (folder / PREDICTIONS).resolve() == file.resolve():
        raise UserError(
            f"predictions_csv {file} would be replaced by the results in output_folder "
            f"{folder}: give another one."
        )


def _by_use(table, address):
    """Rows that thresholds are chosen on (or None), rows to be scored, and notes."""
    splits = set(table["split"]) - {VALIDATION, TRAINING}
    if len(splits) != 1:
        listed = ", ".join(sorted(map(repr, set(table["split"])))) or "no rows"
        raise UserError(
            f"{address} must hold the rows of one split to be scored, beside those of "
            f"{VALIDATION!r}, on which thresholds are chosen, and {TRAINING!r}, which "
            f"are left alone; its column split has: {listed}. Keep one of them."
        )
    scored = table[table["split"].isin(splits)]
    validation = table[table["split"] == VALIDATION]
    problems = []
    for split in (VALIDATION, TRAINING):
        known = set(table["subject"][table["split"] == split])
        if both := known & set(scored["subject"]):
            problems.append(f"{len(both)} subjects are both in {split!r} and in it")
    if problems:
        raise UserError(
            f"{address}: the split to be scored must be of other subjects than those "
            "that the model or a threshold was chosen on.",
            problems,
        )
    n_training = int((table["split"] == TRAINING).sum())
    notes = [f"{n_training} rows of the split train were left alone"] * (n_training > 0)
    notes.append("these predictions are from elsewhere: nothing is known of the model")
    if len(validation):  # it chooses the thresholds, of all labels alike
        nothing = pd.array([None] * len(scored), dtype="Int8")
        return validation, scored.assign(predicted=nothing), notes
    return None, _whole_decisions(scored, notes), notes


def _without_excluded(table, validation, values, storage, notes, pseudonyms):
    """Both tables without those whose consent is withdrawn: not even to choose on."""
    excluded = corpus.find_exclusions(values, storage, [])
    if pseudonyms:
        excluded.subjects.update([*map(pseudonyms.subject, excluded.subjects)])
    tables = [table] if validation is None else [table, validation]
    are_out = [excluded.are_among(rows["subject"]) for rows in tables]
    subjects = set().union(
        *(rows["subject"][out] for rows, out in zip(tables, are_out, strict=True))
    )
    if not subjects:
        return table, validation
    notes.append(f"{counted(len(subjects), 'excluded subject')} left out")
    kept = [rows[~out] for rows, out in zip(tables, are_out, strict=True)]
    if kept[0].empty:
        raise UserError(
            f"predictions_csv {values['predictions_csv']}: all subjects to be scored "
            f"are in {corpus.EXCLUDED}."
        )
    return kept[0], None if validation is None else kept[1]


def _whole_decisions(table, notes):
    """The table without decisions on a part of a label's rows."""
    given = table["predicted"].notna().groupby(table["label"])
    partial = given.any() & ~given.all()
    notes += [
        f"{name}: predicted is given in {int(given.sum()[name])} of "
        f"{int(given.count()[name])} rows, and not used"
        for name in partial.index[partial]
    ]
    unused = table["label"].isin(partial.index[partial])
    return table.assign(predicted=table["predicted"].mask(unused))


def _points(validation, names, evaluation):
    """Operating points by the rows of validation, if there are any, or given ones."""
    rule = threshold_rule(evaluation.threshold_sensitivity)
    given = evaluation.given_thresholds(names)
    if validation is not None:
        points = fit_points(
            {thresholds.VALIDATION: validation},
            names,
            rule,
            evaluation.calibration,
            evaluation.seed,
        )
        return fixed_points(points, given)
    if evaluation.calibration != "none":
        raise UserError(
            f"calibration {evaluation.calibration} is fitted on rows of the split "
            f"{VALIDATION!r}, and predictions_csv has none. Add such rows, or leave "
            "calibration away."
        )
    return fixed_points({}, given)


def _values(options):
    """What the preparation of a split reads."""
    data_folder = options["data_folder"]
    return {
        **options,
        **dataclasses.asdict(AUDIO),
        "data_folder": data_folder and absolute(data_folder, "data_folder"),
        "split_csv": scored_csv.address_of(options),
        "derived_labels": {},
        "labels_file": None,
        "split_folder": None,
    }


def _described(values, storage, table, names, name):
    """A split of the recordings of a table of predictions, as its CSV has them."""
    split_csv = values["split_csv"]
    if values["data_folder"]:
        split = prepared_split.prepare_split(split_csv, values)
    else:
        rows = _read_rows(split_csv, values, storage)
        split = Split(name=name, rows=rows, manifest=pd.DataFrame())
    rows = split.rows.rename(columns={"uid": "ID", "audio": "recording"})
    _check_described(rows, table, split_csv)
    manifest = rows[rows["ID"].isin(set(table["uid"]))]
    if len(split.manifest):
        usable = split.manifest.set_index("ID")
        further = usable.columns.difference(manifest.columns)
        manifest = manifest.join(usable[further], on="ID")
    # the predictions' own targets count
    targets = table.pivot(index="uid", columns="label", values="target")[names]
    manifest = manifest.drop(columns=[n for n in names if n in manifest])
    manifest = manifest.join(targets, on="ID").reset_index(drop=True)
    failed = [row for row in split.failed if row["uid"] in set(manifest["ID"])]
    return split.changed(name=name, manifest=manifest, failed=failed)


def _read_rows(split_csv, values, storage):
    """The rows of a CSV of which no recording is looked at."""
    file = storage.file(split_csv)
    nobody = corpus.Exclusions(set(), set())
    rows, _, problems = prepare.read_rated(file, split_csv, values, None, nobody, [])
    if problems:
        raise UserError(f"{split_csv} can't be used as it is:", problems)
    return rows


def _check_described(rows, table, split_csv):
    """Refuse a CSV that is not of these recordings."""
    subjects = rows.set_index("ID")["subject"]
    own = table.drop_duplicates("uid").set_index("uid")["subject"]
    absent = own.index.difference(subjects.index)
    if are_pseudonyms(absent):
        raise UserError(
            "The predictions name recordings by pseudonyms, and these are none of the "
            f"recordings in split_csv {split_csv}: give the key that they were made "
            "with, --pseudonymise_key=FILE."
        )
    common = own.index.intersection(subjects.index)
    spelt = own[common].map(alike).to_numpy(), subjects[common].map(alike).to_numpy()
    other = common[spelt[0] != spelt[1]]
    problems = [f"uid {uid!r} is not in it" for uid in absent]
    problems += [
        f"uid {uid!r} is of subject {subjects[uid]!r} there and of {own[uid]!r} in the "
        "predictions"
        for uid in other
    ]
    if problems:
        raise UserError(
            f"split_csv {split_csv} must list the recordings of the predictions:",
            problems,
        )
