"""Archives as a user extracts them: shares, buckets, predictions, a data set, Ray."""

import collections
import json
import shutil

import pandas as pd
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from conftest import read_csv, write_csv
from running import Started, extract, failed, run_script, succeeded

from local.data import recordings
from local.data.recordings import BucketRecordings
from local.inference.shares import share_of_work
from local.storage.gcs import Address, Cache
from local.utils.errors import UserError

pytest_plugins = ["gcs_server"]
pytestmark = pytest.mark.unmeasured

NOTHING = {"shard": None, "shard_count": None}
NAMES = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN")


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({}, {}, None),
        ({}, {"shard": "1/4"}, (0, 4)),
        (dict(zip(NAMES, "343", strict=True)), {}, (0, 4)),
        (dict(zip(NAMES, "641", strict=False)), {}, None),
        (dict(zip(NAMES, "641", strict=True)), {"shard": "4/4"}, (3, 4)),
        (dict(zip(NAMES, "340", strict=True)), {}, (3, 4)),
        ({"CLOUD_RUN_TASK_INDEX": "3", "CLOUD_RUN_TASK_COUNT": "4"}, {}, (3, 4)),
        ({"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "1"}, {}, (0, 1)),
        ({"JOB_COMPLETION_INDEX": "6"}, {"shard_count": 7}, (6, 7)),
    ],
)
def test_a_share_is_told_by_the_option_or_the_scheduler(environment, options, expected):
    if expected is None and environment:  # task 6 of 4 from 1 on
        with pytest.raises(UserError, match="task 6 of an array of 4 from 1 on"):
            share_of_work(NOTHING | options, environment)
    else:
        assert share_of_work(NOTHING | options, environment) == expected


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({}, {"shard": "0/4"}, "expected a share such as --shard=1/4"),
        ({}, {"shard": "5/4"}, "expected a share such as --shard=1/4"),
        ({}, {"shard": "2"}, "expected a share such as --shard=1/4"),
        ({}, {"shard_count": 4}, "give --shard=I/N"),
        ({"JOB_COMPLETION_INDEX": "6"}, {}, "give --shard_count=N"),
        ({"JOB_COMPLETION_INDEX": "6"}, {"shard_count": 6}, "=6 of 6: expected"),
    ],
)
def test_a_share_that_is_none_is_refused(environment, options, message):
    with pytest.raises(UserError, match=message):
        share_of_work(NOTHING | options, environment)


@pytest.fixture
def rows(shared_corpus, tmp_path):
    """The options of 24 rows, one of a recording that is not there."""
    uids = [path.name for path in sorted((shared_corpus / "audio").iterdir())][:23]
    table = [{"uid": f"r{i:02d}", "audio": uid} for i, uid in enumerate(uids)]
    write_csv(tmp_path / "rows.csv", [*table, {"uid": "r99", "audio": "nowhere"}])
    return (
        f"--split_csv={tmp_path / 'rows.csv'}",
        f"--data_folder={shared_corpus}/audio",
    )


def test_shares_make_the_file_of_one_process(shared_experiment, rows, tmp_path):
    alone, shared = tmp_path / "alone.parquet", tmp_path / "shared.parquet"
    succeeded(extract(shared_experiment, alone, *rows), status=3)

    def share(option, status=0):
        run = extract(shared_experiment, shared, *rows, option, "--device=cpu")
        return succeeded(run, status).stdout

    assert "2 of 6 parts are made" in share("--shard=2/4", 3)
    message = failed(extract(shared_experiment, shared, *rows, "--merge"))
    assert ".parts 4 can't be used" in message and "part-000000-" in message
    assert not shared.exists()
    folder = tmp_path / "shared.parquet.parts"
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    for i in (3, 1, 2, 4, 5, 6):  # another N, some of it done already
        share(f"--shard={i}/7", status=3 if i in (5, 6) else 0)
    assert shared.read_bytes() == alone.read_bytes()
    assert read_csv(f"{shared}.failed.csv") == read_csv(f"{alone}.failed.csv")
    # late, or killed
    for name, content in (made | {f".{16 * '0'}.tmp": b""}).items():
        (folder / name).write_bytes(content)
    assert "is complete already" in share("--shard=7/7", status=3)
    assert [path.name for path in folder.iterdir()] == ["_complete.json"]
    assert "is complete already" in share("--merge", status=3)
    message = failed(extract(shared_experiment, shared, *rows, "--merge=dataset"))
    assert "has been put together as a file" in message
    (folder / "_complete.json").write_text("{")
    message = failed(extract(shared_experiment, shared, *rows, "--merge"))
    assert ".parts 6 can't be used" in message


