"""Shards of an archive, or nodes of a Ray cluster, killed at random moments.

    PYTHONPATH=. python tests/simulations/kills.py [--n_kills=50] [--seed=1]
    PYTHONPATH=. python tests/simulations/kills.py --ray [--n_kills=20]

A small model is trained, and one process extracts an archive undisturbed. Then shards
make it, each a process of its own; whenever a number of parts drawn at random is there,
and a moment later, one of them gets SIGKILL and is begun again, as a scheduler does. In
the middle all of 4 shards are killed, and 7 go on. This is repeated until there were
`n_kills` or more. With `--ray`, a cluster of two nodes makes it, and one node is killed
and replaced again and again.

Whenever an archive is complete, its file must be the undisturbed one byte for byte, and
nothing may be left of parts and unfinished files.
"""

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import make_corpus, write_csv
from running import Started, extract, succeeded, train

#: Rows of a part of the archive's 16, and of the cluster's, which are to last longer.
N_ROWS, N_ROWS_RAY = 600, 4000

#: Seconds between the part that is waited for and a kill, at most.
LATEST_S = 0.4

#: Seconds between kills of nodes, at most.
LATEST_RAY_S = 8

#: Exit status: some recordings can't be used, and the archive has one of those.
FINE = (0, 3)


def main():
    """Kill, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n_kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder), N_ROWS_RAY if given.ray else N_ROWS)
        generator, kills = np.random.default_rng(given.seed), collections.Counter()
        begin, n_archives = time.monotonic(), 0
        while kills.total() < given.n_kills:
            n_left = given.n_kills - kills.total()
            file = archive.folder / f"e{n_archives}.parquet"
            way = kill_nodes if given.ray else kill_shards
            way(archive, file, generator, kills, n_left)
            archive.check(file)
            n_archives += 1
            print(f"{n_archives} archives, {dict(kills)}", flush=True)
        print(f"all as undisturbed, in {time.monotonic() - begin:.0f} s")


class Archive:
    """Rows of the recordings of a tiny corpus, and the file of one process."""

    def __init__(self, folder, n_rows):
        self.folder, corpus = folder, make_corpus(folder / "corpus")
        self.experiment = folder / "experiment"
        succeeded(train(corpus, self.experiment))
        names = sorted(path.name for path in (corpus / "audio").iterdir())
        names.append("nowhere")
        rows = [
            {"uid": f"r{i:04d}", "audio": names[i % len(names)]} for i in range(n_rows)
        ]
        write_csv(folder / "rows.csv", rows)
        self.uids = [row["uid"] for row in rows]
        self.options = (
            *(f"--split_csv={folder / 'rows.csv'}", "--device=cpu"),
            f"--data_folder={corpus / 'audio'}",
        )
        begin = time.monotonic()
        succeeded(extract(self.experiment, folder / "e.parquet", *self.options), 3)
        print(f"undisturbed: {time.monotonic() - begin:.1f} s", flush=True)
        ends = ("", ".failed.csv")
        self.expected = {end: (folder / f"e.parquet{end}").read_bytes() for end in ends}

    def start(self, file, *options):
        """Start an extraction."""
        return Started(
            *("extract_embeddings.py", "hparams/extract_embeddings.yaml"),
            *(f"--experiment_folder={self.experiment}", f"--output_file={file}"),
            *(*self.options, *options),
        )

    def check(self, file):
        """Fail unless an archive is the undisturbed one, and nothing else is left."""
        for end, content in self.expected.items():
            assert file.with_name(file.name + end).read_bytes() == content, file
        assert pq.read_table(file)["uid"].to_pylist() == self.uids
        left = [path.name for path in parts_of(file).glob("*")]
        assert left in ([], ["_complete.json"]), left
        assert not list(self.folder.glob("**/.*.tmp"))


def parts_of(file):
    """The folder of an archive's parts."""
    return file.with_name(f"{file.name}.parts")


def n_parts(file):
    """How many parts are made."""
    return len(list(parts_of(file).glob("part-*")))


def kill_shards(archive, file, generator, kills, n_left):
    """Make an archive by shards of which some are killed."""
    count, moments = 4, np.minimum(generator.integers(0, 20, min(n_left, 12)), 16)
    moments = sorted(moments.tolist())  # the file itself is made in a moment
    shards = {i: archive.start(file, f"--shard={i}/4") for i in range(1, 5)}
    while shards:
        _take_ended(shards)
        if count == 4 and n_parts(file) >= 8:
            for i in list(shards):
                _kill(shards.pop(i), file, kills)
            shards = {i: archive.start(file, f"--shard={i}/7") for i in range(1, 8)}
            count = 7
        if shards and moments and n_parts(file) >= moments[0]:
            moments.pop(0)
            time.sleep(generator.uniform(0, LATEST_S))
            if _take_ended(shards):
                i = int(generator.choice(list(shards)))
                _kill(shards[i], file, kills)
                shards[i] = archive.start(file, f"--shard={i}/{count}")
        time.sleep(0.002)


def _take_ended(shards):
    """Take away shards that have ended, which must have done so well."""
    for i in [i for i, shard in shards.items() if not shard.process.is_alive()]:
        run = shards.pop(i).wait()
        assert run.returncode in FINE, run.stdout[-3000:] + run.stderr[-3000:]
    return shards


def _kill(shard, file, kills):
    """Kill a shard without warning, and count in what state it leaves the archive."""
    shard.process.kill()
    if shard.wait().returncode in FINE:
        return
    n = n_parts(file)
    is_complete = (parts_of(file) / "_complete.json").exists()
    kills["complete" if is_complete else "merging" if n == 16 else "making"] += 1


def kill_nodes(archive, file, generator, kills, n_left):
    """Make an archive by a cluster of two nodes, of which one is killed often."""
    from ray.cluster_utils import Cluster

    store = {"object_store_memory": 80 * 2**20}
    head = {"num_cpus": 1, "include_dashboard": False, **store}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        node = cluster.add_node(num_cpus=1, **store)
        run = archive.start(file, f"--ray={cluster.address}")
        while run.process.is_alive():
            run.process.join(generator.uniform(0, LATEST_RAY_S))
            if run.process.is_alive() and n_left and parts_of(file).exists():
                cluster.remove_node(node, allow_graceful=False)
                node = cluster.add_node(num_cpus=1, **store)
                kills["node"] += 1
                n_left -= 1
        run = run.wait()
        assert run.returncode in FINE, run.stdout[-3000:] + run.stderr[-3000:]
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
