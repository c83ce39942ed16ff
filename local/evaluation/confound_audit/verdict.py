"""The verdict of the audit on each label: the content of audit.json."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from local.data.folds import draw_folds
from local.data.labels import score_labels
from local.evaluation.confound_audit import probes
from local.metrics.estimate import measure
from local.metrics.intervals import auroc_interval
from local.utils.progress import progress

#: What may flag a label, and what it is that tells the label then. Duration and pauses
#: are shown and never flagged: slow rate is a matter of pauses.
TESTED = {
    "capture_probe_auroc": "How the recordings were made (level, noise, bandwidth, "
    "rate, format, channels)",
    "silence_probe_auroc": "The sound of moments in which nobody speaks",
    "silence_auroc": "The trained model, given only moments in which nobody speaks,",
}

#: An AUROC this far from 0.5 is flagged if that is no chance; this much further also
#: where there are too few subjects to tell.
LARGE, VERY_LARGE, ALPHA = 0.15, 0.25, 0.05

#: Of fewer recordings there is no probe.
MIN_RECORDINGS = 20

#: At least so many draws of a permutation test, and so many for each of the tests:
#: the smallest p of 1 / draws has to stay below 0.05 when multiplied by their number.
MIN_PERMUTATIONS, PERMUTATIONS_PER_TEST = 399, 40

#: Columns of a manifest within which AUROCs are computed too.
STRATA = ("device", "site")

NO_INTERVAL = "cross-validated probes are tested by permutation, without an interval"
ON_A_SCALE = "the label is a score: the audit is of labels that are 0 or 1"


def audit_labels(
    manifest: pd.DataFrame,
    features: pd.DataFrame,
    names: list[str],
    *,
    label_ranges: list[list[float] | None] | None = None,
    logits: ArrayLike | None = None,
    silence_logits: ArrayLike | None = None,
    seed: int = 0,
) -> dict:
    """Asks for each label whether it can be told from anything but the speech.

    manifest: [n rows], With `subject`, the labels (0, 1, NaN), and maybe `device` and
        `site`.
    features: [n rows], What `capture.extract` found in the same recordings; NaN in
        those that were not measured.
    names: The labels.
    label_ranges: [low, high] of each label that is a score (see `labels.label_ranges`).
    logits: [n, n_labels], The trained model's for the whole recordings: shown within
        devices and sites.
    silence_logits: [n, n_labels], The trained model's for the silences; NaN where there
        is none.

    Returns: As audit.json has it under "labels". Each measure has "value", "low",
        "high", "reason", "status" (None: shown only), "p" and "p_holm" (None: not
        tested) and "within": {column: AUROC over pairs of recordings of the same device
        or site}; "auroc" is that of the model, the same way.
    """
    scores = score_labels(names, label_ranges)
    probed = {
        f"{probe}_probe_auroc": features.filter(like=f"{probe}_")
        for probe in ("capture", "silence", "behaviour")
    }
    labels, tests = {}, []
    for i, name in enumerate(names):
        models = {
            "silence_auroc": _column(silence_logits, i),
            "auroc": _column(logits, i),
        }
        labels[name] = {}
        for kind, source in (probed | models).items():
            why = ON_A_SCALE if name in scores else None
            entry, statistic = _examine(manifest, name, source, seed, why)
            labels[name][kind] = entry
            if statistic and kind in TESTED:
                tests.append((entry, statistic))
    _test(tests, seed)
    silent = probed["silence_probe_auroc"].notna().all(axis=1).to_numpy()
    measured = features.notna().any(axis=1).to_numpy()
    for name, measures in labels.items():
        rated = silent[measured & manifest[name].notna().to_numpy()]
        measures |= _verdict(measures, int(rated.sum()), len(rated))
    return labels


def _column(logits, i):
    """A label's logits [n], None if there are none."""
    return None if logits is None else pd.Series(np.asarray(logits, dtype=float)[:, i])


def _examine(
    manifest: pd.DataFrame, name: str, source, seed: int, reason: str | None = None
) -> tuple[dict, dict | None]:
    """How well a source tells a label, and what is to be permuted to test that.

    manifest: [n rows]
    name: The label.
    source (pandas.DataFrame [n rows], pandas.Series [n] or None): Features for a probe,
        or a model's logits.
    seed: Of the folds.
    reason: Why there is nothing to do.

    Returns measure.
    Returns statistic: The arguments of `probes.permutation_p`, and the number of
        "arrangements".
    """
    if reason is None and source is None:
        reason = "no outputs of a trained model were given"
    if reason:
        return _measure(None, reason), None
    there = pd.DataFrame(source).notna().all(axis=1).to_numpy()
    rows = np.flatnonzero(there & manifest[name].notna().to_numpy())
    targets = manifest[name].to_numpy(dtype=float)[rows].astype(int)
    subjects = manifest["subject"].astype(str).to_numpy(dtype=object)[rows]
    counts = {"n": len(rows), "n_subjects": len(set(subjects))}
    reason = _why_not(targets, subjects)
    if reason:
        return _measure(None, reason) | counts, None
    score, folds = _scorer(source.iloc[rows], targets, subjects, seed)

    def statistic(drawn):
        return probes.fold_auroc(targets, score(drawn), folds)

    everything = np.arange(len(rows))
    value = statistic(everything)
    if value is None:
        return _measure(None, "no fold of the subjects has both classes") | counts, None
    probed = _measure(value, NO_INTERVAL) | counts
    if source.ndim == 1:
        probed |= {"reason": None} | auroc_interval(
            targets, score(everything), subjects
        )
    probed["within"] = _within(manifest.iloc[rows], targets, score(everything), folds)
    arrangements = probes.count_arrangements(targets, subjects)
    return probed, {
        "statistic": statistic,
        "subjects": subjects,
        "arrangements": arrangements,
    }


