"""Systems on the same recordings: is one better, and by how much.

The question answered is about these trained systems on further subjects like these.
Whether one method is better than another is a different question: it takes several
trained systems of each.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from local.data.labels import why_one_class
from local.data.pseudonyms import are_pseudonyms
from local.metrics.cases import Rated, rated_rows
from local.metrics.estimate import (
    measure,
    subjects_by_class,
    with_holm,
)
from local.metrics.intervals import linearised_auroc
from local.metrics.linearised import Linearised
from local.utils.errors import UserError
from local.utils.spelling import alike

TEXT = (
    "This compares these trained systems on the same recordings. It does not compare "
    "methods: systems trained again, from other seeds or on other subjects, would "
    "differ too."
)

#: A difference of AUROC that is large, and one that is none.
LARGE, SMALL = 0.1, 0.05

#: Of an AUROC below 0.5.
WORSE = "worse than guessing"

#: Variation of this size is rounding: influences are of the size 1 / n.
ROUNDING = 1e-9

UNVARYING = "the difference is the same whichever of these subjects are taken"


class Paired(NamedTuple):
    """AUROC of two systems of one label, on the same recordings."""

    first: Linearised
    second: Linearised

    @property
    def value(self):
        """The first less the second."""
        return self.first.value - self.second.value


def auroc_of(rated: Rated, folds: np.ndarray | None = None) -> Linearised:
    """AUROC of one system for a label, and what each subject has to do with it.

    folds: [n], Of a cross-validation: AUROC is computed within each fold and averaged;
        None: all recordings together.

    >>> columns = [0, 1, 1], [0.2, 0.1, 0.7], ["ann", "bo", "cy"]
    >>> auroc_of(Rated(*map(np.array, columns))).value
    0.5
    """
    targets, predictions, subjects = rated
    return linearised_auroc(targets, predictions, subjects, folds=folds)


def difference(*repeats: dict[str, Paired]) -> dict:
    """The difference of AUROC of one label, or its mean over several.

    The variance is between subjects, of the sum of what a subject has of the difference
    (its influence on the first AUROC less that on the second, summed over labels).
    Interval and p-value are of Student's t, with the subjects of the smaller class less
    one per fold as degrees of freedom, the least of any label. Both agree: p is below
    0.05 where the interval does not hold 0.

    repeats: By label; of a cross-validation each of its repeats. The difference is then
        the mean over them, and so is its standard error: other folds bring no further
        subjects.

    Returns: {"value", "low", "high", "p"}; "reason" where the last three are None.
    """
    pairs = [pair for labels in repeats for pair in labels.values()]
    value = float(np.mean([pair.value for pair in pairs]))
    for labels in repeats:
        for label, pair in labels.items():
            if reason := pair.first.reason:
                reason = reason if len(labels) == 1 else f"{label}: {reason}"
                return measure(value, reason=reason) | {"p": None}
    error = float(np.mean([_error(labels) for labels in repeats]))
    if error < ROUNDING:
        return measure(value, reason=UNVARYING) | {"p": None}
    df = min(pair.first.freedom for pair in pairs)
    half = t.ppf(0.975, df) * error
    bounds = np.clip([value - half, value + half], -1, 1)
    return measure(value, bounds) | {"p": float(2 * t.sf(abs(value) / error, df))}


def _error(labels):
    """The standard error of the mean difference over labels, of one repeat."""
    influences = [
        system.influence * sign
        for pair in labels.values()
        for system, sign in ((pair.first, 1), (pair.second, -1))
    ]
    by_subject = pd.concat(influences).groupby(level=0).sum() / len(labels)
    return float(np.sqrt((by_subject**2).sum()))


def verdict(entry: dict) -> str:
    """What a difference of AUROC comes to, decided by its interval.

    entry: {"value", "low", "high"}, the system in question less another one.

    >>> verdict({"low": 0.01, "high": 0.2}), verdict({"low": -0.3, "high": -0.12})
    ('above', 'far below')
    >>> verdict({"low": -0.02, "high": 0.04}), verdict({"low": -0.02, "high": 0.3})
    ('about the same', 'not distinguishable')
    """
    low, high = entry["low"], entry["high"]
    if low is None or high is None:
        return "not computable"
    if low > 0:
        return "above"
    if high < 0:
        return "far below" if high < -LARGE else "below"
    return "about the same" if max(-low, high) <= SMALL else "not distinguishable"


def against_guessing(auroc: dict) -> str:
    """What an AUROC comes to beside guessing, decided by its interval.

    auroc: {"value", "low", "high"}

    >>> against_guessing({"low": 0.2, "high": 0.45})
    'worse than guessing'
    """
    low, high = auroc["low"], auroc["high"]
    if low is None or high is None:
        return "not computable"
    if low > 0.5:
        return "better than guessing"
    return WORSE if high < 0.5 else "not distinguishable"


def compare(tables: dict[str, pd.DataFrame], folds: pd.Series | None = None) -> dict:
    """Compares the AUROC of all pairs of systems, label by label and on average.

    See `difference` for interval and p-value. P-values are corrected by Holm's method
    over all pairs and labels; those of the means over labels, over the pairs.

    tables: By name of the system its table of predictions (see
        `local.data.predictions_table`), all of the same recordings, with the same
        targets of the labels that all have; rows in any order.
    folds: By uid, of a cross-validation: AUROC is computed within folds.

    Returns: {"systems", "text", "n_recordings", "n_subjects", "labels", "macro",
        "left_out"}. A label has its counts, "auroc" (a number per system) and
        "differences": by pair, "A - B", {"value", "low", "high", "p", "p_holm"}. The
        macro values are the mean over these labels. Those that have no AUROC are left
        out, with the reason.
    Raises UserError: if the tables do not match: names every recording and target; or
        if they have no label in common.
    """
    return compare_repeats([(tables, folds)])


def compare_repeats(
    repeats: list[tuple[dict[str, pd.DataFrame], pd.Series | None]],
) -> dict:
    """The same of a cross-validation with several repeats: means over them.

    repeats: Tables and folds of each, as `compare` takes them. A system that only the
        first one has is compared by that.
    """
    systems = [_systems(*repeat) for repeat in repeats]
    first, tables = systems[0], repeats[0][0]
    labels = [
        label for label in first.aurocs if all(label in s.aurocs for s in systems)
    ]
    left_out = {label: reason for s in systems for label, reason in s.left_out.items()}
    pairs = {f"{a} - {b}": (a, b) for a, b in combinations(tables, 2)}
    paired = {
        pair: [
            {label: Paired(*(each.aurocs[label][n] for n in names)) for label in labels}
            for each in systems
            if set(names) <= each.names
        ]
        for pair, names in pairs.items()
    }
    tests = with_holm(
        {
            (label, pair): difference(*({label: each[label]} for each in own))
            for label in labels
            for pair, own in paired.items()
        }
    )
    aurocs = {
        label: {
            name: float(
                np.mean(
                    [s.aurocs[label][name].value for s in systems if name in s.names]
                )
            )
            for name in tables
        }
        for label in labels
    }
    table = next(iter(tables.values()))
    return {
        "systems": list(tables),
        "text": TEXT,
        "n_recordings": int(table["uid"].nunique()),
        "n_subjects": int(table["subject"].nunique()),
        "labels": {
            label: first.counts[label]
            | {"auroc": aurocs[label]}
            | {"differences": {pair: tests[label, pair] for pair in pairs}}
            for label in labels
        },
        "macro": _macro(aurocs, paired),
        "left_out": left_out,
    }


class Systems(NamedTuple):
    """Systems on the same recordings.

    names: Of the systems.
    aurocs: By label and system.
    counts: By label.
    left_out: The other labels, and why.
    """

    names: set[str]
    aurocs: dict[str, dict[str, Linearised]]
    counts: dict[str, dict]
    left_out: dict[str, str]


def _systems(tables, folds):
    """The AUROC of each system and label."""
    tables, unique = _common_labels(tables)
    first, *others = tables
    for other in others:
        _refuse_mismatch(tables[first], tables[other], (first, other))
    rated, left_out = rated_systems(tables)
    aurocs = {}
    for label, (rows, uids) in rated.items():
        of_rows = None if folds is None else folds.loc[uids].to_numpy()
        own = {name: auroc_of(each, of_rows) for name, each in rows.items()}
        if own[first].value is None:
            left_out[label] = "no fold has both classes"
        else:
            aurocs[label] = own
    counts = {label: _counts(rated[label][0][first]) for label in aurocs}
    return Systems(set(tables), aurocs, counts, left_out | unique)


def _macro(aurocs, paired):
    """The mean over labels.

    aurocs : by label and system; paired : by pair, of each repeat Paired by label
    """
    if not aurocs:
        reason = "no label has both classes"
        nothing = measure(None, reason=reason) | {"p": None, "p_holm": None}
        differences = dict.fromkeys(paired, nothing)
        return {"n_labels": 0, "auroc": {}, "differences": differences}
    means = pd.DataFrame(aurocs).mean(axis=1)
    tests = {pair: difference(*own) for pair, own in paired.items()}
    return {
        "n_labels": len(aurocs),
        "auroc": {name: float(mean) for name, mean in means.items()},
        "differences": with_holm(tests),
    }


def _common_labels(tables):
    """The tables with the labels that all have, and of the others who has them."""
    labels = {
        name: list(dict.fromkeys(table["label"])) for name, table in tables.items()
    }
    common = set.intersection(*map(set, labels.values()))
    if not common and all(map(len, tables.values())):
        raise UserError(
            "The systems have no label in common. Their labels:",
            [f"{name}: {', '.join(own)}" for name, own in labels.items()],
        )
    owners = {}
    for name, own in labels.items():
        for label in own:
            owners.setdefault(label, []).append(name)
    unique = {
        label: f"only in {' and '.join(names)}"
        for label, names in owners.items()
        if label not in common
    }
    return {
        name: table[table["label"].isin(common)] for name, table in tables.items()
    }, unique


def _refuse_mismatch(first, second, names):
    tables = dict(zip(names, (first, second), strict=True))
    hidden = [name for name, table in tables.items() if are_pseudonyms(table["uid"])]
    if len(hidden) == 1:
        raise UserError(
            f"{hidden[0]} names recordings by pseudonyms and the other one does not: "
            "both must be made with the same --pseudonymise_key, or without."
        )
    problems = [f"{name} has no rows" for name, table in tables.items() if table.empty]
    a, b = set(first["uid"]), set(second["uid"])
    for name, only in zip(names, (a - b, b - a), strict=True):
        problems += [f"uid {uid!r} is only in {name}" for uid in sorted(only)]
    rows = first.merge(
        second, on=["uid", "label"], how="outer", suffixes=("", "_2"), indicator="found"
    )
    # Whole recordings that are in one only have been told.
    for row in rows[rows["uid"].isin(a & b)].itertuples():
        place = f"label {row.label!r} of uid {row.uid!r}"
        if row.found != "both":
            name = names[0] if row.found == "left_only" else names[1]
            problems.append(f"{place} is only in {name}")
        elif alike(row.subject) != alike(row.subject_2):
            problems.append(
                f"{place} is of subject {row.subject!r} in {names[0]} and of "
                f"{row.subject_2!r} in {names[1]}"
            )
        elif not _same(row.target, row.target_2):
            problems.append(
                f"{place} is {_rating(row.target)} in {names[0]} and "
                f"{_rating(row.target_2)} in {names[1]}"
            )
    if problems:
        raise UserError(
            "The systems can't be compared: they need predictions of the same "
            "recordings, with the same targets and subjects.",
            problems,
        )


def _same(one, other):
    return one == other or (np.isnan(one) and np.isnan(other))


def _rating(target):
    return "not rated" if np.isnan(target) else f"{target:g}"


def rated_systems(tables):
    """The rated recordings of each label that is compared.

    Returns rated: By label (Rated by system, uids [n] in their order).
    Returns left_out: The other labels, and why.
    """
    rated, left_out = {}, {}
    ordered = {name: table.sort_values("uid") for name, table in tables.items()}
    first = next(iter(ordered.values()))
    for label in dict.fromkeys(next(iter(tables.values()))["label"]):
        rows = {name: rated_rows(table, label) for name, table in ordered.items()}
        own = next(iter(rows.values()))
        if not np.isin(own.targets, (0, 1)).all():
            left_out[label] = "a score: AUROC needs targets that are 0 or 1"
        elif reason := why_one_class(own.targets):
            left_out[label] = reason
        else:
            # others may spell a subject in another way
            rows = {n: each._replace(subjects=own.subjects) for n, each in rows.items()}
            uids = first["uid"][(first["label"] == label) & first["target"].notna()]
            rated[label] = rows, uids.to_numpy()
    return rated, left_out


def _counts(rated):
    n_positive, n_negative = subjects_by_class(rated.targets, rated.subjects)
    return {
        "n": len(rated.targets),
        "n_positive": int(rated.targets.sum()),
        "n_subjects": len(set(rated.subjects)),
        "n_positive_subjects": n_positive,
        "n_negative_subjects": n_negative,
    }
