"""The cache of a bucket's objects: right bytes, each fetched once, within a limit."""

import contextlib
import gzip
import multiprocessing
import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from local.storage.gcs import Address, Changed, RemoteObject, list_objects
from local.storage.gcs import cache as cache_module
from local.storage.gcs.cache import Cache
from local.storage.gcs.snapshots import LEFT_OVER_S, UNUSED_S, snapshot
from local.utils.errors import RunError, UserError

pytest_plugins = ["gcs_server"]

ROOT = Path(__file__).parents[2]
FOLDER = Address("hospital", "corpus")
FORK = multiprocessing.get_context("fork")


def content(i, n_bytes=10_000):
    """What the object of this number holds."""
    return random.Random(i).randbytes(n_bytes)


def put(gcs, n, n_bytes=10_000):
    """A listing of new objects, number i named after it."""
    for i in range(n):
        gcs.put_bytes("hospital", f"corpus/{i:03d}.wav", content(i, n_bytes))
    return list_objects(FOLDER)


def files(folder):
    """All files of a cache but the lock and the tag, temporary ones too."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "CACHEDIR.TAG")
    )


def n_downloads(gcs):
    """Requests for content so far."""
    return gcs.proxy.requests["download"]


def used(path, seconds_ago):
    """Let a file or folder be last used, or written, that long ago."""
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


# What is fetched


def test_right_bytes_each_fetched_once(gcs, tmp_path):
    cache = Cache(tmp_path / "cache")
    found = put(gcs, 5)
    assert not any(map(cache.holds, found))
    cache.fetch(found + found)
    assert [cache.path(remote).read_bytes() for remote in found] == [
        content(i) for i in range(5)
    ]
    assert all(map(cache.holds, found))
    assert n_downloads(gcs) == 5
    before = gcs.proxy.requests.copy()
    cache.fetch(iter(found), progress=True)
    Cache(str(tmp_path / "cache"), limit_gb=1).fetch(found)
    assert gcs.proxy.requests == before
    assert len(files(cache.folder)) == 5  # nothing left of the downloads


def test_path_is_a_digest_but_for_the_last_part(tmp_path):
    remote = RemoteObject("hospital", "corpus/audio/Jane Doe/a b.wav", 17, 3, "")
    path = Cache(tmp_path).path(remote).relative_to(tmp_path)
    # printf 'corpus/audio/Jane Doe' | sha256sum
    digest = "034105d6bda8d857a5176d880a5b08ea"
    assert path == Path("objects/hospital") / digest / "17" / "a b.wav"
    top = RemoteObject("hospital", "a.wav", 17, 3, "")
    nothing = "e3b0c44298fc1c149afbf4c8996fb924"  # sha256sum < /dev/null
    assert Cache("x").path(top) == Path(f"x/objects/hospital/{nothing}/17/a.wav")


def test_names_that_differ_by_case_are_kept_apart(gcs, tmp_path):
    names = ("corpus/S01/a.wav", "corpus/s01/a.wav")
    for name in names:
        gcs.put_bytes("hospital", name, name.encode())
    cache = Cache(tmp_path)
    found = list_objects(FOLDER)
    cache.fetch(found)
    assert [cache.path(remote).read_text() for remote in found] == list(names)
    assert len({str(cache.path(remote)).lower() for remote in found}) == 2


@pytest.mark.parametrize(
    "name", ["../../x", "corpus/..", "/etc/x", "a\nb", "a\\b", "a/", "x" * 256]
)
def test_names_that_can_not_be_trusted_are_refused(gcs, tmp_path, name):
    cache = Cache(tmp_path / "cache")
    remote = RemoteObject("hospital", name, 1, 0, "AAAAAA==")
    for call in (cache.path, cache.holds, lambda r: cache.fetch([r])):
        with pytest.raises(UserError, match="is no name for an object"):
            call(remote)
    assert list(tmp_path.iterdir()) == []
    assert not gcs.proxy.requests


def test_only_what_changed_is_fetched_again(gcs, tmp_path):
    cache = Cache(tmp_path)
    old = put(gcs, 2)
    cache.fetch(old)
    gcs.put_bytes("hospital", "corpus/001.wav", b"new")
    new = list_objects(FOLDER)
    assert [cache.holds(remote) for remote in new] == [True, False]
    cache.fetch(new)
    assert n_downloads(gcs) == 3
    assert "001.wav" in gcs.proxy.paths[-1]
    assert cache.path(new[1]).read_bytes() == b"new"
    assert cache.path(old[1]).read_bytes() == content(1)
    assert cache.path(new[0]) == cache.path(old[0])


def test_a_copy_that_was_cut_or_deleted_by_hand_is_fetched_again(gcs, tmp_path):
    cache = Cache(tmp_path, limit_gb=1)
    found = put(gcs, 3)
    cache.fetch(found)
    cache.path(found[0]).write_bytes(b"half")
    cache.path(found[1]).unlink()
    assert [cache.holds(remote) for remote in found] == [False, False, True]
    cache.fetch(found)
    assert n_downloads(gcs) == 5
    for i in range(3):
        assert cache.path(found[i]).read_bytes() == content(i)


def test_object_compressed_in_transport(gcs, tmp_path):
    packed = gzip.compress(b"uid,subject\n" * 1000)
    gcs.put_bytes("hospital", "corpus/a.csv", packed, encoding="gzip")
    cache = Cache(tmp_path)
    found = list_objects(FOLDER)
    cache.fetch(found)
    cache.fetch(found)
    assert cache.path(found[0]).read_bytes() == b"uid,subject\n" * 1000
    assert n_downloads(gcs) == 1


def test_folder_is_for_its_user_only(gcs, tmp_path):
    found = put(gcs, 1)
    previous = os.umask(0)
    try:
        Cache(tmp_path / "new" / "cache").fetch(found)
        snapshot(tmp_path / "other", FOLDER, found)
    finally:
        os.umask(previous)
    for folder in (tmp_path / "new" / "cache", tmp_path / "other"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_cache_can_be_pickled(gcs, tmp_path):
    found = put(gcs, 1)
    cache = Cache(tmp_path, limit_gb=2.5)
    cache.fetch(found)
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.folder, copy.limit_bytes) == (tmp_path, 2_500_000_000)
    assert copy.holds(found[0])
    assert pickle.loads(pickle.dumps(found)) == found


# What goes wrong


@pytest.mark.parametrize(
    "fault",
    [
        {"what": "corrupt"},
        {"what": "cut", "at": 4000},
        {"what": "status", "status": 503, "times": 2},
    ],
    ids=["corrupt", "cut", "503"],
)
def test_faults_that_pass(gcs, tmp_path, fault):
    cache = Cache(tmp_path, limit_gb=1)
    found = put(gcs, 3)
    gcs.proxy.inject(kind="download", path="001", **fault)
    cache.fetch(found)
    for i in range(3):
        assert cache.path(found[i]).read_bytes() == content(i)
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize("limit_gb", [None, 1])
def test_denied_leaves_nothing(gcs, tmp_path, limit_gb):
    found = put(gcs, 1)
    gcs.proxy.inject("status", kind="download", status=403)
    cache = Cache(tmp_path, limit_gb)
    with pytest.raises(UserError, match="access denied") as caught:
        cache.fetch(found)
    assert set(caught.value.failures) == set(found)
    assert files(tmp_path) == []
    assert not cache.holds(found[0])


def test_object_replaced_after_it_was_listed(gcs, tmp_path):
    cache = Cache(tmp_path)
    found = put(gcs, 2)
    gcs.put_bytes("hospital", "corpus/000.wav", content(7))
    with pytest.raises(RunError, match="was replaced") as caught:
        cache.fetch(found)
    assert isinstance(caught.value.failures[found[0]], Changed)
    assert files(tmp_path) == [str(cache.path(found[1]).relative_to(tmp_path))]
    assert cache.path(found[1]).read_bytes() == content(1)


def test_full_disk_leaves_nothing(gcs, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    found = put(gcs, 2)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Cache(tmp_path).fetch(found)
    deadline = time.monotonic() + 5  # the other download is told to stop
    while files(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert files(tmp_path) == []


def test_folder_that_can_not_be_one(gcs, tmp_path):
    found = put(gcs, 1)
    before = gcs.proxy.requests.copy()
    (tmp_path / "file").write_text("x")
    (tmp_path / "locked").mkdir(mode=0o500)
    folders = [tmp_path / "file", tmp_path / "file" / "below"]
    if os.geteuid():  # root may write anywhere
        folders += [tmp_path / "locked", tmp_path / "locked" / "below"]
    for folder in folders:
        for call in (Cache(folder).fetch, lambda r, f=folder: snapshot(f, FOLDER, r)):
            with pytest.raises(UserError, match="audio_cache must be a folder") as e:
                call(found)
            assert str(folder) in str(e.value)
    assert gcs.proxy.requests == before


# A limit


@contextlib.contextmanager
def sampled(folder):
    """Measures the bytes of all files again and again; lends the list of them."""
    samples, end = [], threading.Event()

    def sample():
        while not end.wait(0.002):
            # no file is moved or deleted meanwhile, to be counted twice or never
            with Cache(folder)._locked():
                samples.append(on_disk(folder))

    folder.mkdir(exist_ok=True)
    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        end.set()
        thread.join()


def on_disk(folder):
    """Bytes of all files in a cache but its own notes."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in set(names) - {".lock", "CACHEDIR.TAG", "claim"}:
            with contextlib.suppress(FileNotFoundError):  # a failed download's
                total += (Path(parent) / name).stat().st_size
    return total


