"""What a trained model says of recordings that nobody has rated."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from local.data.audio_files import FileRecordings, files_table, find_audio
from local.data.labels import flatten
from local.data.manifests import (
    BETWEEN_WARNINGS,
    build_manifest,
    failed_beside,
    stop_on_failed,
    write_failed,
)
from local.data.recordings import Recordings
from local.evaluation.flags import MARK, flag_notes, flagged, read_audit, why_not_notes
from local.evaluation.in_range import UNKNOWN, read_range
from local.evaluation.operating_points import read_operating_points
from local.evaluation.usable_points import for_windows
from local.inference.engine import Engine
from local.inference.explain import explain_files, explain_folder
from local.metrics.decisions import decisions
from local.model.training_range import DECIDE, judged, known_range
from local.report.terminal import pipe_table
from local.storage.addresses import is_remote, local_path, output_path
from local.storage.experiment_files import HPARAMS
from local.training.experiment import (
    FREE_LATER,
    OF_THIS_MACHINE,
    Experiment,
    open_experiment,
)
from local.utils.errors import UserError
from local.utils.files import atomic_write, write_json
from local.utils.number_format import number, printable

#: Options that are keys of the yamls.
KEYS = (
    *("num_workers", "max_duration", "window_overlap", "window_pooling"),
    *("on_bad_recording", "backend"),
)

#: Options that are keys too, of the recordings of a CSV.
ONLY_OF_A_SPLIT = (
    *("data_folder", "pseudonymise_key", "gcs_project", "audio_cache"),
    *("shard", "shard_count", "merge", "ray"),
)

#: Stands beside files that are not like the recordings of the training.
OUT_OF_RANGE = "?"


def check_options(options: Namespace) -> Path | None:
    """Refuse what can't be, as far as it is told without the model.

    options: Of predict.py.

    Returns: The path of the output file, if there is to be one.
    Raises UserError.
    """
    if not options.paths:
        raise UserError(
            "Expected audio files or folders, or --split_csv=FILE with the recordings "
            "of a corpus; found neither."
        )
    useless = [name for name in ONLY_OF_A_SPLIT if getattr(options, name) is not None]
    if useless:
        raise UserError(
            "These go with --split_csv, and not with files or folders:",
            [f"--{name}={getattr(options, name)}" for name in useless],
        )
    remote = [path for path in options.paths if is_remote(path)]
    if remote:
        raise UserError(
            "predict.py reads local files, or --split_csv from a bucket. Found:",
            remote,
        )
    if (options.device or "").startswith("cuda") and not torch.cuda.is_available():
        raise UserError("--device=cuda: there is no GPU that PyTorch can use here.")
    if options.explain is not None:
        explain_folder(options.explain)
    return options.output_file and _writable(options.output_file)


def _writable(output_file):
    path = local_path(output_file, "output_file")
    if path.suffix not in (".json", ".csv") or path.is_dir():
        raise UserError(
            f"output_file must be a file that ends with .json or .csv, found {path}."
        )
    if (path.parent / HPARAMS).exists():
        raise UserError(
            f"output_file {path} lies in an experiment's folder, whose files stay as "
            "they are: give another one."
        )
    output_path(path.parent, "output_file")
    return path


def predict(options: Namespace) -> int:
    """Find audio files, predict, print, write.

    options: Of predict.py.

    Returns: How many files can't be used.
    Raises UserError: for files or an experiment that are not there or can't be used.
    """
    output_file = check_options(options)
    files, skipped = find_audio(
        [local_path(path, "FILE_OR_FOLDER") for path in options.paths]
    )
    as_yaml = dict.fromkeys((*FREE_LATER, *OF_THIS_MACHINE)) | vars(options)
    run_opts = {"device": options.device} if options.device else {}
    experiment = open_experiment(as_yaml, run_opts)
    experiment.check_hears()
    hparams = experiment.hparams_for(as_yaml)
    recordings = FileRecordings(files)
    manifest, failed = build_manifest(
        files_table(files), None, recordings, hparams["audio"], [], "inspecting"
    )
    if options.on_bad_recording == "stop" or manifest.empty:
        stop_on_failed(failed, are_all=manifest.empty)
    engine = Engine(experiment.brain, options.backend, manifest["duration"].sum())
    predicted = predict_manifest(
        engine,
        experiment,
        manifest,
        recordings,
        hparams,
        decides=options.out_of_range == DECIDE,
    )
    predicted["failed"] = [
        {"file": row["uid"], "reason": row["reason"]} for row in failed
    ]
    as_json = json.dumps(predicted, indent=2, ensure_ascii=False)
    table = format_predictions(predicted, read_audit(experiment.folder))
    print(as_json if options.json else table)
    for line in [*predicted["notes"], *_remarks(skipped, manifest, failed)]:
        print(printable(line), file=sys.stderr)
    if options.explain is not None:
        folder = explain_folder(options.explain)
        explain_files(experiment, predicted, folder, options.device)
    if output_file:
        _write(predicted, failed, output_file)
    return len(failed)


def _remarks(skipped, manifest, failed):
    """What was left out of folders, what is odd about files, and what can't be used."""
    if skipped:
        counts = ", ".join(f"{n} {suffix}" for suffix, n in skipped.most_common())
        yield f"not taken from folders: {counts}"
    for name, text in zip(manifest["ID"], manifest["warnings"], strict=True):
        for warning in text.split(BETWEEN_WARNINGS) if text else ():
            yield f"{name}: {warning}"
    for row in failed:
        yield f"left out: {row['uid']}: {row['reason']}"


