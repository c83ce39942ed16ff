"""The help of a script, which is what its head says, and the parser of its options."""

import argparse
import ast
import os
import sys

from local.utils.spelling import near
from local.utils.text_io import read_text


def usage() -> str:
    """What the head of the script says: `__doc__` is None with PYTHONOPTIMIZE=2."""
    return ast.get_docstring(ast.parse(read_text(sys.modules["__main__"].__file__)))


class Parser(argparse.ArgumentParser):
    """One that takes no abbreviations, and whose errors are one line."""

    def __init__(self, **given):
        super().__init__(allow_abbrev=False, **given)

    def parse_args(self, args=None, namespace=None):
        """As argparse does, with advice for what it does not know."""
        values, unknown = self.parse_known_args(args, namespace)
        # a Path refuses names that are too long
        files = [name for name in unknown if os.path.exists(name)]  # noqa: PTH110
        if unknown:
            advice = f" (for the file: ./{files[0]})" if files else ""
            several = any(isinstance(a, argparse._ExtendAction) for a in self._actions)
            if several and not all(name.startswith("-") for name in unknown):
                advice += "; each value needs its option, as --keep=Sex --keep=Age"
            names = [name.partition("=")[0] for name in unknown if name[:2] == "--"]
            hints = {near(name, self._option_string_actions) for name in names} - {None}
            if hints:
                advice += f", did you mean {' '.join(sorted(hints))}?"
            self.error(f"unknown: {' '.join(unknown)}{advice}")
        return values

    def error(self, message: str):
        """Leave with status 2."""
        self.exit(2, f"error: {message}; --help lists the options\n")
