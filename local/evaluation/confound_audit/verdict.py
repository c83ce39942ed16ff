"""The verdict of the audit on each label: the content of audit.json."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from local.data.folds import draw_folds
from local.evaluation.confound_audit import power, probes
from local.evaluation.confound_audit.reasons import label_verdict
from local.evaluation.confound_audit.silence import PAUSE_DB
from local.evaluation.confound_audit.tested import ALPHA, LARGE, TESTED, excess
from local.metrics.estimate import measure
from local.metrics.intervals import auroc_interval
from local.utils.progress import progress

#: Of fewer recordings there is no probe.
MIN_RECORDINGS = 20

#: At least so many draws of a permutation test, and so many for each of the tests:
#: p = 5 / draws is 0.05 when multiplied by their number, so that a few draws as extreme
#: as what was observed do not hide it.
MIN_PERMUTATIONS, PERMUTATIONS_PER_TEST = 399, 100

#: Columns of a manifest within which AUROCs are computed too.
STRATA = ("device", "site")

#: May be missing in recordings that a probe uses all the same.
NOISE_FLOOR = "capture_noise_floor_dbfs"

NO_INTERVAL = "cross-validated probes are tested by permutation, without an interval"
ON_A_SCALE = "the label is a score: the audit is of labels that are 0 or 1"


class _Test(NamedTuple):
    """What is to be permuted to test a measure, and how much that can find.

    statistic: See `probes.permutation_p`.
    subjects: [n]
    arrangements: In how many ways subjects can be given their targets.
    sizes: Subjects who are positive, and negative.
    n_features: Independent ones of a probe; None of a model's score.
    """

    statistic: Callable
    subjects: np.ndarray
    arrangements: int
    sizes: tuple[float, float]
    n_features: float | None


def audit_labels(
    manifest: pd.DataFrame,
    features: pd.DataFrame,
    names: list[str],
    *,
    scores: Collection[str] = (),
    logits: ArrayLike | None = None,
    silence_logits: ArrayLike | None = None,
    networks: ArrayLike | None = None,
    seed: int = 0,
) -> dict:
    """Asks for each label whether it can be told from anything but the speech.

    manifest: [n rows], with `subject`, the labels (0, 1, NaN), and maybe `device` and
        `site`.
    features: [n rows], what `capture.extract` found in the same recordings; NaN in
        those that were not measured.
    names: The labels.
    scores: Those of them that are scores: they are not asked.
    logits: [n, n_labels], the trained model's for the whole recordings: shown within
        devices and sites.
    silence_logits: [n, n_labels], the trained model's for the silences; NaN where there
        is none.
    networks: [n], which one the logits of a recording are of, as those of the folds of
        a cross-validation: logits of two have no common scale and are not compared.
    seed: Of the folds and of the permutations.

    Returns: As audit.json has it under "labels": the measures (see `_examine`; "auroc"
        is that of the model on the whole recordings), and what `label_verdict` says.
    """
    probed = {
        f"{probe}_probe_auroc": features.filter(like=f"{probe}_")
        for probe in ("capture", "silence", "behaviour")
    }
    if networks is None:
        networks = np.zeros(len(manifest))
    unheard = _why_no_silence(features)
    labels, tests = {}, []
    for i, name in enumerate(names):
        models = {
            "silence_auroc": _column(silence_logits, i, networks),
            "auroc": _column(logits, i, networks),
        }
        labels[name] = {}
        for kind, source in (probed | models).items():
            if name in scores:
                entry, test = _measure(None, ON_A_SCALE), None
            elif unheard and kind.startswith("silence_"):
                entry = _measure(None, unheard) | {"status": "not_applicable"}
                test = None
            else:
                entry, test = _examine(manifest, name, source, networks, seed)
            labels[name][kind] = entry
            if test and kind in TESTED:
                tests.append((kind, entry, test))
    _test_all(tests, seed)
    return {name: labels[name] | label_verdict(labels[name]) for name in names}


def _why_no_silence(features):
    """Why silence is no use in this corpus; None if it is."""
    measured = features[features.notna().any(axis=1)]
    n_silent = measured.filter(like="silence_").notna().all(axis=1).sum()
    if NOISE_FLOOR not in measured or n_silent >= MIN_RECORDINGS:
        return None
    n = int(measured[NOISE_FLOOR].isna().sum())
    if 2 * n <= len(measured):
        return None
    return (
        f"{n} of {len(measured)} recordings have no pause {PAUSE_DB:g} dB below the "
        "voice (sustained vowels?)"
    )


def _column(logits, i, networks):
    """A label's logits [n] as ranks of each network's; None if there are none.

    Ranks have a common scale, so that subjects of two folds can be exchanged.
    """
    if logits is None:
        return None
    column = pd.Series(np.asarray(logits, dtype=float)[:, i])
    return column.groupby(np.asarray(networks)).rank(pct=True)


def _examine(
    manifest: pd.DataFrame, name: str, source, networks: ArrayLike, seed: int
) -> tuple[dict, _Test | None]:
    """How well a source tells a label, and what is to be permuted to test that.

    manifest: [n rows]
    name: The label.
    source (pandas.DataFrame [n rows], pandas.Series [n] or None): Features for a probe,
        or a model's scores.
    networks: [n], of the scores.
    seed: Of the folds.

    Returns measure: "value", "low", "high", "reason"; "status" (None: shown only), "p"
        and "p_holm" (None: not tested); "power": {AUROC with which something tells the
        label: share of studies of this size that find it}, empty where nothing is
        tested; "within": {column: AUROC over pairs of recordings of the same device or
        site}; "n", "n_subjects", "n_positive_subjects" (with a positive recording).
    Returns test.
    """
    if source is None:
        return _measure(None, "no outputs of a trained model were given"), None
    rows = _usable(source, manifest[name])
    targets = manifest[name].to_numpy(dtype=float)[rows].astype(int)
    subjects = manifest["subject"].astype(str).to_numpy(dtype=object)[rows]
    counts = {
        "n": len(rows),
        "n_subjects": len(set(subjects)),
        "n_positive_subjects": len(set(subjects[targets == 1])),
    }
    if reason := _why_not(targets, subjects):
        return _measure(None, reason) | counts, None
    if source.ndim == 1:
        score = source.to_numpy()[rows].__getitem__
        folds, n_features = np.asarray(networks)[rows], None
    else:
        folds = draw_folds(targets, subjects, seed)
        score, n_features = _probe(source.iloc[rows], targets, folds)

    def statistic(drawn):
        return probes.fold_auroc(targets, score(drawn), folds)

    scores = score(np.arange(len(rows)))
    value = probes.fold_auroc(targets, scores, folds)
    if value is None:
        return _measure(None, "no fold of the subjects has both classes") | counts, None
    probed = _measure(value, NO_INTERVAL) | counts
    if source.ndim == 1:
        # within networks, where there are several
        interval = auroc_interval(targets, scores, subjects, folds=folds)
        probed |= {"reason": None} | interval
    probed["within"] = _within(manifest.iloc[rows], targets, scores, folds)
    return probed, _Test(
        statistic,
        subjects,
        probes.count_arrangements(targets, subjects),
        power.subjects_of_each(targets, subjects),
        n_features,
    )


def _usable(source, rated):
    """The rows with a rating and all that is needed of a source."""
    if source.ndim == 2:
        source = source.drop(columns=NOISE_FLOOR, errors="ignore")
    there = pd.DataFrame(source).notna().all(axis=1).to_numpy()
    return np.flatnonzero(there & rated.notna().to_numpy())


def _probe(features, targets, folds):
    """What scores recordings [n], given whose features each has; how many features."""
    design = probes.design_matrix(features)

    def score(drawn):
        return probes.out_of_fold_scores(design[drawn], targets, folds)

    return score, probes.effective_features(design)


def _measure(value, reason):
    return measure(value, reason=reason) | {
        "status": None if value is not None else "not_computable",
        "p": None,
        "p_holm": None,
        "power": {},
        "within": {},
    }


def _why_not(targets, subjects):
    """Why targets [n] of subjects [n] can't be told at all; None if they can."""
    if len(targets) < MIN_RECORDINGS:
        return (
            f"only {len(targets)} rated recordings have what is needed, expected at "
            f"least {MIN_RECORDINGS}"
        )
    for value, kind in ((1, "positive"), (0, "negative")):
        n = len(set(subjects[targets == value]))
        if n < 2:
            return f"{n} subject(s) with {kind} recordings, expected at least 2"
    return None


