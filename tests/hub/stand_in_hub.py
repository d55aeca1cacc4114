"""A stand-in for the model hub: an HTTP server on this machine that speaks the hub's API.

It answers what the real ``huggingface_hub`` client asks: a model's description with the sizes and hashes
of its files, its tree, and its files themselves, large ones by a redirect to a second address, with etags
and ranges. It can be told to refuse (401, 403, 404, 429, 500) and to cut connections.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["Repository", "StandInHub", "stand_in_hub"]

LARGE = (".safetensors", ".bin", ".gguf")  # kept as LFS objects, named by their SHA-256


@dataclass
class Repository:
    """A model repository.

    Attributes:
        files: Contents by path.
        commit: Commit of the main branch.
        gated: Whether its terms must be accepted.
        token: The token that may read it; public without one.
        branches: Further revisions: name to commit.
    """

    files: dict[str, bytes]
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
        cut_after: Bytes of a large file after which the connection is cut, once per entry.
        requests: Method, path, and the Range header of everything asked.
        tokens: Every Authorization header seen.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    refuse: tuple[int, dict[str, str]] | None = None
    cut_after: list[int] = field(default_factory=list)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    def add(
        self, name: str, files: Mapping[str, bytes | dict[str, object]], **rest: object
    ) -> Repository:
        """Add a repository; a dict is stored as JSON."""
        stored = {
            path: content if isinstance(content, bytes) else json.dumps(content).encode()
            for path, content in files.items()
        }
        self.repositories[name] = Repository(stored, **rest)
        return self.repositories[name]


@contextmanager
def stand_in_hub() -> Iterator[StandInHub]:
    """Run a stand-in hub on a free port."""
    hub = StandInHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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

    def _repository(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """The repository and the commit, or None when the refusal has been sent."""
        found = self.hub.repositories.get(name)
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if found is None or (found.token is not None and given != found.token and not found.gated):
            status = 404 if given else 401  # the hub does not tell strangers what exists
            self._send(status, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        if found.gated and given != found.token:
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
        found = self._repository(name, revision)
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
        if content is None:
            self._send(404, b"", {**about, "X-Error-Code": "EntryNotFound"})
        elif path.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            place = f"{self.hub.url}/cdn/{name}/{path}"
            self._send(302, b"", {**about, **linked, "Location": place, "ETag": f'"{digest}"'})
        else:
            self._send(200, content, {**about, "ETag": f'"{_blob(content)}"'})

    def _large(self, path: str) -> None:
        """A large file from its own address, whole or in part."""
        name, _, file = path.partition("/")
        owner, _, file = file.partition("/")
        content = self.hub.repositories[f"{name}/{owner}"].files[file]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if asked is None:
            self._send(200, content, headers)
            return
        start, _, end = asked.removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        if first >= len(content):
            self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            self._send(206, content[first : last + 1], headers)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.path.startswith("/cdn/") and self.hub.cut_after:
            content = content[: self.hub.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(content)


def _model(name: str, commit: str, repository: Repository) -> dict[str, object]:
    siblings = []
    for path, content in sorted(repository.files.items()):
        entry: dict[str, object] = {
            "rfilename": path,
            "size": len(content),
            "blobId": _blob(content),
        }
        if path.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 135}
        siblings.append(entry)
    return {"id": name, "sha": commit, "siblings": siblings, "gated": False, "private": False}


def _entry(path: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": _blob(content),
    }
    if path.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 135}
    return entry


def _blob(content: bytes) -> str:
    """The name git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
