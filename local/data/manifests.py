"""Manifests: the recordings of one split that are really used, and what they are like.

A manifest is a table with `ID`, `duration` (s), where the recording is, what it is
like, whose it is, the targets (empty = not rated), and the CSV's other columns.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from local.audio.loading import AudioFormat
from local.data.labels import score_labels
from local.data.recordings import Recordings
from local.data.splits import MEASURED, RESERVED
from local.utils import threads
from local.utils.errors import BadRecording, UserError
from local.utils.files import atomic_write
from local.utils.number_format import counted
from local.utils.progress import progress

#: Those of them that are text.
MEASURED_TEXT = ("waveform", "format", "codec", "warnings")

#: More recordings with the same reason are told in one line, so many by name.
MANY, MAX_NAMED = 5, 20

#: Between the warnings about one recording.
BETWEEN_WARNINGS = "; "

#: Which part of a recording a row means.
SEGMENT = ("start_s", "end_s", "channel")


def build_manifest(
    table: pd.DataFrame,
    targets: pd.DataFrame | None,
    recordings: Recordings,
    audio: AudioFormat,
    notes: list[str],
    title: str | None,
) -> tuple[pd.DataFrame, list[dict]]:
    """Inspect the recordings of a split and list those that can be used.

    table: As `splits.read_split` gives it.
    targets: Targets of its rows (None where there are no labels).
    audio: How they will be read.
    notes: How many recordings have which warning is added to it; the manifest's column
        `warnings` says which.
    title: What is shown beside the progress; None: nothing is shown.

    Returns manifest: In the order of the table.
    Returns failed: `uid`, `reason`, `kind` (see `errors.BadRecording`) and, if known,
        `subject` of those that can't be used.
    """
    rows = table.to_dict("records")
    reports = _inspect_all(rows, recordings, audio, title)
    usable, failed, kept, warned = [], [], [], Counter()
    for i, (row, report) in enumerate(zip(rows, reports, strict=True)):
        if isinstance(report, BadRecording):
            failed.append(
                {key: row[key] for key in ("uid", "subject") if key in row}
                | {"reason": str(report), "kind": report.kind}
            )
            continue
        warned.update(report.warnings)
        usable.append(_manifest_row(row, report, targets))
        kept.append(i)
    notes += [f"{counted(n, 'recording')}: {what}" for what, n in warned.items()]
    columns = None if usable else ["ID", "duration", *SEGMENT, "recording"]
    manifest = pd.DataFrame(usable, columns=columns)
    if targets is not None and kept:
        manifest = pd.concat(
            [manifest, targets.iloc[kept].reset_index(drop=True)], axis=1
        )
    return manifest, failed


def _inspect_all(rows, recordings, audio, title):
    """A report on each row's recording, or the reason why there is none."""
    waiting, reports = iter(rows), []
    with (
        ThreadPoolExecutor(threads.n_usable()) as pool,
        progress(len(rows), title, "rec", hidden=title is None) as step,
    ):
        # a part of them is at hand at a time, if they stream through a cache
        for part in recordings.parts([row["audio"] for row in rows]):
            own = itertools.islice(waiting, len(part))
            for report in pool.map(lambda row: _inspect(row, recordings, audio), own):
                reports.append(report)
                step()
    return reports


def _inspect(row, recordings, audio):
    """The report on a row's recording, or the reason why there is none."""
    try:
        return recordings.inspect(row["uid"], row["audio"], audio, segment(row))
    except BadRecording as reason:
        return reason


def segment(row: Mapping) -> dict:
    """Which part of a recording a row means.

    row: With `start_s`, `end_s` and `channel` as text or empty.

    Returns: `start_s`, `end_s` (s) and `channel` (from 0), None where empty.

    >>> segment({"start_s": "1.5", "end_s": "", "channel": "0"})
    {'start_s': 1.5, 'end_s': None, 'channel': 0}
    """
    return {
        "start_s": float(row["start_s"]) if row["start_s"] != "" else None,
        "end_s": float(row["end_s"]) if row["end_s"] != "" else None,
        "channel": int(float(row["channel"])) if row["channel"] != "" else None,
    }


def _manifest_row(row, report, targets):
    own = {
        "ID": row["uid"],
        "duration": report.duration_s,
        "recording": row["audio"],
        **{key: row[key] for key in ("start_s", "end_s", "channel")},
        **{key: getattr(report, key) for key in MEASURED},
        "warnings": BETWEEN_WARNINGS.join(report.warnings),
    }
    label_columns = () if targets is None else targets.columns
    for column, cell in row.items():
        if column in ("uid", "audio") or column in label_columns:
            continue
        if column not in own:
            own[column] = cell
        elif column not in ("start_s", "end_s", "channel"):
            own[f"csv_{column}"] = cell  # a CSV may have a `duration` of its own
    return own


