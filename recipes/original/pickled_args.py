"""Reads the original's pickled command line without executing anything.

A pickle can name any function and have it called. This one may hold plain values, an
`argparse.Namespace`, which becomes a dict, and paths, which become text.
"""

import io
import pathlib
import pickle
import pickletools
from pathlib import Path

from local.utils.errors import UserError

MAX_BYTES = 1_000_000
MAX_MEMO = 1_000_000  # entries that an unpickler reserves memory for

MAX_PATH = 4096  # characters

#: All that a pickle of plain values, a Namespace and paths needs. Others may reserve
#: memory as they please.
OPCODES = """
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2
    LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1
    TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS MEMOIZE BINPUT
    LONG_BINPUT BINGET LONG_BINGET STACK_GLOBAL GLOBAL NEWOBJ REDUCE BUILD
"""

PATHS = {
    "Path": pathlib.PurePosixPath,
    "PosixPath": pathlib.PurePosixPath,
    "PurePath": pathlib.PurePosixPath,
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
    "WindowsPath": pathlib.PureWindowsPath,
}


class _Namespace:
    """Takes the place of argparse.Namespace: attributes and nothing else."""


class _Refused(Exception):
    """The pickle holds what it may not hold."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        """What a name in the pickle stands for."""
        if (module, name) == ("argparse", "Namespace"):
            return _Namespace
        if module in ("pathlib", "pathlib._local") and name in PATHS:
            return lambda *parts: _path_text(PATHS[name], parts)
        raise _Refused(f"{module}.{name}")


def _path_text(kind, parts):
    """A path as text. Joined again and again, a few bytes could fill the memory."""
    if sum(map(len, parts)) > MAX_PATH:
        raise _Refused(f"a path of more than {MAX_PATH} characters")
    return str(kind(*parts))


def read_args(file: Path) -> dict:
    """Read the Namespace that the original saved as args.pkl.

    Returns: Attribute → value.
    Raises UserError: if the file is missing, too large, no pickle, truncated, holds
        anything else than plain values and paths, or no Namespace.
    """
    if not file.is_file():
        raise UserError(f"args should be the original's args.pkl: there is no {file}")
    with file.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(
            f"{file} should be the few kilobytes of an args.pkl, and has more than "
            f"{MAX_BYTES:,} bytes."
        )
    try:
        _check_opcodes(content)
        args = _Unpickler(io.BytesIO(content)).load()
    except _Refused as error:
        raise UserError(
            f"{file} holds {error}: expected an argparse.Namespace of plain values "
            "and paths. Nothing of it was executed."
        ) from None
    # whatever reading damaged pickles may raise
    except Exception as error:
        raise UserError(
            f"{file} is no whole pickle ({error}): expected the args.pkl that the "
            "original saved."
        ) from error
    if not isinstance(args, _Namespace):
        raise UserError(
            f"{file} holds a {type(args).__name__}: expected an argparse.Namespace."
        )
    return {str(name): value for name, value in vars(args).items()}


def _check_opcodes(content):
    """Look the pickle through before anything is made of it."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("GLOBAL", "INST"):
            module, _, name = argument.partition(" ")
            _Unpickler(io.BytesIO()).find_class(module, name)
        if opcode.name == "LONG_BINPUT" and argument > MAX_MEMO:
            raise ValueError(f"it has no {argument} values to remember")
        if opcode.name not in OPCODES.split():
            raise _Refused(f"the pickle instruction {opcode.name}")
