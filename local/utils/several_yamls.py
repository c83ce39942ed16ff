"""One command line for several yamls: each gets the options that it has a key for."""

from pathlib import Path

from local.utils.cli import parse_arguments, split_arguments, top_level_keys
from local.utils.errors import UserError


def split_by_yaml(argv: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The command line of each yaml, and what a user should know of them.

    An option that is a key of some yamls goes to those. Any other goes to all, where it
    is a run option, or refused.

    argv: The command line without the program's name.

    Returns lines: By the yaml's name without its ending its command line; that of a
        single one is as it was given.
    Returns notes: A line per option that some of them do not get.
    Raises UserError: without a yaml, for one that is not there, or for two of one name.

    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.yaml").write_text("seed: 1\\nlr: 2\\n")
    >>> _ = (folder / "b.yaml").write_text("seed: 1\\n")
    >>> files = [str(folder / "a.yaml"), str(folder / "b.yaml")]
    >>> lines, notes = split_by_yaml([*files, "--seed=3", "--lr", "4"])
    >>> {name: line[1:] for name, line in lines.items()}
    {'a': ['--seed=3', '--lr=4'], 'b': ['--seed=3']}
    >>> notes
    ['--lr is a key of a.yaml only: the others do not get it']
    """
    files, pairs = split_arguments(argv)
    if len(files) < 2:
        return {parse_arguments(argv).hparams_file.stem: argv}, []
    _check(files)
    keys = {file: top_level_keys(Path(file)) for file in files}
    options, notes = {file: [] for file in files}, []
    for key, value in pairs:
        owners = [file for file in files if key in keys[file]] or files
        for file in owners:
            options[file].append(f"--{key}" if value is None else f"--{key}={value}")
        if len(owners) < len(files):
            names = ", ".join(Path(file).name for file in owners)
            notes.append(f"--{key} is a key of {names} only: the others do not get it")
    return {Path(file).stem: [file, *own] for file, own in options.items()}, notes


def _check(files):
    """Raise UserError for a yaml that is not there, or for two of one name."""
    names = [Path(file).stem for file in files]
    problems = [f"there is no {file}" for file in files if not Path(file).is_file()]
    problems += [
        f"{file}: another one is called {name}, too"
        for file, name in zip(files, names, strict=True)
        if names.count(name) > 1
    ]
    if problems:
        raise UserError(
            "Expected yamls of different names, each of which gets a folder of its own "
            "in the output folder:",
            problems,
        )
