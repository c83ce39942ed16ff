"""From a trained model to the table of its predictions, before any calibration."""

import numpy as np
import pandas as pd

from local.data import dataset as dataio
from local.data import labels, predictions_table
from local.data.recordings import BucketRecordings, FolderRecordings
from local.model.training_range import Heard
from local.training.brain import ClinicalBrain


def score_split(
    brain: ClinicalBrain,
    hparams: dict,
    manifest: pd.DataFrame,
    recordings: FolderRecordings | BucketRecordings,
    split: str,
) -> tuple[pd.DataFrame, pd.Series]:
    """Score the recordings of a manifest with the best checkpoint.

    hparams: `audio`, `eval_crop`, `windows`, `score_batches`, `label_groups`,
        `positive_weights`, `label_ranges`.
    recordings: Where those of the manifest are read.
    split: Name of the split, for the `split` column.

    Returns table: A table of predictions (see `local.data.predictions_table`), of the
        recordings that were scored: with `--debug` the first few.
    Returns heard: By uid its `training_range.Heard`, [1].
    """
    names = labels.flatten(hparams["label_groups"])
    windows = hparams["windows"].cut(manifest)
    dataset = dataio.build_dataset(
        windows.manifest,
        names,
        recordings,
        hparams["audio"],
        hparams["eval_crop"],
        brain.recording_features,
        described=True,
    )
    batches = hparams["score_batches"]
    loader_kwargs = batches.longest_first(windows.manifest, brain.device_type)
    scores = brain.score(dataset, loader_kwargs)
    logits, embeddings, described = (
        windows.pool(scores.uids, values)
        for values in (scores.logits, scores.embeddings, scores.described)
    )
    scored = manifest.set_index("ID", drop=False).loc[list(logits)]
    table = _table(scored, np.stack(list(logits.values())), hparams, split)
    heard = {
        uid: Heard.of(scored["duration"][uid], np.append(embedding, described[uid]))
        for uid, embedding in embeddings.items()
    }
    return table, pd.Series(heard)


def _table(rows, logits, hparams, split):
    """The table of predictions of some rows of a manifest, logits [n, n_labels]."""
    names = labels.flatten(hparams["label_groups"])
    return predictions_table.predictions_table(
        rows.rename(columns={"ID": "uid"})[["uid", "subject", "session"]],
        names,
        rows[names].to_numpy(dtype="float32"),
        logits,
        np.log(hparams["positive_weights"] or np.ones(len(names))),
        split,
        hparams["label_ranges"],
    )


def out_of_fold_table(
    brain: ClinicalBrain, hparams: dict, manifest: pd.DataFrame
) -> pd.DataFrame | None:
    """Predictions of the training recordings by models without their subjects.

    hparams: As for `score_split`.
    manifest: Of the training split.

    Returns: A table of predictions of those that have one; None of a model that makes
        none while it is trained (`kernel_heads.KernelHeads` does), or that has not been
        trained on all of them.
    """
    logits = getattr(brain.plain_modules["classifier"], "out_of_fold", None)
    if logits is None or len(logits) != len(manifest):
        return None
    # the order that they are fitted in
    rows = manifest.iloc[np.argsort(manifest["ID"].tolist())]
    logits = logits.cpu().numpy()
    table = _table(rows, np.nan_to_num(logits), hparams, "train")
    return table[np.isfinite(logits).ravel()].reset_index(drop=True)


def scored_rows(manifest: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a manifest whose recordings were scored, in the order of the table.

    table: A table of predictions of some of its recordings.
    """
    rows = manifest.set_index("ID", drop=False).loc[table["uid"].unique()]
    return rows.reset_index(drop=True)
