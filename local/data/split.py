"""A split before it is scored: whose recordings these are, and what is known."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from local.data.pseudonyms import Pseudonyms
from local.data.recordings import Recordings
from local.utils.spelling import among


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Recordings that are to be scored, or that a model has learned from.

    name: As results call it.
    rows: Those of its CSV, with the recordings that can't be used.
    manifest: Of the recordings that can be used; None where nothing is known of them.
    recordings: Where they are read; None where they are not at hand.
    failed: `uid` and `reason`, maybe `kind`, `subject` and `split`, of recordings that
        can't be used.
    notes: What was left out and why, and what else a reader should know.
    measurements: What `measurements.measure_split` gives, of all recordings or of a
        sample of whole subjects.
    csv: Which CSV it is (see `scored_csv.describe`).
    is_own: Whether it is of the same corpus as the splits that the model has learned
        from: their recordings are audited together.
    seen: The splits that the model has learned from, by name.
    features: Files of embeddings, each for a further baseline.
    pseudonyms: Of recordings and subjects, for all that is written.
    """

    name: str
    rows: pd.DataFrame | None = None
    manifest: pd.DataFrame | None = None
    recordings: Recordings | None = None
    failed: list[dict] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    measurements: pd.DataFrame | None = None
    csv: dict | None = None
    is_own: bool = False
    seen: dict[str, "Split"] = dataclasses.field(default_factory=dict)
    features: list[Path] = dataclasses.field(default_factory=list)
    pseudonyms: Pseudonyms | None = None

    def changed(self, **fields) -> "Split":
        """The same with other values of some fields."""
        return dataclasses.replace(self, **fields)

    @property
    def subjects(self) -> set[str]:
        """Whose recordings these are, as far as that is known."""
        return set() if self.manifest is None else set(self.manifest["subject"])

    @property
    def n_seen(self) -> int:
        """How many of its subjects the model has learned from."""
        learned = (split.subjects for split in self.seen.values())
        return len(among(self.subjects, set().union(*learned)))

    def measured(self) -> pd.DataFrame:
        """The measurements in the order of the manifest, NaN of those not measured."""
        return self.measurements.set_index("ID").reindex(self.manifest["ID"])

    def hashes(self) -> list:
        """That of each recording's audio; None or NaN of those that are not known."""
        if self.measurements is None:
            return [None] * len(self.manifest)
        return self.measured()["audio_sha256"].to_list()

    def networks(self) -> np.ndarray:
        """Which network the logits of each recording are of, [n] of str."""
        return np.full(len(self.manifest), self.name, dtype=object)

    def logits(self, names: list[str]) -> None:
        """A model's outputs: there are none before it is scored."""

    def logits_of_silences(self, names: list[str]) -> None:
        """The same of moments in which nobody speaks."""
