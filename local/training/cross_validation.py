"""The folds of a cross-validation, each of them an ordinary run of train.py.

Folds are drawn from all recordings of train.csv and val.csv, and written as splits of
their own: test.csv holds the fold, train.csv the others.
"""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from speechbrain.utils.run_opts import RunOptions

from local.data import corpus
from local.data.folds import folds_by_column, make_folds, one_class_folds
from local.data.manifests import group_columns
from local.data.recording_names import as_written
from local.storage.addresses import output_path
from local.storage.experiment_files import (
    COMPARISON,
    FAILED,
    FEATURES,
    HPARAMS,
    METRICS,
    PREDICTIONS,
    SAVE,
)
from local.training.pool import digest, read_pool
from local.training.pretrained import find_source
from local.training.settings import check_training, different_settings
from local.utils.cli import parse_arguments
from local.utils.errors import UserError
from local.utils.files import atomic_write, read_json, remove_unfinished, write_json
from local.utils.keys import keys_where
from local.utils.yaml_files import plain_values, resolved_yaml

#: Where a cross-validation keeps what it is made with.
RECORD = "cross_validation.json"

#: Keys that a cross-validation may change when it goes on: they change no result.
FREE = keys_where(folds=True)

#: Run options that the weights depend on.
RUN_OPTIONS = ("precision", "grad_accumulation_factor")

#: What is made of all folds together, and not of each.
NOT_OF_FOLDS = {
    **dict.fromkeys(("audit", "acoustic_baseline", "report", "fit_recommended"), False),
    "subgroups": [],
}

#: Keys that a cross-validation has no use for, and what to do instead.
REFUSED = {
    "upload_to": "copy the output folder when it is complete (gcloud storage cp -r)",
    "cross_fitted_csv": "a fold's threshold would be chosen on whom it is tested on; "
    "give it to train.py, when the folds are done",
    "check_only": "python train.py … --check_only=True looks at the data",
}


@dataclasses.dataclass(frozen=True)
class FoldRun:
    """One network of a cross-validation.

    repeat, fold: From 1.
    seed: Of the repeat's folds, and of the network.
    folder: Its experiment folder.
    split_folder: Its train.csv and test.csv.
    left_out: What it leaves out, as a site's name; None where folds are drawn.
    """

    repeat: int
    fold: int
    seed: int
    folder: Path
    split_folder: Path
    left_out: str | None = None

    @property
    def name(self):
        """As it is called in messages."""
        what = f" ({self.left_out})" if self.left_out else ""
        return f"repeat {self.repeat}, fold {self.fold}{what}"

    @property
    def split(self):
        """What predictions.csv calls it, in the column `split`."""
        return f"fold {self.fold}"

    @property
    def is_finished(self):
        """Whether everything is there; train.py writes metrics.json at the very end."""
        return (self.folder / METRICS).is_file()

    def failed_parts(self):
        """Parts of its evaluation that failed, by name the reason."""
        return read_json(self.folder / METRICS).get("failed_parts", {})


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """Everything that is settled before the first fold is run.

    argv: The command line without the program's name.
    folder: Gets the folds' experiments and the results.
    split_folder: Where the corpus has its CSVs.
    values: Plain values of the yaml under the command line's overrides.
    table: All recordings, every cell text.
    folds (list of numpy.ndarray of int, [n_recordings]): For each repeat the fold of
        each recording, from 0.
    options: What all folds have on their command line, after what the user gave.
    record: What all this was made with.
    notes: What a user should know.
    left_out: What each fold leaves out, as sites' names; None where folds are drawn.
    """

    argv: list[str]
    run_opts: RunOptions
    folder: Path
    split_folder: str
    values: dict
    table: pd.DataFrame
    folds: list
    options: list[str]
    seed: int
    record: dict
    notes: list[str]
    left_out: list[str] | None = None

    @property
    def runs(self):
        """For each repeat its folds' runs, list of (list of FoldRun)."""
        return [
            [
                FoldRun(
                    repeat,
                    fold,
                    self.seed + repeat - 1,
                    self.folder / f"repeat_{repeat}" / f"fold_{fold}",
                    self.folder / "splits" / f"repeat_{repeat}_fold_{fold}",
                    self.left_out and self.left_out[fold - 1],
                )
                for fold in range(1, of_repeat.max() + 2)
            ]
            for repeat, of_repeat in enumerate(self.folds, start=1)
        ]

    @property
    def is_whole(self):
        """Whether its evaluation lacks no recording and no part."""
        metrics = read_json(self.folder / METRICS)
        return not metrics["failed_parts"] and not (self.folder / FAILED).exists()

    @property
    def is_evaluated(self):
        """Whether all that the folds are evaluated for together is there."""
        results = self.folder / METRICS
        folds = [run.folder / METRICS for repeat in self.runs for run in repeat]
        if not all(path.is_file() for path in (results, *folds)):
            return False
        metrics = read_json(results)
        return (
            not metrics.get("failed_parts")
            and results.stat().st_mtime_ns >= max(p.stat().st_mtime_ns for p in folds)
            and self.values["learning_curve"] <= ("learning_curve" in metrics)
        )

    def command_line(self, run: FoldRun) -> list[str]:
        """The command line of a fold's train.py: what the user gave, and its own."""
        return [
            *self.argv,
            *self.options,
            f"--seed={run.seed}",
            f"--split_folder={run.split_folder}",
            f"--output_folder={run.folder}",
        ]


