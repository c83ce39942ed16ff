"""utils.cli: what a command line means, and the exit status of a script."""

import logging
import signal
import sys
import types
from pathlib import Path

import pytest
from conftest import user_error
from running import Started

from local.utils import cli, launch, signals, streams
from local.utils.errors import UserError
from local.utils.usage import Parser
from local.utils.yaml_files import load_hparams, plain_values

ROOT = Path(__file__).parents[2]
TRAIN_YAML = ROOT / "hparams" / "train.yaml"


def overrides(*arguments):
    return cli.parse_arguments([str(TRAIN_YAML), *arguments]).overrides


def run_opts(*arguments):
    return cli.parse_arguments([str(TRAIN_YAML), *arguments]).run_opts


def refusal(*arguments):
    return user_error(cli.parse_arguments, list(arguments))


# Keys


def test_abbreviations_are_refused():
    """argparse would take it for --optimizer_step_limit."""
    message = refusal(str(TRAIN_YAML), "--optimizer=adam")
    assert "--optimizer is neither a key of" in message
    assert "did you mean --optimizer_name?" in message


@pytest.mark.parametrize("key", ["--lrr=1", "--devic=cpu", "--Seed=1", "--=1", "--"])
def test_unknown_keys_are_refused(key):
    assert "is neither a key of" in refusal(str(TRAIN_YAML), key)


def test_a_base_that_is_not_the_first_key_is_told(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"lr: 0.1\nbase: {TRAIN_YAML}\n")
    message = refusal(str(file), "--corpus_folder=DIR")
    assert "base has no effect unless it is the yaml's first key" in message
    assert "no effect" not in refusal(str(TRAIN_YAML), "--lrr=1")


def test_keys_of_a_nested_object_are_no_keys():
    assert "--clip is neither" in refusal(str(TRAIN_YAML), "--clip=1")
    assert "--transforms is neither" in refusal(str(TRAIN_YAML), "--transforms=[]")


def test_run_options_are_not_overrides():
    arguments = cli.parse_arguments(
        [str(TRAIN_YAML), "--device=cpu", "--seed=3", "--precision=bf16"]
    )
    assert arguments.overrides == {"seed": 3}
    assert arguments.run_opts.device == "cpu"
    assert arguments.run_opts.precision == "bf16"
    assert arguments.hparams_file == TRAIN_YAML


def test_all_problems_are_told_at_once():
    message = refusal(
        str(TRAIN_YAML), "--sed=1", "--seed", "--debug=perhaps", "--betas=[1"
    )
    assert "did you mean --seed?" in message
    assert "--seed needs a value" in message
    assert "--debug is a switch (True or False), found 'perhaps'" in message
    assert "--betas is neither" in message


@pytest.mark.parametrize(
    "option",
    ["--random_state=null", "--eval_crop=3", "--modules={classifier: 1}", "--mix=3"],
)
def test_objects_are_given_by_a_yaml(option):
    key = option[2:].partition("=")[0]
    message = refusal(str(TRAIN_YAML), option)
    assert f"--{key}: an object, which only a yaml can give" in message
    assert f"`base: train.yaml` and has a line {key}: !new:…" in message


def test_a_value_that_is_no_yaml():
    assert "--channels=[1 is not a yaml value" in refusal(
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
        ("--corpus_folder=[a]", "corpus_folder", "[a]"),
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a.csv,gs://b/x=1/c.csv]", ["a.csv", "gs://b/x=1/c.csv"]),
        ("[2024, 'b, c.csv']", ["2024", "b, c.csv"]),
        ("[a].csv", "[a].csv"),
        ("2024", "2024"),
        ("null", None),
    ],
)
def test_one_path_or_a_list_of_them(text, expected):
    for yaml, key in (("extract_embeddings", "split_csv"), ("evaluate", "features")):
        found = cli.parse_arguments([f"hparams/{yaml}.yaml", f"--{key}={text}"])
        assert found.overrides == {key: expected}


def test_the_value_may_stand_apart():
    assert overrides("--seed", "-7", "--lr", "1e-4") == {"seed": -7, "lr": 0.0001}
    assert run_opts("--seed", "7", "--device", "cpu").device == "cpu"


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert run_opts("--device=cuda:1").device == "cuda:1"
    message = refusal(str(TRAIN_YAML), "--device=cuda:2")
    assert message.startswith("--device=cuda:2: there is no such GPU that PyTorch")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "(0 found)" in refusal(str(TRAIN_YAML), "--device=cuda")


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
    assert refusal(str(TRAIN_YAML), "--debug_batches=many") == (
        "A run option of SpeechBrain has a wrong value: argument --debug_batches: "
        "invalid int value: 'many'."
    )
    assert capfd.readouterr().err == ""  # not its usage


# The yaml


