"""One vLLM asked as every kind of endpoint: all its columns without a start for each.

vLLM is real, and so are the doors in its process (`doors`), the gateway and the doors before that here.
Modal's edge is not there: a caller whom it turns away never reaches a container, and is written down as
that. `services` asks through a local Modal, edge included; both must say the same.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from doors import MODE_HEADER, rules
from table import CALLERS, Answers, every_name, verdict

from modalkit import VLLM, BearerKeys, ColdStart, Endpoint, Launch
from modalkit.runtime.door import guarded
from modalkit.runtime.engine_host import EngineHost
from modalkit.runtime.gateway import Gateway
from modalkit.runtime.keys import KeyRing

__all__ = ["KEY", "READY_WITHIN_S", "SETTINGS", "free_port", "vllm_answers"]

_HERE = Path(__file__).resolve().parent
KEY = "key-of-the-endpoint-table"
READY_WITHIN_S = 900
_DOORS = "doors.Doors"
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_SERVER_DEV_MODE": "1",
    "HF_HUB_OFFLINE": "1",
}
# No document lists these; a model is one of those that ``/v1/models`` does.
_UNLISTED = ("/metrics", "/docs", "/redoc", "/openapi.json", "/v1/models/small-chat")


class _Asked(VLLM):
    """vLLM with the doors of all modes where a service has one; on loopback, development mode and all."""

    def argv(self, launch: Launch) -> tuple[str, ...]:
        outside = launch.model_copy(update={"door": False})
        return (*super().argv(outside), "--middleware", _DOORS)


def vllm_answers(python: Path, models: Mapping[str, Path]) -> Iterator[tuple[str, Answers]]:
    """Start vLLM once a model; yield each kind and mode with what its routes answered.

    A route that several models have is asked once, of the first: who gets to it is not the model's to say.

    Args:
        python: The Python that has vLLM.
        models: A model's folder, by what it does: ``generate``, ``embed``, ``rerank`` or ``listen``.
    """
    seen: set[str] = set()
    for does, folder in models.items():
        with _running(_engine(python, does, folder), folder) as host:
            yield from asyncio.run(_asked(host, seen)).items()


def _engine(python: Path, does: str, folder: Path) -> VLLM:
    # With a folder for them the routes that load adapters are there; a minute of sound is one piece.
    others = {"generate": {"lora_folder": str(folder)}, "listen": {"prefill_chunk_tokens": 2048}}
    return _Asked(
        interpreter=str(python),
        task="generate" if does == "listen" else does,
        dtype="float32",
        cuda_graphs=False,
        env=SETTINGS,
        **others.get(does, {}),
    )


@contextmanager
def _running(engine: VLLM, folder: Path) -> Iterator[EngineHost]:
    os.environ["MODALKIT_API_KEY"] = KEY
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_HERE), before)))
    launch = Launch(
        model=str(folder), served_name="small-chat", port=free_port(), gpu_count=0, door=True
    )
    host = EngineHost(
        engine,
        launch,
        READY_WITHIN_S,
        endpoint=Endpoint(kind="server", auth=BearerKeys(), access_log="off"),
        cold_start=ColdStart(warm_up=1),
    )
    try:
        host.start()
        yield host
    finally:
        host.stop_process()
        os.environ["PYTHONPATH"] = before


async def _asked(host: EngineHost, seen: set[str]) -> dict[str, Answers]:
    try:
        async with host.client.session.get("/openapi.json") as listed:
            routes = [route for route in routes_of(await listed.json()) if route not in seen]
        seen.update(routes)
        return {name: await _column(host, name, routes) for name in every_name()}
    finally:
        await host.client.close()


def routes_of(document: dict[str, dict[str, dict[str, object]]]) -> list[str]:
    """``POST /sleep`` and the like of an OpenAPI document, and what no such document lists."""
    paths = document["paths"].items()
    routes = {f"{'POST' if 'post' in methods else 'GET'} {path}" for path, methods in paths}
    routes |= {f"GET {path}" for path in _UNLISTED}
    return sorted(route.replace("{", "").replace("}", "") for route in routes)


async def _column(host: EngineHost, name: str, routes: list[str]) -> Answers:
    kind, _, mode = name.partition("-")
    declared = rules(mode)
    transport, headers = None, {MODE_HEADER: mode}
    if kind == "web":
        keys = KeyRing.of([KEY]) if declared.keys else None
        app = guarded(Gateway(lambda: host.client), declared, VLLM.client_routes, keys=keys)
        transport, headers = httpx.ASGITransport(app), {}
    url = f"http://127.0.0.1:{host.port}"
    async with httpx.AsyncClient(
        transport=transport, base_url=url, headers=headers, timeout=300, trust_env=False
    ) as client:
        columns = (_answers(client, declared, route) for route in routes)
        return dict(zip(routes, await asyncio.gather(*columns), strict=True))


async def _answers(client: httpx.AsyncClient, declared: Endpoint, route: str) -> list[str]:
    return [await _verdict(client, declared, route, caller) for caller in CALLERS]


async def _verdict(client: httpx.AsyncClient, declared: Endpoint, route: str, caller: str) -> str:
    if declared.asks_proxy_tokens and caller in {"stranger", "key"}:
        return "Modal 401"
    headers = {"Authorization": f"Bearer {KEY}"} if caller in {"key", "both"} else {}
    method, _, path = route.partition(" ")
    body = None if method == "GET" else b"{}"
    kind = {"Content-Type": "application/json"} if body else {}
    answer = await client.request(method, path, headers={**headers, **kind}, content=body)
    return verdict(answer)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
