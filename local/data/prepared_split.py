"""The recordings of one split, prepared for a model that is trained already."""

import itertools

import pandas as pd

from local.audio.loading import AudioFormat
from local.data import corpus, labels, splits
from local.data.manifests import MEASURED, build_manifest, stop_on_failed
from local.data.prepare import fetched, read_rated
from local.data.split import Split
from local.storage.inputs import Storage
from local.utils.errors import UserError
from local.utils.number_format import counted


def prepare_split(
    split_csvs: str | list[str],
    values: dict,
    required: tuple[str, ...] = ("uid", "subject"),
    names: list[str] | None = None,
    own_data: bool = True,
    may_be_empty: bool = False,
) -> Split:
    """Prepare the recordings of CSVs for a trained model.

    split_csvs: Their addresses; rows come in the order of the CSVs.
    values: Of the experiment, with `data_folder` and `on_bad_recording` for this run.
    required: Columns that must be filled.
    names: Labels to read; None where the CSV needs none.
    own_data: Whether `data_folder` is the one that the model was trained on.
    may_be_empty: Whether to go on if no recording can be used.

    Raises UserError: for wrong CSVs, and for unusable recordings if these are to stop
        the run.
    """
    storage, notes = Storage.of(values), []
    addresses = split_csvs if isinstance(split_csvs, list) else [split_csvs]
    files = [corpus.local_split(csv, values, storage) for csv in addresses]
    excluded = corpus.find_exclusions(values, storage, notes, own_data)
    types = None
    if names is not None:
        types = labels.parse_label_types(values["label_types"], names, values["loss"])
    parts, problems = [], []
    for file, address in zip(files, addresses, strict=True):
        *part, wrong = read_rated(
            file, address, values, types, excluded, notes, required
        )
        parts.append(part)
        problems += wrong
    if not problems:
        problems = _repeated(addresses, [table for table, _ in parts])
    if problems:
        raise UserError(
            f"{' and '.join(map(str, addresses))} can't be used as it is:", problems
        )
    tables, ratings = zip(*parts, strict=True)
    table = pd.concat(tables, ignore_index=True).fillna("")  # of columns of one only
    targets = None if types is None else pd.concat(ratings, ignore_index=True)
    title = ", ".join(file.stem for file in files)
    notes += splits.unify_subjects([table])
    return _inspected(
        table, targets, values, storage, excluded, notes, title, may_be_empty
    )


def _repeated(addresses, tables):
    """A problem for each two CSVs that both have a uid."""
    uids = [set(table["uid"].map(splits.composed)) for table in tables]
    problems = []
    for i, j in itertools.combinations(range(len(tables)), 2):
        if both := sorted(uids[i] & uids[j]):
            shown = ", ".join(map(repr, both[:5])) + (", …" if len(both) > 5 else "")
            problems.append(
                f"{counted(len(both), 'uid')} both in {addresses[i]} and in "
                f"{addresses[j]}: {shown}"
            )
    return problems


def _inspected(
    table, targets, values, storage, excluded, notes, title, may_be_empty=False
):
    """The split of a table."""
    names = table["audio"].unique().tolist()
    recordings = fetched(names, values, storage, excluded, notes)
    audio = AudioFormat.of(values)
    manifest, failed = build_manifest(
        table, targets, recordings, audio, notes, f"inspecting {title}"
    )
    if values["on_bad_recording"] == "stop" or (manifest.empty and not may_be_empty):
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
