"""Services of every kind of endpoint on a local Modal, asked as strangers and clients ask them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import modal
from one_vllm import KEY, READY_WITHIN_S, SETTINGS, free_port
from table import CALLERS, MODES, Answers, verdict

from modalkit.testing.local_modal import LocalModalFixture
from modalkit.testing.process import PlaneProcess

__all__ = ["Services", "services_on"]

_ROOT = Path(__file__).resolve().parents[2]
# Most of a column is waiting: for its container's start, and for answers.
_COLUMNS_AT_ONCE = 4
# A server may close a connection that was kept just as the next request is written to it.
_CLIENT = httpx.Client(
    timeout=300, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
)
_AUTH = dict(
    zip(
        MODES,
        ("[ProxyAuth()]", "[BearerKeys()]", "[ProxyAuth(), BearerKeys()]", "None, public=True"),
        strict=True,
    )
)
_HEAD = """
import modal

from modalkit import VLLM, BearerKeys, Echo, Endpoint, GPUProfile, ModelService, ProxyAuth, Scaling
from modalkit import Transformers, serve

app = modal.App("routes")
"""
_CLASS = """

@serve(app)
class {name}(ModelService):
    model = "./small-chat"
    engine = {engine}
    gpu = GPUProfile("T4")
    api = Endpoint(kind={kind!r}, auth={auth}, port={port}, access_log="off")
    scaling = Scaling(max_containers=1, scaledown_window=600)
"""


class Services:
    """Deploys services of one engine, asks them and stops them."""

    def __init__(self, folder: Path, plane: PlaneProcess) -> None:
        self._folder = folder
        self._local = LocalModalFixture(plane.exports, plane.dashboard)
        tokens = {
            "Modal-Key": plane.exports["MODALKIT_PROXY_KEY"],
            "Modal-Secret": plane.exports["MODALKIT_PROXY_SECRET"],
        }
        key = {"Authorization": f"Bearer {KEY}"}
        self._headers = dict(zip(CALLERS, ({}, tokens, key, {**tokens, **key}), strict=True))

    def ask(self, engine: str, names: Sequence[str], routes: Sequence[str]) -> dict[str, Answers]:
        """What each route answers each caller, by kind and mode.

        Args:
            engine: Its declaration, as it stands in the file.
            names: Kinds and modes; all of them are up at the same time, some are asked at once.
            routes: What to ask for.
        """
        file = self._folder / "routes_app.py"
        file.write_text(_HEAD + "".join(_class(engine, name) for name in names))
        self._local.command("modal", "deploy", str(file))
        try:
            urls = [self._url(name) for name in names]
            with ThreadPoolExecutor(_COLUMNS_AT_ONCE) as beside:
                columns = beside.map(lambda url: self._column(url, routes), urls)
                return dict(zip(names, columns, strict=True))
        finally:
            self._local.command("modal", "app", "stop", "routes", "--yes")

    def close(self) -> None:
        """Let go of the local Modal's client."""
        self._local.close()

    def _column(self, url: str, routes: Sequence[str]) -> Answers:
        self._wait(url)
        return {route: self._answers(url, route) for route in routes}

    def _url(self, name: str) -> str:
        service = _class_name(name)
        if name.startswith("server"):
            server = modal.Server.from_name("routes", service, client=self._local.client)
            return str(server.get_url())
        return self._local.url("routes", f"{service}.http")

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while (
            _answer(f"{url}/v1/models", "GET", self._headers["both"]).status_code != HTTPStatus.OK
        ):
            if time.monotonic() > deadline:
                msg = f"{url} was not up after {READY_WITHIN_S} s."
                raise TimeoutError(msg)
            time.sleep(1)

    def _answers(self, url: str, route: str) -> list[str]:
        method, _, path = route.partition(" ")
        return [verdict(_answer(url + path, method, self._headers[caller])) for caller in CALLERS]


@contextmanager
def services_on(folder: Path, *shown: Path) -> Iterator[Services]:
    """A local Modal whose containers see some folders, and the small model of the examples."""
    make = [sys.executable, str(_ROOT / "examples" / "make_models.py"), "chat"]
    subprocess.run(make, check=True, cwd=_ROOT, stdout=subprocess.DEVNULL)
    (folder / "small-chat").symlink_to(_ROOT / "examples" / "models" / "small-chat")
    (folder / "state").mkdir()
    os.environ["MODALKIT_LOCAL_SHOW"] = os.pathsep.join(map(str, shown))
    os.environ["MODALKIT_API_KEY"] = KEY
    plane = PlaneProcess.start(folder / "state", namespaces=True)
    try:
        with plane.as_environment():
            services = Services(folder, plane)
            try:
                yield services
            finally:
                services.close()
    finally:
        plane.stop()


def _class(engine: str, name: str) -> str:
    kind, _, mode = name.partition("-")
    # Only behind the gateway may vLLM serve its development routes at all.
    settings = {key: value for key, value in SETTINGS.items() if kind == "web" or "DEV" not in key}
    return _CLASS.format(
        name=_class_name(name),
        engine=engine.format(settings=settings),
        kind=kind,
        auth=_AUTH[mode],
        port=free_port(),
    )


def _class_name(name: str) -> str:
    return "".join(map(str.title, name.split("-")))


def _answer(url: str, method: str, headers: dict[str, str]) -> httpx.Response:
    body = None if method == "GET" else b"{}"
    kind = {"Content-Type": "application/json"} if body else {}
    return _CLIENT.request(method, url, headers={**headers, **kind}, content=body)
