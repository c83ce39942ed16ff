"""Raters: labels as the consensus of several, and how far they agree.

A column ``<label>@<rater>`` of a split's CSV holds what one rater said of each
recording, in the same codes as the label's own column. Ratings here are tables with a
row per recording and a column per rater, NaN where that rater said nothing; they hold
the codes as they were given, so an ordinal label its scale, not yet 0 and 1.
"""

import dataclasses
from itertools import combinations

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score, roc_auc_score, roc_curve

from local.entries import measure
from local.label_cells import targets_from_table
from local.label_proposals import WrongCells
from local.metrics import icc_agreement
from local.problems import Place, Problem

#: Fewer recordings that two raters have in common say nothing of their agreement.
MIN_COMMON = 3

#: A mean in the label's own column may be rounded: by this share of the range.
ROUNDING = 0.01

#: Krippendorff's level of measurement, and the coefficient of a pair, by type.
LEVELS = {"binary": "nominal", "ordinal": "ordinal", "score": "interval"}
PAIR_MEASURES = {"binary": "kappa", "ordinal": "weighted_kappa", "score": "icc"}

NO_INTERVAL = "no interval is computed for raters"


def rater_columns(columns, labels):
    """The columns that hold ratings of one rater.

    Arguments
    ---------
    columns : iterable of str
        The columns of a split's CSV.
    labels : list of str
        Columns of other labels are not looked at.

    Returns
    -------
    dict of str to (dict of str to str)
        Label → rater → column, for the labels that have raters, raters in the order
        of the columns.

    Example
    -------
    >>> rater_columns(["uid", "slow", "slow@anna", "slow@bo", "age@x"], ["slow"])
    {'slow': {'anna': 'slow@anna', 'bo': 'slow@bo'}}
    """
    found = {}
    # The longest label first: "a@b@anna" is a rating of "a@b" where that is a label.
    by_length = sorted(labels, key=len, reverse=True)
    for column in columns:
        label = next((n for n in by_length if column.startswith(f"{n}@")), None)
        if label is not None and column not in labels:
            found.setdefault(label, {})[column[len(label) + 1 :]] = column
    return {label: found[label] for label in labels if label in found}


def read_ratings(table, labels, types, codes, name):
    """Read the columns of raters.

    Arguments
    ---------
    table : pandas.DataFrame
        One row per recording, all cells text.
    labels : list of str
    types : dict of str to LabelType
    codes : label_cells.CellCodes
    name : str
        The file's name, for messages.

    Returns
    -------
    ratings : dict of str to pandas.DataFrame [n_recordings, n_raters]
        Of each label that has raters.
    problems : list of (str or problems.Problem)
        Cells that can't be read, and columns without a rater's name.
    """
    ratings, problems = {}, []
    for label, columns in rater_columns(table.columns, labels).items():
        if "" in columns:
            problems.append(
                f"{name}: the column {columns['']!r} lacks the rater's name; expected "
                f"{label}@<rater>"
            )
        # is_score: the rating itself is wanted, not whether it is positive
        given = dataclasses.replace(types[label], is_score=True)
        values, wrong = targets_from_table(
            table,
            list(columns.values()),
            dict.fromkeys(columns.values(), given),
            None,
            codes.of_raters(label, columns.values()),
            name,
        )
        problems += [
            dataclasses.replace(of, column=label) if isinstance(of, WrongCells) else of
            for of in wrong
        ]
        ratings[label] = values.set_axis(list(columns), axis=1)
    return ratings, problems


def consensus(ratings, label_type):
    """The target of each recording by its raters.

    Arguments
    ---------
    ratings : pandas.DataFrame [n_recordings, n_raters]
        Codes as given, NaN where not rated.
    label_type : LabelType

    Returns
    -------
    numpy.ndarray [n_recordings]
        Of a score the mean; of any other label what most raters say, 0 or 1, after
        each rating was compared with `positive_from`. NaN where nobody rated, and
        where as many say 0 as 1.

    Example
    -------
    >>> from local.labels import LabelType
    >>> import pandas as pd
    >>> ratings = pd.DataFrame({"anna": [3, 1, 2], "bo": [2, 0, 1]})
    >>> consensus(ratings, LabelType("ordinal", (0.0, 4.0), 2.0)).tolist()
    [1.0, 0.0, nan]
    """
    if label_type.is_score:
        return ratings.mean(axis=1).to_numpy(dtype=float)
    share = _positive(ratings, label_type).mean(axis=1).to_numpy(dtype=float)
    decided = ~np.isnan(share) & (share != 0.5)
    return np.where(decided, (share > 0.5).astype(float), np.nan)


