"""The yamls of hparams/: every key is used, every key used is there, all construct."""

import ast
import re
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML, MappingNode
from speechbrain.processing.features import InputNormalization

from local.audio import decoding, loading
from local.data import prepare, windows
from local.model import heads
from local.training import experiment, optimizers, planning, settings
from local.training.experiment import save_hparams
from local.utils import keys
from local.utils.cli import top_level_keys
from local.utils.keys import KEYS
from local.utils.yaml_files import (
    base_of,
    load_hparams,
    plain_values,
    resolved_yaml,
    saved_values,
    yaml_text,
)

ROOT = Path(__file__).parents[2]
TRAIN = sorted((ROOT / "hparams").glob("train*.yaml"))
#: Those that are trained by gradients.
AT_ONCE = ("train_features", "train_ssl", "train_statistics")
NETWORKS = [path for path in TRAIN if path.stem not in AT_ONCE]
OTHER = sorted(set((ROOT / "hparams").glob("*.yaml")) - set(TRAIN))
SOURCES = [*ROOT.glob("*.py"), *(ROOT / "local").rglob("*.py")]

#: Names that hold the values of a training yaml, or of another one, in the code.
TRAIN_NAMES = ("hparams", "values")
OTHER_NAMES = ("options",)

#: The modules that read the options of each of the other yamls, and of no other.
READERS = {
    "evaluate.yaml": (
        *("evaluate.py", "local/evaluation/experiment_split.py"),
        "local/evaluation/external_predictions.py",
    ),
    "extract_embeddings.yaml": tuple(
        f"local/inference/{name}.py"
        for name in ("archive", "extraction", "maker", "on_ray", "shares")
    ),
}

#: Keys that opening an experiment reads from these.
CHOSEN_LATER = {*experiment.FREE_LATER, *experiment.OF_THIS_MACHINE}

#: Keys that SpeechBrain itself reads, from the hparams that the Brain gets.
READ_BY_SPEECHBRAIN = {
    "max_grad_norm",
    "compile_module_keys",
    "compile_using_dynamic_shape_tracing",
}

#: Keys that are read where a yaml has them; then evaluate.yaml's, and an exported
#: model's, and what is taken from the modules.
OPTIONAL = {
    *("features", "ssl_trainable", "lora_rank", "pretrained"),
    *("dataset_mean", "dataset_std", "fbank", "n_fft", "n_mfcc"),
    *("ssl_source", "ssl_window", "ssl_layer", "ssl_pooling", "ssl_encoder"),
    *("split_csv", "predictions_csv"),
    *("operating_points", "flagged", "training_range", "label_encoder"),
    "compute_features",
}

#: What makes a model small and the tests quick; keys a yaml doesn't have are left out.
SMALL = {
    "label_groups": [["a", "b"], ["c"]],
    "n_mels": 20,
    "n_mfcc": 20,
    "lin_neurons": 6,
    "channels": [16, 16, 16, 16, 48],
    "attention_channels": 4,
    "sd_bottleneck": 9,
    "clf_bottleneck": 7,
}


def by_name(path):
    return path.name


def keys_read(names, files=SOURCES):
    """Keys that the code reads: x["key"], x.get("key") and, of hparams, x.key."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and name_of(node.value) in names:
                found |= text_in(node.slice)
            elif isinstance(node, ast.Attribute) and name_of(node.value) in names:
                if isinstance(node.value, ast.Attribute):  # self.hparams.key
                    found.add(node.attr)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "get"
                and name_of(node.func.value) in names
            ):
                found |= text_in(node.args[0])
    return found - {"get", "update"}


def name_of(node):
    """`hparams` of both `hparams` and `self.hparams`."""
    return getattr(node, "attr", None) or getattr(node, "id", None)


def text_in(node):
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return {node.value} if is_text else set()


def referenced(path):
    """Keys that a yaml's own !ref name."""
    references = re.findall(r"!ref ([^#\n\]]*)", yaml_text(path))
    return {key for text in references for key in re.findall(r"<(\w+)", text)}


