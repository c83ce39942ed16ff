"""A bucket server for tests: gcp-storage-emulator behind a proxy that misbehaves.

The emulator answers as Google Cloud Storage does, but for one request at a time, and
it ignores preconditions, generations and pages. `FaultProxy` adds those, and whatever
goes wrong between a hospital and its bucket::

    def test_survives_a_bad_gateway(gcs):
        gcs.put("hospital", folder)
        gcs.proxy.inject("status", status=502, kind="download", times=3)
        …

The fixture `gcs` sets STORAGE_EMULATOR_HOST to the proxy, shortens the waits of
`local.storage.gcs`, and fails the test if a fault was never met.
"""

import base64
import collections
import contextlib
import dataclasses
import http.client
import json
import logging
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

#: Waits for `local.storage.gcs` that no busy machine exceeds; a test that needs a
#: shorter one to pass sets it.
PATIENCE = {
    "GCS_TIMEOUT_S": "20",
    "GCS_DEADLINE_S": "60",
    "GCS_FIRST_DELAY_S": "0.02",
    "GCS_LONGEST_DELAY_S": "0.5",
}

#: What a request is, by method and path; the first that fits.
KINDS = (
    ("chunk", "PUT", r"[?&]upload_id="),
    ("upload", "POST", r"^/upload/.*uploadType=(multipart|media)"),
    ("session", "POST", r"^/upload/.*uploadType=resumable"),
    ("download", "GET", r"^/download/|[?&]alt=media"),
    ("stat", "GET", r"^/storage/v1/b/[^/?]+/o/[^/?]"),
    ("list", "GET", r"^/storage/v1/b/[^/?]+/o(\?|$)"),
    ("delete", "DELETE", r"^/storage/v1/b/[^/?]+/o/[^/?]"),
)

FAULTS = (
    "cut",  # the body ends after `at` bytes and the connection with it
    "lost",  # the request is carried out, its answer never sent
    "status",  # answered with `status` (and Retry-After) and not carried out
    "corrupt",  # one byte of the body that is sent to the client is another
    "corrupt_request",  # one byte of what the client sent is another
    "stall",  # half the body, then nothing for `seconds`
    "call",  # `callback()` before the request is carried out, which then is
)


@dataclasses.dataclass
class Fault:
    """Something to go wrong, `times` times, for requests that fit."""

    what: str
    kind: str | None = None
    method: str | None = None
    path: str = ""
    times: int = 1
    at: int = 1000
    status: int = 503
    retry_after: str | None = None
    seconds: float = 5.0
    reason: str | None = None
    callback: object = None
    injected: int = 0

    def __post_init__(self):
        """Refuse a fault that could never be met."""
        if self.what not in FAULTS or self.kind not in (None, *(k[0] for k in KINDS)):
            raise ValueError(f"no such fault: {self}")

    def fits(self, kind, method, path):
        """Whether this request is one to go wrong."""
        return (
            self.injected < self.times
            and self.kind in (None, kind)
            and self.method in (None, method)
            and re.search(self.path, urllib.parse.unquote(path)) is not None
        )


