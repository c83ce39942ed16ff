"""From a source to a corpus: what was understood, labels, splits, files.

A reader's prepare.py is:

    def main(arguments=None):
        parser = options.new_parser(__doc__)
        parser.add_argument("--bids_folder")
        return lay_out.run(parser, arguments, read, paths=("bids_folder",))

    def read(values, given): ...     # → Source, AudioFolder
"""

import dataclasses
import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from local.audio.decoding import END_SLACK_S
from local.data.corpus import EXCLUDED, excluded_subjects
from local.data.splits import read_split, segment_problems
from local.storage.addresses import is_remote, local_path
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.problems import Place, Problem
from local.utils.problems import options as as_given
from local.utils.usage import Parser
from recipes.corpus import check_new, exit_status
from recipes.table import layout, options, people
from recipes.table.audio_folder import AudioFolder
from recipes.table.conditions import named
from recipes.table.labels import LabelOptions, Labels, read_labels
from recipes.table.patterns import TABLE, Pattern, first_filled
from recipes.table.reader import SEGMENT
from recipes.table.source import OWN, Source, with_decimal_points, with_uids

#: Columns that can't be kept under their name.
TAKEN = ("ID", "uid", "subject", "audio", "file", "recording")


@dataclasses.dataclass(frozen=True)
class Given:
    """What the options say that all readers take.

    kept: Column of the corpus → patterns, of which the first that a row fills counts.
    subjects: Patterns of subjects as text, for advice; empty where a reader has none.
    """

    labels: LabelOptions
    kept: dict[str, list[Pattern]]
    accepted: set[str]
    subjects: list[str]

    @classmethod
    def of(cls, values: dict) -> "Given":
        """As options say.

        Raises UserError: for what can't be used.
        """
        labels = LabelOptions.parse(
            values.get("label", []),
            values.get("score", []),
            values.get("rater", []),
            values.get("heads"),
            options.codes(values),
        )
        kept = kept_columns(values.get("keep", []), labels)
        subjects = values.get("subject", [])
        return cls(labels, kept, options.accepted(values), subjects)


def kept_columns(
    given: Sequence[str], labels: LabelOptions
) -> dict[str, list[Pattern]]:
    """Columns to keep, each `COLUMN`, `COLUMN,COLUMN` or `NAME: {COLUMN}`.

    Raises UserError: for names that have a meaning of their own, or are labels.
    """
    kept, problems = {}, []
    for text in given:
        pairs = [named(text, "--keep")] if "{" in text else []
        pairs += [
            (name.strip(), f"{{{name.strip()}}}")
            for name in (text.split(",") if not pairs else ())
        ]
        for name, pattern in pairs:
            names = {name for head in labels.heads for name in head}
            if not name:
                problems.append(f"{text!r} lacks a name")
            elif name in names:
                problems.append(f"{name!r} is a label, too")
            elif name in TAKEN or "@" in name:
                problems.append(
                    f"{name!r} has a meaning of its own: give another, as "
                    f"'NAME: {{{name}}}'"
                )
            else:
                kept.setdefault(name, []).append(Pattern.parse(pattern, "--keep"))
    if problems:
        raise UserError("--keep can't be used:", problems)
    return kept


def run(
    parser: Parser,
    arguments: Sequence[str] | None,
    read: Callable[[dict, Given], tuple[Source, AudioFolder]],
    paths: Sequence[str],
) -> int:
    """Run a reader's command line; the exit status.

    read: Takes the options and what they say; gives the source, and the folder that
        its files are in.
    paths: Options that hold paths.
    """

    def make():
        values = options.read_options(parser, arguments, paths)
        given = Given.of(values)
        source, folder = read(values, given)
        lay_out(source, folder, values, given, parser.prog)

    return exit_status(make)


