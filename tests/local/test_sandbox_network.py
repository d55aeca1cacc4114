"""Sandboxes that may reach some hosts only."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator

import httpx
import modal
import pytest

from modalkit.local.wire.allowlist import AllowList

FETCH = (
    "import sys, urllib.error, urllib.request\n"
    "try:\n"
    "    print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())\n"
    "except urllib.error.HTTPError as error:\n"
    "    print(error.code, error.read().decode())\n"
)
DIRECT = (
    "import socket, sys\nsocket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)\n"
)


class _Greeter(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"reached")

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a web server on every address of this machine."""
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), _Greeter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def fetched(sandbox: modal.Sandbox, url: str) -> str:
    process = sandbox.exec("python", "-c", FETCH, url)
    printed = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    return printed.strip()


# 127.0.0.2 is this machine; a sandbox asks itself for 127.0.0.1 only, and the way out for others.
@pytest.mark.usefixtures("namespaces")
def test_networks_on_the_list_are_reached_and_no_others(make_sandbox, port):
    """A request to an address of a listed network comes through, another is refused by name."""
    sandbox = make_sandbox(outbound_cidr_allowlist=["127.0.0.2/32"])
    assert fetched(sandbox, f"http://127.0.0.2:{port}/") == "reached"
    refused = fetched(sandbox, f"http://127.0.0.3:{port}/")
    assert refused.startswith("403 '127.0.0.3' is not on the sandbox's allowlist")


@pytest.mark.usefixtures("namespaces")
def test_domains_on_the_list_are_reached_and_no_others(make_sandbox, port):
    """The same for names."""
    sandbox = make_sandbox(outbound_domain_allowlist=["127.0.0.2"])
    assert fetched(sandbox, f"http://127.0.0.2:{port}/") == "reached"
    assert fetched(sandbox, f"http://127.0.0.3:{port}/").startswith("403")


@pytest.mark.usefixtures("namespaces")
def test_there_is_no_way_around_the_list(make_sandbox, port):
    """A program that does not ask the way out reaches nothing, listed or not."""
    sandbox = make_sandbox(outbound_cidr_allowlist=["127.0.0.2/32"])
    assert sandbox.exec("python", "-c", DIRECT, "127.0.0.2", str(port)).wait() != 0


def test_a_network_that_is_none_is_refused(make_sandbox):
    """What cannot be read as a network is refused when the sandbox is made."""
    with pytest.raises(modal.exception.InvalidError, match=r"10\.0\.0\.0/40"):
        make_sandbox(outbound_cidr_allowlist=["10.0.0.0/40"])


@pytest.mark.parametrize("option", ["block_network=True", "outbound_cidr_allowlist=['10.0.0.0/8']"])
def test_no_restricted_network_without_namespaces(local, option):
    """Where it could not be held a restriction is refused, not forgotten."""
    code = (
        "import modal\n"
        "app = modal.App.lookup('plain', create_if_missing=True)\n"
        f"modal.Sandbox.create(app=app, {option})\n"
    )
    done = local("--no-namespaces", "python", "-c", code)
    assert done.returncode != 0
    assert "can be restricted only where containers have namespaces" in done.stderr


@pytest.mark.parametrize(
    ("domains", "host", "allowed"),
    [
        (["example.com"], "example.com", True),
        (["example.com"], "EXAMPLE.com.", True),
        (["example.com"], "api.example.com", False),
        (["*.example.com"], "api.example.com", True),
        (["*.example.com"], "example.com", True),
        (["*.example.com"], "notexample.com", False),
        (["*"], "anything.invalid", True),
        ([], "anything.invalid", False),
    ],
)
def test_which_names_a_list_has(domains, host, allowed):
    """A name stands for itself, with `*.` for every name below as well, `*` for every name."""
    wanted = AllowList.of([], domains).address(host, 443)
    if allowed:
        assert asyncio.run(wanted) == host
    else:
        with pytest.raises(PermissionError, match="not on the sandbox's allowlist"):
            asyncio.run(wanted)


def test_a_name_is_connected_to_at_the_address_that_was_allowed():
    """A host of a listed network is reached at that address, so its name cannot change meanwhile."""
    assert asyncio.run(AllowList.of(["127.0.0.0/8"], []).address("127.9.9.9", 80)) == "127.9.9.9"
    assert asyncio.run(AllowList.of(["127.0.0.1"], []).address("localhost", 80)) == "127.0.0.1"


VISITED = (
    "import http.server\n"
    "class Server(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version = 'HTTP/1.1'\n"
    "    def do_POST(self):\n"
    "        body = self.rfile.read(int(self.headers['content-length']))\n"
    "        self.answer(body + b' ' + self.headers.get('x-verified-user-data', '').encode())\n"
    "    def do_GET(self):\n"
    "        self.answer(self.path.split('?')[0].encode())\n"
    "    def answer(self, body):\n"
    "        self.send_response(200)\n"
    "        self.send_header('content-length', str(len(body)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(body)\n"
    "http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Server).serve_forever()\n"
)


@pytest.fixture
def visited(make_sandbox):
    """A sandbox with a network of its own and an HTTP server on port 8080."""
    probe = modal.Probe.with_tcp(8080)
    sandbox = make_sandbox(
        "python", "-c", VISITED, encrypted_ports=[8080], readiness_probe=probe, timeout=300
    )
    sandbox.wait_until_ready(timeout=60)
    return sandbox


@pytest.mark.usefixtures("namespaces")
def test_a_connect_token_leads_to_a_port(visited, plane):
    """Its bearer is led in, with the metadata that nobody else can set; others are not."""
    trusted = ssl.create_default_context(cafile=plane.exports["SSL_CERT_FILE"])
    pass_ = visited.create_connect_token(user_metadata={"user": "ann"})
    with httpx.Client(verify=trusted, base_url=pass_.url, timeout=60) as client:
        shown = {"Authorization": f"Bearer {pass_.token}", "X-Verified-User-Data": "forged"}
        for body in ("one", "two"):
            answer = client.post("/", content=body, headers=shown)
            assert answer.text == f'{body} {{"user": "ann"}}'
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401
        page = client.get("/page", params={"_modal_connect_token": pass_.token})
        assert page.text == "/page"
        assert client.get("/loaded").text == "/loaded"  # by the cookie that came with the page


@pytest.mark.usefixtures("namespaces")
def test_a_connect_token_is_for_one_port(visited, plane):
    """A token for a port on which nothing listens answers 502 with the port, whatever else listens."""
    trusted = ssl.create_default_context(cafile=plane.exports["SSL_CERT_FILE"])
    pass_ = visited.create_connect_token(port=9222)
    answer = httpx.get(
        pass_.url, headers={"Authorization": f"Bearer {pass_.token}"}, verify=trusted, timeout=60
    )
    assert (answer.status_code, answer.text) == (
        502,
        "Nothing listens on port 9222 of the sandbox.",
    )
