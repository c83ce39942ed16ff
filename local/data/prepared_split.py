"""The recordings of one split, prepared for a model that is trained already."""

import pandas as pd

from local.audio.loading import AudioFormat
from local.data import corpus, labels, splits
from local.data.manifests import MEASURED, build_manifest, stop_on_failed
from local.data.prepare import fetched, read_rated
from local.data.split import Split
from local.storage.inputs import Storage
from local.utils.errors import UserError


def prepare_split(
    split_csv: str, values: dict, names: list[str] | None = None, own_data: bool = True
) -> Split:
    """Prepare the recordings of a CSV for a trained model.

    split_csv: Its address.
    values: Of the experiment, with `data_folder` and `on_bad_recording` for this run.
    names: Labels to read; None where the CSV needs none.
    own_data: Whether `data_folder` is the one that the model was trained on.

    Raises UserError: for a wrong CSV, and for unusable recordings if these are to stop
        the run.
    """
    storage, notes = Storage.of(values), []
    file = corpus.local_split(split_csv, values, storage)
    excluded = corpus.find_exclusions(values, storage, notes, own_data)
    types = None
    if names is not None:
        types = labels.parse_label_types(values["label_types"], names, values["loss"])
    table, targets, problems = read_rated(
        file, split_csv, values, types, excluded, notes
    )
    if problems:
        raise UserError(f"{split_csv} can't be used as it is:", problems)
    notes += splits.unify_subjects([table])
    return _inspected(table, targets, values, storage, excluded, notes, file.stem)


def _inspected(table, targets, values, storage, excluded, notes, title):
    """The split of a table."""
    names = table["audio"].unique().tolist()
    recordings = fetched(names, values, storage, excluded, notes)
    audio = AudioFormat.of(values)
    manifest, failed = build_manifest(
        table, targets, recordings, audio, notes, f"inspecting {title}"
    )
    if values["on_bad_recording"] == "stop" or manifest.empty:
        stop_on_failed(failed, are_all=manifest.empty)
    return Split(
        name=title,
        rows=table,
        manifest=manifest,
        recordings=recordings,
        failed=failed,
        notes=notes,
    )


def inspect_again(manifest: pd.DataFrame, names: list[str], values: dict) -> Split:
    """Look at the recordings of a saved manifest once more: files may have changed.

    manifest: As `read_manifest` gives it.
    names: Labels.
    values: As for `prepare_split`.

    Raises UserError: for unusable recordings if these are to stop the run, or labels
        that the manifest does not have.
    """
    if absent := [name for name in names if name not in manifest]:
        raise UserError(
            f"The experiment's hyperparams.yaml names the labels {', '.join(absent)}, "
            "which its own test split does not have: one of the two was changed. Undo "
            "that."
        )
    table = manifest.drop(columns=["duration", *MEASURED, *names])
    table = table.rename(columns={"ID": "uid", "recording": "audio"})
    corpus.check_data_folder(values)
    storage, notes, title = Storage.of(values), [], "the test split"
    excluded = corpus.find_exclusions(values, storage, notes)
    table, targets = excluded.leave_out(table, manifest[names], title, notes)
    return _inspected(table, targets, values, storage, excluded, notes, title)
