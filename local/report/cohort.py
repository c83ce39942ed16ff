"""Who was recorded, in which split, and what was left out: nobody is named here."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from local.data.labels import NOT_RATED, LabelType, flatten
from local.report.tables import Cell, Table
from local.utils.errors import OTHER
from local.utils.number_format import DASH, counted, measured

#: Columns that a split may have, of subjects and of recordings.
PERSONAL, TECHNICAL = ("sex", "age"), ("device", "site", "task")

#: Of a column with more different values only their number is told.
MAX_VALUES = 12

#: What the name of a row of medians says of its cells.
SPREAD = ", median (range)"

NO_DURATIONS = "it is not known how long the recordings are"
NO_RATING = "no recording is rated"
NOBODY = "it is given of nobody"
NOT_THE_SAME = (
    "recordings of the same subject do not all say the same; of ages the median counts"
)
NOT_KNOWN = "not known here: the report of the training tells what was left out of it"

#: What becomes of recordings that are used.
USED = ["rated for one label or more", "not rated"]


def recorded(evidence):
    """Subjects, recordings and ratings by split; None where nobody is known."""
    if not evidence.manifests:
        return None
    labels = flatten(evidence.label_groups)
    return table_one(evidence.manifests, labels, evidence.types)


def inclusion(evidence):
    """What became of the recordings that were listed, and what was noted."""
    table = inclusion_flow(
        evidence.manifests,
        evidence.failed,
        flatten(evidence.label_groups),
        evidence.split,
        unknown=evidence.unprepared,
    )
    return [*([table] if table.rows else []), *evidence.notes]


def table_one(
    manifests: dict[str, pd.DataFrame], labels: list[str], types: dict[str, LabelType]
) -> Table:
    """Describes subjects, recordings and ratings of each split.

    manifests: Split → manifest, with `subject`, the labels and maybe `duration` (s),
        `sex`, `age`, `device`, `site`, `task` and `session`.

    Returns: A column per split. What is in brackets, the name of the row says or a
        unit.

    >>> manifest = pd.DataFrame({"subject": ["p", "p", "q"], "sex": ["f", "f", "m"]})
    >>> table = table_one({"test": manifest}, [], {})
    >>> [(row.name, row.cells[0].text) for row in table.rows[:2]]
    [('subjects', '2'), ('recordings', '3')]
    """
    table = Table("Who was recorded", ["", *manifests])
    frames = list(manifests.values())
    table.add("subjects", *(frame["subject"].nunique() for frame in frames))
    table.add("recordings", *map(len, frames))
    counts = [frame["subject"].value_counts() for frame in frames]
    _spread(table, "recordings per subject", counts)
    # only their number: the name of a visit may be its date
    visits = [
        _given(frame, "session").groupby(frame["subject"]).nunique() for frame in frames
    ]
    visits = [numbers[numbers > 0] for numbers in visits]
    if any(map(len, visits)):
        _spread(table, "visits per subject", visits, NOBODY)
    durations = [
        frame.reindex(columns=["duration"])["duration"].dropna() for frame in frames
    ]
    _spread(table, "seconds per recording", durations, NO_DURATIONS)
    hours = (each.sum() / 3600 if len(each) else None for each in durations)
    cells = (table.number(each, NO_DURATIONS, measured) for each in hours)
    table.add("hours in all", *cells)
    for label in labels:
        table.heading(label)
        _rating_rows(table, frames, label, types[label].is_score)
    for column in PERSONAL:
        _personal_rows(table, frames, column)
    for column in TECHNICAL:
        _technical_rows(table, frames, column)
    return table


def _spread(table, name, of_splits, reason=None):
    """Adds medians of numbers [n] with their ranges, or why there is none."""
    cells = [
        _median(numbers) if len(numbers) else table.number(None, reason)
        for numbers in of_splits
    ]
    table.add(f"{name}{SPREAD}", *cells)


def _rating_rows(table, frames, label, is_score):
    """How many recordings are rated, and how."""
    rated = [frame[frame[label].notna()] for frame in frames]
    table.add("rated recordings", *map(len, rated))
    if is_score:
        _spread(table, "rating", [frame[label] for frame in rated], NO_RATING)
        return
    shares, subjects = [], []
    for own in rated:
        positive = own[own[label] == 1]
        share = f"({100 * len(positive) / max(1, len(own)):.0f} %)"
        known = Cell(f"{len(positive):,}", share)
        shares.append(table.number(None, NO_RATING) if own.empty else known)
        n, n_rated = (frame["subject"].nunique() for frame in (positive, own))
        subjects.append(Cell(f"{n:,}", f"(of {n_rated:,} rated)"))
    table.add("positive recordings", *shares)
    table.add("subjects with a positive recording", *subjects)


def _median(values):
    """The median of numbers [n] of any kind, with their range."""
    low, middle, high = (measured(f(values)) for f in (np.min, np.median, np.max))
    return Cell(middle, f"({low}{DASH}{high})")


def _given(frame, column):
    """Cells of a column as text, [n]; NaN where nothing is given."""
    if column not in frame:
        return pd.Series(np.nan, frame.index, dtype=object)
    text = frame[column].astype(str).str.strip()
    return text.where(~text.isin(NOT_RATED))


def _sorted(values):
    """Numbers by size, other text by the alphabet."""
    numbers = pd.to_numeric(pd.Series(list(values), dtype=object), errors="coerce")
    return sorted(values, key=float) if numbers.notna().all() else sorted(values)


def _personal_rows(table, frames, column):
    """How many subjects have which value; of ages that are numbers the median."""
    of_subjects = [
        _given(frame, column)
        .groupby(frame["subject"])
        .agg(lambda cells: tuple(sorted(set(cells.dropna()))))
        .tolist()
        for frame in frames
    ]  # of each subject no value, one or several
    values = {value for entry in of_subjects for given in entry for value in given}
    if not values:
        return
    table.heading(column)
    numbers = pd.to_numeric(pd.Series(list(values), dtype=object), errors="coerce")
    if column == "age" and np.isfinite(numbers).all():
        _age_rows(table, of_subjects)
    elif len(values) > MAX_VALUES:
        table.add(
            "different values", *(len(set().union(*entry)) for entry in of_subjects)
        )
    else:
        for value in _sorted(values):
            table.add(value, *(entry.count((value,)) for entry in of_subjects))
    several = [sum(len(given) > 1 for given in entry) for entry in of_subjects]
    if any(several):
        mark = table.mark(NOT_THE_SAME)
        table.add("several values", *(Cell(f"{n:,}", mark=mark) for n in several))
    table.add("not given", *(entry.count(()) for entry in of_subjects))


def _age_rows(table, of_subjects):
    given = [float(age) for entry in of_subjects for ages in entry for age in ages]
    # a median of years may be half of one, which nobody has said
    form = _whole if all(age.is_integer() for age in given) else measured
    quartiles, ranges = [], []
    for entry in of_subjects:
        ages = [np.median(np.array(given, dtype=float)) for given in entry if given]
        if ages:
            low, middle, high = map(form, np.quantile(ages, [0.25, 0.5, 0.75]))
            quartiles.append(Cell(middle, f"({low}{DASH}{high})"))
            ranges.append(f"{form(min(ages))}{DASH}{form(max(ages))}")
        else:
            quartiles.append(table.number(None, NOBODY))
            ranges.append(table.number(None, NOBODY))
    table.add("median (quartiles)", *quartiles)
    table.add("lowest and highest", *ranges)


def _whole(value):
    """A number without its fraction; half of one is rounded up."""
    return f"{int(value + 0.5)}"


def _technical_rows(table, frames, column):
    """How many subjects and recordings have which value."""
    given = [_given(frame, column) for frame in frames]
    values = set().union(*(cells.dropna() for cells in given))
    if not values:
        return
    table.heading(column)
    if len(values) > MAX_VALUES:
        table.add("different values", *(cells.nunique() for cells in given))
        return
    inside = {value: [cells == value for cells in given] for value in _sorted(values)}
    if any(cells.isna().any() for cells in given):
        inside["not given"] = [cells.isna() for cells in given]
    for name, of_splits in inside.items():
        rows = zip(frames, of_splits, strict=True)
        table.add(name, *(_with_subjects(frame, entry) for frame, entry in rows))


def _with_subjects(frame, inside):
    """A number of recordings, inside [n] being True, and of their subjects."""
    n = frame["subject"][inside].nunique()
    return Cell(f"{inside.sum():,}", f"({counted(n, 'subject')})")


def inclusion_flow(
    manifests: dict[str, pd.DataFrame],
    failed: list[dict],
    labels: list[str],
    split: str,
    unknown: Collection[str] = (),
) -> Table:
    """Counts recordings that were listed, could not be used, were used and rated.

    Behind them stands of how many subjects they are, where that is known of all.

    manifests: Split → manifest, with `ID`, `subject` and the labels.
    failed: `uid` and maybe `kind` (see `errors.BadRecording`), `subject` and `split`.
    split: Where recordings belong that `failed` names without their split.
    unknown: Splits of which it is not known what was left out.

    Returns: A column per split; without rows where there is none.

    >>> manifest = pd.DataFrame({"ID": ["a", "b"], "subject": ["p", "q"],
    ...     "slow": [1.0, None]})
    >>> failed = [{"uid": "c", "kind": "silent"}]
    >>> table = inclusion_flow({"test": manifest}, failed, ["slow"], "test")
    >>> [(row.name, row.cells[0].text) for row in table.rows[:3]]
    [('listed', '3'), ('left out: silent', '1'), ('used', '2')]
    """
    fates = _fates(manifests, failed, labels, split)
    left_out = [fate for fate in fates["fate"].unique() if fate not in USED]
    rows = {"listed": [*left_out, *USED]}
    rows |= {f"left out: {fate}": [fate] for fate in left_out}
    rows |= {"used": USED} | {f"of them {fate}": [fate] for fate in USED}
    splits = list(dict.fromkeys([*manifests, *fates["split"]]))
    table = Table("Recordings that were listed, used and rated", ["", *splits])
    for name, belong in rows.items() if splits else ():
        inside = fates[fates["fate"].isin(belong)]
        hidden = set() if set(belong) <= set(USED) else set(unknown)
        cells = [
            table.number(None, NOT_KNOWN)
            if entry in hidden
            else _of_subjects(inside[inside["split"] == entry])
            for entry in splits
        ]
        table.add(name, *cells)
    return table


def _fates(manifests, failed, labels, split):
    """What became of each recording: columns `split`, `uid`, `subject` and `fate`."""
    parts = [
        pd.DataFrame(
            {
                "split": name,
                "uid": manifest["ID"],
                "subject": manifest["subject"],
                "fate": np.where(manifest[labels].notna().any(axis=1), *USED),
            }
        )
        for name, manifest in manifests.items()
    ]
    lost = [
        (
            entry.get("split") or split,
            entry["uid"],
            entry.get("subject"),
            entry.get("kind", OTHER),
        )
        for entry in failed
    ]
    parts.append(pd.DataFrame(lost, columns=["split", "uid", "subject", "fate"]))
    fates = pd.concat(parts)
    # of predictions from elsewhere there may be some whose recording can't be read
    return fates.drop_duplicates(["split", "uid"])


def _of_subjects(fates):
    """How many recordings these are, and of how many subjects if all are known."""
    if fates.empty or fates["subject"].isna().any():
        return Cell(f"{len(fates):,}")
    n = fates["subject"].nunique()
    return Cell(f"{len(fates):,}", f"({counted(n, 'subject')})")
