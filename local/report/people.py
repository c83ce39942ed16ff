"""What a report says of who was recorded, and of what was left out."""

from local.data.labels import flatten
from local.report import cohort


def table_one(evidence):
    """Subjects, recordings and ratings by split; None where nobody is known."""
    if not evidence.manifests:
        return None
    labels = flatten(evidence.label_groups)
    return cohort.table_one(evidence.manifests, labels, evidence.types)


def inclusion(evidence):
    """What became of the recordings that were listed, and what was noted."""
    table = cohort.inclusion_flow(
        evidence.manifests,
        evidence.failed,
        flatten(evidence.label_groups),
        evidence.split,
        unknown=evidence.unprepared,
    )
    return [*([table] if table.rows else []), *evidence.notes]