def test_many_objects_stream_through_a_tenth_of_their_size(gcs, tmp_path):
    found = put(gcs, 100)
    cache = Cache(tmp_path, limit_gb=1e-4)  # 100 000 of 1 000 000 bytes
    with sampled(tmp_path) as samples:
        for first in range(0, 100, 4):
            cache.fetch(found[first : first + 4])
            for i in range(first, first + 4):
                assert cache.path(found[i]).read_bytes() == content(i)
    assert 80_000 <= max(samples) <= 100_000
    assert n_downloads(gcs) == 100
    assert sum(map(cache.holds, found)) >= 8
    folders = [path for path in (tmp_path / "objects").rglob("*") if path.is_dir()]
    assert all(any(folder.iterdir()) for folder in folders)  # empty ones are removed


def test_least_recently_used_go_first(gcs, tmp_path):
    found = put(gcs, 11)
    cache = Cache(tmp_path, limit_gb=1e-4)
    cache.fetch(found[:10])
    for i in range(10):
        used(cache.path(found[i]), 1000 - i)
    cache.fetch([found[0]])
    cache.fetch([found[10]])  # nine of ten may stay, the new one is the ninth
    held = [i for i in range(11) if cache.holds(found[i])]
    assert held == [0, 3, 4, 5, 6, 7, 8, 9, 10]
    cache.fetch(found[:1])
    assert n_downloads(gcs) == 11


