"""``/health``: whether the model answers, not only whether a server does."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .inner_request import ask_app

if TYPE_CHECKING:
    from ..door.visit import Visit

__all__ = ["HEALTHY", "EngineHealth", "HealthPage", "SelfTest", "Verdict"]

_log = logging.getLogger("modalkit")
_EVERY_S = (
    60.0  # a test takes the model's time: this long an answer is good, unless a request fails
)
_AGAIN_S = 5.0
_LIMIT_S = 30.0


class Verdict(NamedTuple):
    """Whether the model answers, and why not.

    The reason names no value: strangers may ask for it. What failed is in the log.
    """

    ok: bool
    reason: str = ""


HEALTHY = Verdict(ok=True)
_Judge = Callable[[Scope], Awaitable[Verdict]]


class HealthPage:
    """An ASGI app: 200 while the model answers, else 503 with the reason.

    Args:
        judge: Says which; it is given the request that asks.
    """

    def __init__(self, judge: _Judge) -> None:
        self._judge = judge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the ASGI entry."""
        verdict = await self._judge(scope)
        body = {"status": "ok"} if verdict.ok else {"status": "failing", "reason": verdict.reason}
        status = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
        await JSONResponse(body, status)(scope, receive, send)


class SelfTest:
    """A custom service's own test, and what came of it last.

    Args:
        name: What is tested, for the reason.
        test: Runs the model once; it raises where the model does not answer as it should.
        failed: Called when the model has stopped passing.
        limit_s: Seconds after which a test that has not ended counts as failed; it goes on.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        test: Callable[[], Awaitable[object]],
        failed: Callable[[], None] = lambda: None,
        *,
        limit_s: float = _LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._test = test
        self._failed = failed
        self._limit_s = limit_s
        self._clock = clock
        self._verdict = HEALTHY
        self._tested_at = float("-inf")
        self._doubted = False
        self._running: asyncio.Task[Verdict] | None = None

    def doubt(self) -> None:
        """A request has failed: what the last test found is no longer believed."""
        self._doubted = True

    async def verdict(self) -> Verdict:
        """Test the model if the last test is too old, and say what came of it."""
        age = self._clock() - self._tested_at
        if age < (_AGAIN_S if self._doubted or not self._verdict.ok else _EVERY_S):
            return self._verdict
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())
        done, _ = await asyncio.wait({self._running}, timeout=self._limit_s)
        if not done:
            return self._judged(
                Verdict(ok=False, reason=f"{self._name} has not ended after {self._limit_s:.0f} s.")
            )
        return self._verdict

    async def _run(self) -> Verdict:
        self._doubted = False
        try:
            await self._test()
        except Exception as error:  # noqa: BLE001 - whatever it is, the model does not answer
            _log.exception("%s failed", self._name)
            reason = f"{self._name} raised {type(error).__name__}; the service's log says why."
            verdict = Verdict(ok=False, reason=reason)
        else:
            verdict = HEALTHY
        finally:
            self._running = None
        self._tested_at = self._clock()
        return self._judged(verdict)

    def _judged(self, verdict: Verdict) -> Verdict:
        if self._verdict.ok and not verdict.ok:
            self._failed()
        self._verdict = verdict
        return verdict


class EngineHealth:
    """An engine's own health, and after a request that failed in it, one that does not.

    Args:
        app: The engine, or the way to it.
        requests: What it may be asked, each a route and a body; the first it takes counts.
    """

    def __init__(self, app: ASGIApp, requests: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        self._app = app
        self._requests = requests
        self._last_failed = False

    def arrived(self, visit: Visit) -> None:
        """Nothing is known of a request that has only come."""

    def left(self, visit: Visit) -> None:
        """Remember whether the last request that the engine answered failed in it."""
        if visit.status:
            self._last_failed = visit.failed

    async def judge(self, scope: Scope) -> Verdict:
        """Ask the engine."""
        try:
            own = await ask_app(self._app, scope, "GET", "/health")
            if own.status != HTTPStatus.OK:
                return Verdict(ok=False, reason=f"The engine's own /health answered {own.status}.")
            return await self._answers(scope) if self._last_failed else HEALTHY
        except Exception as error:  # noqa: BLE001 - whatever it is, the engine does not answer
            _log.exception("/health could not ask the engine")
            reason = f"The engine could not be asked: {type(error).__name__}."
            return Verdict(ok=False, reason=reason)

    async def _answers(self, scope: Scope) -> Verdict:
        """Whether it answers a small request of our own, after one of a client's has failed."""
        for path, body in self._requests:
            answer = await ask_app(self._app, scope, "POST", path, json.dumps(body).encode())
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                reason = f"The last request failed, and POST {path} answers {answer.status}."
                return Verdict(ok=False, reason=reason)
            if answer.status == HTTPStatus.OK:
                self._last_failed = False
                return HEALTHY
        return HEALTHY
