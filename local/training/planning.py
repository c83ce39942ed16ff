"""Planning a training run: settings checked, data prepared, nothing written."""

import dataclasses
import hashlib
from pathlib import Path

import pandas as pd

from local.data import corpus, prepare
from local.data.cross_fitted import read_cross_fitted
from local.data.manifests import group_columns, positive_weights, stop_on_failed
from local.data.pseudonyms import Pseudonyms, read_pseudonyms
from local.data.raters import with_shares
from local.data.saved_preparations import saved_preparation
from local.model import feature_statistics
from local.storage import publishing
from local.storage.addresses import absolute, local_path, output_path
from local.storage.experiment_files import (
    HPARAMS,
    MANIFESTS,
    RUN_OPTIONS,
    SAVE,
    STATISTICS,
)
from local.storage.inputs import Storage, told_as
from local.training.pretrained import EncoderSource, find_source
from local.training.settings import (
    EvaluationSettings,
    check_training,
    check_window,
    different_settings,
)
from local.utils import launch
from local.utils.cli import Arguments
from local.utils.errors import UserError
from local.utils.files import read_json
from local.utils.keys import KEYS, keys_where
from local.utils.yaml_files import plain_values, resolved_yaml, saved_values

#: Keys that a resumed run may change: none shapes the model, or what the data are.
FREE_ON_RESUME = keys_where(resume=True)

#: Keys that preparation and the model fill; the former's own record tells whether the
#: data changed.
FILLED = (*keys_where(filled="data"), *keys_where(filled="built"))

#: Keys that name folders augmentation reads from, and the share that it does for.
NOISE_FOLDERS = {row.folder: name for name, row in KEYS.items() if row.folder}

#: Keys that follow from others.
DERIVED = (*keys_where(filled="place"), *FILLED)


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """Everything that is settled before a model is built.

    overrides: The command line's, completed by what preparation found.
    values: Plain values of the yaml under these overrides.
    cross_fitted: Predictions of the training subjects, for thresholds
        (`cross_fitted_csv`).
    pseudonyms: For all that results name.
    upload_to: Where results are copied to.
    source: Where the encoder's weights come from (`pretrained`), if not from a
        checkpoint of this run.
    run_options: Run options that the weights depend on.
    notes: What a user should know of all this.
    """

    overrides: dict
    values: dict
    preparation: prepare.Preparation
    cross_fitted: pd.DataFrame | None
    pseudonyms: Pseudonyms | None
    upload_to: str | None
    source: EncoderSource | None
    run_options: dict
    notes: list[str]

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.values["output_folder"])


def plan_training(arguments: Arguments, use_statistics: bool = True) -> TrainingPlan:
    """Prepare the data and check the output folder; nothing is written.

    use_statistics: Whether `dataset_mean` and `dataset_std` come from the output
        folder, where they are null.

    Raises UserError: for wrong settings or data, recordings that can't be used unless
        these are to be skipped, or an output folder that holds another experiment.
    """
    hparams_file, overrides, values = _settled(arguments)
    pseudonyms = read_pseudonyms(values["pseudonymise_key"])
    upload_to = _upload_to(values, overrides["data_folder"], arguments.run_opts)
    folder = Path(overrides["output_folder"])
    statistics = _statistics(values, folder) if use_statistics else None
    if statistics:
        overrides |= statistics.values
    folder = _written_to(folder, arguments.run_opts)
    overrides["output_folder"] = str(folder)
    values |= overrides

    run_options = _run_options(arguments.run_opts, values)
    saved = None
    if not values["check_only"]:
        saved = _check_same_experiment(hparams_file, overrides, run_options, folder)
    source = find_source(values) if values["pretrained"] and not saved else None
    if source:  # before what takes long
        source.check_fits(resolved_yaml(hparams_file, overrides), values)
    preparation = _prepared(values, folder)
    cross_fitted = _cross_fitted(values, preparation, pseudonyms)
    overrides |= _filled(values, preparation)
    if values["pretrained"]:
        overrides["pretrained_digest"] = (
            source.digest if source else saved["pretrained_digest"]
        )
    values = plain_values(hparams_file, overrides)
    check_window(values)
    notes = list(preparation.notes)
    if source:
        source.check_fits(resolved_yaml(hparams_file, overrides), values)
        source.check_unseen(preparation.manifests)
    if values["pretrained"]:
        notes.append(
            f"the encoder starts from {Path(values['pretrained']).name} (SHA-256 of "
            f"its weights: {values['pretrained_digest'][:12]}…)"
        )
    if statistics:
        statistics.check_made_with(feature_statistics.made_with(values, preparation))
        notes.append(f"dataset_mean and dataset_std from {STATISTICS}")
    return TrainingPlan(
        overrides,
        values,
        preparation,
        cross_fitted,
        pseudonyms,
        upload_to,
        source,
        run_options,
        notes,
    )