def lay_out(
    source: Source, folder: AudioFolder, values: dict, given: Given, script: str
):
    """Say what was understood, and write the corpus unless something is wrong.

    script: Which makes it again.

    Raises UserError: with everything that is wrong; nothing is written then.
    """
    corpus_folder = local_path(values["corpus_folder"], "corpus_folder")
    command = options.command_of(values)
    again = _is_same_command(corpus_folder, command)
    if not again:
        _check_place(corpus_folder, folder)
    if source.own.empty or "file" not in source.own:
        _stop(source, corpus_folder)
    if "uid" not in source.own:
        source = dataclasses.replace(source, own=with_uids(source.own))
    kept = _kept(source, given)
    _check_names(source, kept, [name for head in given.labels.heads for name in head])
    known = layout.known_splits(corpus_folder) if again else {}
    splits = None
    if values.get("splits"):
        splits = _given_splits(source, values["splits"], known)
    else:
        left = excluded_subjects(corpus_folder / EXCLUDED)
        people.check_known(source, known, left, corpus_folder / "splits")
    _check_segments(source, folder)
    _check_uids(source)
    people.check_people(source, given.subjects, given.accepted)
    people.check_audio(source, folder, given.accepted)
    labels = read_labels(source, given.labels)
    source.said += labels.said
    source.problems += labels.problems
    if not labels.problems and labels.targets.isna().all(axis=None):
        source.problems.append("no label of any recording is rated")
    if not source.problems:
        if splits is None:
            how = values["test_share"], values["seed"], known
            splits = people.draw_splits(source, labels.targets, *how)
        source.said += _empty_cells(kept)
        described = splits, labels.targets, labels.types
        source.said += people.describe_splits(source, *described)
    _stop(source, corpus_folder)
    tables = _tables(source, labels, splits, kept)
    _check(tables)
    if values.get("dry_run"):
        print("Dry run: nothing was written.")
        return
    copied = sorted(set(source.own["file"])) if values.get("copy") else None
    if copied and is_remote(folder.address):
        raise UserError("--copy takes a local audio_folder: leave it out.")
    write = layout.write_again if again else layout.write_new
    new = layout.Corpus(tables, given.labels.heads, command, script)
    write(corpus_folder, new, folder.address, copied)
    _print_next(corpus_folder, folder, labels)


def _check_place(corpus_folder, folder):
    """Refuse a folder with other content, or in that which it would link to."""
    check_new(corpus_folder)
    audio = folder.address
    if not is_remote(audio) and corpus_folder.resolve().is_relative_to(
        Path(audio).resolve()
    ):
        raise UserError(
            f"corpus_folder should not be in the audio folder, {audio}, which it links "
            f"to: {corpus_folder} is. Name another folder."
        )


def _is_same_command(corpus_folder, command):
    """Whether a corpus is there that was made by the same command."""
    file = corpus_folder / layout.COMMAND
    if not file.exists():
        return False
    before = layout.read_command(file)
    keys = [key for key in {**before, **command} if before.get(key) != command.get(key)]
    if keys:
        raise UserError(
            f"{corpus_folder} was made with other options ({', '.join(keys)}): change "
            f"them in {file} and give that, or give another --corpus_folder."
        )
    return True


def _stop(source, corpus_folder):
    """Say what was understood; stop where something is wrong."""
    for line in source.said:
        print(line)
    source.said.clear()
    if source.problems:
        raise UserError(
            f"{corpus_folder} was not written; what is wrong, or would be a guess:",
            source.problems,
        )


def _kept(source, given):
    """Columns to keep, by name."""
    rows = source.rows
    if "table" in source.own:
        rows = rows.assign(**{TABLE: source.own["table"]})
    kept = {name: first_filled(given.kept[name], rows) for name in given.kept}
    return {name: with_decimal_points(name, kept[name], source) for name in kept}