def test_the_yaml_is_needed_once(tmp_path):
    assert "exactly one hyperparameter file" in refusal()
    assert "exactly one" in refusal(str(TRAIN_YAML), "more.yaml")
    absent = tmp_path / "absent.yaml"
    assert f"no hyperparameter file {absent}" in refusal(str(absent))


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
    assert expected in refusal(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_yaml_as_editors_and_powershell_save_it(tmp_path, encoding):
    text = "label: strained \u2026 größer\nlr: 0.1\nhalf: !ref <lr> / 2\n"
    file = tmp_path / "a.yaml"
    file.write_bytes(text.encode(encoding))
    given = cli.parse_arguments([str(file), "--lr=0.5"])
    expected = {"label": "strained … größer", "lr": 0.5, "half": 0.25}
    assert plain_values(file, given.overrides) == expected
    assert load_hparams(file, given.overrides) == expected


# Exit status

SCRIPT = """
from local.utils import cli
cli.run(lambda argv: {}[argv[0]])
"""


def run_here(monkeypatch, capsys, main, **settings):
    """cli.run in this process: (exit status, standard error)."""
    monkeypatch.setattr(sys, "argv", ["script.py", "a"])
    with pytest.raises(SystemExit) as left:
        cli.run(main, **settings)
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
            "error: Stopped. Nothing is half written; the same command begins again.\n",
        ),
    ],
)
def test_status_of_errors(monkeypatch, capsys, raised, expected, message):
    assert run_here(monkeypatch, capsys, raising(raised)) == (expected, message)


def test_a_stopped_command_that_goes_on_says_so(monkeypatch, capsys):
    stopped = raising(signals.Stopped(signal.SIGTERM))
    found = run_here(monkeypatch, capsys, stopped, goes_on=True)
    assert found == (143, "error: Stopped. The same command goes on from here.\n")


def test_help_is_the_head_of_the_script(monkeypatch, capsys):
    """Also where docstrings are left out, as by PYTHONOPTIMIZE=2."""
    module = types.ModuleType("__main__")
    module.__file__ = str(ROOT / "train.py")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit) as left:
        cli.run(raising(AssertionError))
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert said.startswith("Train ECAPA-TDNN with several classifier heads")
    assert "\n    python train.py hparams/train.yaml --corpus_folder=DIR" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sead=1"], "unknown: --sead=1, did you mean --seed?"),
        (["--see=1"], "unknown: --see=1, did you mean --seed?"),
        (["--seed=x"], "argument --seed: invalid int value: 'x'"),
        (["-a.wav"], "unknown: -a.wav (for the file: ./-a.wav)"),
    ],
)
def test_a_wrong_option_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("-a.wav").touch()
    parser = Parser()
    parser.add_argument("files", nargs="*")
    parser.add_argument("--seed", type=int)
    with pytest.raises(SystemExit) as left:
        parser.parse_args(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err == f"error: {message}; --help lists the options\n"


@pytest.mark.parametrize("name", ["speechbrain.core", "speechbrain.utils.train_logger"])
@pytest.mark.parametrize("text", streams.OF_NO_CONCERN)
def test_messages_of_no_concern(name, text, monkeypatch, capsys, caplog):
    """Exactly these; others of the same logger are told."""
    logger = logging.getLogger(name)

    def main(argv):
        logger.warning(text)
        logger.warning(text[:5])

    before = list(logger.filters)
    run_here(monkeypatch, capsys, main)
    logger.filters[:] = before
    told = [r.getMessage() for r in caplog.records if r.name == logger.name]
    assert told == [text[:5]]


# Several processes

TORCHRUN = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


@pytest.fixture
def environment(monkeypatch):
    """A function that tells what the environment says of several processes."""
    for name in (*TORCHRUN, "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        monkeypatch.delenv(name, raising=False)

    def say(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return say


def test_what_torchrun_says(environment):
    environment(**TORCHRUN)
    assert run_opts("--device=cpu").distributed_backend == "gloo"
    assert launch.n_processes() == 2


@pytest.mark.parametrize("given", [("RANK",), ("LOCAL_RANK",), ("RANK", "LOCAL_RANK")])
def test_a_part_of_what_torchrun_says(environment, given):
    """SpeechBrain would take the process for another than the first, or wait."""
    environment(**{name: "1" for name in given})
    message = refusal(str(TRAIN_YAML))
    assert f"The environment has {' and '.join(given)}, as torchrun sets" in message
    assert "WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Start with `torchrun" in message


def test_numbers_of_torchrun_that_are_none(environment):
    environment(**TORCHRUN | {"RANK": "a", "MASTER_PORT": "-1"})
    assert refusal(str(TRAIN_YAML)).endswith(
        "no whole numbers:\n  - RANK=a\n  - MASTER_PORT=-1"
    )


def test_copies_of_a_batch_system(environment):
    environment(SLURM_PROCID="0", WORLD_SIZE="4", MASTER_ADDR="a")
    run_opts("--device=cpu")
    assert launch.n_processes() == 1
    environment(SLURM_PROCID="2")
    assert "SLURM_PROCID=2" in refusal(str(TRAIN_YAML))
    environment(**TORCHRUN)  # torchrun in a task of the batch system
    run_opts("--device=cpu")


def test_more_processes_than_gpus(environment, monkeypatch):
    environment(**TORCHRUN | {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert "than there are GPUs (1)" in refusal(str(TRAIN_YAML))
    assert run_opts("--device=cpu").distributed_backend == "gloo"
