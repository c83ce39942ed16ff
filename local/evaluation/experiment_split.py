"""What `evaluate.py` scores, and where it writes."""

import dataclasses
from pathlib import Path, PurePosixPath

from local.data import labels, prepare
from local.data.corpus import is_csv
from local.data.manifests import group_columns, read_manifest
from local.data.pseudonyms import Pseudonyms, read_pseudonyms
from local.evaluation import scored_csv
from local.evaluation.evaluate import Scored
from local.evaluation.failures import Failures, names_in
from local.evaluation.measurements import seen_splits
from local.evaluation.operating_points import read_operating_points, without_own_choices
from local.evaluation.parts import baseline_features
from local.evaluation.scoring import score_split, scored_rows
from local.storage.addresses import (
    absolute,
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
    TRAIN_LOG,
)
from local.storage.inputs import Storage, told_as
from local.training.experiment import Experiment, check_no_experiment
from local.utils.errors import UserError
from local.utils.files import read_json
from local.utils.run_lock import refuse_links
from local.utils.spelling import among
from local.utils.yaml_files import saved_values


@dataclasses.dataclass(frozen=True)
class EvaluationSplit:
    """A split for a trained model.

    of_the_corpus: Whether it is one of the experiment's own splits.
    csv: Which CSV it is of (see `scored_csv.describe`).
    subgroups: Columns of its manifest.
    features: Files of embeddings, each for a further baseline.
    notes: Those of the preparation, and of whom the experiment has seen.
    pseudonyms: For all that results name.
    """

    name: str
    of_the_corpus: bool
    prepared: prepare.PreparedSplit
    csv: dict
    subgroups: list[str]
    features: list[Path]
    notes: list[str]
    output_folder: Path
    pseudonyms: Pseudonyms | None


def check_options(options: dict):
    """Refuse what can't be, as far as it is told without the model.

    options: Of evaluate.yaml.

    Raises UserError.
    """
    _split_csv(options)
    if options["features"]:
        several(options["features"], "features")
    if options["output_folder"]:
        output_path(options["output_folder"], "output_folder")


def prepare_evaluation(
    experiment: Experiment, options: dict, hparams: dict
) -> EvaluationSplit:
    """Prepare the split that the options name, by default the experiment's test split.

    options: Of evaluate.yaml: `split_csv`, `split_folder`, `output_folder`,
        `subgroups`, `features`.
    hparams: Of the experiment, for this run.

    Raises UserError: for a wrong CSV, subgroups that it has no column of, features that
        lack a recording, or an output folder that would change the experiment.
    """
    names = labels.flatten(hparams["label_groups"])
    own_manifests = experiment.folder / MANIFESTS
    pseudonyms = read_pseudonyms(hparams["pseudonymise_key"])
    split_csv = _split_csv(options)
    saved = _saved_manifest(experiment, split_csv)
    if saved is not None:
        name = saved.stem
        manifest = read_manifest(saved, names)
        prepared = prepare.inspect_again(manifest, names, hparams)
        skipped = _skipped_before(own_manifests, name)
        prepared = dataclasses.replace(prepared, failed=[*skipped, *prepared.failed])
    else:
        name = PurePosixPath(split_csv).stem
        own_data = hparams["data_folder"] == experiment.hparams["data_folder"]
        prepared = prepare.prepare_split(
            split_csv, hparams, names=names, own_data=own_data
        )
    columns = group_columns(prepared.manifest.columns, options["subgroups"])
    output_folder, csv = _output_folder(experiment, options, split_csv, saved)
    trained = {
        subject
        for file in own_manifests.glob("*.csv")
        if file.stem != "test" and is_csv(file.name)
        for subject in read_manifest(file, names)["subject"]
    }
    subjects = set(prepared.manifest["subject"])
    notes = [*prepared.notes, *seen_notes(trained, subjects)]
    features = _features(options, own_manifests, prepared.manifest, names, pseudonyms)
    return EvaluationSplit(
        name,
        saved is not None,
        prepared,
        csv,
        columns,
        features,
        notes,
        output_folder,
        pseudonyms,
    )


