"""The original's command line: what it says of the model, in the keys of our yaml."""

import numbers
import reprlib
from pathlib import Path

from local.data.labels import flatten, read_label_groups
from local.data.manifests import RESERVED
from local.model import heads
from local.training.settings import check_numbers, check_values
from local.utils.errors import UserError

#: Above every sensible size, so that a wrong one doesn't fill the memory.
MAX_SIZE = 1_000_000

MAX_CLIP_S = 100_000

#: What has to be known of the original, flag by flag: a test, and what it tests for.
NEEDED = {
    "resample_rate": (lambda value: _is_whole(value, 0), "Hz, or 0"),
    "reduce": (lambda value: isinstance(value, bool), "True or False"),
    "clip_length": (
        lambda value: _is_number(value) and 0 <= value <= MAX_CLIP_S,
        "seconds, or 0",
    ),
    "fbank": (lambda value: isinstance(value, bool), "True or False"),
    "n_mfcc": (lambda value: _is_whole(value, 1), "a number of coefficients"),
    "n_fft": (lambda value: _is_whole(value, 1), "a number of samples or frames"),
    "n_mels": (lambda value: _is_whole(value, 1), "a number of mel channels"),
    "dataset_mean": (lambda value: _is_number(value), "a number"),
    "dataset_std": (lambda value: _is_number(value) and value > 0, "above 0"),
    "lin_neurons": (lambda value: _is_whole(value, 1), "a size"),
    "shared_dense": (lambda value: isinstance(value, bool), "True or False"),
    "sd_bottleneck": (lambda value: _is_whole(value, 1), "a size"),
    "clf_bottleneck": (lambda value: _is_whole(value, 1), "a size"),
    "activation": (lambda value: isinstance(value, str), "a name"),
    "layernorm": (lambda value: isinstance(value, bool), "True or False"),
    "pooling_mode": (lambda value: value in heads.POOLING_MODES, "mean or sum"),
    "loss": (lambda value: value in ("BCE", "MSE"), "BCE or MSE"),
}
#: Those of them that only count together with a switch, and where it must stand.
ONLY_WITH = {
    "n_mfcc": ("fbank", False),
    "dataset_mean": ("fbank", True),
    "dataset_std": ("fbank", True),
    "sd_bottleneck": ("shared_dense", True),
}

#: What is only kept for the record: the original's flag and our key. Its waveform
#: augmentation is not among them: it was never applied.
CARRIED = {
    "seed": "seed",
    "val_size": "val_size",
    "batch_size": "batch_size",
    "num_workers": "num_workers",
    "learning_rate": "lr",
    "lr": "lr",
    "epochs": "number_of_epochs",
    "optim": "optimizer_name",
    "weight_decay": "weight_decay",
    "scheduler": "scheduler",
    "max_lr": "max_lr",
    "final_dropout": "final_dropout",
    "mixup": "mixup",
    "freqm": "freqm",
    "timem": "timem",
    "noise": "noise",
    "dataset": "dataset_name",
}


def model_values(args: dict, given) -> tuple[dict, list[str]]:
    """What shapes the model and its input, for the keys of our yaml.

    given: argparse.Namespace

    Returns values.
    Returns notes.
    Raises UserError: naming all that is missing, and all that can't be.
    """
    needed = {
        flag: test for flag, test in NEEDED.items() if not _is_switched_off(flag, args)
    }
    problems = [f"{flag} is missing" for flag in needed if flag not in args]
    problems += [
        f"{flag} should be {kind}, found {reprlib.repr(args[flag])}"
        for flag, (test, kind) in needed.items()
        if flag in args and not test(args[flag])
    ]
    if problems:
        raise UserError(
            f"{given.args} should hold the original's command line; none of this is "
            "guessed:",
            problems,
        )
    notes = []
    values = {flag: args[flag] for flag in needed if flag != "reduce"}
    values["sample_rate"] = _sample_rate(values.pop("resample_rate"), given)
    values["mono"] = "sum"
    values["loss"] = values["loss"].lower()
    if not args["reduce"]:
        notes.append(
            "reduce was off: channels are summed here all the same, which changes "
            "nothing for recordings of one channel."
        )
    if values["activation"] != "relu":
        notes.append(
            f"activation {reprlib.repr(values['activation'])} was silently none at all "
            "in the original, and is none here (identity)."
        )
        values["activation"] = "identity"
    return values, notes


