"""What the settings of an experiment say of its model, in words.

Every function takes the plain values of a training yaml and returns {name: text}; a
text is None where the settings say nothing of it.
"""

from pathlib import Path

from local.data.labels import LabelType
from local.model import encoder_source, kernel_heads
from local.model.encoder_source import is_tuned
from local.utils.number_format import counted, listed

#: Transforms of the yaml: key of the share, what is done, key of the range, its unit.
TRANSFORMS = (
    (
        "speed",
        "speed, pitch and formants changed together",
        "speed_range",
        "times as fast",
    ),
    ("stretch", "speed changed, pitch kept", "stretch_range", "times as fast"),
    ("pshift", "pitch and formants shifted", "pshiftn", "semitones"),
    ("tshift", "shifted in time", "tshift_range", "s"),
    ("reverb", "reverberation of rooms added", None, ""),
    ("background", "background noise added", "background_snr", "dB SNR"),
    ("gauss", "white noise added", "gauss_snr", "dB SNR"),
    ("gain", "level changed", "gain_range", "dB"),
    ("codec", "coded as by a telephone, MP3 or Opus", None, ""),
    ("drop_freq", "narrow bands filtered out", None, ""),
    ("drop_chunk", "short stretches silenced", None, ""),
    ("silence", "silence added at the ends", "silence_range", "s"),
    ("mixup", "two recordings and their labels mixed into one", None, ""),
)

SELECTION = {
    "loss": "the epoch with the lowest loss on validation",
    "macro_auroc": "the epoch with the highest mean AUROC on validation",
}
LOSSES = {
    "bce": "binary cross-entropy, squared error for labels that are scores",
    "mse": "squared error",
}
WHOLE = "whole recordings"
WEIGHTED = (
    "positives weighted by negatives per positive of each label; the weight is taken "
    "out of the probabilities again"
)
CALIBRATIONS = {
    "none": "none",
    "temperature": "temperature scaling, fitted on validation",
    "platt": "Platt scaling, fitted on validation",
}


def _own(settings, part):
    """What a model that is no network says of itself; nothing of a network."""
    tuned = is_tuned(settings.get("ssl_trainable"), settings.get("lora_rank"))
    if tuned or "kernel" not in settings:  # of heads that are fitted in one go
        return {}
    own = kernel_heads.described(settings["kernel"])[part]
    return own | _encoder(settings, part)


def _encoder(settings, part):
    """What is to be said of a pretrained speech encoder."""
    if not settings.get("ssl_source"):
        return {}
    return encoder_source.described(settings).get(part, {})


def predictors(settings):
    """What the model reads."""
    return _own(settings, "predictors").get("", "the whole recording")


def _of(settings, text, *keys):
    """A text with the values of some keys in it; None if one is not there."""
    values = [settings.get(key) for key in keys]
    return None if None in values else text.format(*map(_value, values))


def _value(value):
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _switched(settings, key, on, off):
    """One of two texts, the first with the value; None if the switch is not there."""
    value = settings.get(key)
    return None if value is None else on.format(_value(value)) if value else off


def architecture(settings):
    """What the network is and how large.

    >>> architecture({"lin_neurons": 192})["Embedding"]
    '192 numbers per recording'
    """
    if own := _own(settings, "architecture"):
        return own
    network = (
        "ECAPA-TDNN (Desplanques and others, Interspeech 2020): blocks of {} channels, "
        "kernels of {} and dilations of {} frames, attentive statistics pooling of {}"
    )
    keys = ("channels", "kernel_sizes", "dilations", "attention_channels")
    heads = "one per group of labels, with a hidden layer of {} units ({}), dropout {}"
    dense = f"{settings.get('sd_bottleneck')} units with ReLU"
    return {
        "Network": _of(settings, network, *keys),
        "Embedding": _of(settings, "{} numbers per recording", "lin_neurons"),
        "Dense layer shared by all heads": _switched(
            settings, "shared_dense", dense, "none"
        ),
        "Classifier heads": _of(
            settings, heads, "clf_bottleneck", "activation", "final_dropout"
        ),
        "Weights at the start": f"the encoder's: {start}; all others: random"
        if (start := starts_from(settings))
        else "random; no pretrained weights are loaded",
    } | _encoder(settings, "architecture")


def starts_from(settings):
    """What the encoder was before the training; None: random.

    >>> settings = {"pretrained": "/home/ann/ecapa", "pretrained_digest": "0" * 64}
    >>> starts_from(settings)
    'those of ecapa (SHA-256 000000000000…)'
    """
    if settings.get("ssl_source"):
        return encoder_source.origin(settings)
    if not settings.get("pretrained"):
        return None
    name, digest = Path(settings["pretrained"]).name, settings.get("pretrained_digest")
    return f"those of {name} (SHA-256 {str(digest)[:12]}…)"


