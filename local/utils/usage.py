"""The help of a script: what its head says."""

import ast
import sys

from local.utils.text_io import read_text


def usage() -> str:
    """What the head of the script says: `__doc__` is None with PYTHONOPTIMIZE=2."""
    return ast.get_docstring(ast.parse(read_text(sys.modules["__main__"].__file__)))
