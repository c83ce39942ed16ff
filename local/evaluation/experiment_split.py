"""What `evaluate.py` scores, and where it writes."""

import dataclasses
from pathlib import Path, PurePosixPath

from local.data import labels, prepared_split
from local.data.manifests import group_columns, read_manifest
from local.data.pseudonyms import read_pseudonyms
from local.data.split import Split
from local.evaluation import scored_csv
from local.evaluation.external import internal_results
from local.evaluation.flags import seen_notes
from local.evaluation.in_range import read_range, with_deviations
from local.evaluation.measurements import seen_splits
from local.evaluation.operating_points import apply_operating_points
from local.evaluation.parts import baseline_features
from local.evaluation.scored_split import ScoredSplit
from local.evaluation.scoring import score_split, scored_rows
from local.evaluation.usable_points import for_windows, points_for
from local.evaluation.weights import models_weights
from local.storage.addresses import (
    joined,
    last_name,
    output_path,
    parent,
    several,
)
from local.storage.experiment_files import (
    EVALUATIONS,
    HPARAMS,
    MANIFESTS,
    PREPARATION,
    SAVE,
)
from local.storage.inputs import Storage, told_as
from local.training.experiment import Experiment, arrange, check_no_experiment
from local.training.train_log import json_log
from local.utils.errors import UserError
from local.utils.files import read_json
from local.utils.run_lock import refuse_links
from local.utils.yaml_files import saved_values


def check_options(options: dict):
    """Refuse what can't be, as far as it is told without the model.

    options: Of evaluate.yaml.

    Raises UserError.
    """
    if not (options["predictions_csv"] or options["experiment_folder"]):
        raise UserError("Give --experiment_folder=DIR or --predictions_csv=FILE.")
    scored_csv.address_of(options)
    if options["features"]:
        several(options["features"], "features")
    if options["output_folder"]:
        output_path(options["output_folder"], "output_folder")


def prepare_evaluation(
    experiment: Experiment, options: dict, hparams: dict
) -> tuple[Split, Path]:
    """Prepare the split that the options name, by default the experiment's test split.

    options: Of evaluate.yaml: `split_csv`, `split_folder`, `output_folder`,
        `evaluation`, `features`.
    hparams: Of the experiment, for this run.

    Returns split.
    Returns output_folder.
    Raises UserError: for a wrong CSV, subgroups that it has no column of, features that
        lack a recording, or an output folder that would change the experiment.
    """
    names = labels.flatten(hparams["label_groups"])
    own_manifests = experiment.folder / MANIFESTS
    split_csv = scored_csv.address_of(options)
    saved = _saved_manifest(experiment, split_csv)
    if saved is not None:
        name, manifest = saved.stem, read_manifest(saved, names)
        split = prepared_split.inspect_again(manifest, names, hparams)
        skipped = _skipped_before(own_manifests, name)
        split = split.changed(failed=[*skipped, *split.failed])
    else:
        name = PurePosixPath(split_csv).stem
        own_data = hparams["data_folder"] == experiment.hparams["data_folder"]
        split = prepared_split.prepare_split(
            split_csv, hparams, names=names, own_data=own_data
        )
    arrange(split.recordings, experiment)
    group_columns(split.manifest.columns, options["evaluation"].subgroups)
    _given(options, hparams)  # which checks it
    output_folder, csv = _output_folder(experiment, options, split_csv, saved)
    split = split.changed(
        name=name,
        is_own=saved is not None,
        seen=seen_splits(experiment.folder, names),
        csv=csv,
        pseudonyms=read_pseudonyms(hparams["pseudonymise_key"]),
    )
    split = split.changed(
        notes=[*split.notes, *seen_notes(split)],
        features=[] if hparams.get("features") else _features(options, split),
    )
    return split, output_folder


def score(
    experiment: Experiment, hparams: dict, split: Split, options: dict, command: list
) -> ScoredSplit:
    """Score a split with an experiment's model.

    hparams: Of the experiment, for this run.
    options: Of evaluate.yaml: `evaluation`, whose seed is the experiment's.
    command: The command line.

    Returns: Its recordings not measured yet.
    """
    points = points_for(
        experiment.folder, split.seen, split.subjects, _given(options, hparams)
    )
    known_range = read_range(experiment.folder)  # one that is damaged is told at once
    table, heard = score_split(
        experiment.brain, hparams, split.manifest, split.recordings, split.name
    )
    points, notes = for_windows(
        points, experiment.hparams["windows"], hparams["windows"], split.manifest
    )
    table, odd = with_deviations(
        apply_operating_points(table, points), heard, known_range
    )
    known = vars(split) | {
        "manifest": scored_rows(split.manifest, table),
        "notes": [*split.notes, *notes, *odd],
    }
    return ScoredSplit(
        **known,
        table=table,
        points=points,
        evaluation=_asked(options["evaluation"], hparams),
        command=command,
        audio=hparams["audio"],
        batches=hparams["score_batches"],
        cache=experiment.brain.feature_cache,
        weights=models_weights([experiment.brain]),
        checkpoint=experiment.checkpoint,
        settings=saved_values(experiment.folder / HPARAMS),
        train_log=json_log(experiment.folder),
        internal=None if split.is_own else internal_results(experiment.folder),
    )