def test_the_code_is_searched():
    """A search that finds nothing would pass everything below."""
    found = keys_read(TRAIN_NAMES)
    assert {"train_batches", "epoch_counter", "data_folder", "corpus_folder"} <= found
    assert {"train_crop", "train_logger"} <= found  # self.hparams.key
    assert {"split_csv", "embedding_type"} <= keys_read(OTHER_NAMES)
    assert {"seed", "output_folder"} <= referenced(ROOT / "hparams" / "train.yaml")


@pytest.mark.parametrize("path", TRAIN, ids=by_name)
def test_every_key_of_a_training_yaml_is_used(path):
    used = keys_read(TRAIN_NAMES) | referenced(path)
    used |= READ_BY_SPEECHBRAIN
    keys = {key for key in top_level_keys(path) if not key.startswith("__")}
    assert sorted(keys - used) == []


@pytest.mark.parametrize("path", TRAIN, ids=by_name)
def test_every_key_that_training_reads_is_in_the_yaml(path):
    listed = {*prepare.KEYS, *planning.FREE_ON_RESUME, *planning.FILLED}
    listed |= set(experiment.FREE_LATER)
    read = (keys_read(TRAIN_NAMES) | listed | READ_BY_SPEECHBRAIN) - OPTIONAL
    assert sorted(read - set(top_level_keys(path))) == []


def test_training_requires_all_keys_that_it_reads():
    assert sorted(keys_read(TRAIN_NAMES) - OPTIONAL - set(settings.READ)) == []


@pytest.mark.parametrize("path", OTHER, ids=by_name)
def test_every_key_of_another_yaml_is_used(path):
    used = keys_read(OTHER_NAMES) | CHOSEN_LATER | referenced(path)
    assert sorted(set(top_level_keys(path)) - used) == []


@pytest.mark.parametrize("path", OTHER, ids=by_name)
def test_every_key_that_its_script_reads_is_in_the_yaml(path):
    read = keys_read(OTHER_NAMES, [ROOT / name for name in READERS[path.name]])
    assert read
    read |= CHOSEN_LATER
    assert sorted(read - set(top_level_keys(path))) == []


def test_every_option_that_is_read_is_in_a_yaml():
    known = {key for path in OTHER for key in top_level_keys(path)}
    of_predict = {"out_of_range"}  # which has no yaml
    assert sorted(keys_read(OTHER_NAMES) - known - of_predict) == []


@pytest.mark.parametrize("path", [*TRAIN, *OTHER], ids=by_name)
def test_every_key_has_a_comment(path):
    """Its own, or one at the head of its group."""
    bare = []
    for group in path.read_text(encoding="utf-8").split("\n\n"):
        lines = group.splitlines()
        if lines and not lines[0].startswith("#"):
            keys = [line for line in lines if re.match(r"\w+:", line)]
            bare += [line for line in keys if "#" not in line]
    assert bare == []


@pytest.mark.parametrize("path", [*TRAIN, *OTHER], ids=by_name)
def test_no_key_stands_twice(path):
    keys = top_level_keys(path)
    assert len(keys) == len(set(keys))
    # at any depth, the reader of yaml says so itself
    YAML().load(path)


# What train_*.yaml share with train.yaml should have one meaning


@pytest.mark.parametrize("path", TRAIN[1:], ids=by_name)
def test_common_keys_stand_in_the_same_order(path):
    first, keys = top_level_keys(TRAIN[0]), top_level_keys(path)
    common = set(first) & set(keys)
    assert [k for k in keys if k in common] == [k for k in first if k in common]


# The table of keys


def is_object(node):
    """Whether something is constructed of a node, or of one below it."""
    children = node.value if isinstance(node.value, list) else []
    if isinstance(node, MappingNode):
        children = [value for _, value in children]
    is_tagged = str(node.tag).startswith(("!new:", "!name:", "!apply:"))
    return is_tagged or any(map(is_object, children))


