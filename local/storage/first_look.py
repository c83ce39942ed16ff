"""A first look at a command line, before what takes seconds to load.

It tells what is certain and cheap to see: the help, and local paths that are not there.
All else is checked where it is used, and so are these.
"""

import signal
import sys
from pathlib import Path

from local.storage.addresses import is_remote, local_path, output_path, several
from local.storage.experiment_files import check_experiment_files
from local.utils import streams
from local.utils.errors import UserError
from local.utils.usage import usage
from local.utils.yaml_files import parse_paths

#: Options that name what is read, and what is written.
FILES = ("split_csv", "predictions_csv", "features", "pseudonymise_key")
FOLDERS = ("data_folder", "split_folder")
OUTPUTS = ("output_folder",)


def look(name: str):
    """Leave with the script's help, or with what is wrong with its paths, if anything.

    To be called before a script imports what loads PyTorch.

    name: The script's `__name__`: one that is imported has no command line.
    """
    if name != "__main__":
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # as SIGTERM, until `signals.install`: nothing is begun, nothing to tell
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    streams.secure()
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage())
        sys.exit()
    try:
        check_paths(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def check_paths(argv: list[str]):
    """Refuse local paths that are not there, all at once.

    Raises UserError.
    """
    problems, given = [], list(_given(argv))
    features = any(key == "features" for key, _ in given)
    for key, value in given:
        if key == "data_folder" and features:
            continue  # they may stand in the place of recordings
        try:
            _check(key, value)
        except UserError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise UserError("These can't be used:", map(str, problems))


def _check(key, value):
    if value in ("", "null"):
        return
    if key is None:  # a yaml, audio files, experiments
        if not is_remote(value) and not local_path(value, "PATH").exists():
            raise UserError(f"{value}: there is no such file or folder.")
    elif key in (*FILES, *FOLDERS):
        paths = several(parse_paths(value), key)
        absent = [path for path in paths if not _is_there(path, key in FOLDERS)]
        if absent:
            kind = "folder" if key in FOLDERS else "file"
            raise UserError(f"{key} {', '.join(absent)}: there is no such {kind}.")
    elif key == "experiment_folder" and not is_remote(value):
        check_experiment_files(local_path(value, key), value)
    elif key in OUTPUTS:
        output_path(value, key)


def _is_there(address, is_folder):
    path = Path(address)
    return is_remote(address) or (path.exists() and path.is_dir() == is_folder)


def _given(argv):
    """(key, value) of each option that has a value; of other arguments the key is None.

    >>> list(_given(["a.yaml", "--debug", "--seed", "1", "--split_csv=x=y.csv"]))
    [(None, 'a.yaml'), ('seed', '1'), ('split_csv', 'x=y.csv')]
    """
    key = None
    for argument in argv:
        if not argument.startswith("-"):
            yield key, argument
            key = None
            continue
        key, equals, value = argument.removeprefix("--").partition("=")
        if equals:
            yield key, value
            key = None
