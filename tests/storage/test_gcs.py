"""Buckets: right bytes or a message, whatever happens on the way."""

import gzip
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from google.auth.exceptions import RefreshError

from local.storage import gcs as buckets
from local.storage.gcs import Address, clients
from local.utils.errors import RunError, UserError

pytest_plugins = ["gcs_server"]

ROOT = Path(__file__).parents[2]
FOLDER = Address("hospital", "corpus")
MEGABYTE = random.Random(0).randbytes(10**6)


def one(gcs, content=MEGABYTE, name="a.wav", **options):
    """The listing of one object that was just put there."""
    gcs.put_bytes("hospital", f"corpus/{name}", content, **options)
    (found,) = buckets.list_objects(FOLDER)
    return found


def left_in(folder):
    """Names of all files below a folder, temporary ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def message(kind, function, *args, **kwargs):
    """The text of an exception that must be of this very class."""
    with pytest.raises(Exception) as caught:
        function(*args, **kwargs)
    assert type(caught.value) is kind, repr(caught.value)
    assert "http" not in str(caught.value)
    return str(caught.value)


# Addresses and names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gs://hospital", "gs://hospital"),
        ("gs://hospital/", "gs://hospital"),
        ("gs://hospital/corpus/", "gs://hospital/corpus"),
        ("gs://hospital/corpus//", "gs://hospital/corpus"),
        ("gs://hospital/a b/ü.csv", "gs://hospital/a b/ü.csv"),
    ],
)
def test_address_is_written_in_one_way(text, expected):
    address = Address.parse(text)
    assert str(address) == expected
    assert Address.parse(str(address)) == address
    assert str(address / "x/" / "y.wav") == f"{expected}/x/y.wav"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gs://",
        "gs:///corpus",
        "gs:/hospital/corpus",
        "GS://hospital",
        "s3://hospital",
        "/data/corpus",
        "gs://Hospital",
        "gs://hospital?x=1",
        "gs://hospital/a//b",
        "gs://hospital/../b",
        "gs://hospital/a\nb",
    ],
)
def test_malformed_addresses_are_refused(text):
    with pytest.raises(UserError, match=r"gs://bucket/folder|is no name"):
        Address.parse(text)


def test_local_paths_are_told_from_addresses():
    assert buckets.is_remote("gs://hospital")
    assert buckets.is_remote(Path("gs://hospital/corpus"))  # pathlib merges slashes
    assert not buckets.is_remote("/data/gs://x")
    assert not buckets.is_remote("gs")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "./a",
        "a/./b",
        "a//b",
        "a/",
        "a\\..\\b",
        "a\nb",
        "a\0b",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\udc80b",
        "a" * 256,
        "ü" * 128,
        "/".join(["a" * 100] * 11),
    ],
)
def test_names_that_are_no_paths_below_a_folder(name):
    with pytest.raises(UserError, match="is no name for an object") as error:
        buckets.check_name(name)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", ["a", "..a/b..", "s 01/ü.wav", "-", "a" * 255, "😀"])
def test_names_that_are(name):
    assert buckets.check_name(name) == name
    assert (Address("hospital") / name).name == name


def test_object_with_an_untrusted_name_has_no_path(gcs):
    evil = one(gcs, name="s01\nrm.wav")
    with pytest.raises(UserError, match="control character"):
        evil.below(FOLDER)


def test_patience_from_the_environment(monkeypatch):
    monkeypatch.setenv("GCS_DEADLINE_S", "7.5")
    assert buckets.Patience.from_environment().deadline_s == 7.5
    for value in ("0", "-1", "nan", "inf", "soon", ""):
        monkeypatch.setenv("GCS_N_ATTEMPTS", value)
        with pytest.raises(UserError, match="GCS_N_ATTEMPTS must be a positive"):
            buckets.Patience.from_environment()


# Round trips


@pytest.mark.parametrize("n_bytes", [0, 1, 10**6, 9 * 2**20 + 1])
@pytest.mark.parametrize("name", ["plain.bin", "s 01/Röntgen #1?&%2F+.csv"])
def test_round_trip(gcs, tmp_path, n_bytes, name):
    gcs.create_bucket("hospital")
    source = tmp_path / "source"
    source.write_bytes(random.Random(n_bytes).randbytes(n_bytes))
    generation = buckets.upload(source, FOLDER / name)
    assert gcs.objects("hospital") == {f"corpus/{name}": source.read_bytes()}
    (remote,) = buckets.list_objects(FOLDER)
    assert (remote.generation, remote.size) == (generation, n_bytes)
    assert remote.below(FOLDER) == name
    assert remote.updated.tzinfo is not None
    buckets.download(remote, tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == source.read_bytes()
    assert left_in(tmp_path) == ["new/copy", "source"]


def test_folder_tree(gcs, tmp_path):
    (tmp_path / "in" / "audio" / "s01").mkdir(parents=True)
    (tmp_path / "in" / "labels.txt").write_text("low")
    (tmp_path / "in" / "audio" / "s01" / "waveform.wav").write_bytes(MEGABYTE)
    gcs.put("hospital", tmp_path / "in", "corpus")
    gcs.put_bytes("hospital", "corpus2/labels.txt", b"another corpus")
    gcs.put_bytes("hospital", "corpus/audio/", b"")  # as the web console makes folders
    found = buckets.list_objects(FOLDER)
    names = [remote.below(FOLDER) for remote in found]
    assert names == ["audio/s01/waveform.wav", "labels.txt"]
    buckets.download_many(
        (remote, tmp_path / "out" / remote.below(FOLDER)) for remote in found
    )
    for name in names:
        content = (tmp_path / "in" / name).read_bytes()
        assert (tmp_path / "out" / name).read_bytes() == content
    assert gcs.proxy.requests == {"list": 1, "download": 2}
    everything = buckets.list_objects(Address.parse("gs://hospital/"))
    assert [remote.name for remote in everything][-1] == "corpus2/labels.txt"
    assert buckets.list_objects(Address("hospital", "nothing/here")) == []


def test_listing_has_pages(gcs):
    for i in range(25):
        gcs.put_bytes("hospital", f"corpus/{i:02d}", b"%d" % i)
    gcs.proxy.page_size = 10
    found = buckets.list_objects(FOLDER)
    assert [remote.below(FOLDER) for remote in found] == [f"{i:02d}" for i in range(25)]
    assert gcs.proxy.requests == {"list": 3}
    assert all("fields=items" in path for path in gcs.proxy.paths)


def test_stat(gcs):
    remote = one(gcs, b"abc")
    now = buckets.stat(remote.address)
    assert (now.generation, now.size, now.crc32c) == (
        remote.generation,
        3,
        "Nks/tw==",  # crc32c("abc") = 0x364b3fb7, from RFC 3720's polynomial
    )


def test_object_compressed_in_transport_is_unpacked(gcs, tmp_path):
    remote = one(gcs, gzip.compress(b"uid,subject\n" * 1000), encoding="gzip")
    gcs.proxy.inject("cut", kind="download", at=20)
    buckets.download(remote, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b"uid,subject\n" * 1000


def test_object_that_says_gzip_but_is_not(gcs, tmp_path):
    remote = one(gcs, b"uid,subject\n", encoding="gzip")
    text = message(buckets.RemoteError, buckets.download, remote, tmp_path / "a.csv")
    assert "arrived wrong" in text
    assert left_in(tmp_path) == []


# Faults that pass

PASSING = {
    "cut": {"what": "cut", "kind": "download", "at": 400_000},
    "cut at once": {"what": "cut", "kind": "download", "at": 0, "times": 2},
    "cut at the end": {"what": "cut", "kind": "download", "at": 999_999},
    "no answer": {"what": "lost", "kind": "download", "times": 2},
    "stall": {"what": "stall", "kind": "download"},
    "corrupt": {"what": "corrupt", "kind": "download", "times": 2},
    "408": {"what": "status", "kind": "download", "status": 408},
    "429": {"what": "status", "kind": "download", "status": 429, "times": 2},
    "500": {"what": "status", "kind": "download", "status": 500},
    "burst of 503": {"what": "status", "kind": "download", "times": 4},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_download_gets_over(gcs, tmp_path, monkeypatch, fault):
    remote = one(gcs)
    if fault["what"] == "stall":
        monkeypatch.setenv("GCS_TIMEOUT_S", "0.5")
    gcs.proxy.inject(**fault)
    buckets.download(remote, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == MEGABYTE
    assert left_in(tmp_path) == ["a.wav"]
    n = fault.get("times", 1)
    assert gcs.proxy.requests["download"] == n + 1


def test_only_the_rest_is_fetched_after_a_cut(gcs, tmp_path):
    remote = one(gcs)
    gcs.proxy.inject("cut", kind="download", at=400_000)
    gcs.proxy.inject("cut", kind="download", at=300_000)
    buckets.download(remote, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == MEGABYTE
    assert gcs.proxy.bytes_sent < 1_100_000  # with the listing


def test_corrupt_byte_in_a_resumed_download_is_noticed(gcs, tmp_path):
    # the library itself checks nothing after a resumption
    remote = one(gcs)
    gcs.proxy.inject("cut", kind="download", at=400_000)
    gcs.proxy.inject("corrupt", kind="download")
    buckets.download(remote, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == MEGABYTE
    assert gcs.proxy.requests["download"] == 3


def test_slow_but_steady_download_outlives_the_deadline(gcs, tmp_path):
    content = MEGABYTE * 7
    remote = one(gcs, content)
    gcs.proxy.inject("cut", kind="download", at=1_200_000, times=5)
    gcs.proxy.latency_s = 0.25
    patience = buckets.Patience(20, 0.3, 0.01, 0.01)
    buckets.download(remote, tmp_path / "a.wav", patience)
    assert (tmp_path / "a.wav").read_bytes() == content


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_is_honoured(gcs, tmp_path, dated):
    remote = one(gcs)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    gcs.proxy.inject(
        "status", kind="download", status=429, retry_after=date if dated else "1"
    )
    begin = time.monotonic()
    patience = buckets.Patience(20, 60, 0.01, 1)
    buckets.download(remote, tmp_path / "a.wav", patience)
    assert time.monotonic() - begin > 0.8
    assert (tmp_path / "a.wav").read_bytes() == MEGABYTE


def test_retry_after_of_an_hour_is_not(gcs, tmp_path):
    remote = one(gcs)
    gcs.proxy.inject("status", kind="download", status=503, retry_after="3600")
    begin = time.monotonic()
    buckets.download(remote, tmp_path / "a.wav")
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("what", ["status", "cut", "lost", "stall"])
def test_listing_and_stat_get_over(gcs, monkeypatch, what):
    remote = one(gcs)
    if what == "stall":
        monkeypatch.setenv("GCS_TIMEOUT_S", "0.5")
    gcs.proxy.inject(what, kind="list", at=50)
    gcs.proxy.inject(what, kind="stat", at=50)
    assert buckets.list_objects(FOLDER) == [remote]
    assert buckets.stat(remote.address).generation == remote.generation


# Faults that don't


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"what": "corrupt", "times": 3}, buckets.RemoteError, "arrived wrong 3 times"),
        ({"what": "status", "status": 400}, buckets.RemoteError, "400 (Bad Request)"),
        ({"what": "status", "status": 401}, buckets.Denied, "application-default"),
        (
            {"what": "status", "status": 403, "reason": "insufficientPermissions"},
            buckets.Denied,
            "(403, insufficientPermissions): the credentials lack the right "
            "storage.objects.get. Ask the bucket's owner for the role "
            "roles/storage.objectViewer",
        ),
    ],
    ids=["corrupt", "400", "401", "403"],
)
def test_download_ends_with_a_message(gcs, tmp_path, fault, kind, words):
    remote = one(gcs)
    gcs.proxy.inject(kind="download", **fault)
    text = message(kind, buckets.download, remote, tmp_path / "a.wav")
    assert "gs://hospital/corpus/a.wav" in text
    assert words in text
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("what", ["status", "cut", "stall", "lost"])
def test_download_ends_at_the_deadline(gcs, tmp_path, what):
    remote = one(gcs)
    fault = gcs.proxy.inject(what, kind="download", times=10**6, at=0)
    begin = time.monotonic()
    patience = buckets.Patience(0.1, 1, 0.02, 0.1)
    text = message(
        buckets.Unreachable, buckets.download, remote, tmp_path / "a.wav", patience
    )
    assert time.monotonic() - begin < 30  # half of what is given otherwise
    assert "gs://hospital/corpus/a.wav could not be reached" in text
    assert left_in(tmp_path) == []
    assert fault.injected > 2
    fault.times = fault.injected


def test_no_server_at_all(gcs, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("GCS_DEADLINE_S", "1")
    text = message(buckets.Unreachable, buckets.list_objects, FOLDER)
    assert "gs://hospital/corpus could not be reached: the connection failed" in text


def test_emulator_address_needs_a_scheme(monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "localhost:9023")
    with pytest.raises(UserError, match="must begin with http"):
        buckets.client()


@pytest.mark.parametrize(
    ("kind", "right", "call"),
    [
        ("list", "storage.objects.list", lambda path: buckets.list_objects(FOLDER)),
        ("stat", "storage.objects.get", lambda path: buckets.stat(FOLDER / "x")),
        (
            "upload",
            "storage.objects.create",
            lambda path: buckets.upload(path, FOLDER / "x"),
        ),
    ],
)
def test_the_missing_right_is_named(gcs, tmp_path, kind, right, call):
    (tmp_path / "x").write_text("x")
    gcs.create_bucket("hospital")
    gcs.proxy.inject("status", kind=kind, status=403)
    text = message(buckets.Denied, call, tmp_path / "x")
    assert "gs://hospital/corpus" in text
    assert f"lack the right {right}" in text


def test_missing_bucket_and_object(gcs, tmp_path):
    (tmp_path / "x").write_text("x")
    address = Address("no-such-bucket", "x")
    for call in (
        lambda: buckets.list_objects(address),
        lambda: buckets.stat(address),
        lambda: buckets.upload(tmp_path / "x", address),
    ):
        assert "gs://no-such-bucket/x does not exist" in message(buckets.Missing, call)
    gcs.create_bucket("hospital")
    assert "gs://hospital/corpus/x does" in message(
        buckets.Missing, buckets.stat, FOLDER / "x"
    )


def test_no_credentials(monkeypatch, tmp_path):
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    text = message(buckets.Denied, buckets.list_objects, FOLDER)
    assert text.startswith(
        "gs://hospital/corpus: expected application default credentials, found none"
    )
    assert "gcloud auth application-default login" in text


def test_full_disk_is_no_network_trouble(gcs, tmp_path):
    remote = one(gcs)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        buckets.download(remote, tmp_path / "file" / "a.wav")
    with pytest.raises(OSError, match="file"):
        buckets.download_many([(remote, tmp_path / "file" / "a.wav")] * 3)


# Generations


def test_object_replaced_between_listing_and_download(gcs, tmp_path):
    remote = one(gcs, b"old")
    new = gcs.put_bytes("hospital", "corpus/a.wav", b"new")
    text = message(buckets.Changed, buckets.download, remote, tmp_path / "a.wav")
    assert f"generation {remote.generation}, now {new}" in text
    assert left_in(tmp_path) == []


def test_object_replaced_during_the_download(gcs, tmp_path):
    remote = one(gcs)
    gcs.proxy.inject("cut", kind="download", at=400_000)
    gcs.proxy.inject(
        "call",
        kind="download",
        callback=lambda: gcs.put_bytes("hospital", "corpus/a.wav", MEGABYTE[::-1]),
    )
    message(buckets.Changed, buckets.download, remote, tmp_path / "a.wav")
    assert left_in(tmp_path) == []
    (now,) = buckets.list_objects(FOLDER)
    buckets.download(now, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == MEGABYTE[::-1]


def test_object_deleted_after_listing(gcs, tmp_path):
    remote = one(gcs)
    gcs.delete("hospital", "corpus/a.wav")
    text = message(buckets.Missing, buckets.download, remote, tmp_path / "a.wav")
    assert "gs://hospital/corpus/a.wav does not exist" in text
    assert left_in(tmp_path) == []


def test_failed_download_keeps_the_file_before(gcs, tmp_path):
    remote = one(gcs)
    (tmp_path / "a.wav").write_bytes(b"earlier")
    gcs.proxy.inject("status", status=403, kind="download")
    message(buckets.Denied, buckets.download, remote, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == b"earlier"


# Many


def test_failures_are_reported_together(gcs, tmp_path):
    contents = {f"{i:02d}.wav": b"%d" % i * 1000 for i in range(20)}
    for name, content in contents.items():
        gcs.put_bytes("hospital", f"corpus/{name}", content)
    found = buckets.list_objects(FOLDER)
    gcs.delete("hospital", "corpus/03.wav")
    gcs.delete("hospital", "corpus/07.wav")
    gcs.proxy.inject("cut", kind="download", path="11.wav", at=10)
    pairs = [(remote, tmp_path / remote.below(FOLDER)) for remote in found]
    with pytest.raises(UserError) as caught:
        buckets.download_many(pairs, n_threads=4)
    first, *rest = str(caught.value).splitlines()
    assert first == "2 of 20 objects could not be downloaded:"
    assert rest[0].startswith("  - gs://hospital/corpus/03.wav does not exist")
    assert rest[1].startswith("  - gs://hospital/corpus/07.wav does not exist")
    failures = {remote.below(FOLDER) for remote in caught.value.failures}
    assert failures == {"03.wav", "07.wav"}
    assert left_in(tmp_path) == sorted(contents.keys() - failures)
    for name in contents.keys() - failures:
        assert (tmp_path / name).read_bytes() == contents[name]


def test_a_dead_server_is_not_tried_for_every_object(gcs, tmp_path):
    for i in range(40):
        gcs.put_bytes("hospital", f"corpus/{i}", b"x")
    found = buckets.list_objects(FOLDER)
    fault = gcs.proxy.inject("status", kind="download", times=10**6)
    pairs = [(remote, tmp_path / remote.below(FOLDER)) for remote in found]
    patience = buckets.Patience(0.2, 0.3, 0.02, 0.1)
    begin = time.monotonic()
    with pytest.raises(RunError, match=r"more were not tried\):") as caught:
        buckets.download_many(pairs, n_threads=4, patience=patience)
    assert time.monotonic() - begin < 30
    assert len(caught.value.failures) < 20
    assert left_in(tmp_path) == []
    fault.times = fault.injected


@pytest.mark.parametrize("status", [401, 403])
def test_denied_once_is_denied_for_all(gcs, tmp_path, status):
    for i in range(40):
        gcs.put_bytes("hospital", f"corpus/{i:02d}", b"x")
    found = buckets.list_objects(FOLDER)
    fault = gcs.proxy.inject("status", kind="download", status=status, times=10**6)
    pairs = [(remote, tmp_path / remote.below(FOLDER)) for remote in found]
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        buckets.download_many(pairs, n_threads=4)
    n_failed = len(caught.value.failures)
    assert n_failed == fault.injected <= 4  # those that had begun
    assert "1 of 40 objects" in str(caught.value)  # the others are the same
    assert "(39 more were not tried):" in str(caught.value)
    assert left_in(tmp_path) == []
    fault.times = fault.injected


def test_downloads_are_parallel(gcs, tmp_path):
    for i in range(8):
        gcs.put_bytes("hospital", f"corpus/{i}", b"x" * 1000)
    found = buckets.list_objects(FOLDER)
    four = threading.Barrier(4)  # a request waits there until there are four
    gcs.proxy.inject(
        "call", kind="download", times=8, callback=lambda: four.wait(timeout=20)
    )
    buckets.download_many((remote, tmp_path / remote.name) for remote in found)
    assert not four.broken
    assert len(left_in(tmp_path)) == 8


def test_a_stopped_download_leaves_nothing(gcs, tmp_path):
    remote = one(gcs)
    stop = threading.Event()
    gcs.proxy.inject("call", kind="download", callback=stop.set)
    with pytest.raises(RunError, match="was stopped"):
        buckets.download(remote, tmp_path / "a.wav", stop=stop)
    assert left_in(tmp_path) == []


# Uploads


def test_one_of_two_uploaders_loses(gcs, tmp_path):
    gcs.create_bucket("hospital")
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    target = FOLDER / "latest.json"
    first = buckets.upload(tmp_path / "a", target, if_generation_match=0)
    text = message(
        buckets.Conflict, buckets.upload, tmp_path / "b", target, if_generation_match=0
    )
    assert "gs://hospital/corpus/latest.json was written by somebody else" in text
    assert gcs.objects("hospital") == {target.name: b"a"}
    second = buckets.upload(tmp_path / "b", target, if_generation_match=first)
    assert second != first
    message(
        buckets.Conflict,
        buckets.upload,
        tmp_path / "a",
        target,
        if_generation_match=first,
    )
    assert gcs.objects("hospital") == {target.name: b"b"}


@pytest.mark.parametrize("n_bytes", [5, 9 * 2**20])
def test_write_by_somebody_else_meanwhile_is_noticed(gcs, tmp_path, n_bytes):
    (tmp_path / "a").write_bytes(bytes(n_bytes))
    gcs.create_bucket("hospital")
    gcs.proxy.inject(
        "call",
        kind="chunk" if n_bytes > 5 else "upload",
        callback=lambda: gcs.put_bytes("hospital", "corpus/a", b"somebody else's"),
    )
    message(buckets.Conflict, buckets.upload, tmp_path / "a", FOLDER / "a")
    assert gcs.objects("hospital") == {"corpus/a": b"somebody else's"}


UPLOAD_FAULTS = [
    ("status", {"status": 503, "times": 3}),
    ("status", {"status": 429, "retry_after": "1"}),
    ("lost", {}),
    ("lost", {"times": 2}),
    ("cut", {"at": 10}),
    ("stall", {}),
    ("corrupt_request", {}),
]


@pytest.mark.parametrize(
    ("kind", "what", "options"),
    [
        (kind, what, options)
        for kind in ("upload", "session", "chunk")
        for what, options in UPLOAD_FAULTS
        if (kind, what) != ("session", "corrupt_request")  # no content is sent
    ],
)
def test_upload_gets_over(gcs, tmp_path, monkeypatch, kind, what, options):
    if what == "stall":
        monkeypatch.setenv("GCS_TIMEOUT_S", "0.5")
    n_bytes = 100_000 if kind == "upload" else 9 * 2**20
    (tmp_path / "a").write_bytes(random.Random(1).randbytes(n_bytes))
    gcs.create_bucket("hospital")
    gcs.proxy.inject(what, kind=kind, **options)
    generation = buckets.upload(tmp_path / "a", FOLDER / "a", if_generation_match=0)
    assert gcs.objects("hospital") == {"corpus/a": (tmp_path / "a").read_bytes()}
    assert buckets.stat(FOLDER / "a").generation == generation


def test_upload_whose_session_is_lost_starts_again(gcs, tmp_path):
    (tmp_path / "a").write_bytes(random.Random(1).randbytes(9 * 2**20))
    gcs.create_bucket("hospital")
    gcs.proxy.inject("status", status=410, kind="chunk")
    buckets.upload(tmp_path / "a", FOLDER / "a")
    assert gcs.objects("hospital") == {"corpus/a": (tmp_path / "a").read_bytes()}


def test_upload_of_the_same_bytes_by_somebody_else_is_a_conflict(gcs, tmp_path):
    (tmp_path / "a").write_bytes(b"same")
    gcs.put_bytes("hospital", "corpus/a", b"same")
    message(
        buckets.Conflict,
        buckets.upload,
        tmp_path / "a",
        FOLDER / "a",
        if_generation_match=0,
    )


def test_upload_that_is_corrupted_every_time_leaves_nothing(gcs, tmp_path):
    (tmp_path / "a").write_bytes(MEGABYTE)
    gcs.create_bucket("hospital")
    gcs.proxy.inject("corrupt_request", kind="upload", times=3)
    text = message(buckets.RemoteError, buckets.upload, tmp_path / "a", FOLDER / "a")
    assert "gs://hospital/corpus/a" in text
    assert gcs.objects("hospital") == {}


def test_upload_ends_at_the_deadline(gcs, tmp_path):
    (tmp_path / "a").write_bytes(MEGABYTE)
    gcs.create_bucket("hospital")
    fault = gcs.proxy.inject("status", kind="upload", times=10**6)
    patience = buckets.Patience(0.2, 0.4, 0.02, 0.1)
    text = message(
        buckets.Unreachable,
        buckets.upload,
        tmp_path / "a",
        FOLDER / "a",
        patience=patience,
    )
    assert "the server answered 503 (Service Unavailable)" in text
    fault.times = fault.injected


def test_file_that_is_not_there(gcs, tmp_path):
    gcs.create_bucket("hospital")
    with pytest.raises(FileNotFoundError):
        buckets.upload(tmp_path / "a", FOLDER / "a")


# Processes

DOWNLOAD = """
import sys
from local.storage import gcs
(remote,) = gcs.list_objects(gcs.Address("hospital", "corpus"))
gcs.download(remote, sys.argv[1], gcs.Patience(30, 60))
"""


def start(script, *arguments):
    """A Python process of its own that runs from the repository."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


