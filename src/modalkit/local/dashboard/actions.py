"""What the dashboard's buttons do: fire a schedule, stop an app, try an endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import aiohttp
from yarl import URL

from ...errors import LocalModalError
from ..wording import lasted, sized
from .sources import Sources

__all__ = ["act"]

_STOP_GRACE_S = 30.0
_TRY_WITHIN_S = 150.0
_SHOWN_BYTES = 256 * 1024


async def act(sources: Sources, name: str, wanted: Mapping[str, str]) -> dict[str, object]:
    """Do what a button asks for and say what came of it.

    Raises:
        LocalModalError: It cannot be done.
    """
    match name:
        case "fire":
            call = await sources.schedules.tick(
                wanted.get("name", ""), wanted.get("environment", "main")
            )
            return {
                "done": f"Fired {call.function.app.label}::{call.function.name}.",
                "call": call.id,
            }
        case "stop":
            return await _stop(sources, wanted.get("app", ""))
        case "prune":
            return await _prune(sources)
        case "try":
            return await _try(sources, wanted)
    msg = f"The dashboard has no action {name!r}."
    raise LocalModalError(msg)


async def _stop(sources: Sources, app_id: str) -> dict[str, object]:
    app = sources.app(app_id)
    if app is None:
        msg = f"There is no app {app_id!r}."
        raise LocalModalError(msg)
    if app.name:
        sources.deployments.forget(app)
    await sources.apps.stop(app, _STOP_GRACE_S)
    return {"done": f"Stopped {app.label}."}


async def _prune(sources: Sources) -> dict[str, object]:
    removed = await sources.images.prune(sources.used_images())
    size = sum(use.bytes for use in removed)
    count = "1 image" if len(removed) == 1 else f"{len(removed)} images"
    return {"done": f"Removed {count}: {sized(size)}.", "images": len(removed), "bytes": size}


async def _try(sources: Sources, wanted: Mapping[str, str]) -> dict[str, object]:
    """Send a request to one of this plane's endpoints, with its proxy token."""
    base = wanted.get("url", "")
    if base not in {url for _function, _method, url in sources.endpoints()}:
        msg = f"{base!r} is not an endpoint of this local Modal."
        raise LocalModalError(msg)
    path = "/" + wanted.get("path", "").lstrip("/")
    body = wanted.get("body", "").encode()
    headers = {"Modal-Key": sources.proxy_auth.key, "Modal-Secret": sources.proxy_auth.secret}
    if _is_json(body):
        headers["Content-Type"] = "application/json"
    began = time.perf_counter()
    try:
        timeout = aiohttp.ClientTimeout(total=_TRY_WITHIN_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.request(
                wanted.get("method", "GET"),
                URL(base + path, encoded=False),
                data=body or None,
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            content = await response.content.read(_SHOWN_BYTES)
            return {
                "status": f"{response.status} {response.reason or ''}".strip(),
                "took": lasted(time.perf_counter() - began),
                "kind": response.headers.get("Content-Type", ""),
                "size": response.headers.get("Content-Length", len(content)),
                "body": _readable(content),
            }
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        msg = f"The endpoint did not answer: {str(error) or type(error).__name__}."
        raise LocalModalError(msg) from error


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _readable(content: bytes) -> str:
    try:
        return json.dumps(json.loads(content), indent=2, ensure_ascii=False)
    except ValueError:
        return content.decode(errors="replace")
