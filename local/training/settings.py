"""Settings of the yamls: the kind and range that every value must have."""

import math
from collections.abc import Iterable
from pathlib import Path

from speechbrain.utils.run_opts import HELP_TEXTS

from local.audio.loading import AudioFormat
from local.data.windows import LongRecordings
from local.model.encoder_source import check_source
from local.training.evaluation_settings import EvaluationSettings
from local.training.loggers import check_loggers
from local.utils.errors import UserError
from local.utils.keys import (
    CHOICE,
    KEYS,
    LAYERS,
    LIST,
    MAPPING,
    NUMBER,
    OBJECT_OR_NULL,
    SHARE,
    SWITCH,
    TEXT,
    WHOLE,
    keys_where,
)
from local.utils.spelling import near
from local.utils.yaml_files import BASE, plain_values, unused_keys

#: Frames: ECAPA-TDNN's widest convolution reflects four of them at either end.
MIN_FRAMES = 5

#: Five frames, 10 ms apart with windows of 25 ms.
MIN_INPUT_S = 0.065


#: What values of a key are called in messages, by its kind; others are checked by
#: what uses them.
NAMES = {
    TEXT: "a name",
    **dict.fromkeys((WHOLE, NUMBER, SHARE), "a number"),
    **{kind: kind for kind in (SWITCH, LIST, MAPPING)},
}

#: Objects that training takes from the yaml, and the modules among them.
BUILT = (
    *("train_crop", "augment", "mix", "spectrogram_mask", "spectrogram_noise"),
    *("audio", "train_batches", "score_batches", "windows", "evaluation"),
    *("modules", "compute_loss", "epoch_counter", "train_logger", "checkpointer"),
)
MODULES = (
    *("compute_features", "mean_var_norm", "embedding_model", "shared_dense"),
    "classifier",
)

#: Keys that the code reads of a training yaml: it must have them all.
READ = (
    *(*keys_where(prepares=True), *keys_where(resume=True)),
    *(*keys_where(filled="data"), *keys_where(filled="place")),
    *("study", "positive_weight", "batch_size", "bucket_batches", "clip_length"),
    *("shared_dense", "pooling_mode", "best_checkpoint", "soft_targets"),
    *("pretrained", "encoder_lr", "freeze_epochs"),
    *("n_folds", "n_repeats", "leave_one_out"),
    *BUILT,
    *OBJECT_OR_NULL,
)


def check_training(values: dict, hparams_file: Path):
    """Check a training yaml and all its values under a command line's overrides.

    values: Plain values of the yaml.

    Raises UserError: naming all that is wrong.
    """
    check_values(values, plain_values(hparams_file))
    problems = [
        f"nothing reads the key {key}: {_meant(key, values)}take it away"
        for key in unused_keys(hparams_file, {*KEYS, *READ, *HELP_TEXTS})
    ]
    modules = values.get("modules") or {}
    missing = [key for key in dict.fromkeys(READ) if key not in values]
    missing += [key for key in BUILT if values.get(key, ...) is None]
    missing += [f"modules: {name}" for name in MODULES if modules.get(name) is None]
    if missing:
        problems.append(
            f"missing: {', '.join(missing)} (a yaml that begins with "
            f"`{BASE}: train.yaml` has what is there)"
        )
    problems += [
        f"{key} must be {' or '.join(row.choices)}, found None"
        for key, row in KEYS.items()
        if row.kind == CHOICE and not row.null and values.get(key, ...) is None
    ]
    problems += [
        f"{key} must be null or an object (!new:…), found {values[key]!r}"
        for key in OBJECT_OR_NULL
        if isinstance(values.get(key), int | float)
    ]
    if problems:
        raise UserError(f"{hparams_file} with these settings can't be used:", problems)
    check_numbers(values)
    check_loggers(values["loggers"] or [])
    if "ssl_source" in values:
        check_source(values)
    if "features" in values:
        _check_features(values)


def _check_features(values):
    """Refuse features that are none, and what needs the recordings themselves."""
    if not isinstance(values["features"], str) or not values["features"]:
        raise UserError(
            f"features {values['features']!r}: give --features=FILE.parquet with a row "
            "for each recording."
        )
    asked = [key for key in ("audit", "acoustic_baseline") if values[key]]
    if asked:
        raise UserError(
            f"{' and '.join(asked)}: True needs audio, and this model reads features "
            "from a file: leave it at False."
        )


def _meant(key, values):
    meant = near(key, KEYS.keys() & values.keys())
    return f"did you mean {meant}? Else " if meant else ""


