"""Settings of the yamls: the kind and range that every value must have."""

import math

from local.audio import decoding
from local.audio.loading import MIXES
from local.data.pooling import POOLINGS
from local.data.windows import check_windows
from local.model.heads import POOLING_MODES
from local.training.optimizers import OPTIMIZERS, SCHEDULERS
from local.training.selection import BEST_CHECKPOINTS
from local.utils.errors import UserError

#: Whole numbers and their lowest values; some yamls have only some of them.
WHOLE_FROM = {
    "sample_rate": 0,
    "n_mels": 1,
    "n_mfcc": 1,
    "n_fft": 1,
    "target_length": 0,
    "lin_neurons": 1,
    "attention_channels": 1,
    "sd_bottleneck": 1,
    "clf_bottleneck": 1,
    "freqm": 0,
    "timem": 0,
    "noise_roll": 0,
    "batch_size": 2,  # batch normalisation can't train on one recording
    "bucket_batches": 1,
    "eval_batch_size": 1,
    "eval_batch_frames": 1,
    "num_workers": 0,
    "number_of_epochs": 1,
    "patience": 0,
    "val_size": 0,
    "seed": 0,
    "measured_recordings": 0,
    "n_folds": 2,
    "n_repeats": 1,
}

#: Highest values, of what else would take all of a machine.
AT_MOST = {"num_workers": 256, "sample_rate": 768_000}

#: Other numbers and their lowest values.
NUMBER_FROM = {
    "clip_length": 0,
    "max_duration": 0,
    "window_overlap": 0,
    "min_duration": 0,
    "noise_level": 0,
    "lr": 0,
    "weight_decay": 0,
    "max_lr": 0,
    "max_grad_norm": 0,
}

#: Shares, 0 to 1: of the recordings that an augmentation changes, of activations.
PROBABILITIES = (
    "speed",
    "stretch",
    "pshift",
    "tshift",
    "reverb",
    "background",
    "gauss",
    "gain",
    "codec",
    "drop_freq",
    "drop_chunk",
    "silence",
    "mixup",
    "final_dropout",
)

#: Frames: ECAPA-TDNN's widest convolution reflects four of them at either end.
MIN_FRAMES = 5

#: Five frames, 10 ms apart with windows of 25 ms.
MIN_INPUT_S = 0.065

#: Hz; below it there is no speech.
LOWEST_RATE = 1000

#: Of probabilities; the last two are fitted on validation.
CALIBRATIONS = ("none", "temperature", "platt")

#: What computes embeddings.
BACKENDS = ("auto", "eager", "onnx")

#: Keys that take one of a few names.
CHOICES = {
    "on_bad_recording": ("stop", "skip"),
    "best_checkpoint": BEST_CHECKPOINTS,
    "optimizer_name": tuple(OPTIMIZERS),
    "scheduler": SCHEDULERS,
    "pooling_mode": POOLING_MODES,
    "audio_backend": decoding.BACKENDS,
    "mono": MIXES,
    "loss": ("bce", "mse"),
    "calibration": CALIBRATIONS,
    "window_pooling": POOLINGS,
    "backend": BACKENDS,
}


def check_values(values: dict, defaults: dict):
    """Check the kind of every value, and the keys that take one of a few names.

    values: Plain values of any of the yamls; null means that a key is not given.
    defaults: The yaml's own values, which show what kind is expected.

    Raises UserError: naming all that is wrong.
    """
    problems = [
        f"{key} must be {_kind(default)}, as {default!r}; found {values[key]!r}"
        for key, default in defaults.items()
        if default is not None and not _fits(values[key], default)
    ]
    problems += [
        f"{key} must be {' or '.join(known)}, found {values[key]!r}"
        for key, known in CHOICES.items()
        if values.get(key) is not None and values[key] not in known
    ]
    if problems:
        raise UserError("These settings can't be:", problems)


def _fits(value, default):
    """Whether a value is of its default's kind.

    A number may stand for a range, null for anything but True or False.
    """
    if value is None:
        return not isinstance(default, bool)
    return _kind(value) == _kind(default) or (
        _kind(value) == "a number" and _is_range(default)
    )


def _is_range(value):
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(_kind(bound) == "a number" for bound in value)
    )


def _kind(value):
    """What a yaml value is, in a user's words."""
    kinds = {bool: "True or False", list: "a list", dict: "a mapping", str: "a name"}
    return kinds.get(type(value), "a number")


