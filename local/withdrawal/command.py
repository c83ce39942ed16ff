"""What withdraw.py does: finds a person, removes them, says what is left to do."""

import contextlib
from argparse import Namespace
from pathlib import Path

from local.data import corpus
from local.data.pseudonyms import read_pseudonyms
from local.data.recording_names import path_of
from local.storage.addresses import absolute, is_remote, local_path
from local.utils import cli
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.run_lock import claimed
from local.withdrawal import compared, rebuild
from local.withdrawal import withdraw as withdrawal
from local.withdrawal.data_subject import Person
from local.withdrawal.result_folders import ResultFolder
from local.withdrawal.under_way import stopped, under_way


def checked(options: Namespace) -> Namespace:
    """The options of withdraw.py: subjects as a set, paths checked, each once.

    Raises UserError: if they name nobody, or what is not there.
    """
    given = [name.strip() for text in options.subject for name in text.split(",")]
    options.subject = {name for name in given if name}
    if not options.subject:
        raise UserError("--subject names nobody: give --subject=ID.")
    for key in ("experiment_folder", "embeddings", "audio_cache"):
        paths = [local_path(path, key) for path in getattr(options, key)]
        setattr(options, key, list(dict.fromkeys(paths)))
    if options.corpus_folder:
        options.corpus_folder = absolute(options.corpus_folder, "corpus_folder")
        splits = Path(options.corpus_folder) / "splits"
        if not is_remote(options.corpus_folder) and not splits.is_dir():
            raise UserError(f"corpus_folder: there is no folder {splits}.")
    if not (options.corpus_folder or options.experiment_folder):
        raise UserError("Give --corpus_folder=DIR or --experiment_folder=DIR, or both.")
    options.experiment_folder = compared.with_parts(options.experiment_folder)
    withdrawal.check_folders(
        options.experiment_folder, options.embeddings, options.audio_cache
    )
    return options


def run(options: Namespace) -> int:
    """Withdraw the subjects, while no other run works in these folders.

    options: As `checked` gives them.

    Returns: The exit status.
    Raises UserError: if a subject is not known, or another run works in a folder.
    """
    with contextlib.ExitStack() as stack:
        for folder in options.experiment_folder:
            stack.enter_context(claimed(folder))
        units = [ResultFolder(folder) for folder in options.experiment_folder]
        inner = set().union(*(unit.places() for unit in units))
        for folder in sorted(inner.difference(options.experiment_folder)):
            stack.enter_context(claimed(folder))
        return _withdraw(units, options)


def _withdraw(units, options):
    """Find the person, remove them; the exit status."""
    if not options.dry_run:
        for unit in units:
            unit.clear()
    person = Person(set(options.subject), read_pseudonyms(options.pseudonymise_key))
    before = stopped(options.experiment_folder, options.subject)
    if not _find(person, options, before is not None) and before is None:
        print("They are excluded already, and nothing of them is left.")
        return cli.OK
    withdrawal.check_readable(
        person, options.experiment_folder, options.embeddings, options.corpus_folder
    )
    spellings = sorted(person.subjects - options.subject)
    if spellings:
        print(f"Also spelt {', '.join(spellings)}, and taken for the same person.")
    trained = [model for unit in units for model in unit.trained(person)]
    trained = list(dict.fromkeys([*(before or ()), *trained]))
    _print_trained(trained)
    if options.corpus_folder:
        _exclude(options)
    folders = [] if options.dry_run else options.experiment_folder
    with under_way(folders, options.subject, trained):
        status = _clean(units, person, options)
    _print_to_do(units, person, trained, options)
    return status


