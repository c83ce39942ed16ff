"""The recordings that a model is most wrong about."""

import numpy as np

from local import dataio
from local.evidence import Excerpt
from local.predictions import scores_in

#: How many a report shows.
N_ERRORS = 10

#: Seconds of a recording that a spectrogram shows, from its beginning.
LONGEST_S = 20.0


def worst_errors(table, types, n=N_ERRORS):
    """The rows of a table of predictions that are most wrong.

    Wrong by the distance between target and probability, of a score by the error in
    parts of its range.

    Arguments
    ---------
    table : pandas.DataFrame
        A table of predictions, rows as in predictions.csv.
    types : dict of str to labels.LabelType
    n : int

    Returns
    -------
    pandas.DataFrame
        Up to `n` of its rows, the worst first, with their `row` in predictions.csv,
        whose header is row 1, and the `prediction`.

    Example
    -------
    >>> import pandas as pd
    >>> from local.labels import LabelType
    >>> table = pd.DataFrame({"label": ["x", "x", "y"], "target": [1.0, 0.0, 3.0],
    ...     "logit": [-2.0, -2.0, 5.0], "probability": [0.1, 0.1, None]})
    >>> types = {"x": LabelType(), "y": LabelType("score", (0, 4), None, True)}
    >>> worst_errors(table, types, n=2)["row"].tolist()
    [2, 4]
    """
    scores = table["label"].isin(scores_in(table))
    widths = table["label"].map({name: np.ptp(of.range) for name, of in types.items()})
    prediction = table["logit"].where(scores, table["probability"])
    rows = table.assign(row=np.arange(len(table)) + 2, prediction=prediction)
    error = (table["target"] - prediction).abs() / widths.where(scores, 1)
    worst = error.dropna().sort_values(ascending=False, kind="stable").index[:n]
    return rows.loc[worst]


def read_excerpts(rows, manifest, recordings, audio_settings):
    """The waveforms of some rows of a table of predictions.

    Arguments
    ---------
    rows : pandas.DataFrame
        As `worst_errors` gives them.
    manifest : pandas.DataFrame
        With these recordings.
    recordings : recordings.FolderRecordings or recordings.BucketRecordings
    audio_settings : dict
        As for `dataio.build_dataset`.

    Returns
    -------
    list of Excerpt
        The first 20 s of each.
    """
    manifest = manifest[manifest["ID"].isin(set(rows["uid"]))]
    dataset = dataio.build_dataset(manifest, [], recordings, audio_settings, None)
    waveforms = {
        item["id"]: item["waveform"]
        for item in map(dataset.__getitem__, range(len(dataset)))
    }
    rate = audio_settings["sample_rate"]
    return [
        Excerpt(
            row.row,
            row.uid,
            row.label,
            row.target,
            row.prediction,
            waveforms[row.uid][: round(LONGEST_S * rate)].numpy(),
            rate,
        )
        for row in rows.itertuples()
    ]
