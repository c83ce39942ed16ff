"""Where a pretrained encoder comes from, and what of it is trained.

A source is a folder, or a model of a hub where there is a network.

Nothing here loads a model: a wrong source is told before the corpus is read.
"""

import json
from pathlib import Path

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

#: Values of `ssl_trainable` beside a number of layers, and of `ssl_pooling`.
NONE, ALL = "none", "all"
MEAN, ATTENTIVE = "mean", "attentive"


def is_tuned(ssl_trainable: int | str | None, lora_rank: int | None) -> bool:
    """Whether training changes an encoder, be it some layers or by adapters.

    >>> is_tuned("none", 0), is_tuned(2, 0), is_tuned("none", 4)
    (False, True, True)
    """
    return ssl_trainable not in (NONE, None, 0) or bool(lora_rank)


def check_source(values: dict):
    """Refuse an encoder that can't be used, or not with these settings.

    values: Plain values of a training yaml with `ssl_source`.

    Raises UserError.
    """
    source, window_s = values["ssl_source"], values["ssl_window"]
    _check_training(values)
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
    if not isinstance(n_layers, int):
        raise UserError(
            f"ssl_source {source}: {CONFIG} has no {key}, the number of layers: "
            "expected what save_pretrained of transformers writes."
        )
    if layer is not None and layer > n_layers:
        raise UserError(
            f"ssl_layer is {layer}, and {source} has {n_layers} layers: give 0 (what "
            f"enters the first one) to {n_layers}, or null."
        )
    n_read = n_layers if layer is None else layer
    trainable, rank = values.get("ssl_trainable", NONE), values.get("lora_rank")
    if isinstance(trainable, int) and trainable > n_read:
        raise UserError(
            f"ssl_trainable is {trainable}, and {n_read} layers of {source} are read: "
            f"give up to {n_read}, {NONE} or {ALL}."
        )
    if not n_read and rank:
        raise UserError("lora_rank adapts layers, and ssl_layer 0 reads none.")


def _check_training(values):
    """Refuse values of the keys that say what is trained, of any encoder."""
    trainable, rank = values.get("ssl_trainable", NONE), values.get("lora_rank")
    is_number = isinstance(trainable, int) and not isinstance(trainable, bool)
    problems = []
    if trainable not in (NONE, ALL) and not (is_number and trainable >= 0):
        problems.append(
            f"ssl_trainable must be {NONE}, a number of layers or {ALL}, found "
            f"{trainable!r}"
        )
    elif rank and trainable not in (NONE, 0):
        problems.append(
            f"lora_rank {rank} trains adapters and no layer, and ssl_trainable "
            f"{trainable} layers: leave one of them out"
        )
    elif is_tuned(trainable, rank):
        masks = [key for key in ("freqm", "timem", "noise") if values.get(key)]
        if masks:
            problems.append(
                f"{', '.join(masks)}: of spectrograms, and this encoder reads waveforms"
            )
    else:
        problems += [
            f"{key} {values[key]} is learned by gradients: give ssl_trainable or "
            "lora_rank, too"
            for key, default in (("ssl_pooling", MEAN), ("shared_dense", False))
            if values.get(key, default) != default
        ]
    if values.get("pretrained"):
        problems.append("pretrained is for ECAPA-TDNN: leave it out beside ssl_source")
    if problems:
        raise UserError("These settings can't be:", problems)


def source_folder(source: str | None) -> Path:
    """The folder of a source, fetched from the hub if there is none and it may be.

    Raises UserError: if there is no such model, or no way to it.
    """
    # what no exported model has, nor needs
    from local.storage.addresses import local_path
    from local.storage.hub import hub_folder, is_hub_id

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
    """What a model card says of an encoder, beside what it says of its heads.

    settings: Plain settings of the yaml.

    Returns: By part of the card, {name: text}.

    >>> settings = {"ssl_source": "a/wavlm", "ssl_window": 5.0, "ssl_layer": None}
    >>> described(settings)["architecture"]["Embedding"]
    'the mean of all layers, standardised'
    """
    layer, window_s = settings["ssl_layer"], settings["ssl_window"]
    trainable, rank = settings.get("ssl_trainable"), settings.get("lora_rank")
    start = origin(settings)
    pieces = f"which is read in parts of {window_s:g} s at most"
    if not is_tuned(trainable, rank):
        layers = "the mean of all layers" if layer is None else f"layer {layer}"
        return {
            "architecture": {
                "Network": f"{start}, which no training changes",
                "Embedding": f"{layers}, standardised",
            },
            "preprocessing": {
                "Features": "hidden states of each layer, their mean over the "
                f"recording, {pieces}",
            },
            "predictors": {"": "the whole recording"},
        }
    layers = "all layers with learned weights" if layer is None else f"layer {layer}"
    pooling = {MEAN: "mean", ATTENTIVE: "attentive statistics"}[settings["ssl_pooling"]]
    trained = f"its last {trainable} of the layers that are read"
    if rank:
        trained = f"low-rank adapters (LoRA, rank {rank}) of its feed-forward layers"
    return {
        "architecture": {
            "Network": start,
            "Trained of it": "all of it" if trainable == ALL else trained,
            "Embedding": f"{layers}, {pooling} over the recording, and a linear layer: "
            f"{settings['lin_neurons']} numbers per recording",
        },
        "preprocessing": {
            "Features": f"none: the encoder reads the waveform, {pieces}",
            "Normalisation": "as the encoder's own",
        },
    }


def origin(values: dict) -> str:
    """What an encoder started from, without where that lay.

    values: Plain values of the yaml.

    >>> numbers = {"architecture": "wavlm", "trained": 1000, "frozen": 9}
    >>> origin({"ssl_source": "/home/a/base", "ssl_encoder": numbers})
    'the pretrained encoder base (wavlm; weights: 1,000 trained, 9 frozen)'
    """
    numbers = values.get("ssl_encoder")
    told = numbers and (
        f" ({numbers['architecture']}; weights: {numbers['trained']:,} trained, "
        f"{numbers['frozen']:,} frozen)"
    )
    return f"the pretrained encoder {Path(values['ssl_source']).name}{told or ''}"
