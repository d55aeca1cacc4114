"""The process that puts the door and its keys into a server that knows neither."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from modalkit import BearerKeys, Endpoint
from modalkit.runtime.door.settings import DOOR_VARIABLE, DoorSettings
from modalkit.runtime.keys import KeyRing

from .ports import free_port

ADMIN_VARIABLE = "MODALKIT_ADMIN_KEY"

CLIENT_KEY = "key-of-a-client"
ROUTES = frozenset({"/v1/models"})

# As SGLang: an app of its own module, whose key check is added when the server starts.
APP = """
import hmac

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

def who(request):
    return JSONResponse(dict(request.headers))

routes = [Route(path, who) for path in ("/v1/models", "/admin", "/health")]
app = Starlette(routes=routes)

class AsksKey:
    def __init__(self, app, key, admin):
        self.app, self.key, self.admin = app, key, admin

    async def __call__(self, scope, receive, send):
        asked = self.admin if scope.get("path") == "/admin" else self.key
        sent = dict(scope.get("headers", ())).get(b"authorization", b"")
        right = asked is None or hmac.compare_digest(sent, b"Bearer " + asked.encode())
        answer = self.app if right or scope["type"] == "lifespan" else PlainTextResponse("no", 401)
        await answer(scope, receive, send)
"""

# Says what it was given, through a file; prints its argv; starts a helper as SGLang does.
SERVER = """
import argparse, json, logging, multiprocessing, os, pathlib, sys

def helper(report):
    report.put({
        "argv": sys.argv[1:],
        "cmdline": pathlib.Path("/proc/self/cmdline").read_bytes().decode(),
        "environment": pathlib.Path("/proc/self/environ").read_bytes().decode(),
    })

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--api-key")
    parser.add_argument("--admin-api-key")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    report = spawn.Queue()
    child = spawn.Process(target=helper, args=(report,))
    child.start()
    seen = {
        "key": options.api_key,
        "admin": options.admin_api_key,
        "cmdline": pathlib.Path("/proc/self/cmdline").read_bytes().decode(),
        "helper": report.get(timeout=60),
    }
    child.join()
    logging.basicConfig(level=logging.INFO, force=True)
    logging.info("started with %s", options)
    print(sys.argv)
    options.out.write_text(json.dumps(seen))

    import uvicorn
    from webapp import AsksKey, app
    app.add_middleware(AsksKey, key=options.api_key, admin=options.admin_api_key)
    uvicorn.run(app, port=options.port, log_level="warning")
"""


class Server:
    """A server started through `keyed`, and what it said of itself."""

    def __init__(self, folder: Path, flags: tuple[str, ...], variable: str, value: str) -> None:
        (folder / "webapp.py").write_text(APP)
        (folder / "target.py").write_text(SERVER)
        self.port = free_port()
        self.log = folder / "log"
        out = folder / "seen.json"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "modalkit.runtime.keyed", *flags),
                *("--admin-key-flag=--admin-api-key", "target"),
                *("--out", str(out), "--port", str(self.port)),
            ],
            env={**os.environ, "PYTHONPATH": str(folder), variable: value},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        self.wait()
        self.seen = json.loads(out.read_text())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.get("/health")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(self.log.read_text())

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the door in its process."""
    rules = Endpoint(kind="server", auth=BearerKeys(), metrics="key")
    told = DoorSettings.made(rules, ROUTES, KeyRing.of([CLIENT_KEY]), service="Chat")
    flags = ("--door=webapp:app", "--key-flag=--api-key")
    folder = tmp_path_factory.mktemp("keyed")
    started = Server(folder, flags, DOOR_VARIABLE, told.model_dump_json())
    started.told = told
    yield started
    started.stop()


@pytest.fixture(scope="module")
def behind_gateway(tmp_path_factory):
    """A server whose door is elsewhere: its administration alone has a key."""
    flags = (f"--admin-key-variable={ADMIN_VARIABLE}",)
    started = Server(tmp_path_factory.mktemp("keyed"), flags, ADMIN_VARIABLE, "key-of-one-start")
    yield started
    started.stop()


