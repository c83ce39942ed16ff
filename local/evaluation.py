"""Scoring a split: predictions.csv, metrics.json and the figures."""

import dataclasses
from pathlib import Path, PurePosixPath

import numpy as np
from speechbrain.utils.distributed import if_main_process

from local import dataio, figures, labels, metrics, predictions, prepare
from local.addresses import absolute, joined, output_path
from local.errors import UserError
from local.experiment import MANIFESTS
from local.files import write_json
from local.manifests import read_manifest

#: What evaluation writes to its output folder, unless there is nothing to write.
OUTPUTS = (
    "predictions.csv",
    "figures/roc.png",
    "figures/scores.png",
    "failed.csv",
    "metrics.json",
)


def evaluate_split(brain, hparams, manifest, recordings, split, output_folder):
    """Score the recordings of a manifest with the best checkpoint and write it down.

    Arguments
    ---------
    brain : ClinicalBrain
    hparams : dict
        Audio settings, `label_groups`, `positive_weights`, `label_ranges`,
        `eval_batch_size` and `num_workers`.
    manifest : pandas.DataFrame
    recordings : recordings.FolderRecordings or recordings.BucketRecordings
        Where those of the manifest are read.
    split : str
        Name of the split, for the `split` column.
    output_folder : Path
        Gets predictions.csv, metrics.json, and of figures/ roc.png and scores.png,
        unless there are no labels to show in it.

    Returns
    -------
    dict
        The content of metrics.json.
    """
    groups = hparams["label_groups"]
    names = labels.flatten(groups)
    dataset = dataio.build_dataset(
        manifest, names, recordings, hparams, hparams["eval_crop"]
    )
    scores = brain.score(dataset, dataio.loader_kwargs(hparams))
    # with --debug only the first few are scored
    scored = manifest.set_index("ID").loc[scores.uids].rename_axis("uid").reset_index()
    table = predictions.predictions_table(
        scored[["uid", "subject", "session"]],
        names,
        scores.targets,
        scores.logits,
        np.log(hparams["positive_weights"] or np.ones(len(names))),
        split,
        hparams["label_ranges"],
    )
    # the labels' own scales: an imported model's outputs have none
    types = labels.parse_label_types(hparams["label_types"], names, hparams["loss"])
    result = metrics.evaluate_predictions(
        table, groups, brain.checkpoint.path.name, labels.label_ranges(types, names)
    )
    if if_main_process():
        output_folder = Path(output_folder)
        predictions.write_predictions(table, output_folder / "predictions.csv")
        write_json(output_folder / "metrics.json", result)
        folder = output_folder / "figures"
        figures.roc_figure(table, groups, folder / "roc.png")
        score_names = labels.score_labels(names, hparams["label_ranges"])
        figures.scores_figure(table, score_names, folder / "scores.png")
    return result


@dataclasses.dataclass(frozen=True)
class EvaluationSplit:
    """What `evaluate.py` scores, and where it writes.

    Attributes
    ----------
    name : str
    prepared : prepare.PreparedSplit
    notes : list of str
        Those of the preparation, and of whom the experiment has seen.
    output_folder : Path
    """

    name: str
    prepared: prepare.PreparedSplit
    notes: list
    output_folder: Path


def prepare_evaluation(experiment, options, hparams):
    """Prepare the split that the options name, by default the experiment's test split.

    Arguments
    ---------
    experiment : experiment.Experiment
    options : dict
        Of evaluate.yaml: `split_csv`, `split_folder`, `output_folder`.
    hparams : dict
        Of the experiment, for this run.

    Returns
    -------
    EvaluationSplit

    Raises
    ------
    UserError
        For a wrong CSV or an output folder that would change the experiment.
    """
    names = labels.flatten(hparams["label_groups"])
    own_manifests = experiment.folder / MANIFESTS
    split_csv = _split_csv(options)
    if split_csv is None:
        name = "test"
        if not (own_manifests / "test.csv").exists():
            raise UserError(
                f"{experiment.address} has no test split of its own "
                f"({MANIFESTS / 'test.csv'}): give --split_csv=FILE."
            )
        saved = read_manifest(own_manifests / "test.csv", names)
        prepared = prepare.inspect_again(saved, names, hparams)
    else:
        name = PurePosixPath(split_csv).stem
        own_data = hparams["data_folder"] == experiment.hparams["data_folder"]
        prepared = prepare.prepare_split(
            split_csv, hparams, names=names, own_data=own_data
        )
    output_folder = _output_folder(experiment, options, name)
    trained = {
        subject
        for file in own_manifests.glob("*.csv")
        if file.stem != "test"
        for subject in read_manifest(file, names)["subject"]
    }
    subjects = set(prepared.manifest["subject"])
    seen, notes = trained & subjects, list(prepared.notes)
    if seen:
        notes.append(
            f"{len(seen)} of {len(subjects)} subjects of this split were trained or "
            "validated on: these results are not of unseen subjects."
        )
    return EvaluationSplit(name, prepared, notes, output_folder)


def _output_folder(experiment, options, name):
    """Where to write; never into the experiment's own files."""
    output_folder = experiment.output_folder / "evaluation" / name
    if options["output_folder"]:
        output_folder = output_path(options["output_folder"], "output_folder")
        save_folder = (experiment.folder / "save").resolve()
        if output_folder.resolve() == experiment.folder.resolve() or (
            save_folder in [output_folder.resolve(), *output_folder.resolve().parents]
        ):
            raise UserError(
                f"output_folder {output_folder} belongs to the experiment, whose files "
                "stay as they are: give another one."
            )
    if experiment.brain.debug:
        output_folder /= "debug"
    return output_folder


def _split_csv(options):
    """The CSV to score, or None for the experiment's own test split."""
    if options["split_csv"] and options["split_folder"]:
        raise UserError("Give --split_csv or --split_folder, not both.")
    if options["split_csv"]:
        return absolute(options["split_csv"], "split_csv")
    if options["split_folder"]:
        return joined(absolute(options["split_folder"], "split_folder"), "test.csv")
    return None
