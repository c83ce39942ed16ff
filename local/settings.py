"""Settings of the yamls: the kind and range that every value must have."""

from local.audio import MIXES
from local.brain import BEST_CHECKPOINTS
from local.decoding import BACKENDS
from local.errors import UserError
from local.models import POOLING_MODES
from local.optimizers import OPTIMIZERS, SCHEDULERS

#: Smallest values of numbers, whole ones first.
LOWEST = {
    "sample_rate": 0,
    "n_mels": 1,
    "lin_neurons": 1,
    "batch_size": 1,
    "eval_batch_size": 1,
    "num_workers": 0,
    "number_of_epochs": 1,
    "patience": 0,
    "val_size": 0,
    "clip_length": 0,
    "min_duration": 0,
    "lr": 0,
    "weight_decay": 0,
    "max_lr": 0,
}
WHOLE = tuple(LOWEST)[: tuple(LOWEST).index("clip_length")]

#: Five frames, 10 ms apart with windows of 25 ms: ECAPA-TDNN's widest convolution
#: reflects four frames at either end.
MIN_INPUT_S = 0.065

#: Hz; below it there is no speech.
LOWEST_RATE = 1000

#: Keys that take one of a few names.
CHOICES = {
    "on_bad_recording": ("stop", "skip"),
    "best_checkpoint": BEST_CHECKPOINTS,
    "optimizer_name": tuple(OPTIMIZERS),
    "scheduler": SCHEDULERS,
    "pooling_mode": POOLING_MODES,
    "audio_backend": BACKENDS,
    "mono": MIXES,
    "loss": ("bce", "mse"),
}


def check_values(values, defaults):
    """Check the kind of every value, and the keys that take one of a few names.

    Arguments
    ---------
    values : dict
        Plain values of any of the yamls; null means that a key is not given.
    defaults : dict
        The yaml's own values, which show what kind is expected.

    Raises
    ------
    UserError
        Naming all that is wrong.
    """
    problems = [
        f"{key} must be {_kind(default)}, as {default!r}; found {values[key]!r}"
        for key, default in defaults.items()
        if None not in (default, values[key]) and not _fits(values[key], default)
    ]
    problems += [
        f"{key} must be {' or '.join(known)}, found {values[key]!r}"
        for key, known in CHOICES.items()
        if values.get(key) is not None and values[key] not in known
    ]
    if problems:
        raise UserError("These settings can't be:", problems)


def _fits(value, default):
    """Whether a value is of its default's kind; a number may stand for a range."""
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


def check_numbers(values):
    """Check ranges; what training reads at its shortest must do for the model.

    Arguments
    ---------
    values : dict
        Plain values of a training yaml.

    Raises
    ------
    UserError
        Naming all that is wrong.
    """
    problems = [
        f"{key} must be {lowest} or more, found {values[key]!r}"
        for key, lowest in LOWEST.items()
        if values[key] is None or not values[key] >= lowest
    ]
    problems += [
        f"{key} must be a whole number, found {values[key]!r}"
        for key in WHOLE
        if values[key] is not None and int(values[key]) != values[key]
    ]
    if problems:
        raise UserError("These settings can't be:", problems)
    if values["batch_size"] < 2:
        problems.append(
            f"batch_size must be at least 2, found {values['batch_size']}: batch "
            "normalisation can't train on one recording"
        )
    if values["sample_rate"] and values["sample_rate"] < LOWEST_RATE:
        problems.append(
            f"sample_rate must be {LOWEST_RATE} or more, or 0 for the recordings' own, "
            f"found {values['sample_rate']}"
        )
    shortest_s = min(values["min_duration"], values["clip_length"] or float("inf"))
    if shortest_s < MIN_INPUT_S:
        problems.append(
            f"the shortest input would be {shortest_s:g} s (min_duration, "
            f"clip_length), and the model needs {MIN_INPUT_S} s"
        )
    if problems:
        raise UserError("These settings can't be:", problems)
