"""Whether an experiment's hyperparams.yaml may be opened: it can name any Python.

A hyperpyyaml file may have any function called, and experiments are passed on. One is
opened only if it holds nothing but plain values, references, and the classes and
functions listed here. Its text is looked through as both parsers understand it that
read it later (ruamel.yaml resolves references, PyYAML constructs); nothing is imported
or constructed before.
"""

import io
import pydoc
import re
from pathlib import Path

import ruamel.yaml
import yaml
from hyperpyyaml import resolve_references

from local.utils.errors import UserError
from local.utils.yaml_files import base_of, small_text

#: Classes that may be constructed (`!new:`).
CLASSES = frozenset(
    {
        "local.audio.loading.AudioFormat",
        "local.training.checkpoints.AtomicCheckpointer",
        "local.training.checkpoints.EarlyStopping",
        "local.training.checkpoints.RandomState",
        "local.training.evaluation_settings.EvaluationSettings",
        "local.training.loggers.Loggers",
        "local.training.train_log.JsonTrainLogger",
        "local.data.dataset.RandomCrop",
        "local.data.loaders.ScoreBatches",
        "local.data.loaders.TrainBatches",
        "local.data.windows.LongRecordings",
        "local.model.ecapa.ECAPA_TDNN",
        "local.model.front_end.FeatureNormalization",
        "local.model.front_end.KaldiFbank",
        "local.model.given_features.GivenFeatures",
        "local.model.kernel_heads.KernelHeads",
        "local.model.kernel_heads.RobustStandardisation",
        "local.model.losses.MaskedLoss",
        "local.model.pretrained_encoder.LayerMeans",
        "local.model.pretrained_encoder.LayerStandardisation",
        "local.model.recording_statistics.RecordingStatistics",
        "local.augment.mixup.Mixup",
        "local.augment.waveform.WhiteNoise",
        "local.model.heads.ClassifierHeads",
        "local.model.heads.SharedDense",
        "local.model.legacy_front_end.OriginalClip",
        "local.model.legacy_front_end.OriginalFrontEnd",
        "local.augment.spectrogram.SpectrogramMask",
        "local.augment.spectrogram.SpectrogramNoise",
        "speechbrain.lobes.features.Fbank",
        "speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN",  # of earlier experiments
        "speechbrain.processing.features.InputNormalization",
    }
)

#: Functions that may be named (`!name:`), to be called later with what we give them.
FUNCTIONS = frozenset(
    {
        "local.training.optimizers.build_optimizer",
        "local.training.optimizers.build_scheduler",
    }
)

#: Functions that may be called (`!apply:`), with plain arguments.
CALLED = frozenset(
    {
        "local.model.heads.head_input_size",
        "local.model.legacy_front_end.n_features",
        "local.model.tuned_encoder.classifier",
        "local.model.tuned_encoder.embedding_model",
        "local.model.tuned_encoder.front_end",
        "speechbrain.utils.seed.seed_everything",
    }
)

#: What makes a folder when it is constructed, and the key that we give another one.
ONLY_AT = {"local.training.checkpoints.AtomicCheckpointer": "checkpointer"}

ALLOWED = {"!new": CLASSES, "!name": FUNCTIONS, "!apply": CALLED}

#: What yaml itself makes of plain values.
PLAIN = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge", "value")
} | {"tag:yaml.org,2002:timestamp", "!tuple"}

#: What keys are.
TEXT = "tag:yaml.org,2002:str"

#: One key, as <a> or <a[b]>: text around it would be calculated with.
REFERENCE = re.compile(r"<[^<>]*>")

#: What hyperpyyaml takes for a tuple, and reads with a loader that obeys any tag.
TUPLE = re.compile(r"\s*\(.*\)\s*", re.DOTALL)

#: Values, each counted wherever an alias repeats it.
MAX_VALUES = 100_000


def check_trusted(path: Path, told_path: str, overrides: dict):
    """Refuse a hyperparams.yaml that may run what isn't listed here.

    path: The file.
    told_path: What it is a copy of, for messages.
    overrides: Of top-level keys, as for `yaml_files.load_hparams`; what is replaced by
        None is not looked at, as nobody ever constructs it.

    Raises UserError: naming all that is refused, or if it is no yaml or too large.
    """
    try:
        text = small_text(path)
        ignored = {key for key, value in overrides.items() if value is None}
        problems = _problems(text, ignored)
        for _ in range(2):  # our own loading resolves, and hyperpyyaml once more
            if not problems:
                text = resolve_references(io.StringIO(text), dict(overrides)).read()
                problems = _problems(text, ignored)
    except (
        OSError,
        RecursionError,
        ValueError,  # and what is not UTF-8
        KeyError,
        TypeError,
        AttributeError,
        yaml.YAMLError,
        ruamel.yaml.YAMLError,
    ) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{told_path} can't be read ({reason}): expected the hyperparams.yaml that "
            "train.py writes."
        ) from error
    if problems:
        raise UserError(
            f"{told_path} names what this recipe's own yamls don't, and could run any "
            "program here. If you made it, or trust who did as you would with a "
            "program of theirs, open it with --trust_experiment=True. Found:",
            problems,
        )


