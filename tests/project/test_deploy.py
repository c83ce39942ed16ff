"""deploy/: scripts that a shell can read, yamls whose commands this recipe knows."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml

from local.utils.cli import top_level_keys
from tests.project.test_yaml import ROOT

DEPLOY = ROOT / "deploy"
KEYS = top_level_keys(ROOT / "hparams" / "extract_embeddings.yaml")
FILES = ("batch.yaml", "vertex.yaml", "extract.slurm", "ray_job.sh")


@pytest.mark.parametrize("name", FILES)
def test_every_option_is_a_key(name):
    text = (DEPLOY / name).read_text(encoding="utf-8")
    command = text[text.index("extract_embeddings.py hparams") :]
    options = re.findall(r"(?<!\S)--([a-z_]+)=", command)
    assert len(options) >= 5 and set(options) <= set(KEYS)


@pytest.mark.parametrize("name", ["extract.slurm", "ray_job.sh"])
def test_scripts_can_be_read(name):
    checks = [["bash", "-n"]]
    checks += [["shellcheck"]] if shutil.which("shellcheck") else []
    for check in checks:
        subprocess.run([*check, DEPLOY / name], check=True)


def test_every_machine_of_vertex_has_a_share_of_its_own(tmp_path):
    (tmp_path / "python").symlink_to(sys.executable)
    pools = yaml.safe_load((DEPLOY / "vertex.yaml").read_text())["workerPoolSpecs"]
    (script,) = {pool["containerSpec"]["args"][0] for pool in pools}
    shares, asked = [], script[: script.index("python extract")] + 'echo "$shard"'
    for pool, count in (("workerpool0", 1), ("workerpool1", pools[1]["replicaCount"])):
        for index in (0, count - 1):
            task = f'{{"task": {{"type": "{pool}", "index": {index}}}}}'
            told = subprocess.run(
                ["/bin/bash", "-c", asked],
                env={"CLUSTER_SPEC": task, "PATH": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
            )
            shares.append(told.stdout.strip())
    n_machines = sum(pool["replicaCount"] for pool in pools)
    assert f'--shard="$shard/{n_machines}"' in script
    assert shares == ["1", "1", "2", str(n_machines)]


def test_an_array_task_of_slurm_runs_its_share(tmp_path):
    told = tmp_path / "told"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\necho "$@" > {told}\nexit 3\n')
    python.chmod(0o755)
    task = {"SLURM_SUBMIT_DIR": str(tmp_path), "PYTHON": str(python), "PATH": "/bin"}
    command = ["bash", DEPLOY / "extract.slurm", *"erao", "--backend=onnx"]
    subprocess.run(command, env=task, check=True)  # though recordings failed
    assert told.read_text().split()[2:] == [
        *("--experiment_folder=e", "--split_csv=r", "--data_folder=a"),
        *("--output_file=o", "--embedding_type=pt", "--backend=onnx"),
    ]
