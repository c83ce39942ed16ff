"""The corpus folder: splits, labels.txt, the audio by a link, and how it was made."""

import dataclasses
import shlex
import shutil
from pathlib import Path

import pandas as pd
import ruamel.yaml

from local.data.splits import read_split
from local.storage.addresses import is_remote
from local.utils.errors import UserError
from local.utils.files import atomic_write
from local.utils.number_format import counted
from recipes.corpus import new_corpus

#: How a corpus was made, beside its splits.
COMMAND = "corpus.yaml"

HEAD = """\
# How this corpus was made. When rows or recordings have been added,
#     python {script} {file}
# makes it again; people stay in their splits.
"""


def known_splits(folder: Path) -> dict[str, str]:
    """Subject → split of a corpus that is there."""
    known = {}
    for file in sorted((folder / "splits").glob("*.csv")):
        table, _ = read_split(file)
        if file.stem in ("train", "test", "val") and table is not None:
            known |= dict.fromkeys(table["subject"], file.stem)
    return known


def read_command(file: Path) -> dict:
    """The options that a corpus.yaml holds.

    Raises UserError: if it is none.
    """
    try:
        values = ruamel.yaml.YAML(typ="safe", pure=True).load(
            Path(file).read_text(encoding="utf-8")
        )
    except (OSError, ValueError, ruamel.yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} can't be read as a corpus.yaml: {reason}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{file} should hold options, as `label: ['x: {{X}}']`.")
    return values


@dataclasses.dataclass(frozen=True)
class Corpus:
    """What is written of a corpus beside its audio.

    tables: Split → its rows.
    heads: Labels of each head.
    command: Options, as corpus.yaml keeps them.
    script: Which makes the corpus again.
    """

    tables: dict[str, pd.DataFrame]
    heads: list[list[str]]
    command: dict
    script: str

    def write(self, folder: Path, final: Path):
        """Splits, labels.txt and the command; each file whole.

        final: Where the folder is going to be.
        """
        for split, rows in self.tables.items():
            with atomic_write(folder / "splits" / f"{split}.csv") as file:
                rows.to_csv(file, index=False)
        with atomic_write(folder / "labels.txt") as file:
            file.writelines(",".join(head) + "\n" for head in self.heads)
        yaml = ruamel.yaml.YAML()
        yaml.allow_unicode, yaml.width = True, 1000
        with atomic_write(folder / COMMAND) as file:
            kept = shlex.quote(str(final / COMMAND))
            file.write(HEAD.format(script=self.script, file=kept))
            yaml.dump(self.command, file)


def write_new(folder: Path, corpus: Corpus, audio: str, copied: list[str] | None):
    """Write a corpus that is not there yet, whole or not at all.

    audio: Address of the folder of audio.
    copied: Files below it to copy; None for a link.
    """
    with new_corpus(folder) as partial:
        corpus.write(partial, folder)
        if copied is not None:
            _copy(copied, audio, partial)
        elif not is_remote(audio):
            (partial / "audio").symlink_to(audio, target_is_directory=True)


def write_again(folder: Path, corpus: Corpus, audio: str, copied: list[str] | None):
    """Write the tables of a corpus again, which stays as it is otherwise.

    Each file is replaced as a whole; nobody changes their split, so that a stop in
    between leaves a corpus that holds together. Arguments are those of `write_new`.
    """
    before = _read_splits(folder)
    _copy(copied or (), audio, folder)
    corpus.write(folder, folder)
    for split, rows in _read_splits(folder).items():
        change = _change(before.get(split, rows[:0]), rows)
        print(f"{split}.csv: {counted(len(rows), 'recording')} ({change})")
    print(f"Wrote {folder} again")


def _read_splits(folder):
    """Split → the rows of its CSV by uid, every cell text."""
    return {
        split: pd.read_csv(file, dtype=str, keep_default_na=False)
        .drop_duplicates("uid")
        .set_index("uid")
        for split in ("train", "test", "val")
        if (file := folder / "splits" / f"{split}.csv").exists()
    }


def _change(before, after):
    """How many rows are new, gone and other than before, in words."""
    both = after.index.intersection(before.index)
    columns = after.columns.union(before.columns, sort=False)
    old, new = (
        table.loc[both].reindex(columns=columns, fill_value="")
        for table in (before, after)
    )
    n_new, n_gone = len(after) - len(both), len(before) - len(both)
    n_changed = int((old != new).any(axis=1).sum())
    counts = ((n_new, "new"), (n_gone, "gone"), (n_changed, "changed"))
    return ", ".join(f"{n:,} {what}" for n, what in counts if n) or "as before"


def _copy(names, audio, folder):
    """Copy the files that a corpus folder lacks."""
    for name in names:
        copy = folder / "audio" / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(audio, name), copy)
