"""How much faster objects of a distant bucket arrive in parallel than one by one.

    PYTHONPATH=.:tests python tests/benchmarks/gcs_download.py

Downloads 500 objects of 100 kB from the tests' bucket server, which waits 100 ms
before it answers each request: first one by one, then with the threads that
`local.storage.gcs.download_many` takes unless told otherwise. Both are measured in this
run, after one download that makes the client; client, proxy and emulator share this
process, so that the ratio is a lower bound. It takes about 70 s.
"""

import os
import tempfile
import time
from pathlib import Path

from gcs_server import bucket_server, running_emulator

from local.storage import gcs
from local.storage.gcs.parallel import N_THREADS

N_OBJECTS, N_BYTES = 500, 100_000
LATENCY_S = 0.1
FOLDER = gcs.Address("benchmark", "audio")


def duration_s(remotes, n_threads):
    """Seconds that it takes to download these objects to an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(remote, Path(folder) / remote.below(FOLDER)) for remote in remotes]
        begin = time.perf_counter()
        gcs.download_many(pairs, progress=False, n_threads=n_threads)
        return time.perf_counter() - begin


def main():
    """Fill a bucket, measure both, print both and their ratio."""
    with running_emulator() as emulator, bucket_server(emulator) as server:
        os.environ["STORAGE_EMULATOR_HOST"] = server.proxy.url
        for i in range(N_OBJECTS):
            name = (FOLDER / f"{i:03d}.wav").name
            server.put_bytes(FOLDER.bucket, name, os.urandom(N_BYTES))
        remotes = gcs.list_objects(FOLDER)
        server.proxy.latency_s = LATENCY_S
        duration_s(remotes[:1], 1)
        one_by_one_s = duration_s(remotes, 1)
        parallel_s = duration_s(remotes, N_THREADS)
    print(
        f"{N_OBJECTS} objects of {N_BYTES / 1000:.0f} kB, {LATENCY_S * 1000:.0f} ms "
        f"per request: one by one {one_by_one_s:.1f} s, {N_THREADS} threads "
        f"{parallel_s:.1f} s, ratio {one_by_one_s / parallel_s:.1f}"
    )


if __name__ == "__main__":
    main()