def _asked(evaluation, hparams):
    """What is asked of the split; of features in the place of audio not all can be."""
    evaluation = dataclasses.replace(evaluation, seed=hparams["seed"])
    if not hparams.get("features"):
        return evaluation
    return dataclasses.replace(evaluation, audit=False, acoustic_baseline=False)


def _given(options, hparams):
    """The thresholds that the options fix in advance."""
    names = labels.flatten(hparams["label_groups"])
    scores = labels.score_labels(names, hparams["label_ranges"])
    binary = [name for name in names if name not in scores]
    return options["evaluation"].given_thresholds(binary)


def _skipped_before(own_manifests: Path, split: str) -> list[dict]:
    """Recordings that no manifest has: the experiment was prepared without them.

    Results of the test split are the experiment's own, which list those of all splits.

    Returns: `uid`, `reason`, and of whom and of which split they are.
    """
    record = own_manifests / PREPARATION.name
    skipped = read_json(record)["failed"] if record.is_file() else []
    return [recording for recording in skipped if split in ("test", recording["split"])]


def _features(options, split):
    """Local copies of the files of features, which must do for baselines."""
    if not options["features"]:
        return []
    addresses = several(options["features"], "features")
    paths = [Storage.of(options).file(address) for address in addresses]
    if len({path.stem for path in paths}) < len(paths):
        raise UserError(
            "Baselines are called like their files of features, and of these some are "
            "called alike: rename them.",
            addresses,
        )
    if "train" not in split.seen:
        raise UserError(
            "--features needs an experiment that knows its training split "
            f"({MANIFESTS / 'train.csv'}), on which the baseline is fitted."
        )
    training = split.seen["train"].manifest
    for address, path in zip(addresses, paths, strict=True):
        with told_as(address, path):
            baseline_features(path, [training, split.manifest], split.pseudonyms)
    return paths


def _output_folder(experiment, options, split_csv, saved):
    """Where to write, and which CSV's results; never into what is there of others."""
    storage, debug = Storage.of(options), experiment.brain.debug
    file = saved or storage.file(split_csv)
    own = saved and (MANIFESTS / saved.name).as_posix()
    if not options["output_folder"]:
        # without its folder: an experiment may move, with results of its own splits
        address, home = own or split_csv, experiment.output_folder
        csv = scored_csv.describe(address, file)
        folder = scored_csv.folder_of(home / EVALUATIONS, address, csv, storage, debug)
        place = folder.relative_to(home)
        refuse_links(home, (EVALUATIONS, place.parent, place))
        return folder, csv
    address = joined(experiment.address, own) if own else split_csv
    csv = scored_csv.describe(address, file)
    folder = output_path(options["output_folder"], "output_folder")
    _check_output_folder(folder, experiment)
    folder = folder / "debug" if debug else folder
    scored_csv.refuse_others(folder, csv, storage, "output_folder")
    return folder, csv


def _check_output_folder(output_folder, experiment):
    """Refuse a folder with files of an experiment."""
    save_folder = (experiment.folder / SAVE).resolve()
    if output_folder.resolve() == experiment.folder.resolve() or (
        save_folder in [output_folder.resolve(), *output_folder.resolve().parents]
    ):
        raise UserError(
            f"output_folder {output_folder} belongs to the experiment, whose files "
            "stay as they are: give another one."
        )
    check_no_experiment(output_folder)


def _saved_manifest(experiment, split_csv):
    """The experiment's own manifest that is meant; None for another CSV.

    It is not read as a CSV of a corpus: its labels are targets, not ratings any more.
    """
    manifests = experiment.folder / MANIFESTS
    if split_csv is None:
        saved = manifests / "test.csv"
        if not saved.exists():
            raise UserError(
                f"{experiment.address} has no test split of its own "
                f"({MANIFESTS / 'test.csv'}): give --split_csv=FILE."
            )
        return saved
    is_own = parent(split_csv) == joined(experiment.address, MANIFESTS.as_posix())
    saved = manifests / last_name(split_csv)
    return saved if is_own and saved.is_file() else None
