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


@pytest.mark.parametrize("was", ["[0.05, 0.2]  # a list", "0.3", "some text", "True"])
def test_a_mapping_where_none_can_be(yaml, was):
    file, overrides = yaml(f"a: {was}\nb: 1\n"), {"a": {"low": 0.1}}
    with pytest.raises(UserError) as raised:
        yaml_files.plain_values(file, overrides)
    told = f"- a is {was.split(' #')[0].strip()} there; found {{'low': 0.1}}"
    assert told in str(raised.value) and "structure" not in str(raised.value)


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


# Overlays


BASE_TEXT = """\
# a network

seed: 1  # of all
# ---- Size ----
size: 2
           # of the layers
layer: !new:torch.nn.Linear
    in_features: !ref <size>
    out_features: !ref <size> * 2
# ---- Output ----
folder: null
"""


@pytest.fixture
def overlay(tmp_path):
    """Writes a yaml beside the base and gives its path."""
    (tmp_path / "base.yaml").write_text(BASE_TEXT)

    def write(text, name="over.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_an_overlay_s_keys_replace_the_base_s_before_references_are_resolved(overlay):
    file = overlay("# smaller\nbase: base.yaml\nsize: 5\nfolder: out\n")
    values = yaml_files.plain_values(file)
    layer = {"in_features": 5, "out_features": 10}
    assert values == {"seed": 1, "size": 5, "layer": layer, "folder": "out"}
    assert yaml_files.plain_values(file, {"size": 3})["layer"]["out_features"] == 6
    assert yaml_files.load_hparams(file)["layer"].out_features == 10


def test_an_overlay_may_replace_objects_add_and_remove_keys(overlay):
    file = overlay(
        "base: base.yaml\n"
        "seed: !remove\n"
        "width: 7\n"
        "layer: !new:torch.nn.Bilinear\n    in1_features: !ref <width>\n"
        "depth: 2"
    )
    values = yaml_files.plain_values(file)
    assert list(values.items()) == [
        ("width", 7),
        ("size", 2),
        ("layer", {"in1_features": 7}),
        ("depth", 2),
        ("folder", None),
    ]


def test_comments_stay_with_what_they_are_of(overlay):
    own = "size: 3  # wider\n# how deep\ndepth: 1\n"
    text = yaml_files.yaml_text(overlay(f"base: base.yaml\n\n# other\n{own}"))
    assert f"# ---- Size ----\n{own}layer:" in text
    assert "of the layers" not in text and "# other" not in text
    assert text.endswith("# ---- Output ----\nfolder: null\n")


def test_a_base_may_have_a_base_and_be_elsewhere(overlay, tmp_path):
    overlay("base: base.yaml\nsize: 3\n", "middle.yaml")
    (tmp_path / "sub").mkdir()
    file = overlay("base: ../middle.yaml\nseed: 4\n", "sub/top.yaml")
    values = yaml_files.plain_values(file)
    assert (values["seed"], values["size"]) == (4, 3)
    overlay("base: middle.yaml\nsize: 8\n", "base2.yaml")
    overlay("base: base2.yaml\n", "sub/../middle2.yaml")
    assert yaml_files.plain_values(tmp_path / "middle2.yaml")["size"] == 8


def test_a_base_that_has_changed_is_read_again(overlay, tmp_path):
    file = overlay("base: base.yaml\nseed: 2\n")
    assert yaml_files.plain_values(file)["size"] == 2
    (tmp_path / "base.yaml").write_text("size: 9\n")
    assert yaml_files.plain_values(file) == {"size": 9, "seed": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base: none.yaml\na: 1\n", "there is no base 'none.yaml'"),
        ("base:\n", "there is no base ''"),
        ("base: [base.yaml]\n", "there is no base"),
        ("base: over.yaml\n", "its base over.yaml is based on it"),
        ("base: loop.yaml\n", "its base over.yaml is based on it"),
        ("base: base.yaml\nseed: 1\nseed: 2\n", "the key seed stands twice"),
        ("base: base.yaml\nbase: base.yaml\n", "the key base stands twice"),
        ("base: base.yaml\nnone: !remove\n", "none can't be removed"),
        ("base: base.yaml\na: [1\n", "parsing"),
        ("base: list.yaml\n", "list.yaml: a yaml and its base need each key"),
        ("{base: base.yaml, seed: 1}\n", "over.yaml: a yaml and its base need each"),
        ("base: broken.yaml\n", "broken.yaml: while parsing"),
    ],
)
def test_an_overlay_that_can_t_be(overlay, text, expected):
    overlay("base: over.yaml\n", "loop.yaml")
    overlay("- 1\n", "list.yaml")
    overlay("a: [1\n", "broken.yaml")
    with pytest.raises(UserError, match=expected) as raised:
        yaml_files.plain_values(overlay(text))
    assert "\n" not in str(raised.value)


def test_base_is_an_ordinary_key_unless_it_is_the_first(yaml):
    assert yaml_files.plain_values(yaml("a: 1\nbase: b\n")) == {"a": 1, "base": "b"}


# Values


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
