"""Results of evaluations, made by hand."""

import dataclasses

from local.data.labels import LabelType
from local.evaluation.result import EvaluationResult

#: A score on a scale like that of a clinical rating.
SCORE = LabelType("score", (0.0, 4.0), None, is_score=True)


def types_of(labels, scores):
    """The type of each label: a score, or 0 and 1."""
    return {label: SCORE if label in scores else LabelType() for label in labels}


def result_of(table, groups, types, metrics, **others):
    """An evaluation of the predictions in a table; others: what else is known."""
    result = EvaluationResult(
        split="test",
        table=table,
        label_groups=groups,
        types=types,
        metrics=metrics,
        audit={"labels": {}, "shared_subjects": [], "shared_audio": []},
        manifests={},
        failed=[],
        notes=[],
        silences={},
        errors=[],
        train_log=None,
        settings={},
        provenance={},
    )
    return dataclasses.replace(result, **others)
