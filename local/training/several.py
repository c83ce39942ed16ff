"""Cross-validations of several yamls with the same folds, and the model of one."""

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from local.storage.addresses import joined, output_path
from local.storage.experiment_files import (
    COMPARISON,
    FEATURES,
    HPARAMS,
    METRICS,
    PREDICTIONS,
    SAVE,
)
from local.storage.inputs import Storage
from local.training.cross_validation import (
    RECORD,
    CrossValidation,
    plan_cross_validation,
    write_plan,
)
from local.training.family import PREVALENCE, family_of
from local.utils.cli import INCOMPLETE, OK, parse_arguments
from local.utils.errors import UserError
from local.utils.files import read_json
from local.utils.run_lock import claimed
from local.utils.several_yamls import split_by_yaml
from local.utils.yaml_files import plain_values, saved_values

logger = logging.getLogger(__name__)

#: Where the model that is trained in the end lies.
RECOMMENDED = "recommended"

#: What yamls may not be called: folders and systems of that name there are already.
TAKEN = (RECOMMENDED, PREVALENCE, FEATURES.name, "debug", "figures")

#: Keys by which folds are drawn, and recordings are what they are.
SAME = (
    *("seed", "n_folds", "n_repeats", "leave_one_out", "disjoint_by"),
    *("corpus_folder", "data_folder", "study", "split_folder", "labels_file"),
    *("label_types", "derived_labels", "label_values", "missing_values"),
    *("study_design", "pseudonymise_key", "fit_recommended"),
)


@dataclasses.dataclass(frozen=True)
class Plans:
    """All cross-validations of a command, settled before the first fold is run.

    folder: Of the only one, or the one that holds those of several.
    by_yaml: By the yaml's name without its ending.
    notes: What a user should know.
    """

    folder: Path
    by_yaml: dict[str, CrossValidation]
    notes: list[str]

    @property
    def are_several(self):
        """Whether there is something to compare."""
        return len(self.by_yaml) > 1

    @property
    def families(self):
        """How simple the model of each yaml is (see `family`)."""
        return {name: family_of(plan.values) for name, plan in self.by_yaml.items()}

    @contextlib.contextmanager
    def claimed(self):
        """Keep all folders for one run at a time (see `run_lock.claimed`)."""
        own = [plan.folder for plan in self.by_yaml.values()]
        with contextlib.ExitStack() as stack:
            claims = [
                stack.enter_context(claimed(folder))
                for folder in dict.fromkeys([self.folder, *own])
            ]
            yield [descriptor for claim in claims for descriptor in claim]

    @property
    def fits(self):
        """Whether a model is to be trained on all training subjects in the end."""
        return next(iter(self.by_yaml.values())).values["fit_recommended"]


def plan_all(argv: list[str]) -> Plans:
    """Read the recordings and draw the folds for each yaml; nothing is written.

    argv: The command line without the program's name.

    Raises UserError: as `plan_cross_validation`; for yamls that would have other folds
        or other recordings; for `fit_recommended` without a test.csv.
    """
    lines, notes = split_by_yaml(argv)
    if len(lines) == 1:
        plans = {name: plan_cross_validation(line) for name, line in lines.items()}
        folder = next(iter(plans.values())).folder
    else:
        folder, options = _folder_of_several(lines)
        _check_same_keys(lines)
        plans = {
            name: plan_cross_validation(
                [*line, *options, f"--output_folder={folder / name}"]
            )
            for name, line in lines.items()
        }
        _check_same_inputs(plans)
    first = next(iter(plans.values()))
    if first.values["fit_recommended"]:
        _check_test_csv(first)
    return Plans(folder, plans, [*notes, *first.notes])


def _folder_of_several(lines):
    """The folder that holds all, and options that each yaml gets for being in it."""
    arguments = parse_arguments(next(iter(lines.values())))
    folder, run_opts = arguments.overrides.get("output_folder"), arguments.run_opts
    if taken := [name for name in lines if name in TAKEN]:
        raise UserError("Among several yamls none may have these names:", taken)
    if not folder:
        raise UserError(
            "Several yamls need --output_folder=DIR: each gets a folder of its own in "
            f"it, and {COMPARISON} stands beside these."
        )
    folder, options = output_path(folder, "output_folder"), []
    if run_opts.debug and not run_opts.debug_persistently:
        folder, options = folder / "debug", ["--debug_persistently"]
    if not arguments.overrides.get("feature_cache"):  # all can use what one has made
        options.append(f"--feature_cache={folder / FEATURES.name}")
    others = (RECORD, HPARAMS, PREDICTIONS, METRICS, SAVE)
    if any((folder / name).exists() for name in others):
        raise UserError(
            f"{folder} holds results of one yaml, and these are of several. Give "
            "another --output_folder."
        )
    return folder, options


