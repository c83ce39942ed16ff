"""storage.first_look: what is wrong with paths is told before anything is loaded."""

import re
import signal
import subprocess
import sys

import pytest
from running import ROOT, failed, run_script, succeeded

from local.storage.first_look import check_paths
from local.utils.errors import UserError

EXTRACT = "hparams/extract_embeddings.yaml"


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict.py", "/nowhere.wav", "--experiment_folder=/nowhere"],
        ["evaluate.py", "hparams/evaluate.yaml", "--experiment_folder", "/nowhere"],
        ["extract_embeddings.py", EXTRACT, "--split_csv=[/nowhere/a.csv,/nowhere/b]"],
        ["train.py", "hparams/train.yaml", "--data_folder=/nowhere"],
        ["cross_validate.py", "/nowhere/train.yaml"],
        [
            "compute_statistics.py",
            "hparams/train_fbank.yaml",
            "--split_folder=/nowhere",
        ],
        ["export.py", "--experiment_folder=/nowhere", "--output_folder=out"],
        ["compare.py", "/nowhere/a", "/nowhere/b"],
    ],
)
def test_wrong_paths_are_told_before_libraries_are_loaded(arguments):
    message = failed(run_script(*arguments, launcher=("-X", "importtime")))
    assert not re.search(r"\| +(torch|speechbrain|pandas|scipy)$", message, re.M)
    told = message[message.index("error:") :]
    assert "/nowhere" in told and "import time" not in told


@pytest.mark.parametrize(
    ("script", "option"),
    [("evaluate.py", "--predictions_csv=FILE"), ("train.py", "--check_only=True")],
)
def test_the_help_loads_nothing(script, option):
    result = succeeded(run_script(script, "--help", launcher=("-X", "importtime")))
    assert option in result.stdout and "torch" not in result.stderr


def test_all_that_is_not_there_is_told_at_once(tmp_path):
    (tmp_path / "there.csv").write_text("uid\n")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(UserError) as error:
        check_paths(
            [
                EXTRACT,
                f"--split_csv=[{tmp_path}/there.csv,{tmp_path}/a.csv,{tmp_path}/b.csv]",
                f"--data_folder={tmp_path}/there.csv",
                f"--output_folder={tmp_path}/there.csv/out",
                f"--experiment_folder={tmp_path}",
                "--seed=nowhere",
            ]
        )
    assert error.value.problems == [
        f"split_csv {tmp_path}/a.csv, {tmp_path}/b.csv: there is no such file.",
        f"data_folder {tmp_path}/there.csv: there is no such folder.",
        f"output_folder is {tmp_path}/there.csv/out, and {tmp_path}/there.csv is a "
        "file: name a folder.",
        f"experiment_folder {tmp_path} holds no hyperparams.yaml: expected a folder "
        "that train.py made (its --output_folder).",
    ]


def test_what_may_be_there_is_left_to_others(tmp_path):
    (tmp_path / "a.csv").write_text("uid\n")
    check_paths(
        [
            EXTRACT,
            f"--split_csv={tmp_path}/a.csv",
            "--data_folder=gs://clinic/audio",
            "--features=[gs://clinic/a.parquet]",
            "--experiment_folder=gs://clinic/e",
            "--predictions_csv=null",
            f"--output_folder={tmp_path}/new",
            "--debug",
        ]
    )


def test_ctrl_c_while_libraries_are_loaded_ends_quietly():
    code = "import signal; from local.storage.first_look import look; look('__main__');"
    code += "signal.raise_signal(signal.SIGINT); print('goes on')"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGINT
    assert ended.stdout == ended.stderr == ""
