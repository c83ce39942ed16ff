"""Long recordings: cut into windows outside training, so that memory is bounded."""

import dataclasses

import numpy as np
import pandas as pd

from local.data.pooling import POOLINGS, pool_windows, window_starts
from local.utils.errors import UserError
from local.utils.from_keys import FromKeys

#: Shorter windows would hold less than a word, in s.
SHORTEST_S = 1.0


@dataclasses.dataclass(frozen=True)
class Windows:
    """Recordings as the model gets them.

    manifest: A row per recording or, where it is long, per window: `ID` names the
        window, `duration` (s), `start_s` and `end_s` are its own.
    owners: `ID` → uid of the recording.
    counts: Windows of each recording that has more than one.
    pooling: One of `POOLINGS`.
    """

    manifest: pd.DataFrame
    owners: dict[str, str]
    counts: dict[str, int]
    pooling: str

    def pool(self, ids: list[str], values: np.ndarray) -> dict[str, np.ndarray]:
        """What is said of recordings, from what is said of their windows.

        ids: Of windows, in any order.
        values: [n_windows, size]

        Returns: [size], By uid, in the order of the first window of each.
        """
        groups = {}
        for name, value in zip(ids, values, strict=True):
            groups.setdefault(self.owners[name], []).append(value)
        return {uid: pool_windows(group, self.pooling) for uid, group in groups.items()}


@dataclasses.dataclass(frozen=True)
class LongRecordings(FromKeys):
    """What becomes of long recordings outside training.

    Those longer than `max_duration` are cut into windows of that length. The first
    begins and the last ends with the recording; all are the same distance apart, and
    share `window_overlap` at least.

    max_duration: s; 0 leaves all recordings whole.
    window_overlap: s
    window_pooling: `mean`, or `max` (of each number on its own), which finds what is
        rare.

    Raises UserError: for windows that can't be.

    >>> row = {"ID": "a", "duration": 25.0, "start_s": "", "end_s": ""}
    >>> windows = LongRecordings(10.0, 2.0).cut(pd.DataFrame([row])).manifest
    >>> windows["start_s"].tolist(), windows["end_s"].tolist()
    ([0.0, 7.5, 15.0], [10.0, 17.5, ''])
    >>> windows["ID"].tolist()
    ['a, window 1 of 3', 'a, window 2 of 3', 'a, window 3 of 3']
    """

    max_duration: float
    window_overlap: float
    window_pooling: str = "mean"

    def __post_init__(self):
        length_s, overlap_s = self.max_duration, self.window_overlap
        if length_s and length_s < SHORTEST_S:
            raise UserError(
                f"max_duration must be {SHORTEST_S:g} s or more, or 0 for none; found "
                f"{length_s:g}."
            )
        if length_s and not 0 <= overlap_s < length_s:
            raise UserError(
                f"window_overlap must be less than max_duration ({length_s:g} s) and "
                f"not below 0; found {overlap_s:g}."
            )
        if self.window_pooling not in POOLINGS:
            raise UserError(
                f"window_pooling must be {' or '.join(POOLINGS)}, found "
                f"{self.window_pooling!r}."
            )

    def why_others(self, here: "LongRecordings", manifest: pd.DataFrame) -> str | None:
        """Why scores of recordings are not those that these settings would give.

        here: What they are scored with.
        manifest: Theirs, with `duration`.

        Returns: None where no recording is cut by either.

        >>> manifest = pd.DataFrame({"duration": [5.0, 25.0]})
        >>> before = LongRecordings(10.0, 2.0)
        >>> before.why_others(LongRecordings(10.0, 2.0, "max"), manifest)
        'window_pooling is max here, mean when the threshold was chosen'
        >>> before.why_others(LongRecordings(20.0, 2.0), manifest[:1])
        """
        lengths = [w.max_duration for w in (self, here) if w.max_duration]
        if not lengths or not (manifest["duration"] > min(lengths)).any():
            return None
        changed = [
            f"{name} is {value} here, {getattr(self, name)} when the threshold was "
            "chosen"
            for name, value in vars(here).items()
            if value != getattr(self, name)
        ]
        return "; ".join(changed) or None

    def cut(self, manifest: pd.DataFrame) -> Windows:
        """The windows of a manifest, as `manifests.build_manifest` gives it."""
        rows, owners, counts = [], {}, {}
        for row in manifest.to_dict("records"):
            own = [row]
            if 0 < self.max_duration < row["duration"]:
                own = list(_cut(row, self.max_duration, self.window_overlap))
                counts[row["ID"]] = len(own)
            rows += own
            owners |= {part["ID"]: row["ID"] for part in own}
        if counts:
            manifest = pd.DataFrame(rows, columns=manifest.columns)
        return Windows(manifest, owners, counts, self.window_pooling)


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