def plain_keys():
    """Key → its values in the yamls, of those that construct nothing in any."""
    values, objects = {}, set()
    for path in [*TRAIN, *OTHER]:
        nodes = YAML().compose(yaml_text(path)).value
        given = {key.value: "x" for key, node in nodes if node.tag == "!PLACEHOLDER"}
        text = resolved_yaml(path, given)
        objects |= {
            key.value for key, node in YAML().compose(text).value if is_object(node)
        }
        for key, value in plain_values(path, given).items():
            values.setdefault(key, []).append(value)
    return {key: values[key] for key in values.keys() - objects}


def test_every_plain_key_is_in_the_table_and_the_other_way_round():
    assert sorted(plain_keys()) == sorted(KEYS)


#: What a value of each kind is in Python.
TYPES = {
    keys.TEXT: str,
    keys.TEXTS: str | list,
    keys.WHOLE: int,
    keys.NUMBER: int | float,
    keys.LAYERS: int | str,
    keys.SHARE: int | float,
    keys.OTHER_NUMBER: int | float,
    keys.SWITCH: bool,
    keys.CHOICE: str,
    keys.RANGE: int | float | list,
    keys.LIST: list,
    keys.MAPPING: dict,
}


def test_the_yamls_values_are_as_the_table_says():
    for key, values in plain_keys().items():
        row = KEYS[key]
        for value in (value for value in values if value is not None):
            assert isinstance(value, TYPES[row.kind]), key
            assert isinstance(value, bool) == (row.kind == keys.SWITCH), key
            assert row.low is None or row.low <= value, key
            assert row.high is None or value <= row.high, key
            assert not row.choices or value in row.choices, key


def test_choices_are_those_that_the_code_knows():
    assert KEYS["audio_backend"].choices == decoding.BACKENDS
    assert KEYS["mono"].choices == loading.MIXES
    assert KEYS["window_pooling"].choices == windows.POOLINGS
    assert KEYS["pooling_mode"].choices == heads.POOLING_MODES
    assert set(KEYS["optimizer_name"].choices) == set(optimizers.OPTIMIZERS)


#: What variants mean to have otherwise.
INTENDED = {
    "train_statistics.yaml": {
        *("compute_features", "embedding_model", "classifier", "modules"),
        *("number_of_epochs", "epoch_counter", "lr_scheduler", "opt_class"),
    },
    "train_fbank.yaml": {
        *("freqm", "timem", "n_mels", "compute_features"),
        *("embedding_model", "modules"),
    },
    "train_original.yaml": {
        *("mono", "audio", "train_crop", "eval_crop"),
        *("augment", "mixup_equal_level", "mix"),
        *("white_noise", "n_mels", "compute_features", "embedding_model", "modules"),
        *("scheduler", "lr_scheduler", "max_grad_norm", "max_duration", "windows"),
        *("bucket_batches", "train_batches"),  # clips of one length
    },
}
INTENDED["train_ssl.yaml"] = {
    *("compute_features", "embedding_model", "classifier", "modules", "encoder_lr"),
}
INTENDED["train_features.yaml"] = INTENDED["train_statistics.yaml"] | {
    *("audit", "acoustic_baseline", "evaluation"),
}
NORMALISED_OTHERWISE = {"mean_var_norm", "checkpointer", "spectrogram_mask"}


@pytest.mark.parametrize("path", TRAIN[1:], ids=by_name)
def test_common_keys_have_the_same_defaults(path):
    first, other = (plain_values(file) for file in (TRAIN[0], path))
    different = {key for key in first.keys() & other.keys() if first[key] != other[key]}
    # objects may differ where what they are made of is meant to differ
    unmeant = different - INTENDED[path.name] - NORMALISED_OTHERWISE
    assert sorted(unmeant) == []


