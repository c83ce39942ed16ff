"""The parts of an evaluation beside the model's own results.

Each is made of an `evaluation.Scored`, and may fail without the others.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from local.data import labels, raters
from local.data.label_cells import CellCodes
from local.data.predictions_table import rows_of_label, scores_in
from local.data.pseudonyms import Pseudonyms
from local.evaluation import baselines
from local.evaluation.measurements import (
    MeasuredSplit,
    audit_evaluation,
    distinct,
    find_leakage,
)
from local.evaluation.worst_errors import read_excerpts, worst_errors
from local.metrics import rater_agreement
from local.metrics.subgroups import subgroup_report
from local.utils.errors import UserError

#: A part before the others: the measurements of the recordings.
MEASURING = "measuring"

NO_RECORDINGS = (
    "the recordings are not known: --split_csv and --data_folder would tell of them"
)
NO_TRAINING = "nothing is known of the recordings that the model was trained on"
NOT_MEASURED = "the recordings were not measured"
NO_AUDIT = "it was switched off (audit: False)"
NO_BASELINE = "it was switched off (acoustic_baseline: False)"


# Baselines


def beside_baselines(scored, _table):
    """What a prevalence and logistic regressions reach on the same recordings."""
    train = scored.seen.get("train")
    names = labels.flatten(scored.label_groups)
    if train is None:
        return no_baselines(scored, NO_TRAINING)
    features = {baselines.ACOUSTIC: _acoustic_features(scored, train)}
    for path in scored.features:
        features[path.stem] = baseline_features(
            path, train.manifest, scored.manifest, scored.pseudonyms
        )
    results, _ = baselines.baseline_results(
        train.manifest,
        scored.manifest,
        names,
        features,
        labels.label_ranges(scored.types, names),
        scored.seed,
    )
    return results


def no_baselines(scored, reason):
    """The same where there are none."""
    nothing = {name: {"reason": reason} for name in labels.flatten(scored.label_groups)}
    return {
        name: {"description": what, "labels": nothing}
        for name, what in baselines.DESCRIPTIONS.items()
    }


def _acoustic_features(scored, train):
    """Those of the recordings of training and of this split; or why there are none."""
    if not scored.acoustic_baseline:
        return NO_BASELINE
    own = MeasuredSplit(scored.manifest, scored.measurements)
    if any(of.measurements is None for of in (train, own)):
        return _why_not_measured(scored)
    return tuple(of.features().filter(like="acoustic_") for of in (train, own))


def _why_not_measured(scored):
    failed = scored.failures.reasons.get(MEASURING)
    return f"{NOT_MEASURED}: {failed}" if failed else NOT_MEASURED


def baseline_features(
    path: Path,
    training: pd.DataFrame,
    scored: pd.DataFrame,
    pseudonyms: Pseudonyms | None = None,
) -> tuple[np.ndarray, ...]:
    """Embeddings of the recordings of two manifests, for a baseline.

    path: Parquet as `extract_embeddings.py` writes it.
    training, scored: Manifests of n_train and n recordings.
    pseudonyms: By which the file may name recordings.

    Returns: [n_train, n_features] and [n, n_features].
    Raises UserError: if it lacks any, or is called like another baseline.
    """
    if path.stem in baselines.DESCRIPTIONS:
        raise UserError(
            f"features {path} is called like a baseline that every report has: rename "
            "the file."
        )
    uids = {"training": training["ID"], "this split": scored["ID"]}
    return tuple(baselines.read_features(path, uids, pseudonyms).values())


# Subgroups, raters, errors


def in_subgroups(scored, table):
    """The report on subgroups of each label that is 0 or 1."""
    reports = {}
    for name in labels.flatten(scored.label_groups):
        rows = table[table["label"] == name]
        if not scored.subgroups or name in scores_in(table):
            continue
        groups = scored.manifest.set_index("ID").loc[rows["uid"], scored.subgroups]
        threshold = scored.points.get(name, {}).get("threshold", {}).get("value")
        columns = ("target", "logit", "probability", "subject")
        reports[name] = subgroup_report(
            *(rows[column] for column in columns), groups, threshold, scored.seed
        )
        if threshold is None:
            reports[name]["reason"] = "there is no threshold"
    return reports


def no_subgroups(scored, reason):
    """The same where there are none."""
    names = labels.flatten(scored.label_groups)
    return {name: {"columns": {}, "reason": reason} for name in names}


def among_raters(scored, table):
    """How far the raters of each label agree, and the model with them."""
    if scored.manifest is None:
        return {}
    names = labels.flatten(scored.label_groups)
    codes = CellCodes.of(scored.settings)
    ratings, _ = raters.read_ratings(
        scored.manifest, names, scored.types, codes, scored.split
    )
    found = {}
    for name, of_label in ratings.items():
        uids = table["uid"][table["label"] == name]
        _, predictions, _ = rows_of_label(table, name)
        predictions = pd.Series(predictions, index=uids).reindex(scored.manifest["ID"])
        found[name] = {
            "agreement": rater_agreement.agreement(of_label, scored.types[name]),
            "on_roc": rater_agreement.raters_on_roc(
                of_label, scored.types[name], predictions
            ),
        }
    return found


def no_raters(_scored, reason):
    """The same where that could not be computed."""
    return {"reason": reason}


def most_wrong(scored, table):
    """Excerpts of the recordings that the model is most wrong about."""
    if scored.recordings is None:
        return []
    unreadable = table["uid"].isin({entry["uid"] for entry in scored.failed})
    rows = worst_errors(
        table.assign(target=table["target"].mask(unreadable)), scored.types
    )
    return read_excerpts(
        rows, scored.manifest, scored.recordings, scored.audio_settings
    )


#: What metrics.json has of each, and what where it fails.
OF_METRICS = {
    "baselines": (beside_baselines, no_baselines),
    "subgroups": (in_subgroups, no_subgroups),
    "raters": (among_raters, no_raters),
}


# The audit


def confound_audit(scored):
    """The content of audit.json; what is asked of labels and of splits may fail."""
    nothing = {"labels": {}, "shared_subjects": [], "shared_audio": []}
    if scored.manifest is None:
        return nothing | {"reason": NO_RECORDINGS}
    names = labels.flatten(scored.label_groups)
    ranges = labels.label_ranges(scored.types, names)
    own = MeasuredSplit(
        scored.manifest,
        scored.measurements,
        scored.table,
        scored.silences.logits if scored.silences else None,
    )
    together, others = {}, dict(scored.seen)
    if scored.of_the_corpus:
        others.pop(scored.split, None)  # itself
        together = {k: of for k, of in others.items() if of.measurements is not None}
        others = {k: of for k, of in others.items() if k not in together}
    audited = together | {scored.split: own}
    attempt = scored.failures.attempt_json
    found = attempt(
        "leakage",
        lambda: find_leakage(distinct(audited, others), names, ranges),
        lambda reason: {f"shared_{of}_reason": reason for of in ("subjects", "audio")},
    )
    if reason := _why_no_audit(scored):
        return nothing | found | {"reason": reason}
    of_labels = attempt(
        "audit",
        lambda: {"labels": audit_evaluation(audited, names, ranges, scored.seed)},
        lambda reason: {"reason": reason},
    )
    return nothing | found | of_labels


def _why_no_audit(scored):
    """Why labels are not asked what tells them; None if they are."""
    if scored.recordings is None and scored.measurements is None:
        return NO_RECORDINGS
    if not scored.audit:
        return NO_AUDIT
    return _why_not_measured(scored) if scored.measurements is None else None