def plan_cross_validation(argv: list[str]) -> CrossValidation:
    """Read the recordings and draw the folds; nothing is written.

    argv: The command line without the program's name.

    Raises UserError: for wrong settings or CSVs, or an output folder that holds
        something else.
    """
    arguments = parse_arguments(argv)
    hparams_file = arguments.hparams_file
    values = plain_values(hparams_file, arguments.overrides)
    check_training(values, hparams_file)
    _refuse_useless(values)
    places, folder = _places(values, hparams_file)
    # as each fold would; those that go on need them no more
    if values["pretrained"] and not (folder / RECORD).exists():
        source = find_source(values)
        source.check_fits(resolved_yaml(hparams_file, arguments.overrides), values)
    run_opts, options = arguments.run_opts, []
    if run_opts.debug and not run_opts.debug_persistently:
        folder /= "debug"  # as with train.py, whose folds are then below this one
        options.append("--debug_persistently")
    for_all = places | NOT_OF_FOLDS
    options += [f"--{key}={_text(value)}" for key, value in for_all.items()]

    pool = read_pool(values | places)
    # before hours of training; folds themselves have no subgroups
    columns = dict.fromkeys([*pool.table.columns, *pool.scaled_targets])
    group_columns(columns, values["subgroups"])
    folds, left_out = _folds(pool, values)
    record = {
        "settings": _settings(arguments, places),
        "inputs": pool.digests
        | {"the draw of folds": digest(np.stack(folds).tobytes())},
    }
    if left_out:
        record["left_out"] = left_out
    check_same(folder, record)
    notes = [*pool.notes, *_one_class_notes(folds, pool.scaled_targets)]
    return CrossValidation(
        *(argv, run_opts, folder, places["split_folder"], values, pool.table, folds),
        *(options, values["seed"], record, notes, left_out),
    )


def _folds(pool, values):
    """The folds of each repeat, and what each of them leaves out, None if drawn."""
    disjoint_by, column = values["disjoint_by"] or [], values["leave_one_out"]
    if column:
        folds, left_out = folds_by_column(pool.table, column, disjoint_by)
        return [folds], left_out
    folds = [
        make_folds(
            pool.table,
            pool.scaled_targets,
            values["n_folds"],
            values["seed"] + repeat,
            disjoint_by,
        )
        for repeat in range(values["n_repeats"])
    ]
    return folds, None


def _one_class_notes(folds, targets):
    """Where nothing will be measured, told before hours of training."""
    return [
        f"{label}: in repeat {repeat} there are no two classes in fold "
        f"{', '.join(str(fold + 1) for fold in without)}"
        for repeat, of_repeat in enumerate(folds, start=1)
        for label, without in one_class_folds(of_repeat, targets).items()
    ]


def _refuse_useless(values):
    problems = [f"{key}: {what}" for key, what in REFUSED.items() if values[key]]
    if values["leave_one_out"] and values["n_repeats"] != 1:
        problems.append(
            f"n_repeats {values['n_repeats']}: with leave_one_out the folds are always "
            "the same, leave it at 1"
        )
    if "LOCAL_RANK" in os.environ:
        problems.append("torchrun: each fold is trained by one process")
    if problems:
        raise UserError("A cross-validation can't be run with these:", problems)


def _places(values, hparams_file):
    """Where the data are, as each fold gets it, and where everything is written."""
    addresses = corpus.corpus_addresses(values)
    name = corpus.dataset_name(values, addresses)
    folder = values["output_folder"] or Path(
        "results", name, hparams_file.stem, str(values["seed"]), "cross_validation"
    )
    folder = output_path(folder, "output_folder")
    features = values.get("feature_cache") or folder / FEATURES.name
    # the study is part of data_folder now
    places = addresses | {"corpus_folder": None, "study": None, "dataset_name": name}
    places["feature_cache"] = str(output_path(features, "feature_cache"))
    return places, folder


def _text(value):
    return "null" if value is None else value


def _settings(arguments, places):
    """The yaml's values and run options that results depend on, as JSON has them."""
    given = {
        key: value
        for key, value in (arguments.overrides | places).items()
        if key not in FREE
    }
    settings = plain_values(arguments.hparams_file, given)
    settings |= {key: getattr(arguments.run_opts, key) for key in RUN_OPTIONS}
    return json.loads(json.dumps(settings, default=str))


def check_same(folder: Path, record: dict):
    """Refuse a folder of something else than this cross-validation.

    record: {"settings", "inputs"}: what it is to be made with.

    Raises UserError: if it holds an experiment, or folds that were made with something
        else.
    """
    if not (folder / RECORD).exists():
        others = (HPARAMS, PREDICTIONS, METRICS, SAVE, COMPARISON)
        if any((folder / name).exists() for name in others):
            raise UserError(
                f"{folder} holds results that are not of a cross-validation. Give "
                "another --output_folder."
            )
        return
    if not any(folder.glob("repeat_*/fold_*/save")):
        return  # no fold has come beyond its preparation
    saved = read_json(folder / RECORD)
    problems = different_settings(saved["settings"], record["settings"], RUN_OPTIONS)
    there, here = saved["inputs"], record["inputs"]
    problems += [
        f"{name} has changed"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    ]
    if problems:
        raise UserError(
            f"{folder} holds a cross-validation of other settings or data. Give "
            "another --output_folder, or these to continue it:",
            problems,
        )


def write_plan(plan: CrossValidation):
    """Write what the cross-validation is made with, and the splits of its folds."""
    write_json(plan.folder / RECORD, plan.record)
    for of_repeat, runs in zip(plan.folds, plan.runs, strict=True):
        for run in runs:
            held_out = of_repeat == run.fold - 1
            for folder in (run.split_folder, run.folder.parent):
                remove_unfinished(folder)  # of a killed run
            for name, rows in (("train.csv", ~held_out), ("test.csv", held_out)):
                with atomic_write(run.split_folder / name) as stream:
                    as_written(plan.table[rows]).to_csv(stream, index=False)