def preprocessing(settings):
    """What is done to a recording before the network sees it."""
    return {
        "Sample rate": _switched(
            settings,
            "sample_rate",
            "{} Hz; others are resampled",
            "that of the recordings, which all have the same",
        ),
        "Channels": _of(settings, "one, the {} of those there are", "mono"),
        "Shortest recording": _of(
            settings, "{} s; shorter ones are not used", "min_duration"
        ),
        "Length in training": _switched(
            settings, "clip_length", "at most {} s of each recording", WHOLE
        ),
        "Length in evaluation": None
        if "eval_crop" not in settings
        else "as in training"
        if settings["eval_crop"]
        else WHOLE,
        "Features": _features(settings),
        "Normalisation": _normalisation(settings),
    } | (_own(settings, "preprocessing") or _encoder(settings, "preprocessing"))


def _features(settings):
    if settings.get("fbank") is False:  # only the original project's front end has it
        return _of(settings, "{} MFCC", "n_mfcc")
    return _of(settings, "log energies of {} mel channels", "n_mels")


def _normalisation(settings):
    if settings.get("dataset_mean") is not None:
        text = "mean {} taken off, divided by twice {}"
        return _of(settings, text, "dataset_mean", "dataset_std")
    return "each recording by its own mean" if settings else None


def augmentation(settings) -> list[str] | None:
    """What is changed at random in training; what is off is not told.

    Returns: None where nothing is known.

    >>> augmentation({"gain": 0.5, "gain_range": [-12.0, 12.0], "codec": 0.0})
    ['level changed (-12 to 12 dB), in 50 % of the recordings']
    """
    if not settings:
        return None
    if _own(settings, "optimisation"):  # recordings are read once, as they are
        return []
    result = [
        f"{what}{_bounds(settings.get(range_key), unit)}, in {100 * share:g} % of the "
        "recordings"
        for key, what, range_key, unit in TRANSFORMS
        if (share := settings.get(key))
    ]
    for key, what in (("freqm", "mel channels"), ("timem", "frames")):
        if settings.get(key):
            result.append(f"up to {settings[key]} {what} of the features hidden")
    if settings.get("noise"):
        result.append("noise added to the features, and a shift in time")
    return result


def _bounds(bounds, unit):
    """The range of a transform in brackets: two numbers, or one that it always is."""
    if bounds is None:
        return ""
    both = bounds if isinstance(bounds, list) else [bounds]
    return f" ({' to '.join(map(_value, both))} {unit})"


def optimisation(settings: dict, has_validation: bool):
    """How the weights were found, and which of them were kept.

    has_validation: Whether there was a validation split.
    """
    seed = _of(settings, "{}", "seed")
    balance = _switched(settings, "positive_weight", WEIGHTED, "none")
    if own := _own(settings, "optimisation"):
        return {"Balance of classes": balance, **own, "Seed": seed}
    peak = _of(settings, "{} at the peak of a one-cycle schedule", "max_lr")
    rate = _of(settings, "{}", "lr")
    one_cycle = settings.get("scheduler") == "onecycle"
    if encoder := _of(settings, "; {} for the encoder", "encoder_lr"):
        peak, rate = f"{peak}{encoder}", f"{rate}{encoder}"
    chosen = SELECTION.get(settings.get("best_checkpoint"))
    last = "the last epoch, as there is no validation split"
    stop = _of(
        settings,
        "at most {}; training stops after {} without improvement",
        "number_of_epochs",
        "patience",
    )
    return {
        "Loss": LOSSES.get(settings.get("loss")),
        "Balance of classes": balance,
        "Optimiser": _of(
            settings, "{}, weight decay {}", "optimizer_name", "weight_decay"
        ),
        "Learning rate": peak if one_cycle else rate,
        "Batch": _of(settings, "{} recordings", "batch_size"),
        "Epochs": stop,
        "Largest norm of gradients": _switched(
            settings, "max_grad_norm", "{}", "no limit"
        ),
        "Seed": seed,
        "Weights that were kept": chosen if has_validation or not settings else last,
    }


def calibration(settings):
    """How probabilities were calibrated; None where that is not known."""
    return CALIBRATIONS.get(settings.get("calibration"))


def label_definition(
    label: str, label_type: LabelType, settings: dict, n_raters: int
) -> str:
    """What a label's value means, as far as the settings say it.

    n_raters: With columns of their own; 0 where there are none.

    >>> from local.data.labels import LabelType
    >>> ordinal = LabelType("ordinal", (0.0, 4.0), 2.0)
    >>> label_definition("strained", ordinal, {"loss": "bce"}, 0)
    'scale from 0 to 4, positive from 2'
    >>> label_definition("slow", LabelType(), {}, 3)
    '0 or 1, by the majority of 3 raters (a tie is not rated)'
    """
    # of predictions from elsewhere the range is only that of their numbers
    text = label_type.definition(has_known_range=bool(settings))
    if n_raters:
        how = "mean" if label_type.is_score else "majority"
        text += f", by the {how} of {counted(n_raters, 'rater')}"
        text += "" if label_type.is_score else " (a tie is not rated)"
    if sources := (settings.get("derived_labels") or {}).get(label):
        text += (
            f"; 1 if any of these is above 0: {listed(sources)}, unless given itself"
        )
    return text