#: Keys of variants that have the value of train.yaml and another meaning.
OTHER_MEANING = {"clip_length", "n_fft"}


@pytest.mark.parametrize("path", TRAIN[1:], ids=by_name)
def test_a_variant_says_only_what_differs(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 100
    own = {key.value: str(value.tag) for key, value in YAML().compose(text).value}
    assert own.pop("base")
    base = path.with_name(base_of(text))
    assert base in TRAIN
    first, other = (plain_values(file) for file in (base, path))
    removed = {key for key, tag in own.items() if tag == "!remove"}
    assert removed == first.keys() - other.keys()
    # an object may be another of the same arguments
    objects = {key for key, tag in own.items() if tag.startswith(("!new:", "!apply:"))}
    same = {key for key in own.keys() & first.keys() if first[key] == other.get(key)}
    assert same - objects <= OTHER_MEANING


@pytest.mark.parametrize("path", TRAIN, ids=by_name)
def test_a_saved_yaml_is_whole_and_stock_hyperpyyaml_reads_it(path, tmp_path):
    small = {key: value for key, value in SMALL.items() if key in top_level_keys(path)}
    overrides = {**small, "output_folder": str(tmp_path)}
    save_hparams(path, overrides, tmp_path)
    saved = tmp_path / "hyperparams.yaml"
    assert saved_values(saved) == plain_values(path, overrides)
    with saved.open(encoding="utf-8") as stream:
        stock = load_hyperpyyaml(stream)
    ours = load_hparams(path, overrides)
    assert "base" not in stock and list(stock) == list(ours)
    for name, module in ours["modules"].items():
        again = stock["modules"][name]
        assert type(again) is type(module)
        shapes = {key: value.shape for key, value in module.state_dict().items()}
        assert shapes == {key: value.shape for key, value in again.state_dict().items()}


# Constructing


def constructed(path, folder):
    """The objects of a training yaml, small."""
    keys = top_level_keys(path)
    small = {key: value for key, value in SMALL.items() if key in keys}
    return load_hparams(path, {**small, "output_folder": str(folder), "seed": 7})


@pytest.fixture(params=TRAIN, ids=by_name)
def hparams(request, tmp_path):
    return constructed(request.param, tmp_path)


@pytest.fixture(params=NETWORKS, ids=by_name)
def network(request, tmp_path):
    return constructed(request.param, tmp_path)


def test_a_training_yaml_constructs(hparams, tmp_path):
    assert hparams["checkpointer"].checkpoints_dir == tmp_path / "save"
    assert list(hparams["modules"]) == [
        "compute_features",
        "mean_var_norm",
        "embedding_model",
        "shared_dense",
        "classifier",
    ]


def test_seeds_reach_everything_that_draws(hparams):
    assert torch.initial_seed() == 7
    for key in ("augment", "mix", "spectrogram_mask", "spectrogram_noise"):
        assert hparams[key].seed == 7


def test_what_has_weights_is_in_the_checkpoint(hparams):
    saved = hparams["checkpointer"].recoverables
    for name, module in hparams["modules"].items():
        if list(module.parameters()) or isinstance(module, InputNormalization):
            assert saved[name] is module


def test_a_waveform_becomes_logits(network):
    modules = {name: module.eval() for name, module in network["modules"].items()}
    assert len(modules["classifier"].heads) == 2
    with torch.no_grad():
        features, lengths = heads.compute_features(
            modules, torch.randn(2, 8000), torch.tensor([1.0, 0.6])
        )
        logits = heads.classify(modules, features, lengths).logits
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


def test_an_optimizer_and_a_schedule_can_be_made(network):
    parameters = list(network["classifier"].parameters())
    optimizer = network["opt_class"](parameters)
    assert optimizer.param_groups[0]["lr"] == network["lr"]
    assert network["lr_scheduler"](optimizer, 5) is None or (
        network["scheduler"] == "onecycle"
    )
