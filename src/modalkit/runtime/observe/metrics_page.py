"""``/metrics``: what modalkit counts, after what an engine shows by itself."""

from __future__ import annotations

import re
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .inner_request import ask_app
from .registry import CONTENT_TYPE, Registry

__all__ = ["MetricsPage"]

# What each engine calls its counts of tokens, for one name that is the same whichever serves.
_TOKENS = {
    "prompt": re.compile(
        r"^(?:vllm:|sglang:|modalkit_)prompt_tokens_total(?:\{[^}]*\})? (\S+)", re.MULTILINE
    ),
    "completion": re.compile(
        r"^(?:vllm:generation|sglang:generation|modalkit_completion)_tokens_total(?:\{[^}]*\})? (\S+)",
        re.MULTILINE,
    ),
}


class MetricsPage:
    """An ASGI app: the page.

    Args:
        registry: modalkit's own figures.
        engine: An engine whose page comes first. Default: none.
    """

    def __init__(self, registry: Registry, engine: ASGIApp | None = None) -> None:
        self._registry = registry
        self._engine = engine
        self._tokens = registry.counter("tokens_total", "Tokens read and written.", ("kind",))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the ASGI entry."""
        theirs = await self._of_the_engine(scope) if self._engine else ""
        for kind, line in _TOKENS.items():
            if found := line.findall(theirs):
                self._tokens(kind).value = sum(map(float, found))
        page = Response(theirs + self._registry.page(), headers={"content-type": CONTENT_TYPE})
        await page(scope, receive, send)

    async def _of_the_engine(self, scope: Scope) -> str:
        assert self._engine is not None  # noqa: S101 - the caller has looked
        answer = await ask_app(self._engine, scope, "GET", "/metrics")
        if answer.status != HTTPStatus.OK:
            return f"# The engine's own /metrics answered {answer.status}.\n"
        text = answer.body.decode("utf-8", "replace")
        return text if text.endswith("\n") else f"{text}\n"
