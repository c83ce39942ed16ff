"""The parts of an evaluation beside the model's own results.

Each is made of a `scored_split.ScoredSplit`, and may fail without the others.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from local.data.feature_table import FeatureTable
from local.data.label_cells import CellCodes
from local.data.predictions_table import rows_of_label, scores_in
from local.data.pseudonyms import Pseudonyms
from local.data.raters import count_divided, read_ratings
from local.evaluation import baselines
from local.evaluation.beside_model import (
    FILE_NAMES,
    baseline_tables,
    with_differences,
)
from local.evaluation.confound_audit import leakage
from local.evaluation.feature_files import read_features
from local.evaluation.learning_curve import learning_curve
from local.evaluation.measurements import audit_evaluation, distinct
from local.evaluation.worst_errors import read_excerpts, with_curves, worst_errors
from local.metrics import rater_agreement
from local.metrics.label_cases import whole_decisions
from local.metrics.subgroups import corrected, permutations_for, subgroup_report
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


def beside_baselines(scored):
    """What a prevalence and logistic regressions reach on the same recordings.

    Their predictions are put into `scored.baselines`.
    """
    scored.baselines.clear()
    train, folds = scored.seen.get("train"), scored.folds
    if train is None and folds is None:
        return no_baselines(scored, NO_TRAINING)
    if scored.manifest is None:
        return no_baselines(scored, NO_RECORDINGS)
    names, uids = scored.names, scored.manifest["ID"]
    splits = [scored] if train is None else [train, scored]
    features = {baselines.ACOUSTIC: _acoustic_features(scored, splits)}
    for path in scored.features:
        features[path.stem] = baseline_features(
            path, [split.manifest for split in splits], scored.pseudonyms
        )
    asked = scored.scores, scored.evaluation.seed
    if train is None:
        own = {k: v if isinstance(v, str) else v[0] for k, v in features.items()}
        results, probabilities = baselines.out_of_fold(
            scored.manifest, folds.loc[uids].to_numpy(), names, own, *asked
        )
    else:
        results, probabilities = baselines.baseline_results(
            train.manifest, scored.manifest, names, features, *asked
        )
    tables = baseline_tables(scored.table, uids, names, probabilities)
    results = with_differences(results, tables, scored.table, folds)
    scored.baselines.update(tables)
    return results


def no_baselines(scored, reason):
    """The same where there are none."""
    nothing = {name: {"reason": reason} for name in scored.names}
    return {
        name: {"description": what, "labels": nothing}
        for name, what in baselines.DESCRIPTIONS.items()
    }


def with_fewer_subjects(scored):
    """The learning curve of the acoustic baseline; empty without its features."""
    features = _acoustic_features(scored, [scored])
    if isinstance(features, str):
        return []
    names = [name for name in scored.names if name not in scored.scores]
    return learning_curve(features[0], scored.manifest, names, scored.evaluation.seed)


def _acoustic_features(scored, splits):
    """Those of the recordings of each split; or why there are none."""
    if not scored.evaluation.acoustic_baseline:
        return NO_BASELINE
    if any(split.measurements is None for split in splits):
        return _why_not_measured(scored)
    frames = [split.measured().filter(like="acoustic_") for split in splits]
    # an experiment may have fewer of an earlier version
    columns = [name for name in frames[0] if all(name in frame for frame in frames)]
    return tuple(frame[columns] for frame in frames)


def _why_not_measured(scored):
    failed = scored.failures.reasons.get(MEASURING)
    return f"{NOT_MEASURED}: {failed}" if failed else NOT_MEASURED


def baseline_features(
    path: Path,
    manifests: list[pd.DataFrame],
    pseudonyms: Pseudonyms | None = None,
) -> tuple[np.ndarray, ...]:
    """Embeddings of the recordings of manifests, for a baseline.

    path: Parquet as `extract_embeddings.py` writes it.
    manifests: Of training, unless it is a cross-validation, and of the scored split.
    pseudonyms: By which the file may name recordings.

    Returns: [n, n_features] of each manifest.
    Raises UserError: if it lacks any, or is called like another baseline.
    """
    if path.stem in {*baselines.DESCRIPTIONS, *FILE_NAMES.values()}:
        raise UserError(
            f"features {path} is called like a baseline that every report has: rename "
            "the file."
        )
    splits = ("training", "this split")[-len(manifests) :]
    uids = {
        name: manifest["ID"] for name, manifest in zip(splits, manifests, strict=True)
    }
    return tuple(read_features(path, uids, pseudonyms).values())


# Subgroups, raters, errors


def in_subgroups(scored):
    """The report on subgroups of each label that is 0 or 1."""
    reports, table, columns_compared = {}, scored.table, scored.subgroups
    if not columns_compared:
        return reports
    scores = scores_in(table)
    names = [name for name in scored.names if name not in scores]
    n_permutations = permutations_for(len(names) * len(columns_compared))
    for name in names:
        rows = table[table["label"] == name]
        groups = scored.manifest.set_index("ID").loc[rows["uid"], columns_compared]
        predicted = whole_decisions(rows[rows["target"].notna()])
        columns = ("target", "logit", "probability", "subject")
        reports[name] = subgroup_report(
            *(rows[column] for column in columns),
            groups,
            predicted.reindex(rows.index),
            scored.evaluation.seed,
            n_permutations,
        )
    return corrected(reports)


def no_subgroups(scored, reason):
    """The same where there are none."""
    return {name: {"columns": {}, "reason": reason} for name in scored.names}


def among_raters(scored):
    """How far the raters of each label agree, and the model with them."""
    if scored.manifest is None:
        return {}
    codes = CellCodes.of(scored.settings)
    ratings, _ = read_ratings(
        scored.manifest, scored.names, scored.types, codes, scored.name
    )
    raters, subjects = {}, (scored.manifest["subject"], scored.evaluation.seed)
    for name, of_label in ratings.items():
        uids = scored.table["uid"][scored.table["label"] == name]
        _, predictions, _ = rows_of_label(scored.table, name)
        predictions = pd.Series(predictions, index=uids).reindex(scored.manifest["ID"])
        label_type = scored.types[name]
        raters[name] = {
            "agreement": rater_agreement.agreement(of_label, label_type, *subjects),
            "on_roc": rater_agreement.raters_on_roc(
                of_label, label_type, predictions, *subjects
            ),
        }
    return raters


def divided_raters(scored):
    """Of each label how many recordings have no target for a tie; None: no raters."""
    counts = {}
    if scored.manifest is not None:
        codes = CellCodes.of(scored.settings)
        counts = count_divided(scored.manifest, scored.types, codes)
    return {name: counts.get(name) for name in scored.names}


def most_wrong(scored, brain):
    """Excerpts of the recordings that the model is most wrong about, for a report."""
    has_audio = scored.recordings and not isinstance(scored.recordings, FeatureTable)
    if not (scored.evaluation.report and has_audio):
        return []
    table = scored.table
    unreadable = table["uid"].isin({recording["uid"] for recording in scored.failed})
    rows = worst_errors(
        table.assign(target=table["target"].mask(unreadable)), scored.types
    )
    excerpts = read_excerpts(rows, scored.manifest, scored.recordings, scored.audio)
    # statistics of so many windows would take longer than all else
    if brain is None or brain.recording_features.identity is not None:
        return excerpts
    return [with_curves(excerpt, brain, scored.names) for excerpt in excerpts]


#: What metrics.json has of each, and what where it fails.
OF_METRICS = {
    "baselines": (beside_baselines, no_baselines),
    "subgroups": (in_subgroups, no_subgroups),
    "raters": (among_raters, lambda _, reason: {"reason": reason}),
    "learning_curve": (with_fewer_subjects, lambda *_: []),
}


# The audit


def confound_audit(scored):
    """The content of audit.json; what is asked of labels and of splits may fail."""
    nothing = {"labels": {}, "shared_subjects": [], "shared_audio": []}
    if scored.manifest is None:
        return nothing | {"reason": NO_RECORDINGS}
    names, scores = scored.names, scored.scores
    binary = [name for name in names if name not in scores]
    together, others = {}, dict(scored.seen)
    if scored.is_own:
        others.pop(scored.name, None)  # itself
        together = {
            name: split
            for name, split in others.items()
            if split.measurements is not None
        }
        others = {name: split for name, split in others.items() if name not in together}
    audited = together | {scored.name: scored}
    # the splits that must share nobody: of a cross-validation its folds
    apart = distinct(audited, others) if scored.folds is None else scored.by_fold()
    attempt = scored.failures.attempt_json
    leaked = attempt(
        "leakage",
        lambda: leakage(apart, binary),
        lambda reason: {
            f"shared_{what}_reason": reason for what in ("subjects", "audio")
        },
    )
    if reason := _why_no_audit(scored):
        return nothing | leaked | {"reason": reason}
    seed = scored.evaluation.seed
    verdicts = attempt(
        "audit",
        lambda: audit_evaluation(audited, names, scores, seed),
        lambda reason: {"reason": reason},
    )
    return nothing | leaked | verdicts


def _why_no_audit(scored):
    """Why labels are not asked what tells them; None if they are."""
    if scored.recordings is None and scored.measurements is None:
        return NO_RECORDINGS
    if not scored.evaluation.audit:
        return NO_AUDIT
    return _why_not_measured(scored) if scored.measurements is None else None