def _write(predicted, failed, path):
    if path.suffix == ".json":
        write_json(path, predicted)
    else:
        with atomic_write(path) as file:
            predictions_csv(predicted).to_csv(file, index=False, lineterminator="\n")
    write_failed(failed, failed_beside(path))


def predict_manifest(
    engine: Engine,
    experiment: Experiment,
    manifest: pd.DataFrame,
    recordings: Recordings,
    hparams: dict,
    decides: bool = False,
) -> dict:
    """Predict all labels of the recordings of a manifest.

    engine: Of the experiment's brain.
    manifest: As `manifests.build_manifest` gives it.
    recordings: Or anything like it.
    hparams: Of the experiment, for this run.
    decides: Whether there are decisions about recordings that are out of range.

    Returns: {"experiment_folder", "checkpoint", "flagged": {label: [reason]},
        "recordings": [{"file", "duration_s", "n_windows", "in_range", "out_of_range":
        [reason], "labels": {label: {"logit", "probability", "threshold",
        "predicted"}}}], "notes": [str]}. Of a score there is "score" only; "threshold"
        and "predicted" are None where training found no threshold, or it was chosen on
        other windows, as a note then says. "in_range" is None, and a note says so,
        where nothing is known of the training recordings.
    """
    windows = hparams["windows"].cut(manifest)
    known = known_range(read_range(experiment.folder))
    pooled = windows.pool(
        *engine.values(
            windows.manifest,
            recordings,
            hparams,
            lambda outputs: torch.hstack([outputs.logits, outputs.pt]),
            described=True,
        )
    )
    points, notes = for_windows(
        read_operating_points(experiment.folder),
        *(settings["windows"] for settings in (experiment.hparams, hparams)),
        manifest,
    )
    return {
        "experiment_folder": experiment.address,
        "checkpoint": experiment.checkpoint,
        "flagged": flagged(read_audit(experiment.folder)),
        "recordings": [
            {
                "file": row["ID"],
                "duration_s": round(row["duration"], 3),
                "n_windows": windows.counts.get(row["ID"], 1),
                **_said(
                    pooled[row["ID"]], row["duration"], hparams, points, known, decides
                ),
            }
            for row in manifest.to_dict("records")
        ],
        "notes": [*notes, UNKNOWN] if known is None else notes,
    }