def test_parts_stay_as_a_data_set(shared_experiment, rows, tmp_path):
    alone, parts = tmp_path / "alone.parquet", tmp_path / "set.parquet"
    succeeded(extract(shared_experiment, alone, *rows), status=3)
    run = extract(shared_experiment, parts, *rows, "--merge=later")
    succeeded(run, status=3)
    run = succeeded(extract(shared_experiment, parts, *rows, "--merge=dataset"), 3)
    assert "24 rows in 6 parts" in run.stdout and not parts.exists()
    folder = tmp_path / "set.parquet.parts"
    files = sorted(map(str, folder.glob("*.parquet")))
    table = pyarrow.dataset.dataset(files).to_table(columns=["uid", "embedding"])
    assert table.to_pydict() == pq.read_table(alone).to_pydict()
    frame = pd.concat(map(pd.read_parquet, files))
    assert frame["reason"].notna().tolist() == [False] * 23 + [True]


def test_predictions_of_a_csv_are_those_of_training(
    shared_experiment, shared_corpus, tmp_path
):
    file = tmp_path / "p.csv"
    options = (
        *("predict.py", f"--experiment_folder={shared_experiment}", "--device=cpu"),
        f"--split_csv={shared_corpus}/splits/test.csv",
        *(f"--data_folder={shared_corpus}/audio", f"--output_file={file}"),
    )
    for share in "12":
        succeeded(run_script(*options, f"--shard={share}/2"))
    own = shared_experiment / "predictions.csv"
    assert file.read_text() == own.read_text()
    evaluation = run_script(
        *("evaluate.py", "hparams/evaluate.yaml", f"--predictions_csv={file}"),
        *(f"--output_folder={tmp_path / 'out'}", "--report=False", "--audit=False"),
    )
    succeeded(evaluation)
    assert "goes with no files" in failed(run_script(*options, "--json"))
    files = "predict.py", f"--experiment_folder={shared_experiment}", str(file)
    assert "--shard=1/2" in failed(run_script(*files, "--shard=1/2"))
    assert "must end in .csv" in failed(run_script(*options, "--output_file=a.txt"))


@pytest.mark.parametrize("option", [(), ("--out_of_range=decide",)])
def test_there_is_no_decision_out_of_range(
    shared_experiment, shared_corpus, tmp_path, option
):
    copy = shutil.copytree(shared_experiment, tmp_path / "experiment")
    path = copy / "save" / "operating_points.json"
    points = json.loads(path.read_text())
    for point in points["labels"].values():
        point["threshold"] |= {"value": 0.0, "source": "validation"}
    path.write_text(json.dumps(points))
    path = copy / "save" / "training_range.json"
    known = json.loads(path.read_text())
    known["measures"]["level_dbfs"] = [10, 11, 12]  # louder than any recording
    path.write_text(json.dumps(known))
    run = run_script(
        *("predict.py", f"--experiment_folder={copy}", "--device=cpu", *option),
        f"--split_csv={shared_corpus}/splits/test.csv",
        f"--data_folder={shared_corpus}/audio",
        f"--output_file={tmp_path / 'p.csv'}",
    )
    succeeded(run)
    rows = read_csv(tmp_path / "p.csv")
    said = {(row["in_range"], row["predicted"]) for row in rows}
    assert said == {("0", "1" if option else "")}


def test_predictions_leave_out_what_cannot_be_used(
    shared_experiment, shared_corpus, tmp_path
):
    table = [{"uid": uid, "subject": uid[:3]} for uid in ("s12_1", "no", "s11_0")]
    pd.DataFrame(table).to_parquet(tmp_path / "rows.parquet")
    run = run_script(
        *("predict.py", f"--experiment_folder={shared_experiment}", "--device=cpu"),
        f"--split_csv={tmp_path / 'rows.parquet'}",
        *(
            f"--data_folder={shared_corpus}/audio",
            f"--output_file={tmp_path / 'p.csv'}",
        ),
    )
    succeeded(run, status=3)
    found = read_csv(tmp_path / "p.csv")
    assert [row["uid"] for row in found] == ["s12_1"] * 3 + ["s11_0"] * 3
    assert {row["target"] for row in found} == {""}
    known = {
        (row["uid"], row["label"]): row["logit"]
        for row in read_csv(shared_experiment / "predictions.csv")
    }
    assert all(row["logit"] == known[row["uid"], row["label"]] for row in found)
    assert [row["uid"] for row in read_csv(tmp_path / "p.csv.failed.csv")] == ["no"]


