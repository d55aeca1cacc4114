"""Real requests before the first one: they prove that an engine answers, and bring it up to speed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from ..errors import EngineError
from .asking import Answer, Asker

__all__ = ["Request", "warm_up"]

Request = tuple[str, Mapping[str, object]]

# The route, or what was sent, is not for this model. Any other refusal (a full queue, say) is an answer.
_NOT_THIS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_IMPLEMENTED,
    }
)


def warm_up(ask: Asker, requests: Sequence[Request], count: int, within_s: float) -> None:
    """Send real requests, one after the other.

    Args:
        ask: The engine.
        requests: What it may be asked; the first that it takes is repeated. None asks nothing.
        count: How many it must answer.
        within_s: Seconds for all of them.

    Raises:
        EngineError: It refused every kind of request, failed, or took too long.
    """
    if not requests:
        return
    deadline = time.monotonic() + within_s
    taken = _first_taken(ask, requests, deadline)
    for _ in range(count - 1):
        path, body = taken
        _check(path, ask.post(path, body, deadline - time.monotonic()))


def _first_taken(ask: Asker, requests: Sequence[Request], deadline: float) -> Request:
    refused = []
    for path, body in requests:
        answer = ask.post(path, body, deadline - time.monotonic())
        if answer.status not in _NOT_THIS:
            _check(path, answer)
            return path, body
        refused.append(f"  POST {path} {answer}")
    msg = (
        "The engine is up but refused every request that would have warmed it up:\n"
        + "\n".join(refused)
        + "\nAn engine of another kind overrides Engine.warm_up_requests."
    )
    raise EngineError(msg)


def _check(path: str, answer: Answer) -> None:
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        msg = f"The engine is up but failed at a request that warms it up, POST {path}: {answer}"
        raise EngineError(msg)
