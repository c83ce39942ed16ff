"""What a yaml says of the encoder and its input, read as text; nothing of it is run.

A yaml from elsewhere may name any program. Here nothing that it names is imported, but
for the signatures of classes that this recipe's own yamls name.
"""

import dataclasses
import inspect
import json
import pydoc
import re

import ruamel.yaml

from local.training.safe_yaml import CLASSES, PLAIN, REFERENCE
from local.utils.yaml_files import parse_value

#: What has to be alike: the input of the encoder, and the encoder.
FRONT_END, ENCODER = ("compute_features", "mean_var_norm"), "embedding_model"

#: Names of one and the same class.
SAME_CLASS = {
    "speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN": "local.model.ecapa.ECAPA_TDNN"
}

#: Arguments that change nothing that the encoder hears or computes, or that follow from
#: others.
NO_MATTER = (
    *("device", "requires_grad", "dropout", "input_size", "avoid_padding_norm"),
    *("update_until_epoch", "epsilon", "param_change_factor", "param_rand_factor"),
)

#: Arguments that matter only where another one is true.
ONLY_WITH = {"left_frames": "context", "right_frames": "context"}

#: References that are followed from one to the next.
MAX_REFERENCES = 20


@dataclasses.dataclass(frozen=True)
class Part:
    """An object that a yaml declares.

    name: Of its class.
    arguments: Those given, and those of its class where it gives none. What is no plain
        value is its text.
    """

    name: str
    arguments: dict


def described(text: str) -> dict[str, Part]:
    """What a yaml says of the encoder and its input; nothing of it is run.

    text: Of a hyperpyyaml file.

    Returns: By key the parts that the yaml has.
    Raises ValueError: if it holds no keys, or an object without a class.
    Raises YAMLError: if it is no yaml.

    >>> text = "a: 24\\nmean_var_norm: !new:evil.N\\n  x: !ref <a>\\n  y: !apply:b []"
    >>> described(text)["mean_var_norm"]
    Part(name='evil.N', arguments={'x': 24, 'y': '!apply:b'})
    """
    root = ruamel.yaml.YAML(typ="safe", pure=True).compose(text)
    if not isinstance(root, ruamel.yaml.MappingNode):
        raise ValueError("it holds no keys")
    top = {str(key.value): node for key, node in root.value}
    modules = top.get("modules")
    if isinstance(modules, ruamel.yaml.MappingNode):  # names of their own
        top = {str(key.value): node for key, node in modules.value} | top
    return {
        part: _part(_followed(top[part], top), top)
        for part in (*FRONT_END, ENCODER)
        if part in top
    }


def _part(node, top):
    kind, _, name = str(node.tag).partition(":")
    if kind not in ("!new", "!apply") or not isinstance(node.value, list | str):
        raise ValueError(f"line {node.start_mark.line + 1}: expected !new: and a class")
    name = re.sub(r"^clinical_speech\.", "local.", name)  # as export.py calls it
    name = SAME_CLASS.get(name, name)
    pairs = node.value if isinstance(node, ruamel.yaml.MappingNode) else []
    values = _defaults(name)
    values |= {str(key.value): _value(_followed(item, top)) for key, item in pairs}
    return Part(name, values)


def _defaults(name):
    """Arguments that a class has by itself; only those that yamls here may name."""
    if name not in CLASSES:
        return {}
    located = pydoc.locate(name)
    if name in SAME_CLASS.values():  # which hands all on
        located = located.__base__
    return {
        # an activation as a yaml names it
        key: f"!name:torch.nn.{value.__name__}" if isinstance(value, type) else value
        for key, parameter in inspect.signature(located).parameters.items()
        for value in [parameter.default]
        if value is not parameter.empty
    }


def _followed(node, top):
    """What a node refers to, if it is a reference to a key and nothing else."""
    for _ in range(MAX_REFERENCES):
        name = str(node.value).strip()[1:-1]
        is_reference = str(node.tag) == "!ref" and REFERENCE.fullmatch(
            str(node.value).strip()
        )
        if not is_reference or name not in top:
            break
        node = top[name]
    return node


def _value(node):
    """A plain value or a flat list of them; else a text that equals no value."""
    tag = str(node.tag)
    if isinstance(node, ruamel.yaml.SequenceNode) and tag in PLAIN:
        if not any(isinstance(item.value, list) for item in node.value):
            return [_value(item) for item in node.value]
    elif isinstance(node, ruamel.yaml.ScalarNode) and tag in PLAIN:
        return node.value if tag.endswith(":str") else parse_value(node.value)
    text = "" if isinstance(node.value, list) else f" {node.value}".rstrip()
    return tag + text


def differences(
    theirs: dict[str, Part], ours: dict[str, Part]
) -> list[tuple[str, str, object, object]]:
    """What two yamls say differently, of all that changes what an encoder computes.

    theirs, ours: As `described` gives them; a `sample_rate` of 0 is known later.

    Returns: (part, argument or "class", value there, value here).

    >>> theirs, ours = ({"mean_var_norm": Part("a", {"x": x})} for x in (1, 2))
    >>> differences(theirs, ours)
    [('mean_var_norm', 'x', 1, 2)]
    """
    different = []
    for part in (*FRONT_END, ENCODER):
        there, here = (each.get(part, Part("none", {})) for each in (theirs, ours))
        if there.name != here.name:
            different.append((part, "class", there.name, here.name))
            continue
        for name in dict.fromkeys([*there.arguments, *here.arguments]):
            values = there.arguments.get(name), here.arguments.get(name)
            is_needed = ONLY_WITH.get(name)
            if (
                values[0] != values[1]
                and name not in NO_MATTER
                and (name, values[1]) != ("sample_rate", 0)
                and (is_needed is None or there.arguments.get(is_needed))
            ):
                different.append((part, name, *values))
    return different


def is_plain(value) -> bool:
    """Whether an argument's value is a number, a switch, null or a list."""
    return isinstance(value, int | float | list | None)


def option_text(value) -> str:
    """An argument's value as it stands on a command line.

    >>> option_text([512, 1536])
    '[512,1536]'
    """
    return value if isinstance(value, str) else json.dumps(value).replace(" ", "")