def test_killed_download_leaves_nothing_that_looks_whole(gcs, tmp_path):
    one(gcs)
    gcs.proxy.inject("stall", kind="download", seconds=60)
    process = start(DOWNLOAD, tmp_path / "a.wav")
    deadline = time.monotonic() + 30
    while gcs.proxy.bytes_sent < 500_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    assert not (tmp_path / "a.wav").exists()
    assert all(name.endswith(".tmp") for name in left_in(tmp_path))
    assert start(DOWNLOAD, tmp_path / "a.wav").wait(30) == 0
    assert (tmp_path / "a.wav").read_bytes() == MEGABYTE


def in_child(queue, parents):
    """What a forked child finds."""
    own = buckets.client()
    (remote,) = buckets.list_objects(FOLDER)
    queue.put((own is parents, own.project, remote.name))


def test_forked_child_has_a_client_of_its_own(gcs):
    one(gcs)
    parents = buckets.client("clinic")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with clients._lock:  # as if another thread were making one just then
        child = context.Process(target=in_child, args=(queue, parents), daemon=True)
        child.start()
    assert queue.get(timeout=20) == (False, "clinic", "corpus/a.wav")
    child.join(10)
    assert buckets.client() is parents
    assert buckets.list_objects(FOLDER)
    clients._project = None


