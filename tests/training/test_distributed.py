"""Two processes on a CPU, where gloo has to be chosen by itself."""

import socket

import pytest
from conftest import read_csv
from running import SMALL, Started, run_script, succeeded

pytest_plugins = ["gcs_server"]
pytestmark = pytest.mark.unmeasured

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def under_torchrun(*arguments):
    """Run a script in two processes."""
    succeeded(run_script(*arguments, launcher=TORCHRUN))


def as_under_torchrun(*arguments, own=((), ())):
    """The same with what torchrun tells its processes, and without its start.

    own: Options of each of them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [
        Started(*arguments, *more, RANK=n, LOCAL_RANK=n, **place)
        for n, more in zip("01", own, strict=True)
    ]
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


def test_two_machines_train_from_a_bucket_with_a_cache_each(
    gcs, shared_corpus, shared_experiment, tmp_path
):
    """Neither cache holds all recordings, and the weights are those of local files."""
    gcs.put("hospital", shared_corpus, "corpus")
    caches = [tmp_path / "a" / "cache", tmp_path / "b" / "cache"]
    as_under_torchrun(
        *("train.py", "hparams/train.yaml", "--corpus_folder=gs://hospital/corpus"),
        *(f"--output_folder={tmp_path / 'out'}", *SMALL, "--audio_cache_gb=0.0001"),
        own=[(f"--audio_cache={cache}",) for cache in caches],
    )
    sizes = [
        sum(f.stat().st_size for f in (cache / "objects").rglob("*") if f.is_file())
        for cache in caches
    ]
    assert all(0 < size <= 100_000 for size in sizes), sizes
