"""local.cli: what a command line means, and the exit status of a script."""

import sys
from pathlib import Path

import pytest
from running import Started

from local import cli
from local.config import plain_values
from local.errors import UserError

ROOT = Path(__file__).parents[1]
TRAIN_YAML = ROOT / "hparams" / "train.yaml"


def overrides(*arguments):
    return cli.parse_arguments([str(TRAIN_YAML), *arguments]).overrides


def run_opts(*arguments):
    return cli.parse_arguments([str(TRAIN_YAML), *arguments]).run_opts


def user_error(*arguments):
    with pytest.raises(UserError) as raised:
        cli.parse_arguments(list(arguments))
    return str(raised.value)


# Keys


def test_abbreviations_are_refused():
    """argparse would take it for --optimizer_step_limit."""
    message = user_error(str(TRAIN_YAML), "--optimizer=adam")
    assert "--optimizer is neither a key of" in message
    assert "did you mean --optimizer_name?" in message


@pytest.mark.parametrize("key", ["--lrr=1", "--devic=cpu", "--Seed=1", "--=1", "--"])
def test_unknown_keys_are_refused(key):
    assert "is neither a key of" in user_error(str(TRAIN_YAML), key)


def test_keys_of_a_nested_object_are_no_keys():
    assert "--clip is neither" in user_error(str(TRAIN_YAML), "--clip=1")
    assert "--transforms is neither" in user_error(str(TRAIN_YAML), "--transforms=[]")


def test_run_options_are_not_overrides():
    arguments = cli.parse_arguments(
        [str(TRAIN_YAML), "--device=cpu", "--seed=3", "--precision=bf16"]
    )
    assert arguments.overrides == {"seed": 3}
    assert arguments.run_opts.device == "cpu"
    assert arguments.run_opts.precision == "bf16"
    assert arguments.hparams_file == TRAIN_YAML


def test_all_problems_are_told_at_once():
    message = user_error(
        str(TRAIN_YAML), "--sed=1", "--seed", "--debug=perhaps", "--betas=[1"
    )
    assert "did you mean --seed?" in message
    assert "--seed needs a value" in message
    assert "--debug is a switch (True or False), found 'perhaps'" in message
    assert "--betas is neither" in message


def test_a_value_that_is_no_yaml():
    assert "--channels=[1 is not a yaml value" in user_error(
        str(TRAIN_YAML), "--channels=[1"
    )


# Values


@pytest.mark.parametrize(
    ("argument", "key", "expected"),
    [
        ("--corpus_folder=/d/site=A/x=", "corpus_folder", "/d/site=A/x="),
        ("--corpus_folder=/with space", "corpus_folder", "/with space"),
        ("--corpus_folder=2024", "corpus_folder", "2024"),
        ("--corpus_folder=1e5", "corpus_folder", "1e5"),
        ("--study=007", "study", "007"),
        ("--study=null", "study", None),
        ("--data_folder=", "data_folder", None),
        ("--lr=1e-4", "lr", 0.0001),
        ("--seed=7", "seed", 7),
        ("--shared_dense=True", "shared_dense", True),
        ("--disjoint_by=[subject,site]", "disjoint_by", ["subject", "site"]),
        ("--channels=[8,8]", "channels", [8, 8]),
        (
            "--derived_labels={x: [a b, c=d]}",
            "derived_labels",
            {"x": ["a b", "c=d"]},
        ),
    ],
)
def test_values_of_keys(argument, key, expected):
    found = overrides(argument)
    assert found == {key: expected}
    assert type(found[key]) is type(expected)


def test_the_value_may_stand_apart():
    assert overrides("--seed", "-7", "--lr", "1e-4") == {"seed": -7, "lr": 0.0001}
    assert run_opts("--seed", "7", "--device", "cpu").device == "cpu"


def test_the_last_of_two_counts():
    assert overrides("--seed=1", "--seed=2") == {"seed": 2}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], False),
        (["--debug"], True),
        (["--debug=True"], True),
        (["--debug=true"], True),
        (["--debug=False"], False),
        (["--debug", "--seed=1"], True),
    ],
)
def test_switches(arguments, expected):
    assert run_opts(*arguments).debug is expected


def test_a_switch_does_not_swallow_the_yaml():
    arguments = cli.parse_arguments(["--debug", str(TRAIN_YAML)])
    assert arguments.hparams_file == TRAIN_YAML


def test_a_folder_called_2024_stays_text_in_references():
    values = plain_values(TRAIN_YAML, overrides("--output_folder=2024"))
    assert values["output_folder"] == "2024"
    assert values["save_folder"] == "2024/save"
    assert values["train_log"] == "2024/train_log.txt"


def test_a_run_option_with_a_wrong_value(capfd):
    assert "run option" in user_error(str(TRAIN_YAML), "--debug_batches=many")
    assert "debug_batches" in capfd.readouterr().err


# The yaml


def test_the_yaml_is_needed_once(tmp_path):
    assert "exactly one hyperparameter file" in user_error()
    assert "exactly one" in user_error(str(TRAIN_YAML), "more.yaml")
    absent = tmp_path / "absent.yaml"
    assert f"no hyperparameter file {absent}" in user_error(str(absent))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: [1\n", "not a yaml"),
        (b"- 1\n", "no keys"),
        (b"", "no keys"),
        (b"\xff", "yaml"),
    ],
)
def test_files_that_are_no_yaml(tmp_path, content, expected):
    (tmp_path / "a.yaml").write_bytes(content)
    assert expected in user_error(str(tmp_path / "a.yaml"))


# Exit status

SCRIPT = """
from local import cli
cli.run(lambda argv: {}[argv[0]])
"""


def run_here(monkeypatch, capsys, main):
    """cli.run in this process: (exit status, standard error)."""
    monkeypatch.setattr(sys, "argv", ["script.py", "a"])
    with pytest.raises(SystemExit) as left:
        cli.run(main)
    return left.value.code, capsys.readouterr().err


def raising(error):
    def main(argv):
        assert argv == ["a"]
        raise error

    return main


def test_status_and_message_of_an_unexpected_error(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = Started(tmp_path / "script.py", "missing", TMPDIR=str(tmp_path)).wait()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "KeyError: 'missing'" in done.stderr
    (kept,) = tmp_path.glob("traceback-*.txt")
    assert str(kept) in done.stderr
    assert "Traceback" in kept.read_text()
    assert "KeyError: 'missing'" in kept.read_text()


@pytest.mark.parametrize(("returned", "expected"), [(None, 0), (0, 0), (3, 3)])
def test_status_of_what_ends_well(monkeypatch, capsys, returned, expected):
    found = run_here(monkeypatch, capsys, lambda argv: returned)
    assert found == (expected, "")


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (cli.RunError("diverged"), 1, "error: diverged\n"),
        (OSError(28, "disk full"), 1, "error: [Errno 28] disk full\n"),
        (UserError("Wrong:", ["a", "b"]), 2, "error: Wrong:\n  - a\n  - b\n"),
        (
            KeyboardInterrupt(),
            130,
            "error: Stopped. What is finished is kept.\n",
        ),
    ],
)
def test_status_of_errors(monkeypatch, capsys, raised, expected, message):
    assert run_here(monkeypatch, capsys, raising(raised)) == (expected, message)