def _within(manifest, targets, scores, folds) -> dict:
    """The AUROC within each of the columns that may stand for equipment.

    Returns: {column: float or None}, of the columns there are, with two values or more.
    """
    result = {}
    for column in STRATA:
        if column in manifest and manifest[column].nunique() > 1:
            both = pd.Series(list(zip(folds, manifest[column], strict=True)))
            strata = pd.factorize(both)[0]
            result[column] = probes.auroc_within(targets, scores, strata)
    return result


def _test_all(tests: list[tuple[str, dict, _Test]], seed: int):
    """Says of each measure that may be flagged what it shows.

    Holm's correction is over all labels and kinds of measure: of all corpora in which
    there is nothing to find, at most 5 % have any label flagged.

    tests: Kind of measure, measure, and test.
    """
    if not tests:
        return
    n_draws = max(MIN_PERMUTATIONS, PERMUTATIONS_PER_TEST * len(tests) - 1)
    p_values = []
    with progress(len(tests), "testing what tells the labels", "test") as step:
        for kind, probed, test in tests:
            probed["testable"] = test.arrangements * ALPHA > len(tests)
            if probed["testable"] and excess(kind, probed) >= LARGE:
                probed["p"] = probes.permutation_p(
                    test.statistic,
                    test.subjects,
                    n_draws,
                    seed,
                    two_sided=TESTED[kind].two_sided,
                )
            probed["power"] = _power(kind, probed, test, n_draws, len(tests))
            p_values.append(1.0 if probed["p"] is None else probed["p"])
            step()
    _, corrected, *_ = multipletests(p_values, method="holm")
    for (kind, probed, _), p_holm in zip(tests, corrected, strict=True):
        if probed["p"] is not None:
            probed["p_holm"] = float(p_holm)
        probed["status"] = _status(kind, probed)


def _power(kind, probed, test, n_draws, n_tests):
    """{AUROC, as text: share of studies of this size that flag what tells so well}."""
    p = power.largest_p(n_draws, n_tests, ALPHA) / (1 + TESTED[kind].two_sided)
    return {
        f"{auroc:g}": round(
            power.power(auroc, *test.sizes, p, 0.5 + LARGE, test.n_features), 2
        )
        if probed["testable"]
        else 0.0
        for auroc in power.AUROCS
    }


def _status(kind, probed):
    """What a measure shows on its own."""
    if not probed["testable"]:
        return "inconclusive"
    if excess(kind, probed) < LARGE:
        return "clear"
    return "flagged" if probed["p_holm"] < ALPHA else "inconclusive"
