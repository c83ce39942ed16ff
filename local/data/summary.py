"""A look at the data without training: what preparation found, counted."""

import numpy as np
import pandas as pd

from local.data.contradictions import named
from local.data.labels import score_labels
from local.data.manifests import grouped_reasons
from local.data.prepare import Preparation

#: What is summarised of each split's recordings, with its unit.
RANGES = {
    "duration": "s",
    "level_dbfs": "dBFS",
    "clipped_share": "of samples",
    "silent_share": "of frames",
}
COUNTED = ("sample_rate", "channels", "format", "codec")


def take_inventory(preparation: Preparation) -> dict:
    """Count what preparation found.

    Returns: `splits` (counts, labels, ranges), `contradictions`, `unusable`, `notes`;
        JSON-safe.
    """
    names = preparation.labels
    scores = score_labels(names, preparation.label_ranges)
    return {
        "splits": {
            split: _of_split(manifest, names, scores)
            for split, manifest in preparation.manifests.items()
        },
        "contradictions": [
            {"what": kind.counted, "subjects": kind.subjects}
            for kind in preparation.contradictions
        ],
        "unusable": preparation.failed,
        "notes": preparation.notes,
    }


def _of_split(manifest, names, scores):
    if manifest.empty:
        return {"n_recordings": 0}
    return {
        "n_recordings": len(manifest),
        "n_subjects": int(manifest["subject"].nunique()),
        "hours": round(float(manifest["duration"].sum()) / 3600, 4),
        "labels": {
            name: (_of_score if name in scores else _of_label)(manifest, name)
            for name in names
        },
        **{key: _quantiles(manifest[key], unit) for key, unit in RANGES.items()},
        **{
            key: {str(k): int(n) for k, n in manifest[key].value_counts().items()}
            for key in COUNTED
        },
    }


def _of_label(manifest, name):
    positive = manifest[manifest[name] == 1]
    return {
        "positive": len(positive),
        "negative": int((manifest[name] == 0).sum()),
        "not_rated": int(manifest[name].isna().sum()),
        "positive_subjects": int(positive["subject"].nunique()),
    }


def _of_score(manifest, name):
    values = manifest[name].dropna()
    spread = {key: getattr(values, key)() for key in ("min", "mean", "max")}
    return {
        "rated": len(values),
        "not_rated": int(manifest[name].isna().sum()),
        **{
            key: round(float(value), 4) if len(values) else None
            for key, value in spread.items()
        },
        "subjects": int(manifest.loc[values.index, "subject"].nunique()),
    }


def _quantiles(values, unit):
    low, median, high = np.quantile(values, [0, 0.5, 1])
    return {
        "min": round(float(low), 4),
        "median": round(float(median), 4),
        "max": round(float(high), 4),
        "unit": unit,
    }


def format_inventory(inventory: dict) -> str:
    """The inventory as text for a terminal.

    inventory: As `take_inventory` gives it.
    """
    lines = []
    for split, counts in inventory["splits"].items():
        if not counts["n_recordings"]:
            lines += [f"{split}: no usable recordings", ""]
            continue
        lines.append(
            f"{split}: {counts['n_recordings']} recordings of {counts['n_subjects']} "
            f"subjects, {counts['hours']:.2f} h"
        )
        lines += _label_tables(counts["labels"])
        for key in RANGES:
            spread = counts[key]
            lines.append(
                f"  {key}: {spread['min']:g} to {spread['max']:g} "
                f"{spread['unit']}, median {spread['median']:g}"
            )
        for key in COUNTED:
            shown = ", ".join(f"{value}: {n}" for value, n in counts[key].items())
            lines.append(f"  {key}: {shown}")
        lines.append("")
    lines += [f"note: {note}" for note in inventory["notes"]]
    lines += [
        f"warning: {kind['what']} {named(kind['subjects'])}"
        for kind in inventory["contradictions"]
    ]
    lines.append(f"unusable recordings: {len(inventory['unusable'])}")
    lines += [
        f"  - {line}"
        for line in grouped_reasons(inventory["unusable"], with_split=True)
    ]
    return "\n".join(lines)


def _label_tables(counts):
    """A table of the labels that are 0 or 1, and one of the scores, as lines."""
    lines = []
    for is_score in (False, True):
        chosen = {
            name: own for name, own in counts.items() if ("mean" in own) == is_score
        }
        if chosen:
            table = pd.DataFrame.from_dict(chosen, orient="index")
            if is_score:  # columns of None alone would be shown as such
                table = table.astype(dict.fromkeys(("min", "mean", "max"), float))
            text = table.to_string(na_rep="n/a", float_format="{:g}".format)
            lines += [f"  {line}" for line in text.splitlines()]
    return lines
