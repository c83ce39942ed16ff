"""storage.experiment_files: one table of what commands leave in a folder."""

import pytest

from local.report.writing import OUTPUTS
from local.storage.experiment_files import (
    BASELINES,
    EVALUATIONS,
    FEATURES,
    FIGURES,
    FILES,
    LOG,
    MANIFESTS,
    MEASUREMENTS,
    SAVE,
    TRAIN_LOG,
    row_of,
)
from local.utils.run_lock import WRITTEN_TO


@pytest.mark.parametrize(
    ("name", "published", "reopen"),
    [
        ("hyperparams.yaml", "before", True),
        ("save/manifests/train.csv", "before", True),
        ("save/CKPT+2026/CKPT.yaml", "checkpoint", True),
        ("save/measurements/test.parquet", "result", True),
        ("audit.json", "result", True),
        ("metrics.json", "result", True),
        ("figures/roc.png", "result", False),
        ("evaluation/other/audit.json", "result", False),
        ("evaluation/other/save/CKPT+x/model.ckpt", "result", False),
        ("evaluation/other/debug/metrics.json", None, False),
        ("save/upload.json", None, False),
        ("save/features/1-2.npz", None, False),
    ],
)
def test_what_is_published_and_what_is_needed(name, published, reopen):
    assert (row_of(name).published, row_of(name).reopen) == (published, reopen)


@pytest.mark.parametrize("name", ["notes.txt", "save/x/a.wav", "old/metrics.json"])
def test_what_no_command_writes_has_no_row(name):
    assert row_of(name) is None


def test_an_evaluation_s_outputs_end_with_what_vouches_for_them():
    assert OUTPUTS[-1] == "metrics.json"
    assert {"predictions.csv", "report.html", "figures/roc.png"} < set(OUTPUTS)
    assert all(row_of(name).evaluation for name in OUTPUTS)
    assert [name for name in OUTPUTS if "*" in name] == ["baselines/*.csv"]


def test_a_claim_looks_at_every_folder_and_log_of_the_table():
    """It stands in a room that does not know the table."""
    folders = {
        SAVE,
        MANIFESTS.as_posix(),
        MEASUREMENTS.as_posix(),
        FEATURES.as_posix(),
        FIGURES,
        BASELINES,
        EVALUATIONS,
    }
    assert folders | {LOG, TRAIN_LOG, "env.log", "train.py"} < set(WRITTEN_TO)
    below = {name.rpartition("/")[0] for name in FILES if "CKPT" not in name}
    # those of loggers are other packages' own
    folders_of_files = {folder for folder in below if folder and "*" not in folder}
    assert folders_of_files - {"loggers"} <= folders