def test_what_is_needed_together_must_fit(gcs, tmp_path):
    found = put(gcs, 4)
    cache = Cache(tmp_path, limit_gb=3e-5)
    before = gcs.proxy.requests.copy()
    with pytest.raises(UserError, match="audio_cache_gb is too small") as caught:
        cache.fetch(found)
    assert "4 objects" in str(caught.value)
    assert "40000 bytes" in str(caught.value)
    assert "30000" in str(caught.value)
    assert "Set it to 0.001 or more" in str(caught.value)
    assert gcs.proxy.requests == before
    cache.fetch(found[:3])  # exactly the limit
    cache.fetch(found[1:])
    assert [cache.holds(remote) for remote in found] == [False, True, True, True]


def test_somebodys_own_folder_is_no_cache(gcs, tmp_path):
    (found,) = put(gcs, 1)
    own = tmp_path / "data" / "objects" / "thesis.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        Cache(tmp_path / "data", limit_gb=2e-5).fetch([found])
    assert own.read_text() == "mine"
    assert files(tmp_path) == ["data/objects/thesis.txt"]
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        Cache(tmp_path / "empty").fetch([found])
    assert Cache(tmp_path / "empty").holds(found)


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), 1e300, "x", True])
def test_limit_that_is_none(tmp_path, limit):
    with pytest.raises(UserError, match="audio_cache_gb must be a number above 0"):
        Cache(tmp_path, limit)