def _scorer(source, targets, subjects, seed):
    """What scores recordings [n], given whose features each has, and in which folds.

    A model's logits are of one model: they are one fold.
    """
    if source.ndim == 1:
        return source.to_numpy().__getitem__, np.zeros(len(source), dtype=int)
    design = probes.design_matrix(source)
    folds = draw_folds(targets, subjects, seed)
    return lambda drawn: probes.out_of_fold_scores(design[drawn], targets, folds), folds


def _measure(value, reason):
    return measure(value, reason=reason) | {
        "status": None if value is not None else "not_computable",
        "p": None,
        "p_holm": None,
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


def _test(tests, seed):
    """Says of each measure that may be flagged what it shows.

    tests : list of (measure, statistic), as `_examine` gives them
    """
    if not tests:
        return
    n_draws = max(MIN_PERMUTATIONS, PERMUTATIONS_PER_TEST * len(tests) - 1)
    tested, p_values = [], []
    with progress(len(tests), "testing what tells the labels", "test") as step:
        for probed, test in tests:
            n_arrangements = test.pop("arrangements")
            probed["testable"] = n_arrangements * ALPHA > len(tests)
            if probed["testable"] and _distance(probed) >= LARGE:
                probed["p"] = probes.permutation_p(
                    **test, n_permutations=n_draws, seed=seed
                )
            p_values.append(1.0 if probed["p"] is None else probed["p"])
            tested.append(probed)
            step()
    _, corrected, *_ = multipletests(p_values, method="holm")
    for probed, p_holm in zip(tested, corrected, strict=True):
        if probed["p"] is not None:
            probed["p_holm"] = float(p_holm)
        probed["status"] = _status(probed)


def _distance(measure):
    return abs(measure["value"] - 0.5)


def _status(measure):
    """What a measure shows on its own."""
    if not measure["testable"]:
        return "flagged" if _distance(measure) >= VERY_LARGE else "inconclusive"
    if _distance(measure) < LARGE:
        return "clear"
    return "flagged" if measure["p_holm"] < ALPHA else "inconclusive"


def _verdict(measures: dict, n_silent: int, n_rated: int) -> dict:
    """The status of a label and the reasons for it.

    measures: The label's.
    n_silent, n_rated: Rated recordings with enough silence, and all.

    Returns: "status" and "reasons", sentences.
    """
    result = {name: measures[name]["status"] for name in TESTED}
    status = next(
        (s for s in ("flagged", "inconclusive", "clear") if s in result.values()),
        "not_computable",
    )
    # what flags the label comes first
    order = sorted(TESTED, key=lambda name: result[name] != "flagged")
    reasons = [_sentence(TESTED[name], measures[name]) for name in order]
    reasons = list(dict.fromkeys(reasons))
    if n_silent < n_rated:
        reasons.append(
            f"{n_silent} of {n_rated} rated recordings have 1.0 s in which nobody "
            "speaks; what is said of silence is about those."
        )
    if status == "clear":
        reasons.append(
            "Clear is no proof: a difference of AUROC from 0.5 that is smaller than "
            f"{LARGE:g} is not looked for, and may be large enough to matter."
        )
    behaviour = measures["behaviour_probe_auroc"]
    if status == "flagged" and behaviour["value"] and _distance(behaviour) >= LARGE:
        reasons.append(
            "Duration and pauses tell the label as well (AUROC "
            f"{behaviour['value']:.2f}): noise that is heard in pauses may differ "
            "because the pauses do."
        )
    return {"status": status, "reasons": reasons}


def _sentence(subject, measure):
    """What a measure shows, for a reader who knows what an AUROC is."""
    if measure["value"] is None:
        return f"{subject} could not be examined: {measure['reason']}."
    value, status = f"AUROC {measure['value']:.2f}", measure["status"]
    if status == "clear":
        subject = subject[0].lower() + subject[1:]
        return f"There is no sign that {subject} tells the label ({value})."
    if not measure["testable"]:
        few = f"{measure['n_subjects']} subjects are too few to test for chance"
        tells = "seems to tell" if status == "flagged" else "may tell"
        return f"{subject} {tells} the label ({value}; {few})."
    p = f"p = {measure['p_holm']:.3f} after Holm's correction"
    if status == "flagged":
        return f"{subject} tells the label ({value}, {p})."
    return f"{subject} may tell the label, or by chance ({value}, {p})."
