"""One pass over the recordings of a split: what the audit and a baseline need of them.

listener = Silences(table, sample_rate, brain)
frame = measure_split(manifest, recordings, hparams, "measuring test", listener)
save_measurements(frame, folder / MEASUREMENTS / "test.parquet")
test = MeasuredSplit(manifest, frame, table, listener.logits)
audit = audit_evaluation({"test": test}, names, seen=seen_splits(folder, names))
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from tqdm import tqdm

from local import audit, dataio
from local.acoustic_statistics import acoustic_statistics
from local.audit.report import STRATA
from local.errors import UserError
from local.evidence import Excerpt
from local.experiment import MANIFESTS
from local.files import atomic_write
from local.manifests import read_manifest
from local.predictions import scores_in

#: Where an experiment keeps the measurements of its splits, <split>.parquet.
MEASUREMENTS = Path("save") / "measurements"

#: Of these columns nothing is computed; all others but `ID` are numbers.
TEXT = (
    "capture_sample_rate",
    "capture_format",
    "capture_channels",
    "audio_sha256",
)

#: Of how many recordings a report gets the silence, for each label.
N_SILENCES = 3

#: Splits that a model has learned from.
SEEN = ("train", "valid")


def measure_split(manifest, recordings, hparams, title, on_silence=None):
    """Measures the recordings of a split, in the workers of a dataloader.

    Arguments
    ---------
    manifest : pandas.DataFrame [n rows]
        As `manifests.build_manifest` gives it.
    recordings : recordings.FolderRecordings or recordings.BucketRecordings
        Where those of the manifest are read.
    hparams : dict
        `sample_rate` (Hz), `audio_backend`, `mono`, `eval_batch_size`, `num_workers`,
        `seed`.
    title : str
        What the progress bar says.
    on_silence : callable, optional
        Takes the uids (list of str) and silences (float32 [batch, time]) of those
        recordings of a batch that have 1.0 s in which nobody speaks, in this process,
        in the order of the manifest.

    Returns
    -------
    pandas.DataFrame [n rows]
        In the order of the manifest: `ID`, what `audit.extract` finds, with NaN where
        there is no silence or no speech, and what `acoustic_statistics` gives.
    """
    # what equipment leaves in a recording may be below 16 bits
    settings = {**hparams, "decoded_cache": None}
    dataset = dataio.build_dataset(manifest, [], recordings, settings, crop=None)
    rows = {row["ID"]: row for row in manifest.to_dict("records")}

    measure = _Measure(rows, hparams["sample_rate"])
    dataset.add_dynamic_item(measure, takes=["id", "waveform"], provides="measured")
    dataset.set_output_keys(["id", "measured"])
    loader = torch.utils.data.DataLoader(
        dataset, **dataio.loader_kwargs(hparams, _collate)
    )
    parts = []
    with tqdm(total=len(manifest), desc=title, unit="rec", disable=None) as bar:
        for part, uids, silences in loader:
            parts.append(part)
            if on_silence and uids:
                on_silence(uids, silences)
            bar.update(len(part))
    return pd.concat(parts, ignore_index=True)


class _Measure:
    """Numbers and text of a recording, dict, and its silence, [time] or None.

    Arguments
    ---------
    rows : dict of str to dict
        Of the manifest, by ID.
    sample_rate : int
        Hz.
    """

    def __init__(self, rows, sample_rate):
        self.rows, self.rate = rows, sample_rate

    def __call__(self, uid, waveform):
        """Measure a waveform [time]."""
        features, silence = audit.extract(waveform, self.rate, self.rows[uid])
        features |= acoustic_statistics(
            waveform, self.rate, features["behaviour_pause_share"]
        )
        return features, silence


def _collate(items):
    """What was measured of a batch, the uids with a silence, and these silences."""
    rows = [{"ID": item["id"], **item["measured"][0]} for item in items]
    part = pd.DataFrame(rows)
    part = part.astype({name: float for name in part if name not in ("ID", *TEXT)})
    silences = {
        item["id"]: item["measured"][1]
        for item in items
        if item["measured"][1] is not None
    }
    stacked = torch.stack(list(silences.values())) if silences else None
    return part, list(silences), stacked


# Files


def save_measurements(frame, path):
    """Writes what `measure_split` found as parquet.

    Arguments
    ---------
    frame : pandas.DataFrame
    path : Path
    """
    with atomic_write(path, "wb") as file:
        frame.to_parquet(file, index=False)


def read_measurements(path):
    """Reads what `save_measurements` wrote.

    Arguments
    ---------
    path : Path

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    UserError
        If it is no such file.
    """
    try:
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} can't be read ({' '.join(str(error).split())}): expected the "
            "measurements that train.py wrote. Running it again writes them anew."
        ) from error
    needed = {"ID", "audio_sha256", "acoustic_duration_s", "capture_level_dbfs"}
    if missing := needed - set(frame):
        raise UserError(
            f"{path} has no column {', '.join(sorted(missing))}: expected the "
            "measurements that train.py wrote. Running it again writes them anew."
        )
    return frame


# Silences


class Silences:
    """Hears the silences of a split: scores them and keeps a few to be shown.

    What `measure_split` takes as `on_silence`.

    Arguments
    ---------
    table : pandas.DataFrame
        The split's table of predictions, rows as in predictions.csv.
    sample_rate : int
        Hz.
    brain : ClinicalBrain, optional
        The trained model; for predictions from elsewhere there is none.

    Attributes
    ----------
    excerpts : dict of str to (list of Excerpt)
        Of each label up to three recordings' silences: of the highest target, the
        first ones of the table. The prediction is that for the whole recording.
    """

    def __init__(self, table, sample_rate, brain=None):
        scores = table["label"].isin(scores_in(table))
        prediction = table["logit"].where(scores, table["probability"])
        rows = table.assign(row=np.arange(len(table)) + 2, prediction=prediction)
        self._rows = rows.dropna(subset="target").groupby("uid", sort=False)
        self.labels = list(dict.fromkeys(table["label"]))
        self.sample_rate, self.brain = sample_rate, brain
        self.excerpts = {label: [] for label in self.labels}
        self._logits = {}

    def __call__(self, uids, silences):
        """Takes a batch of silences, [batch, time]."""
        if self.brain:
            logits = self.brain.score_waveforms(silences).numpy()
            self._logits.update(zip(uids, logits, strict=True))
        for uid, silence in zip(uids, silences.numpy(), strict=True):
            if uid in self._rows.groups:
                self._keep(self._rows.get_group(uid), silence)

    def _keep(self, rows, silence):
        """Keeps a recording's silence for labels that it is one of the best for."""
        for row in rows.itertuples():
            best = self.excerpts[row.label]
            best.append(
                Excerpt(
                    row.row,
                    row.uid,
                    row.label,
                    row.target,
                    row.prediction,
                    silence.copy(),  # not all of the batch's
                    self.sample_rate,
                )
            )
            best.sort(key=lambda excerpt: (-excerpt.target, excerpt.row))
            del best[N_SILENCES:]

    @property
    def logits(self):
        """The model's outputs for the silences, by uid and label, as far as there are.

        pandas.DataFrame, or None without a model.
        """
        if self.brain is None:
            return None
        return pd.DataFrame.from_dict(
            self._logits, orient="index", columns=self.labels, dtype=float
        )