def _positive(ratings, label_type):
    """Each rating as 0 or 1, NaN where there is none; shape as given."""
    return (ratings >= label_type.positive_from).astype(float).where(ratings.notna())


def targets_with_raters(table, labels, types, derived_labels, codes, name):
    """Read the targets of every row, labels that have raters by their consensus.

    Where any rater rated a recording the consensus holds; where none did, the label's
    own column, so that a second rater may have heard a part of the recordings only. A
    label with raters needs no column of its own, but if it has one, its cells may
    not say anything else than the consensus.

    Arguments, Returns
    ------------------
    As `label_cells.targets_from_table`. The first returned is None if `derived_labels`
    can't be used.
    """
    ratings, problems = read_ratings(table, labels, types, codes, name)
    no_column = [label for label in ratings if label not in table.columns]
    table = table.assign(**dict.fromkeys(no_column, ""))
    targets, wrong = targets_from_table(
        table,
        labels,
        types,
        derived_labels,
        codes,
        name,
    )
    # One bad cell may be the reason why a label seems to disagree.
    if problems or wrong:
        return targets, [*wrong, *problems]
    for label, of_label in ratings.items():
        agreed = consensus(of_label, types[label])
        own = targets[label].to_numpy()
        rated = of_label.notna().any(axis=1).to_numpy()
        problems += _disagreements(
            targets[label], agreed, rated, table[label], types[label], name
        )
        targets[label] = np.where(rated, agreed, own)
    return targets, problems


def _disagreements(own, agreed, rated, cells, label_type, name):
    """Rows whose own cell is not the raters' consensus.

    own, agreed : [n_recordings], NaN for "not rated"
    rated : bool, [n_recordings], whether any rater rated it
    cells : [n_recordings], the label's own column
    """
    own, label = own.to_numpy(), cells.name
    tolerance = ROUNDING * np.ptp(label_type.range) if label_type.is_score else 0
    same = np.abs(own - agreed) <= tolerance
    kinds = {
        "that disagree with its raters": ~np.isnan(agreed) & ~same,
        "given where its raters are divided": np.isnan(agreed),
    }
    problems = []
    for kind, where in kinds.items():
        places = [
            Place(cell, name, row)
            for row, cell in cells[rated & ~np.isnan(own) & where].items()
        ]
        if places:
            problems.append(
                Problem(
                    "cell",
                    f"in column {label!r} {kind}",
                    tuple(places),
                    "correct them, leave them empty, or give who decided as a rater "
                    f"({label}@<rater>)",
                )
            )
    return problems


def agreement(ratings, label_type):
    """How far the raters of one label agree.

    Krippendorff's alpha is nominal for labels that are 0 or 1, ordinal for scales and
    interval for scores; it uses every recording that two raters or more rated. Each
    pair of raters has Cohen's kappa, of scales with quadratic weights, or of scores
    ICC(A,1), on the recordings that both rated. Scales are taken as they were given,
    not as 0 and 1.

    Arguments
    ---------
    ratings : pandas.DataFrame [n_recordings, n_raters]
        Codes as given, NaN where not rated.
    label_type : LabelType

    Returns
    -------
    dict
        {"raters", "n" (recordings with two ratings or more), "alpha": {"value", …,
        "level"}, "pairs": [{"raters", "n", "measure", "value", …}, …]}.

    Example
    -------
    >>> from local.labels import LabelType
    >>> import pandas as pd
    >>> ratings = pd.DataFrame({"anna": [0, 1, 1, 0.0], "bo": [0, 1, 0, 1.0]})
    >>> agreement(ratings, LabelType())["pairs"][0]["value"]
    0.0
    """
    several = ratings[ratings.notna().sum(axis=1) >= 2]
    kind = label_type.type
    pairs = []
    for first, second in combinations(ratings.columns, 2):
        both = ratings[[first, second]].dropna().to_numpy(dtype=float)
        value, reason = _pair_agreement(both, kind)
        pair = {"raters": [first, second], "n": len(both)}
        pair["measure"] = PAIR_MEASURES[kind]
        pairs.append(pair | _measure(value, reason))
    value, reason = _alpha(several.to_numpy(dtype=float), kind)
    return {
        "raters": list(ratings.columns),
        "n": len(several),
        "alpha": _measure(value, reason) | {"level": LEVELS[kind]},
        "pairs": pairs,
    }


def _measure(value, reason=None):
    return measure(value, reason=reason or NO_INTERVAL)