def _check_same_keys(lines):
    """Raise UserError unless all yamls have the same values of what folds depend on."""
    given = {name: parse_arguments(line) for name, line in lines.items()}
    values = {
        name: plain_values(arguments.hparams_file, arguments.overrides)
        for name, arguments in given.items()
    }
    problems = []
    for key in SAME:
        own = {name: all_of.get(key) for name, all_of in values.items()}
        if len(set(map(repr, own.values()))) > 1:
            told = ", ".join(f"{value!r} in {name}" for name, value in own.items())
            problems.append(f"{key}: {told}")
    _refuse(problems)


def _check_same_inputs(plans):
    """The same of the recordings, their labels, and the folds that were drawn."""
    inputs = [plan.record["inputs"] for plan in plans.values()]
    _refuse(
        [
            f"{name} is not the same"
            for name in dict.fromkeys(name for own in inputs for name in own)
            if len({own.get(name) for own in inputs}) > 1
        ]
    )


def _refuse(problems):
    if problems:
        raise UserError(
            "The yamls can't be compared: they need the same folds of the same "
            "recordings. Give these on the command line, or the same in all yamls:",
            problems,
        )


def _check_test_csv(plan):
    """Raise UserError if there is nothing that the last model could be tested on."""
    values = plan.values
    folder = plan.split_folder
    local = Storage.of(values).folder(folder, "test.csv".__eq__)
    if not (local / "test.csv").is_file():
        raise UserError(
            f"fit_recommended: there is no {joined(folder, 'test.csv')}, by which the "
            "model that is trained on all training subjects is evaluated. Leave it out "
            "(the out-of-fold results are the evaluation then), or put subjects aside "
            "in a test.csv."
        )


def run_folds(plan: CrossValidation, train: Callable, claim: list[int]) -> int:
    """Train the folds that are not finished, one after the other.

    train: Runs train.py (see `repeated_script.runner`).
    claim: Descriptors, as `run_lock.claimed` gives them.

    Returns: The exit status; of one that is neither `OK` nor `INCOMPLETE` the message
        has been printed.
    """
    write_plan(plan)
    failed = False
    for run in (run for repeat in plan.runs for run in repeat):
        if run.is_finished and not run.failed_parts():
            logger.info("%s is finished", run.name)
            continue
        print(f"{run.name}: {run.folder}", flush=True)
        status = train(plan.command_line(run), claim)
        if status not in (OK, INCOMPLETE):
            what = f"error: train.py ended with status {status} in {run.name}."
            print(f"{what} The same command continues from there.", file=sys.stderr)
            return status
        failed |= bool(run.failed_parts())
    return INCOMPLETE if failed else OK


def fit(plans: Plans, name: str | None, train: Callable, claim: list[int]) -> int:
    """Train a yaml on all training subjects, unless that is done: an experiment.

    Thresholds are chosen on the out-of-fold predictions of its cross-validation.

    name: Of the yaml; None: none is recommended.
    train, claim: As for `run_folds`.

    Returns: The exit status.
    Raises UserError: if there is none to train.
    """
    if name is None:
        raise UserError(
            f"fit_recommended: nothing is recommended ({COMPARISON} says why). Train a "
            "yaml of your choice with train.py."
        )
    plan, folder = plans.by_yaml[name], plans.folder / RECOMMENDED
    cross_fitted = str(plan.folder / PREDICTIONS)
    if _is_fitted(folder, cross_fitted):
        print(f"{name} is trained on all training subjects: {folder}")
        return OK
    print(f"training {name} on all training subjects: {folder}", flush=True)
    own = [option for option in plan.options if option == "--debug_persistently"]
    places = f"--output_folder={folder}", f"--cross_fitted_csv={cross_fitted}"
    return train([*plan.argv, *own, *places], claim)


def _is_fitted(folder, cross_fitted):
    if not (folder / METRICS).is_file():
        return False
    same = saved_values(folder / HPARAMS)["cross_fitted_csv"] == cross_fitted
    return same and not read_json(folder / METRICS).get("failed_parts")