def check_values(values: dict, defaults: dict):
    """Check the kind of every value, and the keys that take one of a few names.

    values: Plain values of any of the yamls; null means that a key is not given.
    defaults: The yaml's own values, which show what kind is expected.

    Raises UserError: naming all that is wrong.
    """
    problems = [
        f"{key} must be {expected}{_example(default, expected)}; found {value!r}"
        for key, value in values.items()
        for default in [defaults.get(key)]
        for expected in [_expected(key, default)]
        if expected is not None and not _fits(value, expected, default)
    ]
    problems += [
        f"{key} must be {' or '.join(row.choices)}, found {values[key]!r}"
        for key, row in KEYS.items()
        if row.choices and values.get(key) not in (None, *row.choices)
    ]
    if problems:
        raise UserError("These settings can't be:", problems)


def _expected(key, default):
    """What values of a key are called; None where any will do here.

    Keys of the table have their kind, whatever a yaml of a user's own says; those that
    a yaml adds have their default's.
    """
    kind = KEYS[key].kind if key in KEYS else None
    if kind in NAMES:
        return NAMES[kind]
    return None if default is None or kind == LAYERS else _kind(default)


def _fits(value, expected, default):
    """Whether a value is what is expected.

    A number may stand for a range, null for anything but True or False.
    """
    if value is None:
        return expected != SWITCH
    return _kind(value) == expected or (
        _kind(value) == "a number" and _is_range(default)
    )


def _example(default, expected):
    if expected == NAMES[TEXT]:
        return ", in quotes if it looks like something else"
    if default and _kind(default) == expected:
        return f", as {default!r}"
    return {LIST: ", as [a, b]", MAPPING: ", as {a: 1}"}.get(expected, "")


def _is_range(value):
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(_kind(bound) == "a number" for bound in value)
    )


def _kind(value):
    """What a yaml value is, in a user's words."""
    if isinstance(value, Path):  # of a call from Python
        return NAMES[TEXT]
    kinds = {bool: SWITCH, list: LIST, dict: MAPPING, str: NAMES[TEXT]}
    return kinds.get(type(value), "a number")


def check_numbers(values: dict):
    """Check ranges; what training reads at its shortest must do for the model.

    values: Plain values of a training yaml.

    Raises UserError: naming all that is wrong.
    """
    problems = _out_of_range(values)
    problems += [
        f"{key} needs --{row.folder}=DIR, with audio files of any format"
        for key, row in KEYS.items()
        if row.folder and values[key] and not values[row.folder]
    ]
    problems += [
        f"{row.folder} needs a share of recordings that get something of it: give "
        f"--{key}=0.5, or leave {row.folder} out"
        for key, row in KEYS.items()
        if row.folder and values[row.folder] and not values[key]
    ]
    if values["freeze_epochs"] and not values["pretrained"]:
        problems.append(
            "freeze_epochs needs --pretrained=FOLDER: an encoder that has learned "
            "nothing would stay so"
        )
    if not problems:
        problems = _too_short(values)
    if problems:
        raise UserError("These settings can't be:", problems)
    for kind in (AudioFormat, LongRecordings, EvaluationSettings):
        kind.of(values)  # which checks them


def check_later(values: dict):
    """Check what a later run may choose anew.

    values: Some keys of a training yaml, those of `LongRecordings` among them.

    Raises UserError: naming all that is wrong.
    """
    check_values(values, {})
    problems = _out_of_range(values)
    if problems:
        raise UserError("These settings can't be:", problems)
    LongRecordings.of(values)  # which checks them


def _out_of_range(values):
    """Numbers that are none, or out of their range; keys may be missing."""
    problems = []
    for key in [key for key in KEYS if key in values]:
        value, row = values[key], KEYS[key]
        if row.kind not in (WHOLE, NUMBER, SHARE) or (row.null and value is None):
            continue
        if row.kind == SHARE:
            if not _is_finite(value) or not 0 <= value <= 1:
                problems.append(f"{key} must lie in 0 to 1, found {value!r}")
        elif not _is_finite(value) or (row.low is not None and value < row.low):
            expected = "a number" if row.low is None else f"{row.low} or more"
            problems.append(f"{key} must be {expected}, found {value!r}")
        elif row.kind == WHOLE and not isinstance(value, int):
            problems.append(f"{key} must be a whole number, found {value!r}")
        elif row.high is not None and value > row.high:
            problems.append(f"{key} must be {row.high} or less, found {value!r}")
    return problems


def _is_finite(value):
    return _kind(value) == "a number" and value is not None and math.isfinite(value)


def _too_short(values):
    """What would leave less than the model needs."""
    problems = []
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


def different_settings(there: dict, here: dict, options: Iterable[str]) -> list[str]:
    """A line for each setting that two runs do not share, with both values.

    there, here: Plain values of their yamls, and run options.
    options: Names of the run options.
    """
    different = [
        key for key in dict.fromkeys([*there, *here]) if there.get(key) != here.get(key)
    ]
    # objects follow from plain keys, unless it is the yaml itself that differs
    plain = [key for key in different if key in KEYS or key in options]
    return [
        f"{key}: {there.get(key)!r} there, {here.get(key)!r} here"
        for key in plain or different
    ]


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
