"""model_card.md: what a model is, what it was made with and what it can't do.

The headings are those of Mitchell and others (2019), Model Cards for Model Reporting,
FAT* '19, 220-229, https://doi.org/10.1145/3287560.3287596. What the experiment does
not know is said to be unknown, or left to its authors.
"""

import dataclasses
from pathlib import Path

from local.data.labels import flatten
from local.data.raters import rater_columns
from local.evaluation.result import EvaluationResult
from local.metrics import intervals, thresholds
from local.report import (
    checks,
    cohort,
    described,
    markdown,
    results,
    tripod,
    validation,
)
from local.report.brief import brief
from local.report.tables import Table, word
from local.training.settings import EvaluationSettings
from local.utils.files import atomic_write
from local.utils.number_format import DASH, counted, listed, measured

TEMPLATE = "model_card.md.jinja"

#: A card names nobody, whatever the report may.
NAMELESS = EvaluationSettings(show_uids=False)

#: Columns of a split that tell of its people and of how they were recorded.
FACTORS = ("sex", "age", "device", "site", "task", "session")

#: The results that it has, and those of others beside them.
MEASURED = (
    results.ranking,
    results.probabilities,
    results.decisions,
    results.scores,
    validation.external,
    validation.folds,
    results.small_in_words,
)
BESIDE = (results.described_baselines, results.baselines)

#: What else may matter; it is said where a split has no column of that name.
FURTHER_FACTORS = ("language", "accent", "ethnicity", "diagnosis", "severity")


def write_model_card(evidence: EvaluationResult, path: str | Path):
    """Writes the model card.

    path: A file there before is replaced as a whole.
    """
    with atomic_write(path) as stream:
        stream.write(render_card(evidence))


def render_card(evidence: EvaluationResult) -> str:
    """Makes the model card.

    Returns: Markdown.
    """
    template = markdown.environment(Path(__file__).parent).get_template(TEMPLATE)
    return template.render(
        authors=tripod.AUTHORS,
        checklist=tripod.checklist(evidence),
        **_model(evidence),
        **_data(evidence),
        **_findings(evidence),
    )


def _model(evidence):
    """What is known of the model and how it was trained."""
    settings, provenance = evidence.settings, evidence.provenance
    versions = provenance.get("versions") or {}
    return {
        "dataset": settings.get("dataset_name") or "predictions from elsewhere",
        "is_known": bool(settings),
        "labels": listed(evidence.metrics["labels"]),
        "definitions": _definitions(evidence),
        "n_heads": len(evidence.label_groups),
        "checkpoint": evidence.metrics["checkpoint"],
        "date": provenance.get("date"),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items() if v) or None,
        "architecture": described.architecture(settings),
        "preprocessing": described.preprocessing(settings),
        "augmentation": described.augmentation(settings),
        "optimisation": described.optimisation(
            settings, has_validation="valid" in evidence.manifests
        ),
        "calibration": described.calibration(settings),
    }


def _definitions(evidence):
    """A row per label: which head gives it, and how it is coded."""
    n_raters = {}
    for manifest in evidence.manifests.values():
        of_labels = rater_columns(manifest.columns, flatten(evidence.label_groups))
        for label, raters in of_labels.items():
            n_raters[label] = max(len(raters), n_raters.get(label, 0))
    table = Table("Labels", ["label", "head", "output", "how ratings are coded"])
    for head, labels in enumerate(evidence.label_groups, start=1):
        for label in labels:
            entry, n = evidence.types[label], n_raters.get(label, 0)
            coded = described.label_definition(label, entry, evidence.settings, n)
            output = "predicted score" if entry.is_score else "probability"
            table.add(label, head, word(output), word(coded))
    return table


def _data(evidence):
    """Who was recorded, and what is known of them."""
    manifests = evidence.manifests
    own = manifests.get(evidence.split)
    present = [
        column
        for column in FACTORS
        if own is not None and column in own and (own[column] != "").any()
    ]
    compared, too_small = tripod.compared_columns(evidence)
    return {
        "split": evidence.split,
        "n_recordings": counted(evidence.metrics["n_recordings"], "recording"),
        "n_subjects": counted(evidence.metrics["n_subjects"], "subject"),
        "present": None if own is None else listed(present) or "nothing",
        "compared": listed(compared) or "none",
        "too_small": listed(too_small),
        "not_examined": listed(
            factor
            for factor in (*FACTORS[:-1], *FURTHER_FACTORS)
            if factor not in compared
        ),
        "files": _files(own),
        "cohort": cohort.recorded(evidence),
        "inclusion": cohort.inclusion(evidence),
        "training_splits": {
            name: f"{counted(len(manifest), 'recording')} of "
            f"{counted(manifest['subject'].nunique(), 'subject')}"
            for name, manifest in manifests.items()
            if name in ("train", "valid") and name != evidence.split
        },
    }


def _files(manifest):
    """What the files of a split are like; None where nobody looked at them."""
    if manifest is None or "format" not in manifest:
        return None
    manifest = manifest.dropna(subset=["waveform"])  # those that can be read
    if manifest.empty:
        return None
    rates = manifest["sample_rate"] / 1000
    levels = manifest["level_dbfs"].quantile([0.05, 0.95])
    return {
        "Formats": listed(sorted({Path(f).suffix[1:] for f in manifest["waveform"]})),
        "Sample rates": f"{measured(rates.min())}{DASH}{measured(rates.max())} kHz",
        "Channels": listed(sorted(set(manifest["channels"].astype(int)))),
        "Levels": f"90 % of the recordings from {measured(levels.iloc[0])} to "
        f"{measured(levels.iloc[1])} dBFS",
    }


def _findings(evidence):
    """Results, subgroups, audit, raters, and what to be careful about."""
    return {
        "brief": brief(evidence),
        "ranking": results.ranking(evidence),
        "scores": results.scores(evidence),
        "measured": [build(evidence) for build in MEASURED],
        "beside": [build(evidence) for build in BESIDE],
        "thresholds": results.thresholds(evidence),
        "decision_measures": ", ".join(results.DECISIONS.values()),
        "subgroups": checks.subgroups(evidence),
        "audit": checks.audit(dataclasses.replace(evidence, evaluation=NAMELESS)),
        "agreement": checks.agreement(evidence),
        "interval_from": intervals.MIN_SUBJECTS,
        "group_from": thresholds.MIN_TO_CHOOSE,
    }