def test_what_was_fetched_without_a_limit_counts(gcs, tmp_path):
    found = put(gcs, 10)
    Cache(tmp_path).fetch(found[:9])
    with sampled(tmp_path) as samples:
        Cache(tmp_path, limit_gb=5e-5).fetch(found[9:])
        end = time.monotonic() + 5
        while len(samples) < 5 and time.monotonic() < end:
            time.sleep(0.01)
    assert samples[-1] <= 45_000  # 90 % of the limit
    assert Cache(tmp_path).holds(found[9])


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"%020d" % 10**9])
def test_wrong_total_is_put_right(gcs, tmp_path, damage):
    found = put(gcs, 6)
    cache = Cache(tmp_path, limit_gb=5e-5)
    cache.fetch(found[:5])
    (tmp_path / ".lock").write_bytes(damage)
    cache.fetch(found[5:])
    assert cache.holds(found[5])
    assert sum(map(cache.holds, found)) == 4  # 90 % of five, rounded down


def test_failed_downloads_do_not_use_up_the_limit(gcs, tmp_path):
    found = put(gcs, 5)
    cache = Cache(tmp_path, limit_gb=5e-5)
    cache.fetch(found[:1])
    for _ in range(6):
        gcs.proxy.inject("status", kind="download", status=403)
        with pytest.raises(UserError, match="access denied"):
            cache.fetch(found[1:2])
    cache.fetch(found)
    assert all(map(cache.holds, found))


def test_no_look_at_all_files_for_each_object(gcs, tmp_path, monkeypatch):
    found = put(gcs, 50)
    cache = Cache(tmp_path, limit_gb=2e-4)  # twenty of them
    calls = []
    all_files = cache_module._files
    monkeypatch.setattr(
        cache_module, "_files", lambda folder: calls.append(1) or all_files(folder)
    )
    for remote in found:
        cache.fetch([remote])
    # at first; for the 21st, which leaves 18; for the 24th, …, 48th: the two in between
    # have room
    assert len(calls) == 1 + 1 + 9


def test_room_is_waited_for(gcs, tmp_path):
    found = put(gcs, 2, n_bytes=600_000)
    cache = Cache(tmp_path, limit_gb=1e-3)
    gcs.proxy.inject("stall", kind="download", path="000", seconds=0.3)
    first = threading.Thread(target=cache.fetch, args=(found[:1],))
    with sampled(tmp_path) as samples:
        first.start()
        end = time.monotonic() + 5
        while not any(samples) and time.monotonic() < end:
            time.sleep(0.01)
        cache.fetch(found[1:])
        first.join(10)
    assert max(samples) <= 10**6
    assert cache.path(found[1]).read_bytes() == content(1, 600_000)
    assert not cache.holds(found[0])


def test_room_is_not_waited_for_without_end(gcs, tmp_path, monkeypatch):
    found = put(gcs, 1)
    cache = Cache(tmp_path, limit_gb=1.5e-5)
    cache_module.private_folder(tmp_path)
    monkeypatch.setenv("GCS_DEADLINE_S", "0.3")
    claim = cache._claim(10_000, frozenset())  # of a process that does nothing
    with claim, pytest.raises(RunError, match="audio_cache_gb allows"):
        cache.fetch(found)
    cache.fetch(found)
    assert cache.holds(found[0])


def test_more_than_the_listing_says_is_let_in(gcs, tmp_path):
    for name in ("a", "b", "c"):
        packed = gzip.compress(bytes(20_000))
        gcs.put_bytes("hospital", f"corpus/{name}", packed, encoding="gzip")
    found = list_objects(FOLDER)
    cache = Cache(tmp_path, limit_gb=3e-5)
    cache.fetch(found[:2])
    (tmp_path / ".lock").write_bytes(b"")  # as if it had grown up to the limit
    cache.fetch(found)
    assert all(cache.path(remote).read_bytes() == bytes(20_000) for remote in found)


