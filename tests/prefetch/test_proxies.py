"""Weights through a proxy of this machine, a real one, as the environment names it."""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from huggingface_hub.utils import close_session

from modalkit.errors import HubError
from modalkit.prefetch.connections import Connections
from modalkit.prefetch.proxies import proxy_for

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class ProxyHandler(BaseHTTPRequestHandler):
    """Forwards GET with a whole address, and CONNECT as a tunnel; remembers what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.note()
        parts = urlsplit(self.path)
        line = HTTPConnection(parts.netloc, timeout=30)
        passed = {name: value for name, value in self.headers.items() if name == "Range"}
        line.request("GET", f"{parts.path}?{parts.query}", headers=passed)
        answer = line.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        self.note()
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as far:
            self.send_response(200)
            self.end_headers()
            while True:
                ready, _, _ = select.select([self.connection, far], [], [], 30)
                for side, other in ((self.connection, far), (far, self.connection)):
                    if side in ready:
                        piece = side.recv(65536)
                        if not piece:
                            self.close_connection = True
                            return
                        other.sendall(piece)

    def note(self) -> None:
        asked = (self.command, self.path, self.headers.get("Proxy-Authorization"))
        self.server.asked.append(asked)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy(monkeypatch) -> Iterator[ThreadingHTTPServer]:
    """A proxy on this machine; the environment names none yet."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), ProxyHandler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    close_session()  # the hub's own client keeps the proxy that it was made with
    yield server
    close_session()
    server.shutdown()
    server.server_close()


def address(server: ThreadingHTTPServer, user: str = "") -> str:
    return f"http://{user}127.0.0.1:{server.server_port}"


def test_weights_come_through_the_proxy(cache, model, hub, proxy, monkeypatch):
    """Every range of a plain address is asked of the proxy, which is told who asks."""
    monkeypatch.setenv("HTTP_PROXY", address(proxy, "me:se%20cret@"))
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    assert cache.fill()[-1].stage == "done"
    ranges = [one for one in proxy.asked if one[2] == "Basic bWU6c2UgY3JldA=="]
    assert ranges
    assert all(one[1].startswith("http://127.0.0.1:") for one in ranges)


def test_a_host_may_be_asked_directly(cache, model, hub, proxy, monkeypatch):
    """NO_PROXY leaves out the hub."""
    monkeypatch.setenv("HTTP_PROXY", address(proxy))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert cache.fill()[-1].stage == "done"
    assert not proxy.asked


def test_tls_goes_through_a_tunnel(proxy, tmp_path, monkeypatch):
    """The proxy sees a host's name and port, and no request: TLS ends at the server itself."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -keyout {key} -out {cert} -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(words.split(), check=True, capture_output=True)

    class Secret(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    far = ThreadingHTTPServer(("127.0.0.1", 0), Secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    far.socket = context.wrap_socket(far.socket, server_side=True)
    threading.Thread(target=far.serve_forever, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", address(proxy, "me:pw@"))
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    connections = Connections()
    try:
        answer = connections.get(f"https://localhost:{far.server_port}/a", {"X": "token"})
        assert (answer.status, answer.read()) == (200, b"ok")
    finally:
        connections.forget()
        far.shutdown()
        with suppress(OSError):
            far.server_close()
    assert proxy.asked == [("CONNECT", f"localhost:{far.server_port}", "Basic bWU6cHc=")]


def test_a_proxy_of_another_kind_is_refused_by_name(proxy, monkeypatch):
    """SOCKS is not spoken; the message says what is, and holds no password."""
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hidden@127.0.0.1:1080")
    with pytest.raises(HubError, match="'socks5'; weights are fetched through") as caught:
        proxy_for("https://hub.example/x")
    assert "hidden" not in str(caught.value)