def output_folder(arguments: Arguments) -> Path:
    """Where a training run writes; nothing is read but the yaml.

    Raises UserError: for values of a wrong kind, addresses that are none, or a file of
        that name.
    """
    _, overrides, _ = _settled(arguments)
    return _written_to(Path(overrides["output_folder"]), arguments.run_opts)


def _written_to(folder, run_opts):
    """The outputs of two batches must not replace those of a real run."""
    is_short = run_opts.debug and not run_opts.debug_persistently
    return folder / "debug" if is_short else folder


def _settled(arguments):
    """The yaml, overrides with all places filled in, and the values given so far."""
    hparams_file, overrides = arguments.hparams_file, dict(arguments.overrides)
    derived = [f"--{key}" for key in DERIVED if key in overrides]
    if derived:
        raise UserError(f"{', '.join(derived)}: filled by train.py, not to be given.")
    values = plain_values(hparams_file, overrides)
    check_training(values, hparams_file)
    overrides |= _places(values, hparams_file)
    return hparams_file, overrides, values


def _places(values, hparams_file):
    """Where everything is read and written, absolute; the data set's name."""
    addresses = corpus.corpus_addresses(values)
    name = corpus.dataset_name(values, addresses)
    folder = values["output_folder"] or Path(
        "results", name, hparams_file.stem, str(values["seed"])
    )
    if values["cross_fitted_csv"]:
        key = "cross_fitted_csv"
        addresses[key] = absolute(values[key], key)
    if values.get("features"):
        addresses["features"] = absolute(values["features"], "features")
    for key, path in (("pseudonymise_key", local_path), ("feature_cache", output_path)):
        if values.get(key):
            addresses[key] = str(path(values[key], key))
    for key, share in NOISE_FOLDERS.items():
        if values[key]:
            addresses[key] = str(local_path(values[key], key))
        if values[share] and not Path(addresses[key]).is_dir():
            raise UserError(f"{key}: there is no folder {addresses[key]}.")
    return {
        **addresses,
        "study": None,  # now part of data_folder
        "dataset_name": name,
        "output_folder": str(output_path(folder, "output_folder")),
    }


def _upload_to(values, data_folder, run_opts):
    """Where results are copied to, which is no place for recordings."""
    upload_to = publishing.destination(
        values["upload_to"], values["gcs_project"], run_opts
    )
    if f"{upload_to}/".startswith(f"{data_folder}/"):
        raise UserError(
            f"upload_to {upload_to} is in the data folder, which is for recordings: "
            "give another place."
        )
    return upload_to


def _statistics(values, folder):
    """The output folder's, where `dataset_mean` and `dataset_std` are null."""
    if values.get("dataset_mean", 0) is values.get("dataset_std", 0) is None:
        return feature_statistics.saved_statistics(folder)
    return None


def _prepared(values, folder):
    """The data as this run left them when it was interrupted, or prepared."""
    preparation = None
    if not values["check_only"]:
        preparation = saved_preparation(folder / MANIFESTS, values)
    if preparation is None:
        preparation = prepare.prepare_training(values)
    if values["on_bad_recording"] == "stop" and not values["check_only"]:
        stop_on_failed(preparation.failed)
    group_columns(preparation.manifests["test"].columns, values["subgroups"])
    # refuses labels that can have none
    EvaluationSettings.of(values).given_thresholds(preparation.binary_labels)
    return preparation


