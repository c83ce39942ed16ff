"""Hyperpyyaml files: their plain values, and the objects that they declare."""

import copy
import dataclasses
import functools
import io
import itertools
import re
import traceback
from collections.abc import Collection
from pathlib import Path

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references

from local.utils.errors import UserError
from local.utils.files import file_size
from local.utils.text_io import read_text

#: How the tags end of what is no mapping, and can't become one.
PLAIN_TAGS = (":seq", ":bool", ":int", ":float", ":str")

#: First key of a yaml that says how it differs from another, and how it drops a key.
BASE, REMOVE = "base", "!remove"

#: What below a key's own lines belongs to the next key.
COMMENTS_BELOW = re.compile(r"(?:^(?:#.*)?\n)*\Z", re.MULTILINE)

#: No hyperparams.yaml is larger.
MAX_YAML_BYTES = 1_000_000

# a run resolves the same few texts again and again, each for a quarter of a second
_resolved = {}


def plain_values(hparams_file: Path, overrides: dict | None = None) -> dict:
    """Values of a hyperpyyaml file, references resolved and nothing constructed.

    Preparation runs on these, before any model exists: what it finds (label names,
    class weights) then becomes part of the yaml that is loaded for good.

    overrides: Values that replace those of top-level keys.

    Returns: Plain values; objects (``!new:`` and the like) are the dicts, lists or
        strings of their arguments.
    Raises UserError: for a placeholder without a value or a reference to no key.

    >>> file = getfixture("tmp_path") / "a.yaml"
    >>> _ = file.write_text("a: 1\\nb: !ref <a> + 1\\nc: !new:torch.nn.ReLU\\n")
    >>> plain_values(file, {"a": 2})
    {'a': 2, 'b': 3, 'c': ''}
    >>> _ = file.write_text("a: null\\nb: !ref <a>\\n")
    >>> plain_values(file, {"a": {"x": 1}})["b"]
    {'x': 1}
    """
    return copy.deepcopy(_parsed(resolved_yaml(hparams_file, overrides)))