def check_numbers(values: dict):
    """Check ranges; what training reads at its shortest must do for the model.

    values: Plain values of a training yaml.

    Raises UserError: naming all that is wrong.
    """
    problems = _out_of_range(values)
    problems += [
        f"{key} must lie in 0 to 1, found {values[key]!r}"
        for key in PROBABILITIES
        if values[key] is None or not 0 <= values[key] <= 1
    ]
    problems += [
        f"{key} must be a number, found {values[key]!r}"
        for key in ("dataset_mean", "dataset_std")
        if values.get(key) is not None and not _is_finite(values[key])
    ]
    problems += [
        f"{key} needs --{key}_folder=DIR, with audio files of any format"
        for key in ("reverb", "background")
        if values[key] and not values[f"{key}_folder"]
    ]
    if not problems:
        problems = _too_short(values)
    if problems:
        raise UserError("These settings can't be:", problems)
    check_windows(values)


def check_sensitivity(share: float | None):
    """Refuse a `threshold_sensitivity` that is no share, null for Youden's rule.

    Raises UserError.
    """
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    if share is not None and not (is_number and 0 < share <= 1):
        raise UserError(
            "threshold_sensitivity must be a share above 0 and at most 1, as 0.9, or "
            f"null for Youden's rule; found {share!r}."
        )


def check_later(values: dict):
    """Check what a later run may choose anew.

    values: Some keys of a training yaml, `max_duration` and `window_overlap` among
        them.

    Raises UserError: naming all that is wrong.
    """
    check_values(values, {})
    problems = _out_of_range(values)
    if problems:
        raise UserError("These settings can't be:", problems)
    check_windows(values)


def _out_of_range(values):
    """What is no number, too small, or no whole number; keys may be missing."""
    problems = []
    for key, lowest in {**WHOLE_FROM, **NUMBER_FROM}.items():
        value = values.get(key, lowest)
        if key == "eval_batch_size" and value is None:
            continue  # as many as the device is good for
        if not _is_finite(value) or value < lowest:
            problems.append(f"{key} must be {lowest} or more, found {value!r}")
        elif key in WHOLE_FROM and not isinstance(value, int):
            problems.append(f"{key} must be a whole number, found {value!r}")
        elif value > AT_MOST.get(key, value):
            problems.append(f"{key} must be {AT_MOST[key]} or less, found {value!r}")
    return problems


def _is_finite(value):
    return _kind(value) == "a number" and value is not None and math.isfinite(value)


def _too_short(values):
    """What would leave less than the model needs."""
    problems = []
    rate = values["sample_rate"]
    if rate and rate < LOWEST_RATE:
        problems.append(
            f"sample_rate must be {LOWEST_RATE} or more, or 0 for the recordings' own, "
            f"found {rate}"
        )
    shortest_s = min(values["min_duration"], values["clip_length"] or float("inf"))
    if shortest_s < MIN_INPUT_S:
        problems.append(
            f"the shortest input would be {shortest_s:g} s (min_duration, "
            f"clip_length), and the model needs {MIN_INPUT_S} s"
        )
    frames = "n_fft" if values.get("fbank") else "target_length"
    if 0 < values.get(frames, 0) < MIN_FRAMES:
        problems.append(
            f"{frames} is a number of frames, and the model needs {MIN_FRAMES}, found "
            f"{values[frames]}"
        )
    return problems


def check_window(values: dict):
    """Check the window of the front end against the rate.

    values: Plain values of a training yaml, `sample_rate` settled.

    Raises UserError.
    """
    rate = values["sample_rate"]
    if "n_fft" not in values or values.get("fbank"):
        return
    if "n_mfcc" not in values:  # SpeechBrain's, whose window is 25 ms
        window = math.ceil(0.025 * rate)
        if values["n_fft"] < window:
            raise UserError(
                f"n_fft must hold the window of 25 ms, {window} samples at {rate} Hz: "
                f"give --n_fft={2 ** math.ceil(math.log2(window))}, found "
                f"{values['n_fft']}."
            )
        return
    # hops of half a window, clips that are filled up
    shortest_s = values["clip_length"] or values["min_duration"]
    needed_s = (MIN_FRAMES - 1) * (values["n_fft"] // 2) / rate
    if values["n_fft"] < 2 or shortest_s < needed_s:
        raise UserError(
            f"n_fft {values['n_fft']} can't be: the model needs {MIN_FRAMES} frames, "
            f"half of n_fft apart, {needed_s:g} s, and the shortest input has "
            f"{shortest_s:g} s (clip_length, min_duration)."
        )