class FaultProxy(ThreadingHTTPServer):
    """An HTTP proxy in front of the emulator, for STORAGE_EMULATOR_HOST.

    upstream: Host and port of the emulator.
    latency_s (float): Waited before each request, without holding up others.
    page_size (int): Objects per page of a listing, at most.
    requests (collections.Counter): Requests by kind; `bytes_sent` the bytes of bodies
        sent to clients.
    paths (list of str): Every request's path and query, in order; of an upload also the
        object's name.
    injected (collections.Counter): Faults by what they were.
    """

    daemon_threads = True
    request_queue_size = 256  # the default of 5 makes parallel clients wait a second

    def __init__(self, upstream: tuple[str, int]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.latency_s, self.page_size, self.bytes_sent = 0.0, 1000, 0
        self.requests, self.injected = collections.Counter(), collections.Counter()
        self.paths, self.faults, self.stopping = [], [], threading.Event()
        self.sessions, self.finished = {}, {}
        self.guard = threading.Lock()  # of the attributes here
        self.order = threading.RLock()  # one request at a time reaches the emulator

    def inject(self, what, **options):
        """Let something go wrong; options are those of `Fault`."""
        self.faults.append(Fault(what, **options))
        return self.faults[-1]

    def assert_all_injected(self):
        """Fail unless each fault was met as often as it was to be."""
        unmet = [fault for fault in self.faults if fault.injected < fault.times]
        assert not unmet, f"faults that were not injected: {unmet}"

    def handle_error(self, request, client_address):
        """A client that went away is what these tests are about: no traceback."""

    def ask(self, method, path, body=None, headers=()):
        """The emulator's own answer: status, headers, body."""
        connection = http.client.HTTPConnection(*self.upstream, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def stored(self, bucket, name):
        """An object's resource as it is now, or None."""
        path = f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}"
        status, _, body = self.ask("GET", path)
        return json.loads(body) if status == 200 else None


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"  # keep-alive, as the real server

    def log_message(self, *_):
        """The proxy keeps `paths` instead."""

    def do_GET(self):
        """Any method: one request."""
        proxy = self.server
        kind = self._kind()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        where = self.path
        if kind in ("upload", "session"):  # the name is in the body
            where += f" {_target(kind, urllib.parse.urlsplit(where).path, {}, body)[1]}"
        with proxy.guard:
            proxy.requests[kind] += 1
            proxy.paths.append(where)
            fault = next(
                (f for f in proxy.faults if f.fits(kind, self.command, where)), None
            )
            if fault:
                fault.injected += 1
                proxy.injected[fault.what] += 1
        if proxy.latency_s:
            time.sleep(proxy.latency_s)
        if fault and fault.what == "status":
            return self._send(*_refusal(fault.status, fault))
        if fault and fault.what == "call":
            fault.callback()
        if fault and fault.what == "corrupt_request":
            body = _corrupted(body, len(body) * 3 // 4)
        with proxy.order:
            answer = self._carry_out(kind, body)
        self._send(*answer, fault)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _kind(self):
        for kind, method, pattern in KINDS:
            if self.command == method and re.search(pattern, self.path):
                return kind
        return "other"

    def _carry_out(self, kind, body):
        """Check what the emulator does not, then ask it."""
        proxy = self.server
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        session = query.get("upload_id")
        if session in proxy.finished:  # the emulator has forgotten it: the answer was
            return proxy.finished[session]  # lost, and the real server repeats it
        target = proxy.sessions.get(session) or _target(kind, url.path, query, body)
        refused = self._precondition(kind, target, query)
        if refused:
            return _refusal(refused)
        status, headers, content = proxy.ask(
            self.command, self.path, body, self._forwarded()
        )
        if kind == "session" and status == 200:
            location = urllib.parse.urlsplit(headers["Location"])
            new = dict(urllib.parse.parse_qsl(location.query))["upload_id"]
            proxy.sessions[new] = target
            headers["Location"] = f"{proxy.url}{location.path}?{location.query}"
        if kind == "list" and status == 200:
            content = self._page(content, query)
        if kind == "download" and status in (200, 206):
            generation = proxy.stored(*target)["generation"]
            headers["X-Goog-Generation"] = generation
        elif status == 200:
            # objects put there past the proxy have a mediaLink that leads past it
            host = "http://{}:{}".format(*proxy.upstream)
            content = content.replace(host.encode(), proxy.url.encode())
        if kind == "chunk" and status == 200:
            proxy.finished[session] = (status, headers, content)
        return status, headers, content

    def _forwarded(self):
        """The client's headers, with the Host by which it knows the server."""
        hop = ("connection", "accept-encoding", "transfer-encoding")
        return [(k, v) for k, v in self.headers.items() if k.lower() not in hop]

    def _precondition(self, kind, target, query):
        """The status of a request that must not be carried out, or None."""
        if target is None or not {"generation", "ifGenerationMatch"} & query.keys():
            return None
        stored = self.server.stored(*target)
        current = stored["generation"] if stored else "0"
        reads = kind in ("download", "stat", "delete")
        if reads and (stored is None or query.get("generation", current) != current):
            return 404
        return None if query.get("ifGenerationMatch", current) == current else 412

    def _page(self, content, query):
        """One page of the emulator's listing, with the fields asked for."""
        listing = json.loads(content)
        size = min(int(query.get("maxResults", 1000)), self.server.page_size)
        after = base64.b64decode(query.get("pageToken", "")).decode()
        first, end = query.get("startOffset", ""), query.get("endOffset")
        items = [
            item
            for item in listing["items"]
            if item["name"] > after
            and item["name"] >= first
            and (end is None or item["name"] < end)
        ]
        fields = re.search(r"items\(([^)]*)\)", query.get("fields", ""))
        if fields:
            kept = fields[1].split(",")
            listing["items"] = [{k: i[k] for k in kept if k in i} for i in items[:size]]
        else:
            listing["items"] = items[:size]
        if len(items) > size:
            token = base64.b64encode(items[size - 1]["name"].encode()).decode()
            if not fields or "nextPageToken" in query["fields"]:
                listing["nextPageToken"] = token
        return json.dumps(listing).encode()

    def _send(self, status, headers, content, fault=None):
        """Answer the client, or fail to."""
        what = fault.what if fault else None
        if what == "lost":
            return self._hang_up()
        if what == "corrupt":
            content = _corrupted(content, len(content) // 2)
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("server", "date", "content-length", "connection"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if what == "cut":
            self._write(content[: fault.at])
            return self._hang_up()
        if what == "stall":
            self._write(content[: len(content) // 2])
            self.server.stopping.wait(fault.seconds)
            return self._hang_up()
        self._write(content)

    def _write(self, content):
        self.wfile.write(content)
        self.wfile.flush()
        with self.server.guard:
            self.server.bytes_sent += len(content)

    def _hang_up(self):
        self.close_connection = True


def _target(kind, path, query, body):
    """Bucket and name of the object that a request is about, or None."""
    match = re.match(r"^(?:/upload|/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?$", path)
    if not match or kind in ("list", "other", "chunk"):
        return None
    name = urllib.parse.unquote(match[2] or "") or query.get("name")
    if not name and kind == "session":
        name = json.loads(body)["name"]
    elif not name:  # of a multipart upload: its first part is the object's resource
        name = json.loads(body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0])["name"]
    return match[1], name


def _corrupted(content, at):
    """The same bytes but for one bit of one of them."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _refusal(status, fault=None):
    """An answer as the real server words it."""
    reason = (fault and fault.reason) or {403: "forbidden", 404: "notFound"}.get(status)
    detail = {"domain": "global", "reason": reason or "test", "message": "of the test"}
    error = {"code": status, "message": "of the test", "errors": [detail]}
    headers = {"Content-Type": "application/json"}
    if fault and fault.retry_after:
        headers["Retry-After"] = fault.retry_after
    return status, headers, json.dumps({"error": error}).encode()


class BucketServer:
    """The emulator with a proxy in front of it.

    emulator (gcp_storage_emulator.server.Server): Running.
    proxy: Running.
    """

    def __init__(self, emulator, proxy: FaultProxy):
        self.proxy, self._emulator = proxy, emulator
        host, port = proxy.upstream
        # past the proxy: what a test prepares and looks up is neither counted nor hit
        self._client = storage.Client(
            project="tests",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": f"http://{host}:{port}"},
        )

    def create_bucket(self, name):
        """Make a bucket, unless it is there."""
        with self.proxy.order:
            if self._client.lookup_bucket(name) is None:
                self._client.create_bucket(name)

    def put_bytes(self, bucket, name, content, encoding=None):
        """Write an object; returns its generation."""
        self.create_bucket(bucket)
        with self.proxy.order:
            blob = self._client.bucket(bucket).blob(name)
            blob.content_encoding = encoding
            blob.upload_from_string(content, "application/octet-stream")
            return int(blob.generation)

    def put(self, bucket, folder, prefix=""):
        """Copy everything below a local folder into a bucket."""
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder).as_posix()}".lstrip("/")
                self.put_bytes(bucket, name, path.read_bytes())

    def delete(self, bucket, name):
        """Remove an object."""
        with self.proxy.order:
            self._client.bucket(bucket).delete_blob(name)

    def objects(self, bucket):
        """Content by name of all objects."""
        with self.proxy.order:
            names = [blob.name for blob in self._client.list_blobs(bucket)]
            # new Blobs: a listed one has a mediaLink, which may lead to the proxy
            bucket = self._client.bucket(bucket)
            return {name: bucket.blob(name).download_as_bytes() for name in names}

    def close(self):
        """Close the connections to the emulator."""
        self._client.close()


@contextlib.contextmanager
def running_emulator():
    """An emulator on a free port, in memory, in a thread of this process.

    A thread rather than a subprocess: nothing is left over whatever happens to the
    tests, no port is chosen before it is bound, and standard input is not needed.
    """
    # its log is not that of what is tested
    for name in ("gcp_storage_emulator", "api"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    emulator = create_server("127.0.0.1", 0, in_memory=True)
    # it would write the metadata of all objects, as text, after each upload
    emulator._storage._write_config_to_file = lambda: None
    emulator._api.daemon = True
    with emulator:
        yield emulator


@contextlib.contextmanager
def running_proxy(upstream):
    """A FaultProxy in a thread of this process."""
    proxy = FaultProxy(upstream)
    thread = threading.Thread(
        target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopping.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join(5)


@contextlib.contextmanager
def bucket_server(emulator):
    """An emptied emulator with a proxy of its own."""
    emulator.wipe()
    with running_proxy(emulator._api._httpd.server_address) as proxy:
        server = BucketServer(emulator, proxy)
        try:
            yield server
        finally:
            server.close()


@pytest.fixture(scope="session")
def emulator():
    """One emulator for all tests."""
    with running_emulator() as server:
        yield server


@pytest.fixture
def gcs(emulator, monkeypatch):
    """A BucketServer for `local.storage.gcs`, in this process and its children."""
    with bucket_server(emulator) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.proxy.url)
        for name, value in PATIENCE.items():
            monkeypatch.setenv(name, value)
        yield server
        server.proxy.assert_all_injected()
