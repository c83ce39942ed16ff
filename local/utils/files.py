"""Files: written so that a reader sees the old one or the new one, never a half."""

import fcntl
import glob
import json
import os
import re
import secrets
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local.utils.file_size import file_size

#: What is larger is not read: it would fill the memory.
MAX_JSON_BYTES = 200_000_000

#: Names of files that are being written.
UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp")

#: A folder of deleted files whose name does not begin with a dot.
TRASH = "$RECYCLE.BIN"

#: What is looked for in folders; a file that is named is tried whatever it is called.
AUDIO_SUFFIXES = (
    *(".3gp", ".aac", ".aif", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka"),
    *(".mkv", ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".w64", ".wav", ".webm"),
    ".wma",
)

#: How names of folders end that are being filled.
UNFINISHED_FOLDER = ".unfinished"


@contextmanager
def atomic_write(path: str | Path, mode: str = "w", durable: bool = True):
    """Opens a new file that takes the place of `path` once all of it is on disk.

    The content goes to a temporary file in the same folder, which is renamed at
    the end of the block; if the block fails, it is removed and `path` stays as it
    was. The folder is made if it is not there. Where `path` is a link, the link
    is replaced, not the file that it points to.

    path: The file to write.
    mode: "w" for text (UTF-8, line ends as written) or "wb" for bytes.
    durable: Whether to wait for the disk first. If not, a power failure may leave half
        a file: for what its reader checks and can make again.

    Yields file object: Open for writing.
    Raises ValueError: if `mode` is neither "w" nor "wb".
    Raises OSError: if the file can't be written, e.g. because the disk is full.

    >>> folder = getfixture("tmp_path")
    >>> with atomic_write(folder / "note.txt") as stream:
    ...     _ = stream.write("done")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode must be 'w' or 'wb', not {mode!r}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    # "x" refuses a name that exists, so that a link waiting there is not followed.
    stream = temporary.open(mode.replace("w", "x"), **text)
    try:
        with stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:  # a keyboard interrupt must not leave the file either
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: str | Path):
    """Removes what a kill left of files that were being written.

    folder: Which nobody else writes to.
    """
    for path in Path(folder).glob(".*.tmp"):
        if UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def is_hidden(path):
    """Whether a path names something hidden or thrown away, or a part of it does.

    macOS leaves ``._NAME`` beside files on drives of others; trash holds what somebody
    wanted gone.

    path (pathlib.PurePath): Below the folder that was named, which may be hidden
        itself.

    >>> [is_hidden(Path(path)) for path in (".Trash/a.wav", "b/._a.wav", "b/a.wav")]
    [True, True, False]
    """
    return any(part.startswith(".") or part == TRASH for part in path.parts)


def write_json(path: str | Path, data: dict | list):
    """Writes `data` as indented JSON, atomically, keys in the order they have.

    path: The file to write.
    data: Made of dict, list, str, bool, int, float and None.

    Raises ValueError: if a number is NaN or infinite: JSON has no such thing, and a
        number that could not be computed is written as null with a reason beside it.
    Raises TypeError: if something in `data` is of another type, e.g. a numpy number.
    """
    # Made before the file is opened: data that is no JSON touches nothing.
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as stream:
        stream.write(text + "\n")


def read_json(path: Path):
    """Reads a JSON file, unless it is larger than any that this recipe writes.

    Returns dict, list, str, number, bool or None
    Raises OSError: if it can't be read.
    Raises ValueError: if it is too large, nested too deeply, or no JSON in UTF-8.
    """
    if file_size(path) > MAX_JSON_BYTES:
        raise ValueError(f"it has more than {MAX_JSON_BYTES // 1_000_000} MB")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextmanager
def folder_beside(folder: str | Path):
    """Lends an empty folder beside another, to be filled and renamed to it.

    What was not renamed by the end of the block is removed, and so is what killed
    processes left of the same folder.

    folder: The folder to be made; its parent is made if it is not there.

    Yields Path: On the same file system, of the same name, and readable like any other.

    >>> folder = getfixture("tmp_path") / "corpus"
    >>> with folder_beside(folder) as partial:
    ...     _ = (partial / "labels.txt").write_text("slow rate")
    ...     _ = partial.rename(folder)
    >>> [path.name for path in folder.parent.iterdir()]
    ['corpus']
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _locked(folder.parent.resolve()):  # a new one isn't a left one
            _remove_left(folder)
            temporary = tempfile.mkdtemp(
                UNFINISHED_FOLDER, f".{folder.name}.", folder.parent
            )
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
            stack.enter_context(_locked(temporary))
        inner = Path(temporary) / folder.name  # mkdtemp's own is for its user only
        inner.mkdir()
        yield inner


def _remove_left(folder):
    """Remove unfinished ones of a folder that no living process fills."""
    pattern = f"{glob.escape(f'.{folder.name}.')}*{UNFINISHED_FOLDER}"
    for left in folder.parent.glob(pattern):
        with _locked(left, fcntl.LOCK_NB) as is_locked:
            if is_locked:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _locked(folder, options=0):
    """Lock a folder until the end of the process at the latest; whether it worked."""
    with ExitStack() as stack:
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            descriptor = os.open(folder, flags)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | options)
            is_locked = True
        except OSError:  # locked by another; a link; some network drives have no locks
            is_locked = False
        yield is_locked