def test_folder_is_not_removed_under_a_file_that_comes(gcs, tmp_path, monkeypatch):
    found = put(gcs, 1)
    cache = Cache(tmp_path)
    replace = Path.replace

    def remove_empty_folders():
        with cache._locked():
            list(cache_module._files(tmp_path / "objects"))

    def replace_late(path, target):
        if path.name == "object":
            other = threading.Thread(target=remove_empty_folders, daemon=True)
            other.start()
            other.join(0.2)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_late)
    cache.fetch(found)
    assert cache.holds(found[0])


# Processes


def stream(folder, found, order, failures):
    """What a worker does: fetch, then read, again if somebody made room meanwhile."""
    cache = Cache(folder, limit_gb=1e-4)
    for i in order:
        for _ in range(20):
            cache.fetch([found[i]])
            with contextlib.suppress(FileNotFoundError):
                if cache.path(found[i]).read_bytes() != content(i):
                    failures.put(i)
                break
        else:
            failures.put(i)


def run_all(processes):
    """Start processes and wait until they have ended well."""
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_processes_share_the_limit(gcs, tmp_path):
    found = put(gcs, 30)
    failures = FORK.Queue()
    orders = [random.Random(i).sample(range(30), 30) for i in range(4)]
    with sampled(tmp_path) as samples:
        run_all(
            [
                FORK.Process(target=stream, args=(tmp_path, found, order, failures))
                for order in orders
            ]
        )
    assert failures.empty()
    assert 80_000 <= max(samples) <= 100_000


def test_two_processes_fetch_the_same(gcs, tmp_path):
    found = put(gcs, 5)
    gcs.proxy.latency_s = 0.05
    cache = Cache(tmp_path, limit_gb=1)
    run_all([FORK.Process(target=cache.fetch, args=(found,)) for _ in range(3)])
    assert [cache.path(remote).read_bytes() for remote in found] == [
        content(i) for i in range(5)
    ]
    assert len(files(tmp_path)) == 5


def test_fork_while_the_lock_is_held(gcs, tmp_path):
    found = put(gcs, 1)
    cache = Cache(tmp_path)
    end = FORK.Event()
    child = FORK.Process(target=end.wait, args=(20,), daemon=True)
    cache_module.private_folder(tmp_path)
    with cache._locked():
        child.start()
    fetching = threading.Thread(target=cache.fetch, args=(found,), daemon=True)
    fetching.start()
    fetching.join(5)
    assert cache.holds(found[0])
    end.set()
    child.join(10)


FETCH = """
import sys
from local.storage import gcs
from local.storage.gcs.cache import Cache
found = gcs.list_objects(gcs.Address("hospital", "corpus"))
Cache(sys.argv[1], float(sys.argv[2])).fetch(found)
"""


def test_killed_fetch(gcs, tmp_path):
    found = put(gcs, 1, n_bytes=600_000)
    gcs.proxy.inject("stall", kind="download", seconds=60)
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, tmp_path, "0.001"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    end = time.monotonic() + 30
    while on_disk(tmp_path) < 250_000 and time.monotonic() < end:
        time.sleep(0.02)
    cache = Cache(tmp_path, limit_gb=1e-3)
    with cache._locked():
        assert cache._in_flight() == 600_000  # what lives is not swept
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    assert on_disk(tmp_path) >= 250_000
    assert not cache.holds(found[0])
    assert not (tmp_path / "objects").exists()
    # what was killed takes no room: there is none for both
    with sampled(tmp_path) as samples:
        cache.fetch(found)
    assert max(samples) <= 10**6
    assert cache.path(found[0]).read_bytes() == content(0, 600_000)
    assert len(files(tmp_path)) == 1


def test_leftovers_are_swept_without_a_limit(gcs, tmp_path):
    found = put(gcs, 2)
    Cache(tmp_path).fetch(found[:1])
    for name, claim in (("a", "600000"), ("b", ""), ("c", None)):
        (tmp_path / "partial" / name).mkdir(parents=True)
        (tmp_path / "partial" / name / ".0123.tmp").write_bytes(b"half")
        if claim is not None:
            (tmp_path / "partial" / name / "claim").write_text(claim)
    Cache(tmp_path).fetch(found)
    assert len(files(tmp_path)) == 2


