"""Audio files of any name as recordings, without folders or metadata of their own."""

import json
import tempfile
from pathlib import Path

import pandas as pd

from local.audio import METADATA
from local.errors import BadRecording, UserError
from local.recordings import FolderRecordings

#: What is looked for in folders; a file that is named is tried whatever it is called.
SUFFIXES = (
    *(".3gp", ".aac", ".aif", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka"),
    *(".mkv", ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".w64", ".wav", ".webm"),
    ".wma",
)


class FileRecordings(FolderRecordings):
    """Recordings that are files; a recording's name is its path.

    Keeps a file for what a folder's metadata.json would say, which is nothing.
    """

    def __init__(self):
        self._metadata = tempfile.NamedTemporaryFile("w", suffix=".json")  # noqa: SIM115
        json.dump({"encoding": "any"}, self._metadata)
        self._metadata.flush()

    def read(self, name, use):
        """What `use` makes of a recording's files; see `FolderRecordings.read`."""
        path = Path(name)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BadRecording("its name is not UTF-8: rename it") from None
        if not path.is_file():
            raise BadRecording(f"there is no file {path}")
        files = {f"waveform{path.suffix}": path, METADATA: Path(self._metadata.name)}
        return use(files)


def find_audio(paths):
    """The audio files that are named, and those in the folders that are named.

    Arguments
    ---------
    paths : list of Path

    Returns
    -------
    pandas.DataFrame
        `uid` and `audio` (both the path as text), and empty `start_s`, `end_s` and
        `channel`, as `manifests.build_manifest` takes it.

    Raises
    ------
    UserError
        Naming all paths that are not there, and all folders without audio files.
    """
    found, problems = {}, []
    for path in paths:
        inside = _files(path)
        found |= dict.fromkeys(map(str, inside))
        if not path.exists():
            problems.append(f"{path}: there is no such file or folder")
        elif not inside:
            problems.append(f"{path}: no audio file in this folder")
    if problems:
        raise UserError(
            "Expected audio files, or folders with audio files in them (by suffix: "
            f"{' '.join(SUFFIXES)}):",
            problems,
        )
    table = pd.DataFrame({"uid": list(found), "audio": list(found)})
    return table.assign(start_s="", end_s="", channel="")


def _files(path):
    """A file itself, or the audio files at any depth of a folder, sorted."""
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.is_file()
    )
