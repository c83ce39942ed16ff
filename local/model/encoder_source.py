"""Where a pretrained encoder comes from: a folder, or a hub where there is a network.

Nothing here loads a model: a wrong source is told before the corpus is read.
"""

import json
from pathlib import Path

from local.storage.addresses import local_path
from local.storage.hub import hub_folder, is_hub_id
from local.utils.errors import UserError

#: Architectures that can be used, as config.json calls them.
KINDS = ("wav2vec2", "hubert", "wavlm", "whisper")

#: Files of a source that say what it is.
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"

#: Files that may hold weights.
WEIGHTS = ("*.safetensors", "*.bin")

#: Rate of all these encoders, in Hz.
USUAL_RATE = 16000

#: Longest input of Whisper, in s.
WHISPER_S = 30.0


def check_source(values: dict):
    """Refuse an encoder that can't be used, or not with these settings.

    values: Plain values of a training yaml with `ssl_source`.

    Raises UserError.
    """
    source, window_s = values["ssl_source"], values["ssl_window"]
    folder = source_folder(source)
    config = _read(folder / CONFIG, source)
    kind = config.get("model_type")
    if kind not in KINDS:
        raise UserError(
            f"ssl_source {source} is a model of the architecture {kind!r}: expected "
            f"one of {', '.join(KINDS)}."
        )
    rate = _read(folder / PREPROCESSOR, source).get("sampling_rate", USUAL_RATE)
    if values["sample_rate"] != rate:
        raise UserError(
            f"The encoder {source} reads {rate} Hz, and sample_rate is "
            f"{values['sample_rate']}: give --sample_rate={rate}, to which recordings "
            "are resampled."
        )
    if kind == "whisper" and window_s > WHISPER_S:
        raise UserError(
            f"ssl_window is {window_s:g} s, and Whisper reads {WHISPER_S:g} s at most."
        )
    key = "encoder_layers" if kind == "whisper" else "num_hidden_layers"
    layer, n_layers = values.get("ssl_layer"), config.get(key)
    if layer is not None and layer > n_layers:
        raise UserError(
            f"ssl_layer is {layer}, and {source} has {n_layers} layers: give 0 (what "
            f"enters the first one) to {n_layers}, or null."
        )


def source_folder(source: str | None) -> Path:
    """The folder of a source, fetched from the hub if there is none and it may be.

    Raises UserError: if there is no such model, or no way to it.
    """
    folder = local_path(source, "ssl_source")
    if is_hub_id(source):
        folder = hub_folder(source, "ssl_source", ("*.json", *WEIGHTS))
    absent = [name for name in (CONFIG, PREPROCESSOR) if not (folder / name).is_file()]
    if not any(list(folder.glob(pattern)) for pattern in WEIGHTS):
        absent.append(f"weights ({', '.join(WEIGHTS)})")
    if absent:
        raise UserError(
            f"ssl_source {source} is no folder of a pretrained encoder: expected what "
            "save_pretrained of transformers writes for model and feature extractor. "
            f"Missing: {', '.join(absent)}."
        )
    return folder


def _read(file, source):
    """What a file of the source says, dict."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(said, dict):
            return said
        reason = "it is no object"
    except (OSError, ValueError) as error:
        reason = error
    raise UserError(
        f"ssl_source {source}: {file.name} can't be read ({reason}): expected what "
        "save_pretrained of transformers writes."
    )


def described(settings: dict) -> dict[str, dict[str, str]]:
    """What a model card says of a frozen encoder, beside what it says of its heads.

    settings: Plain values of the yaml.

    Returns: By part of the card, {name: text}.

    >>> settings = {"ssl_source": "a/wavlm", "ssl_window": 5.0, "ssl_layer": None}
    >>> described(settings)["architecture"]["Embedding"]
    'the mean of all layers, standardised'
    """
    layer, window_s = settings["ssl_layer"], settings["ssl_window"]
    layers = "the mean of all layers" if layer is None else f"layer {layer}"
    name = Path(settings["ssl_source"]).name  # where it lay is nobody's concern
    return {
        "architecture": {
            "Network": f"the pretrained encoder {name}, which no training changes",
            "Embedding": f"{layers}, standardised",
        },
        "preprocessing": {
            "Features": "hidden states of each layer, their mean over the recording, "
            f"which is read in parts of {window_s:g} s at most",
        },
        "predictors": {"": "the whole recording"},
    }