# Snapshots


def put_experiment(gcs):
    """The listing of two files, one of them in a folder."""
    for name, text in (("labels.txt", "low"), ("splits/val.csv", "uid\n")):
        gcs.put_bytes("hospital", f"corpus/{name}", text.encode())
    return list_objects(FOLDER)


def test_snapshot(gcs, tmp_path):
    found = put_experiment(gcs)
    folder = snapshot(tmp_path, FOLDER, found)
    assert folder.parent == tmp_path / "snapshots"
    assert files(folder) == ["labels.txt", "splits/val.csv"]
    assert (folder / "labels.txt").read_text() == "low"
    assert (folder / "splits" / "val.csv").read_text() == "uid\n"
    before = gcs.proxy.requests.copy()
    used(folder, 1000)
    assert snapshot(str(tmp_path), FOLDER, reversed(found)) == folder
    assert time.time() - folder.stat().st_mtime < 100  # marked as used
    assert gcs.proxy.requests == before


def test_snapshot_of_other_generations_is_another(gcs, tmp_path):
    old = snapshot(tmp_path, FOLDER, put_experiment(gcs))
    gcs.put_bytes("hospital", "corpus/labels.txt", b"loud")
    found = list_objects(FOLDER)
    new = snapshot(tmp_path, FOLDER, found)
    assert (old / "labels.txt").read_text() == "low"
    assert (new / "labels.txt").read_text() == "loud"
    below = snapshot(tmp_path, FOLDER / "splits", found[1:])
    assert files(below) == ["val.csv"]
    same = snapshot(tmp_path, FOLDER, found[1:])  # these generations, elsewhere
    assert files(same) == ["splits/val.csv"]


@pytest.mark.parametrize("status", [403, 400])
def test_snapshot_is_whole_or_not_there(gcs, tmp_path, status):
    found = put_experiment(gcs)
    gcs.proxy.inject("status", kind="download", path="val.csv", status=status)
    with pytest.raises((UserError, RunError), match=r"val\.csv"):
        snapshot(tmp_path, FOLDER, found)
    assert list((tmp_path / "snapshots").iterdir()) == []
    assert len(files(snapshot(tmp_path, FOLDER, found))) == 2


def test_snapshot_refuses_names_that_can_not_be_trusted(gcs, tmp_path):
    evil = RemoteObject("hospital", "corpus/../../x", 1, 0, "AAAAAA==")
    with pytest.raises(UserError, match="is no name for an object"):
        snapshot(tmp_path / "cache", FOLDER, [evil])
    assert list(tmp_path.iterdir()) == []


def test_snapshot_of_two_processes_at_once(gcs, tmp_path):
    found = put_experiment(gcs)
    gcs.proxy.latency_s = 0.2
    run_all(
        [FORK.Process(target=snapshot, args=(tmp_path, FOLDER, found)) for _ in "12"]
    )
    assert gcs.proxy.requests["download"] == 4  # both were at it
    before = gcs.proxy.requests.copy()
    assert len(files(snapshot(tmp_path, FOLDER, found))) == 2
    assert gcs.proxy.requests == before
    assert len(list((tmp_path / "snapshots").iterdir())) == 1


def test_snapshots_that_nobody_uses_are_removed(gcs, tmp_path):
    found = put_experiment(gcs)
    one = snapshot(tmp_path, FOLDER, found[:1])
    two = snapshot(tmp_path, FOLDER, found[1:])
    made = {name: tmp_path / "snapshots" / f".{name}.x" for name in ("killed", "alive")}
    for folder in made.values():
        (folder / "inner").mkdir(parents=True)
    used(one, UNUSED_S + 60)
    used(two, UNUSED_S - 60)
    used(made["killed"], LEFT_OVER_S + 60)
    used(made["alive"], LEFT_OVER_S - 60)
    three = snapshot(tmp_path, FOLDER, found)
    left = set((tmp_path / "snapshots").iterdir())
    assert left == {two, three, made["alive"]}
