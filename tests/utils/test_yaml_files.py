"""utils.yaml_files: plain values of a yaml, its objects, and what is wrong with it."""

import pytest
import torch

from local.utils import yaml_files
from local.utils.errors import UserError


@pytest.fixture
def yaml(tmp_path):
    """Writes a yaml and gives its path."""

    def write(text):
        (tmp_path / "a.yaml").write_text(text)
        return tmp_path / "a.yaml"

    return write


def test_plain_values_construct_nothing(yaml, tmp_path):
    made = tmp_path / "made"
    file = yaml(
        f"folder: {made}\n"
        "made: !apply:os.mkdir [!ref <folder>]\n"
        "layer: !new:no.such.Layer\n"
        "    size: !ref <size>\n"
        "function: !name:no.such.function [1, 2]\n"
        "size: 3\n"
    )
    assert yaml_files.plain_values(file) == {
        "folder": str(made),
        "made": [str(made)],
        "layer": {"size": 3},
        "function": [1, 2],
        "size": 3,
    }
    assert not made.exists()


def test_overrides_reach_references(yaml):
    file = yaml("a: 1\nb: !ref <a> * 2\nc: !ref <folder>/x\nfolder: y\n")
    overrides = {"a": 5, "folder": "z"}
    assert yaml_files.plain_values(file, overrides) == {
        "a": 5,
        "b": 10,
        "c": "z/x",
        "folder": "z",
    }
    assert overrides == {"a": 5, "folder": "z"}


def test_other_readers_of_yaml_still_see_tags(yaml):
    import ruamel.yaml

    yaml_files.plain_values(yaml("a: !new:torch.nn.ReLU\n"))
    with pytest.raises(ruamel.yaml.constructor.ConstructorError):
        ruamel.yaml.YAML(typ="safe", pure=True).load("a: !new:torch.nn.ReLU\n")


@pytest.mark.parametrize("load", [yaml_files.plain_values, yaml_files.load_hparams])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: !PLACEHOLDER\nseed: 1\n", "'data' is a !PLACEHOLDER"),
        ("a: !ref <b>\n", '"b"'),
        ("a: [1\n", "parsing"),
    ],
)
def test_a_yaml_that_cannot_be_resolved(yaml, load, text, expected):
    file = yaml(text)
    with pytest.raises(UserError, match=expected) as raised:
        load(file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_placeholder_may_be_given(yaml):
    file = yaml("data: !PLACEHOLDER\n")
    assert yaml_files.plain_values(file, {"data": "/d"}) == {"data": "/d"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: !new:torch.nn.Relux\n", "torch.nn.Relux"),
        ("a: !new:no_such_package.Layer\n", "no_such_package.Layer"),
        ("a: !name:torch.nn.functional.relux\n", "torch.nn.functional.relux"),
        ("a: !new:torch.nn.ReLU\n    size: 3\n", "unexpected keyword argument 'size'"),
        (
            "a: !new:local.data.dataset.RandomCrop\n"
            "    clip_length: -1\n    sample_rate: 1\n    seed: 1\n",
            "clip_length must be 0 or more",
        ),
    ],
)
def test_objects_that_cannot_be_constructed(yaml, text, expected):
    with pytest.raises(UserError, match=expected):
        yaml_files.load_hparams(yaml(text))


def test_objects_are_constructed_once(yaml):
    file = yaml("a: !new:torch.nn.ReLU\nb: [!ref <a>, !ref <n>]\nn: 1\n")
    found = yaml_files.load_hparams(file, {"n": 2})
    assert isinstance(found["a"], torch.nn.ReLU)
    assert found["b"] == [found["a"], 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 0.0001),
        ("3.0e-4", 0.0003),
        ("5", 5),
        ("True", True),
        ("null", None),
        ("[sex, age]", ["sex", "age"]),
        ("{a: [b]}", {"a": ["b"]}),
        ("on", "on"),
        ("text", "text"),
    ],
)
def test_values_are_those_of_yaml_1_2(text, expected):
    found = yaml_files.parse_value(text)
    assert found == expected
    assert type(found) is type(expected)
