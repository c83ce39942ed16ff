"""From a trained model to the table of its predictions, before any calibration."""

import numpy as np

from local.data import dataset as dataio
from local.data import labels, predictions_table
from local.data.windows import split_long
from local.model.front_end import RecordingFeatures


def score_split(brain, hparams, manifest, recordings, split):
    """Score the recordings of a manifest with the best checkpoint.

    Arguments
    ---------
    brain : ClinicalBrain
    hparams : dict
        Audio settings, `label_groups`, `positive_weights`, `label_ranges`,
        `max_duration`, `window_overlap`, `window_pooling`, `eval_batch_size`,
        `eval_batch_frames` and `num_workers`.
    manifest : pandas.DataFrame
    recordings : recordings.FolderRecordings or recordings.BucketRecordings
        Where those of the manifest are read.
    split : str
        Name of the split, for the `split` column.

    Returns
    -------
    pandas.DataFrame
        A table of predictions (see `local.data.predictions_table`), of the recordings
        that were scored: with `--debug` the first few.
    """
    names = labels.flatten(hparams["label_groups"])
    windows = split_long(manifest, hparams["max_duration"], hparams["window_overlap"])
    dataset = dataio.build_dataset(
        windows.manifest,
        names,
        recordings,
        hparams,
        hparams["eval_crop"],
        RecordingFeatures(brain.modules),
    )
    loader_kwargs = dataio.scoring_loader_kwargs(
        windows.manifest, hparams, brain.device_type
    )
    scores = brain.score(dataset, loader_kwargs)
    logits = windows.pool(scores.uids, scores.logits, hparams["window_pooling"])
    scored = manifest.set_index("ID").loc[list(logits)].rename_axis("uid").reset_index()
    return predictions_table.predictions_table(
        scored[["uid", "subject", "session"]],
        names,
        scored[names].to_numpy(dtype="float32"),
        np.stack(list(logits.values())),
        np.log(hparams["positive_weights"] or np.ones(len(names))),
        split,
        hparams["label_ranges"],
    )


def scored_rows(manifest, table):
    """The rows of a manifest whose recordings were scored, in the order of the table.

    Arguments
    ---------
    manifest : pandas.DataFrame
    table : pandas.DataFrame
        A table of predictions of some of its recordings.

    Returns
    -------
    pandas.DataFrame
    """
    rows = manifest.set_index("ID", drop=False).loc[table["uid"].unique()]
    return rows.reset_index(drop=True)
