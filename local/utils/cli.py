"""The command line: SpeechBrain's run options and yaml overrides, exit statuses.

``speechbrain.parse_arguments`` accepts abbreviations (``--optimizer`` becomes
``--optimizer_step_limit``) and splits values at every ``=``, so it is only handed
what is already known to be one of its own options, in full.
"""

import contextlib
import dataclasses
import difflib
import io
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import ruamel.yaml
import speechbrain as sb
import torch
from speechbrain.utils.run_opts import HELP_TEXTS, RunOptions

from local.utils import launch, signals, streams
from local.utils.errors import RunError, UserError, keep_traceback, told_by_worker
from local.utils.keys import KEYS, NUMBER, OBJECT_OR_NULL, TEXT, TEXTS, WHOLE
from local.utils.usage import usage
from local.utils.yaml_files import (
    BASE,
    object_keys,
    parse_paths,
    parse_value,
    yaml_text,
)

OK, RUN_FAILED, BAD_INPUT, INCOMPLETE = 0, 1, 2, 3

#: What follows from being stopped.
GOES_ON = "The same command goes on from here."
BEGINS_AGAIN = "Nothing is half written; the same command begins again."

#: What torch says, and what it means.
EXPLAINED = {
    "DataLoader worker": "A process that decodes recordings was killed, maybe for lack "
    "of memory: try a lower --num_workers (0: none of them). The same command goes on "
    "from what is finished.",
    "out of memory": "The GPU has not enough memory: try a lower --batch_size, "
    "--clip_length or --eval_batch_frames. The same command goes on from what is "
    "finished.",
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What a command line said.

    hparams_file: The hyperpyyaml file.
    run_opts: SpeechBrain's own options (device, precision, debug, …).
    overrides: Values for keys of the yaml.
    """

    hparams_file: Path
    run_opts: RunOptions
    overrides: dict


def parse_arguments(argv: list[str]) -> Arguments:
    """Split a command line into yaml file, run options and overrides.

    argv: The command line without the program's name: one yaml file and any number of
        ``--key=value`` or ``--key value``, each key an exact run option or an exact
        top-level key of the yaml. Values keep every ``=`` they contain.

    Raises UserError: for a missing file, a key that is neither, or a value that is
        missing.

    >>> folder = getfixture("tmp_path")
    >>> hparams_file = folder / "train.yaml"
    >>> _ = hparams_file.write_text("seed: 1\\ncorpus_folder: null\\n")
    >>> arguments = parse_arguments(
    ...     [str(hparams_file), "--corpus_folder=/data/site=A", "--device=cpu"]
    ... )
    >>> arguments.overrides, arguments.run_opts.device
    ({'corpus_folder': '/data/site=A'}, 'cpu')
    """
    positional, pairs = split_arguments(argv)
    if len(positional) != 1:
        raise UserError(
            "Expected exactly one hyperparameter file, as in "
            "`python train.py hparams/train.yaml --corpus_folder=DIR`; found "
            f"{len(positional)}: {positional}"
        )
    hparams_file = Path(positional[0])
    if not hparams_file.is_file():
        raise UserError(f"There is no hyperparameter file {hparams_file}.")
    run_arguments, overrides, problems = _assigned(pairs, hparams_file)
    if problems:
        raise UserError("The command line can't be used:", problems)
    return Arguments(
        hparams_file, _run_options(str(hparams_file), run_arguments), overrides
    )


def _assigned(pairs, hparams_file):
    """Run options as arguments, overrides by key, and all that is wrong."""
    yaml_keys = top_level_keys(hparams_file)
    objects = {*object_keys(hparams_file), *OBJECT_OR_NULL}
    run_arguments, overrides, problems = [], {}, []
    for key, value in pairs:
        if key in yaml_keys and value is None and key in KEYS:
            value = KEYS[key].bare
        if key in yaml_keys and value is None:
            problems.append(f"--{key} needs a value: --{key}=VALUE")
        elif key in yaml_keys and key in objects:
            problems.append(
                f"--{key}: an object, which only a yaml can give (one that begins with "
                f"`{BASE}: {hparams_file.name}` and has a line {key}: !new:…)"
            )
        elif key in yaml_keys:
            # SpeechBrain reads a run option that stands in the yaml from there
            overrides[key] = _override_value(key, value, problems)
        elif key in HELP_TEXTS or key in ("jit_module_keys", "compile_module_keys"):
            run_arguments += _run_option(key, value, problems)
        else:
            near = difflib.get_close_matches(key, [*yaml_keys, *HELP_TEXTS], n=1)
            hint = f"; did you mean --{near[0]}?" if near else ""
            problems.append(
                f"--{key} is neither a key of {hparams_file} nor a run option of "
                f"SpeechBrain{hint}"
            )
    if problems and BASE in yaml_keys:
        problems.append(f"{BASE} has no effect unless it is the yaml's first key")
    return run_arguments, overrides, problems


def split_arguments(
    argv: list[str],
) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Positional arguments, and (key, value or None) of each option."""
    positional, pairs, i = [], [], 0
    while i < len(argv):
        argument = argv[i]
        i += 1
        if not argument.startswith("--"):
            positional.append(argument)
            continue
        key, equals, value = argument[2:].partition("=")
        if not equals:
            value = None
            flag = isinstance(getattr(RunOptions, key, None), bool)
            if not flag and i < len(argv) and not argv[i].startswith("--"):
                value = argv[i]
                i += 1
        pairs.append((key, value))
    return positional, pairs


def _run_option(key, value, problems):
    """A run option as the arguments that SpeechBrain's parser takes."""
    if getattr(RunOptions, key, None) is not False:
        if value is None:
            problems.append(f"--{key} needs a value: --{key}=VALUE")
        if key.endswith("_module_keys"):
            return [f"--{key}", *parse_value(value or "[]")]
        return [f"--{key}={value}"]
    switch = {None: True, "true": True, "false": False}.get(
        value.lower() if value else None
    )
    if switch is None:
        problems.append(f"--{key} is a switch (True or False), found {value!r}")
    return [f"--{key}"] if switch else []


def _override_value(key, value, problems):
    """The text of an override as the value that the yaml would hold."""
    kind = KEYS[key].kind if key in KEYS else None
    if kind in (TEXT, TEXTS) and value in ("null", ""):
        return None
    try:
        parse = {TEXT: str, TEXTS: parse_paths}.get(kind, parse_value)
        return parse(value)
    except ruamel.yaml.YAMLError:
        problems.append(f"--{key}={value} is not a yaml value")
        return None


def _run_options(hparams_file, run_arguments):
    """Parse the run options, choosing how processes of torchrun talk."""
    # ddp_init_group reads the run options only, so it can't stand in the yaml
    run_arguments = [*run_arguments, *launch.backend_option(run_arguments)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _, run_opts, _ = sb.parse_arguments([hparams_file, *run_arguments])
    except SystemExit as error:  # argparse says what is wrong below its usage
        reason = said.getvalue().rpartition("error: ")[2].strip()
        raise UserError(
            f"A run option of SpeechBrain has a wrong value: {reason}."
        ) from error
    device, _, number = (run_opts.device or "").partition(":")
    if device == "cuda":
        n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (int(number) if number.isdigit() else 0) >= n_gpus:
            raise UserError(
                f"--device={run_opts.device}: there is no such GPU that PyTorch can "
                f"use here ({n_gpus} found); --device=cpu needs none."
            )
    limit = run_opts.optimizer_step_limit
    if limit is None:
        return run_opts
    if not str(limit).isdigit():
        raise UserError(f"--optimizer_step_limit must be a number, found {limit!r}.")
    # SpeechBrain's parser leaves it as text
    return dataclasses.replace(run_opts, optimizer_step_limit=int(limit))


def add_options(parser, *names: str):
    """Give an argument parser options that are keys of the yamls.

    parser: Parser
    names: Of keys that take a number, a text or one of a few names.

    >>> from local.utils.usage import Parser
    >>> parser = Parser()
    >>> add_options(parser, "max_duration", "window_pooling")
    >>> parser.parse_args(["--max_duration=2.5", "--window_pooling=max"])
    Namespace(max_duration=2.5, window_pooling='max')
    """
    types = {WHOLE: int, NUMBER: float}
    for name in names:
        row = KEYS[name]
        kind = {"type": types.get(row.kind), "choices": row.choices or None}
        bare = {"nargs": "?", "const": row.bare} if row.bare else {}
        parser.add_argument(f"--{name}", **kind, **bare)


def add_trust_option(parser):
    """Give an argument parser the option `--trust_experiment[=True|False]`.

    parser: Parser
    """
    parser.add_argument(
        "--trust_experiment",
        nargs="?",
        choices=(True, False),
        const=True,
        default=False,
        type=lambda text: {"true": True, "false": False}.get(text.lower(), text),
        help="open it whatever Python its hyperparams.yaml names",
    )


def top_level_keys(hparams_file: Path) -> list[str]:
    """Names of the top-level keys of a hyperpyyaml file, nothing constructed.

    Raises UserError: if the file is not yaml with keys.
    """
    try:
        node = ruamel.yaml.YAML().compose(yaml_text(hparams_file))
    except ruamel.yaml.YAMLError as error:
        raise UserError(f"{hparams_file} is not a yaml file: {error}") from error
    if not isinstance(node, ruamel.yaml.MappingNode):
        raise UserError(f"{hparams_file} holds no keys.")
    return [key.value for key, _ in node.value]


def run(main: Callable, goes_on: bool = False):
    """Call a script's main function and leave with the contract's exit status.

    main: Takes the list of arguments, returns None or an exit status.
    goes_on: Whether the same command goes on where a run was stopped; others begin
        again.

    Exit status 0: all done. 1: the run failed. 2: the input or configuration is wrong.
    3: finished, but some recordings or parts of an evaluation failed. 130 and 143:
    stopped by the user or by SIGTERM. Status 1 and 2 come with one message on standard
    error; the traceback of an unexpected error is kept in a file that the message
    names, for a bug report.
    A reader of the output that goes away (`| head`) changes nothing.
    """
    streams.secure()
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage())
        sys.exit(OK)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    signals.install()
    _keep_out_of_logs()
    try:
        status = main(sys.argv[1:]) or OK
    except UserError as error:
        status = _fail(error, BAD_INPUT)
    except (RunError, OSError) as error:
        status = _fail(told_by_worker(error), RUN_FAILED)
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        status = _fail(f"Stopped. {GOES_ON if goes_on else BEGINS_AGAIN}", 128 + number)
    except Exception as error:
        status = _fail(_explained(error) or _unexpected(error), RUN_FAILED)
    unwritten = streams.flush()
    if unwritten and status in (OK, INCOMPLETE):
        reason = unwritten.strerror
        status = _fail(f"Standard output can't be written: {reason}.", RUN_FAILED)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        if status in (OK, INCOMPLETE):
            torch.distributed.destroy_process_group()
        else:
            # The other ranks may wait for this one: leave without a farewell, so
            # that torchrun ends them.
            _leave(status)
    if status not in (OK, INCOMPLETE) and multiprocessing.active_children():
        _leave(status)
    sys.exit(status)


def _leave(status):
    """End here, with the processes that decode, which might wait for a batch's reader.

    Python's own way asks them to end as SIGTERM does, which they put off (see
    `stopping.keep_working`).
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's would raise an error
    for child in multiprocessing.active_children():
        child.kill()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def _keep_out_of_logs():
    """What libraries log names neither folders nor objects: they may name people."""
    for name in ("speechbrain.core", "speechbrain.utils.checkpoints"):
        logging.getLogger(name).addFilter(_without_folder)
    # at level debug, which log.txt has, they tell addresses of requests, and folders
    for name in ("urllib3", "filelock"):
        logging.getLogger(name).setLevel(logging.INFO)


def _without_folder(record):
    """Leaves only the last part of a path that a message ends with."""
    head, slash, path = record.getMessage().partition("/")
    if slash:
        record.msg, record.args = head + path.rpartition("/")[2], ()
    return True


def _fail(message, status):
    print(f"error: {message}", file=sys.stderr)
    return status


def _explained(error):
    """What a user can do about an error of torch's; None of others."""
    explanations = [told for said, told in EXPLAINED.items() if said in str(error)]
    return next(iter(explanations), None) if isinstance(error, RuntimeError) else None


def _unexpected(error):
    """Keep the traceback in a file; return the message that names it."""
    return (
        f"The run failed: {type(error).__name__}: {error}\n"
        f"The traceback is in {keep_traceback(error)}; please report it."
    )