def _is_switched_off(flag, args):
    """Whether another flag says that this one doesn't count."""
    switch, position = ONLY_WITH.get(flag, (None, None))
    return switch in args and args[switch] is (not position)


def _sample_rate(resample_rate, given):
    """The rate that recordings get."""
    if resample_rate == 0 and given.sample_rate is None:
        raise UserError(
            "resample_rate is 0: the original left the recordings' rate alone. Give "
            "the rate that they have, as --sample_rate=HZ."
        )
    if resample_rate and given.sample_rate not in (None, resample_rate):
        raise UserError(
            f"The original resampled to {resample_rate} Hz: --sample_rate="
            f"{given.sample_rate} can't be."
        )
    if (resample_rate or given.sample_rate) < 1:
        raise UserError(f"--sample_rate={given.sample_rate} should be a rate in Hz.")
    return resample_rate or given.sample_rate


def carried_values(args: dict, defaults: dict, notes: list[str]) -> dict:
    """What doesn't shape the model, as far as our yaml can say it.

    defaults: Values of train_original.yaml.
    notes: Gets what is not carried over.
    """
    values = {}
    for flag, key in CARRIED.items():
        value = args.get(flag)
        if flag == "scheduler" and flag in args:
            value = value or "none"
        if value is None or key not in defaults:
            continue
        try:
            if not isinstance(value, bool | int | float | str):
                raise UserError("no plain value")
            check_values({**defaults, key: value}, defaults)
            check_numbers({**defaults, key: value})
        except UserError:
            notes.append(f"{flag}={reprlib.repr(value)} is not carried over.")
            continue
        values[key] = value
    if args.get("lib") is True:
        values["audio_backend"] = "librosa"
    return values


def label_groups(
    args: dict, given, sizes: list[int], notes: list[str]
) -> list[list[str]]:
    """The labels of each head: from a file, the arguments, or made up.

    given: argparse.Namespace
    sizes: Number of labels of each head in the weights.
    notes: Gets where they are from.

    Raises UserError: if they don't match the weights, or can't be names of columns.
    """
    groups, source = _named_labels(args, given, sizes)
    if groups is None:
        notes.append(
            "The labels' names are not known: they are called `head 1 label 1` and so "
            "on. evaluate.py needs the real ones: import again with "
            "--labels_file=labels.txt."
        )
        return [
            [f"head {i} label {j}" for j in range(1, size + 1)]
            for i, size in enumerate(sizes, start=1)
        ]
    names = flatten(groups)
    problems = [
        f"{name!r} {why}"
        for name in dict.fromkeys(names)
        for wrong, why in (
            (not name.strip(), "is no name"),
            (names.count(name) > 1, "is named twice"),
            (name in RESERVED, "is the name of a column with another meaning"),
        )
        if wrong
    ]
    if [len(group) for group in groups] != sizes:
        problems.append(
            f"labels per head: {[len(group) for group in groups]} there, {sizes} in "
            "the weights"
        )
    if problems:
        raise UserError(
            f"The labels of {source} can't be used; the right ones can be given as "
            "--labels_file=labels.txt:",
            problems,
        )
    notes.append(f"The labels' names are from {source}.")
    return groups


def _named_labels(args, given, sizes):
    """Label groups and where they are from, or None twice."""
    if given.labels_file:
        return read_label_groups(given.labels_file), str(given.labels_file)
    for flag in ("label_groups", "target_labels"):
        value = args.get(flag)
        if _is_names(value) and len(sizes) == 1:
            value = [value]
        if isinstance(value, list) and value and all(map(_is_names, value)):
            return value, f"{flag} in {given.args}"
    file = args.get("label_txt")
    if isinstance(file, str) and file and Path(file).is_file():
        return read_label_groups(Path(file)), f"{file} (label_txt in {given.args})"
    return None, None


def _is_names(value):
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(name, str) for name in value)
    )


def _is_number(value):
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and abs(value) < float("inf")
    )


def _is_whole(value, lowest):
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int and lowest <= value <= MAX_SIZE
