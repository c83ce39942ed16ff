"""Long recordings: cut into windows outside training, so that memory is bounded."""

import dataclasses

import numpy as np
import pandas as pd

from local.data.pooling import pool_windows, window_starts
from local.utils.errors import UserError

#: Shorter windows would hold less than a word, in s.
SHORTEST_S = 1.0


@dataclasses.dataclass(frozen=True)
class Windows:
    """Recordings as the model gets them.

    manifest: A row per recording or, where it is long, per window: `ID` names the
        window, `duration` (s), `start_s` and `end_s` are its own.
    owners: `ID` → uid of the recording.
    counts: Windows of each recording that has more than one.
    """

    manifest: pd.DataFrame
    owners: dict[str, str]
    counts: dict[str, int]

    def pool(
        self, ids: list[str], values: np.ndarray, pooling: str
    ) -> dict[str, np.ndarray]:
        """What is said of recordings, from what is said of their windows.

        ids: Of windows, in any order.
        values: [n_windows, size]
        pooling: `mean`, or `max` (of each number on its own), which finds what is rare.

        Returns: [size], By uid, in the order of the first window of each.
        """
        groups = {}
        for name, value in zip(ids, values, strict=True):
            groups.setdefault(self.owners[name], []).append(value)
        return {uid: pool_windows(group, pooling) for uid, group in groups.items()}


def split_long(
    manifest: pd.DataFrame, max_duration: float, window_overlap: float
) -> Windows:
    """Cut recordings that are longer than `max_duration` into windows of that length.

    The first begins and the last ends with the recording; all are the same distance
    apart, and share `window_overlap` s at least.

    manifest: As `manifests.build_manifest` gives it.
    max_duration: s; 0 leaves all recordings whole.
    window_overlap: s

    >>> row = {"ID": "a", "duration": 25.0, "start_s": "", "end_s": ""}
    >>> windows = split_long(pd.DataFrame([row]), 10.0, 2.0).manifest
    >>> windows["start_s"].tolist(), windows["end_s"].tolist()
    ([0.0, 7.5, 15.0], [10.0, 17.5, ''])
    >>> windows["ID"].tolist()
    ['a, window 1 of 3', 'a, window 2 of 3', 'a, window 3 of 3']
    """
    rows, owners, counts = [], {}, {}
    for row in manifest.to_dict("records"):
        own = [row]
        if 0 < max_duration < row["duration"]:
            own = list(_cut(row, max_duration, window_overlap))
            counts[row["ID"]] = len(own)
        rows += own
        owners |= {part["ID"]: row["ID"] for part in own}
    if not counts:
        return Windows(manifest, owners, counts)
    return Windows(pd.DataFrame(rows, columns=manifest.columns), owners, counts)


def _cut(row, length_s, overlap_s):
    """The windows of a manifest's row, as rows."""
    starts = window_starts(row["duration"], length_s, overlap_s)
    begin_s, n = float(row["start_s"] or 0), len(starts)
    for i, after_s in enumerate(starts):
        start_s = begin_s + after_s
        yield row | {
            "ID": f"{row['ID']}, window {i + 1} of {n}",
            "duration": length_s,
            "start_s": start_s,
            # the last one has what the rounding of a header's length may leave
            "end_s": start_s + length_s if i < n - 1 else row["end_s"],
        }


def check_windows(values: dict):
    """Refuse windows that can't be.

    values: `max_duration` and `window_overlap` (s).

    Raises UserError.
    """
    length_s, overlap_s = values["max_duration"], values["window_overlap"]
    if length_s and length_s < SHORTEST_S:
        raise UserError(
            f"max_duration must be {SHORTEST_S:g} s or more, or 0 for none; found "
            f"{length_s:g}."
        )
    if length_s and not 0 <= overlap_s < length_s:
        raise UserError(
            f"window_overlap must be less than max_duration ({length_s:g} s) and not "
            f"below 0; found {overlap_s:g}."
        )