def test_threads_share_one_client(gcs):
    found = set()
    threads = [
        threading.Thread(target=lambda: found.add(buckets.client())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 1


# Secrets


def test_nothing_secret_in_logs_and_tracebacks(gcs, tmp_path, caplog, monkeypatch):
    # as SpeechBrain sets it up: every logger's debug lines go to log.txt
    monkeypatch.setattr(clients, "_clients", {})
    caplog.set_level(logging.DEBUG)
    (tmp_path / "a").write_bytes(bytes(9 * 2**20))
    gcs.create_bucket("hospital")
    gcs.proxy.inject("status", kind="chunk")
    buckets.upload(tmp_path / "a", FOLDER / "a")
    (remote,) = buckets.list_objects(FOLDER)
    gcs.proxy.inject("cut", kind="download")
    gcs.proxy.inject("corrupt", kind="download")
    buckets.download(remote, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    gcs.proxy.inject("status", kind="chunk", status=403)
    try:
        buckets.upload(tmp_path / "a", FOLDER / "a")
    except buckets.Denied:
        caplog.handler.format(
            logging.LogRecord("x", 1, "x", 1, "x", (), sys.exc_info())
        )
        shown = traceback.format_exc()
    for session in gcs.proxy.sessions:
        assert session not in caplog.text + shown
    assert "upload_id" not in caplog.text + shown
    assert "expected crc32c" in caplog.text  # something was logged at all
    assert str(FOLDER) not in caplog.text  # names may be patients'


def test_token_that_can_not_be_refreshed_is_not_shown(gcs, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RefreshError("invalid_grant", {"refresh_token": "1//secret"})

    monkeypatch.setattr(buckets.client()._http, "request", refuse)
    text = message(buckets.Denied, buckets.list_objects, FOLDER)
    assert "those found are not accepted" in text
    assert "secret" not in text
    assert "gcloud auth application-default login" in text
