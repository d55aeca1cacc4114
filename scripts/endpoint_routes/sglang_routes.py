"""SGLang's routes, read from its source, judged by its own key check with the door in front."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from table import CALLERS, Answers, every_name, verdict

from modalkit import BearerKeys, Endpoint, ProxyAuth
from modalkit.engines import SGLang
from modalkit.runtime.door import guarded
from modalkit.runtime.door.door import InnerKeys
from modalkit.runtime.keys import KeyRing

__all__ = ["routes_and_key_check", "sglang_answers"]

_KEY = "key-of-a-client"
_METHODS = {"app.get", "app.post", "app.api_route"}


def sglang_answers(python: Path) -> dict[str, Answers]:
    """What SGLang's own key check and the door say of every route in its source."""
    routes, check = routes_and_key_check(python)
    return {name: asyncio.run(_judged(name, routes, check)) for name in every_name()}


def routes_and_key_check(python: Path) -> tuple[dict[str, bool], ModuleType]:
    """SGLang's routes, each with whether it is administration, and its own module that checks keys."""
    package = python.parents[1] / "lib"
    (source,) = package.glob("python*/site-packages/sglang/srt/entrypoints/http_server.py")
    routes = dict(_routes_in(ast.parse(source.read_text("utf-8"))))
    return routes, _key_check(source.parents[1] / "utils" / "auth.py")


def _routes_in(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Each route of SGLang's server, and whether it is administration."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            admin = any("ADMIN" in ast.unparse(each) for each in node.decorator_list)
            for decorator in node.decorator_list:
                if route := _route(decorator):
                    yield route, admin
    yield "GET /metrics", False
    yield "GET /openapi.json", False


def _route(decorator: ast.expr) -> str | None:
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func) not in _METHODS:
        return None
    words = (word.value for word in ast.walk(decorator.args[0]) if isinstance(word, ast.Constant))
    path = next((str(word) for word in words if str(word).startswith("/")), None)
    if path is None:
        return None
    posts = "post" in ast.unparse(decorator.func) or "'POST'" in ast.unparse(decorator)
    plain = path.replace("{", "").replace("}", "").replace(":path", "")
    return f"{'POST' if posts else 'GET'} {plain}"


def _key_check(file: Path) -> ModuleType:
    """SGLang's module of that name, which imports nothing of SGLang."""
    spec = importlib.util.spec_from_file_location("sglang_auth", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sglang_auth"] = module
    spec.loader.exec_module(module)
    return module


async def _judged(name: str, routes: dict[str, bool], check: ModuleType) -> Answers:
    """The verdicts on every route for one kind of endpoint."""
    kind, _, mode = name.partition("-")
    app = _stand_in(routes, check)
    inner = InnerKeys("engine", "admin") if kind == "server" else None
    key = (
        inner.engine if inner else None
    )  # behind the gateway its administration alone asks for one
    check.add_api_key_middleware(app, api_key=key, admin_api_key="admin")
    ways = {"tokens": [ProxyAuth()], "keys": [BearerKeys()], "both": [ProxyAuth(), BearerKeys()]}
    rules = Endpoint(auth=ways.get(mode), public=mode == "public", access_log="off")
    keys = KeyRing.of([_KEY]) if rules.keys else None
    transport = httpx.ASGITransport(
        guarded(app, rules, SGLang.client_routes, keys=keys, inner=inner)
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://sglang") as client:
        return {
            route: [await _verdict(client, rules, route, caller) for caller in CALLERS]
            for route in sorted(routes)
        }


def _stand_in(routes: dict[str, bool], check: ModuleType) -> Starlette:
    """An app with SGLang's paths and key levels."""
    made = []
    for route, admin in routes.items():

        async def answer(_: Request) -> Response:
            return PlainTextResponse("a stand-in")

        level = check.AuthLevel.ADMIN_OPTIONAL if admin else check.AuthLevel.NORMAL
        method, _, path = route.partition(" ")
        made.append(Route(path, check.auth_level(level)(answer), methods=[method]))
    return Starlette(routes=made)


async def _verdict(client: httpx.AsyncClient, rules: Endpoint, route: str, caller: str) -> str:
    if rules.asks_proxy_tokens and caller in {"stranger", "key"}:
        return "Modal 401"
    headers = {"Authorization": f"Bearer {_KEY}"} if caller in {"key", "both"} else {}
    method, _, path = route.partition(" ")
    return verdict(await client.request(method, path, headers=headers))
