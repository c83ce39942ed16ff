"""Settings of the yamls: the kind and range that every value must have."""

import dataclasses
import math

from local.audio.loading import AudioFormat
from local.data.windows import LongRecordings
from local.utils.errors import UserError
from local.utils.from_keys import FromKeys
from local.utils.keys import KEYS, NUMBER, SHARE, WHOLE

#: Frames: ECAPA-TDNN's widest convolution reflects four of them at either end.
MIN_FRAMES = 5

#: Five frames, 10 ms apart with windows of 25 ms.
MIN_INPUT_S = 0.065


@dataclasses.dataclass(frozen=True)
class EvaluationSettings(FromKeys):
    """What is asked of an evaluation.

    threshold_sensitivity: Thresholds find so many of the positives of validation; None:
        those of Youden's rule.
    calibration: `none`, `temperature` or `platt`, of probabilities.
    subgroups: Columns whose groups are compared; None: the usual ones that there are.
    audit: Whether it is asked what tells labels but speech.
    acoustic_baseline: Whether acoustic statistics stand beside the model.
    measured_recordings: Recordings of each split that are decoded for these two at
        most; 0: all.
    report: Whether a report, a model card and figures are wanted.
    show_uids: Whether these may name recordings, else by row only.
    seed: Of bootstrap draws and permutations.

    Raises UserError: for a sensitivity that is no share, or subgroups that are no list
        of names.
    """

    threshold_sensitivity: float | None = None
    calibration: str = "none"
    subgroups: list[str] | None = None
    audit: bool = True
    acoustic_baseline: bool = True
    measured_recordings: int = 5000
    report: bool = True
    show_uids: bool = False
    seed: int = 0

    def __post_init__(self):
        share, columns = self.threshold_sensitivity, self.subgroups
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        if share is not None and not (is_number and 0 < share <= 1):
            raise UserError(
                "threshold_sensitivity must be a share above 0 and at most 1, as 0.9, "
                f"or null for Youden's rule; found {share!r}."
            )
        are_names = isinstance(columns, list) and all(
            isinstance(column, str) for column in columns
        )
        if columns is not None and not are_names:
            raise UserError(
                f"subgroups must be a list of columns, as [sex, age]; found {columns!r}"
            )


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
        f"{key} must be {' or '.join(row.choices)}, found {values[key]!r}"
        for key, row in KEYS.items()
        if row.choices and values.get(key) not in (None, *row.choices)
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
        f"{key} needs --{row.folder}=DIR, with audio files of any format"
        for key, row in KEYS.items()
        if row.folder and values[key] and not values[row.folder]
    ]
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
