"""The key of an engine's administration behind the gateway: who has it, and who does not."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import ClassVar

import pytest

from modalkit import BearerKeys, Endpoint, GPUProfile, ModelService, SGLang, plan_service
from modalkit.declare.cold_start import ColdStart
from modalkit.declare.image import ImageSpec
from modalkit.engines import Engine, Launch
from modalkit.runtime.engine_host import EngineHost

# Sleeps and wakes for whoever has its key, and tells everybody else what they came with.
SERVER = """
import http.server, json, os, sys
key = os.environ["TEST_ADMIN_KEY"]
print("my key is", key, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        ordered = self.path in ("/sleep", "/wake_up")
        right = self.headers["Authorization"] == "Bearer " + key
        self.answer(200 if right or not ordered else 401)
    def answer(self, status):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps({"came_with": self.headers["Authorization"]}).encode())
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Administered(Engine):
    """A stand-in for an engine whose administration asks for a key."""

    title: ClassVar[str] = "Stand-in"
    admin_key_variable: ClassVar[str | None] = "TEST_ADMIN_KEY"
    sleep_path: ClassVar[str | None] = "/sleep"
    wake_path: ClassVar[str | None] = "/wake_up"

    def image(self) -> ImageSpec:
        return ImageSpec()

    def argv(self, launch: Launch) -> tuple[str, ...]:
        return (sys.executable, "-c", SERVER, str(launch.port))


@pytest.fixture(params=[None, Endpoint(), Endpoint(auth=BearerKeys())])
def started(request, monkeypatch) -> Iterator[tuple[EngineHost, str]]:
    """An engine that has slept and woken, without HTTP and behind the gateway; what was printed."""
    monkeypatch.setenv("MODALKIT_API_KEY", "key-of-a-client")
    output = io.StringIO()
    launch = Launch(model="m", served_name="m", gpu_count=1)
    with redirect_stderr(output):
        host = EngineHost(
            Administered(), launch, 60, endpoint=request.param, cold_start=ColdStart(snapshot="gpu")
        )
        host.before_snapshot()
        host.after_snapshot()
        yield host, output.getvalue()
        host.stop_process()


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_modalkit_orders_sleep_and_waking_with_the_key(started):
    """The engine obeyed; the key is in no command line, and is replaced where it was printed."""
    host, printed = started
    process = Path(f"/proc/{host._started.pid}")
    key = dict(
        pair.split("=", 1) for pair in (process / "environ").read_text().split("\0") if "=" in pair
    )["TEST_ADMIN_KEY"]
    assert len(key) == 64
    assert key not in (process / "cmdline").read_text()
    assert "my key is ***" in printed
    assert key not in printed


def test_clients_requests_never_carry_it(started):
    """What methods and the gateway hand on comes to the engine without a key."""
    host, _ = started

    async def ask() -> object:
        try:
            return await host.client.post("/v1/chat/completions", {"messages": []})
        finally:
            await host.client.close()

    assert asyncio.run(ask()) == {"came_with": None}


@pytest.mark.parametrize("api", [Endpoint(), None])
def test_sglang_is_started_with_a_key_for_its_administration(api):
    """Behind the gateway, and where there is no HTTP at all, its argv says where the key is found."""
    body = {"model": "org/m", "engine": SGLang(), "gpu": GPUProfile("L40S"), "api": api}
    planned = plan_service(type("Chat", (ModelService,), {"__module__": __name__, **body})).engine
    assert planned.launch.admin_key
    assert planned.argv[:6] == (
        *("python", "-m", "modalkit.runtime.keyed"),
        f"--admin-key-variable={SGLang.admin_key_variable}",
        *("--admin-key-flag=--admin-api-key", "sglang.launch_server"),
    )
