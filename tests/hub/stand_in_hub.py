"""A stand-in for the model hub: an HTTP server on this machine that speaks the hub's API.

It answers what the real ``huggingface_hub`` client asks: a model's description with the sizes and hashes
of its files, its tree, and its files themselves, large ones by a redirect to a second server, with etags
and ranges. It can be told to refuse (401, 403, 404, 429, 500), to cut connections, to let the addresses
it signs run out, and to send wrong bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

Content = bytes | Path

__all__ = ["Repository", "StandInHub", "stand_in_hub"]

LARGE = (".safetensors", ".bin", ".gguf")  # kept as LFS objects, named by their SHA-256


@dataclass
class Repository:
    """A model repository.

    Attributes:
        files: Contents by path; a file of this machine where they are large.
        commit: Commit of the main branch.
        gated: Whether its terms must be accepted.
        token: The token that may read it; public without one.
        branches: Further revisions: name to commit.
    """

    files: dict[str, Content]
    commit: str = "c" * 40
    gated: bool = False
    token: str | None = None
    branches: dict[str, str] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str | None:
        """Return what a revision means."""
        named = {"main": self.commit, **self.branches}
        return revision if revision in named.values() else named.get(revision)


@dataclass
class StandInHub:
    """The server's state, which a test may change while it runs.

    Attributes:
        url: Where it answers; give it as ``HF_ENDPOINT``.
        repositories: By id.
        refuse: Status every request gets now, with its headers; None to answer.
        refuse_next: Statuses with headers for the next requests for files, one each.
        cut_after: Bytes of a large file after which the connection is cut, once per entry.
        wrong: Paths whose bytes arrive altered.
        pause_s: How long each answer of a large file waits, in seconds.
        rate: Bytes a second a connection gets of a large file; 0 for as many as it takes.
        ticket: What signed addresses hold; another one lets those handed out before run out.
        requests: Method, path, and the Range header of everything asked.
        tokens: Every Authorization header seen.
        cdn_url: Where large files are.
        cdn_tokens: Every Authorization header that came there.
        sent: Bytes of large files that were sent.
    """

    url: str = ""
    cdn_url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    refuse: tuple[int, dict[str, str]] | None = None
    refuse_next: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    cut_after: list[int] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)
    pause_s: float = 0.0
    rate: int = 0
    ticket: int = 0
    cdn_tokens: list[str | None] = field(default_factory=list)
    sent: int = 0
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    def add(
        self, name: str, files: Mapping[str, Content | dict[str, object]], **rest: object
    ) -> Repository:
        """Add a repository; a dict is stored as JSON."""
        stored = {
            path: content if isinstance(content, Content) else json.dumps(content).encode()
            for path, content in files.items()
        }
        self.repositories[name] = Repository(stored, **rest)
        return self.repositories[name]


@contextmanager
def stand_in_hub() -> Iterator[StandInHub]:
    """Run a stand-in hub on a free port, and the server of its large files on another."""
    hub = StandInHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ExitStack() as stack:
        hub.url = stack.enter_context(_serving(handler))
        hub.cdn_url = stack.enter_context(_serving(handler))
        yield hub


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_request: object) -> None:
        """Print nothing: clients that are killed leave their connections behind."""


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        if path.startswith("/cdn/"):
            self.hub.cdn_tokens.append(self.headers.get("Authorization"))
            self._large(path.removeprefix("/cdn/"))
            return
        self.hub.tokens.append(self.headers.get("Authorization"))
        if self.hub.refuse is not None:
            status, headers = self.hub.refuse
            self._send(status, b"{}", headers)
            return
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._described(parts[2:])
        elif parts[2:3] == ["resolve"]:
            self._resolved(parts)
        else:  # what the client asks beside models is not stood in for
            self._send(404, b"{}", {})

    def _repository(
        self, name: str, revision: str, *, described: bool = False
    ) -> tuple[Repository, str] | None:
        """The repository and the commit, or None when the refusal has been sent.

        A gated repository is described to everybody; its files are not given.
        """
        found = self.hub.repositories.get(name)
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if found is None or (found.token is not None and given != found.token and not found.gated):
            status = 404 if given else 401  # the hub does not tell strangers what exists
            self._send(status, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        if found.gated and not described and given != found.token:
            self._send(403 if given else 401, b"{}", {"X-Error-Code": "GatedRepo"})
            return None
        commit = found.commit_of(revision)
        if commit is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return None
        return found, commit

    def _described(self, parts: list[str]) -> None:
        name, rest = "/".join(parts[:2]), parts[2:]
        revision = rest[1] if len(rest) > 1 else "main"
        found = self._repository(name, revision, described=True)
        if found is None:
            return
        repository, commit = found
        if rest[:1] == ["tree"]:
            answer: object = [
                _entry(path, content) for path, content in sorted(repository.files.items())
            ]
        elif rest[:1] == ["paths-info"]:
            asked = parse_qs(self._body.decode()).get("paths", [])
            answer = [
                _entry(path, repository.files[path]) for path in asked if path in repository.files
            ]
        else:
            answer = _model(name, commit, repository)
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _resolved(self, parts: list[str]) -> None:
        name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        found = self._repository(name, revision)
        if found is None:
            return
        repository, commit = found
        content = repository.files.get(path)
        about = {"X-Repo-Commit": commit}
        if self._refused_once():
            return
        if content is None:
            self._send(404, b"", {**about, "X-Error-Code": "EntryNotFound"})
        elif path.endswith(LARGE):
            digest = _sha256(content)
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(_size(content))}
            place = f"{self.hub.cdn_url}/cdn/{self.hub.ticket}/{name}/{path}"
            self._send(302, b"", {**about, **linked, "Location": place, "ETag": f'"{digest}"'})
        else:
            headers = {**about, "ETag": f'"{_blob(content)}"'}
            self._send_range(self._sent_as(path, _bytes(content)), headers)

    def _large(self, path: str) -> None:
        """A large file from its own server, whole or in part."""
        ticket, owner, name, file = path.split("/", 3)
        if self._refused_once():
            return
        if int(ticket) != self.hub.ticket:
            self._send(403, b"the signature has expired", {})
            return
        content = self.hub.repositories[f"{owner}/{name}"].files[file]
        time.sleep(self.hub.pause_s)
        headers = {"ETag": f'"{_sha256(content)}"', "Accept-Ranges": "bytes"}
        self._send_range(self._sent_as(file, content), headers)

    def _sent_as(self, path: str, content: Content) -> Content:
        if path not in self.hub.wrong:
            return content
        data = bytearray(_bytes(content))
        data[len(data) // 2] ^= 1
        return bytes(data)

    def _refused_once(self) -> bool:
        if not self.hub.refuse_next:
            return False
        status, headers = self.hub.refuse_next.pop(0)
        self._send(status, b"{}", headers)
        return True

    def _send_range(self, content: Content, headers: dict[str, str]) -> None:
        size, asked = _size(content), self.headers.get("Range")
        first, last = 0, size - 1
        if asked is not None:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            if first >= size:
                self._send(416, b"", {"Content-Range": f"bytes */{size}"})
                return
        self._start(206 if asked else 200, last - first + 1, headers)
        if self.command != "HEAD":
            self._stream(content, first, last + 1)

    def _stream(self, content: Content, first: int, stop: int) -> None:
        """Send bytes, cut off or slowed down if that is asked for."""
        is_large = self.path.startswith("/cdn/")
        if is_large and self.hub.cut_after:
            stop = min(stop, first + self.hub.cut_after.pop(0))
            self.close_connection = True
        self.wfile.flush()
        with suppress(ConnectionError):
            while first < stop:
                step = min(stop - first, self.hub.rate // 20 or 4 << 20)
                sent = _send_some(self.connection, content, first, step)
                first += sent
                self.hub.sent += sent if is_large else 0
                if self.hub.rate:
                    time.sleep(sent / self.hub.rate)
            return
        self.close_connection = True  # the client has gone

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self._start(status, len(content), headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _start(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _send_some(connection: socket.socket, content: Content, first: int, count: int) -> int:
    if isinstance(content, bytes):
        return connection.send(memoryview(content)[first : first + count])
    with content.open("rb") as file:
        return os.sendfile(connection.fileno(), file.fileno(), first, count)


def _model(name: str, commit: str, repository: Repository) -> dict[str, object]:
    siblings = []
    for path, content in sorted(repository.files.items()):
        entry: dict[str, object] = {
            "rfilename": path,
            "size": _size(content),
            "blobId": _blob(content),
        }
        if path.endswith(LARGE):
            entry["lfs"] = {
                "sha256": _sha256(content),
                "size": _size(content),
                "pointerSize": 135,
            }
        siblings.append(entry)
    return {"id": name, "sha": commit, "siblings": siblings, "gated": False, "private": False}


def _entry(path: str, content: Content) -> dict[str, object]:
    entry: dict[str, object] = {
        "type": "file",
        "path": path,
        "size": _size(content),
        "oid": _blob(content),
    }
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": _sha256(content), "size": _size(content), "pointerSize": 135}
    return entry


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


@cache
def _sha256(content: Content) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _blob(content: Content) -> str:
    """The name git gives a file; of a large one, which is in git by a pointer, any will do."""
    whole = content if isinstance(content, bytes) else str(content).encode()
    return hashlib.sha1(b"blob %d\0" % len(whole) + whole, usedforsecurity=False).hexdigest()