def seen_notes(trained: set[str], subjects: set[str]) -> list[str]:
    """What a reader must know if subjects of a split were learned from.

    trained, subjects: That were trained or validated on; of the split.
    """
    seen = among(subjects, trained)
    if not seen:
        return []
    return [
        f"{len(seen)} of {len(subjects)} subjects of this split were trained or "
        "validated on: these results are not of unseen subjects."
    ]


def score(
    experiment: Experiment,
    hparams: dict,
    split: EvaluationSplit,
    options: dict,
    command: list[str],
) -> Scored:
    """Score a split with an experiment's model.

    hparams: Of the experiment, for this run.
    options: Of evaluate.yaml: `report`, `show_uids`, `audit`, `acoustic_baseline` and
        `measured_recordings`.
    command: The command line.

    Returns: Its recordings not measured yet.
    """
    prepared = split.prepared
    names = labels.flatten(hparams["label_groups"])
    seen = seen_splits(experiment.folder, names)
    learned_on = {name: set(of.manifest["subject"]) for name, of in seen.items()}
    points = without_own_choices(
        read_operating_points(experiment.folder),
        {
            "validation": learned_on.get("valid", set()),
            "cross-fitted training": set().union(*learned_on.values()),
        },
        set(prepared.manifest["subject"]),
    )
    table = score_split(
        experiment.brain, hparams, prepared.manifest, prepared.recordings, split.name
    )
    train_log = experiment.folder / TRAIN_LOG
    return Scored(
        split=split.name,
        table=table,
        label_groups=hparams["label_groups"],
        # the labels' own scales: an imported model's outputs have none
        types=labels.parse_label_types(hparams["label_types"], names, hparams["loss"]),
        points=points,
        command=command,
        seed=hparams["seed"],
        checkpoint=experiment.checkpoint,
        manifest=scored_rows(prepared.manifest, table),
        recordings=prepared.recordings,
        audio_settings=hparams,
        seen=seen,
        of_the_corpus=split.of_the_corpus,
        subgroups=split.subgroups,
        csv=split.csv,
        features=split.features,
        failed=prepared.failed,
        notes=split.notes,
        settings=saved_values(experiment.folder / HPARAMS),
        train_log=train_log if train_log.is_file() else None,
        report=options["report"],
        show_uids=options["show_uids"],
        pseudonyms=split.pseudonyms,
        audit=options["audit"],
        acoustic_baseline=options["acoustic_baseline"],
        measured_recordings=options["measured_recordings"],
        failures=Failures(names_in(table, *(of.manifest for of in seen.values()))),
    )


def _skipped_before(own_manifests: Path, split: str) -> list[dict]:
    """Recordings that no manifest has: the experiment was prepared without them.

    Results of the test split are the experiment's own, which list those of all splits.

    Returns: `uid`, `reason`, and of whom and of which split they are.
    """
    record = own_manifests / PREPARATION.name
    skipped = read_json(record)["failed"] if record.is_file() else []
    return [of for of in skipped if split in ("test", of["split"])]


def _features(options, own_manifests, manifest, names, pseudonyms):
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
    if not (own_manifests / "train.csv").is_file():
        raise UserError(
            "--features needs an experiment that knows its training split "
            f"({MANIFESTS / 'train.csv'}), on which the baseline is fitted."
        )
    training = read_manifest(own_manifests / "train.csv", names)
    for address, path in zip(addresses, paths, strict=True):
        with told_as(address, path):
            baseline_features(path, training, manifest, pseudonyms)
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


def _split_csv(options):
    """The CSV to score, or None for the experiment's own test split."""
    if options["split_csv"] and options["split_folder"]:
        raise UserError("Give --split_csv or --split_folder, not both.")
    if options["split_csv"]:
        return absolute(options["split_csv"], "split_csv")
    if options["split_folder"]:
        return joined(absolute(options["split_folder"], "split_folder"), "test.csv")
    return None


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
