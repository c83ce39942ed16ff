"""Options that all readers take: from the command line, or from a corpus.yaml."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import ruamel.yaml

from local.data.label_cells import CellCodes
from local.storage.addresses import is_remote
from local.utils.errors import UserError
from local.utils.spelling import near
from local.utils.usage import Parser
from local.utils.yaml_files import parse_value
from recipes.table.layout import read_command
from recipes.table.matching import UNMATCHED
from recipes.table.people import SAME_AUDIO, TWO_PEOPLE
from recipes.table.reader import OWN_ROW

#: Kinds of problems that may be accepted.
ACCEPTED = (UNMATCHED, SAME_AUDIO, TWO_PEOPLE, OWN_ROW)

DEFAULTS = {"test_share": 0.3, "seed": 1986}

#: Options of one run only, which corpus.yaml does not keep.
PASSING = ("corpus_yaml", "corpus_folder", "source", "dry_run")


def new_parser(
    description: str, source: str = "where relative paths of CORPUS_YAML begin"
) -> Parser:
    """A parser with the options of labels, splits and the corpus.

    description: A reader's; its own options are added by the reader.
    source: What `--source` is.
    """
    parser = Parser(
        description=description.strip().split("\n")[0],
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("corpus_yaml", nargs="?", help="options in a file, as a corpus keeps them")
    add("--corpus_folder", metavar="OUT", help="the corpus to make: a new folder")
    add("--source", metavar="DIR", help=source)
    for name, metavar, what in (
        (
            "label",
            "'NAME: CONDITION'",
            "a label of 0 and 1, as 'x: {Sheet column} = y'",
        ),
        ("score", "'NAME: {COLUMN}'", "a label that is a number"),
        ("rater", "'NAME: {R1}, {R2}'", "a label of several raters"),
        ("keep", "COLUMN", "a column to keep, or 'NAME: {COLUMN}'"),
    ):
        add(f"--{name}", action="extend", nargs="+", metavar=metavar, help=what)
    add("--heads", metavar="'a,b;c'", help="labels of each head; default: one head")
    add("--test_share", type=float, help="share of the people for the test; 0: none")
    add("--splits", metavar="COLUMN", help="a column with train, test and val")
    add("--seed", type=int, help="of the draw (1986)")
    add("--missing_values", metavar="[-99]", help="further codes for 'not rated'")
    add("--label_values", metavar="{COLUMN: {CODE: 1}}", help="codes for 1 and 0")
    add("--accept", metavar="KIND", help=f"go on with: {', '.join(ACCEPTED)}")
    add("--copy", action="store_true", help="copy the audio; default: refer to it")
    add("--dry_run", action="store_true", help="say what was understood, write nothing")
    return parser


def read_options(
    parser: Parser,
    arguments: Sequence[str] | None,
    paths: Sequence[str],
) -> dict:
    """What the command line says, and the corpus.yaml that it names.

    paths: Options that hold paths: relative ones of a corpus.yaml begin at `source`, or
        where the file is. `table` may hold a name before its path.

    Returns: Option → value; text of options that may be given several times in a list.
    Raises UserError: for a corpus.yaml with other keys, or what has a wrong type.
    """
    given = vars(parser.parse_args(arguments))
    values = dict(DEFAULTS)
    if file := given.get("corpus_yaml"):
        file = Path(file)
        if file.suffix not in (".yaml", ".yml"):
            raise UserError(
                f"{file} is no corpus.yaml; as a value, it needs its option, too: "
                "--table=A.xlsx --table=B.xlsx."
            )
        base = Path(given.get("source") or file.parent)
        values |= _from_yaml(file, parser, base, paths)
        if (file.parent / "splits").is_dir():
            values["corpus_folder"] = str(file.parent)
        if not {"label", "score", "rater"}.isdisjoint(given):
            values.pop("heads", None)  # those of the labels that are replaced
    values |= {
        key: _resolved(key, value, Path.cwd()) if key in paths else value
        for key, value in given.items()
    }
    if not values.get("corpus_folder"):
        raise UserError("Give --corpus_folder=OUT, a new folder for the corpus.")
    if not 0 <= values["test_share"] < 1:
        raise UserError(
            "--test_share must lie between 0 and 1 (0 itself: no test.csv, for a "
            f"cross-validation of all): {values['test_share']}"
        )
    if values["seed"] < 0:
        raise UserError(f"--seed must be 0 or more, found {values['seed']}.")
    for key in ("missing_values", "label_values"):
        if isinstance(values.get(key), str):
            try:
                values[key] = parse_value(values[key])
            except ruamel.yaml.YAMLError as error:
                raise UserError(f"--{key}={values[key]} is no yaml value.") from error
    return values


def _from_yaml(file, parser, base, paths):
    """Options of a corpus.yaml, in the form that the command line gives."""
    actions = {action.dest: action for action in parser._actions}
    allowed = set(actions) - {*PASSING, "help"}
    values, problems = {}, []
    for key, value in read_command(file).items():
        if key not in allowed:
            hint = near(str(key), allowed)
            problems.append(f"{key}" + (f", did you mean {hint}?" if hint else ""))
            continue
        is_list = isinstance(actions[key], argparse._AppendAction)
        entries = value if isinstance(value, list) and is_list else [value]
        kind = actions[key].type or (bool if actions[key].nargs == 0 else str)
        kind = {float: int | float}.get(kind, kind)
        if key in ("missing_values", "label_values"):  # looked at by `codes`
            values[key] = value
        elif all(isinstance(entry, kind) for entry in entries):
            values[key] = entries if is_list else value
        else:
            what = {str: "text", bool: "true or false"}.get(kind, "a number")
            problems.append(f"{key}: expected {what}, found {value!r}")
    if problems:
        raise UserError(f"{file} has what is no option of {parser.prog}:", problems)
    return {
        key: _resolved(key, value, base) if key in paths else value
        for key, value in values.items()
    }


def _resolved(key, value, base):
    """Paths made absolute."""
    if isinstance(value, list):
        return [_resolved(key, entry, base) for entry in value]
    name, equals, path = str(value).partition("=")
    if (
        key not in ("table", "csv")
        or not equals
        or "/" in name
        or (base / str(value)).exists()
    ):
        name, equals, path = "", "", str(value)
    if is_remote(path):
        return f"{name}{equals}{path}"
    return f"{name}{equals}{(base / Path(path).expanduser()).absolute()}"


def codes(values: dict) -> CellCodes:
    """What cells of labels mean beside numbers, by `--missing_values` and others."""
    wrong = [
        key
        for key, kind in (("missing_values", list), ("label_values", dict))
        if values.get(key) is not None and not isinstance(values[key], kind)
    ]
    if wrong:
        raise UserError(
            "Expected --missing_values='[-99, 88]' and "
            f"--label_values='{{COLUMN: {{present: 1}}}}'; wrong: {', '.join(wrong)}."
        )
    return CellCodes.of(values)


def accepted(values: dict) -> set[str]:
    """Kinds of problems that `--accept` goes on with.

    Raises UserError: for other kinds.
    """
    kinds = {kind.strip() for kind in (values.get("accept") or "").split(",")} - {""}
    if unknown := sorted(kinds - set(ACCEPTED)):
        raise UserError(
            f"--accept takes {', '.join(ACCEPTED)}, found {', '.join(unknown)}."
        )
    return kinds


def command_of(values: dict) -> dict:
    """What a corpus.yaml keeps of the options."""
    return {
        key: value
        for key, value in values.items()
        if key not in PASSING and (value or value == 0) and value is not False
    }