def _said(values, duration_s, hparams, points, known, decides):
    """What is said of a recording: logits, embedding and description in one → dict."""
    names = flatten(hparams["label_groups"])
    logits, heard = np.split(values, [len(names)])
    ranged = judged(known, duration_s, heard)
    said = decisions(
        logits, names, hparams["positive_weights"], hparams["label_ranges"], points
    )
    if ranged["out_of_range"] and not decides:
        said = {label: entry | {"predicted": None} for label, entry in said.items()}
    keys = ("logit", "probability", "threshold", "predicted")
    labels = {
        label: {"score": entry["score"]}
        if entry["score"] is not None
        else {key: entry[key] for key in keys}
        for label, entry in said.items()
    }
    return {**ranged, "labels": labels}


def format_predictions(predicted: dict, audit: dict) -> str:
    """A table to read: a row per file, a column per label.

    A star stands where a probability reaches its label's threshold, marks at labels
    that the experiment's audit flags and at files that are out of range.

    predicted: As `predict_manifest` gives it.
    audit: The experiment's.

    >>> slow = {"logit": 1.0, "probability": 0.73, "threshold": 0.5, "predicted": 1}
    >>> one = {"file": "a.wav", "labels": {"slow": slow, "severity": {"score": 37.5}}}
    >>> flags = {"slow": {"status": "flagged", "reasons": ["The noise tells it."]}}
    >>> print(format_predictions({"recordings": [one]}, {"labels": flags}))
    | file  | slow ! | severity |
    | :---- | -----: | -------: |
    | a.wav |  0.73* |    37.50 |
    <BLANKLINE>
    * the label's threshold or above
    ! flagged by the confound audit: the label can be told without the speech, and ...
    ! slow: The noise tells it.
    """
    labels = list(predicted["recordings"][0]["labels"])
    flags = flagged(audit)
    rows = [
        ["file", *(f"{label} {MARK}" if label in flags else label for label in labels)]
    ]
    for recording in predicted["recordings"]:
        cells = (_cell(recording["labels"][label]) for label in labels)
        mark = f" {OUT_OF_RANGE}" if recording.get("out_of_range") else ""
        rows.append([printable(recording["file"]) + mark, *cells])
    notes = ["", "* the label's threshold or above"]
    entries = predicted["recordings"][0]["labels"]
    without = [
        name for name, entry in entries.items() if entry.get("threshold", 0) is None
    ]
    if without:
        notes.append(f"Without a threshold: {', '.join(without)}")
    notes += [*_range_notes(predicted), *flag_notes(flags), *why_not_notes(audit)]
    return "\n".join([pipe_table(rows), *notes])


def _range_notes(predicted):
    """Which files are out of range, and why."""
    outside = [r for r in predicted["recordings"] if r.get("out_of_range")]
    if outside:
        yield (
            f"{OUT_OF_RANGE} not like the recordings of the training: no decision, "
            f"unless --out_of_range={DECIDE}"
        )
    for recording in outside:
        reasons = "; ".join(recording["out_of_range"])
        yield f"{OUT_OF_RANGE} {printable(recording['file'])}: in_range: no ({reasons})"


def _cell(entry):
    if "score" in entry:
        return number(entry["score"])
    mark = "*" if entry["predicted"] else ""
    return number(entry["probability"]) + mark


def predictions_csv(predicted: dict) -> pd.DataFrame:
    """A row per file and label.

    predicted: As `predict_manifest` gives it.

    Returns: `file`, `label`, `logit`, `probability`, `threshold`, `predicted`, `score`,
        `in_range`, `out_of_range` (the reasons).
    """
    columns = ("logit", "probability", "threshold", "predicted", "score")
    return pd.DataFrame(
        [
            {"file": recording["file"], "label": label}
            | {column: entry.get(column) for column in columns}
            | {"in_range": recording["in_range"]}
            | {"out_of_range": "; ".join(recording["out_of_range"])}
            for recording in predicted["recordings"]
            for label, entry in recording["labels"].items()
        ]
    ).astype({"predicted": "Int8", "in_range": "Int8"})
