"""Deploying again what took calls as a server, and a server as what takes calls."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import modal
import pytest

PATIENCE_S = 120
SLOW = httpx.Timeout(PATIENCE_S)

pytestmark = pytest.mark.slow

SHARED = """
import http.server
import threading
import time
import modal
import modal.experimental

app = modal.App("changing")

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"served")

def listen(port: int) -> None:
    server = http.server.ThreadingHTTPServer(("", port), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
"""
CALLED = (
    SHARED
    + """
@app.cls()
class Files:
    @modal.method()
    def name(self) -> str:
        return "called"

    @modal.method()
    def held(self) -> str:
        gates = modal.Dict.from_name("changing-gates", create_if_missing=True)
        gates["seen"] = True
        while "open" not in gates:
            time.sleep(0.1)
        return "held to its end"

@app.function()
@modal.fastapi_endpoint()
def Page() -> str:
    return "called"
"""
)
SERVED = (
    SHARED
    + """
@app.cls()
@modal.experimental.http_server(port=8000, proxy_regions=["us-east"])
class Files:
    @modal.enter()
    def start(self) -> None:
        listen(8000)

@app.server(port=8001, unauthenticated=True)
class Page:
    @modal.enter()
    def start(self) -> None:
        listen(8001)
"""
)
CALL = "import modal; print(modal.Cls.from_name('changing', 'Files')().{}.remote())"


@pytest.fixture
def deploy(plane, tmp_path: Path):
    """Deploy a source of the app; it is gone afterwards."""

    def run(source: str, *options: str) -> None:
        (tmp_path / "changing.py").write_text(source)
        done = plane.modal("deploy", *options, str(tmp_path / "changing.py"))
        assert done.returncode == 0, done.stdout + done.stderr

    yield run
    plane.modal("app", "stop", "changing", "-y")
    plane.modal("dict", "delete", "changing-gates", "-y", "--allow-missing")


def called(plane) -> str:
    """Call the class by its name and return what it says."""
    done = plane.python(CALL.format("name"))
    return done.stdout.strip() or done.stderr


def urls(client) -> list[str]:
    """Return where the class and the page listen, both being servers."""
    (files,) = modal.Cls.from_name(
        "changing", "Files", client=client
    )._experimental_get_flash_urls()
    return [files, modal.Server.from_name("changing", "Page", client=client).get_url()]


def page(client) -> str:
    """Return where the page, as a web function, listens."""
    return modal.Function.from_name("changing", "Page", client=client).get_web_url()


def get_when_up(url: str) -> str:
    """Ask until a replica is up."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := httpx.get(url, timeout=SLOW)).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    return answer.text


def test_what_is_called_becomes_a_server_and_is_called_again(plane, client, deploy):
    """After each deployment the class and the page are what the latest one says, containers of the old kind or not."""
    deploy(CALLED)
    assert called(plane) == "called"
    assert httpx.get(page(client), timeout=SLOW).json() == "called"
    deploy(SERVED)
    assert [get_when_up(url) for url in urls(client)] == ["served", "served"]
    deploy(CALLED)
    assert called(plane) == "called"
    assert httpx.get(page(client), timeout=SLOW).json() == "called"


def test_a_running_call_ends_well_when_its_class_becomes_a_server(
    plane, client, deploy, wait_until
):
    """The old container finishes its call and hands in the answer, though the function takes none."""
    deploy(CALLED)
    words = [sys.executable, "-c", CALL.format("held")]
    caller = subprocess.Popen(
        words, env={**os.environ, **plane.exports}, stdout=subprocess.PIPE, text=True
    )
    gates = modal.Dict.from_name("changing-gates", create_if_missing=True, client=client)
    wait_until(lambda: "seen" in gates, "the call runs")
    deploy(SERVED)
    files, _page = urls(client)
    assert get_when_up(files) == "served"
    assert caller.poll() is None
    gates["open"] = True
    assert caller.communicate(timeout=PATIENCE_S)[0] == "held to its end\n"


def test_a_staged_server_leaves_what_runs_alone(plane, client, deploy):
    """Before it is promoted the old kind answers, and asking for the server early breaks nothing."""
    if plane.modal("app", "promote", "--help").returncode != 0:  # the list of commands hides it
        pytest.skip("this modal deploys no staged versions (1.6 does)")
    deploy(SERVED)
    files, served_page = urls(client)
    deploy(CALLED)
    deploy(SERVED, "--staged")
    early = httpx.get(files, timeout=SLOW)
    assert early.status_code == 503
    assert "Files is not deployed as a server" in early.text
    assert called(plane) == "called"
    assert httpx.get(page(client), timeout=SLOW).json() == "called"
    assert plane.modal("app", "promote", "changing", "v3").returncode == 0
    assert [get_when_up(url) for url in (files, served_page)] == ["served", "served"]