# The audit


@dataclasses.dataclass(frozen=True)
class MeasuredSplit:
    """A split and what is known of its recordings.

    Attributes
    ----------
    manifest : pandas.DataFrame
    measurements : pandas.DataFrame or None
        As `measure_split` gives them.
    table : pandas.DataFrame or None
        Its table of predictions.
    silence_logits : pandas.DataFrame or None
        As `Silences.logits` gives them.
    """

    manifest: pd.DataFrame
    measurements: pd.DataFrame | None
    table: pd.DataFrame | None = None
    silence_logits: pd.DataFrame | None = None

    def features(self):
        """The measurements in the order of the manifest."""
        return self.measurements.set_index("ID").reindex(self.manifest["ID"])

    def hashes(self):
        """That of each recording's audio; None of those that are not known."""
        if self.measurements is None:
            return [None] * len(self.manifest)
        return self.features()["audio_sha256"].to_list()

    def logits(self, names):
        """The model's, [n, n_labels] in the order of the manifest, NaN if unknown."""
        table = self.table
        if table is not None:
            table = table.pivot(index="uid", columns="label", values="logit")
        return self._aligned(table, names)

    def logits_of_silences(self, names):
        """The same of the silences."""
        return self._aligned(self.silence_logits, names)

    def _aligned(self, frame, names):
        if frame is None:
            return np.full((len(self.manifest), len(names)), np.nan)
        return frame.reindex(index=self.manifest["ID"], columns=names).to_numpy(float)


