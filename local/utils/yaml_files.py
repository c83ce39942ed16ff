"""Hyperpyyaml files: their plain values, and the objects that they declare."""

import copy
import functools
import io
import traceback
from pathlib import Path

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references

from local.utils.errors import UserError
from local.utils.files import file_size
from local.utils.text_io import read_text

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
    """
    return copy.deepcopy(_parsed(resolved_yaml(hparams_file, overrides)))


def saved_values(path: Path) -> dict:
    """Values of a hyperparams.yaml that training saved; nothing is run or included.

    Its references are resolved, so they are not looked at: resolving can run what a
    file from elsewhere names.

    Returns: As `plain_values` gives them.
    Raises UserError: if it is no such file.
    """
    try:
        if file_size(path) > MAX_YAML_BYTES:
            raise ValueError(f"it has more than {MAX_YAML_BYTES} bytes")
        values = _plain_loader().load(path.read_text(encoding="utf-8"))
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


def resolved_yaml(hparams_file: Path, overrides: dict | None = None) -> str:
    """Text of a hyperpyyaml file with overrides put in and references resolved.

    Raises UserError: for a placeholder without a value or a reference to no key.
    """
    text = read_text(hparams_file)
    key = str(hparams_file), text, repr(overrides)
    try:
        if key not in _resolved:
            file = io.StringIO(text)
            file.name = str(hparams_file)  # where `!include:` looks for others
            resolved = resolve_references(file, dict(overrides or {}))
            _resolved[key] = resolved.read()
    except (ValueError, KeyError, ruamel.yaml.YAMLError) as error:
        raise UserError(f"{hparams_file}: {_first_line(error)}") from error
    return _resolved[key]


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