def _check_names(source, kept, labels):
    """Labels and kept columns must not hide what a reader gives each recording."""
    hidden = [
        f"--label='{name}: …'" for name in labels if name in {*OWN} & {*source.own}
    ]
    hidden += [
        f"--keep='{name}: …'"
        for name in kept
        if name in {*OWN} & {*source.own} and (kept[name] != source.own[name]).any()
    ]
    source.problems += [
        f"{option} would hide the column of that name, which holds what the * of "
        "--file has matched: call it otherwise"
        for option in hidden
    ]


def _check_uids(source):
    """Two recordings of one name are a problem."""
    own = source.own
    if source.problems:  # of which it may come
        return
    twice = own["uid"].duplicated(keep=False)
    same = own.duplicated(["uid", "file"], keep=False)
    for where, what, advice in (
        (same, "that two rows name", "remove one row, or give segments their times"),
        (twice & ~same, "with one name for two, as / becomes -", "rename one"),
    ):
        if where.any():
            places = source.places("file", where)
            source.problems.append(Problem("file", what, places, advice))


def _check_segments(source, folder):
    """Find times that are none, and tell those that lie beyond a recording's end."""
    columns = [name for name in SEGMENT if name in source.own]
    if not columns:
        return
    own = source.own.reindex(columns=source.own.columns.union(SEGMENT)).fillna("")
    for place, rows in own.groupby("place", sort=False):
        source.problems += segment_problems(rows.set_index("row"), place)
    parts = own[(own["start_s"] != "") | (own["end_s"] != "")]
    durations = own["file"].map(folder.durations(parts["file"]))
    for column in ("start_s", "end_s"):
        seconds = pd.to_numeric(own[column], errors="coerce")
        beyond = seconds > durations + END_SLACK_S
        if beyond.any():
            what = f"in column {column!r} beyond the recording's end"
            advice = "training refuses them: expected are seconds from the beginning"
            places = source.places(column, beyond)
            source.said.append(str(Problem("cell", what, places, advice)))


def _given_splits(source, column, known):
    """The split of each recording, as a column says.

    known: Subject → split, of people who stay where they are.
    """
    splits = people.splits_by_column(source, column)
    moved = source.own["subject"].map(known)
    moved = source.own["subject"][moved.notna() & (moved != splits)].unique()
    if len(moved):
        places = tuple(map(Place, moved))
        what = "in another split than before"
        source.problems.append(Problem("subject", what, places))
    return splits


def _tables(source: Source, labels: Labels, splits, kept) -> dict[str, pd.DataFrame]:
    """The rows of each split, as its CSV has them."""
    own = {name: source.own[name] for name in OWN if name in source.own}
    table = pd.DataFrame({**kept, **own, **labels.columns})
    order = dict.fromkeys([*own, *labels.columns, *kept])
    names = [name for name in ("train", "val", "test") if (splits == name).any()]
    return {name: table.loc[splits == name, list(order)] for name in names}


def _empty_cells(kept):
    """Kept columns that some recordings have nothing in, in lines."""
    empty = {name: int((kept[name] == "").sum()) for name in kept if name not in OWN}
    return [
        f"{name}: {n:,} of {len(kept[name]):,} empty" for name, n in empty.items() if n
    ]


def _check(tables):
    """Read the CSVs as training will, before anything is written."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for name, table in tables.items():
            file = Path(folder, f"{name}.csv")
            table.to_csv(file, index=False)
            _, wrong = read_split(file)
            problems += wrong
    if problems:
        raise UserError("These recordings can't be used:", problems)


def _print_next(corpus_folder, folder, labels):
    """The command that looks at the corpus."""
    parts = ["--corpus_folder", corpus_folder], ["--data_folder", folder.address]
    parts = parts if is_remote(folder.address) else parts[:1]
    shown = shlex.join([f"{name}={value}" for name, value in parts])
    command = f"python train.py hparams/train.yaml {shown}"
    if labels.types:
        command += f" {as_given({'label_types': labels.types})}"
    n = counted(len(labels.targets.columns), "label")
    print(f"{n}; next: {command} --check_only=True")