def _find(person, options, goes_on):
    """Learn what their recordings are called; how much there is of them."""
    folder, unknown, n_found = options.corpus_folder, [], 0
    excluded, storage = set(), None
    if folder:
        storage = withdrawal.corpus_storage(next(iter(options.audio_cache), None))
        if not is_remote(folder):
            excluded = corpus.excluded_subjects(Path(folder) / corpus.EXCLUDED)
    for subject in sorted(options.subject):
        alone = Person({subject}, person.pseudonyms)
        listed = withdrawal.learn_corpus(alone, folder, storage) if folder else 0
        kept = sum(
            withdrawal.learn_experiment(alone, path)
            for path in options.experiment_folder
        )
        person.subjects |= alone.subjects
        person.uids |= alone.uids
        person.recordings |= alone.recordings
        n_found += listed + kept
        if not (listed or kept or subject in excluded):
            unknown.append(repr(subject))
    if unknown and not goes_on:  # a run that was stopped may have removed all
        searched = [folder and f"{folder}/splits", *options.experiment_folder]
        raise UserError(
            f"No recording of the subject {', '.join(unknown)} was found. Nothing was "
            "changed. An ID is written as in the column `subject` of the CSVs; "
            "searched:",
            [str(place) for place in searched if place],
        )
    return n_found


def _exclude(options):
    folder = options.corpus_folder
    if is_remote(folder):
        return
    new = withdrawal.exclude(folder, options.subject, options.dry_run)
    added = "to be added" if options.dry_run else "added"
    print(f"{folder}/{corpus.EXCLUDED}: {len(new)} {added}")


def _clean(units, person, options):
    """Remove them everywhere and say where; the exit status."""
    dry_run, done = options.dry_run, {}
    places = withdrawal.remote(withdrawal.data_folders(units, options.corpus_folder))
    for folder in sorted({*options.audio_cache, *withdrawal.known_caches(units)}):
        n = withdrawal.clean_audio_cache(folder, person, places, dry_run)
        done[str(folder)] = f"audio of {counted(n, 'recording')}"
    for cache in withdrawal.known_feature_caches(units):
        n = (cache.keeps if dry_run else cache.forget)(person.recordings)
        done[str(cache.folder)] = f"features of {counted(n, 'recording')}"
    for file in options.embeddings:
        done |= withdrawal.clean_embeddings(file, person, dry_run)
    for unit in units:
        done |= unit.clean(person, dry_run)
    done |= compared.rebuild_comparisons([unit.folder for unit in units], dry_run)
    print("Nothing was changed; to be removed:" if dry_run else "Removed:")
    for name, what in done.items():
        print(f"  {name}: {counted(what, 'row') if isinstance(what, int) else what}")
    incomplete = any(what in rebuild.INCOMPLETE for what in done.values())
    return cli.INCOMPLETE if incomplete else cli.OK


def _print_trained(trained):
    if not trained:
        print("No checkpoint in these folders learned from them.")
        return
    print("Checkpoints that learned from them:")
    for model in trained:
        print(f"  {model.checkpoint}: {model.how}")


def _print_to_do(units, person, trained, options):
    """What this command does not do."""
    print("To be done by hand:")
    folders = sorted({model.checkpoint.parents[1] for model in trained})
    for folder in folders:
        print(
            f"  {folder}: train again in another folder and delete this one, with "
            "save/operating_points.json (thresholds), save/training_range.json, "
            "dataset_statistics.json and all that was exported from it or made with "
            "its embeddings"
        )
    for places in {
        values.get("upload_to") for unit in units for values in unit.values
    } - {None}:
        print(f"  {places}: holds a copy of results, which is as it was")
    for file in {values.get("features") for unit in units for values in unit.values}:
        if file and file not in map(str, options.embeddings):
            print(f"  {file}: their rows (--embeddings={file} removes them)")
    if options.corpus_folder and is_remote(options.corpus_folder):
        print(
            f"  {options.corpus_folder}/{corpus.EXCLUDED}: add the subjects, a line "
            "each, so that no later run reads them"
        )
    elif not options.corpus_folder:
        print(f"  the corpus: add the subjects to its {corpus.EXCLUDED}")
    if options.corpus_folder:
        print(f"  {options.corpus_folder}/splits: their rows")
        if not is_remote(options.corpus_folder):
            folder = Path(options.corpus_folder, "splits")
            for name, table in corpus.csv_tables(folder):
                if table is None:
                    print(f"  {folder / name}: can't be read as a split, may name them")
    for folder in withdrawal.data_folders(units, options.corpus_folder):
        for name in sorted(person.recordings):
            if is_remote(folder) or (Path(folder) / name).exists():
                print(f"  {folder}/{path_of(name)}: the recording itself")
