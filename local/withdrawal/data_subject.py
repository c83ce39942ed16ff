"""A person in tables: which rows are theirs, and what their recordings are called."""

import dataclasses

import pandas as pd

from local.data.pseudonyms import Pseudonyms, are_pseudonyms
from local.data.recording_names import name_of_file
from local.data.split import Split
from local.utils.spelling import alike


@dataclasses.dataclass
class Person:
    """Whose consent is withdrawn, and what their recordings are called.

    subjects: As they are spelt; `learn` adds other spellings, as of
        `excluded_subjects.txt`.
    pseudonyms: By which results may name them.
    uids, recordings: Their recordings, and the folders of these below a data folder.
    """

    subjects: set[str]
    pseudonyms: Pseudonyms | None = None
    uids: set[str] = dataclasses.field(default_factory=set)
    recordings: set[str] = dataclasses.field(default_factory=set)

    def has(self, table: pd.DataFrame) -> pd.Series:
        """Which rows of a table are theirs.

        table: With `subject`, or `uid` or `ID`; the subject decides where there is one.

        Returns: of bool
        """
        column = uid_column(table.columns)
        theirs = pd.Series(False, index=table.index)
        if column:
            theirs = table[column].isin(self.shown(self.uids))
        if "subject" in table:
            subjects = set(self.subjects)
            if self.pseudonyms:
                subjects |= set(map(self.pseudonyms.subject, self.subjects))
            named = table["subject"].fillna("")
            own = named.map(alike).isin({alike(subject) for subject in subjects})
            theirs = own | (theirs & (named == ""))
        return theirs

    def shown(self, uids):
        """Names of recordings as results may show them, set of str."""
        hidden = map(self.pseudonyms.uid, uids) if self.pseudonyms else ()
        return {*uids, *hidden}

    def learn(self, table):
        """Take note of their recordings in a table; how many there are."""
        rows = table[self.has(table)]
        column = uid_column(table.columns)
        if column and "subject" in table and not are_pseudonyms(rows[column]):
            self.subjects |= {name for name in rows["subject"] if name}
            self.uids |= set(rows[column])
            for folder in {"recording", "audio"} & set(rows):
                self.recordings |= set(rows[folder]) - {""}
            if "file" in rows:  # of a CSV as it was written
                self.recordings |= {name_of_file(path) for path in rows["file"] if path}
        return len(rows)

    def left_in(self, split: Split) -> Split:
        """A split without them."""
        theirs = self.has(split.manifest)
        measured = split.measurements
        if measured is not None:
            measured = measured[~measured["ID"].isin(split.manifest["ID"][theirs])]
        manifest = split.manifest[~theirs].reset_index(drop=True)
        return split.changed(manifest=manifest, measurements=measured)

    def left_of(self, failed):
        """A list of dict with `uid` and maybe `subject`, without theirs."""
        theirs = self.has(pd.DataFrame(failed)) if failed else ()
        return [row for row, own in zip(failed, theirs, strict=True) if not own]


def uid_column(columns):
    """Which of a table's columns names recordings; None if there is none."""
    return next((name for name in ("uid", "ID") if name in columns), None)