# Buckets


def test_shares_in_a_bucket(gcs, shared_experiment, shared_corpus, rows, tmp_path):
    """Each recording is fetched once, and nothing is asked object by object."""
    alone = tmp_path / "alone.parquet"
    succeeded(extract(shared_experiment, alone, *rows), status=3)
    gcs.put("clinic", shared_corpus / "audio", "audio")
    options = (
        *(rows[0], "--data_folder=gs://clinic/audio", "--device=cpu"),
        f"--audio_cache={tmp_path / 'cache'}",
    )

    def share(*more):
        result = extract(
            shared_experiment, "gs://clinic/out/e.parquet", *options, *more
        )
        return result.returncode

    statuses = [share("--shard=1/2")]
    fetched = [p for p in gcs.proxy.paths if "alt=media" in p and "audio" in p]
    assert len(fetched) == len(set(fetched)) == 2 * 12  # waveform and metadata
    statuses.append(share("--shard=2/2"))
    assert sorted(statuses) == [0, 3]
    kinds = collections.Counter(gcs.proxy.requests)
    made = [path for path in gcs.proxy.paths if "out/e.parquet.parts/part-" in path]
    assert sum("ifGenerationMatch=0" in path for path in made) == 6
    assert kinds["download"] < 2 * 23 + 40
    found = gcs.objects("clinic")
    assert found["out/e.parquet"][:4] == b"PAR1"
    assert pq.read_table(alone).num_rows == 24
    (tmp_path / "there.parquet").write_bytes(found["out/e.parquet"])
    here, there = (pq.read_table(tmp_path / f"{n}.parquet") for n in ("alone", "there"))
    assert here.equals(there)
    left = [name for name in found if name.startswith("out/")]
    assert sorted(left) == [
        *("out/e.parquet", "out/e.parquet.failed.csv"),
        "out/e.parquet.parts/_complete.json",
    ]


def test_recordings_far_apart_are_listed_one_by_one(gcs, tmp_path, monkeypatch):
    for name in (*(f"{letter}/waveform.wav" for letter in "abcdefgh"), "ward/z.wav"):
        gcs.put_bytes("clinic", f"audio/{name}", b"x")
    names, cache = ["b", "g", "ward/z.wav", "no"], Cache(tmp_path / "cache")

    def files():
        gcs.proxy.requests.clear()
        found = BucketRecordings(Address("clinic", "audio"), cache, names)
        reasons = found.unreadable(names)
        assert list(reasons) == ["no"] and "there is no folder" in reasons["no"]
        return {name: list(found._of(name)) for name in names[:3]}

    near = files()
    assert near == {name: ["waveform.wav"] for name in names[:3]}
    assert gcs.proxy.requests == {"list": 1}
    monkeypatch.setattr(recordings, "N_LISTED", 1)
    monkeypatch.setattr(recordings, "N_PAGES", 2)
    assert files() == near
    assert gcs.proxy.requests == {"list": 1 + 3, "stat": 1}


# A cluster


@pytest.mark.repeats
def test_a_cluster_loses_a_node(shared_experiment, rows, tmp_path):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    alone, file = tmp_path / "alone.parquet", tmp_path / "ray.parquet"
    succeeded(extract(shared_experiment, alone, *rows), status=3)
    memory = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    try:
        lost = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        run = Started(
            *("extract_embeddings.py", "hparams/extract_embeddings.yaml", *rows),
            *(f"--experiment_folder={shared_experiment}", f"--output_file={file}"),
            *("--device=cpu", f"--ray={cluster.address}"),
        )
        parts = tmp_path / "ray.parquet.parts"
        while run.process.is_alive() and not list(parts.glob("part-*")):
            run.process.join(0.1)
        cluster.remove_node(lost, allow_graceful=False)
        succeeded(run.wait(), status=3)
    finally:
        cluster.shutdown()
    assert ray and file.read_bytes() == alone.read_bytes()


def test_a_cluster_that_is_not_there_is_told(shared_experiment, rows, tmp_path):
    pytest.importorskip("ray")
    options = (*rows, "--ray=localhost:1", "--device=cpu")
    message = failed(extract(shared_experiment, tmp_path / "e.parquet", *options))
    assert "--ray=localhost:1: expected a Ray cluster" in message