def small_text(path: Path) -> str:
    """Text of a hyperparams.yaml.

    Raises OSError, ValueError: if it can't be read, or is larger than any is.
    """
    if file_size(path) > MAX_YAML_BYTES:
        raise ValueError(f"it has more than {MAX_YAML_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def saved_values(path: Path) -> dict:
    """Values of a hyperparams.yaml that training saved; nothing is run or included.

    Its references are resolved, so they are not looked at: resolving can run what a
    file from elsewhere names.

    Returns: As `plain_values` gives them.
    Raises UserError: if it is no such file.
    """
    try:
        values = _plain_loader().load(small_text(path))
        if not isinstance(values, dict):
            raise ValueError("it holds no keys")
    except (
        *(OSError, ValueError, TypeError, RecursionError, AttributeError),
        ruamel.yaml.YAMLError,
    ) as error:
        raise UserError(
            f"{path} can't be read ({_first_line(error)}): expected the "
            "hyperparams.yaml that train.py writes."
        ) from error
    return values


@functools.lru_cache(maxsize=16)
def _parsed(text):
    return _plain_loader().load(text)


def _plain_loader():
    loader = ruamel.yaml.YAML(typ="safe", pure=True)
    loader.Constructor = _PlainConstructor
    return loader


class _PlainConstructor(ruamel.yaml.SafeConstructor):
    """Its own class, so that no other reader of yaml ignores tags."""


def _untagged(constructor, _suffix, node):
    if isinstance(node, ruamel.yaml.MappingNode):
        return constructor.construct_mapping(node, deep=True)
    if isinstance(node, ruamel.yaml.SequenceNode):
        return constructor.construct_sequence(node, deep=True)
    return constructor.construct_scalar(node)


_PlainConstructor.add_multi_constructor("", _untagged)


def parse_value(text: str):
    """A value as it would stand in a yaml (1.2: ``1e-4`` is a number).

    Returns number, bool, None, str, list or dict
    Raises YAMLError: if the text is not yaml.

    >>> parse_value("1e-4"), parse_value("[sex,age]"), parse_value("null")
    (0.0001, ['sex', 'age'], None)
    """
    return ruamel.yaml.YAML(typ="safe", pure=True).load(text)


def parse_paths(text):
    """A path as it is, or a list of them as it would stand in a yaml.

    >>> parse_paths("2024.csv"), parse_paths("[a.csv, 2024, 'b, c.csv']")
    ('2024.csv', ['a.csv', '2024', 'b, c.csv'])
    """
    if not (text.startswith("[") and text.endswith("]")):
        return text
    return ruamel.yaml.YAML(typ="base", pure=True).load(text)  # numbers stay text


def yaml_text(hparams_file: Path, overlays: tuple[Path, ...] = ()) -> str:
    """Text of a hyperpyyaml file, joined to its base if it has one.

    A yaml whose first key is `base` names another file there, and says only what
    differs: each of its other top-level keys replaces the base's, or, if the base has
    none of that name, stands behind the key that it follows here. ``key: !remove``
    takes one away. A base may have a base.

    overlays: Files that this one is the base of.

    Raises FileNotFoundError: if the file is not there.
    Raises UserError: for a base that can't be, or a key that stands twice.

    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.yaml").write_text("a: 1\\nb: 2\\nc: !ref <a>\\n")
    >>> text = "base: a.yaml\\na: 3\\nd: 4\\nb: !remove\\n"
    >>> _ = (folder / "b.yaml").write_text(text)
    >>> print(yaml_text(folder / "b.yaml"), end="")
    a: 3
    d: 4
    c: !ref <a>
    """
    path = Path(hparams_file)
    text = read_text(path)
    name = base_of(text)
    if name is None:
        return text
    base = path.parent / name
    if not base.is_file():
        raise UserError(
            f"{path}: there is no base {name!r}. Expected the path of a yaml, from the "
            f"folder of this one, as in `{BASE}: train.yaml`."
        )
    if base.resolve() in [each.resolve() for each in (path, *overlays)]:
        raise UserError(f"{path}: its base {name} is based on it. Give another base.")
    return _joined(yaml_text(base, (path, *overlays)), base, text, path)


def base_of(text: str) -> str | None:
    """What a yaml names as its base, None if its first key is another.

    >>> base_of("# smaller\\nbase: train.yaml\\nn_mels: 40\\n"), base_of("n_mels: 40")
    ('train.yaml', None)
    """
    try:  # behind what begins the file and the mapping
        events = list(itertools.islice(ruamel.yaml.YAML().parse(text), 3, 5))
    except ruamel.yaml.YAMLError:
        return None  # whoever reads it says so
    key, value = (getattr(event, "value", None) for event in [*events, None, None][:2])
    return str(value) if key == BASE else None


def unused_keys(hparams_file: Path, read: Collection[str]) -> list[str]:
    """Top-level keys with plain values that neither a reference nor the code reads.

    read: The keys that the code reads.

    >>> file = getfixture("tmp_path") / "mine.yaml"
    >>> text = "a: 1\\nb: 2\\nc: !ref <b>\\nd: !new:torch.nn.Linear [!ref <c>, 3]\\n"
    >>> _ = file.write_text(text)
    >>> unused_keys(file, read=["x"])
    ['a']
    """
    text = yaml_text(hparams_file)
    read = {*read, *re.findall(r"<(\w+)", text)}
    root = ruamel.yaml.YAML().compose(text)
    return [
        key.value
        for key, value in root.value
        if key.value not in read
        and value.anchor is None
        and str(value.tag).startswith("tag:yaml.org,2002:")
    ]


@functools.lru_cache(maxsize=16)
def _joined(base_text, base, text, path):
    """The text of a base with the keys of an overlay."""
    entries, changes = _entries(base_text, base), _entries(text, path)
    del changes[BASE]
    keys, place = list(entries), len(entries)
    for key, change in changes.items():
        is_removed = change.tag == REMOVE
        if key in entries:
            place = keys.index(key)
            entries[key].lines = "" if is_removed else change.lines
        elif is_removed:
            raise UserError(f"{path}: {key} can't be removed, {base} does not have it.")
        else:
            keys.insert(place, key)
            entries[key] = change
        place += 1
    return "".join(entries[key].above + entries[key].lines for key in keys)


@dataclasses.dataclass
class _Entry:
    """A top-level key: the comments above it, its own lines, its value's tag."""

    above: str
    lines: str
    tag: str


def _entries(text, path):
    """The top-level keys of a file's text, dict of _Entry."""
    try:
        root = ruamel.yaml.YAML().compose(text)
    except ruamel.yaml.YAMLError as error:
        raise UserError(f"{path}: {_first_line(error)}") from error
    nodes = root.value if isinstance(root, ruamel.yaml.MappingNode) else []
    if not nodes or any(key.start_mark.column for key, _ in nodes):
        raise UserError(
            f"{path}: a yaml and its base need each key at the start of a line."
        )
    ends = [key.start_mark.index for key, _ in nodes[1:]] + [len(text)]
    start, entries = nodes[0][0].start_mark.index, {}
    above = text[:start]
    for (key, value), end in zip(nodes, ends, strict=True):
        if key.value in entries:
            raise UserError(f"{path}: the key {key.value} stands twice. Take one away.")
        cut = start + COMMENTS_BELOW.search(text[start:end]).start()
        lines = text[start:cut].removesuffix("\n") + "\n"
        entries[key.value] = _Entry(above, lines, str(value.tag))
        above, start = text[cut:end], end
    return entries


def object_keys(hparams_file: Path) -> list[str]:
    """Top-level keys that hold an object, a class, or a collection of references.

    >>> file = getfixture("tmp_path") / "mine.yaml"
    >>> text = "a: 1\\nb: !ref <a>\\nc: !new:torch.nn.ReLU\\nd: {e: !ref <c>}\\n"
    >>> _ = file.write_text(text)
    >>> object_keys(file)
    ['c', 'd']
    """
    root = ruamel.yaml.YAML().compose(yaml_text(hparams_file))
    return [
        key.value
        for key, node in root.value
        if str(node.tag).startswith(("!new:", "!name:"))
        or (isinstance(node, ruamel.yaml.CollectionNode) and _has_reference(node))
    ]


def _has_reference(node):
    """Whether a node of a yaml is a reference, or holds one."""
    if not isinstance(node, ruamel.yaml.CollectionNode):
        return str(node.tag) == "!ref"
    is_mapping = isinstance(node, ruamel.yaml.MappingNode)
    return any(_has_reference(n[1] if is_mapping else n) for n in node.value)


def resolved_yaml(hparams_file: Path, overrides: dict | None = None) -> str:
    """Text of a hyperpyyaml file with overrides put in and references resolved.

    Raises UserError: for a placeholder without a value or a reference to no key.
    """
    text = yaml_text(hparams_file)
    key = str(hparams_file), text, repr(overrides)
    try:
        if key not in _resolved:
            file = io.StringIO(_with_room(text, overrides or {}, hparams_file))
            file.name = str(hparams_file)  # where `!include:` looks for others
            resolved = resolve_references(file, dict(overrides or {}))
            _resolved[key] = resolved.read()
    except (ValueError, KeyError, ruamel.yaml.YAMLError) as error:
        raise UserError(f"{hparams_file}: {_first_line(error)}") from error
    return _resolved[key]


def _with_room(text, overrides, path):
    """A file's text in which keys that are null can get a mapping's values.

    Raises UserError: for a mapping in the place of a list, a number or text.
    """
    mappings = [name for name, value in overrides.items() if isinstance(value, dict)]
    entries = _entries(text, path) if mappings else {}
    for name in mappings:
        if name in entries and entries[name].tag.endswith(":null"):
            text = text.replace(entries[name].lines, f"{name}: {{}}\n", 1)
    wrong = [
        f"{name} is {entries[name].lines.partition(': ')[2].split(' #')[0].strip()} "
        f"there; found {overrides[name]}: give a value of the same kind"
        for name in mappings
        if name in entries and entries[name].tag.endswith(PLAIN_TAGS)
    ]
    if wrong:
        raise UserError(f"{path}: these can't be a mapping:", wrong)
    return text


def load_hparams(hparams_file: Path, overrides: dict | None = None) -> dict:
    """Construct everything that a hyperpyyaml file declares.

    Returns: Key → value or object.
    Raises UserError: for a name that can't be found or a value that its class refuses.
    """
    text = resolved_yaml(hparams_file, overrides)
    try:
        return load_hyperpyyaml(io.StringIO(text))
    except (
        ArithmeticError,
        AssertionError,  # ECAPA-TDNN checks its sizes with these
        AttributeError,
        ImportError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise UserError(
            f"{hparams_file} with these settings can't be built: "
            f"{type(error).__name__}: {_first_line(error)}"
        ) from error


def _first_line(error):
    """What an exception says, in one line; if nothing, the line that raised it."""
    said = " ".join(" ".join(str(argument) for argument in error.args).split())
    return said or traceback.extract_tb(error.__traceback__)[-1].line
