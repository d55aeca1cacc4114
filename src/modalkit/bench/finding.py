"""What an endpoint speaks, found by asking it: OpenAI's routes, or typed ones with an OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .._values import did_you_mean, one_of
from ..errors import BenchError
from .answers import Answer
from .probing import Prober
from .workload import Kind

__all__ = ["Found", "Wanted", "find"]

_SUFFIXES: Mapping[str, Kind] = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
}
_OK = 200
_REFUSED = (401, 403)
_BROKEN = 500
_METHODS = ("post", "put", "get")


class Wanted(NamedTuple):
    """What the user said of the endpoint; the rest is found.

    Attributes:
        kind: What it speaks.
        model: The model's name.
        route: The path of a typed route, below the address.
        method: Its HTTP method.
        has_bodies: Whether inputs were given, so that no schema is needed.
    """

    kind: Kind | None = None
    model: str | None = None
    route: str | None = None
    method: str = "POST"
    has_bodies: bool = False


class Found(NamedTuple):
    """One route, and what is sent to it.

    Attributes:
        kind: What it speaks.
        path: From the root of the host.
        model: The model's name; empty for a typed route.
        method: Its HTTP method.
        schema: The JSON schema of its body, if it has one that is known.
        document: The OpenAPI document around that.
    """

    kind: Kind
    path: str
    model: str = ""
    method: str = "POST"
    schema: Mapping[str, Any] | None = None
    document: Mapping[str, Any] = {}


async def find(prober: Prober, wanted: Wanted) -> Found:
    """Find out what an endpoint speaks.

    Raises:
        BenchError: It refuses, or it speaks nothing that is known.
    """
    path = prober.target.path
    if wanted.route is None and wanted.kind != "route":
        suffix = next((one for one in _SUFFIXES if path.endswith(one)), None)
        if suffix is not None:
            base = path.removesuffix(suffix)
            model = wanted.model or await _model(prober, base)
            return Found(wanted.kind or _SUFFIXES[suffix], path, model)
        base = path if path.endswith("/v1") else f"{path}/v1"
        if wanted.kind is not None:
            model = wanted.model or await _model(prober, base)
            return Found(wanted.kind, base + _path_of(wanted.kind), model)
        listed = await prober.get(f"{base}/models")
        if listed.status >= _BROKEN:
            raise BenchError(_broken(prober, listed))
        if models := _names(listed):
            return Found("chat", base + _path_of("chat"), wanted.model or models[0])
    return await _typed(prober, wanted)


def _path_of(kind: Kind) -> str:
    return next(suffix for suffix, one in _SUFFIXES.items() if one == kind)


async def _model(prober: Prober, base: str) -> str:
    answer = await prober.get(f"{base}/models")
    names = _names(answer)
    if not names:
        said = prober.target.without_secrets(answer.message) or f"HTTP {answer.status}"
        msg = f"{base}/models does not name a model ({said}). Say --model."
        raise BenchError(msg)
    return names[0]


def _names(answer: Answer) -> list[str]:
    """The models that an answer lists; none if it is no such list."""
    listed = _document(answer).get("data")
    if not isinstance(listed, list):
        return []
    return [str(one["id"]) for one in listed if isinstance(one, dict) and "id" in one]


async def _typed(prober: Prober, wanted: Wanted) -> Found:
    """A route of an OpenAPI document: the one that was named, or the only one."""
    path = prober.target.path
    if wanted.has_bodies:
        return Found("route", path + _slashed(wanted.route), method=wanted.method)
    document, base = await _openapi(prober, path)
    routes = _routes(document)
    named = path.removeprefix(base) if path != base else ""
    asked = _slashed(wanted.route) or named
    matching = [one for one in routes if one.path in {asked, base + asked}] if asked else routes
    if len(matching) != 1:
        raise BenchError(_which(prober, asked, [one.path for one in routes]))
    one = matching[0]
    full = one.path if one.path.startswith(base) else base + one.path
    return one._replace(path=full, document=document)


def _slashed(route: str | None) -> str:
    return "" if not route else f"/{route.lstrip('/')}"


def _which(prober: Prober, asked: str, paths: Sequence[str]) -> str:
    where = prober.target.url
    if not paths:
        return f"{where} has neither /v1/models nor a route in /openapi.json. Say --route PATH with --input FILE, or --kind."
    known = one_of(paths)
    if asked:
        return f"{where} has no route {asked!r}.{did_you_mean(asked, paths)} It has {known}."
    return f"{where} has several routes. Say which one: --route {known}."


async def _openapi(prober: Prober, path: str) -> tuple[Mapping[str, Any], str]:
    """The document, and the path it is below: that of the address, or one above it."""
    parts = path.split("/")
    answer = None
    for count in range(len(parts), 0, -1):
        base = "/".join(parts[:count])
        answer = await prober.get(f"{base}/openapi.json")
        document = _document(answer)
        if "paths" in document:
            return document, base
        if answer.status in _REFUSED:
            break
    raise BenchError(_refusal(prober, answer))


def _refusal(prober: Prober, answer: Answer | None) -> str:
    where = prober.target.url
    if answer is not None and answer.status in _REFUSED:
        return (
            f"{where} answers {answer.status}: it asks for a key. Export MODALKIT_API_KEY, or name the variable "
            "that holds it: --key-env NAME; for Modal's proxy tokens --header-env Modal-Key=NAME --header-env Modal-Secret=NAME."
        )
    return (
        f"{where} speaks neither OpenAI (/v1/models) nor has it a document of its routes (/openapi.json). "
        "Say --kind chat --model NAME, or --route PATH with --input FILE."
    )


def _broken(prober: Prober, answer: Answer) -> str:
    said = prober.target.without_secrets(answer.message) or "nothing more"
    return f"{prober.target.url} does not work: it answers {answer.status}: {said}"


def _document(answer: Answer) -> dict[str, Any]:
    if answer.status != _OK:
        return {}
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _routes(document: Mapping[str, Any]) -> Sequence[Found]:
    """Every route that takes a JSON body, else those that are only asked for."""
    routes = list(_operations(document))
    return [one for one in routes if one.schema is not None] or routes


def _operations(document: Mapping[str, Any]) -> Iterator[Found]:
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            operation = item.get(method)
            if not isinstance(operation, dict) or "{" in path:
                continue
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            if schema is not None or not content:
                yield Found("route", path, method=method.upper(), schema=schema)