def _problems(text, ignored):
    """What is refused in a yaml's text, as either parser sees it."""
    problems = []
    if base := base_of(text):
        problems.append(f"base: {base}, another file")
    ruamel_parser = ruamel.yaml.YAML(typ="rt", pure=True)
    for compose in (ruamel_parser.compose, yaml.compose):
        node = compose(io.StringIO(text))
        if not hasattr(node, "value") or not str(node.tag).endswith(":map"):
            raise ValueError("it holds no keys")
        if _size(node, {}) > MAX_VALUES:
            return ["more values than any experiment has, by aliases of aliases"]
        if any(each.tag in ("!ref", "!copy") for each in _nodes(node)):
            problems += _calculated(node)
        seen = set()
        for key, value in node.value:
            if key.tag != TEXT:
                problems.append(f"{_line(key)}: the key {key.value} is no plain text")
            if key.value not in ignored:
                problems += _of_node(value, str(key.value), seen, is_top=True)
    return list(dict.fromkeys(problems))


def _children(node):
    if not isinstance(node.value, list):
        return []
    return [
        child
        for item in node.value
        for child in (item if isinstance(item, tuple) else (item,))
    ]


def _nodes(root):
    """All nodes, each once, aliases or not."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += _children(node)


def _calculated(root):
    """Yield texts that a reference would look into, and might calculate with."""
    for node in _nodes(root):
        is_text = isinstance(node.value, str) and node.tag not in ("!ref", "!copy")
        if is_text and "<" in node.value:
            yield f"{_line(node)}: {node.value[:80]!r}, in a file with references"


def _line(node):
    return f"line {node.start_mark.line + 1}"


def _size(node, sizes):
    """How many values a node holds, when all aliases are written out."""
    if id(node) in sizes:
        if sizes[id(node)] is None:
            raise ValueError("a value that contains itself")
        return sizes[id(node)]
    sizes[id(node)] = None
    sizes[id(node)] = 1 + sum(_size(child, sizes) for child in _children(node))
    return sizes[id(node)]


def _of_node(node, key: str, seen: set, is_plain: bool = False, is_top: bool = False):
    """Yield what is refused in a node below a top-level key.

    node: yaml.Node or ruamel.yaml.Node
    seen: Of what was looked at, as an alias repeats it.
    is_plain: Whether it is an argument of a function that is called, or a mapping's
        key.
    is_top: Whether it is the top-level key's value itself.
    """
    if (id(node), key, is_plain) in seen:
        return
    seen.add((id(node), key, is_plain))
    tag = str(node.tag)
    where = _line(node)
    kind, colon, name = tag.partition(":")
    if tag in PLAIN:
        is_tuple = tag == "!tuple" or TUPLE.fullmatch(str(node.value))
        if is_tuple and re.search(r"[!&*<]", str(node.value)):
            yield f"{where}: {node.value[:80]}, which would be more than a tuple"
    elif is_plain:
        yield f"{where}: {tag} where only a plain value may be"
    elif tag in ("!ref", "!copy"):
        if not REFERENCE.fullmatch(str(node.value).strip()):
            yield f"{where}: {tag} {node.value}, expected a single <key>"
    elif not colon or name not in ALLOWED.get(kind, ()):
        yield f"{where}: {tag}"
    elif name in ONLY_AT and not (is_top and ONLY_AT[name] == key):
        yield f"{where}: {tag} elsewhere than at {ONLY_AT[name]!r}"
    elif not _is_itself(name):
        yield f"{where}: {tag} is something else of that name"
    is_called = is_plain or kind == "!apply"
    for child in _children(node):
        yield from _of_node(child, key, seen, is_called)
    if isinstance(node.value, list):
        for name, _ in (item for item in node.value if isinstance(item, tuple)):
            yield from _of_node(name, key, seen, is_plain=True)


def _is_itself(name):
    """Whether a listed name leads to the object that calls itself so."""
    located = pydoc.locate(name)
    own = f"{getattr(located, '__module__', '')}.{getattr(located, '__qualname__', '')}"
    return own == name
