"""custom.py: the classes that an exported model needs, in one file without this recipe.

It is put together from this recipe's own sources: every definition that the wanted
classes lead to, as it stands there, and the imports of other packages that these use.
"""

import ast
import dataclasses
import functools
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = "local"

HEADER = '''"""A model for clinical speech, for use without the recipe that trained it.

    from speechbrain.inference.interfaces import foreign_class

    model = foreign_class(
        source="FOLDER", pymodule_file="custom.py", classname="ClinicalClassifier"
    )

Put together by the recipe's export.py, from: {modules}.
Licence: Apache-2.0.
"""
'''


@dataclasses.dataclass(frozen=True)
class Source:
    """A module's source, taken apart.

    definitions (dict of str to ast.stmt): Functions, classes and constants, in their
        order.
    imports: Name → the module that it is imported from (None for `import x`), its name
        there, and what it is renamed to.
    """

    name: str
    lines: list[str]
    definitions: dict
    imports: dict[str, tuple[str | None, str, str | None]]

    def text(self, name):
        """A definition with its decorators and the comment above it."""
        node = self.definitions[name]
        starts = [node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]
        first = min(starts) - 1
        while first and self.lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(self.lines[first : node.end_lineno])


def standalone_source(wanted: list[tuple[str, str]]) -> str:
    """Source of one module with some classes of this recipe.

    wanted: Module and name of each.

    Raises ValueError: for what can't be put into one file: two definitions of one name,
        a module of the recipe used as a whole, or a name that is changed by its import.

    >>> text = standalone_source([("local.utils.errors", "BadRecording")])
    >>> [line for line in text.splitlines() if line.startswith("class")]
    ['class BadRecording(Exception):']
    """
    needed, outside, pending = {}, set(), list(wanted)
    while pending:
        module, name = pending.pop()
        if name in needed.setdefault(module, set()):
            continue
        needed[module].add(name)
        for used in sorted(_names(_source(module).definitions[name])):
            found = _origin(module, used)
            if isinstance(found, tuple):
                pending.append(found)
            elif found:
                outside.add(found)
    modules = _in_order(needed)
    _check_names(modules, needed)
    parts = [
        _source(module).text(name)
        for module in modules
        for name in _source(module).definitions
        if name in needed[module]
    ]
    header = HEADER.format(modules=", ".join(modules))
    return "\n\n\n".join([header + "\n" + "\n".join(sorted(outside)), *parts]) + "\n"


@functools.lru_cache(None)
def _source(module):
    """A module's `Source`."""
    text = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8")
    definitions, imports = {}, {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            for of in node.names:
                imports[of.asname or of.name.split(".")[0]] = None, of.name, of.asname
        elif isinstance(node, ast.ImportFrom):
            for of in node.names:
                imports[of.asname or of.name] = node.module, of.name, of.asname
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for name in _names(target):
                    definitions[name] = node
    return Source(module, text.splitlines(), definitions, imports)


def _names(node):
    """All names in a piece of code."""
    return {of.id for of in ast.walk(node) if isinstance(of, ast.Name)}


def _origin(module, name):
    """(module, name) of a definition, an import statement, or None for neither."""
    source = _source(module)
    if name in source.definitions:
        return module, name
    if name not in source.imports:
        return None
    parent, own, renamed = source.imports[name]
    if (parent or own).split(".")[0] != PACKAGE:
        statement = f"from {parent} import {own}" if parent else f"import {own}"
        return statement + (f" as {renamed}" if renamed else "")
    if parent in (None, PACKAGE) or renamed:
        raise ValueError(
            f"{module} imports {name} in a way that no single file can: expected "
            f"`from {PACKAGE}.module import name`"
        )
    return _origin(parent, own)


def _in_order(needed):
    """Modules, each after those that it imports."""
    order = []

    def add(module):
        for parent, _, _ in _source(module).imports.values():
            if parent in needed and parent not in order:
                add(parent)
        if module not in order:
            order.append(module)

    for module in sorted(needed):
        add(module)
    return order


def _check_names(modules, needed):
    """Raise ValueError for one name in two modules."""
    seen = {}
    for module in modules:
        for name in needed[module]:
            if name in seen:
                raise ValueError(
                    f"{seen[name]} and {module} both define {name}, and one file needs "
                    "both: rename one of them"
                )
            seen[name] = module