def _cross_fitted(values, preparation, pseudonyms):
    """The predictions of `cross_fitted_csv`, None if it is not given."""
    address = values["cross_fitted_csv"]
    if not address:
        return None
    subjects = {
        split: set(manifest["subject"])
        for split, manifest in preparation.manifests.items()
    }
    held_out = subjects.pop("test")
    file = Storage.of(values).file(address)
    with told_as(address, file):
        return read_cross_fitted(
            file,
            preparation.labels,
            set().union(*subjects.values()),
            held_out,
            pseudonyms,
        )


def _filled(values, preparation):
    """What the preparation found, as values of the yaml's keys."""
    ranges = preparation.label_ranges
    filled = {
        "label_groups": preparation.label_groups,
        "label_ranges": ranges if any(ranges) else None,
        "sample_rate": values["sample_rate"] or _common_rate(preparation),
    }
    if None not in ranges:
        _check_scores(values)
    train, names = preparation.manifests["train"], preparation.labels
    if values["soft_targets"]:
        train = with_shares(train, names, values)
    if values["positive_weight"]:
        filled["positive_weights"] = positive_weights(train, names, ranges)
    return filled


def _check_scores(values):
    """Refuse what needs labels of two classes, where all labels are scores."""
    problems = []
    if values["best_checkpoint"] == "macro_auroc":
        problems.append("best_checkpoint macro_auroc (they have no AUROC): take loss")
    if values["positive_weight"]:
        problems.append("positive_weight True (they have no positives): take False")
    if problems:
        raise UserError("All labels are scores, and these settings can't be:", problems)


def _common_rate(preparation):
    """The rate that all recordings have (`sample_rate: 0`), in Hz."""
    rates = pd.concat(
        [manifest["sample_rate"] for manifest in preparation.manifests.values()]
    ).value_counts()
    if len(rates) > 1:
        raise UserError(
            "sample_rate 0 leaves recordings at their own rate, and they have several; "
            "give one that all are resampled to, as --sample_rate=16000:",
            [f"{rate} Hz: {n} recordings" for rate, n in rates.items()],
        )
    return int(rates.index[0])


def _run_options(run_opts, values):
    """What the weights depend on and no yaml key tells of."""
    return {
        "precision": run_opts.precision,
        "compile": bool(run_opts.compile),
        "grad_accumulation_factor": run_opts.grad_accumulation_factor,
        "processes": launch.n_processes(),
        **{f"files in {key}": _listing(values[key]) for key in NOISE_FOLDERS},
    }


def _listing(folder):
    """How many files are below a folder, with a digest of their names and sizes."""
    if not folder:
        return "none"
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    names = [f"{path.relative_to(folder)} {path.stat().st_size}" for path in files]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"{len(files)} files ({digest[:8]})"


def _check_same_experiment(hparams_file, overrides, run_options, folder):
    """`fit` resumes whatever lies in the folder: it must be this experiment.

    Returns: The values that it was trained with, None if nothing is trained yet.
    """
    if not any((folder / SAVE).glob("CKPT*")):
        return None
    for name in (HPARAMS, RUN_OPTIONS):
        if not (folder / name).exists():
            raise UserError(
                f"{folder} holds checkpoints and no {name}: it can't be told what they "
                "were trained with. Give another --output_folder."
            )
    saved = saved_values(folder / HPARAMS)
    free = {key: saved[key] for key in (*FREE_ON_RESUME, *FILLED) if key in saved}
    if saved.get("scheduler") == "onecycle":
        del free["number_of_epochs"]  # the schedule ends with the last epoch
    if plain_values(hparams_file, overrides)["sample_rate"] == 0:
        free["sample_rate"] = saved["sample_rate"]  # the one that was found
    new = plain_values(hparams_file, {**overrides, **free})
    try:
        saved |= read_json(folder / RUN_OPTIONS)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder / RUN_OPTIONS} is damaged ({error}): it can't be told what the "
            "checkpoints there were trained with. Give another --output_folder."
        ) from error
    changed = different_settings(saved, new | run_options, run_options)
    if changed:
        raise UserError(
            f"{folder} holds an experiment with other settings. Give another "
            "--output_folder, or these settings to continue it:",
            changed,
        )
    return saved
