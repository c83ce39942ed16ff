"""Two processes on a CPU, where gloo has to be chosen by itself."""

import os
import socket
import subprocess
import sys
from collections import Counter

import pytest
from conftest import read_csv
from running import ROOT, SMALL, TIMEOUT_S, Started, run_script, succeeded

pytest_plugins = ["gcs_server"]
pytestmark = pytest.mark.unmeasured

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def under_torchrun(*arguments):
    """Run a script in two processes."""
    succeeded(run_script(*arguments, launcher=TORCHRUN))


def as_under_torchrun(*arguments):
    """The same with what torchrun tells its processes, and without its start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [Started(*arguments, RANK=n, LOCAL_RANK=n, **place) for n in "01"]
    for rank in ranks:
        succeeded(rank.wait())


@pytest.mark.parametrize(
    "run_two",
    [as_under_torchrun, pytest.param(under_torchrun, marks=pytest.mark.repeats)],
)
def test_two_processes_train_and_extract_as_one(run_two, shared_corpus, tmp_path):
    folder = tmp_path / "out"
    run_two(
        "train.py",
        "hparams/train.yaml",
        f"--corpus_folder={shared_corpus}",
        f"--output_folder={folder}",
        *SMALL,
        "--gauss=0.5",
        "--mixup=0.5",
    )
    lines = (folder / "train_log.txt").read_text().splitlines()
    assert len(lines) == 2  # one per epoch, not one per process
    assert len(list((folder / "save").glob("CKPT+*"))) in (1, 2)
    assert len(read_csv(folder / "predictions.csv")) == 8 * 3
    extraction = (
        "extract_embeddings.py",
        "hparams/extract_embeddings.yaml",
        f"--experiment_folder={folder}",
        f"--split_csv={shared_corpus / 'splits' / 'train.csv'}",
        "--embedding_type=pt",
    )
    alone, shared = (tmp_path / f"{name}.parquet" for name in ("alone", "shared"))
    succeeded(run_script(*extraction, f"--output_file={alone}"))
    run_two(*extraction, f"--output_file={shared}")
    assert shared.read_bytes() == alone.read_bytes()
    assert not shared.with_name("shared.parquet.parts").exists()


#: Runs a command for which a folder is another one than for everybody else.
ON_ANOTHER_DISK = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs x "$0" && exec "$@"')


def test_two_machines_train_from_a_bucket_with_a_cache_each(
    gcs, shared_corpus, tmp_path
):
    """Neither cache holds all recordings; what both need is fetched by both."""
    if subprocess.run([*ON_ANOTHER_DISK, tmp_path, "true"], check=False).returncode:
        pytest.skip("a process can't have a disk of its own here")
    gcs.put("hospital", shared_corpus, "corpus")
    cache = tmp_path / "cache"
    cache.mkdir()
    command = (
        *(sys.executable, "train.py", "hparams/train.yaml", *SMALL),
        *("--corpus_folder=gs://hospital/corpus", f"--audio_cache={cache}"),
        *(f"--output_folder={tmp_path / 'out'}", "--audio_cache_gb=0.0001"),
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    machines = [
        subprocess.Popen(
            [*disk, *command],
            cwd=ROOT,
            env={**os.environ, **place, "RANK": rank, "LOCAL_RANK": "0"},
        )
        for rank, disk in (("0", ()), ("1", (*ON_ANOTHER_DISK, cache)))
    ]
    assert [machine.wait(TIMEOUT_S) for machine in machines] == [0, 0]
    files = [path for path in (cache / "objects").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) <= 100_000
    paths = [path.split("?")[0] for path in gcs.proxy.paths if "alt=media" in path]
    assert any(n > 1 for path, n in Counter(paths).items() if "waveform" in path)
    assert len(read_csv(tmp_path / "out" / "predictions.csv")) == 8 * 3
