"""Tags of images followed to their digest, through a stand-in registry that wants a token first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modalkit.locking.registry import digest_of

from .apps import FOLDER_APP, lock, python


class _StandInRegistry(BaseHTTPRequestHandler):
    """A stand-in for a container registry that wants a token first."""

    def do_HEAD(self) -> None:
        port = self.server.server_address[1]
        if self.path != "/v2/org/image/manifests/1.0":
            self.send_response(404)
        elif self.headers.get("Authorization") != "Bearer anonymous":
            self.send_response(401)
            realm = f'Bearer realm="http://127.0.0.1:{port}/token",service="r",scope="pull"'
            self.send_header("WWW-Authenticate", realm)
        else:
            self.send_response(200)
            self.send_header("Docker-Content-Digest", "sha256:" + "e" * 64)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        body = json.dumps({"token": "anonymous"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def registry() -> Iterator[str]:
    """The address of a running one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _StandInRegistry)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_tag_is_followed_to_its_digest(registry):
    """A public image's digest is found through the registry's token service."""
    assert digest_of(f"{registry}/org/image:1.0") == ("sha256:" + "e" * 64, "")
    assert digest_of("a/b@sha256:" + "f" * 64) == ("sha256:" + "f" * 64, "")


def test_a_registry_that_does_not_say_is_no_error(registry):
    """A missing tag and a registry that is down leave the tag, with the reason."""
    assert digest_of(f"{registry}/org/image:2.0") == (None, "the registry answered 404")
    digest, why = digest_of("127.0.0.1:9/org/image:1.0")
    assert digest is None
    assert "cannot be reached" in why


def test_a_locked_digest_is_what_is_deployed(registry, folder_app):
    """`serve` builds on the digest that was locked, not on what the tag means today."""
    base = f"ImageSpec.registry('{registry}/org/image:1.0', add_python='3.12')"
    app = FOLDER_APP.replace("Transformers()", f"Transformers()\n    image = {base}")
    (folder_app / "local_app.py").write_text(app)
    assert lock(folder_app, "local_app.py").returncode == 0
    show = (
        "import local_app; from modalkit.lookup import locked_service; from modalkit.discovery import *;"
        "from modalkit.plan import plan_service; one, = services_of('local_app.py');"
        "print(plan_service(one, locked_service(one)).image.base.tag)"
    )
    done = python(show, cwd=folder_app)
    assert done.stdout.strip() == f"{registry}/org/image:1.0@sha256:{'e' * 64}", done.stderr
