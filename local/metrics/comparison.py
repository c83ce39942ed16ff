"""Two systems on the same recordings: is one better, and by how much.

The question answered is about these two trained systems on further subjects like these.
Whether one method is better than another is a different question: it takes several
trained systems of each.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata, t

from local.data.labels import why_one_class
from local.data.pseudonyms import are_pseudonyms
from local.metrics.cases import rated_rows
from local.metrics.estimate import measure, too_few_subjects, with_holm
from local.metrics.intervals import MIN_SUBJECTS
from local.metrics.resampling import draw_subjects, in_blocks
from local.utils.errors import UserError
from local.utils.ranking import auroc
from local.utils.spelling import alike

#: Draws of subjects for the intervals, and exchanges of subjects for the p-values.
N_DRAWS = 2000

TEXT = (
    "This compares these two trained systems on the same recordings. It does not "
    "compare two methods: systems trained again, from other seeds or on other "
    "subjects, would differ too."
)


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    seed: int,
    names: Sequence[str] = ("A", "B"),
    n_draws: int = N_DRAWS,
) -> dict:
    """Compares the AUROC of two systems, label by label and on average.

    The interval of a difference is from a bootstrap of subjects: both systems and all
    labels are scored on the same draw. It is the difference, more and less the standard
    deviation of the draws times Student's t, whose degrees of freedom are the subjects
    of the smaller class less one (for the mean, the least of any label): with few
    subjects the quantiles of the draws lie too close together. Draws in which a label
    has one class count neither for it nor for the mean, and are told.

    The p-value is from a permutation test: if both systems are equally good, exchanging
    their outputs for some of the subjects changes nothing. All recordings and labels of
    a subject are exchanged together, and each subject with probability 1/2. Outputs
    are compared by their rank within system and label, so the scale of neither
    matters. Labels are corrected for by Holm's method; the mean over labels is one
    test of its own and not among them.

    first, second: Tables of predictions (see `local.data.predictions_table`) of the
        same recordings, with the same targets of the labels that both have; rows in any
        order.
    names: What the systems are called in the result; two different names.

    Returns: {"systems", "text", "n_recordings", "n_subjects", "n_draws", "seed",
        "labels", "macro", "left_out"}. A label has its counts, "auroc" (a number per
        system), "difference" (the first less the second), "p", "p_holm" and
        "n_draws_left_out"; the macro values are the mean over these labels. Those that
        have no AUROC are left out, with the reason.
    Raises UserError: if the tables do not match: names every recording and target; or
        if they have no label in common.
    """
    first, second, unique = _common_labels(first, second, names)
    _refuse_mismatch(first, second, names)
    pairs, left_out = _pairs(first, second)
    aurocs = _drawn_aurocs(pairs, sorted(set(first["subject"])), seed, n_draws)
    counts = {label: _counts(pair[0], pair[2]) for label, pair in pairs.items()}
    tests = {
        label: count | _tested(names, *aurocs[label], *_smaller_class(count))
        for label, count in counts.items()
    }
    return {
        "systems": list(names),
        "text": TEXT,
        "n_recordings": int(first["uid"].nunique()),
        "n_subjects": int(first["subject"].nunique()),
        "n_draws": n_draws,
        "seed": seed,
        "labels": with_holm(tests),
        "macro": _macro(names, counts, aurocs),
        "left_out": left_out | unique,
    }


def _common_labels(first, second, names):
    """Both tables with the labels that both have, and of the others who has them."""
    labels = [list(dict.fromkeys(table["label"])) for table in (first, second)]
    common = set(labels[0]) & set(labels[1])
    if not common and len(first) and len(second):
        raise UserError(
            "The two systems have no label in common. Their labels:",
            [
                f"{name}: {', '.join(own)}"
                for name, own in zip(names, labels, strict=True)
            ],
        )
    unique = {
        label: f"only in {name}"
        for name, own in zip(names, labels, strict=True)
        for label in own
        if label not in common
    }
    tables = [table[table["label"].isin(common)] for table in (first, second)]
    return *tables, unique


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
            "The two systems can't be compared: both need predictions of the same "
            "recordings, with the same targets and subjects.",
            problems,
        )


def _same(one, other):
    return one == other or (np.isnan(one) and np.isnan(other))


def _rating(target):
    return "not rated" if np.isnan(target) else f"{target:g}"


def _pairs(first, second) -> tuple[dict[str, tuple], dict[str, str]]:
    """What is compared for each label.

    Returns pairs: positive (bool [n]), ranks of both systems' outputs ([2, n]) and
        subjects ([n]) of the rated recordings.
    Returns left_out: The other labels, and why.
    """
    pairs, left_out = {}, {}
    labels = list(dict.fromkeys(first["label"]))
    first, second = (table.sort_values("uid") for table in (first, second))
    for label in labels:
        rows = [rated_rows(table, label) for table in (first, second)]
        targets = rows[0].targets
        if not np.isin(targets, (0, 1)).all():
            left_out[label] = "a score: AUROC needs targets that are 0 or 1"
        elif why_one_class(rows[0].targets):
            left_out[label] = why_one_class(rows[0].targets)
        else:
            ranks = np.stack([rankdata(rated.predictions) for rated in rows])
            pairs[label] = (targets == 1, ranks, rows[0].subjects)
    return pairs, left_out


def _drawn_aurocs(pairs, subjects, seed, n_draws):
    """AUROC of both systems by label: observed [2], drawn, exchanged [n_draws, 2].

    All labels with the same draws of subjects and the same exchanges.
    """
    n = len(subjects)
    drawn = draw_subjects(np.zeros(n), n_draws, seed)
    # other numbers than those of the draws
    exchanged = np.random.default_rng([seed, 1]).integers(0, 2, size=(n_draws, n))
    aurocs = {}
    for label, (positive, ranks, of_rows) in pairs.items():
        places = np.searchsorted(subjects, of_rows)
        aurocs[label] = (
            _of_draws(positive, ranks, np.ones((1, n)), places)[0],
            _of_draws(positive, ranks, drawn, places),
            _of_exchanges(positive, ranks, exchanged, places),
        )
    return aurocs


def _of_draws(positive, ranks, draws, places):
    """AUROC of both systems, [n_draws, 2], for draws [n_draws, n_subjects]."""

    def of_block(block):
        weights = np.take(block.astype(float), places, axis=1)
        return np.stack([auroc(positive, own, weights) for own in ranks], axis=1)

    return np.concatenate(in_blocks(of_block, draws, len(places)))


def _of_exchanges(positive, ranks, exchanged, places):
    """As `_of_draws`, for subjects whose outputs are exchanged where it says 1.

    Each system has the outputs of both to choose from, by weights of 0 and 1.
    """
    both, twice = ranks.ravel(), np.tile(positive, 2)

    def of_block(block):
        other = np.take(block.astype(float), places, axis=1)
        pools = ([1 - other, other], [other, 1 - other])
        systems = [auroc(twice, both, np.hstack(pool)) for pool in pools]
        return np.stack(systems, axis=1)

    return np.concatenate(in_blocks(of_block, exchanged, 2 * len(places)))


def _counts(positive, subjects):
    return {
        "n": len(positive),
        "n_positive": int(positive.sum()),
        "n_subjects": len(set(subjects)),
        "n_positive_subjects": len(set(subjects[positive])),
        "n_negative_subjects": len(set(subjects[~positive])),
    }


def _tested(names, observed, boot, null, df, reason):
    """What there is to say of one label, or of the mean.

    observed : [2], AUROC of both systems; boot, null : [n_draws, 2], of the bootstrap
    and of the exchanges; df : degrees of freedom of the interval; reason : why there is
    none, None if there may be one
    """
    difference = observed[0] - observed[1]
    differences = boot[:, 0] - boot[:, 1]
    kept = differences[~np.isnan(differences)]
    interval = (None, None)
    if reason is None and (len(kept) == 0 or np.ptp(kept) < 1e-12):
        reason = "the difference is the same in all draws of subjects"
    if reason is None:
        half = t.ppf(0.975, df) * kept.std()
        interval = np.clip([difference - half, difference + half], -1, 1)
    # 1e-9: the same difference, summed in another order
    extreme = np.abs(null[:, 0] - null[:, 1]) >= abs(difference) - 1e-9
    return {
        "auroc": dict(zip(names, map(float, observed), strict=True)),
        "difference": measure(difference, interval, reason),
        "p": float((1 + extreme.sum()) / (1 + len(null))),
        "n_draws_left_out": int(len(differences) - len(kept)),
    }


def _smaller_class(counts):
    """Degrees of freedom of an interval, and why there is none or None."""
    of_classes = counts["n_positive_subjects"], counts["n_negative_subjects"]
    return min(of_classes) - 1, too_few_subjects(*of_classes, MIN_SUBJECTS)


def _macro(names, counts, aurocs):
    """The mean over labels, drawn with the same subjects for all of them."""
    if not aurocs:
        reason = "no label has both classes"
        return {"n_labels": 0, "difference": measure(None, reason=reason), "p": None}
    smaller = {label: _smaller_class(n) for label, n in counts.items()}
    reasons = [f"{label}: {why}" for label, (_, why) in smaller.items() if why]
    means = [np.mean(drawn, axis=0) for drawn in zip(*aurocs.values(), strict=True)]
    df = min(df for df, _ in smaller.values())
    tested = _tested(names, *means, df, reasons[0] if reasons else None)
    return {"n_labels": len(aurocs)} | tested
