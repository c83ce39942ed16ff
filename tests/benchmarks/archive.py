"""An archive in a bucket, by two shards, beside one process that reads it on disk.

    PYTHONPATH=. python tests/benchmarks/archive.py --audio=FOLDER
        [--n_rows=2000,20000] [--n_alone=2000] [--without_metadata] [--backend=eager]

FOLDER holds recordings (folders with waveform.wav and metadata.json), to which the rows
are links. The network is that of hparams/train.yaml, trained for one epoch on a few
tones. The commands are those of a user, each a process of its own with one thread; both
shards run at the same time against gcp-storage-emulator, each with a cache of its own,
as two machines have. Prints CPU seconds, peak memory and requests. CPU seconds count,
as the emulator needs a core of its own and others may use the machine. More rows than
`n_alone` are not extracted on disk: it is compared by the recording.
"""

import argparse
import collections
import functools
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

from gcp_storage_emulator.handlers import objects

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import make_corpus, write_csv
from gcs_server import bucket_server, running_emulator
from running import ROOT, succeeded, train

#: What hparams/train.yaml has, and the small model of the tests has not.
NETWORK = (
    *("--sample_rate=16000", "--n_mels=80", "--channels=[512,512,512,512,1536]"),
    *("--attention_channels=128", "--lin_neurons=192", "--number_of_epochs=1"),
)

#: How often what a start takes is measured.
N_STARTS = 3


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--n_rows", default="2000,20000")
    parser.add_argument("--n_alone", type=int, default=2000)
    parser.add_argument("--without_metadata", action="store_true")
    parser.add_argument("--backend", default="eager")
    given = parser.parse_args()
    numbers = [int(n) for n in given.n_rows.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        experiment = folder / "experiment"
        succeeded(train(make_corpus(folder / "corpus"), experiment, *NETWORK))
        link_recordings(given, folder / "audio", max(numbers))
        measured = Measured(folder, experiment, given.backend)
        start_s = statistics.median(measured.alone(1)[0] for _ in range(N_STARTS))
        print(f"a start, with one recording: {start_s:.1f} s of CPU time", flush=True)
        context = multiprocessing.get_context("spawn")
        pipe, other = context.Pipe()
        arguments = (other, folder / "audio")
        context.Process(target=serve, args=arguments, daemon=True).start()
        measured.environment["STORAGE_EMULATOR_HOST"] = pipe.recv()
        for n in numbers:
            compare(measured, pipe, n, min(n, given.n_alone), start_s)


def link_recordings(given, folder, n_rows):
    """Link to recordings again and again."""
    sources = sorted(path for path in given.audio.resolve().iterdir() if path.is_dir())
    for i in range(n_rows):
        place = folder / f"r{i:06d}"
        place.mkdir(parents=True)
        for file in sources[i % len(sources)].iterdir():
            if file.suffix != ".json" or not given.without_metadata:
                (place / file.name).symlink_to(file)


def serve(pipe, folder):
    """A bucket with the recordings, whose requests are told when they are asked for."""
    read = functools.cache(Path.read_bytes)  # links to a few
    with running_emulator() as emulator, bucket_server(emulator) as server:
        server.create_bucket("clinic")
        for path in sorted(folder.glob("*/*")):
            name, content = f"audio/{path.relative_to(folder)}", read(path.resolve())
            described = ("", "clinic", name, "audio/wav", str(len(content)))
            resource = objects._checksums(
                content, objects._make_object_resource(*described)
            )
            emulator._storage.create_file("clinic", name, content, resource)
        pipe.send(server.proxy.url)
        while pipe.recv():
            pipe.send([urllib.parse.unquote(path) for path in server.proxy.paths])
            server.proxy.paths.clear()


def compare(measured, pipe, n, n_alone, start_s):
    """Measure both ways, of n rows; print."""
    here_s, here_mb, begin = *measured.alone(n_alone), time.monotonic()
    print(f"{n_alone} rows, on disk: {here_s:.1f} s of CPU time, {here_mb:.0f} MB")
    there = measured.shards(n)
    taken_s = time.monotonic() - begin
    there_s, there_mb = (sum(s for s, _ in there), max(mb for _, mb in there))
    pipe.send("requests")
    kinds = collections.Counter(map(kind_of, pipe.recv()))
    print(f"{n} rows, two shards: {there_s:.1f} s of CPU time, {there_mb:.0f} MB each")
    print(f"in {taken_s:.0f} s; a recording takes", end=" ")
    for title, n_starts in (("with", 0), ("without", 1)):
        here_ms = 1000 * (here_s - n_starts * start_s) / n_alone
        there_ms = 1000 * (there_s - 2 * n_starts * start_s) / n
        print(
            f"{title} starts {here_ms:.1f} ms on disk, {there_ms:.1f} ms of a bucket "
            f"({here_ms / there_ms:.3f})",
            end="\n" if n_starts else ", ",
        )
    for kind, count in sorted(kinds.items()):
        print(f"requests, {kind}: {count}, {count / n:.4f} per recording")
    sys.stdout.flush()


def kind_of(path):
    """What a request is about."""
    what = "listing"
    if re.search(r"alt=media|^/download", path):
        what = "download"
    elif path.startswith("/upload"):
        what = "upload"
    elif re.search(r"/o/[^?]", path):
        what = "other"
    about = re.search(r"metadata\.json|waveform|\.parts|\.parquet|prefix=\w*", path)
    return f"{what} of {about[0] if about else 'something else'}"


class Measured:
    """Runs extract_embeddings.py and tells CPU seconds and MB at most."""

    def __init__(self, folder, experiment, backend):
        self.folder, self.number = folder, 0
        self.command = (
            *(
                sys.executable,
                "extract_embeddings.py",
                "hparams/extract_embeddings.yaml",
            ),
            *(f"--experiment_folder={experiment}", f"--backend={backend}"),
            "--device=cpu",
        )
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def alone(self, n):
        """One process on disk."""
        file = self.folder / "e.parquet"
        return self._end(self._start(n, file, self.folder / "audio"))

    def shards(self, n):
        """Two shards at the same time; a pair of each."""
        self.number += 1
        place = f"gs://clinic/out/e{self.number}.parquet", "gs://clinic/audio"
        caches = {i: self.folder / f"cache{self.number}{i}" for i in (1, 2)}
        processes = [
            self._start(n, *place, f"--shard={i}/2", f"--audio_cache={cache}")
            for i, cache in caches.items()
        ]
        return [self._end(process) for process in processes]

    def _start(self, n, output_file, data_folder, *options):
        csv = self.folder / f"{n}.csv"
        if not csv.exists():
            write_csv(csv, [{"uid": f"r{i:06d}"} for i in range(n)])
        return subprocess.Popen(
            [
                *(*self.command, f"--split_csv={csv}", *options),
                *(f"--output_file={output_file}", f"--data_folder={data_folder}"),
            ],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _end(self, process):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, process.args
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