def seen_splits(folder, names):
    """The splits that an experiment's model has learned from.

    Arguments
    ---------
    folder : Path
        The experiment's.
    names : list of str
        Its labels.

    Returns
    -------
    dict of str to MeasuredSplit
        train and, if there was one, valid; without measurements if it has none.
    """
    splits = {}
    for split in SEEN:
        file = Path(folder) / MANIFESTS / f"{split}.csv"
        if file.is_file():
            manifest, frame = read_manifest(file, names), None
            measured = Path(folder) / MEASUREMENTS / f"{split}.parquet"
            if measured.is_file():
                frame = read_measurements(measured)
                _check_complete(frame, manifest, measured)
            splits[split] = MeasuredSplit(manifest, frame)
    return splits


def _check_complete(frame, manifest, path):
    """Refuse measurements that are not those of a manifest's recordings."""
    if sorted(frame["ID"]) != sorted(manifest["ID"]):
        raise UserError(
            f"{path} does not hold the {len(manifest)} recordings of the split, each "
            f"once, but {len(frame)} rows. Running train.py again with the same "
            "settings writes it anew."
        )


def audit_evaluation(audited, names, *, label_ranges=None, seen=None, seed=0):
    """The content of audit.json.

    Arguments
    ---------
    audited : dict of str to MeasuredSplit
        By split: whose recordings, together, are asked what tells the labels. All have
        measurements; logits count where they are known.
    names : list of str
        The labels.
    label_ranges : list of (list of float or None) or None
        [low, high] of each label that is a score (see `labels.label_ranges`).
    seen : dict of str to MeasuredSplit, optional
        Further splits, only asked what they share with the others.
    seed : int

    Returns
    -------
    dict
        "labels" as `audit.audit_labels` gives them, and what `audit.leakage` gives;
        with "shared_audio_reason" where the audio of a split is not known.
    """
    splits = list(audited.values())
    columns = ["subject", *names, *STRATA]
    manifests = [split.manifest.reindex(columns=columns) for split in splits]
    manifest = pd.concat(manifests, ignore_index=True)
    known = [name for name in STRATA if manifest[name].notna().any()]
    manifest = manifest[["subject", *names, *known]]
    labels = audit.audit_labels(
        manifest,
        pd.concat([split.features() for split in splits], ignore_index=True),
        names,
        label_ranges=label_ranges,
        logits=_known(split.logits(names) for split in splits),
        silence_logits=_known(split.logits_of_silences(names) for split in splits),
        seed=seed,
    )
    together = _distinct(audited, seen or {})
    found = audit.leakage(
        {name: split.manifest for name, split in together.items()},
        {name: split.hashes() for name, split in together.items()},
        names,
        label_ranges,
    )
    unknown = [name for name, of in together.items() if of.measurements is None]
    if unknown:
        found["shared_audio_reason"] = (
            f"the audio of {', '.join(unknown)} was not measured by the training"
        )
    return {"labels": labels, **found}


def _known(parts):
    """Logits [n, n_labels] of all splits; None if none of them is known."""
    logits = np.concatenate(list(parts))
    return None if np.isnan(logits).all() else logits


def _distinct(audited, seen):
    """All splits by name; one that was seen may be named like one that is scored."""
    renamed = {
        f"{name} of the experiment" if name in audited else name: split
        for name, split in seen.items()
    }
    return {**audited, **renamed}