def read_manifest(path: Path, names: list[str]) -> pd.DataFrame:
    """Read a manifest back.

    names: Labels.

    Returns: Targets, `duration` and measurements are numbers, everything else is text.
    """
    manifest = pd.read_csv(path, dtype=str, keep_default_na=False)
    numbers = [key for key in MEASURED if key not in MEASURED_TEXT]
    for column in ("duration", *names, *numbers):
        if column in manifest.columns:
            manifest[column] = pd.to_numeric(manifest[column])
    return manifest


def positive_weights(
    manifest: pd.DataFrame,
    names: list[str],
    label_ranges: list[list[float] | None] | None = None,
) -> list[float]:
    """Negatives per positive of each label: the weight that balances a label.

    manifest: Where targets are shares of raters, these are counted.
    names: Labels.
    label_ranges: [low, high] of each label that is a score (see `labels.label_ranges`).

    Returns: 1.0 where a label has only one class, or is a score.

    >>> positive_weights(pd.DataFrame({"x": [1.0, 0.0, 0.0, None]}), ["x"])
    [2.0]
    """
    positives = [float(manifest[name].sum()) for name in names]
    negatives = [float((1 - manifest[name]).sum()) for name in names]
    scores = score_labels(names, label_ranges)
    return [
        n / p if p and n and name not in scores else 1.0
        for name, p, n in zip(names, positives, negatives, strict=True)
    ]


def stop_on_failed(failed: list[dict], are_all: bool = False):
    """Raise what can't be used as one error, if there is any.

    failed: `uid`, `reason`.
    are_all: Whether there is no other recording.

    Raises UserError.
    """
    if failed:
        message = (
            f"{len(failed)} recordings can't be used. Mend or remove them, or go on "
            "without them with --on_bad_recording=skip (failed.csv then lists them):"
        )
        if are_all:
            message = (
                f"None of the {len(failed)} recordings can be used (is data_folder the "
                "one that they are in?):"
            )
        raise UserError(message, grouped_reasons(failed))


def grouped_reasons(failed: list[dict], with_split: bool = False) -> list[str]:
    """What can't be used and why: a line each, or one for all of the same reason.

    failed: `uid`, `reason`, and maybe `split`.
    with_split: Whether the lines name the split.

    Returns: More than `MANY` recordings whose reasons differ in numbers and in their
        own names only are one line, which names the first of them.

    >>> grouped_reasons([{"uid": "r1", "reason": "is empty"}])
    ['r1: is empty']
    """
    groups = {}
    for entry in failed:
        # names of recordings may be a number, or be in the reason
        kind = re.sub(r"\d+(\.\d+)?", "#", entry["reason"].replace(entry["uid"], "#"))
        before = f"{entry['split']} " if with_split else ""
        groups.setdefault((before, kind), []).append(entry)
    lines = []
    for (before, _), entries in groups.items():
        if len(entries) > MANY:
            uids = ", ".join(entry["uid"] for entry in entries[:MAX_NAMED])
            more = ", …" if len(entries) > MAX_NAMED else ""
            lines.append(
                f"{before}{len(entries)} recordings ({uids}{more}), of the first: "
                f"{entries[0]['reason']}"
            )
        else:
            lines += [f"{before}{entry['uid']}: {entry['reason']}" for entry in entries]
    return lines


def write_failed(failed: list[dict], path: Path):
    """Write `uid, reason` of recordings that were left out, if there are any.

    If there are none, the list of an earlier run is removed.
    """
    if failed:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            pd.DataFrame(failed)[["uid", "reason"]].to_csv(file, index=False)
    else:
        Path(path).unlink(missing_ok=True)


def failed_beside(file: Path) -> Path:
    """Where a file of results has the list of what it lacks.

    >>> failed_beside(Path("results/e.parquet")).name
    'e.parquet.failed.csv'
    """
    return file.with_name(f"{file.name}.failed.csv")


#: Columns that are looked at unless others are named.
USUAL_COLUMNS = ("sex", "age", "site", "device")


def group_columns(columns: Iterable[str], wanted: list[str] | None) -> list[str]:
    """The columns whose groups are compared.

    columns: Those that there are.
    wanted: The value of the yaml's `subgroups`; None: the usual ones that there are.

    Raises UserError: if one of them is not there.

    >>> group_columns(["uid", "subject", "device", "age"], None)
    ['age', 'device']
    """
    # not what identifies a recording or was measured of it
    columns = [c for c in columns if c not in (*RESERVED, "subject") and "@" not in c]
    if wanted is None:
        return [column for column in USUAL_COLUMNS if column in columns]
    absent = [column for column in wanted if column not in columns]
    if absent:
        raise UserError(
            f"subgroups names {', '.join(absent)}, of which the split has no column; "
            f"it has {', '.join(columns)}."
        )
    return list(dict.fromkeys(wanted))
