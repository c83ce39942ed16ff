"""Two processes under torchrun on a CPU, where gloo has to be chosen by itself."""

import pytest
from conftest import read_csv
from running import SMALL, run_script, succeeded

pytestmark = pytest.mark.unmeasured

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def test_two_processes_train_and_extract_as_one(shared_corpus, tmp_path):
    folder = tmp_path / "out"
    succeeded(
        run_script(
            "train.py",
            "hparams/train.yaml",
            f"--corpus_folder={shared_corpus}",
            f"--output_folder={folder}",
            *SMALL,
            "--gauss=0.5",
            "--mixup=0.5",
            launcher=TORCHRUN,
        )
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
    succeeded(
        run_script(*extraction, f"--output_file={shared}", launcher=TORCHRUN),
    )
    assert shared.read_bytes() == alone.read_bytes()
    assert not shared.with_name("shared.parquet.parts").exists()