def test_the_server_gets_keys_that_clients_do_not_have(server):
    """The module's parser finds both keys, made for this start, behind their flags."""
    assert server.seen["key"] == server.told.engine_key
    assert server.seen["admin"] == server.told.admin_key
    assert CLIENT_KEY not in server.told.model_dump_json()


def test_no_key_is_in_the_process_list(server):
    """Neither the process nor a helper it spawns shows a key in its command line."""
    for cmdline in (server.seen["cmdline"], server.seen["helper"]["cmdline"]):
        assert server.told.engine_key not in cmdline
        assert server.told.admin_key not in cmdline


def test_a_spawned_helper_has_the_modules_arguments_and_not_the_doors(server):
    """A helper is started from the module itself; the door's settings are not in its variables."""
    assert server.told.engine_key in server.seen["helper"]["argv"]
    assert DOOR_VARIABLE not in server.seen["helper"]["environment"]


def test_no_key_is_printed(server):
    """What the module logs or prints of its arguments has *** in place of each key."""
    printed = server.log.read_text()
    assert "started with" in printed
    assert "***" in printed
    assert server.told.engine_key not in printed
    assert server.told.admin_key not in printed


def test_clients_pass_the_door_and_the_servers_own_check(server):
    """A client's key opens client routes, where the server sees its own key in place of it."""
    assert server.get("/v1/models").status_code == 401
    answer = server.get("/v1/models", CLIENT_KEY)
    assert answer.status_code == 200
    assert answer.json()["authorization"] == f"Bearer {server.told.engine_key}"
    assert "x-request-id" in answer.headers


def test_administration_is_shut_to_clients_and_open_to_modalkit(server):
    """A route that is not for clients is 404 with a client's key; modalkit's own reaches it."""
    assert server.get("/admin").status_code == 401
    assert server.get("/admin", CLIENT_KEY).status_code == 404
    assert server.get("/admin", server.told.admin_key).status_code == 200
    assert server.get("/v1/models", server.told.admin_key).status_code == 200


def test_the_server_reaches_itself_with_its_own_key(server):
    """SGLang warms itself up over HTTP, through the door, with the key it was given."""
    assert server.get("/v1/models", server.told.engine_key).status_code == 200


def test_what_watches_a_service_watches_here_too(server):
    """The page of metrics has the service's own, and /health is asked of the server behind."""
    page = server.get("/metrics", CLIENT_KEY)
    assert page.status_code == 200
    assert 'modalkit_http_requests_total{service="Chat"' in page.text
    assert server.get("/metrics").status_code == 401
    assert server.get("/health").json() == {"status": "ok"}


def test_behind_a_gateway_the_administration_alone_asks_for_a_key(behind_gateway):
    """Its key is made for one start: the parser finds it, clients' routes do without."""
    assert (behind_gateway.seen["key"], behind_gateway.seen["admin"]) == (None, "key-of-one-start")
    assert behind_gateway.get("/v1/models").status_code == 200
    assert behind_gateway.get("/admin").status_code == 401
    assert behind_gateway.get("/admin", "key-of-one-start").status_code == 200


def test_the_administrations_key_is_nowhere_to_be_seen(behind_gateway):
    """No command line, no variable of a helper and nothing that is printed has it."""
    helper = behind_gateway.seen["helper"]
    shown = (behind_gateway.seen["cmdline"], helper["cmdline"], helper["environment"])
    printed = behind_gateway.log.read_text()
    assert "***" in printed
    for text in (*shown, printed):
        assert "key-of-one-start" not in text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--door=webapp:app", "--key-flag=--a"),
            "'MODALKIT_DOOR' is not set, so nobody may be let in.",
        ),
        ((f"--admin-key-variable={ADMIN_VARIABLE}",), f"{ADMIN_VARIABLE!r} holds no key"),
        ((), "None holds no key"),
    ],
)
def test_without_keys_nothing_starts(tmp_path, flags, said):
    """A process that was given no keys does not start a server without."""
    (tmp_path / "target.py").write_text("raise SystemExit('started')")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "modalkit.runtime.keyed", *flags),
            *("--admin-key-flag=--b", "target"),
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "started" not in done.stderr
