"""Audio files of any name as recordings, without folders or metadata of their own."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from local.data.recordings import Recordings
from local.utils.errors import BadRecording, UserError
from local.utils.files import AUDIO_SUFFIXES, is_hidden

HIDDEN = "hidden or deleted"


class FileRecordings(Recordings):
    """Recordings that are files.

    paths: By the recording's name, as `find_audio` gives them.
    """

    def __init__(self, paths: dict[str, Path]):
        self._paths = paths

    def read(self, name, use):
        """What `use` makes of a recording's files; see `Recordings.read`."""
        path = self._paths[name]
        if name != str(path):
            raise BadRecording("its name is not UTF-8: rename it")
        if not path.is_file():
            raise BadRecording("it is no file, or a link to none")
        return use({f"waveform{path.suffix}": path})


def find_audio(paths: list[Path]) -> tuple[dict[str, Path], Counter]:
    """The audio files that are named, and those in the folders that are named.

    Returns recordings: By name: the path as text, without what is not UTF-8.
    Returns skipped: How many files of the folders were not taken, by suffix; `HIDDEN`
        is for those that are hidden, or in a hidden folder or the trash.
    Raises UserError: naming all paths that are not there, and all folders without audio
        files.
    """
    recordings, skipped, problems = {}, Counter(), []
    for path in paths:
        inside = _files(path, skipped)
        recordings |= {_name(file): file for file in inside}
        if not path.exists():
            problems.append(f"{path}: there is no such file or folder")
        elif not inside:
            problems.append(f"{path}: no audio file in this folder")
    if problems:
        raise UserError(
            "Expected audio files, or folders with audio files in them (by suffix: "
            f"{' '.join(AUDIO_SUFFIXES)}):",
            problems,
        )
    return recordings, skipped


def _name(path):
    """The path as text that can be written anywhere."""
    return str(path).encode(errors="backslashreplace").decode()


def files_table(names: Iterable[str]) -> pd.DataFrame:
    """The files as a table that `manifests.build_manifest` takes.

    Returns: `uid` and `audio` (both the name), and empty `start_s`, `end_s` and
        `channel`.
    """
    table = pd.DataFrame({"uid": list(names), "audio": list(names)})
    return table.assign(start_s="", end_s="", channel="")


def _files(path, skipped):
    """A file itself, or the audio files at any depth of a folder, sorted.

    skipped: Counter by suffix, to which the other files are added.
    """
    if not path.is_dir():
        return [path]
    files = []
    for file in path.rglob("*"):
        if file.is_dir():
            continue
        if is_hidden(file.relative_to(path)):
            skipped[HIDDEN] += 1
        elif file.suffix.lower() in AUDIO_SUFFIXES:
            files.append(file)
        else:
            skipped[file.suffix.lower() or "without a suffix"] += 1
    return sorted(files)