def _not_computable(values, n):
    """Why ratings (of n recordings, NaN for none) have no agreement; None if any."""
    if n < MIN_COMMON:
        return f"fewer than {MIN_COMMON} recordings are rated by both or more: {n}"
    if np.nanmin(values) == np.nanmax(values):
        return f"all ratings of the {n} recordings are the same"
    return None


def _alpha(ratings, kind):
    """Krippendorff's alpha of [n, n_raters], each row with two ratings or more."""
    reason = _not_computable(ratings, len(ratings))
    if reason:
        return None, reason
    if kind != "score":
        return float(
            krippendorff.alpha(ratings.T, level_of_measurement=LEVELS[kind])
        ), None
    # The package needs memory for recordings x values x values: too much of scores.
    # With squared distances both disagreements are variances: those inside the
    # recordings, each with the weight of its number of ratings, and that of all.
    counts = (~np.isnan(ratings)).sum(axis=1)
    inside = (counts * np.nanvar(ratings, axis=1, ddof=1)).sum() / counts.sum()
    return float(1 - inside / np.nanvar(ratings, ddof=1)), None


def _pair_agreement(both, kind):
    """Kappa or ICC of [n, 2] ratings without gaps."""
    reason = _not_computable(both, len(both)) if len(both) else "no common recording"
    if reason:
        return None, reason
    if kind == "score":
        return icc_agreement(both), None
    # Quadratic weights are by place on the scale: also the places nobody used count.
    scale = np.union1d(np.arange(both.min(), both.max() + 1), both)
    places = np.searchsorted(scale, both)
    weights = "quadratic" if kind == "ordinal" else None
    kappa = cohen_kappa_score(*places.T, labels=np.arange(len(scale)), weights=weights)
    return float(kappa), None


def raters_on_roc(ratings, label_type, predictions):
    """Each rater against the majority of the others, beside the model.

    The reference is what most of the other raters say (ties: none), so each rater has
    one of their own. The model is scored on exactly the recordings that the rater
    rated and that have this reference: a point above its ROC curve is a rater who does
    better than the model there.

    Arguments
    ---------
    ratings : pandas.DataFrame [n_recordings, n_raters]
        Codes as given, NaN where not rated.
    label_type : LabelType
    predictions : array-like [n_recordings]
        The model's logits or probabilities; NaN for a recording without any.

    Returns
    -------
    list of dict
        Per rater {"rater", "n", "n_positive", "sensitivity", "specificity",
        "model_auroc", "model_sensitivity"}; the last is the model's largest sensitivity
        where its specificity is at least the rater's. Each is None with a reason where
        it can't be computed.
    """
    predictions = np.asarray(predictions, dtype=float)
    names = ("sensitivity", "specificity", "model_auroc", "model_sensitivity")
    # As a 0/1 label also where the label itself is learned as a number
    as_class = dataclasses.replace(label_type, is_score=False)
    points = []
    for rater in ratings.columns:
        point = {"rater": rater, "n": 0, "n_positive": 0}
        if label_type.positive_from is None:
            reason = "a score has no positive class"
            points.append(point | {name: _measure(None, reason) for name in names})
            continue
        reference = consensus(ratings.drop(columns=rater), as_class)
        said = _positive(ratings[rater], as_class).to_numpy()
        used = ~np.isnan(reference) & ~np.isnan(said) & ~np.isnan(predictions)
        reference, said = reference[used] == 1, said[used] == 1
        point |= {"n": int(used.sum()), "n_positive": int(reference.sum())}
        values = _rater_and_model(reference, said, predictions[used])
        points.append(point | dict(zip(names, values, strict=True)))
    return points


def _rater_and_model(reference, said, predictions):
    """The four measures of `raters_on_roc`; all of them are [n], without gaps."""
    if not len(reference):
        reason = "no recording is rated by this rater and decided by the others"
        return [_measure(None, reason)] * 4
    sensitivity = _share(said[reference], "the others call no recording positive")
    specificity = _share(~said[~reference], "the others call all recordings positive")
    if None in (sensitivity["value"], specificity["value"]):
        reason = sensitivity["reason"] if not reference.any() else specificity["reason"]
        return [
            sensitivity,
            specificity,
            _measure(None, reason),
            _measure(None, reason),
        ]
    fpr, tpr, _ = roc_curve(reference, predictions, drop_intermediate=False)
    # 1e-9: the same share of the negatives, calculated otherwise
    reached = tpr[1 - fpr >= specificity["value"] - 1e-9].max()
    auroc = float(roc_auc_score(reference, predictions))
    return [sensitivity, specificity, _measure(auroc), _measure(float(reached))]


def _share(hits, reason):
    return _measure(float(hits.mean())) if len(hits) else _measure(None, reason)
