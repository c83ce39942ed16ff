"""Pieces of recordings for a report: the worst errors, and silences."""

import dataclasses

import numpy as np
import pandas as pd
import torch

from local.audio.loading import AudioFormat
from local.data import dataset as dataio
from local.data.labels import LabelType
from local.data.predictions_table import scores_in
from local.data.recordings import BucketRecordings, FolderRecordings
from local.data.short_windows import score_windows
from local.evaluation.result import Excerpt
from local.training.brain import ClinicalBrain

#: How many a report shows.
N_ERRORS = 10

#: Of how many recordings a report gets the silence, for each label.
N_SILENCES = 3

#: Seconds of a recording that a spectrogram shows, from its beginning.
LONGEST_S = 20.0


def worst_errors(
    table: pd.DataFrame, types: dict[str, LabelType], n: int = N_ERRORS
) -> pd.DataFrame:
    """The rows of a table of predictions that are most wrong.

    Wrong by the distance between target and probability, of a score by the error in
    parts of its range.

    table: A table of predictions, rows as in predictions.csv.

    Returns: Up to `n` of its rows, the worst first, with their `row` in
        predictions.csv, whose header is row 1, and the `prediction`.

    >>> import pandas as pd
    >>> from local.data.labels import LabelType
    >>> table = pd.DataFrame({"label": ["x", "x", "y"], "target": [1.0, 0.0, 3.0],
    ...     "logit": [-2.0, -2.0, 5.0], "probability": [0.1, 0.1, None]})
    >>> types = {"x": LabelType(), "y": LabelType("score", (0, 4), None, True)}
    >>> worst_errors(table, types, n=2)["row"].tolist()
    [2, 4]
    """
    rows = _numbered(table)
    widths = table["label"].map({name: kind.width for name, kind in types.items()})
    widths = widths.where(table["label"].isin(scores_in(table)), 1)
    error = (rows["target"] - rows["prediction"]).abs() / widths
    worst = error.dropna().sort_values(ascending=False, kind="stable").index[:n]
    return rows.loc[worst]


def _numbered(table):
    """The rows of a table of predictions with their `row` and `prediction`."""
    scores = table["label"].isin(scores_in(table))
    prediction = table["logit"].where(scores, table["probability"])
    return table.assign(row=np.arange(len(table)) + 2, prediction=prediction)


def read_excerpts(
    rows: pd.DataFrame,
    manifest: pd.DataFrame,
    recordings: FolderRecordings | BucketRecordings,
    audio: AudioFormat,
) -> list[Excerpt]:
    """The waveforms of some rows of a table of predictions.

    rows: As `worst_errors` gives them.
    manifest: With these recordings.
    audio: How they are read.

    Returns: The first 20 s of each.
    """
    manifest = manifest[manifest["ID"].isin(set(rows["uid"]))]
    dataset = dataio.build_dataset(manifest, [], recordings, audio, None)
    waveforms = {
        item["id"]: item["waveform"]
        for item in map(dataset.__getitem__, range(len(dataset)))
    }
    rate = audio.sample_rate
    return [
        _excerpt(row, waveforms[row.uid][: round(LONGEST_S * rate)].numpy(), rate)
        for row in rows.itertuples()
    ]


def _excerpt(row, waveform, sample_rate):
    """A piece [time] of the recording in a row, as `itertuples` gives it."""
    about = row.row, row.uid, row.label, row.target, row.prediction
    return Excerpt(*about, waveform, sample_rate)


def with_curves(excerpt: Excerpt, brain: ClinicalBrain, labels: list[str]) -> Excerpt:
    """The same with what a model hears where.

    brain: The model that made the prediction.
    labels: Of its outputs.
    """
    waveform = torch.from_numpy(excerpt.waveform)
    rate = excerpt.sample_rate
    curves = score_windows(waveform, rate, brain.score_waveforms, labels)
    return dataclasses.replace(excerpt, curves=curves)


class Silences:
    """Hears the silences of a split: scores them and keeps a few to be shown.

    What `measurements.measure_split` takes as `on_silence`.

    table: The split's table of predictions, rows as in predictions.csv.
    sample_rate: Hz.
    brain: The trained model; for predictions from elsewhere there is none.
    excerpts (dict of str to (list of Excerpt)): Of each label up to three recordings'
        silences: of the highest target, the first ones of the table. The prediction is
        that for the whole recording.
    """

    def __init__(
        self, table: pd.DataFrame, sample_rate: int, brain: ClinicalBrain | None = None
    ):
        rows = _numbered(table)
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
            # a copy: not all of the batch's
            best.append(_excerpt(row, silence.copy(), self.sample_rate))
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
