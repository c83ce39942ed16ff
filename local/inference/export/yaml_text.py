"""hyperparams.yaml of an exported model: what SpeechBrain builds it from."""

import io
import json
import textwrap
from pathlib import Path

import ruamel.yaml
import torch

from local.inference.export.package import OWN, exported_name
from local.utils.errors import UserError
from local.utils.yaml_files import resolved_yaml

#: Modules whose entries are taken over from the training yaml.
MODULES = ("compute_features", "mean_var_norm", "embedding_model")

#: What objects of a yaml may be of where this recipe is not: stock classes.
STOCK = ("speechbrain.", "torch.", "torchaudio.")

#: SpeechBrain's own class for one of this recipe that computes the same with less.
STOCK_FOR = {
    "local.model.ecapa.ECAPA_TDNN": "speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN"
}

#: What names where a pretrained encoder lay, which is in the files of weights.
SOURCE = "ssl_source"

#: Tags that name something to import.
IMPORTING = ("!new:", "!name:", "!apply:")

#: The heads, in the exported yaml: of stock layers, or those that were fitted at once.
STACK = """\
# All heads side by side: [batch, 1, size] → [batch, 1, label]
classifier: !new:torch.nn.Sequential
{layers}"""
KERNEL_HEADS = """\
classifier: !new:clinical_speech.model.kernel_heads.KernelHeads
    label_groups: !ref <label_groups>
    label_ranges: !ref <label_ranges>"""

TEMPLATE = """\
# A model for clinical speech, exported from {origin}.
# How to use it: README.md. What it is and is not for: model_card.md.

# ---- What goes in ----------------------------------------------------------------
sample_rate: {sample_rate}   # Hz
audio_backend: {audio_backend}
mono: {mono}           # of several channels, the mean or the sum
min_duration: {min_duration}    # s; shorter recordings can't be used
max_duration: {max_duration}    # s; custom.py cuts longer ones into windows; 0: never
window_overlap: {window_overlap} # s
window_pooling: {window_pooling}
{eval_crop}
audio_normalizer: !new:speechbrain.dataio.preprocess.AudioNormalizer
    sample_rate: {sample_rate}

# ---- What comes out --------------------------------------------------------------
# The labels of each head, in the order of the logits.
label_groups:
    {label_groups}
label_ranges: {label_ranges}   # lowest and highest value of labels that are scores
positive_weights: {positive_weights}   # that positives had in the loss
operating_points:    # thresholds and calibration, fitted on validation
    {operating_points}
# Labels that can be told without the speech, by the confound audit of the training, and
# the reasons; null: there was no audit.
flagged:
    {flagged}
# What the training recordings were like, in summary; null: that is not known.
training_range: {training_range}
shared_dense: {shared_dense}
pooling_mode: {pooling_mode}   # of ft embeddings, over the heads
# For EncoderClassifier.classify_batch, which names the largest logit: where several
# labels may hold at once, that is not what the model says. custom.py tells that.
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder

# ---- The model -------------------------------------------------------------------
{modules}
{classifier}
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    classifier: !ref <classifier>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
{loadables}
"""


class ModelNodes:
    """The entries of a training yaml that an exported model is built from.

    hparams_file: hyperparams.yaml of an experiment.
    is_stock: Whether SpeechBrain's own classes, and torch's, suffice.

    Raises UserError: if they need something that is neither stock nor of this recipe.
    """

    def __init__(self, hparams_file: Path):
        yaml = ruamel.yaml.YAML(typ="safe", pure=True)
        root = yaml.compose(io.StringIO(resolved_yaml(hparams_file)))
        top = {key.value: node for key, node in root.value}
        modules = {key.value: node for key, node in top["modules"].value}
        self._nodes = {name: modules[name] for name in MODULES}
        self._nodes["eval_crop"] = top["eval_crop"]
        self.is_stock = True
        for node in self._nodes.values():
            self._move(node)

    def text(self, name):
        """One entry as it stands in the exported yaml."""
        key = ruamel.yaml.ScalarNode("tag:yaml.org,2002:str", name)
        node = ruamel.yaml.MappingNode(
            "tag:yaml.org,2002:map", [(key, self._nodes[name])]
        )
        stream = io.StringIO()
        yaml = ruamel.yaml.YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.serialize(node, stream)
        return stream.getvalue().rstrip()

    def _move(self, node):
        """Let a node and all below it name what is there after the export."""
        node.anchor = None
        tag = str(node.tag or "")
        prefix = next((p for p in IMPORTING if tag.startswith(p)), None)
        if prefix:
            path = tag.removeprefix(prefix)
            path = STOCK_FOR.get(path, path)
            node.tag = prefix + path
            if path.startswith(f"{OWN}."):
                self.is_stock = False
                node.tag = prefix + exported_name(path)
            elif not path.startswith(STOCK):
                raise UserError(
                    f"The experiment's yaml builds {path}, which can't be exported: "
                    f"expected a class of {', '.join(STOCK)} or {OWN}. Move it into "
                    "local/model/front_end.py, name it so in the yaml, and train again."
                )
        if isinstance(node, ruamel.yaml.MappingNode):
            for key, value in node.value:  # where it lay is nobody's concern
                if key.value == SOURCE:
                    value.tag, value.value = "tag:yaml.org,2002:null", "null"
            children = [value for _, value in node.value]
        else:
            children = node.value if isinstance(node.value, list) else []
        for child in children:
            self._move(child)


def yaml_text(
    nodes: ModelNodes,
    hparams: dict,
    classifier: str,
    loadables: list[str],
    origin: str,
) -> str:
    """Text of the exported hyperparams.yaml.

    hparams: Of the experiment, with `operating_points`, `flagged` and
        `training_range`.
    classifier: Its entry, as `stack_text` gives it, or `KERNEL_HEADS`.
    loadables: Keys of what has a file of weights.
    origin: Where it comes from.
    """
    plain = (
        *("sample_rate", "audio_backend", "mono", "min_duration", "max_duration"),
        *("window_overlap", "window_pooling", "label_ranges"),
        *("positive_weights", "training_range", "shared_dense", "pooling_mode"),
    )
    named = ("label_groups", "operating_points", "flagged")
    return TEMPLATE.format(
        **{key: _json(hparams[key]) for key in plain},
        origin=origin,
        **{key: _block(hparams[key]) for key in named},
        eval_crop=nodes.text("eval_crop"),
        modules="\n".join(nodes.text(name) for name in MODULES),
        classifier=classifier,
        loadables="\n".join(f"        {key}: !ref <{key}>" for key in loadables),
    )


def stack_text(layers: list[tuple[torch.nn.Module, dict]]) -> str:
    """The entry of heads that are layers of torch.nn."""
    return STACK.format(layers="\n".join(_layer_text(*layer) for layer in layers))


def _layer_text(layer, arguments):
    lines = [f"    - !new:torch.nn.{type(layer).__name__}"]
    lines += [f"      {key}: {_json(value)}" for key, value in arguments.items()]
    return "\n".join(lines)


def _json(value):
    """JSON is yaml, with all text in quotes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _block(value):
    """What names labels, indented, without braces.

    hyperpyyaml writes a yaml anew before it reads it, and in braces not all names are
    then in the quotes that they need, as one that begins with a colon.
    """
    stream = io.StringIO()
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False
    yaml.dump(value, stream)
    text = stream.getvalue().removesuffix("...\n")  # it ends a value that stands alone
    return textwrap.indent(text, "    ").strip()
